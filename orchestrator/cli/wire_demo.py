"""The demo over real wires: room and daemon as two processes that only bytes connect.

This process starts both, reads the journal while the daemon writes it, and ends both. What
the room holds then is asked of the room, and compared with the record as in memory.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from hw_mocks.scenario import scenario_for
from orchestrator.cli.folders import made_folder
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import read_events
from orchestrator.kernel.errors import FailedError
from orchestrator.kernel.instants import Instant
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.prepared import prepare
from orchestrator.process_cell.simulation import (
    BATCH,
    LONGEST_DAYS,
    REFERENCE_CELL,
    Outcome,
    Told,
    Watched,
    is_over,
    outcome_of,
)
from orchestrator.recipe.model import Recipe
from orchestrator.records.comparison import LedgerEffect
from orchestrator.virtual_time import USUAL_START

LOOK_EVERY_S: Final = 0.2
"""How often the journal is read; the daemon works on meanwhile."""

SILENT_LOOKS: Final = 10
"""After so many without news the room is asked whether its time has run out."""

ENDS_WITHIN_S: Final = 30.0
"""A process that was told to end and hasn't by then is killed."""

SECONDS_A_DAY: Final = 86_400

_HUNG_UP: Final = b'{"error": {"why": "it hung up, or gave no answer in time"}}'


class PartEndedError(FailedError):
    """The daemon or the room ended, or fell silent, before the batch had."""

    code = "failed.part-ended"


def simulate_over_wires(
    recipe: Recipe, protocol: Path, folder: Path, *, seed: int, told: Told | None = None
) -> Outcome:
    """Return what comes of one batch on the reference cell, run over real wires.

    Args:
        recipe: Written by ``protocol``.
        protocol: The file, which the room reads for what it has to bring.
        folder: Empty; the journal, traces, saved state and recorded wires are left there,
            and in ``room`` what the room leaves.
        seed: Decides on the donor and on all chance of the room.
        told: Is told of each event as soon as it is read from the journal.

    Raises:
        PartEndedError: The daemon or the room ended before the batch had.
    """
    began_s = time.perf_counter()
    folder = made_folder(folder)
    scenario = scenario_for(json.loads(recipe.content), seed=seed)
    prepare(recipe, folder, load_cell(REFERENCE_CELL), scenario, seed)
    watched = Watched(HostState(), recipe)
    cell, place = str(REFERENCE_CELL), folder / "room"
    with ExitStack() as parts:
        brought = ("--seed", str(seed), "--protocol", str(protocol))
        room = parts.enter_context(_part("room", cell, "--data", str(place), *brought, log=folder))
        control = parts.enter_context(_control(place / "room.sock"))
        joined = ("--data", str(folder), "--room", str(place))
        with _part("serve", cell, *joined, log=folder) as daemon:
            ended_at = _follow(folder / "journal.sqlite", daemon, control, watched, told)
            daemon.end()
        effects = [_effect(one) for one in control.ask("ledger")["ledger"]]
        outcome = outcome_of(
            scenario,
            watched,
            folder,
            days=(ended_at - USUAL_START).base / (1000 * SECONDS_A_DAY),
            began=USUAL_START,
            effects=effects,
            look=control.look,
        )
        room.end()
    outcome.wall_s = time.perf_counter() - began_s
    return outcome


def _follow(
    journal: Path, daemon: _Part, control: _Control, watched: Watched, told: Told | None
) -> Instant:
    """Read the journal as it grows, until the batch is over; return when it was.

    A batch that stands still is left after ``LONGEST_DAYS`` of the room's time.
    """
    state, at, silent = watched.state, USUAL_START, 0
    while True:
        is_last = daemon.has_ended
        silent += 1
        for recorded in read_events(journal, EVENTS, from_seq=state.seq + 1):
            fold(state, recorded)
            watched(recorded)
            if told is not None:
                told(recorded)
            at, silent = recorded.at, 0
        if BATCH in state.batches and is_over(state, BATCH):
            return at
        if is_last:
            raise daemon.ended_early()
        if silent >= SILENT_LOOKS:
            if control.ask("look")["at_s"] > LONGEST_DAYS * SECONDS_A_DAY:
                return at
            silent = 0
        sys.stdout.flush()
        time.sleep(LOOK_EVERY_S)


def _effect(told: Mapping[str, Any]) -> LedgerEffect:
    """Return an effect as it was before JSON made lists of its tuples."""
    read: dict[str, Any] = {
        **told,
        "things": tuple(told["things"]),
        "places": tuple(told["places"]),
    }
    return LedgerEffect(**read)


# The two processes --------------------------------------------------------------------------


class _Part:
    """One process of ours, known by its handle."""

    def __init__(self, name: str, process: subprocess.Popen[str], complaints: Path) -> None:
        self._name = name
        self._process = process
        self._complaints = complaints

    @property
    def has_ended(self) -> bool:
        """Return whether the process is over."""
        return self._process.poll() is not None

    def wait_until_it_serves(self) -> None:
        """Return when it has said its one line.

        Raises:
            PartEndedError: It ended instead.
        """
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self._process.wait(ENDS_WITHIN_S)
            raise self.ended_early()

    def end(self) -> None:
        """Have it end in good order.

        Raises:
            PartEndedError: It couldn't.
        """
        self._process.terminate()
        try:
            status = self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            raise self.ended_early()

    def leave(self) -> None:
        """Have it end if it still runs, as when something else failed; kill it if it doesn't."""
        if self.has_ended:
            return
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ended_early(self) -> PartEndedError:
        """Return the error that says how it ended."""
        said = self._complaints.read_text("utf-8", errors="replace").strip().splitlines()
        status = self._process.poll()
        how = "it doesn't end" if status is None else f"it ended with status {status}"
        return PartEndedError(
            f"run `cellwright {self._name}`",
            why=f"{how}: {said[-1]}" if said else how,
            do_next=f"Look into {self._complaints}, and run the demo again in another folder",
        )


@contextmanager
def _part(name: str, *arguments: str, log: Path) -> Generator[_Part]:
    """Run a command of ours while the block runs; yield it when it serves."""
    complaints = log / f"{name}.log"
    with complaints.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", name, *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    part = _Part(name, process, complaints)
    with process.stdout:
        try:
            part.wait_until_it_serves()
            yield part
        finally:
            part.leave()


class _Control:
    """What can be asked of the room."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lines = end.makefile("rb")

    def ask(self, do: str, **request: Any) -> Mapping[str, Any]:
        """Return the room's answer.

        Raises:
            PartEndedError: It hung up, or refused.
        """
        try:
            self._end.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
            line = self._lines.readline()
        except OSError:
            line = b""
        answer: dict[str, Any] = json.loads(line or _HUNG_UP)
        if "error" in answer:
            raise PartEndedError(
                f"ask the room for {do}",
                why=str(answer["error"]["why"]),
                do_next="Look into room.log, and run the demo again in another folder",
            )
        return answer

    def look(self, container: str) -> tuple[str, float]:
        """Return where a container is, and how many cells of patients it holds."""
        answer = self.ask("contents", container=container)
        return str(answer["place"]), float(answer["viable"])


@contextmanager
def _control(path: Path) -> Generator[_Control]:
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(ENDS_WITHIN_S)
        end.connect(str(path))
        yield _Control(end)
