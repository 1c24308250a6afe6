"""The console at the other end of the daemon's socket, for front ends and technicians.

``ConsoleClient`` is a ``Console``: an error comes back as the type that was raised in the
daemon, or as its family where this process doesn't know the type. It can be used on any
loop. On one whose time is virtual or a room's, no time passes while bytes are under way,
and time goes on while a view is waited for: don't put a call into ``standing_still``.

Nothing is sent twice by itself. After ``AnswerLostError`` the same command, with the same
request, may be given again. Follows design section 11.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import quote

import httpx

from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import (
    ConfigurationRefusedError,
    FailedError,
    NotAuthorisedError,
    ProcessError,
    error_from_record,
)
from orchestrator.virtual_time import VirtualTimeLoop, standing_still

ANSWER_WITHIN_S: Final = 30.0
"""Longer than the daemon lets a view be waited for; on a loop with real time only."""

IN_AN_ADDRESS_MOST: Final = 4_000
"""Characters of a view's arguments that an address holds; more goes into a body."""

_HOST: Final = "http://daemon"
_WAITS_HEADER: Final = "cellwright-waits"
_CONTENT: Final = {"content-type": "application/json"}
_NO_LIMIT: Final = httpx.Limits(keepalive_expiry=None)


class DaemonGoneError(FailedError):
    """No daemon answers at the socket. What was asked has not reached one."""

    code = "failed.daemon-gone"


class AnswerLostError(DaemonGoneError):
    """The daemon ended or fell silent before it answered; its journal tells what it did."""

    code = "failed.daemon-gone.answer-lost"


class ConsoleClient:
    """Implements ``Console`` over a daemon's socket. Close it, or use it in ``async with``."""

    def __init__(self, socket_path: Path) -> None:
        """Make the client; nothing is connected before the first call."""
        self._path = socket_path
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=os.fspath(socket_path),
                verify=False,  # a socket of this host has no certificate
                trust_env=False,
                limits=_NO_LIMIT,
            ),
            base_url=_HOST,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        """Return a view by name, as soon as it is newer than ``newer_than``.

        Raises:
            RefusedError: There is no such view.
            DaemonGoneError: No daemon answers.
        """
        what = f"look at the view {name}"
        url, query = _view(name, newer_than, arguments)
        if _is_much(newer_than, arguments):
            return (await self._post(url, _wanted(arguments), what))["view"]
        while True:
            _refuse_foreign(self._path, what)
            with _explained(self._path, what):
                async with contextlib.AsyncExitStack() as stack:
                    with standing_still():
                        response = await stack.enter_async_context(
                            self._http.stream("GET", url, params=query, timeout=_limits())
                        )
                        if _WAITS_HEADER not in response.headers:
                            await response.aread()
                    content = await response.aread()
            said = _said(response.status_code, content, what)
            if "waited" not in said:
                return said["view"]

    async def give(self, command: Command) -> Given:
        """Have a command carried out.

        Raises:
            NotAuthorisedError: The person's roles don't allow it. Nothing happened.
            RefusedError: It isn't legal now, or rests on an old view. Nothing happened.
            AnswerLostError: It may have been carried out, wholly or not at all.
            DaemonGoneError: No daemon answers. Nothing happened.
        """
        said = await self._post("/give", command.model_dump_json(), f"give {command.name!r}")
        return Given.model_validate(said["given"])

    async def login(self, user: str, password: str) -> str:
        """Return a session for a person.

        Raises:
            NotAuthorisedError: Name and password don't belong together, or are locked.
            DaemonGoneError: No daemon answers.
        """
        body = json.dumps({"user": user, "password": password})
        return str((await self._post("/login", body, "log in"))["token"])

    async def health(self) -> Mapping[str, Any]:
        """Return what the daemon says of itself.

        Raises:
            DaemonGoneError: No daemon answers.
        """
        what = "ask for the daemon's health"
        _refuse_foreign(self._path, what)
        with _explained(self._path, what), standing_still():
            response = await self._http.get("/health", timeout=_limits())
        return _said(response.status_code, response.content, what)["health"]

    async def _post(self, url: str, body: str, what: str) -> dict[str, Any]:
        _refuse_foreign(self._path, what)
        with _explained(self._path, what), standing_still():
            response = await self._http.post(
                url, content=body.encode(), headers=_CONTENT, timeout=_limits()
            )
        return _said(response.status_code, response.content, what)


