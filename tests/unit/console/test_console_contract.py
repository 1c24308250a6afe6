"""The console's contract, on a toy: in process, and over a socket on both kinds of loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from orchestrator.console.client import ConsoleClient
from orchestrator.virtual_time import run_in_virtual_time
from tests.contract.console import Case, ConsoleContract
from tests.unit.console.toy import ToyConsole, bench_with, served


class TestInProcess(ConsoleContract):
    def on_a_bench(self, case: Case) -> None:
        async def main() -> None:
            toy = ToyConsole()
            await case(bench_with(toy, toy))

        run_in_virtual_time(main())


class OverASocket(ConsoleContract):
    path: Path

    @pytest.fixture(autouse=True)
    def a_path(self, tmp_path: Path) -> Generator[None]:
        self.path = tmp_path / "console" / "socket"
        yield
        assert not self.path.exists(), "the socket outlived its service"

    async def over_the_socket(self, case: Case) -> None:
        async with served(self.path) as toy, ConsoleClient(self.path) as client:
            await case(bench_with(toy, client))


class TestOverASocketOnVirtualTime(OverASocket):
    def on_a_bench(self, case: Case) -> None:
        run_in_virtual_time(self.over_the_socket(case))


class TestOverASocketOnRealTime(OverASocket):
    def on_a_bench(self, case: Case) -> None:
        asyncio.run(self.over_the_socket(case))
