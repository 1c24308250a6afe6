"""What may be held after a restart is what the devices' page says, word by word."""

from __future__ import annotations

from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL
from tests.proof.holds import ROWS, not_allowed, rows_of_the_page


def test_the_rows_are_those_of_the_page() -> None:
    assert rows_of_the_page() == {model: row.says for model, row in ROWS.items()}


def test_each_instrument_of_the_reference_cell_has_a_row() -> None:
    assert {str(one.model) for one in load_cell(REFERENCE_CELL).config.modules} <= ROWS.keys()


def test_a_hold_that_no_row_speaks_of_is_told() -> None:
    allowed = "R1 pick_container: it stopped short of its target"
    neither = "V1 set_valves: it restarted; its outputs are not what the act wanted"
    assert not_allowed({allowed: 2, neither: 1}) == [f"1 x {neither}"]
    assert not_allowed({"it was held for nothing": 1})
