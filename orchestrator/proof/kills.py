"""Whole batches over real wires whose daemon is killed again and again, and what came of it.

Room and daemon are two processes, on ptys and TCP. The daemon's process group is ended by
SIGKILL: by the room, at a moment that it sees itself (bytes on an instrument's line, a motion
half done, a person at work), or from here, when the journal has so many events more or when
so much real time has passed. The room then goes on alone, and a new daemon goes on from the
journal. Which act was open is read from the journal alone; whether its trigger had begun to
leave, from the bytes that the daemon recorded before they went.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devices.transport.recording import read_recording
from hw_mocks.scenario import scenario_for
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import (
    EVENTS,
    AnyEvent,
    AttemptFailed,
    AttemptIntended,
    AttemptReconciled,
    AttemptSettled,
    AttemptUncertain,
    HostStarted,
    StateChanged,
    TaskOffered,
)
from orchestrator.journal.journal import Recorded, read_events
from orchestrator.journal.verify import verify
from orchestrator.kernel.errors import FailedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.prepared import prepare
from orchestrator.process_cell.simulation import BATCH, is_over
from orchestrator.process_cell.two_processes import CLI, Control, Part, control_of, started
from orchestrator.recipe.model import Recipe
from orchestrator.records.comparison import Comparison, compare
from orchestrator.virtual_time import USUAL_START

ALIVE_S_MOST: Final = 400.0
"""A daemon that is neither killed nor done by then stands still."""

LOOK_EVERY_S: Final = 0.05
HANDS: Final = "hands"

JOURNAL: Final = "journal"
"""In place of an instrument: the daemon dies when its journal has ``count`` events more."""

TIME: Final = "time"
"""In place of an instrument: the daemon dies ``count`` ms of real time after it was started."""

OF_JOURNAL: Final = "event"
OF_TIME: Final = "ms"
OF_WIRE: Final = "heard"


class StandsStillError(FailedError):
    """A batch whose daemon was killed doesn't go on."""

    code = "failed.stands-still"


@dataclass(frozen=True, slots=True)
class Kill:
    """Where the daemon is to die, counted from its own start, and for how long it is dead."""

    equipment: str
    moment: str
    count: int
    dead_s: float
    hears: str = ""
    after_s: float = 0.0
    loses_power: str = ""
    """An instrument that is without power for a moment while the daemon is dead."""

    @property
    def is_rooms(self) -> bool:
        """Return whether the room makes it."""
        return self.equipment not in (JOURNAL, TIME)

    def __str__(self) -> str:
        said = f" {self.hears!r}" if self.hears else ""
        later = f" + {self.after_s:g} s" if self.after_s else ""
        return f"{self.equipment} {self.moment}{said}{later}"


@dataclass(frozen=True, slots=True)
class Staged:
    """One batch in a room of its own, as two processes run it."""

    cell_file: Path
    batch: BatchId
    put_on_file: Callable[[Path], None]
    """Makes a folder, with the journal of a batch that is about to take its first step."""
    room: Callable[[Path], tuple[str, ...]]
    """Gives the interpreter's arguments that run the room in a folder."""
    daemon: str = CLI
    """The module that is started after the first kill."""


def staged(recipe: Recipe, protocol: Path, cell_file: Path, seed: int) -> Staged:
    """Return a batch of a protocol file, as ``cellwright serve`` and ``room`` run it."""

    def put_on_file(folder: Path) -> None:
        folder.mkdir(mode=0o700)
        scenario = scenario_for(json.loads(recipe.content), seed=seed)
        prepare(recipe, folder, load_cell(cell_file), scenario, seed)

    def room(folder: Path) -> tuple[str, ...]:
        brought = ("--seed", str(seed), "--protocol", str(protocol), "--data", str(folder))
        return ("-m", CLI, "room", str(cell_file), "--json", *brought)

    return Staged(cell_file, BATCH, put_on_file, room)


@dataclass(frozen=True, slots=True)
class Killed:
    """What came of one batch: its kills, and what the room's ledger says in the end."""

    comparison: Comparison
    rows: tuple[dict[str, Any], ...]
    status: str
    events: int
    is_sound: bool
    holds_before: tuple[tuple[str, str], ...]
    """Holds before any kill."""


