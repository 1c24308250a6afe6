"""Whole batches over real wires whose daemon is killed again and again, and what came of it.

The room ends the daemon (SIGKILL) at a moment that it sees itself: bytes on an instrument's
line, a motion half done, a person at work. Which act was open then is read from the journal
alone. Whether its trigger had left is said twice: by the bytes that the daemon recorded
before they went, and by what the room had heard.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devices.transport.recording import read_recording
from hw_mocks.scenario import scenario_for
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import (
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
from orchestrator.journal.journal import Recorded
from orchestrator.journal.verify import verify
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.prepared import prepare
from orchestrator.process_cell.simulation import BATCH, REFERENCE_CELL, is_over
from orchestrator.recipe.model import Recipe
from tests.simulation.wires import RoomProcess, a_daemon, a_room, journal_of, judged, stop

ALIVE_S_MOST: Final = 400.0
"""A daemon that is neither killed nor done by then stands still."""

LOOK_EVERY_S: Final = 0.2
HANDS: Final = "hands"

TRIGGERS: Final = {
    "R1": ("pickplate", "placeplate"),
    "P1": ("DO",),
    "V1": ("write_coils",),
    "I1": ("2010",),
    "C1": ("spin",),
    "F1": ("S", "C"),
    "N1": ("ORDER",),
}
"""What each instrument's emulator calls a request that starts an act. The arm's and the
centrifuge's homing are acting requests too, and only prepare one."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Where the daemon is to die, counted from its own start, and for how long it is dead."""

    equipment: str
    moment: str
    count: int
    dead_s: float
    hears: str = ""
    after_s: float = 0.0

    def __str__(self) -> str:
        said = f" {self.hears!r}" if self.hears else ""
        later = f" + {self.after_s:g} s" if self.after_s else ""
        return f"{self.equipment} {self.moment}{said}{later}"


@dataclass(frozen=True, slots=True)
class Open:
    """An attempt that the journal shows open."""

    command: str
    equipment: str
    act: str
    trigger_left: bool


