"""The console's HTTP service: any ``Console`` on a Unix socket, inside the daemon's loop.

Who may speak is settled three times: the socket has mode 0600 in a folder of mode 0700,
the kernel is asked whose process is at the other end, and each command carries a person's
session. What comes in passes the text gate, has a bounded size and a closed set of fields;
what goes out passes it too.

It runs on any asyncio loop, one whose time is virtual or a room's included, so it sets no
timer of its own there: uvicorn's protocol is used without uvicorn's server, which ticks
ten times a second, takes over signals and ends connections that were idle for 5 s.

A view that is waited for is answered in two parts: the head at once, which tells the other
side that its question has arrived, and the body as soon as there is news.
Follows design section 11; the page ``docs/reference/console.md`` says what is on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from fastapi import FastAPI, Request, Response
from pydantic import Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from orchestrator.console.text_gate import admitted, admitted_value, shown, shown_value
from orchestrator.kernel.desks import Command, Console
from orchestrator.kernel.errors import (
    ConfigurationRefusedError,
    FailedError,
    IntegrityError,
    NotAuthorisedError,
    ProcessError,
    RefusedError,
    UncertainError,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.virtual_time import VirtualTimeLoop

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""A recipe of many hundred phases; read and checked on the loop, so no more."""

LOGIN_BYTES_MAX: Final = 8_192
HEAD_BYTES_MAX: Final = 16_384
CONNECTIONS_MAX: Final = 256

DOCUMENTS: Final[Mapping[str, str]] = {
    "submit_recipe": "content",
    "propose_amendment": "content",
    "amendment": "content",
}
"""Commands and views, and their argument that is a whole JSON document, kept to the byte. It is
one long text to the eye of the gate, which therefore looks into it.
"""

DOCUMENT_DEPTH_MAX: Final = 100

WAIT_S: Final = 25.0
"""How long a view is waited for on a real loop, so that both sides know the other lives."""

CLOSING_S: Final = 5.0
"""How long commands that were begun may take when the service ends."""

SOCKET_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
SOCKET_PATH_BYTES_MAX: Final = 107
"""Linux, unix(7): ``sun_path`` has 108 bytes, the last of them zero."""

WAITS_HEADER: Final = b"cellwright-waits"
"""Marks an answer whose body comes later."""

_SAFE_INTEGER_MAX: Final = 2**53 - 1
_NUMBER: Final = re.compile(r"-1|0|[1-9][0-9]{0,15}", re.ASCII)
_PEER: Final = struct.Struct("3i")  # process, user and group at the other end
_NAME_SHOWN_MAX: Final = 64
_REQUEST_AGAIN: Final = "Look at the console's reference page, and ask again"

Login = Callable[[str, str], Awaitable[str]]
"""Takes a name and a password; returns a session, or raises ``NotAuthorisedError``."""

Logout = Callable[[str], Awaitable[None]]
"""Takes a session and ends it, or raises ``NotAuthorisedError``."""

_M = TypeVar("_M", bound=Frozen)
_Asked = Callable[[], Awaitable[dict[str, Any]]]


class DaemonMistakeError(UncertainError):
    """The daemon failed by a mistake in its own code; how far it got is unknown."""

    code = "uncertain.daemon-mistake"


class _Credentials(Frozen):
    user: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1024)


class _Wanted(Frozen):
    """A view whose arguments are too much for an address; it is never waited for."""

    arguments: dict[str, str]


class _Session(Frozen):
    session: str = Field(min_length=1, max_length=256)


def status_of(error: ProcessError) -> int:
    """Return the HTTP status that stands for an error's family."""
    match error:
        case NotAuthorisedError():
            return 403
        case RefusedError():
            return 409
        case FailedError():
            return 502
        case DaemonMistakeError():
            return 500
        case UncertainError():
            return 504
        case IntegrityError():
            return 503
        case _:
            raise AssertionError(f"{error.code} belongs to no family")


async def _keeps_no_sessions(session: str) -> None:
    """Refuse to end a session: this console keeps none."""
    del session
    raise NotAuthorisedError(
        "log out", why="this console keeps no sessions", do_next="Close the terminal"
    )


