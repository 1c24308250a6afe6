"""``docs/devices.md`` says what the sheets say, and its promises get worse only by a decision.

Method: the first table is compared row by row with the one that was promised first,
``tests/records/devices_table.md``. A row that differs has to link the decision record that
changed it, and that record has to name a page of the instrument's manual.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devices.sheets.sheet import Sheet, models, sheet_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = DOCS / "devices.md"
PROMISED = ROOT / "tests" / "records" / "devices_table.md"
SHEETS = tuple(sheet_of(model) for model in models())


def _rows(page: str) -> dict[str, str]:
    """Return the first table's rows by instrument."""
    table = re.search(r"^\| class \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert table, "no table whose first column is 'class'"
    return {row.split("|")[2].strip(): row for row in table[1].splitlines()}


def _decision(row: str) -> str | None:
    linked = re.search(r"\]\((decisions/\d{4}-[\w-]+\.md)\)", row)
    return (DOCS / linked[1]).read_text("utf-8") if linked else None


def _unexplained(promised: str, page: str) -> list[str]:
    """Return the instruments whose row changed without a decision that names a page."""
    now = _rows(page)
    found: list[str] = []
    for instrument, row in _rows(promised).items():
        if now.get(instrument) == row:
            continue
        decision = _decision(now.get(instrument, ""))
        if decision is None or not re.search(r"\bpages? \d", decision):
            found.append(instrument)
    return found


def test_no_row_differs_from_what_was_promised_without_a_decision() -> None:
    assert _unexplained(PROMISED.read_text("utf-8"), PAGE.read_text("utf-8")) == []


def test_a_row_that_changed_or_went_is_found() -> None:
    promised = PROMISED.read_text("utf-8")
    worse = promised.replace("| cumulative tacho count", "| nothing", 1)
    assert worse != promised
    assert _unexplained(promised, worse) == ["Watson-Marlow 530Du"]
    gone = "\n".join(line for line in promised.splitlines() if "E1213" not in line) + "\n"
    assert _unexplained(promised, gone) == ["Moxa ioLogik E1213"]


def test_every_shipped_instrument_and_hands_have_a_row() -> None:
    assert len(_rows(PAGE.read_text("utf-8"))) == len(SHEETS) + 1


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.model)
def test_the_page_says_of_each_model_what_its_sheet_says(sheet: Sheet) -> None:
    section = re.search(
        rf"^## `{sheet.model}`\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S
    )
    assert section, f"{sheet.model} has no section"
    text = " ".join(section[1].split())
    assert "From the published manual; not tried on hardware." in text
    assert not sheet.tried_on_hardware
    for said in (sheet.source, sheet.can_tell_after_crash, sheet.power_cycle_witness):
        assert said in text
    for fact in sheet.unconfirmed:
        assert f"- {fact}" in text


def test_the_page_says_of_each_model_what_a_damaged_or_late_answer_does() -> None:
    page = PAGE.read_text("utf-8")
    section = page.partition("## What a damaged or late answer does\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(told) == sorted(sheet.model for sheet in SHEETS)
