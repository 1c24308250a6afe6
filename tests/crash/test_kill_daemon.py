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

KILLS = (
    ("P1", "arriving", 4, NONE),
    ("P1", "arriving", 1, BEYOND),
    ("P1", "arrived", 4, MID_MOTION),
    ("P1", "arrived", 2, BEYOND),
    ("P1", "moving", 4, MID_MOTION),
    ("P1", "ended", 3, NONE),
    ("V1", "arriving", 2, MID_MOTION),
    ("V1", "arrived", 3, NONE),
    ("V1", "moving", 1, BEYOND),
    ("V1", "ended", 4, MID_MOTION),
)
"""Instrument, moment, which passing of it, seconds dead.

P1 turns empty, rinses the new joint, shows its first dose, and then moves the cells.
"""


@dataclass(frozen=True, slots=True)
class CameTo:
    """What came of a run whose daemon was killed once."""

    comparison: Comparison
    kills: list[tuple[str, str]]
    vessel_mL: float
    bag_mL: float


def run_with_a_kill(
    folder: Path,
    equipment: str,
    moment: str,
    count: int,
    *,
    dead_s: float,
    loses_power: bool = False,
    then: str = "orchestrator.cli.main",
) -> CameTo:
    """Run the thin path to its end; ``then`` is the daemon that goes on after the kill."""
    data = folder / "data"
    put_on_file(data)
    with a_room(folder / "room") as room:
        with a_daemon(data, room.folder) as first:
            pid = first.pid
            armed = room.ask("kill_at", equipment=equipment, moment=moment, count=count, pid=pid)
            assert armed.get("pid") == pid, armed
            assert not wait_for_the_end(data, first)
            assert (first.communicate()[1], first.returncode) == ("", -9)
        dead_from_s = room.ask("look")["at_s"]
        killed_at_s = [kill["at_s"] for kill in room.ask("look")["kills"]]
        assert killed_at_s == [dead_from_s], "the room stands still from the kill on"
        assert room.ask("advance", seconds=dead_s)["at_s"] == pytest.approx(dead_from_s + dead_s)
        if loses_power:
            assert room.ask("power_cycle", equipment=equipment) == {"cycled": equipment}

        with a_daemon(data, room.folder, module=then) as second:
            assert wait_for_the_end(data, second), second.communicate()
            assert stop(second) == ""
        kills = [(kill["equipment"], kill["moment"]) for kill in room.ask("look")["kills"]]
        vessel = room.ask("contents", container=f"{KIT}/vessel")["volume_mL"]
        bag = room.ask("contents", container=BAG)["volume_mL"]
        ledger = room.ask("ledger")["ledger"]
    assert sum(isinstance(one.event, HostStarted) for one in journal_of(data)) == 2
    return CameTo(judged(data / "journal.sqlite", ledger), kills, vessel, bag)


@pytest.mark.requirement("PRC-09")
@pytest.mark.emulation_cannot_show("what an instrument of the site does when its host dies")
@pytest.mark.parametrize(("equipment", "moment", "count", "dead_s"), KILLS)
def test_killed_and_started_again_it_does_nothing_twice_and_loses_nothing(
    tmp_path: Path, equipment: str, moment: str, count: int, dead_s: float
) -> None:
    ran = run_with_a_kill(tmp_path, equipment, moment, count, dead_s=dead_s)
    assert ran.kills == [(equipment, moment)]
    assert ran.comparison.agrees, ran.comparison.findings
    assert ran.comparison.held == ()
    assert ran.vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
    assert ran.bag_mL == pytest.approx(100 + 1 - TRANSFERRED.to(mL), abs=0.5)


def test_people_at_work_finish_while_the_daemon_is_dead(tmp_path: Path) -> None:
    ran = run_with_a_kill(tmp_path, "hands", "moving", 1, dead_s=BEYOND)
    assert ran.kills == [("hands", "moving")]
    assert ran.comparison.agrees, ran.comparison.findings
    assert ran.comparison.held == ()
    assert ran.vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)


def test_an_instrument_that_lost_its_power_meanwhile_is_put_to_two_people(tmp_path: Path) -> None:
    ran = run_with_a_kill(tmp_path, "V1", "ended", 3, dead_s=MID_MOTION, loses_power=True)
    assert [(one.instrument, one.act) for one in ran.comparison.held] == [("V1", "set_valves")]
    assert ran.comparison.lost_acts == 0
    beside = {one.instrument for one in ran.comparison.findings}
    assert beside == {"V1"}, "no act names that the valves shut when their power went"
    assert ran.vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)


def test_a_daemon_that_takes_doubt_for_nothing_done_is_found_to_repeat(tmp_path: Path) -> None:
    ran = run_with_a_kill(
        tmp_path, "P1", "moving", 4, dead_s=NONE, then="tests.crash.faulty_daemon"
    )
    assert ran.comparison.repeated_acts == 1, ran.comparison.findings
    assert ran.vessel_mL == pytest.approx(1.5 * TRANSFERRED.to(mL), abs=2)