class BlockingConsoleClient:
    """The same for programs without a loop: each call blocks until it is answered."""

    def __init__(self, socket_path: Path) -> None:
        """Make the client; nothing is connected before the first call."""
        self._path = socket_path
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(
                uds=os.fspath(socket_path), verify=False, trust_env=False, limits=_NO_LIMIT
            ),
            base_url=_HOST,
            trust_env=False,
            timeout=ANSWER_WITHIN_S,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        """As ``ConsoleClient.view``."""
        url, query = _view(name, newer_than, arguments)
        if _is_much(newer_than, arguments):
            said = self._ask("POST", url, f"look at the view {name}", body=_wanted(arguments))
            return said["view"]
        while True:
            said = self._ask("GET", url, f"look at the view {name}", query=query)
            if "waited" not in said:
                return said["view"]

    def give(self, command: Command) -> Given:
        """As ``ConsoleClient.give``."""
        body = command.model_dump_json()
        said = self._ask("POST", "/give", f"give {command.name!r}", body=body)
        return Given.model_validate(said["given"])

    def login(self, user: str, password: str) -> str:
        """As ``ConsoleClient.login``."""
        body = json.dumps({"user": user, "password": password})
        return str(self._ask("POST", "/login", "log in", body=body)["token"])

    def logout(self, session: str) -> None:
        """End a session.

        Raises:
            NotAuthorisedError: None is open under it. Nothing happened.
            DaemonGoneError: No daemon answers.
        """
        self._ask("POST", "/logout", "log out", body=json.dumps({"session": session}))

    def health(self) -> Mapping[str, Any]:
        """As ``ConsoleClient.health``."""
        return self._ask("GET", "/health", "ask for the daemon's health")["health"]

    def _ask(
        self,
        method: str,
        url: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        body: str | None = None,
    ) -> dict[str, Any]:
        _refuse_foreign(self._path, what)
        with _explained(self._path, what):
            response = self._http.request(
                method,
                url,
                params=query,
                content=None if body is None else body.encode(),
                headers=_CONTENT,
            )
        return _said(response.status_code, response.content, what)


def _limits() -> httpx.Timeout:
    """Return how long to wait: for ever where time is virtual, as a dead peer hangs up."""
    is_virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    return httpx.Timeout(None if is_virtual else ANSWER_WITHIN_S)


def _is_much(newer_than: int, arguments: Mapping[str, str]) -> bool:
    """Return whether a view's arguments go into a body; what is waited for has few."""
    return newer_than < 0 and sum(map(len, arguments.values())) > IN_AN_ADDRESS_MOST


def _wanted(arguments: Mapping[str, str]) -> str:
    return json.dumps({"arguments": dict(arguments)})


def _view(name: str, newer_than: int, arguments: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    return f"/view/{quote(name, safe='')}", {**arguments, "newer_than": str(newer_than)}


def _refuse_foreign(path: Path, what: str) -> None:
    """Refuse to tell another user's socket anything, a password least of all."""
    try:
        known = path.lstat()
    except PermissionError as error:
        raise NotAuthorisedError(
            what,
            why=f"this account may not reach the daemon's socket {path}",
            do_next="Use the account that the daemon was set up with",
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _gone(path, what) from error
    if not stat.S_ISSOCK(known.st_mode) or known.st_uid != os.getuid():
        raise ConfigurationRefusedError(
            what,
            why=f"{path} isn't a socket of this account",
            do_next="Look who made it, and start the daemon on its own data folder",
        )


def _gone(path: Path, what: str) -> DaemonGoneError:
    return DaemonGoneError(
        what,
        why=f"no daemon answers at {path}; nothing has reached one",
        do_next="Start the daemon (cellwright serve), and ask again",
    )


def _lost(what: str, why: str) -> AnswerLostError:
    return AnswerLostError(
        what,
        why=f"{why}; whether it was done is in the journal",
        do_next="Look at the present state, then give the same request again if it is missing",
    )


@contextlib.contextmanager
def _explained(path: Path, what: str) -> Generator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise _gone(path, what) from error
    except httpx.TimeoutException as error:
        raise _lost(what, f"the daemon gave no answer within {ANSWER_WITHIN_S:.0f} s") from error
    except httpx.TransportError as error:
        raise _lost(what, "the daemon ended before it had answered") from error


def _said(status: int, content: bytes, what: str) -> dict[str, Any]:
    """Return the content of an answer, or raise the error that it tells."""
    try:
        said: object = json.loads(content)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise _lost(what, f"the answer (status {status}) isn't one that this version knows")
    known = cast("dict[str, Any]", said)
    if "error" in known:
        raise _error(known["error"])
    return known


def _error(record: Mapping[str, str]) -> ProcessError:
    """Return the error of a record: as its type, or as the nearest one known here."""
    code = record["code"]
    while code not in ProcessError.by_code and "." in code:
        code = code.rpartition(".")[0]
    return error_from_record({**record, "code": code})
