"""What a running batch is bound to, and how two people change it between its acts.

A batch is bound to a recipe, a version of the software, a process cell file and the serial
numbers of its instruments. One that finds itself under another version or cell file is held,
and goes on once two people have signed that binding. While an amendment is made, a person
holds all of the batch that runs: nothing acts, and nothing is decided on a recipe that changes.
The batch then walks anew from its record, as after a restart.

Follows design section 4.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from orchestrator.engine.core import Core
from orchestrator.engine.holds import BOUND, BY_PERSON, Holds
from orchestrator.engine.limits import Limits
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.restored import held
from orchestrator.engine.state import BatchState
from orchestrator.journal.events import BatchAmended, CommandAnswered
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId
from orchestrator.recipe.amend import Begun
from orchestrator.recipe.model import Recipe, written_path

_OVER: Final = (PhaseState.COMPLETE, PhaseState.STOPPED, PhaseState.ABORTED)


def begun_of(batch: BatchState) -> Begun:
    """Return how far a batch has come."""
    procedures = batch.procedures
    paths = {*batch.phases, *batch.branches, *(one.partition(" ")[2] for one in batch.moments)}
    paths |= {path for path, one in procedures.items() if one.state is not PhaseState.IDLE}
    ended = {one.removeprefix("end ") for one in batch.moments if one.startswith("end ")}
    ended |= {path for path, one in procedures.items() if one.state in _OVER}
    return Begun(
        paths=frozenset(map(written_path, paths)), ended=frozenset(map(written_path, ended))
    )


class Amending:
    """Changes what batches are bound to."""

    def __init__(
        self,
        core: Core,
        holds: Holds,
        limits: Limits,
        recipe_of: Callable[[str], Recipe],
        walk_anew: Callable[[BatchId], Awaitable[None]],
        version: str,
    ) -> None:
        """Work on ``core``.

        Args:
            core: Whose batches.
            holds: Holds them.
            limits: Their clocks.
            recipe_of: Returns the recipe of a digest.
            walk_anew: Has a batch walk from its record.
            version: Of the software that runs.
        """
        self._core = core
        self._holds = holds
        self._limits = limits
        self._recipe_of = recipe_of
        self._walk_anew = walk_anew
        self.version: Final = version

    def strange(self, batch: str) -> Iterator[tuple[str, str]]:
        """Yield the bindings of a batch that differ from what runs, and why in words."""
        known = self._core.state.batches[batch]
        if known.engine != self.version:
            yield "engine", f"it is bound to version {known.engine}, and {self.version} runs"
        if known.cell != self._core.cell.digest:
            yield "cell", "it is bound to another process cell file than the one that runs"

    async def hold_strange(self, batch: BatchId) -> None:
        """Hold a running batch that is bound to another version or cell file."""
        known = self._core.state.batches[batch]
        why = "; ".join(why for _, why in self.strange(batch))
        if not why or any(BOUND in one.reasons for one in known.procedures.values()):
            return
        recipe = self._recipe_of(known.recipe)
        await self._core.record(
            batch, *held(self._core.state, batch, recipe, why=why, reason=BOUND)
        )

    async def let_go_on(self, batch: BatchId) -> None:
        """Let a batch go on that was held for its bindings alone, where these are right by now."""
        if any(self.strange(batch)):
            return
        for control in self._holds.controls(batch):
            if BOUND in control.reasons:
                await self._holds.let_go_on(batch, control, "its bindings are right", also=BOUND)

    def refuse_unless_at_rest(self, what: str, batch: str) -> None:
        """Refuse to amend a batch that doesn't stay still by a person's word.

        Raises:
            RefusedError: It doesn't run, an act of it is in doubt, or a part of it isn't held.
        """
        state = self._core.state
        known = state.batches.get(batch)
        if known is None or known.status != "running" or known.broken:
            why = "there is none of that name" if known is None else "it doesn't run"
            raise RefusedError(what, why=why, do_next="Amend a batch that runs")
        if any(whose == batch for whose, _, _ in state.attempts.values()):
            raise RefusedError(
                what,
                why="an act of it is open or in doubt",
                do_next="Let it end, or have two people say what was done",
            )
        moving = [
            one.path
            for one in self._holds.controls(batch)
            if known.procedures[one.path].state is not PhaseState.HELD
            or not {BY_PERSON, BOUND} & one.reasons.keys()
        ]
        if moving or not self._holds.controls(batch):
            raise RefusedError(
                what,
                why=f"{', '.join(moving) or 'no part of it'} isn't held by a person",
                do_next=f"Hold it first (`cellwright answer {batch} --command hold`), and have it "
                "restarted afterwards",
            )

    async def amend(self, event: BatchAmended, answer: CommandAnswered) -> int:
        """Change a binding of a batch that is at rest; return the event's number.

        Raises:
            RefusedError: It isn't at rest. Nothing happened.
        """
        batch = event.batch
        self.refuse_unless_at_rest(f"amend batch {batch}", batch)
        fallen = self._fallen(event) if event.binding == "recipe" else ()
        ended = [one for name in fallen for one in self._limits.ended(name)]
        seq = await self._core.record(batch, event, *ended, answer=answer)
        for name in (*fallen, *(one.limit for one in event.limits)):
            await self._limits.cleared(name)
        self._limits.look_again()
        if event.binding == "recipe":
            await self._walk_anew(batch)
        await self.let_go_on(batch)
        return seq

    def _fallen(self, event: BatchAmended) -> tuple[str, ...]:
        """Return the limits that the newer recipe doesn't have."""
        had, has = ({one.name for one in self._recipe_of(d).lags} for d in (event.old, event.new))
        return tuple(f"{event.batch}/{name}" for name in sorted(had - has))
