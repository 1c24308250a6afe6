"""The engine of one host: it starts, resumes and runs batches side by side.

Start-up is the same after a clean end and after a crash: fold the journal, see each
device, bring to rest what an interrupted attempt may have left moving, and let each open
batch walk on from its record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from devices.interfaces.driver import Driver, Standing
from orchestrator.engine.actor import Actor
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.amending import Amending
from orchestrator.engine.anchoring import Anchoring
from orchestrator.engine.clearing import Needs
from orchestrator.engine.core import Core
from orchestrator.engine.fold import fold
from orchestrator.engine.freezing_rescue import RescueTable
from orchestrator.engine.held_up import HeldUp
from orchestrator.engine.holds import Holds
from orchestrator.engine.keeping import StateKeeper, Traces
from orchestrator.engine.latch import Latch
from orchestrator.engine.leases import Leases
from orchestrator.engine.left_in_freezer import LeftInFreezer
from orchestrator.engine.limits import Limits
from orchestrator.engine.outside_acts import outside_act_seen
from orchestrator.engine.recognition import Recognition, equipment_seen
from orchestrator.engine.run import BatchRun
from orchestrator.engine.state import LATE_REPORT, RESTORED, HostState, TaskState
from orchestrator.engine.tasks import Board
from orchestrator.engine.unknown_time import UnknownTime
from orchestrator.engine.wall_clock import WallClock
from orchestrator.engine.watches import Watches
from orchestrator.engine.witnessing import Copier, Witnessing
from orchestrator.engine.words import doubt_offered
from orchestrator.journal.events import (
    AlarmAcknowledged,
    AnyEvent,
    AttemptReopened,
    AttemptSettled,
    BatchBroken,
    BatchMade,
    BatchMended,
    BatchStartAsked,
    BatchStarted,
    BatchStoodStill,
    CommandAnswered,
    HandWorkReportedLate,
    HostStopped,
    RecipeSubmitted,
    TaskReported,
)
from orchestrator.journal.journal import Journal, Recorded
from orchestrator.kernel.acts import Act
from orchestrator.kernel.errors import (
    JournalLatchedError,
    ProcessError,
    RecipeMismatchError,
    RecipeRefusedError,
    RefusedError,
)
from orchestrator.kernel.identifiers import (
    BatchId,
    CommandId,
    EquipmentId,
    PhasePath,
    TaskId,
    UserId,
)
from orchestrator.kernel.instants import Clock
from orchestrator.kernel.quantities import minute
from orchestrator.kernel.tasks import LATE
from orchestrator.process_cell.config import LoadedCell
from orchestrator.recipe.model import (
    Node,
    Operation,
    Recipe,
    Step,
    children,
    load_phase_kinds,
)

VERSION: Final = "0.1.0"

Drivers = Callable[[Board], Mapping[str, Driver]]
"""Makes the cell's drivers; the board is where the driver of hands offers its tasks."""

Work = Callable[[], Coroutine[Any, Any, None]]

ADMISSION: Final = PhasePath("admission")
"""Where a batch's long leases belong."""

_DONE_ANEW: Final = "done anew "
"""How the alarm begins that work was reported in the moment in which it was offered anew."""

_REPORTED_AFTER_ALL: Final = "a person reports it as done, and it had been withdrawn"

WATCH_IDLE_EVERY: Final = 30 * minute
"""Set by site: how often idle instruments are asked whether somebody acted on them."""


ADMIT_AGAIN_AFTER: Final = 1 * minute
"""Set by site: how long after a failure a batch's admission is tried again."""


