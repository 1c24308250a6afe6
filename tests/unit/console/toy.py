"""A console without an engine: things to take, and one command for each kind of error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator.console.service import serve_console
from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import NotAuthorisedError, ProcessError, RefusedError
from tests.contract.console import ConsoleBench

PEOPLE = {"session-anna": "anna", "session-ben": "ben"}
PASSWORD = "correct horse battery staple"
SECRET = "/home/somebody/secret-of-the-daemon"


class ToyConsole:
    """Implements ``Console``: each thing can be taken once, on a screen that isn't old."""

    def __init__(self) -> None:
        self.version = 1
        self.takers: dict[int, str] = {}
        self.text = "fit"
        self.waiting = 0
        self.last: dict[str, Any] = {}
        self._changed_at: dict[int, int] = {}
        self._answered: dict[str, Given] = {}
        self._news = asyncio.Event()

    async def change(self) -> None:
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        if name == "mistake":
            raise AssertionError(SECRET)
        if name == "late refusal":
            await self._news.wait()
        if name != "things":
            raise RefusedError(f"show {name}", why="there is none", do_next="Ask for things")
        self.waiting += 1
        try:
            while self.version <= newer_than:
                await self._news.wait()
        finally:
            self.waiting -= 1
        takers = {str(number): taker for number, taker in self.takers.items()}
        return {
            "version": self.version,
            "takers": takers,
            "asked": arguments,
            "text": self.text,
            "nothing": None,
        }

    async def give(self, command: Command) -> Given:
        await asyncio.sleep(0)
        if command.request in self._answered:
            return self._answered[command.request]
        if command.session not in PEOPLE:
            raise NotAuthorisedError(command.name, why="nobody is logged in", do_next="Log in")
        if command.seen > self.version:
            raise RefusedError(command.name, why="never shown", do_next="Look again")
        if command.name == "fail":
            code = str(command.arguments["code"])
            raise ProcessError.by_code[code](f"do {code}", why="so asked", do_next="Nothing")
        if command.name == "stumble":
            raise AssertionError(SECRET)
        if command.name == "dawdle":
            await asyncio.sleep(float(command.arguments["s"]))
        number = int(command.arguments.get("number", 0))
        if self._changed_at.get(number, 0) > command.seen:
            raise RefusedError(command.name, why="it has changed since", do_next="Look again")
        self.last = command.arguments
        await self.change()
        self._changed_at[number] = self.version
        self.takers[number] = PEOPLE[command.session]
        given = Given(seq=self.version, result={"number": number})
        self._answered[command.request] = given
        return given


async def toy_login(user: str, password: str) -> str:
    if (user, password) != ("anna", PASSWORD):
        raise NotAuthorisedError("log in", why="they don't belong together", do_next="Try again")
    return "session-anna"


def take(number: int, request: str, seen: int, session: str) -> Command:
    arguments = {"number": number}
    return Command(request=request, seen=seen, session=session, name="take", arguments=arguments)


def a_command(name: str, **arguments: object) -> Command:
    return Command(request=name, seen=1, session="session-anna", name=name, arguments=arguments)


def bench_with(toy: ToyConsole, console: Any) -> ConsoleBench:
    return ConsoleBench(
        console=console,
        view="things",
        sessions=("session-anna", "session-ben"),
        take=take,
        takings=lambda: len(toy.takers),
        change=toy.change,
    )


@asynccontextmanager
async def served(path: Path, *, uid: int | None = None) -> AsyncGenerator[ToyConsole]:
    toy = ToyConsole()
    async with serve_console(toy, path, login=toy_login, uid=uid):
        yield toy
