"""Carry out one act: permit, intent, attempt, settlement, and the doubt between them.

No attempt without a durable intent that holds what the device showed before. Within an
attempt the trigger is written once, whatever the reply; doing it again is a new attempt
with an intent of its own, and only the table in ``kernel.acts`` allows it. Nothing is
guessed: what the device and the evidence can't tell is held for two people to decide.

Follows design section 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.driver import Driver, MadeReadyError, Settled, Standing
from devices.interfaces.hands import HandAct
from devices.interfaces.valves import InterlockInput
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.control import UnitControl
from orchestrator.engine.core import Core
from orchestrator.engine.freezing_rescue import RescueTable
from orchestrator.engine.in_use import IN_USE, user_of
from orchestrator.engine.interlocks.all_interlocks import refusals
from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.limits import ran_since
from orchestrator.engine.outside_acts import outside_act_seen
from orchestrator.engine.recognition import Recognition
from orchestrator.engine.state import AttemptState, BatchState
from orchestrator.journal.events import (
    ActOverdue,
    ActRefused,
    AttemptFailed,
    AttemptIntended,
    AttemptSettled,
    AttemptUncertain,
    EquipmentQuieted,
)
from orchestrator.kernel.acts import (
    Act,
    AllDone,
    CannotTell,
    Effect,
    EffectReport,
    Facts,
    NextStep,
    NothingDone,
    OnInterruption,
    PartDone,
    evidence_name,
    next_step,
)
from orchestrator.kernel.errors import FailedError, IntegrityError, ProcessError, RefusedError
from orchestrator.kernel.identifiers import BatchId, CommandId, EquipmentId, PhasePath
from orchestrator.kernel.quantities import Duration
from orchestrator.process_cell.config import Module, Unit

FRUITLESS_MOST: Final = 2
"""After so many attempts that did nothing a person looks before there is another."""

QUIETEN_S_MOST: Final = 2.0
"""So long an engine that ends waits for an instrument to come to rest."""


T = TypeVar("T")


class Pause(NamedTuple):
    """Why an act can't go on before a person has looked."""

    why: str
    reason: str = ""
    """The hold's own name, where it isn't the phase's."""


class ActingPhase(Protocol):
    """What the actor needs of the phase that asks for an act."""

    batch: BatchId
    path: PhasePath
    control: UnitControl

    async def fresh_proofs(
        self, number: int, proven: tuple[ProvenContainer, ...]
    ) -> tuple[ProvenContainer, ...]:
        """Return the proofs, scanned again where a restart or another break spent them."""
        ...

    async def safe_point(self) -> None:
        """Return when the phase may go on: it stays here while held or paused."""
        ...

    def are_fresh(self, proven: tuple[ProvenContainer, ...]) -> bool:
        """Return whether no proof was spent since it was made."""
        ...

    async def meanwhile(self, waiting: Awaitable[T]) -> T:
        """Return what ``waiting`` gives, unless a stop comes; a hold is arrived at meanwhile."""
        ...

    async def hold(self, why: str, reason: str = "") -> None:
        """Hold the unit procedure and return when it was let go on."""
        ...

    async def ask_what_was_done(self, attempt: AttemptState, act: Act, why: str) -> None:
        """Put an attempt in doubt to two people and return when they have decided."""
        ...


