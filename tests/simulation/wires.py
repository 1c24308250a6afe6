"""Daemon and room as two processes, for tests: start them, ask the room, read the journal.

The daemon is ``cellwright serve`` as people start it. What the thin path needs on file is
written into its journal before its first start, as a daemon before it would have.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.cli.user import host_of
from orchestrator.engine.core import Core
from orchestrator.engine.state import HostState
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    EVENTS,
    HOST,
    AnyEvent,
    AttemptIntended,
    BatchEnded,
    BatchStarted,
)
from orchestrator.journal.journal import Journal, Recorded, read_events
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.emulated_people import let_people_in
from orchestrator.process_cell.two_processes import CLI
from orchestrator.proof.kills import Staged
from orchestrator.records.comparison import Comparison, LedgerEffect, compare
from orchestrator.virtual_time import USUAL_START, run_in_virtual_time, virtual_clock
from tests.simulation.thin import BATCH, CELL, on_file, recipe_that_docks

WAIT_S = 40.0


class RoomProcess:
    """A room that runs, and its control socket."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.folder = folder
        self._process = process
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WAIT_S)
        self._socket.connect(str(folder / "room.sock"))
        self._lines = self._socket.makefile("rb")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        answer = self._lines.readline()
        assert answer, f"the room hung up at {do}"
        return json.loads(answer)

    def hang_up(self) -> None:
        self._lines.close()
        self._socket.close()

    def end(self) -> None:
        if self._process.poll() == 0:
            return
        self._process.terminate()
        _, complaints = self._process.communicate(timeout=WAIT_S)
        assert (self._process.returncode, complaints) == (0, "")


@contextmanager
def a_room(folder: Path, *command: str) -> Generator[RoomProcess]:
    """Run a room while the block runs: the thin path's, or what ``command`` begins."""
    folder.mkdir(mode=0o700)
    begun = command or ("-m", "tests.simulation.thin_room", str(folder))
    with _process(*begun) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise AssertionError(process.communicate()[1])
        room = RoomProcess(process, folder)
        try:
            yield room
        finally:
            room.hang_up()
        room.end()


@contextmanager
def a_daemon(
    data: Path,
    room: Path,
    *options: str,
    cell: Path = CELL,
    module: str = "orchestrator.cli.main",
) -> Generator[subprocess.Popen[str]]:
    """Run ``cellwright serve`` on a room; ``options`` are the interpreter's."""
    serve = ("-m", module, "serve", str(cell), "--json")
    with _process(*options, *serve, "--data", str(data), "--room", str(room)) as process:
        yield process


@contextmanager
def _process(*arguments: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def stop(process: subprocess.Popen[str]) -> str:
    """Stop a daemon in good order; return what it wrote on standard error."""
    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, complaints
    return complaints


def put_on_file(data: Path) -> None:
    """Write a journal in which people, recipe and material are on file and the batch started."""
    data.mkdir(mode=0o700)
    cell = load_cell(CELL)

    async def write() -> None:
        host = host_of(data)
        signer = Signer.stored(data, host, os.urandom)
        journal: Journal[AnyEvent] = Journal(
            data / "journal.sqlite", EVENTS, clock=virtual_clock(), host=host, signer=signer
        )
        async with asyncio.TaskGroup() as tasks:
            core = Core(
                journal=journal,
                state=HostState(),
                drivers={},
                clock=virtual_clock(),
                cell=cell,
                tasks=tasks,
                can_be_suspended=False,
            )
            core.follow()
            await let_people_in(core, os.urandom)
            now = virtual_clock().utc()
            await core.record(HOST, *on_file(now, cell.digest, recipe_that_docks()))
            await core.record(BATCH, BatchStarted(batch=BATCH))
        await journal.checkpoint()
        journal.close()

    run_in_virtual_time(write(), start=USUAL_START)


def thin_staged(daemon: str = CLI) -> Staged:
    """Return the thin path as two processes run it; ``daemon`` goes on after the first kill."""

    def room(folder: Path) -> tuple[str, ...]:
        return ("-m", "tests.simulation.thin_room", str(folder))

    return Staged(CELL, BATCH, put_on_file, room, daemon)


def journal_of(data: Path, *, from_seq: int = 1) -> Iterator[Recorded[AnyEvent]]:
    return read_events(data / "journal.sqlite", EVENTS, from_seq=from_seq)


def wait_for_the_end(data: Path, process: subprocess.Popen[str]) -> bool:
    """Return whether the batch has ended; else the daemon has."""
    deadline_s = time.monotonic() + WAIT_S
    read_to = 0
    while time.monotonic() < deadline_s:
        is_over = process.poll() is not None
        for one in journal_of(data, from_seq=read_to + 1):
            read_to = one.seq
            if isinstance(one.event, BatchEnded):
                return True
        if is_over:
            return False
        time.sleep(0.05)
    raise AssertionError(f"the batch didn't end within {WAIT_S} s")


def judged(journal: Path, ledger: Iterable[Mapping[str, Any]]) -> Comparison:
    """Lay the World's ledger beside the journal."""
    effects = [LedgerEffect(**_read(effect)) for effect in ledger]
    return compare(read_events(journal, EVENTS), effects, start=USUAL_START)


def _read(effect: Mapping[str, Any]) -> dict[str, Any]:
    """Return an effect as it was before JSON made lists of its tuples."""
    return {**effect, "things": tuple(effect["things"]), "places": tuple(effect["places"])}


def acts_by_phase(journal: Path) -> dict[str, list[tuple[int, str, dict[str, Any]]]]:
    """Return each phase's acts as intended: index of the word, method, parameters."""
    found: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    for recorded in read_events(journal, EVENTS):
        event = recorded.event
        if isinstance(event, AttemptIntended):
            asked = dict(event.asked)
            kind = str(asked.pop("kind"))
            found.setdefault(str(event.path), []).append((event.word, kind, asked))
    return found
