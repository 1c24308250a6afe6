"""The judge finds what goes wrong as people clear a line, and nothing else.

Method: emulated people clear the thin cell's station by the real engine; two have to sign, and
a bag and a kit are left there. Planted below them: what they say that they carry away stays, or
is carried twice; they carry a thing and don't say so; or somebody has hung another patient's bag
there, which they find, and carry to quarantine. The thin path leaves the bag joined, so whoever
carries it away seals it off the kit, and says so; or doesn't, or says it and tears it off.
Expected: just this is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.ledger_record import ledger_of
from hw_mocks.technicians import Technician
from orchestrator.engine.engine import Engine
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.records.comparison import Comparison, LedgerEffect, compare
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation import thin
from tests.simulation.test_line_clearance import TASK, signed_by_two, standing
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG, recipe_that_docks, thin_cell

pytestmark = pytest.mark.leaves_tasks("engines are left as a death leaves them")

LONG_S = 200_000.0
CLEARED_WITHIN_S = 4 * 3600.0


@dataclass
class Clearing:
    """The line as it is cleared."""

    cell: EmulatedCell
    engine: Engine
    monkeypatch: pytest.MonkeyPatch

    def carry_out(self, times: int) -> None:
        """Have the kit carried out so many times when it is first to be carried."""
        hands = self.cell.world.hands
        well = hands.carry_out

        def wrong(thing: str, to: str, *, by: str) -> None:
            if thing == KIT:
                hands.carry_out = well
            for _ in range(times if thing == KIT else 1):
                well(thing, to, by=by)

        hands.carry_out = wrong

    def say_nothing(self) -> None:
        """Have people carry away what is left, and say nothing of it."""

        async def silent(
            person: Technician, task: Any, thing: str, to: str, *, sealed_off: bool
        ) -> None:
            del task, sealed_off
            if person.world.joint_of(thing) is not None:
                person.world.hands.seal_off(thing, by=person.name)
            person.world.hands.carry_out(thing, to, by=person.name)

        self.monkeypatch.setattr(Technician, "_carry_away", silent)

    def cut_unsaid(self) -> None:
        """Have the bag cut off unseen, shortly before people come to clear the line."""

        def look(recorded: Any) -> None:
            event = recorded.event
            if event.kind == "task_offered" and event.task == TASK:
                self.cell.world.hands.seal_off(BAG, by="somebody")

        self.engine.core.listeners.append(look)

    def tear_it_off(self) -> None:
        """Have people say that they sealed the bag off, and take the joint apart instead."""
        hands = self.cell.world.hands

        def torn(bag: str, *, by: str) -> None:
            hands.disconnect(bag, by=by)

        hands.seal_off = torn

    def hang_a_strangers_bag(self) -> None:
        """Have somebody hang another patient's bag there once one person has signed."""

        def look(recorded: Any) -> None:
            event = recorded.event
            if event.kind == "task_reported" and event.task == TASK and not hung:
                hung.append(OTHER_BAG)
                self.cell.world.hands.put(OTHER_BAG, "hook", by="somebody")

        hung: list[str] = []
        self.engine.core.listeners.append(look)

    def judged(self) -> Comparison:
        """Return what the comparison says, as things stand."""
        effects = [LedgerEffect(**one) for one in ledger_of(self.cell.world)]
        began = self.cell.technicians[0].room_began
        return compare(self.engine.core.journal.events(), effects, start=began)

    def count(self, kind: str) -> int:
        """Return how many events of a kind were recorded."""
        return sum(one.event.kind == kind for one in self.engine.core.journal.events())


@dataclass(frozen=True)
class Case:
    """What is planted, what is named, and how often people say where a thing is."""

    name: str
    plant: Callable[[Clearing], None]
    named: list[tuple[str, str]]
    placed: int

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("all is well", lambda _: None, [], 2),
    Case("it still stands", lambda at: at.carry_out(0), [("lost", "hands")], 4),
    Case("carried twice", lambda at: at.carry_out(2), [("repeated", "hands")], 2),
    Case("nobody says so", Clearing.say_nothing, [("unexplained", "U-0007")] * 3, 0),
    Case("it was cut before", Clearing.cut_unsaid, [("unexplained", "somebody")], 3),
    Case("torn off", Clearing.tear_it_off, [("unexplained", "U-0007"), ("lost", "hands")], 2),
    Case("a find", Clearing.hang_a_strangers_bag, [("unexplained", "somebody")], 4),
)
"""Who finds a thing says where it is, and once more where they carry it."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_judge_names_what_goes_wrong_as_a_line_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    signed_by_two(tmp_path, monkeypatch)

    async def test() -> None:
        async with thin_cell(tmp_path / "data", kit_at="rack") as cell, cell.engine() as engine:
            clearing = Clearing(cell, engine, monkeypatch)
            case.plant(clearing)
            await thin.begin(engine, recipe_that_docks())
            await asyncio.wait_for(engine.ended(BATCH), LONG_S)
            await asyncio.sleep(CLEARED_WITHIN_S)
            said = clearing.judged()
            assert clearing.count("container_placed") == case.placed
            assert standing(cell) == set()
            found = [*said.repeated, *said.unexplained, *said.lost]
            assert [(one.kind, str(one.instrument)) for one in found] == case.named

    run_in_virtual_time(test())
