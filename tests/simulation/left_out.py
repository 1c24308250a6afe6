"""Authors' files with something left out: the shipped procedures, changed and checked anew.

Each change is made in the text that the author wrote, so what runs is a recipe that passed its
check. The CAR-T procedure ends here with the count before harvest: what is compared is what the
counter says, and the harvest of a culture that hardly grew would ask for more than there is. For
the same reason counts are expected in any range.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Recipe
from tests.simulation.many import CAR_T, MSC

_ANY_COUNT: Final = "expect=between(0.001 * million_per_mL, 60 * million_per_mL)"
_ANY_VIABILITY: Final = "viability_at_least=1 * percent"
_AFTER_THE_COUNT: Final = re.compile(
    r"    with \(\n        p\.unit_procedure\(\"Harvest.*?(?=    # Clocks\n)", re.S
)
_CLOCKS_AFTER_THE_COUNT: Final = re.compile(
    r"        \(\"Harvest is due\".*?\n|    p\.lag\(\n        \"(?:Washed|Cells).*?\n    \)\n", re.S
)


@cache
def car_t_till_the_count() -> Recipe:
    """Return the procedure up to its count before harvest, with nothing else left out."""
    return _checked(_till_the_count())


@cache
def car_t_without_activation() -> Recipe:
    """Cells are seeded into the same volume of medium, and nothing activates them."""
    text = _till_the_count()
    text = _without_lines(text, r"station\.(?:dis)?connect\(activator\b.*")
    text, changed = re.subn(
        r"station\.seed_and_activate\(\n.*?\n            \)\n",
        "station.transfer(selected, to=kit.vessel, volume=volume_holding(cells_to_seed,"
        " at=5 * million_per_mL, round_down_to=0.1 * mL), flow=slowly)\n"
        "            station.feed(kit, medium=medium_0, volume=80 * mL, flow=slowly)\n",
        text,
        flags=re.S,
    )
    assert changed == 1
    return _checked(text)


@cache
def car_t_without_vector() -> Recipe:
    """Day 1 passes without vector."""
    text = _without_lines(_till_the_count(), r"station\.(?:dis)?connect\(vector\b.*")
    return _checked(_without_calls(text, "station.transduce", 1))


@cache
def car_t_without_feeds() -> Recipe:
    """After vector was washed out, nobody feeds, and nobody exchanges medium."""
    text = _without_lines(
        _till_the_count(), r"feed_from_fresh_bag\(station, kit, medium_(?:5|7|8|9|10|11),.*"
    )
    text, changed = re.subn(
        r"            spin_and_draw_off\(\n[^)]*draw=900 \* mL[^)]*\n            \)\n", "", text
    )
    assert changed == 2
    return _checked(text)


@cache
def car_t_with_a_day_at_34() -> Recipe:
    """The chamber is set to 34 degC on day 7, and back on day 8."""
    text = _till_the_count()
    text = _once(text, "temperature=between(36 * degC, 38", "temperature=between(33 * degC, 38")
    for day, degrees in (("7", "34"), ("8", "37")):
        feed = re.search(rf" *feed_from_fresh_bag\(station, kit, medium_{day},.*\n", text)
        assert feed is not None
        text = _once(
            text,
            feed.group(),
            f"{feed.group()}            incubator.set_climate("
            f"temperature={degrees} * degC, carbon_dioxide=5 * percent)\n",
        )
    return _checked(text)


@cache
def msc_without_an_exchange() -> Recipe:
    """Nobody exchanges the medium of the second passage on its fifth day."""
    text = _without_lines(MSC.read_text(), r"\(5, 44 \* hour, medium_18, \"p4\"\),")
    return _checked(text)


def _till_the_count() -> str:
    text = CAR_T.read_text()
    text, ended = _AFTER_THE_COUNT.subn("", text)
    text, clocks = _CLOCKS_AFTER_THE_COUNT.subn("", text)
    assert (ended, clocks) == (1, 4)
    seeding, culture, rest = text.partition('p.unit_procedure("Culture")')
    assert culture
    rest = re.sub(r"expect=between\(.*?million_per_mL\)", _ANY_COUNT, rest)
    rest = re.sub(r"viability_at_least=\d+ \* percent", _ANY_VIABILITY, rest)
    return f"{seeding}{culture}{rest}"


def _without_lines(text: str, pattern: str) -> str:
    changed, lines = re.subn(rf"\n *{pattern}(?=\n)", "", text)
    assert lines, f"nothing of the procedure reads {pattern}"
    return changed


def _without_calls(text: str, called: str, times: int) -> str:
    changed, calls = re.subn(
        rf"            {re.escape(called)}\(\n.*?\n            \)\n", "", text, flags=re.S
    )
    assert calls == times
    return changed


def _once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)


def _checked(text: str) -> Recipe:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "procedure.py"
        file.write_text(text)
        found = check_file(file)
    assert found.recipe is not None, found.findings
    return found.recipe