def killed_run(
    staged: Staged,
    folder: Path,
    kills: Sequence[Kill],
    *,
    ask: Callable[[Control], None] = lambda _: None,
) -> Killed:
    """Return what came of one batch whose daemon dies at each of ``kills``, in turn.

    A kill whose moment doesn't come before the batch is over is left out, with those after it.

    Args:
        staged: The batch.
        folder: Empty.
        kills: In their order.
        ask: Is called in the end, to ask more of the room.

    Raises:
        StandsStillError: The batch doesn't go on.
        PartEndedError: The room or a daemon ended by itself.
    """
    data, place = folder / "data", folder / "room"
    folder.mkdir(parents=True, exist_ok=True)
    staged.put_on_file(data)
    followed = _Followed(data, staged.batch)
    rows: list[dict[str, Any]] = []
    with started("room", *staged.room(place), log=folder) as part:
        part.wait_until_it_serves()
        with control_of(place / "room.sock") as room:
            kept = _KeptRoom(staged, folder, part, room, followed)
            for kill in kills:
                row = kept.killed(kill, first=not rows)
                if row is None:
                    break
                rows.append(row)
            if not followed.is_over:
                kept.run_to_the_end(first=not rows)
            ask(room)
            ledger = room.ledger()
        part.end()
    followed.read_on()
    starts = [n for n, one in enumerate(followed.events) if isinstance(one.event, HostStarted)]
    assert len(starts) <= len(rows) + 1, "a daemon that nobody started"
    for row in rows:
        after = followed.events[row["events"] :]
        until = next((n for n, one in enumerate(after) if _is_next(one, row, rows)), len(after))
        row["came_to"] = _came_to(after[:until], row["command"])
        row["holds"] = _holds(after[:until])
    before = followed.events[: rows[0]["events"]] if rows else followed.events
    verdict = verify(data / "journal.sqlite", data / "journal.pub")
    return Killed(
        comparison=compare([*followed.events], ledger, start=USUAL_START),
        rows=tuple(rows),
        status=followed.state.batches[staged.batch].status,
        events=followed.state.seq,
        is_sound=verdict.sound,
        holds_before=tuple(_holds(before)),
    )


