"""What the console's service takes, refuses and tells, byte by byte at its socket.

Method: a toy console behind the real service on virtual time; requests are made by hand
where the client wouldn't make them.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.console import service
from orchestrator.console.client import ConsoleClient, DaemonGoneError
from orchestrator.console.service import DaemonMistakeError, make_app, serve_console, status_of
from orchestrator.kernel.errors import (
    ConfigurationRefusedError,
    IntegrityError,
    NotAuthorisedError,
    ProcessError,
    RefusedError,
    UncertainError,
)
from orchestrator.virtual_time import run_in_virtual_time, standing_still
from tests.unit.console.toy import (
    PASSWORD,
    SECRET,
    ToyConsole,
    a_command,
    served,
    take,
    toy_login,
)

Case = Callable[[httpx.AsyncClient, ToyConsole], Awaitable[None]]
GOOD = take(0, "r-1", 1, "session-anna").model_dump()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console" / "socket"


def by_hand(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://daemon", timeout=None
    )


def on_virtual_time(path: Path, case: Case) -> None:
    async def main() -> None:
        async with served(path) as toy, by_hand(path) as http:
            with standing_still():
                await case(http, toy)

    run_in_virtual_time(main())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def replace(path: Path) -> None:
    path.rename(path.parent / "moved")
    path.write_text("somebody else's")


async def refused(answer: httpx.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert list(said) == ["error"]
    assert sorted(said["error"]) == ["code", "do_next", "what", "why"]
    return said["error"]


# Errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("refused", 409),
        ("refused.identity", 409),
        ("refused.not-authorised", 403),
        ("refused.same-person", 403),
        ("failed.device-fault", 502),
        ("uncertain.outcome-unknown", 504),
        ("uncertain.daemon-mistake", 500),
        ("integrity.journal-latched", 503),
    ],
)
def test_an_error_has_its_family_s_status_and_its_own_record(
    path: Path, code: str, status: int
) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        answer = await http.post("/give", json=a_command("fail", code=code).model_dump())
        error = await refused(answer, status)
        assert error == {
            "code": code,
            "what": f"do {code}",
            "why": "so asked",
            "do_next": "Nothing",
        }

    on_virtual_time(path, case)


def test_every_kind_of_error_has_a_status() -> None:
    kinds = [kind for kind in ProcessError.by_code.values() if kind is not ProcessError]
    assert len(kinds) > 20
    for kind in kinds:
        assert status_of(kind("a", why="b", do_next="c")) in (403, 409, 500, 502, 503, 504)


@pytest.mark.parametrize("route", ["give", "view", "late view"])
def test_a_mistake_of_ours_tells_nothing_outside_and_is_raised_inside(
    path: Path, route: str
) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        if route == "give":
            answer = await http.post("/give", json=a_command("stumble").model_dump())
        else:
            newer_than = -1 if route == "view" else 1
            answer = await http.get("/view/mistake", params={"newer_than": newer_than})
        error = await refused(answer, 500)
        assert error["code"] == DaemonMistakeError.code
        assert SECRET not in answer.text
        assert "Traceback" not in answer.text

    with pytest.raises(AssertionError, match=SECRET):
        on_virtual_time(path, case)


def test_a_refusal_that_comes_after_waiting_is_told_in_the_body(path: Path) -> None:
    async def main() -> None:
        async with served(path) as toy, ConsoleClient(path) as client:
            waiting = asyncio.ensure_future(client.view("late refusal", newer_than=1))
            await asyncio.sleep(1)
            await toy.change()
            with pytest.raises(RefusedError, match="show late refusal"):
                await waiting

    run_in_virtual_time(main())


# What is taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "isn't JSON"),
        (b"{", "isn't JSON"),
        (b"\xff", "isn't JSON"),
        (b"[]", "isn't a JSON object"),
        (b"[" * 60_000, "isn't JSON"),
        (b'{"request": "a", "request": "b"}', "twice"),
        (b'{"seen": 1.0}', "whole number"),
        (b'{"seen": NaN}', "whole number"),
        (b'{"seen": -Infinity}', "whole number"),
        (b'{"seen": 9007199254740992}', "2^53-1"),
        (b'{"seen": ' + b"9" * 60_000 + b"}", "2^53-1"),
        (b'{"name": "\\u001b[2J"}', "U+001B"),
        (b'{"name": "\\ud800"}', "U+D800"),
        (b'{"\\u202e": 1}', "U+202E"),
        (json.dumps({**GOOD, "force": True}).encode(), "force: extra inputs"),
        (json.dumps({**GOOD, "seen": "1"}).encode(), "seen: input should be"),
        (json.dumps({**GOOD, "request": ""}).encode(), "request: string should have"),
        (json.dumps({**GOOD, "request": "r" * 65}).encode(), "request: string should have"),
        (json.dumps({"request": "r"}).encode(), "session: field required"),
        (json.dumps({**GOOD, "arguments": {"a": "x\ny"}}).encode(), "U+000A"),
        (json.dumps({**GOOD, "arguments": {"a": "x" * 4_001}}).encode(), "4001 characters"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_command_that_isn_t_one_is_refused_and_nothing_happens(
    path: Path, body: bytes, why: str
) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        answer = await http.post("/give", content=body)
        error = await refused(answer, 409)
        assert why in error["why"]
        assert not toy.takers

    on_virtual_time(path, case)


def test_a_recipe_is_looked_into_and_goes_through_to_the_byte(path: Path) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        async def submit(content: object) -> httpx.Response:
            command = a_command("submit_recipe", content=content)
            return await http.post("/give", json=command.model_dump())

        steps: Any = [{"text": "Move 250 mL µ", "then": []} for _ in range(5_000)]
        for _ in range(60):
            steps = {"sequence": steps}
        assert (await submit(json.dumps(steps))).status_code == 200
        assert toy.last == {"content": json.dumps(steps)}
        for harm in ('["\\u001b[2J"]', '["\u202e"]', "[0.5]", "{", '{"a":1,"a":2}', "\n\x1b", 5):
            toy.takers.clear()
            answer = await submit(harm)
            if harm != 5:  # no text: the console's own matter
                await refused(answer, 409)
                assert not toy.takers

    on_virtual_time(path, case)


def test_the_password_of_a_signature_is_never_told_back(path: Path) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        odd = "Mu\u0308ller\x1bQ"
        assert (await http.post("/give", json={**GOOD, "secret": odd})).status_code == 200
        for secret in ([odd], 17, {odd: 1}):
            answer = await http.post("/give", json={**GOOD, "secret": secret})
            await refused(answer, 409)
            assert "ller" not in answer.text

    on_virtual_time(path, case)


def test_a_body_has_a_largest_size_and_says_its_length(path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield json.dumps(GOOD).encode()

    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        padded = json.dumps(GOOD).ljust(service.BODY_BYTES_MAX).encode()
        await refused(await http.post("/give", content=padded + b" "), 413)
        await refused(await http.post("/give", content=pieces()), 411)
        assert not toy.takers
        assert (await http.post("/give", content=padded)).status_code == 200

    on_virtual_time(path, case)


def test_a_head_has_a_largest_size(path: Path) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        answer = await http.get("/health", headers={"x": "x" * 512 * 1024})
        assert answer.status_code == 400
        assert (await http.get("/health")).status_code == 200

    on_virtual_time(path, case)


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/view", 404),
        ("GET", "/view/a/b", 404),
        ("GET", "/%1b%5b2J", 404),
        ("GET", "/give", 405),
        ("DELETE", "/view/things", 405),
        ("GET", "/view/things?newer_than=x", 409),
        ("GET", "/view/things?newer_than=01", 409),
        ("GET", "/view/things?newer_than=1&newer_than=2", 409),
        ("GET", "/view/things?name=x", 409),
        ("GET", "/view/things?batch=%0a", 409),
        ("GET", "/view/%1b%5b2J", 409),
        ("GET", "/view/nothing", 409),
    ],
)
def test_what_isn_t_there_is_refused_in_fit_text(
    path: Path, method: str, url: str, status: int
) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        answer = await http.request(method, url)
        error = await refused(answer, status)
        assert "".join(error.values()).isprintable()

    on_virtual_time(path, case)


def test_a_view_gets_its_arguments_and_shows_no_unfit_text(path: Path) -> None:
    async def main() -> None:
        async with served(path) as toy, ConsoleClient(path) as client:
            toy.text = "\x1b]0;owned\x07\u202e"
            shown = await client.view("things", batch="B-000147", part="a b&c=d")
            assert shown["asked"] == {"batch": "B-000147", "part": "a b&c=d"}
            assert shown["text"] == "<U+001B>]0;owned<U+0007><U+202E>"

    run_in_virtual_time(main())


def test_nothing_is_said_of_the_software_behind(path: Path) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        answer = await http.get("/health")
        assert answer.json() == {"health": {"serving": True}}
        assert set(answer.headers) == {"content-length", "content-type"}

    on_virtual_time(path, case)


# People -------------------------------------------------------------------------------------


@pytest.mark.requirement("SIG-13")
def test_a_person_logs_in_and_a_wrong_password_is_never_told_back(path: Path) -> None:
    async def case(http: httpx.AsyncClient, toy: ToyConsole) -> None:
        right = {"user": "anna", "password": PASSWORD}
        assert (await http.post("/login", json=right)).json() == {"token": "session-anna"}
        wrong = await http.post("/login", json={"user": "anna", "password": "Wr0ng\x1b"})
        await refused(wrong, 403)
        for odd in (
            {"user": "anna", "password": "Wr0ng", "more": 1},
            {"user": "anna", "password": ["Wr0ng"]},
            {"user": "anna", "password": "Wr0ng" * 1_000},
            {"user": "an\x1bna", "password": "Wr0ng"},
        ):
            answer = await http.post("/login", json=odd)
            await refused(answer, 409)
            assert "Wr0ng" not in answer.text

    on_virtual_time(path, case)


@pytest.mark.requirement("SIG-13")
def test_another_user_s_process_is_told_nothing(path: Path) -> None:
    async def main() -> None:
        async with served(path, uid=os.getuid() + 1) as toy, ConsoleClient(path) as client:
            with pytest.raises(NotAuthorisedError, match="another user"):
                await client.view("things")
            with pytest.raises(NotAuthorisedError):
                await client.give(take(0, "r-1", 1, "session-anna"))
            with pytest.raises(NotAuthorisedError):
                await client.health()
            assert not toy.takers

    run_in_virtual_time(main())


def test_only_so_many_connections_are_served(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CONNECTIONS_MAX", 3)

    async def main() -> None:
        async with served(path) as toy, ConsoleClient(path) as client, asyncio.TaskGroup() as tasks:
            waiting = [
                tasks.create_task(client.view("things", newer_than=toy.version)) for _ in range(3)
            ]
            await asyncio.sleep(1)
            with pytest.raises(RefusedError, match="3 connections"):
                await client.view("things")
            await toy.change()
            await asyncio.gather(*waiting)
            await client.view("things")

    run_in_virtual_time(main())


# The socket ---------------------------------------------------------------------------------


@pytest.mark.requirement("SIG-13")
def test_socket_and_folder_are_for_us_alone(path: Path) -> None:
    async def main() -> None:
        async with served(path):
            assert mode(path) == 0o600
            assert mode(path.parent) == 0o700

    before = os.umask(0)
    try:
        run_in_virtual_time(main())
    finally:
        os.umask(before)
    assert not path.exists()


@pytest.mark.parametrize("obstacle", ["open folder", "link", "file", "long", "daemon", "no folder"])
def test_a_socket_that_can_t_be_ours_alone_is_refused(path: Path, obstacle: str) -> None:
    at = path
    if obstacle == "open folder":
        path.parent.mkdir(mode=0o755)
    elif obstacle == "link":
        (path.parent.parent / "elsewhere").mkdir(mode=0o700)
        path.parent.symlink_to("elsewhere")
    elif obstacle == "file":
        path.parent.mkdir(mode=0o700)
        path.write_text("a record")
    elif obstacle == "long":
        at = path.parent / ("x" * 100)
    elif obstacle == "no folder":
        path.parent.write_text("a file")

    async def main() -> None:
        async with served(at):
            raise AssertionError("it serves")

    async def second() -> None:
        async with served(path), ConsoleClient(path) as client:
            with pytest.raises(ConfigurationRefusedError, match="another daemon listens"):
                await main()
            assert await client.health()

    if obstacle == "daemon":
        run_in_virtual_time(second())
    else:
        with pytest.raises(ConfigurationRefusedError, match="serve the console at"):
            run_in_virtual_time(main())
    if obstacle == "file":
        assert path.read_text() == "a record"


def test_the_socket_of_a_killed_daemon_is_taken_over(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()

    async def main() -> None:
        async with ConsoleClient(path) as client:
            with pytest.raises(DaemonGoneError):
                await client.health()
            async with served(path):
                assert await client.health()

    run_in_virtual_time(main())


def test_a_socket_that_was_replaced_is_left_alone(path: Path) -> None:
    async def main() -> None:
        async with served(path):
            replace(path)

    run_in_virtual_time(main())
    assert path.read_text() == "somebody else's"


# Time ---------------------------------------------------------------------------------------


def test_the_service_sets_no_timer_of_its_own_on_virtual_time(path: Path) -> None:
    """Between requests, and while a view is waited for, the loop has nothing to wake up for."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with served(path) as toy, ConsoleClient(path) as client:
            await client.view("things")
            assert timers_of(loop) == []
            waiting = asyncio.ensure_future(client.view("things", newer_than=toy.version))
            await asyncio.sleep(1)
            assert timers_of(loop) == []
            before_s = loop.time()
            assert before_s == 1.0
            await asyncio.sleep(12 * 86_400)
            assert not waiting.done()
            await toy.change()
            await waiting
            assert loop.time() == before_s + 12 * 86_400

    run_in_virtual_time(main())


