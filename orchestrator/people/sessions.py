"""Sessions: a token stands for a person who gave the password once.

The token is 32 random bytes; the record holds its SHA-256 only, so nobody can take a session
from the journal. Sessions are folded from the journal and so outlive the daemon's restart,
but not for long: one ends when it was open for twelve hours, when no command was given in it
for a quarter of an hour, and when the host is started anew, since no terminal outlives that.
Both times are the boot-time clock's, which nobody can set and which goes on in suspend.

A session lets a person give commands; it never signs (``signatures``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from orchestrator.journal.events import SessionClosed, SessionOpened
from orchestrator.kernel.errors import NotAuthorisedError
from orchestrator.kernel.identifiers import BootId, UserId
from orchestrator.kernel.quantities import Duration, hour, minute
from orchestrator.people.users import Present

TOKEN_BYTES: Final = 32

LIFETIME: Final = 12 * hour
"""A session that is open for so long is over, however busy: a long shift. Set by us."""

IDLE: Final = 15 * minute
"""A session in which no command was given for so long is over. Set by us."""

_TOKEN: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class NoSessionError(NotAuthorisedError):
    """What a terminal sent opens no session. Nothing happened; log in."""

    code = "refused.not-authorised.no-session"


class Session(Protocol):
    """What must be known of an open session; the engine folds it from the journal."""

    @property
    def user(self) -> str:
        """Whose it is."""
        ...

    @property
    def boot(self) -> str:
        """In which boot of the host it was opened."""
        ...

    @property
    def opened_ms(self) -> int:
        """What the boot-time clock showed when it was opened."""
        ...

    @property
    def used_ms(self) -> int:
        """What the boot-time clock showed when a command was last carried out in it."""
        ...


Sessions = Mapping[str, Session]
"""Those that nobody has closed, by the SHA-256 of their token."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Journal ``event``, then hand ``token`` to the terminal; it is kept nowhere else."""

    event: SessionOpened
    token: str

    def __repr__(self) -> str:
        return f"Opened(event={self.event!r}, token=not shown)"


def open_session(present: Present, *, terminal: str, entropy: Callable[[int], bytes]) -> Opened:
    """Return a new session of a person who was just recognised.

    Args:
        present: What ``recognise`` said.
        terminal: Where the person sits.
        entropy: Gives so many random bytes; ``secrets.token_bytes`` in production.
    """
    token = entropy(TOKEN_BYTES).hex()
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(f"the entropy gave {len(token) // 2} bytes, not {TOKEN_BYTES}")
    opened = SessionOpened(user=present.user, token_sha256=token_sha256(token), terminal=terminal)
    return Opened(opened, token)


def token_sha256(token: str) -> str:
    """Return what is kept of a token."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def request_of(user: str, request: str) -> str:
    """Return the name of a request, told apart from those of other people.

    It is the person's and not the session's: who logs in anew since their session was over
    gives the same command again, and it may have been carried out.

    Args:
        user: Who asks.
        request: As the terminal named it, at random.
    """
    return f"{user} {request}"


def why_over(session: Session, boot: BootId, now: Duration) -> str:
    """Return why a session is over; empty while it isn't.

    Args:
        session: One that nobody has closed.
        boot: The host's present boot.
        now: What its boot-time clock shows.
    """
    if session.boot != boot:
        return "the host was started anew"
    if now.base - session.opened_ms >= LIFETIME.base:
        return f"it was open for {LIFETIME}"
    if now.base - session.used_ms >= IDLE.base:
        return f"no command was given in it for {IDLE}"
    return ""


def holder_of(sessions: Sessions, token: str, *, boot: BootId, now: Duration) -> UserId:
    """Return whose session a token opens.

    Args:
        sessions: Those that nobody has closed.
        token: What the terminal sent.
        boot: The host's present boot.
        now: What its boot-time clock shows.

    Raises:
        NoSessionError: No session is open under it. Nothing happened.
    """
    session = sessions.get(token_sha256(token))
    why = (
        "no session is open under what this terminal sent; it was closed, or never opened"
        if session is None
        else why_over(session, boot, now)
    )
    if session is None or why:
        raise NoSessionError("use a session", why=why, do_next="Log in")
    return UserId(session.user)


def close_session(sessions: Sessions, token: str, *, why: str) -> SessionClosed:
    """Return the event that ends the session of ``token``, over or not.

    Raises:
        NoSessionError: Nobody opened one under it, or it was closed. Nothing happened.
    """
    if token_sha256(token) not in sessions:
        raise NoSessionError(
            "end a session", why="none is open under what this terminal sent", do_next="Log in"
        )
    return SessionClosed(token_sha256=token_sha256(token), why=why)
