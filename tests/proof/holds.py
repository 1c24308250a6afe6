"""When each instrument can't tell what became of an act, copied by hand from the devices' page.

A hold after a restart is allowed only where the row of its instrument says so. The rows stand
here so that a page that is loosened doesn't loosen the proofs with it: a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL

PAGE: Final = Path(__file__).parents[2] / "docs" / "devices.md"
HANDS: Final = "hands"


@dataclass(frozen=True, slots=True)
class Row:
    """One instrument's row: the page's words, and the doubts of it that need no loss of power.

    No instrument loses its power in a proof by deaths or kills, so nothing else may be held.
    """

    says: str
    doubts: str = r"(?!)"


ROWS: Final[Mapping[str, Row]] = {
    "astm_cell_counter": Row(
        "the counter says that the count wasn't done: whether the tube was drawn from stays open.",
        r"the counter says of a count",
    ),
    "brooks_pf400": Row(
        "it restarted; it stopped short of its target; position and fingers don't agree.",
        r"stopped short of its target|the arm moved, and|off .* where its approach",
    ),
    "highres_microspin": Row(
        "it restarted; the spin was aborted or ended with an error (how long it was at speed is "
        "unknown); what it says of the id isn't plain.",
        r"aborted|error",
    ),
    "linkam_t95": Row(
        "it is stopped (panel and power loss look alike), with bags in it also where it was stopped"
        " before; it holds at another temperature; its sensor is open.",
        r"stopped|holds at|reports",
    ),
    "mettler_mt_sics": Row(
        "a tare that was not 0 is 0 now; a tare that is neither the old one nor fits the load."
    ),
    "moxa_iologik_e1213": Row("it restarted and its outputs are not what the act wanted."),
    "serial_scanner": Row("never: there is nothing to tell."),
    "thermo_vios_160i": Row(
        "there was a power reset since, or the set points are neither the old nor the new ones."
    ),
    "watson_marlow_530du": Row(
        "the count fell, rose by more than the dose, or was 0 before. Then the balances decide; "
        "where they can't either, or where count and balance disagree, the act is held."
    ),
    HANDS: Row(
        "never by itself. What people report is believed; joints are shown by a scan at the port "
        "and by a first dose on the balance ([0009](decisions/0009-the-kit-and-two-balances.md))."
    ),
}


def rows_of_the_page() -> dict[str, str]:
    """Return when each model can't tell, in the words of the page."""
    sections = re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    found: dict[str, str] = {}
    for model, section in sections:
        row = re.search(r"- \*Can't tell when\*: (.*?)(?=\n- |\n\n|\Z)", section, re.S)
        if row:
            found[model] = " ".join(row[1].split())
    return found


def model_of(equipment: str) -> str:
    """Return what model an instrument of the reference cell is."""
    modules = load_cell(REFERENCE_CELL).config.modules
    return next((str(one.model) for one in modules if one.equipment == equipment), HANDS)


def is_allowed(why: str, equipment: str) -> bool:
    """Return whether a doubt is one that the instrument's row speaks of."""
    return re.search(ROWS[model_of(equipment)].doubts, why) is not None


def not_allowed(reasons: Mapping[str, int]) -> list[str]:
    """Return the reasons of holds that no row allows, each as ``EQUIPMENT ACT: WHY``."""
    return [
        f"{times} x {why}"
        for why, times in reasons.items()
        if not is_allowed(why.partition(": ")[2], why.partition(" ")[0])
    ]
