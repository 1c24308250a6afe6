"""The four words as a running phase speaks them: answered from the record, or performed.

A phase that is resumed asks its words again, in the same order. Each is compared with
the record; where they differ the batch is broken and stands still, since its recipe or
this software isn't what it was.

Follows design section 6.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from chain_of_identity.gate import ContainerScan, IdentityGate, ProvenContainer
from devices.interfaces.hands import HandAct, Handwork
from devices.interfaces.scanning import Identify, IdentifyByBoth, LabelRead
from orchestrator.engine.bound_names import BoundNames, proof_on_record
from orchestrator.engine.control import UnitControl
from orchestrator.engine.freezing_rescue import Rescue
from orchestrator.engine.limits import ran_since
from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.recognition import ExchangedError
from orchestrator.engine.refused_labels import record_refusal, refusal_alarm, rejection_alarm
from orchestrator.engine.register import FoldedRegister
from orchestrator.engine.state import AttemptState, PhaseRecord
from orchestrator.journal.events import (
    IdentityProven,
    IdentityRefused,
    ScanAwaited,
    Seen,
    TaskOffered,
    WaitEnded,
    WaitStarted,
)
from orchestrator.kernel.acts import Act, Effect, Reading
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.errors import (
    IdentityRefusedError,
    OutcomeUnknownError,
    ProcessError,
    RecipeMismatchError,
)
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    EquipmentId,
    PhasePath,
    PlaceId,
    TaskId,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import minute, second
from orchestrator.kernel.tasks import DOUBT, Answer, Choice, Question, TaskKind
from orchestrator.phases.outside import CameFirst

if TYPE_CHECKING:
    from orchestrator.engine.engine import Engine

T = TypeVar("T")

LOOK_AGAIN_AFTER = 10 * second
"""How long after an empty look a fixed scanner looks again."""

BOTH_WITHIN = 2 * minute
"""Set by site: so soon after a container's label the new one beside it must be read."""

SCAN_WITHIN = 30 * minute
"""Set by site: a scan that is awaited longer raises an alarm."""

DECIDE_WITHIN = 60 * minute
"""Set by site: by when people should have answered a hold's question."""


class PutInDoubtError(Exception):
    """What a phase has gone past isn't so by now: it must walk anew from its record."""


class _HeldError(Exception):
    """A hold came while a scan was awaited: others may have the scanner meanwhile."""