class Actor:
    """Carries out acts on the instruments of one cell."""

    def __init__(
        self, core: Core, alarms: Alarms, recognition: Recognition, freezing_rescue: RescueTable
    ) -> None:
        self._core = core
        self._freezing_rescue = freezing_rescue
        self._alarms = alarms
        self._recognition = recognition
        self._quieting: dict[str, list[asyncio.Task[None]]] = {}

    async def carry_out(
        self,
        phase: ActingPhase,
        number: int,
        act: Act,
        asked: dict[str, Any],
        proven: tuple[ProvenContainer, ...],
    ) -> Effect:
        """Return the act's effect over all its attempts, once evidence shows that it is done.

        ``asked`` is the act as the record holds it.

        Raises:
            StoppedError: The unit procedure was stopped; what was done stands in the record.
        """
        core = self._core
        batch = core.state.batches[phase.batch]
        unit = core.cell.config.by_unit[batch.units.get(act.unit, act.unit)]
        if act.capability == "hands":
            module = core.cell.config.hands
            lock = core.lock_of(f"hands {phase.batch}/{phase.path}")
        else:
            module = core.cell.config.module(unit.name, act.capability, act.part)
            lock = core.lock_of(module.equipment)
        driver = core.drivers[module.equipment]
        looked_at = len(_attempts(batch, phase.path, number))
        """Attempts whose fruitlessness is explained: seen by a person, or interrupted."""
        made_ready = False
        proofs: tuple[ProvenContainer, ...] = ()
        while True:
            attempts = _attempts(batch, phase.path, number)
            verdict = attempts[-1].verdict if attempts else ""
            rest: Act | None = None
            if verdict == "uncertain":
                await self._have_people_decide(phase, attempts[-1])
                continue
            if verdict != "open":
                rest = rest_of(act, attempts)
                if rest is None:
                    return total_of(act, attempts)
                if phase.control.waits:
                    await phase.safe_point()  # a person lets it go on, and may have found more
                    looked_at = len(attempts)
                    made_ready = False
                    continue
                await phase.safe_point()
                if _fruitless(attempts[looked_at:]):
                    await phase.hold(f"{act.in_words()} did nothing {FRUITLESS_MOST} times")
                    looked_at = len(attempts)
                    continue
                proofs = await phase.fresh_proofs(number, proven)
                if phase.control.waits:
                    continue  # a hold came while a scan was awaited
            # Nobody is awaited while the instrument is locked: others may need it meanwhile.
            pause: Pause | None = None
            waited = lock.locked()
            if waited and rest is not None:
                await phase.meanwhile(lock.acquire())
            else:
                await lock.acquire()
            try:
                if rest is not None:
                    if waited and (phase.control.waits or not phase.are_fresh(proofs)):
                        continue
                    if self._quieting:
                        await self._until_quiet(module.equipment)
                    pause = await self._attempt(
                        phase, number, batch, unit, module, driver, act, asked, rest, proofs
                    )
                    made_ready = False
                await self._settle_what_is_open(phase, driver, act, number)
            except MadeReadyError as ready:
                looked_at = len(_attempts(batch, phase.path, number))
                if made_ready:  # it moves each time, and isn't ready after it
                    pause = Pause(f"{module.equipment} had to be made ready twice: {ready}")
                made_ready = not made_ready
            finally:
                lock.release()
            if pause is not None:
                await phase.hold(*pause)

    async def _attempt(
        self,
        phase: ActingPhase,
        number: int,
        batch: BatchState,
        unit: Unit,
        module: Module,
        driver: Driver,
        act: Act,
        asked: dict[str, Any],
        rest: Act,
        proofs: tuple[ProvenContainer, ...],
    ) -> Pause | None:
        """Make one attempt; return why a person must look before another, if one must."""
        core = self._core
        try:
            await self._recognise(phase, module, unit, rest)
            standing = await driver.standing()
            around = await self._around(module, unit)
            evidence = await self._evidence(rest, unit)
            inputs = await self._inputs(unit)
        except ProcessError as silent:
            self._lost(module, unit, rest)
            return Pause(str(silent))
        permit = Permit(
            state=core.state,
            batch_name=phase.batch,
            batch=batch,
            path=phase.path,
            phase_started=batch.phases[phase.path].started_seq,
            act=rest,
            unit=unit,
            module=module,
            proven=proofs,
            standing=standing,
            only_acts_change=driver.only_acts_change,
            around=around,
            evidence=evidence,
            inputs=inputs,
            now=core.clock.utc(),
            clock=core.clock,
            cell=core.cell.config,
        )
        not_begun = self._freezing_rescue.why_not_begun(rest, standing.values)
        refused = () if not_begun else refusals(permit)
        if refused:
            await self._note_outside_acts(module.equipment, standing, driver.only_acts_change)
            for equipment, (shown, only_acts_change) in around.items():
                await self._note_outside_acts(EquipmentId(equipment), shown, only_acts_change)
            await core.record(
                phase.batch,
                ActRefused(batch=phase.batch, path=phase.path, word=number, refusals=refused),
            )
            used_by = user_of(core.state, module, phase.batch, phase.path)
            reason = "" if used_by is None else f"{IN_USE}{module.equipment}"
            return Pause("; ".join(refused), reason)
        attempt_number = 1 + len(_attempts(batch, phase.path, number))
        # a restored journal may have lost attempts of the same number: none has its name again
        epoch = f":e{core.state.epoch}" if core.state.epoch else ""
        command = CommandId(f"{phase.batch}/{phase.path}#{number}.{attempt_number}{epoch}")
        await core.record(
            phase.batch,
            AttemptIntended(
                batch=phase.batch,
                path=phase.path,
                word=number,
                attempt=attempt_number,
                command=command,
                equipment=module.equipment,
                asked=asked,
                act=None if rest is act else rest.model_dump(mode="json"),
                before=standing.values,
                witness=standing.witness,
                evidence=evidence,
                proven=tuple(f"{one.container} {one.rests_on}" for one in proofs),
            ),
        )
        if not_begun:  # the curve was broken between two segments: people decide before this one
            await self._note_outside_acts(module.equipment, standing, driver.only_acts_change)
            await self._leave_in_doubt(phase, command, not_begun, standing, evidence)
            return None
        return await self._do(phase, unit, module, driver, rest, command, standing, evidence)

    async def _do(
        self,
        phase: ActingPhase,
        unit: Unit,
        module: Module,
        driver: Driver,
        act: Act,
        command: CommandId,
        before: Standing,
        evidence: Facts,
    ) -> Pause | None:
        """Prepare, trigger and settle one attempt, record how it ended, and return as above.

        Raises:
            MadeReadyError: It triggered nothing; the next attempt begins from what the
                instrument shows now.
        """
        core = self._core

        control = phase.control

        def quieten() -> None:
            quieting = self.quieten(module.equipment, act, "a hold came")
            started = self._quieting.setdefault(module.equipment, [])
            started.append(core.tasks.create_task(quieting))

        triggered = False
        try:
            with control.acting(quieten), self._timed(phase, act, command, act.longest):
                try:
                    if not _told_to_wait(control):
                        await driver.prepare(act)
                    if _told_to_wait(control):
                        why = "a hold or a stop came before it was begun"
                        await self._settle(phase, command, NothingDone(why=why), before, evidence)
                        return None
                    await core.refuse_if_latched()
                    triggered = True
                    await driver.trigger(act, command)
                except MadeReadyError as ready:
                    shown = await driver.standing()
                    await self._settle(phase, command, NothingDone(why=ready.why), shown, evidence)
                    raise
                except (RefusedError, FailedError) as failed:
                    await core.record(
                        phase.batch,
                        AttemptFailed(batch=phase.batch, command=command, error=failed.as_record()),
                    )
                    await self._alarms.clear(f"overdue {command}")
                    return Pause(str(failed))
                if _told_to_wait(control):  # it came while the trigger was on its way
                    await self.quieten(module.equipment, act, "a hold came")
                settled = await driver.settle(act, command, before)
            after = await self._evidence(act, unit)
        except (asyncio.CancelledError, IntegrityError):
            if triggered and core.journal.latched is None:  # else the latch quiets it
                await self._quieten_at_the_end(driver, act)
            raise
        except MadeReadyError:
            raise
        except ProcessError:
            self._lost(module, unit, act)
            return None  # whatever failed, the trigger was written: it is reconciled now
        report = act.judge(settled.report, evidence, after)
        if isinstance(report, CannotTell) or (
            isinstance(report, PartDone) and act.on_interruption is OnInterruption.HOLD
        ):
            await self._leave_in_doubt(phase, command, report.why, settled.standing, after)
            return None
        await self._settle(phase, command, report, settled.standing, after)
        if isinstance(report, AllDone) or _told_to_wait(control):
            return None
        return Pause(_ended_early(module, act, report.why))

    async def _have_people_decide(self, phase: ActingPhase, attempt: AttemptState) -> None:
        """Put an attempt in doubt to two people; others may not use the instrument meanwhile."""
        tried = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
        try:
            await phase.ask_what_was_done(attempt, tried, attempt.why)
        finally:
            if attempt.verdict != "uncertain":  # decided, also where a stop follows
                await self._alarms.clear(f"overdue {attempt.command}")

    async def _settle_what_is_open(
        self, phase: ActingPhase, driver: Driver, act: Act, number: int
    ) -> None:
        """Reconcile an attempt that was interrupted, before anybody else has the instrument."""
        attempts = _attempts(self._core.state.batches[phase.batch], phase.path, number)
        if attempts and attempts[-1].verdict == "open":
            await self._reconcile(phase, driver, act, attempts[-1])

    async def _reconcile(
        self, phase: ActingPhase, driver: Driver, act: Act, attempt: AttemptState
    ) -> None:
        """Find out what an interrupted attempt did: quiet, wait, ask, weigh, or leave in doubt."""
        core = self._core
        tried = Act.kinds[act.kind].model_validate(attempt.act)
        command = CommandId(attempt.command)
        unit = core.cell.config.by_unit[
            core.state.batches[phase.batch].units.get(act.unit, act.unit)
        ]
        module = core.cell.config.by_equipment[EquipmentId(attempt.equipment)]
        before = Standing(values=attempt.before, witness=attempt.witness)
        after: Facts = {}
        ran = None if attempt.mark is None else ran_since(attempt.mark, core.state, core.clock)
        left = Duration.of_base(0) if ran is None else tried.longest - ran.highest
        with self._timed(phase, tried, command, left):
            await self.quieten(attempt.equipment, tried, "an attempt was interrupted")
            try:
                for equipment in (module.equipment, *self._witnesses(tried, unit)):
                    await self._recognition.require(equipment, phase.batch)
                settled = await driver.effect_of(tried, command, before)
                after = await self._evidence(tried, unit)
            except ProcessError as silent:
                self._lost(module, unit, tried)
                settled = Settled(report=CannotTell(why=str(silent)), standing=Standing(values={}))
        report = tried.judge(settled.report, attempt.evidence, after)
        if next_step(report, tried.on_interruption) is NextStep.HOLD:
            why = report.why if not isinstance(report, AllDone) else ""
            await self._leave_in_doubt(phase, command, why, settled.standing, after)
            return
        await self._settle(phase, command, report, settled.standing, after)

    async def _settle(
        self,
        phase: ActingPhase,
        command: CommandId,
        report: EffectReport,
        standing: Standing,
        evidence: Facts,
    ) -> None:
        if isinstance(report, CannotTell):
            raise AssertionError("doubt is not settled")
        effect = Effect(done="") if isinstance(report, NothingDone) else report.effect
        await self._core.record(
            phase.batch,
            AttemptSettled(
                batch=phase.batch,
                command=command,
                verdict=report.verdict,
                done=effect.done,
                detail=effect.detail,
                why="" if isinstance(report, AllDone) else report.why,
                after=standing.values,
                witness=standing.witness,
                evidence=dict(evidence),
            ),
        )
        await self._alarms.clear(f"overdue {command}")

    async def _leave_in_doubt(
        self,
        phase: ActingPhase,
        command: CommandId,
        why: str,
        standing: Standing,
        evidence: Facts,
    ) -> None:
        await self._core.record(
            phase.batch,
            AttemptUncertain(
                batch=phase.batch,
                command=command,
                why=why,
                after=standing.values,
                evidence=dict(evidence),
            ),
        )

    async def _quieten_at_the_end(self, driver: Driver, act: Act) -> None:
        """Bring an instrument to rest while the engine ends; nothing can be recorded now."""
        rest = asyncio.ensure_future(driver.quieten(act.quieten))
        await asyncio.wait({rest}, timeout=QUIETEN_S_MOST)
        if not rest.done():
            rest.cancel()
        elif not rest.cancelled():
            rest.exception()  # an instrument that doesn't hear is met at the next start

    async def quieten(self, equipment: str, act: Act, why: str) -> None:
        """Bring an instrument to rest as the act claims, and record it."""
        try:
            await self._core.drivers[equipment].quieten(act.quieten)
        except ProcessError as silent:
            await self._alarms.raise_alarm(
                f"quieten {equipment}",
                tier="block",
                cause=str(silent),
                consequence="It may still be acting on the material",
                action=f"Go to {equipment} and bring it to rest by hand",
            )
            return
        await self._core.record_for_host(
            EquipmentQuieted(equipment=EquipmentId(equipment), how=act.quieten, why=why)
        )

    async def _until_quiet(self, equipment: str) -> None:
        """Return when no quietening is under way to an instrument: it isn't for the next act."""
        under_way = self._quieting.pop(equipment, ())
        if under_way:
            await asyncio.wait(under_way)

    @contextmanager
    def _timed(
        self, phase: ActingPhase, act: Act, command: CommandId, left: Duration
    ) -> Generator[None]:
        """Say that an attempt is overdue if the block lasts longer than what is left of it."""

        def overdue() -> None:
            self._core.tasks.create_task(self._overdue(phase, act, command))

        with self._core.unless_within(left, overdue):
            yield

    async def _overdue(self, phase: ActingPhase, act: Act, command: CommandId) -> None:
        known = self._core.state.attempts.get(command)
        if known is None:
            return  # it has just ended
        batch, path, number = known
        attempt = self._core.state.batches[batch].phases[path].words[number].attempts[-1]
        if not attempt.overdue:
            await self._core.record(phase.batch, ActOverdue(batch=phase.batch, command=command))
        if command not in self._core.state.attempts:
            return  # it ended meanwhile
        await self._alarms.raise_alarm(
            f"overdue {command}",
            tier="alarm",
            cause=f"{act.in_words()} takes longer than {act.longest}",
            consequence="The material waits where it is",
            action=self._awaited(act, command),
            batch=phase.batch,
        )

    def _awaited(self, act: Act, command: CommandId) -> str:
        """Return what to do about an overdue act: whom or what it waits for."""
        task = self._core.state.tasks.get(command)
        if not isinstance(act, HandAct) or task is None:
            return "Look at the instrument; the software waits for its evidence"
        match task.status:
            case "reported":
                by = self._core.state.people[task.reported_by].printed_name
                return f"{by} reported it; another person goes, looks and verifies it ({command})"
            case "taken":
                by = self._core.state.people[task.taken_by].printed_name
                return f"{by} has it in hand: have it reported or declined ({command})"
            case _:
                return f"Nobody has taken it yet: have somebody do it and report it ({command})"

    async def _recognise(self, phase: ActingPhase, module: Module, unit: Unit, act: Act) -> None:
        """Ask all instruments that an act rests on who they are, where that is owed (H6)."""
        for equipment in self._rests_on(module, unit, act):
            await self._recognition.ask(equipment, phase.batch)

    def _lost(self, module: Module, unit: Unit, act: Act) -> None:
        """Have all instruments that an act rests on asked anew: one of them didn't answer."""
        for equipment in self._rests_on(module, unit, act):
            self._recognition.lost(equipment)

    def _rests_on(self, module: Module, unit: Unit, act: Act) -> tuple[EquipmentId, ...]:
        """Return all instruments that are asked before an act."""
        return (
            module.equipment,
            *(one.equipment for one in unit.modules),
            *(EquipmentId(equipment) for equipment, _ in unit.watched),
            *self._witnesses(act, unit),
        )

    def _witnesses(self, act: Act, unit: Unit) -> tuple[EquipmentId, ...]:
        """Return the instruments that show, beside its own, what an act did."""
        config = self._core.cell.config
        return tuple(
            config.module(unit.name, reading.capability, reading.part).equipment
            for reading in act.evidence()
        )

    async def _around(self, module: Module, unit: Unit) -> dict[str, tuple[Standing, Facts]]:
        """Read what the unit's other instruments show, where only acts may change it."""
        found: dict[str, tuple[Standing, Facts]] = {}
        if module.capability == "hands":
            return found
        for other in unit.modules:
            driver = self._core.drivers[other.equipment]
            if other is module or not driver.only_acts_change:
                continue
            if not self._core.is_busy(other.equipment):
                found[str(other.equipment)] = await driver.standing(), driver.only_acts_change
        return found

    async def _note_outside_acts(
        self, equipment: EquipmentId, standing: Standing, only_acts_change: Facts
    ) -> None:
        if self._core.is_in_doubt(equipment):
            return  # what strayed may be the doubtful attempt's
        known = self._core.state.equipment.get(equipment)
        seen = outside_act_seen(equipment, known, standing, only_acts_change)
        if seen is not None:
            await self._core.record_for_host(seen)

    async def _evidence(self, act: Act, unit: Unit) -> dict[str, str]:
        readings = act.evidence()
        if not readings:
            return {}
        found: dict[str, str] = {}
        for reading in readings:
            module = self._core.cell.config.module(unit.name, reading.capability, reading.part)
            found[evidence_name(reading)] = await self._core.drivers[module.equipment].read(reading)
        return found

    async def _inputs(self, unit: Unit) -> Mapping[str, str]:
        """Read the unit's safety inputs, on whichever instruments the cell file names."""
        found: dict[str, str] = {}
        for equipment, name in unit.watched:
            found[f"{equipment}/{name}"] = await self._core.drivers[equipment].read(
                InterlockInput(unit=unit.name, part=name)
            )
        return found


