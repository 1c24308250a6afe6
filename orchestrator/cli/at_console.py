"""A person at the daemon's console, for commands: log in, look, give, sign.

What a command rests on is said with it: the version of the view that this terminal has shown,
and a request of its own, so that one whose answer was lost can be given again. A password is
asked for once in a command, to log in and to sign.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.options import CallRefusedError, data_folder
from orchestrator.cli.passwords import from_file, from_keyboard
from orchestrator.cli.sessions import (
    Session,
    forget_session,
    keep_screen,
    keep_session,
    kept_screen,
    kept_session,
)
from orchestrator.console.client import AnswerLostError, BlockingConsoleClient, DaemonGoneError
from orchestrator.console.text_gate import admitted
from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import ProcessError
from orchestrator.people.roles import SIGNED_AS, require
from orchestrator.people.sessions import NoSessionError

CONSOLE: Final = "console.sock"
"""Where in the data folder the daemon's console is."""

REQUEST_BYTES: Final = 16

As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="LOGIN",
        help="Who does it; else who is logged in at this terminal",
    ),
]


class AtConsole:
    """One person at the console. Made by ``at_console``."""

    def __init__(
        self, client: BlockingConsoleClient, data: Path, login: str | None, secret: Path | None
    ) -> None:
        self._client = client
        self._data = data
        self._login = None if login is None else admitted(login, what="a log-in name")
        self._secret_file = secret
        self._password: str | None = None
        self._session: Session | None = None

    def look(self, name: str, **arguments: str) -> Mapping[str, Any]:
        """Return the present view of a name."""
        return self._client.view(name, newer_than=-1, **arguments)

    @property
    def login(self) -> str:
        """The log-in name of who is logged in."""
        return self.session.login

    @property
    def session(self) -> Session:
        """This terminal's session; the person is asked for name and password if there is none.

        Raises:
            NotAuthorisedError: Name and password don't belong together, or are locked.
            CallRefusedError: There is nobody to ask.
        """
        if self._session is None:
            kept = kept_session(self._data)
            if kept is not None and kept.is_fresh and self._login in (None, kept.login):
                self._session = kept
            else:
                self._session = self._logged_in(kept)
        return self._session

    def log_out(self) -> str:
        """End this terminal's session; return whose it was, empty if there was none."""
        kept = kept_session(self._data)
        if kept is None:
            return ""
        with suppress(NoSessionError):
            self._client.logout(kept.token)
        forget_session(self._data)
        return kept.login

    def seen(self, thing: str) -> int:
        """Return the version of a thing that this person decides on; -1 if none was shown."""
        return kept_screen(self._data).seen(thing, self.login)

    def listed(self, version: int) -> None:
        """Keep that this terminal lists all that is open now."""
        keep_screen(self._data, kept_screen(self._data).after_list(version))

    def showed(self, thing: str, version: int) -> None:
        """Keep that this terminal shows a thing now."""
        keep_screen(self._data, kept_screen(self._data).after_look(thing, version))

    def did(self, thing: str, event: int) -> None:
        """Keep what this person has just done to a thing, resting on what was shown of it."""
        screen = kept_screen(self._data).after_deed(thing, self.login, event)
        keep_screen(self._data, screen)

    def require(self, command: str) -> None:
        """Refuse what this person's roles don't allow before it is shown or done.

        The daemon refuses it too. This says so before a person reads what they can't sign.

        Raises:
            NotAuthorisedError: None of their roles allows it. Nothing happened.
        """
        login = self.login
        people = self.look("people")["people"]
        me = next(one for one in people if one["login"] == login)
        require(command, me["roles"], who=str(me["printed_name"]))

    def give(self, name: str, *, seen: int, request: str | None = None, **arguments: Any) -> Given:
        """Give a command as this person, with the password where it signs.

        Args:
            name: As in the role table.
            seen: The version of the view that the person decided on.
            request: The same for the same command, where one is given again on purpose.
            arguments: What the command states.

        Raises:
            ProcessError: As the daemon says.
        """
        command = Command(
            request=request or os.urandom(REQUEST_BYTES).hex(),
            seen=seen,
            session=self.session.token,
            name=name,
            arguments=arguments,
            secret=self._password_of(self.login) if name in SIGNED_AS else "",
        )
        given = self._given(command)
        self._session = keep_session(self._data, self.login, self.session.token)
        return given

    def _given(self, command: Command) -> Given:
        """Give a command; once more where its session is over, or its answer was lost."""
        try:
            return self._client.give(command)
        except NoSessionError:
            before = self.session
            forget_session(self._data)
            self._session = self._logged_in(before)
            return self._client.give(command.model_copy(update={"session": self._session.token}))
        except AnswerLostError as lost:
            try:
                return self._client.give(command)  # one request is carried out once
            except DaemonGoneError:
                raise lost from None

    def _logged_in(self, before: Session | None) -> Session:
        login = self._login or (before.login if before is not None else _asked_name())
        if self._password is None and self._secret_file is None and sys.stdin.isatty():
            print(f"Log in as {login}.", file=sys.stderr)
        token = self._client.login(login, self._password_of(login))
        if before is not None:
            with suppress(ProcessError):
                self._client.logout(before.token)
        return keep_session(self._data, login, token)

    def _password_of(self, login: str) -> str:
        if self._password is None:
            if self._secret_file is not None:
                self._password = from_file(self._secret_file)
            else:
                self._password = from_keyboard(f"Password of {login}: ")
        return self._password


@contextmanager
def at_console(
    data: Path | None, login: str | None = None, password_file: Path | None = None
) -> Generator[AtConsole]:
    """Yield a person at the console of a data folder's daemon; nothing is asked before it must.

    Args:
        data: The data folder, as ``--data`` was given.
        login: Who; else who is logged in at this terminal.
        password_file: Where the password stands; else it is asked for at the keyboard.
    """
    folder = data_folder(data).resolve()
    with BlockingConsoleClient(folder / CONSOLE) as client:
        yield AtConsole(client, folder, login, password_file)


def names_of(console: AtConsole) -> dict[str, str]:
    """Return everybody's printed name by their user id."""
    people = console.look("people")["people"]
    return {str(one["user"]): str(one["printed_name"]) for one in people}


def pairs(given: list[str] | None, *, option: str) -> dict[str, str]:
    """Return what NAME=VALUE options say, as a mapping.

    Raises:
        CallRefusedError: One isn't of that form, or a name stands there twice.
    """
    found: dict[str, str] = {}
    for one in given or ():
        name, sign, value = one.partition("=")
        name, value = name.strip(), value.strip()
        if not sign or not name or not value:
            why = "it isn't of the form NAME=VALUE"
        elif name in found:
            why = f"{name!r} stands there twice"
        else:
            found[name] = value
            continue
        raise CallRefusedError(
            f"take {option} {one!r}", why=why, do_next=f'Write {option} "NAME=VALUE", each once'
        )
    return found


def _asked_name() -> str:
    if not sys.stdin.isatty():
        raise CallRefusedError(
            "log in",
            why="nobody is logged in at this terminal",
            do_next="Give --as LOGIN with --password-file, or run `cellwright user login`",
        )
    print("Log in as: ", end="", file=sys.stderr, flush=True)
    return admitted(input().strip(), what="a log-in name")
