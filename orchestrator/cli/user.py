"""``cellwright user``: people of a data folder, and who of them is logged in at this terminal.

The first person is added by nobody and is an administrator; each one after that by an
administrator, who gives a password for it. What is added is an event like any other: given to
the daemon where one runs, else written into the journal that nobody has open.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.at_console import CONSOLE, at_console
from orchestrator.cli.options import (
    AsJson,
    DataFolder,
    FileRefusedError,
    data_folder,
    journal_in,
)
from orchestrator.cli.passwords import PasswordFile, from_input, from_keyboard
from orchestrator.cli.printing import in_columns, say, say_json
from orchestrator.console.client import BlockingConsoleClient, DaemonGoneError
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, HOST, AnyEvent, PersonAdded
from orchestrator.journal.journal import Journal, read_events, read_rows
from orchestrator.kernel.desks import Command
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError
from orchestrator.kernel.identifiers import HostId, UserId
from orchestrator.kernel.instants import SystemClock
from orchestrator.people.roles import Role, refuse_conflicting_roles
from orchestrator.people.users import (
    SALT_BYTES,
    NotRecognised,
    add_person,
    check_password,
    hash_secret,
    recognise,
    secret_of,
    verify_secret,
)

TERMINAL = "command line"


def add(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="The name to log in with")],
    name: Annotated[str, typer.Option("--name", help="The name on records, in full")],
    role: Annotated[
        list[str],
        typer.Option("--role", metavar="ROLE", help=f"May be repeated: {', '.join(Role)}"),
    ],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="LOGIN", help="The administrator who adds this person"),
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="Read the new password from standard input, then, on a line of its own, "
            "the administrator's",
        ),
    ] = False,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Add a person to a data folder, whether its daemon runs or is down.

    The first person of a folder is an administrator and needs no --by; the daemon is down
    then. With --json one object with user, login, printed_name and roles.
    """
    refuse_conflicting_roles(f"add {name!r} under the log-in name {login!r}", role)
    if by is None:
        _refuse_unless_first(data_folder(data), login, name)
    ask = _from_input if password_stdin else _from_keyboard
    password = ask(f"New password of {login}: ", True)
    check_password(password, login=login)
    by_password = None if by is None else ask(f"Password of {by}: ", False)
    folder = _made(data_folder(data))
    if _is_served(folder):
        user = _added_by_daemon(folder, login, name, role, password, by, by_password)
    else:
        user = asyncio.run(_added(folder, login, name, role, password, by, by_password)).user
    if as_json:
        say_json(_as_json(user, login, name, sorted(role)))
    else:
        say(f"{name} is {user} and logs in as {login}.")