class Followed:
    """The journal of a data folder, folded as far as it was read."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.state = HostState()
        self.events: list[Recorded[AnyEvent]] = []

    def read_on(self) -> None:
        """Read what is new."""
        for recorded in journal_of(self.data, from_seq=self.state.seq + 1):
            fold(self.state, recorded)
            self.events.append(recorded)

    @property
    def is_over(self) -> bool:
        """Whether the batch has ended and nobody owes anything of it."""
        return BATCH in self.state.batches and is_over(self.state, BATCH)

    def open_attempts(self) -> list[Open]:
        """Return the attempts without a settlement, and whether their triggers have left."""
        left = {one.trigger for one in read_recording(self.data / "wires.log")}
        offered = {
            one.event.task for one in self.events if isinstance(one.event, TaskOffered)
        }  # the trigger of what hands do
        found: list[Open] = []
        for one in self.events:
            event = one.event
            if isinstance(event, AttemptIntended) and event.command in self.state.attempts:
                command = event.command
                kind = event.asked["work" if event.equipment == HANDS else "kind"]
                found.append(Open(command, event.equipment, str(kind), command in left | offered))
        return found


def killed_run(
    folder: Path, recipe: Recipe, protocol: Path, seed: int, kills: Sequence[Kill]
) -> dict[str, Any]:
    """Return what came of one batch whose daemon dies at each of ``kills``, in turn."""
    data, place = folder / "data", folder / "room"
    data.mkdir(mode=0o700)
    scenario = scenario_for(json.loads(recipe.content), seed=seed)
    prepare(recipe, data, load_cell(REFERENCE_CELL), scenario, seed)
    command = ("-m", "orchestrator.cli.main", "room", str(REFERENCE_CELL), "--json")
    brought = ("--data", str(place), "--seed", str(seed), "--protocol", str(protocol))
    followed = Followed(data)
    with a_room(place, *command, *brought) as room:
        rows = [_killed(room, followed, kill) for kill in kills]
        with a_daemon(data, place, cell=REFERENCE_CELL) as daemon:
            _wait(followed, daemon)
            assert followed.is_over, daemon.communicate()
            assert stop(daemon) == ""
        ledger = room.ask("ledger")["ledger"]
    followed.read_on()
    starts = [n for n, one in enumerate(followed.events) if isinstance(one.event, HostStarted)]
    assert len(starts) == len(kills) + 1
    ends = [*starts[2:], len(followed.events)]
    for row, since, until in zip(rows, starts[1:], ends, strict=True):
        after = followed.events[since:until]
        row["came_to"] = _came_to(after, row["command"])
        row["holds"] = _holds(after)
    comparison = judged(data / "journal.sqlite", ledger)
    verdict = verify(data / "journal.sqlite", data / "journal.pub")
    return {
        "seed": seed,
        "status": followed.state.batches[BATCH].status,
        "repeated": comparison.repeated_acts,
        "lost": comparison.lost_acts,
        "findings": [str(one) for one in comparison.findings],
        "acts": len(comparison.acts),
        "events": followed.state.seq,
        "sound": verdict.sound,
        "holds_before_any_kill": _holds(followed.events[: starts[1]]),
        "kills": rows,
    }


def _killed(room: RoomProcess, followed: Followed, kill: Kill) -> dict[str, Any]:
    """Run a daemon until the room ends it, and leave it dead for a while."""
    with a_daemon(followed.data, room.folder, cell=REFERENCE_CELL) as daemon:
        asked = {"hears": kill.hears} if kill.hears else {}
        armed = room.ask(
            "kill_at",
            equipment=kill.equipment,
            moment=kill.moment,
            count=kill.count,
            pid=daemon.pid,
            after_s=kill.after_s,
            **asked,
        )
        assert armed.get("pid") == daemon.pid, armed
        _wait(followed, daemon)
        assert not followed.is_over, f"the batch was over before {kill}"
        _, complaints = daemon.communicate()
        assert (complaints, daemon.returncode) == ("", -9), complaints
    followed.read_on()
    looked = room.ask("look")
    struck = looked["kills"][-1]
    assert looked["at_s"] == struck["at_s"], "the room went on before it was told to"
    now_s = room.ask("advance", seconds=kill.dead_s)["at_s"]
    assert abs(now_s - struck["at_s"] - kill.dead_s) < 0.001
    passed = room.ask("look")["moments"]
    said = (struck["request"], kill.hears.lower())
    is_trigger = kill.equipment == HANDS or any(one in TRIGGERS[kill.equipment] for one in said)
    open_ones = followed.open_attempts()
    mine = next((one for one in open_ones if one.equipment == kill.equipment), None)
    arrived, ended = (passed.get(f"{kill.equipment} {one}", 0) for one in ("arrived", "ended"))
    return {
        "planned": str(kill),
        "day": round(struck["at_s"] / 86_400, 2),
        "open": len(open_ones),
        "equipment": mine.equipment if mine else "",
        "act": mine.act if mine else "",
        "command": mine.command if mine else "",
        "trigger_left": mine is not None and mine.trigger_left,
        "room_heard_it": mine is not None and is_trigger,
        "dead_s": kill.dead_s,
        "moves_at_restart": arrived > ended,
    }


def _wait(followed: Followed, daemon: subprocess.Popen[str]) -> None:
    """Return when the daemon has ended, or the batch has."""
    deadline_s = time.monotonic() + ALIVE_S_MOST
    while time.monotonic() < deadline_s:
        has_ended = daemon.poll() is not None
        followed.read_on()
        if has_ended or followed.is_over:
            return
        time.sleep(LOOK_EVERY_S)
    last = [str(one.event)[:300] for one in followed.events[-5:]]
    raise AssertionError(f"it goes on for {ALIVE_S_MOST:g} s; last: {last}")


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
