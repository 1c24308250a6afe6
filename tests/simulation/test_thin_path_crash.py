"""The software dies everywhere on the thin path, and at most once more in the recovery.

Method: ``orchestrator.proof``, the harness that users have for their own protocols, on one
transfer whose kit is docked by hand at a pump just powered on: in memory at points, and again
and again at the same place as a process that is killed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hw_mocks.world import World
from orchestrator.engine.engine import Engine
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.proof.evidence import Proof
from orchestrator.proof.kills import Kill, killed_run
from orchestrator.proof.proving import Asked, proof_of
from tests.proof.release_proof_restart import told
from tests.release_proof import Measured, part, tell
from tests.simulation.thin import BATCH, CELL, SEED, USER, bring, on_file, recipe_that_docks
from tests.simulation.wires import thin_staged

pytestmark = pytest.mark.leaves_tasks("a crash drops tasks on purpose")

SPEED_SET = Kill("P1", "heard", 1, 0, hears="1SP")
ASKED_ONCE_MORE = Kill("P1", "heard", 16, 0, hears="1RS")
"""After a start at which the speed is set already: just before the trigger."""

RUNS_TWICE = 5_000
SEEDS_TWICE = (1, 2, 3, 4, 5)


class ThinStory:
    """The thin path. Implements ``Story``."""

    batch = BATCH
    cell_file = CELL
    seed = SEED

    def bring(self, world: World) -> None:
        bring(world, kit_at="rack")

    async def prepare(self, cell: EmulatedCell, engine: Engine) -> None:
        core = engine.core
        facts = on_file(core.clock.utc(), core.cell.digest, recipe_that_docks())
        await core.record_for_host(*facts)

    async def start(self, cell: EmulatedCell, engine: Engine) -> None:
        await engine.start_batch(BATCH, USER)


def proven(asked: Asked) -> Proof:
    proof = proof_of(ThinStory(), recipe_that_docks(), asked)
    assert (proof.repeated, proof.lost, proof.failed) == (0, 0, 0), proof.as_text()
    assert proof.findings == ()
    assert not any("turn_empty_pump" in why for why, _ in proof.reasons), proof.reasons
    return proof


@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(120)
def test_dying_at_a_point_repeats_nothing_and_loses_nothing(seed: int) -> None:
    proof = proven(Asked(seed=seed, cuts=50))
    assert len(proof.runs) >= 50


@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(120)
def test_dying_twice_repeats_nothing_and_loses_nothing(seed: int) -> None:
    proof = proven(Asked(seed=seed, cuts=2, double=True))
    assert len(proof.second_deaths) > 20


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(600)
def test_dying_at_every_point_repeats_nothing_and_loses_nothing() -> None:
    assert proven(Asked()).is_proven


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("drawn_by", SEEDS_TWICE)
def test_dying_twice_at_each_operation_of_a_recovery_repeats_nothing(drawn_by: int) -> None:
    twice = _twice(drawn_by)
    assert (twice["repeated"], twice["lost"], twice["failed"]) == (0, 0, 0)


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(600)
def test_dying_twice_is_shown_by_thousands_of_runs() -> None:
    parts = [_twice(drawn_by) for drawn_by in SEEDS_TWICE]
    names = ("runs", "images", "repeated", "lost", "failed", "held")
    total = tell("restart, twice", {name: sum(one[name] for one in parts) for name in names})
    assert total["runs"] >= RUNS_TWICE
    assert (total["repeated"], total["lost"], total["failed"]) == (0, 0, 0)


def _twice(drawn_by: int) -> Measured:
    asked = Asked(seed=drawn_by, cuts=60, double=True)
    return part(f"restart, twice, seed {drawn_by}", lambda: told(proven(asked)))


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize(
    ("act", "kills"),
    [
        ("turn_empty_pump", [SPEED_SET, ASKED_ONCE_MORE, ASKED_ONCE_MORE, ASKED_ONCE_MORE]),
        ("pump_volume", [replace(SPEED_SET, count=2), SPEED_SET, SPEED_SET, SPEED_SET]),
    ],
)
def test_dying_again_and_again_before_a_trigger_holds_nothing(
    tmp_path: Path, act: str, kills: list[Kill]
) -> None:
    ran = killed_run(thin_staged(), tmp_path, kills)
    assert ran.status == "complete"
    came_to = [(row["act"], row["trigger_left"], row["came_to"]) for row in ran.rows]
    assert came_to == [(act, False, "nothing")] * len(kills)
    assert len({row["command"] for row in ran.rows}) == len(kills)
    assert not any(row["holds"] for row in ran.rows)
    assert ran.comparison.agrees, ran.comparison.findings
