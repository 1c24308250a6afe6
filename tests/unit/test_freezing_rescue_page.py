"""``docs/reference/freezing-rescue.md`` says what the freezing rescue table says, and no more.

Method: the tables of the page are printed here from the shipped file. To print them anew, run
this file as a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.engine.freezing_rescue import LEADS_TO, shipped

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "freezing-rescue.md"


def printed() -> Iterator[str]:
    """Yield the lines that the page must hold, in their order."""
    table = shipped()
    for name, leads_to in LEADS_TO.items():
        yield f"- `{name}`: {leads_to}."
    yield "| temperature | shipped default | what it means | source |"
    yield "|---|---|---|---|"
    for name, one in table.temperatures.items():
        yield f"| `{name}` | {one.value} | {one.means} | {one.source} |"
    yield "| interrupted | when that is so | what may be found | what to do |"
    yield "|---|---|---|---|"
    for row in table.rows:
        found = ", ".join(f"`{one}`" for one in row.choices) or "nothing is asked"
        yield f"| **{row.phase}** | {row.when} | {found} | {row.do}. |"
    yield "| interrupted | reason | source |"
    yield "|---|---|---|"
    for row in table.rows:
        yield f"| **{row.phase}** | {row.reason}. | {row.source} |"


def test_the_page_holds_the_table_as_it_is_shipped() -> None:
    page = PAGE.read_text("utf-8").splitlines()
    tables = [line for line in page if line.startswith(("|", "- `"))]
    assert tables == list(printed())


if __name__ == "__main__":
    print("\n".join(printed()))