def timers_of(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    timers: list[asyncio.TimerHandle] = vars(loop)["_scheduled"]
    return [timer for timer in timers if not timer.cancelled()]


def test_who_hangs_up_is_waited_for_no_longer(path: Path) -> None:
    async def main() -> None:
        async with served(path) as toy, ConsoleClient(path) as client:
            waiting = asyncio.ensure_future(client.view("things", newer_than=toy.version))
            await asyncio.sleep(0.05)
            assert toy.waiting == 1
            waiting.cancel()
            await asyncio.sleep(0.05)
            assert toy.waiting == 0

    asyncio.run(main())


def test_an_exchange_takes_no_virtual_time_although_others_are_due(path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def tick() -> None:
            for _ in range(1_000_000):
                await asyncio.sleep(0.001)

        async with served(path), ConsoleClient(path) as client:
            ticking = asyncio.ensure_future(tick())
            for number in range(20):
                before_s = loop.time()
                shown = await client.view("things")
                await client.give(take(number, f"r-{number}", shown["version"], "session-anna"))
                assert loop.time() == before_s
                await asyncio.sleep(0.01)
            ticking.cancel()

    run_in_virtual_time(main())


def test_on_real_time_a_view_is_waited_for_in_bounded_parts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "WAIT_S", 0.02)

    async def main() -> None:
        async with served(path) as toy, by_hand(path) as http, ConsoleClient(path) as client:
            answer = await http.get("/view/things", params={"newer_than": toy.version})
            assert answer.json() == {"waited": True}
            assert answer.status_code == 200
            waiting = asyncio.ensure_future(client.view("things", newer_than=toy.version))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await toy.change()
            assert (await waiting)["version"] == toy.version

    asyncio.run(main())


# The end ------------------------------------------------------------------------------------


def test_at_the_end_waiting_ends_and_a_command_that_was_begun_is_carried_out(path: Path) -> None:
    async def main() -> None:
        toy = ToyConsole()
        async with ConsoleClient(path) as client, asyncio.TaskGroup() as tasks:
            async with serve_console(toy, path, login=toy_login):
                looking = tasks.create_task(_gone(client))
                giving = tasks.create_task(client.give(a_command("dawdle", s="0.05")))
                await asyncio.sleep(0.02)
            assert (await giving).seq == 2
            await looking
        assert toy.takers == {0: "anna"}

    async def _gone(client: ConsoleClient) -> None:
        with pytest.raises(DaemonGoneError):
            await client.view("things", newer_than=1_000)

    asyncio.run(main())


def test_the_application_describes_what_it_takes() -> None:
    described = make_app(ToyConsole(), login=toy_login).openapi()
    assert set(described["paths"]) == {
        "/give",
        "/health",
        "/login",
        "/logout",
        "/view/{name}",
    }
    schema = described["paths"]["/give"]["post"]["requestBody"]["content"]["application/json"]
    assert schema["schema"]["additionalProperties"] is False


def test_the_families_are_told_apart() -> None:
    assert issubclass(DaemonMistakeError, UncertainError)
    assert not issubclass(DaemonMistakeError, IntegrityError)
