"""The daemon is killed over real wires, at moments of its instruments, and started again.

Method: the room kills the process (SIGKILL, no `finally` runs) at a moment of an acting
request, time passes or not while it is dead, and a new one goes on from the journal to the
end. Then the World is the judge: its ledger beside the journal shows nothing done twice and
nothing lost, and the bags hold what they hold without a kill.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import main
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell.two_processes import CLI, Control
from orchestrator.proof.kills import HANDS, Kill, Killed, killed_run
from tests.simulation.thin import BAG, KIT, TRANSFERRED
from tests.simulation.wires import thin_staged

NONE, MID_MOTION, BEYOND = 0.0, 20.0, 3600.0
"""How long the daemon is dead: a dose of 60 mL takes 90 s, so 20 s end in its middle."""


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


def run_with_kills(folder: Path, *kills: Kill, then: str = CLI) -> tuple[Killed, float, float]:
    """Run the thin path to its end; ``then`` is the daemon that goes on after a kill.

    Returns also what is in the vessel and in the bag in the end, in mL.
    """
    volumes: dict[str, float] = {}

    def look(room: Control) -> None:
        for one in (f"{KIT}/vessel", BAG):
            volumes[one] = room.ask("contents", container=one)["volume_mL"]

    ran = killed_run(thin_staged(then), folder, kills, ask=look)
    assert [row["planned"] for row in ran.rows] == [str(kill) for kill in kills]
    assert (ran.status, ran.is_sound, ran.holds_before) == ("complete", True, ())
    return ran, volumes[f"{KIT}/vessel"], volumes[BAG]


@pytest.mark.requirement("PRC-09")
@pytest.mark.emulation_cannot_show("what an instrument of the site does when its host dies")
@pytest.mark.parametrize("kills", RUNS, ids=("P1", "hands-V1-P1", "V1-P1"))
def test_killed_and_started_again_it_does_nothing_twice_and_loses_nothing(
    tmp_path: Path, kills: tuple[Kill, ...]
) -> None:
    ran, vessel_mL, bag_mL = run_with_kills(tmp_path, *kills)
    assert ran.comparison.agrees, ran.comparison.findings
    assert ran.comparison.held == ()
    assert all(row["open"] for row in ran.rows if row["equipment"] != HANDS)
    assert vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
    assert bag_mL == pytest.approx(100 + 1 - TRANSFERRED.to(mL), abs=0.5)


def test_an_instrument_that_lost_its_power_meanwhile_is_put_to_two_people(tmp_path: Path) -> None:
    kill = Kill("V1", "ended", 3, MID_MOTION, loses_power="V1")
    ran, vessel_mL, _ = run_with_kills(tmp_path, kill)
    assert [(one.instrument, one.act) for one in ran.comparison.held] == [("V1", "set_valves")]
    assert ran.comparison.lost_acts == 0
    beside = {one.instrument for one in ran.comparison.findings}
    assert beside == {"V1"}, "no act names that the valves shut when their power went"
    assert vessel_mL == pytest.approx(TRANSFERRED.to(mL), abs=0.5)


def test_a_daemon_that_takes_doubt_for_nothing_done_is_found_to_repeat(tmp_path: Path) -> None:
    kill = Kill("P1", "moving", 4, NONE)
    ran, vessel_mL, _ = run_with_kills(tmp_path, kill, then="tests.crash.faulty_daemon")
    assert ran.comparison.repeated_acts == 1, ran.comparison.findings
    assert vessel_mL == pytest.approx(1.5 * TRANSFERRED.to(mL), abs=2)


@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(180)
def test_a_protocol_survives_ten_kills_drawn_by_the_seed(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = Path(__file__).parents[1] / "proof" / "seed_and_wash.py"
    arguments = ("--kills", "10", "--seed", str(seed), "--json", "--to", str(tmp_path))
    status = main(["prove", "restart", str(protocol), *arguments])
    said = json.loads(capsys.readouterr().out)
    assert (said["repeated"], said["lost"], said["failed"]) == (0, 0, 0), said
    assert (status, said["kills"], said["proven"]) == (0, 10, True)
    assert said["with_an_attempt_open"] >= 5
    assert 1 <= said["after_the_first_byte"] <= said["with_an_attempt_open"]
    kept: dict[str, Any] = json.loads((tmp_path / "kills.json").read_text())
    assert len(kept["every_kill"]) == 10
    assert "with an attempt open" in (tmp_path / "kills.txt").read_text()
