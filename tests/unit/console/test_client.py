"""What the console's client makes of answers, and of a daemon that isn't there any more.

Method: the real service and client in one process; a daemon that dies is a process of its
own, killed in the middle of a command.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.console import client as client_module
from orchestrator.console.client import (
    AnswerLostError,
    BlockingConsoleClient,
    ConsoleClient,
    DaemonGoneError,
)
from orchestrator.kernel.errors import (
    ConfigurationRefusedError,
    FailedError,
    NotAuthorisedError,
    ProcessError,
    RefusedError,
    UncertainError,
)
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.console.toy import PASSWORD, a_command, served, take

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console" / "socket"


def kinds() -> list[type[ProcessError]]:
    own = (kind for kind in ProcessError.by_code.values() if kind is not ProcessError)
    return sorted(own, key=lambda kind: kind.code)


def test_every_error_comes_back_as_what_it_was(path: Path) -> None:
    async def main() -> None:
        async with served(path), ConsoleClient(path) as client:
            for kind in kinds():
                with pytest.raises(kind) as raised:
                    await client.give(a_command("fail", code=kind.code))
                assert type(raised.value) is kind
                assert raised.value.what == f"do {kind.code}"

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("refused.of-a-later-version", RefusedError),
        ("failed.driver.not-loaded-here", FailedError),
        ("uncertain.x", UncertainError),
    ],
)
def test_an_error_unknown_here_comes_back_as_its_family(
    path: Path, code: str, kind: type[ProcessError], monkeypatch: pytest.MonkeyPatch
) -> None:
    later = type("LaterError", (kind,), {"code": code})

    async def main() -> None:
        async with served(path) as toy, ConsoleClient(path) as client:

            async def give(command: object) -> Any:
                raise later("do it", why="so asked", do_next="Nothing")

            monkeypatch.setattr(toy, "give", give)
            with pytest.raises(kind, match="do it") as raised:
                await client.give(a_command("fail"))
            assert type(raised.value) is kind

    monkeypatch.delitem(ProcessError.by_code, code)
    run_in_virtual_time(main())


def test_the_blocking_client_does_the_same(path: Path) -> None:
    def work(blocking: BlockingConsoleClient, version: int) -> None:
        assert blocking.health() == {"serving": True}
        token = blocking.login("anna", PASSWORD)
        assert blocking.view("things", part="x")["asked"] == {"part": "x"}
        given = blocking.give(take(7, "r-1", version, token))
        assert blocking.view("things", newer_than=version)["takers"] == {"7": "anna"}
        assert given.result == {"number": 7}
        with pytest.raises(NotAuthorisedError):
            blocking.login("anna", "wrong")
        with pytest.raises(RefusedError, match="there is none"):
            blocking.view("nothing")

    async def main() -> None:
        async with served(path) as toy:
            with BlockingConsoleClient(path) as blocking:
                await asyncio.to_thread(work, blocking, toy.version)
        with BlockingConsoleClient(path) as late, pytest.raises(DaemonGoneError):
            late.health()

    asyncio.run(main())


# A daemon that isn't there --------------------------------------------------------------------


Call = Callable[[ConsoleClient], Awaitable[object]]


CALLS: dict[str, Call] = {
    "view": lambda client: client.view("things"),
    "wait": lambda client: client.view("things", newer_than=1),
    "give": lambda client: client.give(take(0, "r-1", 1, "session-anna")),
    "login": lambda client: client.login("anna", PASSWORD),
    "health": lambda client: client.health(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("virtual", [True, False])
def test_without_a_daemon_nothing_was_asked(path: Path, call: Call, virtual: bool) -> None:
    async def main() -> None:
        async with ConsoleClient(path) as client:
            with pytest.raises(DaemonGoneError) as gone:
                await call(client)
            assert type(gone.value) is DaemonGoneError
            assert "cellwright serve" in gone.value.do_next

    if virtual:
        run_in_virtual_time(main())
    else:
        asyncio.run(main())


def test_the_next_daemon_is_found_by_the_same_client(path: Path) -> None:
    async def main() -> None:
        async with ConsoleClient(path) as client:
            for _ in range(3):
                async with served(path):
                    assert await client.health()
                with pytest.raises(DaemonGoneError):
                    await client.health()

    run_in_virtual_time(main())


@pytest.mark.requirement("SIG-13")
def test_nothing_is_told_to_what_isn_t_our_socket(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> None:
        async with ConsoleClient(path) as client:
            await client.login("anna", PASSWORD)

    async def foreign() -> None:
        async with served(path):
            monkeypatch.setattr(os, "getuid", lambda: 4_711)
            with pytest.raises(ConfigurationRefusedError, match="isn't a socket of this account"):
                await ask()

    run_in_virtual_time(foreign())
    monkeypatch.undo()
    path.write_text("a file")
    with pytest.raises(ConfigurationRefusedError):
        run_in_virtual_time(ask())


def test_what_can_t_be_reached_is_said_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", denied)
    with BlockingConsoleClient(path) as client, pytest.raises(NotAuthorisedError, match="account"):
        client.health()


@contextmanager
def a_daemon(path: Path) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.console.daemon", path],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_daemon_that_dies_in_a_command_leaves_doubt_and_says_so(path: Path) -> None:
    async def main() -> None:
        with a_daemon(path) as daemon:
            async with ConsoleClient(path) as client:
                version = (await client.view("things"))["version"]
                async with asyncio.TaskGroup() as tasks:
                    giving = tasks.create_task(ended(client.give(a_command("dawdle", s="60"))))
                    looking = tasks.create_task(ended(client.view("things", newer_than=version)))
                    await asyncio.sleep(0.1)
                    daemon.kill()
                for error in (giving.result(), looking.result()):
                    assert type(error) is AnswerLostError
                    assert isinstance(error, FailedError)
                    assert "same request" in error.do_next

    asyncio.run(main())


def test_a_daemon_that_is_stopped_in_a_command_is_given_up_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ANSWER_WITHIN_S", 0.2)

    async def main() -> None:
        with a_daemon(path) as daemon:
            async with ConsoleClient(path) as client:
                daemon.send_signal(signal.SIGSTOP)
                with pytest.raises(AnswerLostError, match="no answer within"):
                    await client.give(take(0, "r-1", 1, "session-anna"))

    asyncio.run(main())


async def ended(asked: Awaitable[object]) -> BaseException:
    try:
        raise AssertionError(f"it was answered: {await asked}")
    except ProcessError as error:
        return error
