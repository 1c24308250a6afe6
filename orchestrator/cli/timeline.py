"""How a simulated batch is told: a line for each phase as it starts, and a page at its end."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.printing import in_columns, say
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration
from orchestrator.recipe.model import Operation, Recipe, Step, written_path
from orchestrator.recipe.render import step_in_words

if TYPE_CHECKING:
    from orchestrator.process_cell.simulation import Outcome

SECONDS_A_DAY: Final = 86_400
WIDTH: Final = 100


class Timeline:
    """Prints each phase as it starts, and what people must know at once."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._operations = {
            path: node.name for path, node in recipe.nodes.items() if isinstance(node, Operation)
        }
        self._began: Instant | None = None
        self._operation = ""

    def __call__(self, recorded: Recorded[AnyEvent]) -> None:
        """Tell one event, if it is worth a line."""
        self._began = self._began or recorded.at
        event = recorded.event
        match event.kind:
            case "phase_started":
                self._phase(recorded.at, str(event.path))
            case "alarm_raised":
                say(f"{self._day(recorded.at)}    ALARM ({event.tier}) {event.cause}")
            case "limit_due":
                say(f"{self._day(recorded.at)}    a clock ran out: {event.limit}")
            case "state_changed" if event.trigger == "held":
                say(f"{self._day(recorded.at)}    HELD: {event.why}")
            case "deviation_opened":
                say(f"{self._day(recorded.at)}    deviation: {event.text}")
            case _:
                return

    def _phase(self, at: Instant, path: str) -> None:
        node = self._recipe.at(path)
        operation = max(
            (name for name in self._operations if written_path(path).startswith(f"{name}/")),
            key=len,
            default="",
        )
        if operation != self._operation:
            self._operation = operation
            say(f"{self._day(at)}  {self._operations.get(operation, operation)}")
        told = step_in_words(node) if isinstance(node, Step) else path
        say(f"{self._day(at)}    {textwrap.shorten(told, WIDTH, placeholder=' ...')}")

    def _day(self, at: Instant) -> str:
        since_s = 0 if self._began is None else (at - self._began).base // 1000
        return f"day {since_s // SECONDS_A_DAY:>2} {at.as_datetime():%H:%M}"


def told_outcome(outcome: Outcome, folder: Path | None) -> None:
    """Print what came of a batch: identity, clocks, yields, exceptions, the record's word.

    Args:
        outcome: What came of it.
        folder: Where its record is kept; None where it isn't.
    """
    say()
    say(f"Batch {outcome.batch}: {outcome.status} after {_lasted(outcome)}")
    for line in outcome.still_open:
        say(f"  open: {line}")
    scan = outcome.waits_in_vain
    if scan is not None:
        say(
            f"Ended early: nobody could scan {scan.container} at {scan.place}, where "
            f"{scan.path} needs it. Write the step that brings it there above that one."
        )
    say()
    say(
        f"Identity checks made: {outcome.identity_checks}, "
        f"of these refused: {outcome.identity_refused}"
    )
    rows = [
        (f"  {name.partition('/')[2]}", _spoken(used) or "runs", _spoken(most) or "no maximum")
        for name, most, used in outcome.limits
    ]
    if rows:
        say()
        say("Clocks, used of allowed:")
        say(in_columns(rows))
    yields = list(_yields(outcome))
    if yields:
        say()
        say("Yields, by the counter:")
        say("\n".join(yields))
    say()
    say(f"Holds: {outcome.holds}. Deviations: {len(outcome.deviations)}.")
    for text in outcome.deviations:
        say(f"  {text}")
    judged = outcome.comparison
    say(
        f"Room against record: {len(judged.acts)} acts, {judged.repeated_acts} repeated, "
        f"{judged.lost_acts} lost."
    )
    for finding in judged.findings:
        say(f"  {finding}")
    verdict = outcome.verdict
    say(
        f"Record: {verdict.events} events, {'sound' if verdict.sound else 'NOT SOUND'}, "
        f"anchored to {verdict.anchored_to}"
    )
    say(f"  Merkle root {verdict.merkle_root}")
    kept = "Nothing of it is kept." if folder is None else f"Everything it kept is in {folder}"
    say(f"It ran in {outcome.wall_s:.1f} s. {kept}")


def _yields(outcome: Outcome) -> Iterator[str]:
    for one in outcome.counts:
        yield (
            f"  {one.at.as_datetime():%d-%b %H:%M}  {one.density} in {one.volume}: "
            f"{one.cells.base:.3g} viable cells, viability {one.viability}"
        )
    fold = outcome.fold_expansion
    if fold is not None:
        yield f"  {fold:.1f}-fold expansion (expected 42 to 72, twelve-day runs S4 and S5)"
    if outcome.is_stored:
        yield f"  {outcome.viable_cells_out:.3g} viable cells in the store"


def _lasted(outcome: Outcome) -> str:
    """Return how long a batch took: in days, and below one day in hours and minutes."""
    if outcome.virtual_days >= 1:
        return f"{outcome.virtual_days:.1f} days"
    return outcome.in_phases.in_words()


def _spoken(text: str) -> str:
    """Return a recorded duration as people say it; 'unknown' or nothing stay as they are."""
    return text if not text or text == "unknown" else Duration.read(text).in_words()
