"""The daemon is killed over real wires, at moments of its instruments, and started again.

Method: the room kills the process (SIGKILL, no `finally` runs) at a moment of an acting
request, time passes or not while it is dead, and a new one goes on from the journal to the
end. Then the World is the judge: its ledger beside the journal shows nothing done twice and
nothing lost, and the bags hold what they hold without a kill.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.journal.events import HostStarted
from orchestrator.kernel.quantities import mL
from orchestrator.records.comparison import Comparison
from tests.simulation.thin import BAG, KIT, TRANSFERRED
from tests.simulation.wires import (
    RoomProcess,
    a_daemon,
    a_room,
    journal_of,
    judged,
    put_on_file,
    stop,
    wait_for_the_end,
)

NONE, MID_MOTION, BEYOND = 0.0, 20.0, 3600.0
"""How long the daemon is dead: a dose of 60 mL takes 90 s, so 20 s end in its middle."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a daemon dies, and for how long: at which passing of the moment since it started."""

    equipment: str
    moment: str
    count: int
    dead_s: float


RUNS = (
    (
        Kill("P1", "arriving", 1, BEYOND),
        Kill("P1", "arrived", 1, BEYOND),
        Kill("P1", "ended", 1, NONE),
        Kill("P1", "moving", 1, MID_MOTION),
    ),
    (
        Kill("hands", "moving", 1, BEYOND),
        Kill("V1", "arriving", 2, MID_MOTION),
        Kill("V1", "moving", 1, BEYOND),
        Kill("P1", "arriving", 1, NONE),
    ),
    (
        Kill("V1", "arrived", 3, NONE),
        Kill("V1", "ended", 2, MID_MOTION),
        Kill("P1", "arrived", 1, MID_MOTION),
    ),
)
"""The kills of each run, in their order.

P1 turns empty, rinses the new joint, shows its first dose, and then moves the cells.
"""


@dataclass(frozen=True, slots=True)
class CameTo:
    """What came of a run whose daemon was killed."""

    comparison: Comparison
    kills: list[tuple[str, str]]
    vessel_mL: float
    bag_mL: float


def run_with_kills(
    folder: Path,
    *kills: Kill,
    loses_power: str = "",
    then: str = "orchestrator.cli.main",
) -> CameTo:
    """Run the thin path to its end; ``then`` is the daemon that goes on after a kill.

    Power is lost by the instrument ``loses_power`` while the daemon is dead.
    """
    data = folder / "data"
    put_on_file(data)
    module = "orchestrator.cli.main"
    with a_room(folder / "room") as room:
        for count, kill in enumerate(kills, start=1):
            with a_daemon(data, room.folder, module=module) as daemon:
                _arm(room, kill, daemon.pid)
                assert not wait_for_the_end(data, daemon), f"it ended before {kill}"
                assert (daemon.communicate()[1], daemon.returncode) == ("", -9)
            looked = room.ask("look")
            dead_from_s = looked["at_s"]
            assert len(looked["kills"]) == count
            assert looked["kills"][-1]["at_s"] == dead_from_s, "it stands still from the kill on"
            woken_s = room.ask("advance", seconds=kill.dead_s)["at_s"]
            assert woken_s == pytest.approx(dead_from_s + kill.dead_s)
            if loses_power:
                assert room.ask("power_cycle", equipment=loses_power) == {"cycled": loses_power}
            module = then

        with a_daemon(data, room.folder, module=module) as last:
            assert wait_for_the_end(data, last), last.communicate()
            assert stop(last) == ""
        passed = [(kill["equipment"], kill["moment"]) for kill in room.ask("look")["kills"]]
        vessel = room.ask("contents", container=f"{KIT}/vessel")["volume_mL"]
        bag = room.ask("contents", container=BAG)["volume_mL"]
        ledger = room.ask("ledger")["ledger"]
    starts = sum(isinstance(one.event, HostStarted) for one in journal_of(data))
    assert starts == len(kills) + 1
    return CameTo(judged(data / "journal.sqlite", ledger), passed, vessel, bag)


def _arm(room: RoomProcess, kill: Kill, pid: int) -> None:
    armed = room.ask(
        "kill_at", equipment=kill.equipment, moment=kill.moment, count=kill.count, pid=pid
    )
    assert armed.get("pid") == pid, armed


@pytest.mark.requirement("PRC-09")
@pytest.mark.emulation_cannot_show("what an instrument of the site does when its host dies")
@pytest.mark.parametrize("kills", RUNS, ids=("P1", "hands-V1-P1", "V1-P1"))
def test_killed_and_started_again_it_does_nothing_twice_and_loses_nothing(
    tmp_path: Path, kills: tuple[Kill, ...]
) -> None:
    ran = run_with_kills(tmp_path, *kills)
    assert ran.kills == [(kill.equipment, kill.moment) for kill in kills]
    assert ran.comparison.agrees, ran.comparison.findings
    assert ran.comparison.held == ()
    assert ran.vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
    assert ran.bag_mL == pytest.approx(100 + 1 - TRANSFERRED.to(mL), abs=0.5)


def test_an_instrument_that_lost_its_power_meanwhile_is_put_to_two_people(tmp_path: Path) -> None:
    ran = run_with_kills(tmp_path, Kill("V1", "ended", 3, MID_MOTION), loses_power="V1")
    assert [(one.instrument, one.act) for one in ran.comparison.held] == [("V1", "set_valves")]
    assert ran.comparison.lost_acts == 0
    beside = {one.instrument for one in ran.comparison.findings}
    assert beside == {"V1"}, "no act names that the valves shut when their power went"
    assert ran.vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)


def test_a_daemon_that_takes_doubt_for_nothing_done_is_found_to_repeat(tmp_path: Path) -> None:
    ran = run_with_kills(tmp_path, Kill("P1", "moving", 4, NONE), then="tests.crash.faulty_daemon")
    assert ran.comparison.repeated_acts == 1, ran.comparison.findings
    assert ran.vessel_mL == pytest.approx(1.5 * TRANSFERRED.to(mL), abs=2)