class PhaseRun(BoundNames):
    """One phase while it runs; implements ``Outside`` and ``ActingPhase``."""

    def __init__(
        self, engine: Engine, batch: BatchId, path: PhasePath, control: UnitControl
    ) -> None:
        self.batch = batch
        self.path = path
        self.control = control
        self._engine = engine
        self._core = engine.core
        self._state = engine.core.state.batches[batch]
        super().__init__(self._state, engine.core.cell.config)
        self._record: PhaseRecord = self._state.phases[path]
        self._register = FoldedRegister(engine.core.state, engine.core.cell.config)
        self._gate = IdentityGate(batch, CoiId(self._state.coi), self._register)
        self._word = 0
        self._last = self._record.started_at

    # the words ------------------------------------------------------------------------

    async def do(self, act: Act, *, proven: tuple[ProvenContainer, ...]) -> Effect:
        number = self._next()
        asked = act.model_dump(mode="json")
        await self._agrees(number, asked)
        effect = await self._engine.actor.carry_out(self, number, act, asked, proven)
        self._answered(number)
        return effect

    @overload
    async def see(self, reading: Identify | IdentifyByBoth) -> ProvenContainer: ...
    @overload
    async def see(self, reading: Reading) -> str: ...
    async def see(self, reading: Reading) -> str | ProvenContainer:
        number = self._next()
        await self._agrees(number, reading.model_dump(mode="json"))
        word = self._record.words.get(number)
        if word is not None and word.answer is not None:
            self._answered(number)
            if isinstance(reading, Identify | IdentifyByBoth):
                return self._proof_on_record(reading, word.answer)
            return str(word.answer["value"])
        await self.safe_point()
        if isinstance(reading, Identify | IdentifyByBoth):
            proof = await self._identify(number, reading)
            self._answered(number)
            return proof
        unit = self.unit(reading.unit)
        module = self._core.cell.config.module(unit, reading.capability, reading.part)
        value = await self.meanwhile(self._read(module.equipment, reading))
        await self._core.record(
            self.batch,
            Seen(
                batch=self.batch,
                path=self.path,
                word=number,
                reading=reading.model_dump(mode="json"),
                value=value,
            ),
        )
        self._answered(number)
        return value

    async def until(self, when: Instant | Condition, *, latest: Instant | None = None) -> CameFirst:
        number = self._next()
        instant = when if isinstance(when, Instant) else None
        condition = when if isinstance(when, Condition) else None
        watched = None if condition is None else condition.model_dump(mode="json")
        asked = {
            "instant": None if instant is None else str(instant),
            "condition": watched,
            "latest": None if latest is None else str(latest),
        }
        await self._agrees(number, asked)
        word = self._record.words.get(number)
        if word is None:
            await self.safe_point()
            await self._core.record(
                self.batch,
                WaitStarted(
                    batch=self.batch,
                    path=self.path,
                    word=number,
                    instant=instant,
                    condition=watched,
                    latest=latest,
                ),
            )
        elif word.answer is not None:
            self._answered(number)
            return CameFirst(word.answer["first"])
        first = await self.meanwhile(self._wait(number, instant, condition, latest))
        await self._core.record(
            self.batch,
            WaitEnded(batch=self.batch, path=self.path, word=number, first=first.value),
        )
        self._answered(number)
        return first

    async def ask(self, question: Question) -> Answer:
        number = self._next()
        asked = question.model_dump(mode="json")
        await self._agrees(number, asked)
        if number not in self._record.words:
            await self.safe_point()
            task = TaskId(f"{self.batch}/{self.path}#{number}")
            if task not in self._core.state.tasks:
                await self._offer(task, number, question, asked)
            await self.meanwhile(
                self._core.bells.until(f"task {task}", lambda: number in self._record.words)
            )
        self._answered(number)
        answer = self._record.words[number].answer
        if answer is None:
            raise AssertionError("a question's word is recorded with its answer")
        return Answer.model_validate(answer)

    # look-ups ---------------------------------------------------------------------------

    @property
    def last_answered(self) -> Instant:
        return self._last

    # for the actor ------------------------------------------------------------------------

    async def fresh_proofs(
        self, number: int, proven: tuple[ProvenContainer, ...]
    ) -> tuple[ProvenContainer, ...]:
        del number  # the act's word is the act; a fresh proof of it is none
        fresh: list[ProvenContainer] = []
        for proof in proven:
            if self._register.broken_since(proof.container, proof.since) is None:
                fresh.append(proof)
                continue
            place = self._where_it_is(proof)
            reading = Identify(
                unit=self._unit_of_place(place), container=proof.container, place=place
            )
            fresh.append(await self._scan(None, reading))
        return tuple(fresh)

    def are_fresh(self, proven: tuple[ProvenContainer, ...]) -> bool:
        return all(self._register.broken_since(one.container, one.since) is None for one in proven)

    async def safe_point(self) -> None:
        if self.control.waits or self._engine.holds.is_on_its_way(self.batch, self.path):
            await self._engine.holds.stay(self.batch, self.control, self.path)

    async def hold(self, why: str, reason: str = "") -> None:
        await self._engine.holds.hold(self.batch, self.control, why, reason or self.path)
        await self._engine.holds.stay(self.batch, self.control, self.path)

    async def ask_what_was_done(self, attempt: AttemptState, act: Act, why: str) -> None:
        task = TaskId(f"{attempt.command}{DOUBT}")
        core = self._core
        now = core.clock.utc()
        ran = None if attempt.mark is None else ran_since(attempt.mark, core.state, core.clock)
        rescue = self._engine.freezing_rescue.of_attempt(
            act, attempt, lasted=None if ran is None else ran.highest
        )
        interrupted = "" if rescue is None else f"; freezing interrupted {rescue.row.phase}"
        await self._engine.holds.hold(  # unless it stands; a death may have come before it
            self.batch,
            self.control,
            f"{act.in_words()} is in doubt: {why}{interrupted}",
            f"doubt {attempt.command}",
        )
        if not self.control.stops:
            await self._engine.holds.arrived(self.batch, self.path)
        if task not in self._core.state.tasks:
            await self._core.record(
                self.batch,
                doubt_offered(self.batch, self.path, attempt, act, why, now=now, rescue=rescue),
            )
        # a stop doesn't end this wait: the batch can't end while an act is in doubt
        await self._core.bells.until(
            f"command {attempt.command}", lambda: attempt.verdict != "uncertain"
        )
        await self.safe_point()

    async def meanwhile(self, waiting: Awaitable[T]) -> T:
        return await self.control.unless_stopped(waiting, self._note_arrival)

    # within ---------------------------------------------------------------------------------

    def _next(self) -> int:
        self._word += 1
        return self._word

    def _answered(self, number: int) -> None:
        at = self._record.words[number].answered_at
        if at is not None:
            self._last = at

    async def _agrees(self, number: int, asked: dict[str, Any]) -> None:
        """Compare a question with the record, and mend the batch where all of it agrees.

        Raises:
            RecipeMismatchError: They differ; the batch stands still.
        """
        words = self._record.words
        word = words.get(number)
        if word is not None and word.asked != asked:
            await self._engine.break_batch(self.batch, self.path, str(word.asked), str(asked))
            raise RecipeMismatchError(
                f"resume {self.path} of batch {self.batch}",
                why="the phase asks something else than the record holds",
                do_next="Leave the batch as it is; other batches go on. Install the version that "
                "began it, and resume",
            )
        if self._state.broken_path == self.path and number >= max(words, default=0):
            await self._engine.mend_batch(self.batch)

    async def _note_arrival(self) -> None:
        if self._engine.holds.is_on_its_way(self.batch, self.path):
            await self._engine.holds.arrived(self.batch, self.path)

    async def _unless_held(self, waiting: Awaitable[T]) -> T:
        """Return what ``waiting`` gives, or end the wait where a hold comes.

        Raises:
            _HeldError: It came.
        """

        async def at_change() -> None:
            await self._note_arrival()
            if self.control.reasons and not self.control.ends:
                raise _HeldError

        return await self.control.unless_stopped(waiting, at_change)

    def _where_it_is(self, proof: ProvenContainer) -> PlaceId:
        """Return where a container must be scanned anew: in the gripper if an arm holds it."""
        now = self._core.state.containers[proof.container].place
        return PlaceId(now) if now.startswith(f"{GRIPPER}/") else proof.place

    def _unit_of_place(self, place: PlaceId) -> str:
        by_place = self._core.cell.config.unit_of_place
        found = by_place.get(place) or by_place.get(PlaceId(place.rsplit("/", 1)[0]))
        return "" if found is None else found.name

    async def _read(self, equipment: EquipmentId, reading: Reading) -> str:
        """Read, and hold as long as the instrument doesn't answer."""
        while True:
            try:
                await self._require_known(equipment)
                return await self._core.drivers[equipment].read(reading)
            except OutcomeUnknownError as silent:
                self._engine.recognition.lost(equipment)
                await self.hold(str(silent))
            except ProcessError:
                self._engine.recognition.lost(equipment)
                raise

    async def _require_known(self, equipment: EquipmentId) -> None:
        """Hold while an instrument isn't the one that the cell file or the record says."""
        while True:
            try:
                await self._engine.recognition.require(equipment, self.batch)
            except ExchangedError as another:
                await self.hold(str(another))
            else:
                return

    async def _wait(
        self,
        number: int,
        instant: Instant | None,
        condition: Condition | None,
        latest: Instant | None,
    ) -> CameFirst:
        word, limits = self._record.words[number], self._engine.limits
        if word.asked_at is None or word.mark is None:
            raise AssertionError("a wait's word is recorded as it is asked")
        if instant is not None:
            await limits.until_ran(word.mark, instant - word.asked_at)
            return CameFirst.INSTANT
        if condition is None:
            raise AssertionError("a wait is for an instant or for a condition")
        run_out = None
        if latest is not None:
            run_out = partial(limits.until_run_out, word.mark, latest - word.asked_at)
        return await self._engine.watches.first_of(self.batch, condition, run_out)

    async def _offer(
        self, task: TaskId, number: int, question: Question, asked: dict[str, Any]
    ) -> None:
        work = "decide" if question.kind is TaskKind.DECIDE else "enter"
        await self._core.record(
            self.batch,
            TaskOffered(
                task=task,
                batch=self.batch,
                path=self.path,
                word=number,
                work=work,
                text=question.text,
                ask=asked,
                evidence=question.evidence,
                second_person=question.second_person,
                due=self._core.clock.utc() + question.respond_within,
            ),
        )

    # identity -------------------------------------------------------------------------------

    def _proof_on_record(
        self, reading: Identify | IdentifyByBoth, answer: dict[str, Any]
    ) -> ProvenContainer:
        return proof_on_record(self._gate, self.path, reading, answer)

    async def _identify(self, number: int, reading: Identify | IdentifyByBoth) -> ProvenContainer:
        if (
            isinstance(reading, Identify)
            and reading.carried_suffices
            and not self._is_seen_by_itself(reading)
        ):
            carried = self._carried(reading)
            if carried is not None:
                return await self._record_proof(number, reading, carried, None, "")
        return await self._scan(number, reading)

    def _is_seen_by_itself(self, reading: Identify) -> bool:
        """Return whether a fixed scanner sees the place: then a look costs nobody anything."""
        scanner = self._core.cell.config.by_equipment[self._scanner(reading)]
        return reading.place in scanner.covers

    def _carried(self, reading: Identify) -> ProvenContainer | None:
        """Return an earlier proof carried on, if nothing came between."""
        container = self._core.state.containers[reading.container]
        if not container.proven_seq:
            return None
        earlier = self._gate.recall(
            reading.container,
            place=reading.place,
            path=self.path,
            rests_on="scanned",
            since=container.proven_seq,
        )
        try:
            return self._gate.carry(
                earlier, place=reading.place, path=self.path, seq=container.proven_seq
            )
        except IdentityRefusedError:
            return None

    async def _scan(
        self, number: int | None, reading: Identify | IdentifyByBoth
    ) -> ProvenContainer:
        """Wait for a scan; whoever else waits for the same scanner has its turn after.

        Who is held meanwhile gives its turn away, and is asked for the scan again.
        """
        scanner = self._scanner(reading)
        turn = self._core.lock_of(f"scans of {scanner}")
        late = partial(self._scan_is_late, reading, scanner)
        with self._core.unless_within(SCAN_WITHIN, lambda: self._engine.spawn(late, "late scan")):
            while True:
                await self.safe_point()
                self._require_still_labelled(reading)
                await self.meanwhile(turn.acquire())
                try:
                    return await self._scan_in_turn(number, reading, scanner)
                except _HeldError:
                    continue
                finally:
                    turn.release()

    def _require_still_labelled(self, reading: Identify | IdentifyByBoth) -> None:
        """Go on only if the label that is to be shown is on by what people decided since.

        Raises:
            PutInDoubtError: It isn't: the phase must walk anew from its record.
        """
        if not isinstance(reading, IdentifyByBoth):
            return
        labelled = [
            attempt
            for word in self._record.words.values()
            for attempt in word.attempts[-1:]
            if attempt.act.get("work") == Handwork.APPLY_LABEL
            and reading.container in attempt.act["containers"]
        ]
        if not labelled:
            return
        newest = max(labelled, key=lambda one: one.intended)
        if newest.verdict != "all" or newest.detail.get("label") != reading.label:
            raise PutInDoubtError

    async def _scan_in_turn(
        self, number: int | None, reading: Identify | IdentifyByBoth, scanner: EquipmentId
    ) -> ProvenContainer:
        if self.control.waits:
            raise _HeldError
        at = self._word if number is None else number
        first = "old" if isinstance(reading, IdentifyByBoth) else ""
        await self._await_scan(at, reading, scanner, first)
        last_refused = ""
        while True:
            label = await self._unless_held(self._label(scanner, reading))
            scan = ContainerScan(label, reading.place, scanner)
            read_first = ""
            try:
                proof = self._gate.verify(scan, expected=reading.container, path=self.path, seq=0)
                if isinstance(reading, IdentifyByBoth):
                    beside = await self._label_beside(at, reading, scanner, label)
                    if beside is None:
                        await self._await_scan(at, reading, scanner, first)
                        continue
                    own, scan = scan, ContainerScan(beside, reading.place, scanner)
                    self._gate.verify_beside(
                        own, scan, expected=reading.container, label=reading.label
                    )
                    read_first = own.label
            except IdentityRefusedError as refused:
                if scan.label != last_refused:
                    await self._refused(at, reading, scan, refused)
                last_refused = scan.label
                await self._core.sleep(LOOK_AGAIN_AFTER)
                if scan.label != label:
                    await self._await_scan(at, reading, scanner, first)
                continue
            return await self._record_proof(number, reading, proof, scanner, scan.label, read_first)

    async def _await_scan(
        self,
        number: int,
        reading: Identify | IdentifyByBoth,
        scanner: EquipmentId,
        which: Literal["", "old", "new"],
    ) -> None:
        await self._core.record(
            self.batch,
            ScanAwaited(
                batch=self.batch,
                path=self.path,
                word=number,
                container=reading.container,
                place=reading.place,
                scanner=scanner,
                which=which,
            ),
        )

    async def _label_beside(
        self, number: int, reading: IdentifyByBoth, scanner: EquipmentId, own: str
    ) -> str | None:
        """Return the label that is read next but ``own``; None if none is within the time.

        A person whose scanner beeped twice has read the same label again.
        """
        await self._await_scan(number, reading, scanner, "new")
        bound = asyncio.timeout(BOTH_WITHIN.base / 1000)
        try:
            async with bound:
                while True:
                    label = await self._unless_held(self._label(scanner, reading))
                    if label != own:
                        return label
        except TimeoutError:
            if not bound.expired():
                raise
            return None

    def _refusal(self) -> str:
        return refusal_alarm(self.batch, self.path)

    def _late_scan(self) -> str:
        return f"late scan {self.batch}/{self.path}"

    async def _scan_is_late(self, reading: Identify | IdentifyByBoth, scanner: EquipmentId) -> None:
        cause = f"{reading.container} wasn't scanned at {reading.place} within {SCAN_WITHIN}"
        for one in self._core.state.scans.values():
            if one.scanner == scanner and (one.batch, one.path) != (self.batch, self.path):
                cause += f"; {scanner} is kept for {one.container} of batch {one.batch}"
        if isinstance(reading, IdentifyByBoth):
            action = (
                f"Scan both labels of {reading.container} at {reading.place}, the one it had "
                "first; if the new one isn't on it, reject the labelling and call quality assurance"
            )
        else:
            action = f"Scan {reading.container} at {reading.place}, or stop the unit procedure"
        await self._engine.alarms.raise_alarm(
            self._late_scan(),
            tier="alarm",
            cause=cause,
            consequence="Nothing has moved; the step waits for the scan",
            action=action,
            batch=self.batch,
        )

    async def _label(self, scanner: EquipmentId, reading: Identify | IdentifyByBoth) -> str:
        driver = self._core.drivers[scanner]
        while True:
            try:
                await self._require_known(scanner)
                return await driver.read(LabelRead(unit=reading.unit))
            except OutcomeUnknownError:
                self._engine.recognition.lost(scanner)
                await self._core.sleep(LOOK_AGAIN_AFTER)

    async def _record_proof(
        self,
        number: int | None,
        reading: Identify | IdentifyByBoth,
        proof: ProvenContainer,
        scanner: EquipmentId | None,
        label: str,
        read_first: str = "",
    ) -> ProvenContainer:
        labelling = self._core.state.containers[reading.container].beside_task
        seq = await self._core.record(
            self.batch,
            IdentityProven(
                batch=self.batch,
                path=self.path,
                word=number,
                reading=reading.model_dump(mode="json"),
                container=reading.container,
                place=reading.place,
                scanner=scanner,
                label=label,
                rests_on=proof.rests_on,
                read_first=read_first,
            ),
        )
        if scanner is not None:
            await self._engine.alarms.clear(self._refusal())
            await self._engine.alarms.clear(self._late_scan())
        if read_first:
            await self._engine.alarms.clear(rejection_alarm(labelling))
        return self._gate.recall(
            reading.container,
            place=reading.place,
            path=self.path,
            rests_on=proof.rests_on,
            since=seq if scanner is not None else proof.since,
        )

    async def _refused(
        self,
        number: int,
        reading: Identify | IdentifyByBoth,
        scan: ContainerScan,
        refused: IdentityRefusedError,
    ) -> None:
        await record_refusal(
            self._core,
            self._engine.alarms,
            IdentityRefused(
                batch=self.batch,
                path=self.path,
                word=number,
                expected=reading.container,
                place=reading.place,
                scanner=scan.scanner,
                label_sha256=hashlib.sha256(scan.label.encode()).hexdigest(),
                why=refused.why,
            ),
            refused,
            label=scan.label,
        )

    def _scanner(self, reading: Identify | IdentifyByBoth) -> EquipmentId:
        """Return the scanner that sees the place, else the unit's or the cell's hand scanner.

        A fixed one sees a thing as it stands; two labels are shown to one in the hand.
        """
        config = self._core.cell.config
        unit = config.by_unit.get(self.unit(reading.unit))
        scanners = [one for one in config.modules if one.capability == "scanning"]
        own = [] if unit is None else [one for one in unit.modules if one in scanners]
        for module in (*own, *scanners):
            if isinstance(reading, Identify) and reading.place in module.covers:
                return module.equipment
        for module in (*own, *scanners):
            if not module.covers:
                return module.equipment
        raise RecipeMismatchError(
            f"identify {reading.container} at {reading.place}",
            why="no scanner of the cell reaches it",
            do_next="Name one in the process cell file",
        )


