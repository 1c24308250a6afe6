"""A whole batch over real wires asks the instruments for what it asks for in memory.

Method: the CAR-T procedure runs once on the emulated cell in one process and once with room
and daemon as two processes, with the same seed. The World judges both runs; then the acts of
every phase, as intended, are laid side by side: index of the word, method, parameters.
"""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from orchestrator.cli.demo import PROTOCOL
from orchestrator.cli.recipes import written_recipe
from orchestrator.cli.wire_demo import simulate_over_wires
from orchestrator.journal.events import HostStarted, HostStopped
from orchestrator.process_cell.simulation import simulate
from orchestrator.process_cell.two_processes import PartEndedError
from tests.simulation.wires import acts_by_phase, journal_of

SEED = 1
WITHIN_S = 120.0


def _worked_s() -> float:
    """Return the processor time of all processes that have ended; a busy host adds nothing."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.release_proof
@pytest.mark.timeout(600)
@pytest.mark.requirement("PRC-09")
def test_a_batch_over_wires_asks_for_the_same_as_in_memory(tmp_path: Path) -> None:
    recipe = written_recipe(PROTOCOL)
    memory, wires = tmp_path / "memory", tmp_path / "wires"
    in_memory = simulate(recipe, memory, seed=SEED)
    told: list[int] = []
    before_s = _worked_s()

    over_wires = simulate_over_wires(
        recipe, PROTOCOL, wires, seed=SEED, told=lambda one: told.append(one.seq)
    )

    assert _worked_s() - before_s < WITHIN_S
    for outcome in (in_memory, over_wires):
        assert outcome.status == "complete"
        assert outcome.comparison.agrees, outcome.comparison.findings
        assert outcome.verdict.sound, outcome.verdict.problems
    by_wire = acts_by_phase(wires / "journal.sqlite")
    assert by_wire == acts_by_phase(memory / "journal.sqlite")
    assert sum(map(len, by_wire.values())) >= 300, "the batch lost most of its acts"
    assert over_wires.identity_checks == in_memory.identity_checks
    assert over_wires.viable_cells_out == pytest.approx(in_memory.viable_cells_out, rel=0.01)
    assert told == list(range(1, over_wires.events + 1)), "each event is told once, in order"
    of_host = [
        type(one.event)
        for one in journal_of(wires)
        if isinstance(one.event, HostStarted | HostStopped)
    ]
    assert of_host == [HostStarted, HostStopped], "the daemon started once, and ended in good order"


def test_a_room_that_cannot_start_is_named_with_its_reason(tmp_path: Path) -> None:
    too_long_for_a_socket = tmp_path / ("x" * 110)
    recipe = written_recipe(PROTOCOL)
    with pytest.raises(
        PartEndedError, match=r"run `cellwright room`: it ended with status"
    ) as told:
        simulate_over_wires(recipe, PROTOCOL, too_long_for_a_socket, seed=SEED)
    assert "room.log" in told.value.do_next