def make_app(
    console: Console,
    *,
    login: Login,
    logout: Logout = _keeps_no_sessions,
    closing: asyncio.Event | None = None,
) -> FastAPI:
    """Return the application that offers ``console`` and ``login`` over HTTP.

    Args:
        console: What is looked at and asked.
        login: Recognises a person. It gets the password; nothing here keeps it.
        logout: Ends a session.
        closing: Once set, views that are waited for are answered without news.
    """
    app = FastAPI(title="cellwright console", openapi_url=None, docs_url=None, redoc_url=None)
    ends = asyncio.Event() if closing is None else closing

    @app.get("/health")
    async def health() -> Response:  # pyright: ignore[reportUnusedFunction]
        return _answer(200, {"health": {"serving": True}})

    @app.post("/login", openapi_extra=_takes(_Credentials))
    async def log_in(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        async def ask() -> dict[str, Any]:
            fields = await _object(request, "log in", LOGIN_BYTES_MAX)
            _gate(fields, "log in", secret="password")
            given = _checked(_Credentials, fields, "log in")
            return {"token": await login(given.user, given.password)}

        return _answer(*await _said(ask))

    @app.post("/logout", openapi_extra=_takes(_Session))
    async def log_out(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        async def ask() -> dict[str, Any]:
            fields = await _object(request, "log out", LOGIN_BYTES_MAX)
            admitted_value(fields, what="log out")
            await logout(_checked(_Session, fields, "log out").session)
            return {"ended": True}

        return _answer(*await _said(ask))

    @app.post("/give", openapi_extra=_takes(Command))
    async def give(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        async def ask() -> dict[str, Any]:
            fields = await _object(request, "give a command", BODY_BYTES_MAX)
            _gate(fields, "give a command", secret="secret")
            given = await console.give(_checked(Command, fields, "give a command"))
            return {"given": {"seq": given.seq, "result": given.result}}

        return _answer(*await _said(ask))

    @app.get("/view/{name}")
    async def view(name: str, request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        async def ask() -> dict[str, Any]:
            newer_than, arguments = _query(request, f"show the view {shown(name)!r}")
            known = admitted(name, what="the name of a view")
            return {"view": await console.view(known, newer_than=newer_than, **arguments)}

        return _Look(ask, ends)

    @app.post("/view/{name}", openapi_extra=_takes(_Wanted))
    async def view_of_much(  # pyright: ignore[reportUnusedFunction]
        name: str, request: Request
    ) -> Response:
        async def ask() -> dict[str, Any]:
            what = f"show the view {shown(name)!r}"
            known = admitted(name, what="the name of a view")
            fields = await _object(request, what, BODY_BYTES_MAX)
            _gate({**fields, "name": known}, what, secret="")
            wanted = _checked(_Wanted, fields, what)
            return {"view": await console.view(known, newer_than=-1, **wanted.arguments)}

        return _answer(*await _said(ask))

    @app.exception_handler(HTTPException)
    async def no_route(  # pyright: ignore[reportUnusedFunction]
        request: Request, error: HTTPException
    ) -> Response:
        where = shown(f"{request.method} {request.url.path}"[:_NAME_SHOWN_MAX])
        why = "there is no such address" if error.status_code == 404 else shown(error.detail)
        refused = RefusedError(where, why=why, do_next=_REQUEST_AGAIN)
        return _answer(error.status_code, {"error": refused.as_record()})

    return app


@contextlib.asynccontextmanager
async def serve_console(
    console: Console,
    socket_path: Path,
    *,
    login: Login,
    logout: Logout = _keeps_no_sessions,
    uid: int | None = None,
) -> AsyncGenerator[None]:
    """Serve ``console`` at ``socket_path`` on the running loop until the block ends.

    Then views that are waited for are answered, commands that were begun are carried out,
    and the socket is gone.

    Args:
        console: What is served.
        socket_path: Its folder is made, for us alone, if it isn't there.
        login: As in ``make_app``.
        logout: As there.
        uid: Whose processes may speak; the daemon's own user if not given.

    Raises:
        ConfigurationRefusedError: The path is too long or not ours, its folder is open to
            others, or another daemon listens there. Nothing is served.
    """
    listener = _listen(socket_path)
    mark = os.lstat(socket_path)
    closing = asyncio.Event()
    state = ServerState()
    config = Config(
        make_app(console, login=login, logout=logout, closing=closing),
        http=H11Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        forwarded_allow_ips="",  # else the environment says whom to believe
        server_header=False,
        date_header=False,
        workers=1,  # else the environment says how many
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
    )
    config.load()
    served = os.getuid() if uid is None else uid
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(
        lambda: _Connection(config, state, served), sock=listener
    )
    try:
        yield
    finally:
        server.close()
        closing.set()
        await _end_connections(state)
        await server.wait_closed()
        _take_away(socket_path, mark)


async def _end_connections(state: ServerState) -> None:
    for connection in list(state.connections):
        connection.shutdown()
    if state.tasks:
        _, late = await asyncio.wait(set(state.tasks), timeout=CLOSING_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
    for connection in list(state.connections):
        connection.transport.abort()
    while state.connections:  # noqa: ASYNC110  an aborted one is gone after the next turn
        await asyncio.sleep(0)


def _take_away(path: Path, ours: os.stat_result) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(path.lstat(), ours):
            path.unlink()


# One connection ---------------------------------------------------------------------------


class _Connection(H11Protocol):
    """uvicorn's HTTP/1.1 on one connection, without its timer, for one user's processes."""

    def __init__(self, config: Config, state: ServerState, uid: int) -> None:
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._uid = uid

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if _uid_at_other_end(transport) != self._uid:
            self.app = _Refusing(
                NotAuthorisedError(
                    "speak with the daemon",
                    why="this process runs under another user than the daemon",
                    do_next="Use the account that the daemon was set up with",
                ),
                403,
            )
        elif len(self.connections) >= CONNECTIONS_MAX:
            self.app = _Refusing(
                RefusedError(
                    "speak with the daemon",
                    why=f"it has {CONNECTIONS_MAX} connections already",
                    do_next="Close terminals that nobody uses",
                ),
                409,
            )
        super().connection_made(cast("asyncio.Transport", transport))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()


def _uid_at_other_end(transport: asyncio.BaseTransport) -> int:
    end: socket.socket = transport.get_extra_info("socket")
    told = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(told)
    return uid


class _Refusing:
    """An application that answers every request with one refusal."""

    def __init__(self, error: RefusedError, status: int) -> None:
        self._said = _answer(status, {"error": error.as_record()})
        self._said.headers["connection"] = "close"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._said(scope, receive, send)


def _listen(path: Path) -> socket.socket:
    what = f"serve the console at {path}"
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise ConfigurationRefusedError(
            what,
            why=f"a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes (unix(7))",
            do_next="Give a data folder with a shorter path",
        )
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        _refuse_open_folder(path.parent, what)
        _clear_away(path, what)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(os.fspath(path))
            path.chmod(SOCKET_MODE)  # nobody can connect before it listens
            listener.listen(CONNECTIONS_MAX)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationRefusedError(
            what,
            why=error.strerror or str(error),
            do_next="Give a folder that is ours to write",
        ) from error
    listener.setblocking(False)
    return listener


def _refuse_open_folder(folder: Path, what: str) -> None:
    known = folder.lstat()
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.getuid():
        raise ConfigurationRefusedError(
            what,
            why=f"{folder} is a link, or another user's",
            do_next="Give a folder of the daemon's own",
        )
    if stat.S_IMODE(known.st_mode) & ~FOLDER_MODE:
        raise ConfigurationRefusedError(
            what,
            why=f"{folder} is open to other users (mode {stat.S_IMODE(known.st_mode):o})",
            do_next=f"Run: chmod {FOLDER_MODE:o} {folder}",
        )


def _clear_away(path: Path, what: str) -> None:
    """Remove the socket of a daemon that was killed; refuse anything else."""
    try:
        known = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(known.st_mode):
        raise ConfigurationRefusedError(
            what, why="something else than a socket is there", do_next="Look what it is"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        with contextlib.suppress(ConnectionRefusedError):
            with contextlib.suppress(BlockingIOError):  # it listens, and its queue is full
                probe.connect(os.fspath(path))
            raise ConfigurationRefusedError(
                what,
                why="another daemon listens there",
                do_next="Stop that daemon, or give this one another data folder",
            )
    path.unlink()


# Answers ------------------------------------------------------------------------------------


async def _said(ask: _Asked) -> tuple[int, dict[str, Any]]:
    """Return status and content of what was asked; an error of any kind becomes one."""
    try:
        content: dict[str, Any] = shown_value(await ask())
    except ProcessError as error:
        return status_of(error), {"error": shown_value(error.as_record())}
    except HTTPException:
        raise
    except Exception as mistake:
        # The daemon's edge: nobody outside sees a traceback, and the loop's handler does.
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a request to the console failed", "exception": mistake}
        )
        unknown = DaemonMistakeError(
            "answer a request",
            why="the daemon made a mistake of its own; its log says which",
            do_next="Look what the batch shows before you ask again, and report the log",
        )
        return status_of(unknown), {"error": unknown.as_record()}
    return 200, content


def _encoded(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _answer(status: int, content: Mapping[str, Any]) -> Response:
    return Response(_encoded(content), status, media_type="application/json")


class _Look(Response):
    """The answer with a view: whole if it is there, else its head now and its body later."""

    def __init__(self, ask: _Asked, closing: asyncio.Event) -> None:
        super().__init__()
        self._ask = ask
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(_said(self._ask))
            await asyncio.sleep(0)  # one step, which is enough unless it has to wait
            if not looking.done():
                await _send_head(send)
                watching = (
                    tasks.create_task(_gone(receive)),
                    tasks.create_task(_set(self._closing)),
                )
                is_virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
                await asyncio.wait(
                    {looking, *watching},
                    timeout=None if is_virtual else WAIT_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in watching:
                    task.cancel()
                content = looking.result()[1] if looking.done() else {"waited": True}
                looking.cancel()
                await send({"type": "http.response.body", "body": _encoded(content)})
                return
        await _answer(*looking.result())(scope, receive, send)


async def _send_head(send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (WAITS_HEADER, b"1")],
        }
    )


async def _gone(receive: Receive) -> None:
    """Return when the other side has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _set(event: asyncio.Event) -> None:
    await event.wait()


# Requests -----------------------------------------------------------------------------------


def _takes(model: type[Frozen]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _object(request: Request, what: str, bytes_max: int) -> dict[str, object]:
    """Return the JSON object in a request's body."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length[:16]) > bytes_max:
        raise HTTPException(
            413 if length else 411, f"a body says its length, which is at most {bytes_max} bytes"
        )
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError:
        text = ""
    value = _json(text, what)
    if not isinstance(value, dict):
        raise RefusedError(what, why="its body isn't a JSON object", do_next=_REQUEST_AGAIN)
    return cast("dict[str, object]", value)


def _gate(fields: Mapping[str, object], what: str, *, secret: str) -> None:
    """Let the texts of a request through the gate.

    A password is no text to be shown: the gate, whose refusals quote it, is not for it.
    """
    fit = {name: value for name, value in fields.items() if name != secret}
    document = DOCUMENTS.get(str(fields.get("name")))
    arguments = fields.get("arguments")
    if document is not None and isinstance(arguments, dict):
        plain = dict(cast("dict[str, object]", arguments))
        content = plain.pop(document, None)
        if isinstance(content, str):
            where = f"{what}: {document}"
            admitted_value(_json(content, where), what=where, depth_max=DOCUMENT_DEPTH_MAX)
            fit["arguments"] = plain
    admitted_value(fit, what=what)


def _json(text: str, what: str) -> object:
    def refused(why: str) -> RefusedError:
        return RefusedError(what, why=why, do_next=_REQUEST_AGAIN)

    def fraction(digits: str) -> object:
        raise refused(f"{digits[:20]} isn't a whole number; a measured value is text with its unit")

    def integer(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > _SAFE_INTEGER_MAX:
            raise refused("a number is beyond 2^53-1")
        return int(digits)

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise refused("a field stands in it twice")
        return fields

    try:
        return json.loads(
            text,
            parse_float=fraction,
            parse_constant=fraction,
            parse_int=integer,
            object_pairs_hook=once,
        )
    except (ValueError, RecursionError) as error:
        raise refused("it isn't JSON in UTF-8") from error


def _checked(model: type[_M], value: MutableMapping[str, object], what: str) -> _M:
    """Return ``value`` as ``model``; a refusal names fields and never quotes their values."""
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        fields = (".".join(str(part) for part in one["loc"]) for one in found)
        reasons = [
            f"{shown(field[:_NAME_SHOWN_MAX])}: {one['msg'].lower()}"
            for field, one in zip(fields, found, strict=True)
        ]
        raise RefusedError(what, why="; ".join(reasons[:8]), do_next=_REQUEST_AGAIN) from None


def _query(request: Request, what: str) -> tuple[int, dict[str, str]]:
    """Return ``newer_than`` and a view's other arguments."""
    pairs = request.query_params.multi_items()
    arguments = {admitted(key, what=what): admitted(text, what=what) for key, text in pairs}
    if len(arguments) != len(pairs) or not arguments.keys().isdisjoint(("name", "self")):
        raise RefusedError(
            what, why="an argument stands twice, or can't be one", do_next=_REQUEST_AGAIN
        )
    newer_than = arguments.pop("newer_than", "-1")
    if _NUMBER.fullmatch(newer_than) is None:
        raise RefusedError(
            what, why=f"newer_than is {newer_than!r}, not a version", do_next=_REQUEST_AGAIN
        )
    return int(newer_than), arguments
