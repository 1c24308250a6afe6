"""Who is logged in at this terminal, and what it has shown: in files of this user's.

The daemon's console serves one account of the host, which all who work at the cell share. So
a session belongs to the terminal that it was opened at (the shell and its start), never to
the account: nobody acts under a colleague's name by naming it. It outlives the daemon's
restart, ends with the terminal, and isn't used again after a quarter of an hour in which
nobody used it, which the daemon sees to as well. A token lies in
``$XDG_STATE_HOME/cellwright/sessions`` (else under ``~/.local/state``), mode 0600; the
daemon's record holds its SHA-256 only.

What was shown belongs to the terminal too. An answer rests on that and on nothing newer: on
the last list of all that is open, on the thing itself if it was shown after that, or on what
the same person has just done to it, which was taken only because it rested on a true view.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.cli.options import FileRefusedError
from orchestrator.kernel.instants import Instant, SystemClock
from orchestrator.people.sessions import IDLE

NOTHING_SEEN: Final = -1


@dataclass(frozen=True, slots=True)
class Session:
    """One person's session at this terminal."""

    login: str
    token: str
    used_at: str

    def __repr__(self) -> str:
        return f"Session(login={self.login!r}, token=not shown)"

    @property
    def is_fresh(self) -> bool:
        """Whether somebody used it lately."""
        now = SystemClock().utc()
        used = Instant.read(self.used_at)
        return used <= now < used + IDLE


def kept_session(data: Path) -> Session | None:
    """Return this terminal's session with the daemon of a data folder, if there is one.

    Raises:
        FileRefusedError: Others can read or write what is kept.
    """
    path = _path(data)
    try:
        with path.open("rb") as file:
            known = os.fstat(file.fileno())
            if known.st_uid != os.getuid() or stat.S_IMODE(known.st_mode) & 0o077:
                raise FileRefusedError(
                    f"use the session in {path}",
                    why="it is another user's, or open to others",
                    do_next="Remove it, and log in again",
                )
            return Session(**json.loads(file.read()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def keep_session(data: Path, login: str, token: str) -> Session:
    """Keep a session for this terminal, in place of the one before.

    Raises:
        FileRefusedError: It can't be kept.
    """
    session = Session(login, token, str(SystemClock().utc()))
    _keep(_path(data), asdict(session))
    return session


def forget_session(data: Path) -> None:
    """Keep no session for this terminal any more."""
    _path(data).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Screen:
    """What this terminal has shown: the version of the view, as the daemon counts."""

    listed: int = NOTHING_SEEN
    """When it last listed all that is open."""
    shown: dict[str, int] = field(default_factory=dict[str, int])
    """When it showed one thing, where that was after the list."""
    done: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Who did something to a thing after that, and the event that it was."""

    def seen(self, thing: str, login: str) -> int:
        """Return the version of a thing that this person decides on; -1 if none was shown."""
        who, did = self.done.get(thing, ("", NOTHING_SEEN))
        return max(self.listed, self.shown.get(thing, NOTHING_SEEN), did if who == login else -1)

    def after_list(self, version: int) -> Screen:
        """Return it once all that is open was listed."""
        return Screen(version)

    def after_look(self, thing: str, version: int) -> Screen:
        """Return it once one thing was shown."""
        return Screen(self.listed, {**self.shown, thing: version}, self.done)

    def after_deed(self, thing: str, login: str, event: int) -> Screen:
        """Return it once a person did something to a thing, resting on what was shown of it."""
        return Screen(self.listed, self.shown, {**self.done, thing: (login, event)})


def kept_screen(data: Path) -> Screen:
    """Return what this terminal has shown of the work in a data folder."""
    try:
        told = json.loads(_screen_path(data).read_text("utf-8"))
        done = {thing: (str(who), int(event)) for thing, (who, event) in told["done"].items()}
        return Screen(int(told["listed"]), dict(told["shown"]), done)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Screen()


def keep_screen(data: Path, screen: Screen) -> None:
    """Keep what this terminal has shown.

    Raises:
        FileRefusedError: It can't be kept.
    """
    _keep(_screen_path(data), asdict(screen))


def _keep(path: Path, what: dict[str, Any]) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as into:
            json.dump(what, into)
        draft.replace(path)
    except OSError as failed:
        raise FileRefusedError(
            f"keep the session in {path}",
            why=failed.strerror or str(failed),
            do_next="Make its folder writable for this account, for no other",
        ) from failed


def _screen_path(data: Path) -> Path:
    return _path(data).with_suffix(".screen")


def _path(data: Path) -> Path:
    base = os.environ.get("XDG_STATE_HOME", "")  # empty or relative counts as not set (XDG 0.8)
    home = Path(base) if Path(base).is_absolute() else Path("~/.local/state").expanduser()
    told = f"{data.resolve()}\n{_terminal()}"
    name = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return home / "cellwright" / "sessions" / f"{name}.json"


def _terminal() -> str:
    """Return what tells this terminal from any other, a later one of the same number too."""
    leader = os.getsid(0)
    try:
        told = Path(f"/proc/{leader}/stat").read_text("ascii", errors="replace")
        began = told.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = ""  # its leader has ended; the number isn't given away while the session lasts
    boot = Path("/proc/sys/kernel/random/boot_id")
    with contextlib.suppress(OSError):
        return f"{boot.read_text('ascii').strip()} {leader} {began}"
    return f"{leader} {began}"