def doubt_offered(
    batch: BatchId,
    path: PhasePath,
    attempt: AttemptState,
    act: Act,
    why: str,
    *,
    now: Instant,
    rescue: Rescue | None = None,
) -> TaskOffered:
    """Return the task in which two people say what an attempt in doubt did.

    ``rescue`` is what the freezing rescue table says, where bags were being frozen.
    """
    return TaskOffered(
        task=TaskId(f"{attempt.command}{DOUBT}"),
        batch=batch,
        path=path,
        word=None,
        work="decide",
        text=_doubt_in_words(attempt, act, why, rescue),
        ask={
            **doubt_question(attempt, act, why, rescue).model_dump(mode="json"),
            "act": attempt.act,
            "equipment": attempt.equipment,
            "intended_at": str(attempt.intended_at),
        },
        evidence=_evidence_of(attempt, rescue),
        second_person=True,
        due=now + DECIDE_WITHIN,
    )


def _doubt_in_words(attempt: AttemptState, act: Act, why: str, rescue: Rescue | None) -> str:
    if rescue is not None:
        return f"{act.in_words()} on {attempt.equipment} is in doubt: {why}. {rescue.in_words}"
    if isinstance(act, HandAct):
        return (
            f"{act.in_words()} is in doubt: {why}. Asked was: {act.instruction}. "
            "Look at the material, then say what was done."
        )
    return (
        f"{act.in_words()} on {attempt.equipment} is in doubt: {why}. "
        "Look at the material and the instrument, then say what was done."
    )


def doubt_question(
    attempt: AttemptState, act: Act, why: str, rescue: Rescue | None = None
) -> Question:
    """Return what two people are asked about an attempt in doubt."""
    choices = (
        Choice(name="all", leads_to=f"{act.in_words()} counts as done"),
        Choice(name="part", leads_to="the amount that you state counts as done"),
        Choice(name="nothing", leads_to=f"{act.in_words()} is asked for again"),
    )
    return Question(
        kind=TaskKind.DECIDE,
        text=why,
        choices=choices if rescue is None else rescue.choices,
        evidence=_evidence_of(attempt, rescue),
        second_person=True,
        respond_within=DECIDE_WITHIN,
    )


def _evidence_of(attempt: AttemptState, rescue: Rescue | None) -> dict[str, str]:
    """Return what was seen before an attempt, and after it under its own names."""
    return {
        **attempt.before,
        **attempt.evidence,
        **{f"after_{name}": value for name, value in attempt.after.items()},
        **({} if rescue is None else {"interrupted": rescue.row.phase}),
    }