class Engine:
    """Runs the batches of one host on one process cell."""

    def __init__(
        self,
        journal: Journal[AnyEvent],
        state: HostState,
        drivers: Drivers,
        *,
        clock: Clock,
        cell: LoadedCell,
        tasks: asyncio.TaskGroup,
        can_be_suspended: bool,
        folder: Path,
        by_urgency: bool = True,
        witness: Copier | None = None,
    ) -> None:
        """Put the parts together; nothing happens before ``start``.

        Args:
            journal: Open for writing; ``state`` is its fold.
            state: Folded from this journal.
            drivers: Makes the cell's drivers.
            clock: What the journal's rows say.
            cell: The process cell file.
            tasks: Where the engine's own work runs.
            can_be_suspended: Whether the loop's clock can stop while time goes on.
            folder: Where traces and the saved state are kept, beside the journal.
            by_urgency: Off only to show what first come first served would do.
            witness: Copies the journal's checkpoints elsewhere, and has taken those there are.
        """
        self.core = Core(
            journal=journal,
            state=state,
            drivers={},
            clock=clock,
            cell=cell,
            tasks=tasks,
            can_be_suspended=can_be_suspended,
        )
        self.core.follow()
        self.board = Board(self.core)
        self.core.drivers = drivers(self.board)
        self.alarms = Alarms(self.core)
        self.recognition = Recognition(self.core, self.alarms)
        self.freezing_rescue = RescueTable(cell.config.freezing_rescue)
        self.actor = Actor(self.core, self.alarms, self.recognition, self.freezing_rescue)
        self.holds = Holds(self.core, self.spawn)
        self.needs = Needs(self.core.state, self.recipe_by_digest)
        self.leases = Leases(self.core, self.needs, by_urgency=by_urgency)
        self.held_up = HeldUp(self.core, self.alarms, self.leases, self.spawn)
        self.limits = Limits(self.core, self.alarms)
        self.witnessing = Witnessing(self.core, self.alarms, self.limits, witness)
        self.wall_clock = WallClock(self.core, self.alarms)
        self.unknown_time = UnknownTime(self.core, self.alarms, self.holds, self.limits)
        self._traces = Traces(folder / "traces", self.core, self.alarms)
        self._keeper = StateKeeper(folder, self.core, VERSION, self.alarms)
        self.core.listeners.append(lambda _: self._keeper.look())
        Anchoring(self.core, self.spawn)
        self.amending = Amending(
            self.core, self.holds, self.limits, self.recipe_by_digest, self._walk_anew, VERSION
        )
        self.watches = Watches(self.core, self._traces, self.recognition)
        self._recipes: dict[str, Recipe] = {}
        """By digest, the recipes that were read from the journal since the start."""
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._beside: set[asyncio.Task[None]] = set()
        self._admissions: dict[str, asyncio.Task[None]] = {}
        self._not_admitted: dict[str, asyncio.Event] = {}
        """Batches whose admission failed: set to have it tried at once."""
        self._late: dict[TaskId, asyncio.Task[None]] = {}
        self.core.listeners.append(self._look_at_report)
        LeftInFreezer(self.core, self.alarms, self.freezing_rescue, self.spawn)
        self.latch = Latch(self.core, self._all_that_runs)

    async def start(self) -> None:
        """Begin, or begin again after whatever ended the last run."""
        core = self.core
        load_phase_kinds()  # a tenth of a second, that no batch should wait for
        self.latch.arm()
        for driver in core.drivers.values():
            core.tasks.create_task(driver.run())
        await core.record_for_host(*self.wall_clock.at_start(VERSION, core.cell.digest))
        await self.wall_clock.look()
        for command in tuple(core.state.attempts):
            await self._quieten(command)
        await self.witnessing.begin()
        for equipment in sorted(core.drivers):
            await self._see(EquipmentId(equipment))
        self.spawn(self.limits.watch, "watch of limits")
        self.spawn(self.witnessing.watch, "copying to the witness")
        if core.can_be_suspended:
            self.spawn(self.wall_clock.watch, "watch of the wall clock")
        core.listeners.append(self._look_at_time)
        self.spawn(self.leases.watch, "watch of emptied places")
        self.spawn(self.watch_idle_equipment, "watch of idle instruments")
        await self._look_at_reports()
        for name, batch in core.state.batches.items():
            if not batch.broken and self.unknown_time.concerns(name):
                self._controls_of(name)
        await self.unknown_time.look()
        for name, batch in core.state.batches.items():
            if batch.status == "running" and not batch.broken:
                await self.amending.hold_strange(BatchId(name))
        for name, batch in tuple(core.state.batches.items()):
            if batch.status == "running":
                await self._resume(BatchId(name))
            elif batch.status == "made":
                if batch.start_asked_by:
                    self._begin(BatchId(name))
            else:
                await self._let_go(BatchId(name))

    def _look_at_time(self, recorded: Recorded[AnyEvent]) -> None:
        if self.wall_clock.heard(recorded):
            self.spawn(self.wall_clock.look, "look at the wall clock")
        if self.unknown_time.heard(recorded):
            self.limits.look_again()
            self.spawn(self.unknown_time.look, "look at what time is known")

    async def stop(self) -> None:
        """End in good order: what runs is left as it is, and resumed at the next start.

        That it ended is the last that the host records in its life.
        """
        running = {one for one in (*self._runs.values(), *self._beside) if not one.done()}
        running.discard(asyncio.current_task())  # pyright: ignore[reportArgumentType]
        for one in running:
            one.cancel()
        if running:
            await asyncio.wait(running)
        await self._traces.close()
        await self._keeper.save()
        await self.core.record_the_end(HostStopped())
        await self.witnessing.end()

    def _all_that_runs(self) -> Iterator[asyncio.Task[None]]:
        yield from self._runs.values()
        yield from self._admissions.values()

    async def make_batch(self, made: BatchMade) -> None:
        """Bind a recipe to a therapy event, containers and equipment."""
        await self.core.record(made.batch, made)

    async def ask_to_start(
        self, batch: BatchId, by: UserId, answer: CommandAnswered | None = None
    ) -> int:
        """Make a person's order to start a batch durable, and begin to admit it.

        It runs as soon as it has its long leases; nobody waits for that. What dies after the
        order is on disk admits it at the next start. Where it couldn't be admitted, ordering it
        again tries at once.

        Raises:
            RefusedError: There is no such batch, or it was started before.
            NotWitnessedError: The journal has missed its witness for too long.
        """
        self.witnessing.refuse_if_overdue(f"start batch {batch}")
        known = self.core.state.batches.get(batch)
        again = self._not_admitted.get(batch)
        if known is None or known.status != "made" or (known.start_asked_by and again is None):
            raise RefusedError(
                f"start batch {batch}",
                why="there is none of that name" if known is None else "it was started",
                do_next="Look at the batches, and start one that is made and not started",
            )
        asked = BatchStartAsked(batch=batch, by=by)
        seq = await self.core.record(batch, asked, answer=answer)
        if again is None:
            self._begin(batch)
        else:
            again.set()
        return seq

    def _begin(self, batch: BatchId) -> None:
        what = f"admission of {batch}"
        self._admissions[batch] = self.spawn(partial(self._until_admitted, batch), what)

    async def _until_admitted(self, batch: BatchId) -> None:
        """Admit a batch; where that fails, say so, and try again until it is."""
        alarm = f"admission {batch}"
        again = asyncio.Event()
        while True:
            try:
                await self._admit(batch)
            except JournalLatchedError:
                raise
            except Exception as failed:
                self._not_admitted[batch] = again
                await self.alarms.raise_alarm(
                    alarm,
                    tier="alarm",
                    cause=f"batch {batch} can't be admitted: {type(failed).__name__}: {failed}",
                    consequence=f"It isn't started; it is tried again each {ADMIT_AGAIN_AFTER}",
                    action="Put right what it says, and start the batch again to try at once; if "
                    "it stays so, report it",
                    batch=batch,
                )
            else:
                self._not_admitted.pop(batch, None)
                await self.alarms.clear(alarm)
                return
            again.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(ADMIT_AGAIN_AFTER.base / 1000):
                    await again.wait()

    async def start_batch(self, batch: BatchId, by: UserId) -> None:
        """Have a batch started, and return when it runs.

        Raises:
            RefusedError: There is no such batch, or it was started before.
        """
        await self.ask_to_start(batch, by)
        await asyncio.wait({self._admissions[batch]})

    async def _admit(self, batch: BatchId) -> None:
        self.witnessing.refuse_if_overdue(f"start batch {batch}")
        state = self.core.state.batches[batch]
        places = tuple(sorted(state.places.values()))
        if places:
            await self.leases.take(batch, ADMISSION, places, until_end_of_batch=True)
        await self.core.record(batch, BatchStarted(batch=batch))
        await self.amending.hold_strange(batch)
        self._run(batch)

    async def _resume(self, batch: BatchId) -> None:
        """Let a batch walk on from its record; what stood still tries again."""
        known = self.core.state.batches[batch]
        if known.broken and not known.broken_path:
            await self._alarm_of_broken(batch, known.broken)
            return  # its record doesn't fit: nothing of it may act
        if known.broken_path == "*":
            await self.mend_batch(batch)
        self._controls_of(batch)
        await self.amending.let_go_on(batch)
        self._run(batch)

    async def _walk_anew(self, batch: BatchId) -> None:
        """Have a batch that is at rest walk from its record again."""
        run = self._runs[batch]
        run.cancel()
        await asyncio.wait({run})
        self._run(batch)
        self._controls_of(batch)

    async def _let_go(self, batch: BatchId) -> None:
        """End what a batch that has ended still owns or waits for."""
        ended = self.leases.all_ended(batch)
        if ended:
            await self.core.record(batch, *ended)

    async def break_batch(self, batch: BatchId, path: PhasePath, recorded: str, asked: str) -> None:
        """Have a batch stand still, as a phase of it asks what the record doesn't hold."""
        why = f"{path} asks something else than the record holds"
        broken = BatchBroken(batch=batch, path=path, recorded=recorded, asked=asked)
        await self._stand_still(batch, broken, why)

    async def stand_still(self, batch: BatchId, failed: Exception) -> None:
        """Have a batch stand still, as something that nobody foresaw went wrong in it."""
        why = f"{type(failed).__name__}: {failed}"
        await self._stand_still(batch, BatchStoodStill(batch=batch, why=why), why)

    async def _stand_still(
        self, batch: BatchId, broken: BatchBroken | BatchStoodStill, why: str
    ) -> None:
        self.holds.leave(batch, why)
        await self.core.record(batch, broken)
        await self._alarm_of_broken(batch, why)

    async def _alarm_of_broken(self, batch: BatchId, why: str) -> None:
        await self.alarms.raise_alarm(
            f"broken {batch}",
            tier="block",
            cause=why,
            consequence=f"Batch {batch} stands still; other batches go on",
            action="Bring the material to a safe state by hand; mend the software or install "
            "the version that began it, and start the daemon again",
            batch=batch,
        )

    async def mend_batch(self, batch: BatchId) -> None:
        """Let a batch that stood still walk again: what it asks agrees with the record."""
        if not self.core.state.batches[batch].broken:
            return
        await self.core.record(batch, BatchMended(batch=batch))
        self.holds.mended(batch)
        await self.alarms.clear(f"broken {batch}")

    def spawn(self, work: Work, what: str) -> asyncio.Task[None]:
        """Run something beside the batches: where it fails, an alarm says so."""
        started = self.core.tasks.create_task(self._guarded(work, what))
        self._beside.add(started)
        started.add_done_callback(self._beside.discard)
        return started

    async def _guarded(self, work: Work, what: str) -> None:
        try:
            await work()
        except JournalLatchedError:
            raise
        except Exception as failed:
            await self.alarms.raise_alarm(
                f"failed {what}",
                tier="alarm",
                cause=f"{what}: {type(failed).__name__}: {failed}",
                consequence="It isn't done any more",
                action="Report it; start the daemon again when no act runs",
            )

    async def ended(self, batch: BatchId) -> None:
        """Return when a batch that runs, or was asked to, has ended or stands broken."""
        admission = self._admissions.get(batch)
        if admission is not None:
            await asyncio.wait({admission})
        run = self._runs.get(batch)
        if run is not None:
            await asyncio.wait({run})

    def recipe_of(self, batch: str) -> Recipe:
        """Return the recipe that a batch is bound to, from its verbatim bytes."""
        return self.recipe_by_digest(self.core.state.batches[batch].recipe)

    def recipe_by_digest(self, digest: str) -> Recipe:
        """Return a recipe on file, from its verbatim bytes."""
        known = self._recipes.get(digest)
        if known is None:
            known = self._recipes[digest] = self._recipe_on_file(digest)
        return known

    def _recipe_on_file(self, digest: str) -> Recipe:
        submitted = self.core.state.recipes[digest].submitted_seq
        event = next(self.core.journal.events(submitted)).event
        if not isinstance(event, RecipeSubmitted):
            raise RecipeRefusedError(
                f"read recipe {digest}",
                why=f"event {submitted} isn't its submission",
                do_next="Run `cellwright verify` on the journal",
            )
        return Recipe.read(event.content.encode())

    def units_of(self, batch: str, operation: Operation) -> tuple[str, ...]:
        """Return all that an operation must own while it runs, for short."""
        bound = self.core.state.batches[batch].units
        config = self.core.cell.config
        found: dict[str, None] = {}
        for step in _steps(operation):
            claims = step.phase.claims()
            for unit_name in (*(unit for unit, _ in claims.needs), *claims.occupies):
                unit = config.by_unit[bound.get(unit_name, unit_name)]
                if unit.lease == "operation":
                    found.update(dict.fromkeys(self.leases.of_unit(unit)))
        return tuple(sorted(found))

    async def phase_ended(self, batch: BatchId, path: PhasePath) -> None:
        """Sign a checkpoint: what was done till here is anchored."""
        del batch, path
        await self.core.checkpoint()

    async def watch_idle_equipment(self) -> None:
        """Ask idle instruments, for ever, whether somebody acted on them."""
        while True:
            await self.core.sleep(WATCH_IDLE_EVERY)
            for equipment in sorted(self.core.drivers):
                if not self.core.is_busy(equipment):
                    await self.look_for_outside_acts(EquipmentId(equipment))

    async def shown_by(self, equipment: str) -> Standing:
        """Return what a device shows now, or what it last showed if it is silent."""
        try:
            return await self.core.drivers[equipment].standing()
        except ProcessError:
            known = self.core.state.equipment[equipment]
            return Standing(values=known.values, witness=known.witness)

    async def let_go_on(self, batch: BatchId, path: str, why: str) -> None:
        """Restart the unit procedure of a phase that the engine had held."""
        for control in self.holds.controls(batch):
            if path.startswith(f"{control.path}/"):
                await self.holds.let_go_on(batch, control, why)

    async def reported_late(self, task: TaskId) -> None:
        """Look at hand work that a person reports though it had been withdrawn.

        Where it was settled as not done, two people decide what was: a physical act is
        neither lost nor asked for a second time. Nothing goes on until that is known; nobody
        waits for it here.
        """
        attempt = self.board.newest_attempt(task)
        if attempt is not None and attempt.command == task and attempt.verdict != "all":
            known = self.core.state.tasks[task]
            await self._hold_for(
                BatchId(known.batch), known.path, _REPORTED_AFTER_ALL, f"doubt {task}"
            )
        self._late_look(task)

    def _late_look(self, task: TaskId) -> asyncio.Task[None]:
        looked = self._late.get(task)
        if looked is None:
            looked = self._late[task] = self.spawn(
                partial(self._look_at_late_report, task), f"look at the late report of {task}"
            )
        return looked

    async def late_report_disputed(self, task: TaskId) -> None:
        """Hold what rests on hand work that two people may both have done, and say so."""
        known = self.core.state.tasks[task]
        await self._hold_for(
            BatchId(known.batch),
            known.path,
            "a person reports hand work that others had or did by then",
            f"{LATE_REPORT}{task}",
        )
        await self.alarms.raise_alarm(
            _late_report_alarm(task),
            tier="block",
            cause=f"{task} was reported after it had been withdrawn and offered anew, or was over",
            consequence="It may have been done twice",
            action="Look at the material together with who reported it, and say what was done",
            batch=BatchId(known.batch),
        )

    async def late_report_decided(self, task: TaskId) -> None:
        """Go on after two people said what a late report means."""
        known = self.core.state.tasks[task]
        batch = BatchId(known.batch)
        newest = self.board.newest_attempt(task)
        if newest is not None and newest.verdict == "uncertain":
            why = f"doubt {newest.command}"
            await self._hold_for(batch, known.path, _REPORTED_AFTER_ALL, why)
        await self.alarms.clear(_late_report_alarm(task))
        for control in self.holds.controls(batch):
            if f"{LATE_REPORT}{task}" in control.reasons:
                await self.holds.let_go_on(batch, control, "two people decided")

    async def _hold_for(self, batch: BatchId, path: str, why: str, reason: str) -> None:
        """Hold the unit procedure of a phase; where that has ended, all of the batch that runs."""
        running = self.holds.controls(batch)
        own = [one for one in running if path.startswith(f"{one.path}/")]
        for control in own or running:
            await self.holds.hold(batch, control, why, reason)

    def reopened(self, task: TaskId) -> tuple[AnyEvent, ...]:
        """Return what puts the newest attempt at a task's hand work in doubt again.

        Empty unless it was settled as not done.
        """
        attempt, number = self.board.newest_attempt(task), self.board.number_of(task)
        if attempt is None or number is None or attempt.verdict != "nothing":
            return ()
        known = self.core.state.tasks[task]
        batch, path = BatchId(known.batch), PhasePath(known.path)
        act = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
        return (
            AttemptReopened(
                batch=batch,
                path=path,
                word=number,
                command=CommandId(attempt.command),
                why=_REPORTED_AFTER_ALL,
            ),
            doubt_offered(
                batch, path, attempt, act, _REPORTED_AFTER_ALL, now=self.core.clock.utc()
            ),
        )

    def _look_at_report(self, recorded: Recorded[AnyEvent]) -> None:
        """Look at a report that came on record as its task was withdrawn, or at its alarm."""
        event = recorded.event
        if isinstance(event, AlarmAcknowledged):
            if event.alarm.startswith((_DONE_ANEW, RESTORED)):  # nothing else than that ends it
                self.spawn(partial(self.alarms.clear, event.alarm), f"end of {event.alarm}")
            return
        if isinstance(event, HandWorkReportedLate):  # whoever reported it may be gone by now
            late = partial(self.late_report_disputed, event.task)
            self.spawn(late, f"hold for the late report of {event.task}")
            return
        if isinstance(event, TaskReported):
            task = str(event.task)
        elif isinstance(event, AttemptSettled):
            task = str(event.command)
        else:
            return
        if self.board.is_passed_over(task):
            self.spawn(partial(self.reported_late, TaskId(task)), f"look at {task}")

    async def _look_at_reports(self) -> None:
        """Look at the reports that came on record as the software died."""
        state = self.core.state
        for name in [name for name in state.tasks if name.endswith(LATE)]:
            await self._look_at_dispute(TaskId(name.removesuffix(LATE)), state.tasks[name])
        for task in [TaskId(name) for name in state.tasks if self.board.is_passed_over(name)]:
            self._controls_of(state.tasks[task].batch)
            await self._late_look(task)

    async def _look_at_dispute(self, task: TaskId, asked: TaskState) -> None:
        """Say and hold again what a late report asks for; a decided one needs no alarm."""
        if asked.status == "done":
            await self.alarms.clear(_late_report_alarm(task))
            return
        self._controls_of(asked.batch)
        await self.late_report_disputed(task)

    def _controls_of(self, batch: str) -> None:
        """Make the switches of a batch that doesn't walk yet, so that it can be held."""
        known = self.core.state.batches[batch]
        if known.status == "running":
            for unit_procedure in known.procedures:
                self.holds.control_of(batch, unit_procedure)

    async def _look_at_late_report(self, task: TaskId) -> None:
        core = self.core
        attempt = await self.board.settlement(task)
        known = core.state.tasks[task]
        batch = BatchId(known.batch)
        newest = self.board.newest_attempt(task)
        if attempt is not None and attempt is newest and attempt.verdict == "nothing":
            await core.record(batch, *self.reopened(task))
            await self._hold_for(batch, known.path, _REPORTED_AFTER_ALL, f"doubt {task}")
            return
        for control in self.holds.controls(batch):
            if f"doubt {task}" in control.reasons:
                await self.holds.let_go_on(batch, control, "the report counted")
        if attempt is None or attempt.verdict not in ("all", "uncertain"):
            await self.alarms.raise_alarm(
                _done_anew_alarm(task),
                tier="alarm",
                cause=f"{task} was reported as it was withdrawn and offered anew, or over",
                consequence="It may have been done twice",
                action="Look at the material together with who reported it; open a deviation if it "
                "was done twice, and acknowledge this",
                batch=batch,
            )

    async def look_for_outside_acts(self, equipment: EquipmentId) -> None:
        """Compare what a device shows with what it showed when last settled."""
        driver = self.core.drivers[equipment]
        async with self.core.lock_of(equipment):
            known = self.core.state.equipment.get(equipment)
            if known is None or self.core.is_in_doubt(equipment):
                return
            try:
                await self.recognition.ask(equipment)
                standing = await driver.standing()
            except ProcessError:
                self.recognition.lost(equipment)
                return
            seen = outside_act_seen(equipment, known, standing, driver.only_acts_change)
        if seen is not None:
            await self.core.record_for_host(seen)

    def _run(self, batch: BatchId) -> None:
        self._runs[batch] = self.core.tasks.create_task(self._isolated(batch))

    async def _isolated(self, batch: BatchId) -> None:
        """Run a batch; what goes wrong in it ends no other batch."""
        try:
            await BatchRun(self, batch, self.recipe_of(batch)).run()
        except JournalLatchedError:
            raise
        except RecipeMismatchError as failed:
            if not self.core.state.batches[batch].broken:  # else its alarm says why
                await self.stand_still(batch, failed)
        except Exception as failed:
            await self.stand_still(batch, failed)
        finally:
            self.holds.forget(batch)

    async def _quieten(self, command: str) -> None:
        batch, path, number = self.core.state.attempts[command]
        attempt = self.core.state.batches[batch].phases[path].words[number].attempts[-1]
        act = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
        await self.actor.quieten(attempt.equipment, act, f"{CommandId(command)} was interrupted")

    async def _see(self, equipment: EquipmentId) -> None:
        driver = self.core.drivers[equipment]
        known = self.core.state.equipment.get(equipment)
        try:
            identity = await driver.identify()
            standing = await driver.standing()
        except ProcessError as silent:
            await self.alarms.raise_alarm(
                f"silent {equipment}",
                tier="alarm",
                cause=str(silent),
                consequence=f"Nothing can be done with {equipment}",
                action="Check its power and its line",
            )
            return
        open_attempt = any(
            attempt_equipment == equipment for attempt_equipment in self._equipment_in_doubt()
        )
        if known is not None and not open_attempt:
            seen = outside_act_seen(equipment, known, standing, driver.only_acts_change)
            if seen is not None:
                await self.core.record_for_host(seen)
        if known is None:
            await self.core.record_for_host(equipment_seen(equipment, identity, standing))
        await self.recognition.compare(equipment, identity)

    def _equipment_in_doubt(self) -> Iterator[str]:
        state = self.core.state
        for batch, path, number in state.attempts.values():
            yield state.batches[batch].phases[path].words[number].attempts[-1].equipment


def fold_journal(journal: Journal[AnyEvent]) -> HostState:
    """Return the state of a journal, folded from its first event."""
    state = HostState()
    for recorded in journal.events():
        fold(state, recorded)
    return state


def _late_report_alarm(task: str) -> str:
    """Return the name of the alarm that two people must say what a late report means."""
    return f"{LATE_REPORT}{task}"


def _done_anew_alarm(task: str) -> str:
    """Return the name of the alarm that work may have been done twice, as nobody asked in time."""
    return f"{_DONE_ANEW}{task}"


def _steps(node: Node) -> Iterator[Step]:
    if isinstance(node, Step):
        yield node
    for _, child in children("", node):
        yield from _steps(child)
