"""Walk a batch through its frozen recipe, from wherever the record has come to.

There is no second path for resuming: what is complete is passed over, what is open is
run again from its first word and answered from the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.engine.control import UnitControl
from orchestrator.engine.lags import Lags
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.words import PhaseRun, PutInDoubtError
from orchestrator.journal.events import (
    BatchEnded,
    BranchTaken,
    DeviationOpened,
    Named,
    PhaseEnded,
    PhaseFailed,
    PhaseStarted,
    TaskOffered,
)
from orchestrator.kernel.conditions import Condition, Edge
from orchestrator.kernel.errors import (
    IntegrityError,
    JournalLatchedError,
    ProcessError,
    RecipeMismatchError,
    StoppedError,
)
from orchestrator.kernel.identifiers import BatchId, PhasePath, RecipeDigest, TaskId
from orchestrator.kernel.quantities import hour
from orchestrator.kernel.tasks import LATE, OVER, VERIFICATION
from orchestrator.phases.phase import Report
from orchestrator.recipe.model import (
    Hold,
    Keep,
    Node,
    Operation,
    Parallel,
    Recipe,
    RepeatUntil,
    Sequence,
    Step,
    Together,
    UnitProcedure,
    When,
)

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine

VERIFY_WITHIN = 24 * hour
"""Set by site: by when a person should have verified an automated phase (SIG-12)."""


Branch = Callable[[], Coroutine[Any, Any, None]]


class BatchRun:
    """One batch while it runs."""

    def __init__(self, engine: Engine, batch: BatchId, recipe: Recipe) -> None:
        self._engine = engine
        self._core = engine.core
        self._batch = batch
        self._recipe = recipe
        self._state = engine.core.state.batches[batch]
        self._lags = Lags(engine.core, engine.limits, batch, recipe)

    async def run(self) -> None:
        """Carry the batch to its end.

        Raises:
            RecipeMismatchError: It stands still; all of it has come to rest.
        """
        stopped = False
        try:
            for part in self._recipe.body:
                if isinstance(part, Together):
                    await self._side_by_side(
                        partial(self._beside_others, one, f"{part.slug}/{one.slug}")
                        for one in part.unit_procedures
                    )
                else:
                    await self._unit_procedure(part, part.slug)
        except StoppedError:
            stopped = True
        await self._end(stopped)

    async def _end(self, stopped: bool) -> None:
        """End the batch and all that it owns, once nothing of it is in doubt or owed."""
        core = self._core

        def may_end() -> bool:
            return not self._in_doubt() and (stopped or not self._verification_open())

        await core.bells.until("news", may_end)
        states = {one.state for one in self._state.procedures.values()}
        aborted = PhaseState.ABORTED in states or PhaseState.ABORTING in states
        how = "aborted" if aborted else "stopped" if stopped else "complete"
        await core.record(
            self._batch,
            *self._engine.leases.all_ended(self._batch),
            BatchEnded.model_validate({"batch": self._batch, "how": how}),
        )

    def _in_doubt(self) -> bool:
        """Return whether it isn't settled what an act did, or what a late report of one means."""
        state = self._core.state
        return any(batch == self._batch for batch, _, _ in state.attempts.values()) or any(
            task.batch == self._batch and name.endswith(LATE) and task.status != "done"
            for name, task in state.tasks.items()
        )

    def _verification_open(self) -> bool:
        """Return whether a second person's word is owed, on a phase or on reported hand work."""
        return any(
            task.batch == self._batch
            and (
                (task.work == "verify" and task.status not in OVER)
                or (task.work == "do" and task.status == "reported")
            )
            for task in self._core.state.tasks.values()
        )

    async def _side_by_side(self, branches: Iterable[Branch]) -> None:
        """Run branches until each has ended or come to rest; none is cut off by another.

        Raises:
            StoppedError: One of them was stopped, and the others have ended.
            RecipeMismatchError: One of them differs from its record; all were left at rest.
        """
        running = [asyncio.ensure_future(self._branch(one)) for one in branches]
        try:
            waiting = set(running)
            while waiting:
                ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for one in ended:
                    if isinstance(one.exception(), JournalLatchedError):
                        one.result()
        finally:
            for one in running:
                one.cancel()
        failed = [one.exception() for one in running]
        for failure in sorted((one for one in failed if one is not None), key=_goes_last):
            raise failure

    async def _branch(self, branch: Branch) -> None:
        """Run a branch; where it breaks, say so, and have the others come to rest too.

        Raises:
            StoppedError: It was stopped.
            RecipeMismatchError: It broke; the batch stands still.
        """
        try:
            await branch()
        except (StoppedError, JournalLatchedError):
            raise
        except RecipeMismatchError as broken:
            if not self._state.broken:  # said at once: the others may be at work for hours
                await self._engine.stand_still(self._batch, broken)
            self._engine.holds.leave(self._batch, broken.why)
            raise
        except Exception as broken:
            await self._engine.stand_still(self._batch, broken)
            raise RecipeMismatchError(
                f"go on with batch {self._batch}",
                why=f"a branch of it broke: {broken}",
                do_next="Look at the batch's alarm; other batches go on",
            ) from broken

    async def _beside_others(self, part: UnitProcedure, path: str) -> None:
        """Run a unit procedure beside others; where it was stopped, they may have its units.

        Raises:
            StoppedError: It was stopped, and has come to rest.
        """
        try:
            await self._unit_procedure(part, path)
        except StoppedError:
            ended = self._engine.leases.of_stopped(self._batch, path)
            if ended:
                await self._core.record(self._batch, *ended)
            raise

    async def _unit_procedure(self, part: UnitProcedure, path: str) -> None:
        holds = self._engine.holds
        if holds.state_of(self._batch, path) is PhaseState.COMPLETE:
            return
        control = holds.control_of(self._batch, path)
        await holds.begin(self._batch, control)
        await self._body(part.body, PhasePath(path), control)
        await holds.complete(self._batch, control)

    async def _body(
        self, body: tuple[Node, ...], path: PhasePath, control: UnitControl, mark: str = ""
    ) -> None:
        for node in body:
            await self._node(node, PhasePath(f"{path}{mark}/{node.slug}"), control)

    async def _node(self, node: Node, path: PhasePath, control: UnitControl) -> None:
        if isinstance(node, Operation):
            await self._operation(node, path, control)
            return
        await self._moment(path, "start", control)
        match node:
            case Step():
                await self._step(node, path, control)
            case Hold():
                await self._hold(node, path, control)
            case Sequence():
                await self._body(node.body, path, control)
            case Parallel():
                await self._side_by_side(
                    partial(self._body, branch.body, path, control, f"[{branch.slug}]")
                    for branch in node.branches
                )
            case RepeatUntil():
                await self._repeat(node, path, control)
            case When():
                await self._when(node, path, control)
            case Keep():
                await self._keep(node, path, control)
            case UnitProcedure() | Together():
                raise AssertionError(f"{path}: nothing of this kind stands inside")
        await self._moment(path, "end", control)

    async def _moment(self, path: PhasePath, edge: str, control: UnitControl) -> None:
        """Record a moment that a lag names, once what must lie before it has passed."""
        await control.unless_stopped(self._lags.until_minimum(path, edge))
        await self._lags.passed(path, edge)

    async def _operation(self, node: Operation, path: PhasePath, control: UnitControl) -> None:
        """Take all units of the operation at once, work, and let them go."""
        if f"end {path}" in self._state.moments:
            return
        leases = self._engine.leases
        resources = leases.needed(self._batch, path, self._engine.units_of(self._batch, node))
        if resources and not leases.holds(self._batch, path, resources):
            await self._take(path, resources, control)
        await self._moment(path, "start", control)
        await self._body(node.body, path, control)
        await control.unless_stopped(self._lags.until_minimum(path, "end"))
        noted = self._lags.noted(path, "end", always=True)
        held = leases.held(self._batch, path, resources)
        await self._core.record(self._batch, *leases.ended(self._batch, path, held), *noted)
        await self._lags.after(noted)

    async def _take(
        self, path: PhasePath, resources: tuple[str, ...], control: UnitControl
    ) -> None:
        leases = self._engine.leases
        try:
            await control.unless_stopped(
                leases.take(self._batch, path, resources, least_time_left=self._lags.due(path))
            )
        except StoppedError:
            await leases.withdraw(self._batch, path)
            raise

    async def _step(self, node: Step, path: PhasePath, control: UnitControl) -> None:
        record = self._state.phases.get(path)
        if record is not None and record.state is PhaseState.COMPLETE:
            return
        phase = node.phase
        if record is None:
            await control.passed()
            await self._core.record(
                self._batch,
                PhaseStarted(
                    batch=self._batch,
                    path=path,
                    recipe=RecipeDigest(self._state.recipe),
                    phase=phase.kind,
                ),
            )
        while True:
            run = PhaseRun(self._engine, self._batch, path, control)
            try:
                report = await phase.run(run)
                await run.safe_point()
            except StoppedError:
                await self._engine.holds.arrived(self._batch, path)
                raise
            except PutInDoubtError:
                continue
            except IntegrityError:
                raise
            except ProcessError as failed:
                await self._core.record(
                    self._batch,
                    PhaseFailed(batch=self._batch, path=path, error=failed.as_record()),
                )
                await run.hold(str(failed))
                continue
            break
        measured = tuple(
            Named(name=named, is_=report[name])
            for name, named in phase.measures.items()
            if name in report
        )
        await self._core.record(
            self._batch,
            PhaseEnded(batch=self._batch, path=path, report=report, measured=measured),
            *self._verification_owed(node, path),
            *self._deviation_of(path, report),
        )
        await self._engine.phase_ended(self._batch, path)

    def _deviation_of(self, path: PhasePath, report: Report) -> tuple[DeviationOpened, ...]:
        """Return the deviation that people accepted within the phase, if they did."""
        text = report.get("deviation")
        if not text:
            return ()
        return (
            DeviationOpened(
                deviation=f"{self._batch}/{path}", batch=self._batch, path=path, text=text
            ),
        )

    def _verification_owed(self, node: Step, path: PhasePath) -> tuple[TaskOffered, ...]:
        """Return the task to verify an automated phase: a person owes it, not now (SIG-12)."""
        if node.phase.claims().second_person:
            return ()
        return (
            TaskOffered(
                task=TaskId(f"{self._batch}/{path}{VERIFICATION}"),
                batch=self._batch,
                path=path,
                word=None,
                work="verify",
                text=f"Verify that {node.name} was done as its record says",
                ask={},
                due=self._core.clock.utc() + VERIFY_WITHIN,
            ),
        )

    async def _hold(self, node: Hold, path: PhasePath, control: UnitControl) -> None:
        """Hold where the recipe says so; a person restarts or stops it."""
        if self._state.branches.get(path) == "passed":
            return
        await self._engine.alarms.raise_alarm(
            f"hold {self._batch}/{path}",
            tier="block",
            cause=node.reason,
            consequence="The unit procedure stands still as the recipe asks",
            action="Decide whether it goes on under a deviation, or stops",
            batch=self._batch,
        )
        await self._engine.holds.hold(self._batch, control, node.reason, path)
        await self._engine.holds.stay_between(self._batch, control)
        await self._core.record(
            self._batch,
            BranchTaken(batch=self._batch, path=path, branch="passed", because="restarted"),
        )
        await self._engine.alarms.clear(f"hold {self._batch}/{path}")

    async def _decide(
        self, path: PhasePath, condition: Condition, control: UnitControl
    ) -> tuple[bool, str]:
        """Read what a branch is decided on; hold as long as it can't be read."""
        while True:
            try:
                return await control.unless_stopped(
                    self._engine.watches.read_once(self._batch, condition)
                )
            except (StoppedError, IntegrityError):
                raise
            except ProcessError as silent:
                await self._engine.alarms.raise_alarm(
                    f"decide {self._batch}/{path}",
                    tier="alarm",
                    cause=str(silent),
                    consequence="The unit procedure is held: nobody can tell which way to go",
                    action="Look at the instrument, then restart or stop the unit procedure",
                    batch=self._batch,
                )
                await self._engine.holds.hold(self._batch, control, str(silent), path)
                await self._engine.holds.stay_between(self._batch, control)
                await self._engine.alarms.clear(f"decide {self._batch}/{path}")

    async def _repeat(self, node: RepeatUntil, path: PhasePath, control: UnitControl) -> None:
        for turn in range(1, node.at_most + 1):
            at = PhasePath(f"{path}[{turn}]")
            decided = self._state.branches.get(at)
            if decided is None:
                await self._body(node.body, at, control)
                is_so, value = await self._decide(at, node.condition, control)
                decided = "until" if is_so else "again"
                await self._core.record(
                    self._batch,
                    BranchTaken(batch=self._batch, path=at, branch=decided, because=value),
                )
            if decided == "until":
                return
        await self._hold(
            Hold(slug=node.slug, reason=f"{node.name}: not reached after {node.at_most} turns"),
            path,
            control,
        )

    async def _when(self, node: When, path: PhasePath, control: UnitControl) -> None:
        branch = self._state.branches.get(path)
        if branch is None:
            is_so, value = await self._decide(path, node.condition, control)
            branch = "then" if is_so else "otherwise"
            await self._core.record(
                self._batch,
                BranchTaken(batch=self._batch, path=path, branch=branch, because=value),
            )
        body = node.then if branch == "then" else node.otherwise
        await self._body(body, path, control, f"[{branch}]")

    async def _keep(self, node: Keep, path: PhasePath, control: UnitControl) -> None:
        """Run the body while a condition is watched; leaving it alarms and never acts."""

        def on_edge(edge: Edge, value: str) -> None:
            self._engine.spawn(partial(self._edge, node, path, edge, value), f"watch of {path}")

        watching = self._engine.spawn(
            partial(self._engine.watches.keep, self._batch, path, node.condition, on_edge),
            f"watch of {path}",
        )
        try:
            await self._body(node.body, path, control)
        finally:
            watching.cancel()
        await self._engine.alarms.clear(f"keep {self._batch}/{path}")

    async def _edge(self, node: Keep, path: PhasePath, edge: Edge, value: str) -> None:
        name = f"keep {self._batch}/{path}"
        if edge in (Edge.IN, Edge.BACK):
            await self._engine.alarms.clear(name)
            return
        await self._engine.alarms.raise_alarm(
            name,
            tier=node.tier.value,
            cause=f"{node.name}: {value or 'no reading'} ({edge.value})",
            consequence=f"Outside {node.condition.lowest} to {node.condition.highest}",
            action="Look at the instrument and decide on the material",
            batch=self._batch,
        )


def _goes_last(failure: BaseException) -> int:
    """Order failures: what nobody foresaw first, a stop last."""
    if isinstance(failure, StoppedError):
        return 2
    return 1 if isinstance(failure, IntegrityError) else 0
