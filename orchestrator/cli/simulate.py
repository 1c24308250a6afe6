"""Run a protocol on the emulated cell: a timeline, or the range of outcomes over donors."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.options import AsJson, CallRefusedError
from orchestrator.cli.printing import in_columns, say, say_json, tell
from orchestrator.cli.recipes import written_recipe
from orchestrator.cli.timeline import Timeline, told_outcome
from orchestrator.kernel.instants import Instant

if TYPE_CHECKING:
    from orchestrator.process_cell.simulation import Outcome

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RANGED: Final = (
    "virtual_days",
    "fold_expansion",
    "viable_cells_out",
    "viability_percent",
    "holds",
)

MONDAY: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday; simulations begin in this week."""


def run(
    protocol: Annotated[Path, typer.Argument(help="The protocol file")],
    cell: Annotated[Path | None, typer.Option(help="The process cell file")] = None,
    start: Annotated[str, typer.Option(help="When it begins, e.g. 'Mon 08:00'")] = "Mon 08:00",
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="How many donors")] = 1,
    seed: Annotated[int, typer.Option(help="Decides on the donors and on all chance")] = 1,
    as_json: AsJson = False,
) -> int:
    """Run a protocol on the emulated cell, in virtual time, through the real engine.

    With one run a line is printed for each phase as it starts; with several, the range of
    what came of them. Nothing is kept.
    """
    from orchestrator.process_cell.simulation import REFERENCE_CELL, simulate

    begins = _start(start)
    recipe = written_recipe(protocol)
    outcomes: list[Outcome] = []
    for number in range(runs):
        with tempfile.TemporaryDirectory(prefix="cellwright-simulate-") as folder:
            timeline = Timeline(recipe) if runs == 1 and not as_json else None
            outcome = simulate(
                recipe,
                Path(folder),
                cell_file=cell or REFERENCE_CELL,
                seed=seed + number,
                start=begins,
                told=timeline,
            )
            outcomes.append(outcome)
            if timeline is not None:
                told_outcome(outcome, None)
        if runs > 1:
            tell(f"run {number + 1} of {runs}: {outcome.status}")
            if as_json:
                say_json({"seed": seed + number, **outcome.as_json()})
    if runs == 1 and as_json:
        say_json(outcomes[0].as_json())
    if runs > 1 and not as_json:
        say(in_columns(_ranges(outcomes)))
    return 0 if all(one.is_well for one in outcomes) else 1


def _start(text: str) -> Instant:
    try:
        day, clock = text.split()
        hours, minutes = clock.split(":")
        moment = MONDAY + timedelta(
            days=DAYS.index(day[:3].lower()), hours=int(hours), minutes=int(minutes)
        )
    except ValueError as unreadable:
        raise CallRefusedError(
            f"begin at {text!r}",
            why="it isn't a day of the week and a time",
            do_next="Write it as 'Mon 08:00'",
        ) from unreadable
    return Instant.of_datetime(moment)


def _ranges(outcomes: list[Outcome]) -> list[tuple[str, ...]]:
    """Return the least, the middle and the most of each figure over all donors."""
    told = [one.as_json() for one in outcomes]
    rows: list[tuple[str, ...]] = [("", "least", "median", "most")]
    for name in (
        "virtual_days",
        "fold_expansion",
        "viable_cells_out",
        "viability_percent",
        "holds",
    ):
        values: list[Any] = sorted(one[name] for one in told if one[name] is not None)
        if values:
            middle = values[len(values) // 2]
            rows.append(
                (name.replace("_", " "), *(f"{v:.4g}" for v in (values[0], middle, values[-1])))
            )
    return rows
