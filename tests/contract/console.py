"""What every ``Console`` must do, in process or over a socket. Subclass it and give it a bench.

The bench brings a console with at least one thing that people can take, once each. On a
loop that jumps, "not before" is exact: nothing but the change can end a wait.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from orchestrator.kernel.desks import Command, Console
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError


@dataclass
class ConsoleBench:
    """A console, and how its things are reached.

    Attributes:
        console: What is tested.
        view: A view that shows the things.
        sessions: Sessions of two people who may take things.
        take: Makes the command that takes thing ``number``, by request, version seen and
            session. Legal once for each thing.
        takings: How often anything was taken, as the machine itself knows it.
        change: Makes news that concern no thing.
    """

    console: Console
    view: str
    sessions: tuple[str, str]
    take: Callable[[int, str, int, str], Command]
    takings: Callable[[], int]
    change: Callable[[], Awaitable[None]]

    async def version(self) -> int:
        return int((await self.console.view(self.view))["version"])


Case = Callable[[ConsoleBench], Awaitable[None]]


class ConsoleContract(ABC):
    """Subclass it in a test module and give it ``on_a_bench``."""

    rounds = 200

    @abstractmethod
    def on_a_bench(self, case: Case) -> None:
        """Run ``case`` on a fresh bench, on a loop of its own."""

    def test_a_view_is_there_at_once_and_is_a_value(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            shown = await bench.console.view(bench.view)
            assert type(shown["version"]) is int
            assert json.loads(json.dumps(shown)) == shown

        self.on_a_bench(case)

    def test_a_view_that_is_newer_already_is_not_waited_for(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            before = await bench.version()
            await bench.change()
            shown = await bench.console.view(bench.view, newer_than=before)
            assert shown["version"] > before

        self.on_a_bench(case)

    def test_a_view_that_is_waited_for_comes_with_the_change_and_not_before(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            before = await bench.version()
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(bench.console.view(bench.view, newer_than=before))
                await asyncio.sleep(0.05)
                assert not waiting.done()
                await bench.change()
                async with asyncio.timeout(5):
                    assert (await waiting)["version"] > before

        self.on_a_bench(case)

    def test_many_wait_for_the_same_change(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            before = await bench.version()
            async with asyncio.TaskGroup() as tasks:
                waiting = [
                    tasks.create_task(bench.console.view(bench.view, newer_than=before))
                    for _ in range(20)
                ]
                await asyncio.sleep(0.05)
                await bench.change()
            assert {task.result()["version"] > before for task in waiting} == {True}

        self.on_a_bench(case)

    def test_who_stops_waiting_leaves_the_console_to_the_others(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            before = await bench.version()
            for _ in range(5):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await bench.console.view(bench.view, newer_than=before)
            await bench.change()
            assert await bench.version() > before

        self.on_a_bench(case)

    def test_an_unknown_view_is_refused(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            with pytest.raises(RefusedError):
                await bench.console.view("no such view")
            with pytest.raises(RefusedError):
                await bench.console.view("no such view", newer_than=await bench.version())

        self.on_a_bench(case)

    def test_a_command_is_carried_out_and_shows_in_the_view(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            before = await bench.version()
            given = await bench.console.give(bench.take(0, "r-1", before, bench.sessions[0]))
            assert given.seq > before
            assert bench.takings() == 1
            assert await bench.version() >= given.seq

        self.on_a_bench(case)

    def test_the_same_request_twice_is_answered_as_once(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            command = bench.take(0, "r-1", await bench.version(), bench.sessions[0])
            first = await bench.console.give(command)
            assert await bench.console.give(command) == first
            assert bench.takings() == 1

        self.on_a_bench(case)

    @pytest.mark.requirement("SIG-13")
    def test_nobody_s_session_gives_no_command(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            seen = await bench.version()
            with pytest.raises(NotAuthorisedError):
                await bench.console.give(bench.take(0, "r-1", seen, "nobody"))
            assert bench.takings() == 0

        self.on_a_bench(case)

    def test_a_command_from_a_view_that_was_never_shown_is_refused(self) -> None:
        async def case(bench: ConsoleBench) -> None:
            ahead = await bench.version() + 1_000
            with pytest.raises(RefusedError):
                await bench.console.give(bench.take(0, "r-1", ahead, bench.sessions[0]))
            assert bench.takings() == 0

        self.on_a_bench(case)

    def test_of_two_who_decide_at_once_exactly_one_wins(self) -> None:
        """Hazard H13. Whoever comes second is told, and nothing happens twice."""

        async def case(bench: ConsoleBench) -> None:
            for number in range(self.rounds):
                seen = await bench.version()
                said = await asyncio.gather(
                    *(
                        bench.console.give(bench.take(number, f"{session}-{number}", seen, session))
                        for session in bench.sessions[:: 1 if number % 2 else -1]
                    ),
                    return_exceptions=True,
                )
                assert sorted(type(one).__name__ for one in said) == ["Given", "RefusedError"]
                assert bench.takings() == number + 1

        self.on_a_bench(case)

    def test_a_decision_on_an_old_screen_is_refused_and_on_an_unconcerned_one_is_not(self) -> None:
        """Hazard H13. What has changed since, and only that, makes a screen old."""

        async def case(bench: ConsoleBench) -> None:
            first, second = bench.sessions
            old = await bench.version()
            await bench.change()
            await bench.console.give(bench.take(0, "r-1", old, first))
            with pytest.raises(RefusedError):
                await bench.console.give(bench.take(0, "r-2", old, second))
            assert bench.takings() == 1

        self.on_a_bench(case)