def _is_next(one: Recorded[AnyEvent], row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether an event is beyond the kill that followed."""
    later = rows.index(row) + 1
    return later < len(rows) and one.seq > rows[later]["events"]


class _Followed:
    """The journal of a data folder, folded as far as it was read."""

    def __init__(self, data: Path, batch: BatchId) -> None:
        self.data = data
        self.state = HostState()
        self.events: list[Recorded[AnyEvent]] = []
        self._batch = batch

    def read_on(self) -> None:
        """Read what is new."""
        path = self.data / "journal.sqlite"
        for recorded in read_events(path, EVENTS, from_seq=self.state.seq + 1):
            fold(self.state, recorded)
            self.events.append(recorded)

    @property
    def is_over(self) -> bool:
        """Whether the batch has ended and nobody owes anything of it."""
        return self._batch in self.state.batches and is_over(self.state, self._batch)

    def open_attempts(self) -> list[dict[str, Any]]:
        """Return the attempts without a settlement, and whether their triggers have left."""
        wires = self.data / "wires.log"
        passed = read_recording(wires) if wires.exists() else ()
        left = {str(one.trigger) for one in passed if one.trigger}
        left |= {
            str(one.event.task) for one in self.events if isinstance(one.event, TaskOffered)
        }  # the trigger of what hands do
        return [
            {
                "command": str(event.command),
                "equipment": str(event.equipment),
                "act": str(event.asked["work" if event.equipment == HANDS else "kind"]),
                "trigger_left": str(event.command) in left,
            }
            for event in (one.event for one in self.events)
            if isinstance(event, AttemptIntended) and event.command in self.state.attempts
        ]


class _KeptRoom:
    """A room whose daemons die, one after the other."""

    def __init__(
        self, staged: Staged, folder: Path, part: Part, room: Control, followed: _Followed
    ) -> None:
        self._staged = staged
        self._folder = folder
        self._part = part
        self._room = room
        self._followed = followed

    def killed(self, kill: Kill, *, first: bool) -> dict[str, Any] | None:
        """Return how a daemon was killed, and leave it dead for a while; None if it wasn't."""
        followed, room = self._followed, self._room
        deadline_s = time.monotonic() + kill.count / 1000
        with started("serve", *self._serve(first=first), log=self._folder, leads=True) as daemon:
            if kill.is_rooms:
                self._arm(kill, daemon)
            from_seq = followed.state.seq

            def is_due() -> bool:
                if kill.equipment == TIME:
                    return time.monotonic() >= deadline_s
                return kill.equipment == JOURNAL and followed.state.seq >= from_seq + kill.count

            self._wait(daemon, is_due)
            if followed.is_over and not daemon.has_ended:
                daemon.end()
                followed.read_on()
                return None
            daemon.kill()
            if not daemon.was_killed:
                raise daemon.ended_early()
        followed.read_on()
        looked = room.ask("look")
        struck = looked["kills"][-1] if kill.is_rooms else {"request": ""}
        dead_from_s = float(looked["at_s"])
        if kill.is_rooms:
            assert struck["at_s"] == dead_from_s, "the room went on before it was told to"
        now_s = float(room.ask("advance", seconds=kill.dead_s)["at_s"])
        assert abs(now_s - dead_from_s - kill.dead_s) < 0.001
        if kill.loses_power:
            room.ask("power_cycle", equipment=kill.loses_power)
        passed = room.ask("look")["moments"]
        opened = followed.open_attempts()
        at_it = [one for one in opened if one["equipment"] == kill.equipment]
        mine = (at_it or opened or [None])[-1]
        by = mine["equipment"] if mine else kill.equipment
        arrived, ended = (passed.get(f"{by} {one}", 0) for one in ("arrived", "ended"))
        return {
            "planned": str(kill),
            "day": round(dead_from_s / 86_400, 2),
            "events": followed.state.seq,
            "open": len(opened),
            "began": {one["command"]: one["equipment"] for one in opened if one["trigger_left"]},
            "equipment": mine["equipment"] if mine else "",
            "act": mine["act"] if mine else "",
            "command": mine["command"] if mine else "",
            "trigger_left": mine is not None and mine["trigger_left"],
            "heard": struck["request"],
            "dead_s": kill.dead_s,
            "moves_at_restart": arrived > ended,
        }

    def run_to_the_end(self, *, first: bool) -> None:
        """Let a daemon go on until the batch is over."""
        with started("serve", *self._serve(first=first), log=self._folder) as daemon:
            self._wait(daemon, lambda: False)
            if not self._followed.is_over:
                raise daemon.ended_early()
            daemon.end()

    def _serve(self, *, first: bool) -> tuple[str, ...]:
        """Return the interpreter's arguments that run a daemon."""
        module = CLI if first else self._staged.daemon
        joined = ("--data", str(self._followed.data), "--room", str(self._folder / "room"))
        return ("-m", module, "serve", str(self._staged.cell_file), "--json", *joined)

    def _arm(self, kill: Kill, daemon: Part) -> None:
        hears = {"hears": kill.hears} if kill.moment == OF_WIRE else {}
        self._room.ask(
            "kill_at",
            equipment=kill.equipment,
            moment=kill.moment,
            count=kill.count,
            pid=daemon.pid,
            after_s=kill.after_s,
            **hears,
        )

    def _wait(self, daemon: Part, is_due: Callable[[], bool]) -> None:
        """Return when the daemon has ended, or the batch has, or it is due to die."""
        until_s = time.monotonic() + ALIVE_S_MOST
        while time.monotonic() < until_s:
            has_ended = daemon.has_ended
            self._followed.read_on()
            if has_ended or self._followed.is_over or is_due():
                return
            if self._part.has_ended:
                raise self._part.ended_early()
            time.sleep(LOOK_EVERY_S)
        last = [str(one.event)[:300] for one in self._followed.events[-5:]]
        raise StandsStillError(
            f"run {self._staged.batch} after a kill",
            why=f"it goes on for {ALIVE_S_MOST:g} s; last: {last}",
            do_next=f"Look into {self._folder}",
        )


def _came_to(events: Sequence[Recorded[AnyEvent]], command: str) -> str:
    """Return how an attempt ended; empty if it was still open when these events ended."""
    for one in events:
        match one.event:
            case AttemptSettled(command=of, verdict=verdict, done=done) if of == command:
                return f"{verdict} {done}".strip()
            case AttemptReconciled(command=of, verdict=verdict, done=done) if of == command:
                return f"people: {verdict} {done}".strip()
            case AttemptFailed(command=of) if of == command:
                return "failed"
            case _:
                pass
    return ""


def _holds(events: Sequence[Recorded[AnyEvent]]) -> list[tuple[str, str]]:
    """Return each hold: the attempt in doubt, or what else was held, and why."""
    found: list[tuple[str, str]] = []
    for one in events:
        match one.event:
            case AttemptUncertain(command=command, why=why):
                found.append((command, why))
            case StateChanged(trigger="hold", path=path, why=why, reason=reason) if (
                not reason.startswith("doubt ")
            ):
                found.append((path, why))
            case _:
                pass
    return found