def log_in(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="Who you are")],
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Log in at this terminal, in place of who is logged in there.

    With --json one object with login.
    """
    with at_console(data, login, password_file) as console:
        console.log_out()
        said = console.login
    if as_json:
        say_json({"login": said})
    else:
        say(f"{said} is logged in at this terminal.")


def log_out(data: DataFolder = None, as_json: AsJson = False) -> int:
    """Log out at this terminal. Exit status 1 if nobody was logged in.

    With --json one object with login, empty if nobody was.
    """
    with at_console(data) as console:
        login = console.log_out()
    if as_json:
        say_json({"login": login})
    else:
        say(f"{login} is logged out." if login else "Nobody was logged in at this terminal.")
    return 0 if login else 1


def list_people(data: DataFolder = None, as_json: AsJson = False) -> None:
    """List the people of a data folder.

    With --json one object a line with user, login, printed_name and roles.
    """
    state = HostState()
    for recorded in read_events(journal_in(data), EVENTS):
        fold(state, recorded)
    people = state.people.items()
    if as_json:
        for user, one in people:
            say_json(_as_json(user, one.login, one.printed_name, one.roles))
    elif not people:
        say(
            "There is nobody yet. `cellwright user add LOGIN --name NAME --role administrator` "
            "adds the first."
        )
    else:
        rows = [(user, one.login, one.printed_name, ", ".join(one.roles)) for user, one in people]
        say(in_columns([("USER", "LOGS IN AS", "NAME", "ROLES"), *rows]))


SUBCOMMANDS = {"add": add, "list": list_people, "login": log_in, "logout": log_out}


def host_of(folder: Path) -> HostId:
    """Return whose data folder this is: its journal's host, else this machine's name."""
    journal = folder / "journal.sqlite"
    if journal.exists():
        for row in read_rows(journal):
            return HostId(row.host)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64].lstrip("._-")
    return HostId(name or "host")


@contextmanager
def opened_journal(folder: Path) -> Generator[tuple[Journal[AnyEvent], HostState]]:
    """Yield a folder's journal, open for writing, and its fold; make both where there is none.

    Raises:
        JournalInUseError: A daemon has it. Nothing was changed.
    """
    host = host_of(folder)
    journal = Journal(
        folder / "journal.sqlite",
        EVENTS,
        clock=SystemClock(),
        host=host,
        signer=Signer.stored(folder, host, os.urandom),
    )
    try:
        state = HostState()
        for recorded in journal.events():
            fold(state, recorded)
        yield journal, state
    finally:
        journal.close()


def _refuse_unless_first(folder: Path, login: str, name: str) -> None:
    """Refuse to add somebody on nobody's word where there are people already.

    Raises:
        NotAuthorisedError: There are. Nothing happened, and no password was asked for.
    """
    journal = folder / "journal.sqlite"
    state = HostState()
    for recorded in read_events(journal, EVENTS) if journal.exists() else ():
        fold(state, recorded)
        if state.people:
            break
    administrators = [one.login for one in state.people.values()]
    if administrators:
        raise NotAuthorisedError(
            f"add {name!r} under the log-in name {login!r}",
            why="only the first person is added on nobody's word, and somebody is there",
            do_next=f"Give --by LOGIN, of an administrator, e.g. --by {administrators[0]}",
        )


def _is_served(folder: Path) -> bool:
    """Return whether a daemon answers for this folder."""
    try:
        with BlockingConsoleClient(folder.resolve() / CONSOLE) as client:
            client.health()
    except DaemonGoneError:
        return False
    return True


def _added_by_daemon(
    folder: Path,
    login: str,
    name: str,
    roles: list[str],
    password: str,
    by: str | None,
    by_password: str | None,
) -> UserId:
    """Have the daemon add a person, in a session of the administrator's for this alone."""
    if by is None or by_password is None:
        raise NotAuthorisedError(
            f"add {name!r} under the log-in name {login!r}",
            why="the daemon runs, and adds people on an administrator's word",
            do_next="Give --by LOGIN; the very first person is added while it is down",
        )
    with BlockingConsoleClient(folder.resolve() / CONSOLE) as client:
        session = client.login(by, by_password)
        try:
            seen = client.view("people")["version"]
            client.give(
                Command(
                    request=os.urandom(16).hex(),
                    seen=seen,
                    session=session,
                    name="add_person",
                    arguments={
                        "log_in_name": login,
                        "printed_name": name,
                        "roles": roles,
                        "password": password,
                    },
                )
            )
        finally:
            client.logout(session)
        people = client.view("people")["people"]
    return next(UserId(one["user"]) for one in people if one["login"] == login)


async def _added(
    folder: Path,
    login: str,
    name: str,
    roles: list[str],
    password: str,
    by: str | None,
    by_password: str | None,
) -> PersonAdded:
    with opened_journal(folder) as (journal, state):
        vouching = None
        if by is not None and by_password is not None:
            vouching = await _recognised(journal, state, by, by_password)
        event = add_person(
            state.people,
            login=login,
            printed_name=name,
            roles=roles,
            secret=hash_secret(password, salt=os.urandom(SALT_BYTES)),
            by=vouching,
        )
        await journal.append(HOST, event)
        await journal.checkpoint()
        return event


async def _recognised(
    journal: Journal[AnyEvent], state: HostState, login: str, password: str
) -> UserId:
    right = verify_secret(password, secret_of(state.people, login))
    found = recognise(state.people, login, right=right, terminal=TERMINAL, now=SystemClock().utc())
    if isinstance(found, NotRecognised):
        await journal.append(HOST, found.event)
        raise found.error
    return found.user


def _as_json(
    user: str, login: str, printed_name: str, roles: list[str] | tuple[str, ...]
) -> dict[str, object]:
    return {"user": user, "login": login, "printed_name": printed_name, "roles": list(roles)}


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failed:
        raise FileRefusedError(
            f"keep data in {folder}",
            why=failed.strerror or str(failed),
            do_next="Name another folder with --data",
        ) from failed
    return folder


_Ask = Callable[[str, bool], str]


def _from_keyboard(prompt: str, twice: bool) -> str:
    typed = from_keyboard(prompt, instead="--password-stdin")
    if twice and from_keyboard("Again: ", instead="--password-stdin") != typed:
        raise RefusedError("set a password", why="the two differ", do_next="Type it again")
    return typed


def _from_input(prompt: str, twice: bool) -> str:
    del prompt, twice
    return from_input()
