"""Walk a batch through its frozen recipe, from wherever the record has come to.

There is no second path for resuming: what is complete is passed over, what is open is
run again from its first word and answered from the record.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.engine.control import UnitControl
from orchestrator.engine.lags import Lags
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.words import PhaseRun
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
from orchestrator.kernel.conditions import Edge
from orchestrator.kernel.errors import (
    IntegrityError,
    ProcessError,
    RecipeMismatchError,
    StoppedError,
)
from orchestrator.kernel.identifiers import BatchId, PhasePath, RecipeDigest, TaskId
from orchestrator.kernel.quantities import hour
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
        """Carry the batch to its end."""
        how = "complete"
        try:
            for part in self._recipe.body:
                if isinstance(part, Together):
                    async with asyncio.TaskGroup() as group:
                        for one in part.unit_procedures:
                            group.create_task(self._unit_procedure(one, f"{part.slug}/{one.slug}"))
                else:
                    await self._unit_procedure(part, part.slug)
        except* StoppedError:
            how = "stopped"
        except* RecipeMismatchError:
            how = "broken"
        if how == "broken":
            return  # it stands still; other batches go on
        await self._core.record(
            self._batch,
            BatchEnded.model_validate({"batch": self._batch, "how": how}),
        )
        await self._engine.release_all(self._batch)

    async def _unit_procedure(self, part: UnitProcedure, path: str) -> None:
        control = self._engine.holds.control_of(self._batch, path)
        await self._body(part.body, PhasePath(path), control)

    async def _body(
        self, body: tuple[Node, ...], path: PhasePath, control: UnitControl, mark: str = ""
    ) -> None:
        for node in body:
            await self._node(node, PhasePath(f"{path}{mark}/{node.slug}"), control)

    async def _node(self, node: Node, path: PhasePath, control: UnitControl) -> None:
        if isinstance(node, Operation):
            await self._operation(node, path, control)
            return
        await self._lags.passed(path, "start")
        match node:
            case Step():
                await self._step(node, path, control)
            case Hold():
                await self._hold(node, path, control)
            case Sequence():
                await self._body(node.body, path, control)
            case Parallel():
                async with asyncio.TaskGroup() as group:
                    for branch in node.branches:
                        group.create_task(
                            self._body(branch.body, path, control, f"[{branch.slug}]")
                        )
            case RepeatUntil():
                await self._repeat(node, path, control)
            case When():
                await self._when(node, path, control)
            case Keep():
                await self._keep(node, path, control)
            case UnitProcedure() | Together():
                raise AssertionError(f"{path}: nothing of this kind stands inside")
        await self._lags.passed(path, "end")

    async def _operation(self, node: Operation, path: PhasePath, control: UnitControl) -> None:
        """Take all units of the operation at once, work, and let them go."""
        if self._state.moments.get(f"end {path}") is not None:
            return
        resources = self._engine.units_of(self._batch, node)
        if self._is_complete(node, path):
            await self._engine.leases.release(self._batch, resources, "automatic")
            await self._lags.passed(path, "end")
            return
        if resources:
            await control.unless_stopped(
                self._engine.leases.take(
                    self._batch, path, resources, least_time_left=self._lags.due(path)
                )
            )
        await self._lags.passed(path, "start")
        await self._body(node.body, path, control)
        if resources:
            await self._engine.leases.release(self._batch, resources, "automatic")
        await self._lags.passed(path, "end")

    def _is_complete(self, node: Operation, path: PhasePath) -> bool:
        """Return whether every step of a straight operation has ended."""
        return all(
            isinstance(one, Step)
            and (record := self._state.phases.get(f"{path}/{one.slug}")) is not None
            and record.state is PhaseState.COMPLETE
            for one in node.body
        )

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
            except StoppedError:
                await self._engine.holds.arrived(self._batch, path)
                raise
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
                task=TaskId(f"{self._batch}/{path}/verify"),
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
        await self._engine.holds.hold(self._batch, control, node.reason)
        control.wait(node.reason)
        await control.passed()
        await self._core.record(
            self._batch,
            BranchTaken(batch=self._batch, path=path, branch="passed", because="restarted"),
        )

    async def _repeat(self, node: RepeatUntil, path: PhasePath, control: UnitControl) -> None:
        for turn in range(1, node.at_most + 1):
            at = PhasePath(f"{path}[{turn}]")
            decided = self._state.branches.get(at)
            if decided is None:
                await self._body(node.body, at, control)
                is_so, value = await self._engine.watches.read_once(self._batch, node.condition)
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
            is_so, value = await self._engine.watches.read_once(self._batch, node.condition)
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
            self._core.tasks.create_task(self._edge(node, path, edge, value))

        watching = self._core.tasks.create_task(
            self._engine.watches.keep(self._batch, path, node.condition, on_edge)
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