def _attempts(batch: BatchState, path: PhasePath, number: int) -> list[AttemptState]:
    """Return the attempts of one word of a phase until now."""
    word = batch.phases[path].words.get(number)
    return word.attempts if word is not None else []


def _ended_early(module: Module, act: Act, why: str) -> str:
    if isinstance(act, HandAct):
        return f"{act.in_words()}: {why}. A restart has it done anew; asked was: {act.instruction}"
    return f"{module.equipment}: {act.in_words()} ended early: {why}"


def _told_to_wait(control: UnitControl) -> bool:
    """Return whether a hold, a pause or a stop has come: nothing may begin then."""
    return control.waits or control.stops


def rest_of(act: Act, attempts: list[AttemptState]) -> Act | None:
    """Return what is left of an act after its settled attempts."""
    rest: Act | None = act
    for attempt in attempts:
        if attempt.verdict == "all":
            return None
        if attempt.verdict != "part" or act.on_interruption is OnInterruption.REPEAT:
            continue
        if rest is not None:
            rest = rest.rest_after(Effect(done=attempt.done, detail=attempt.detail))
    return rest


def total_of(act: Act, attempts: list[AttemptState]) -> Effect:
    """Return what the attempts at an act did together."""
    effects = tuple(
        Effect(done=attempt.done, detail=attempt.detail)
        for attempt in attempts
        if attempt.verdict in ("all", "part")
    )
    return act.total(effects)


def _fruitless(attempts: list[AttemptState]) -> bool:
    last = attempts[-FRUITLESS_MOST:]
    return len(last) == FRUITLESS_MOST and all(one.verdict == "nothing" for one in last)
