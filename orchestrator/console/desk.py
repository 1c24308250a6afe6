"""The console in process: what people may see and ask for, checked person by person.

Every command names its session; the person behind it must have a role that allows it,
and what two people must do is never done by one. A command that isn't legal now is
refused with the reason, and nothing has happened. Follows design sections 7 and 11.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, NoReturn, TypeVar, cast

from pydantic import ValidationError

from chain_of_identity.gate import IdentityGate
from chain_of_identity.pre_printed import refuse_misread
from devices.interfaces.hands import AT
from orchestrator.console.clearing import carried, found, refuse_what_is_left
from orchestrator.console.late_reports import (
    decided,
    late_report,
    refuse_second_report,
    what_follows,
)
from orchestrator.console.orders import misfits, why_unusable
from orchestrator.console.reports import refuse_report, values_of, values_owed, why_label_taken
from orchestrator.console.second_looks import (
    compare,
    in_question,
    is_unproven_label,
    refuse_no_look,
    things_to_read,
)
from orchestrator.console.views import VIEWS
from orchestrator.engine.control import UnitControl
from orchestrator.engine.engine import VERSION, Engine
from orchestrator.engine.leases import CLEARANCE, cleared
from orchestrator.engine.outside_acts import outside_act_seen
from orchestrator.engine.refused_labels import record_refusal, refusal_alarm, rejection_alarm
from orchestrator.engine.register import FoldedRegister
from orchestrator.engine.state import LATE, AnsweredState, AttemptState, HostState, TaskState
from orchestrator.journal.events import (
    HOST,
    AlarmAcknowledged,
    AnyEvent,
    AttemptReconciled,
    BatchMade,
    CommandAnswered,
    ContainerQuarantined,
    ContainerReceived,
    ContainerReleased,
    DeviationClosed,
    DeviationOpened,
    EquipmentSeen,
    IdentityRefused,
    LotQuarantined,
    LotReceived,
    Named,
    RecipeSigned,
    RecipeSubmitted,
    Signed,
    TaskRejected,
    TaskReopened,
    TaskReported,
    TaskTaken,
    TaskTakenBack,
    TaskVerified,
)
from orchestrator.kernel.acts import Act, Effect, OnInterruption
from orchestrator.kernel.desks import Command, Given, SignatureMeaning
from orchestrator.kernel.errors import (
    ProcessError,
    RecipeRefusedError,
    RefusedError,
    error_from_record,
)
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    CommandId,
    ContainerId,
    EquipmentId,
    PlaceId,
    RecipeDigest,
    TaskId,
    UserId,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Quantity, Volume
from orchestrator.kernel.tasks import NOT_DONE
from orchestrator.people.roles import (
    require,
    require_other_person,
    require_recipe_signer,
    require_second_person,
)
from orchestrator.people.sessions import (
    NoSessionError,
    close_session,
    holder_of,
    open_session,
    request_in,
    token_sha256,
)
from orchestrator.people.signatures import record_of, sign, signed
from orchestrator.people.users import (
    RFC_9106_LOW_MEMORY,
    SALT_BYTES,
    HashingCost,
    Present,
    add_person,
    check_password,
    hash_secret,
    recognise,
    secret_of,
    verify_secret,
)
from orchestrator.recipe.binding import Binding
from orchestrator.recipe.check import Finding, check_recipe
from orchestrator.recipe.model import Recipe

VERIFIED_AT_ONCE_MOST: Final = 2
"""Each verification of a password takes 64 MiB (hazards, section 3)."""

ON_THE_LOOP_KIB_MOST: Final = 64
"""Hashing in so little memory takes less than a millisecond."""

Event = TypeVar("Event", bound=Frozen)
T = TypeVar("T")

DOUBT: Final = "/doubt"
"""How the name of a task ends that asks what an attempt in doubt did."""

SAFE_ON_AN_OLD_VIEW: Final = ("hold", "pause")
"""Commands that a person may give whatever they last saw."""

NOT_OF_THE_EVENT: Final = ("secret", "answer", "seen", "password")
"""What a command carries beside the facts that it states."""

MEASURES: Final[Mapping[str, str]] = {"pump_volume": "volume", "spin": "at_speed"}
"""The field that says how much an act asks for; all others are done whole or not at all."""

_Carry = Callable[[UserId, dict[str, Any]], Awaitable[object]]
"""Carries a command out, and records ``answer`` of its arguments with what it changes."""


class Desk:
    """Implements ``Console`` on an engine in the same process."""

    def __init__(
        self,
        engine: Engine,
        *,
        entropy: Callable[[int], bytes],
        cost: HashingCost = RFC_9106_LOW_MEMORY,
    ) -> None:
        """Offer an engine to people.

        Args:
            engine: What they work on.
            entropy: Where session tokens come from.
            cost: Of verifying a password; less than the default on emulated cells alone.
        """
        self._engine = engine
        self._entropy = entropy
        self._cost = cost
        self._verifying = asyncio.Semaphore(VERIFIED_AT_ONCE_MOST)
        self._core = engine.core
        self._one_at_a_time = asyncio.Lock()
        self._commands: Final[dict[str, _Carry]] = {
            "take_task": self._take_task,
            "take_back_task": self._take_back_task,
            "report_task": self._report_task,
            "verify_task": self._verify_task,
            "reject_task": self._reject_task,
            "answer_task": self._report_task,
            "reconcile": self._reconcile,
            "clear_line": self._clear_line,
            "carry_away": self._carry_away,
            "report_found": self._report_found,
            "hold": self._move("hold"),
            "restart": self._move("restart"),
            "pause": self._move("pause"),
            "resume": self._move("resume"),
            "stop": self._move("stop"),
            "abort": self._move("abort"),
            "acknowledge_alarm": self._acknowledge_alarm,
            "open_deviation": self._open_deviation,
            "close_deviation": self._close_deviation,
            "look_at_equipment": self._look_at_equipment,
            "receive_lot": self._receive_lot,
            "quarantine_lot": self._quarantine_lot,
            "receive_material": self._receive_material,
            "release_container": self._release_container,
            "add_person": self._add_person,
            "submit_recipe": self._submit_recipe,
            "review_recipe": self._sign_recipe("reviewed"),
            "approve_recipe": self._sign_recipe("approved"),
            "make_batch": self._make_batch,
            "start_batch": self._start_batch,
        }

    async def view(self, name: str, *, newer_than: int = -1, **arguments: str) -> Mapping[str, Any]:
        make = VIEWS.get(name)
        if make is None:
            raise RefusedError(
                f"show the view {name!r}",
                why="there is none of that name",
                do_next=f"Ask for one of {', '.join(sorted(VIEWS))}",
            )
        state = self._core.state
        await self._core.bells.until("news", lambda: state.seq > newer_than)
        return {"version": state.seq, **make(self._engine, arguments)}

    async def give(self, command: Command) -> Given:
        async with self._one_at_a_time:
            return await self._give(command)

    async def _give(self, command: Command) -> Given:
        user = await self._who(command)
        session = token_sha256(command.session)
        request = request_in(session, command.request)
        if request in self._state.answered:
            return _as_answered(self._state.answered[request], command)
        answer = CommandAnswered(
            command=command.name, by=user, session=session, request=command.request
        )
        person = self._state.people[user]
        require(command.name, person.roles, who=person.printed_name)
        if command.seen > self._state.seq:
            raise RefusedError(
                command.name.replace("_", " "),
                why="it rests on a view that this daemon has never shown",
                do_next="Look again, and decide on what is shown now",
            )
        carry = self._commands.get(command.name)
        if carry is None:
            raise RefusedError(
                command.name, why="there is no such command", do_next="Choose one that is shown"
            )
        try:
            await carry(
                user,
                {
                    **command.arguments,
                    "secret": command.secret,
                    "answer": answer,
                    "seen": command.seen,
                },
            )
        except (KeyError, ValueError, TypeError) as wrong:
            raise RefusedError(
                command.name.replace("_", " "),
                why=_what_is_wrong(wrong),
                do_next="Give it with the arguments that docs/reference/console.md lists",
            ) from None  # what was given may hold a password
        if request not in self._state.answered:  # it had nothing to change
            await self._core.record_for_host(answer=answer)
        return _as_answered(self._state.answered[request], command)

    @property
    def _state(self) -> HostState:
        return self._core.state

    async def _who(self, command: Command) -> UserId:
        """Return who gives a command; record the end of a session that is over by now."""
        sessions, token, clock = self._state.sessions, command.session, self._core.clock
        try:
            return holder_of(sessions, token, boot=clock.boot(), now=clock.boottime())
        except NoSessionError as over:
            if token_sha256(token) in sessions:
                await self._core.record_for_host(close_session(sessions, token, why=over.why))
            raise

    def _task(self, arguments: Mapping[str, Any], *legal: str) -> tuple[TaskId, TaskState]:
        name = TaskId(str(arguments["task"]))
        task = self._state.tasks.get(name)
        if task is None or task.status not in legal:
            raise RefusedError(
                f"task {name}",
                why="it isn't there" if task is None else f"it is {task.status}",
                do_next="Look again at what is to be done",
            )
        _refuse_old_view(f"task {name}", task.changed, arguments)
        return name, task

    async def _sign(
        self,
        user: UserId,
        arguments: dict[str, Any],
        event: Frozen,
        meaning: SignatureMeaning,
        reason: str = "",
    ) -> Signed:
        """Return a person's signature on an event's record, after the password was given."""
        present = await self.recognise(
            self._state.people[user].login, str(arguments.get("secret", "")), "console"
        )
        return sign(record_of(event), present, meaning, at=self._core.clock.utc(), reason=reason)

    async def _signed(
        self,
        user: UserId,
        arguments: dict[str, Any],
        make: Callable[[Signed], Event],
        meaning: SignatureMeaning,
        reason: str = "",
    ) -> Event:
        """Return the event that ``make`` makes of a person's signature on its own body."""
        present = await self.recognise(
            self._state.people[user].login, str(arguments.get("secret", "")), "console"
        )
        return signed(make, present, meaning, at=self._core.clock.utc(), reason=reason)

    async def recognise(self, login: str, secret: str, terminal: str) -> Present:
        """Return the proof that a person gave the right password just now.

        Raises:
            NotAuthorisedError: Name and password don't belong together, or the name is
                locked. The try is recorded.
        """
        kept = secret_of(self._state.people, login)
        right = await self._hashed(partial(verify_secret, secret, kept, cost=self._cost))
        decided = recognise(
            self._state.people, login, right=right, terminal=terminal, now=self._core.clock.utc()
        )
        if isinstance(decided, Present):
            return decided
        await self._core.record_for_host(decided.event)
        if decided.locks:
            await self._engine.alarms.raise_alarm(
                f"locked {login}",
                tier="alarm",
                cause="a name was locked after wrong passwords",
                consequence="The person can't log in or sign for a while",
                action="Ask the person whether it was them; else tell the security officer",
            )
        raise decided.error

    async def _hashed(self, work: Callable[[], T]) -> T:
        """Return what ``work`` makes of a password, beside the loop where that takes long.

        The cost of an emulated cell takes no longer than handing it over would, and on the loop
        equal seeds give equal orders of events.
        """
        if self._cost.memory_kib <= ON_THE_LOOP_KIB_MOST:
            return work()
        async with self._verifying:
            return await asyncio.get_running_loop().run_in_executor(None, work)

    async def log_in(self, login: str, secret: str, terminal: str) -> str:
        """Return a session's token. Raises as ``recognise``."""
        present = await self.recognise(login, secret, terminal)
        opened = open_session(present, terminal=terminal, entropy=self._entropy)
        await self._core.record_for_host(opened.event)
        return opened.token

    async def log_out(self, token: str) -> None:
        """End the session that a token opens.

        Raises:
            NoSessionError: It opens none. Nothing happened.
        """
        closed = close_session(self._state.sessions, token, why="the person logged out")
        await self._core.record_for_host(closed)

    # people's tasks ---------------------------------------------------------------------

    async def _take_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        name, _ = self._task(arguments, "offered")
        return await self._core.record_for_host(
            TaskTaken(task=name, by=user), answer=arguments["answer"]
        )

    async def _take_back_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        """End that an absent person has a task: nobody else may report it while they do."""
        name, task = self._task(arguments, "taken")
        why = str(arguments["why"]).strip()
        if task.taken_by == user or not why:
            raise RefusedError(
                f"take back task {name}",
                why="you have it yourself" if why else "it lacks a reason",
                do_next="Report it, or decline it" if why else "Say why it is taken back",
            )
        return await self._core.record_for_host(
            TaskTakenBack(task=name, by=user, why=why), answer=arguments["answer"]
        )

    async def _report_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        named = TaskId(str(arguments["task"]))
        against = self._engine.board.stands_against(named)
        is_said_done = arguments.get("choice", "") != NOT_DONE and not arguments.get("declined")
        if against is not None and is_said_done:
            return await self._report_late(named, against, user, arguments)
        name, task = self._reportable(arguments)
        is_late = task.status == "withdrawn"
        if task.taken_by and task.taken_by != user:
            raise RefusedError(
                f"report task {name}",
                why="another person has taken it",
                do_next="Have that person report or decline it, or a supervisor take it back",
            )
        _refuse_doubt(name)
        if task.work == "verify":
            raise RefusedError(
                f"report task {name}",
                why="it is a verification",
                do_next="Verify it",
            )
        values = values_of(arguments)
        choice = str(arguments.get("choice", ""))
        declined = str(arguments.get("declined", ""))
        refuse_report(self._state, name, values, choice=choice, declined=declined)
        if is_late and (declined or choice == NOT_DONE):
            raise RefusedError(
                f"report task {name}",
                why="it was withdrawn",
                do_next="Do nothing: nobody asks for it any more",
            )
        seq = await self._core.record_for_host(
            TaskReported(
                task=name,
                by=user,
                values=values,
                choice=choice,
                declined=declined,
            ),
            answer=arguments["answer"],
        )
        if declined and task.work != "do":
            await self._hold_the_asker(task, declined, user)
        if is_late:
            await self._engine.reported_late(name)
        return seq

    async def _report_late(
        self, name: TaskId, against: TaskId, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Record what a person says they did when others had or did it by then."""
        values = values_of(arguments)
        refuse_report(self._state, name, values, choice="", declined="")
        refuse_second_report(self._state.tasks.get(f"{name}{LATE}"), name)
        events = late_report(self._engine, name, against, user, values)
        seq = await self._core.record(
            self._state.tasks[name].batch, *events, answer=arguments["answer"]
        )
        await self._engine.late_report_disputed(name)
        return seq

    async def _decide_late_report(
        self, name: TaskId, task: TaskState, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Say what a late report means: one person looks and states it, another confirms it."""
        late = TaskId(name.removesuffix(LATE))
        event, changed = decided(self._engine, late, str(arguments.get("verdict"))), task.changed
        if task.status != "reported":
            signature = await self._sign(user, arguments, event, "performed")
            self._require_unchanged(name, changed)
            return await self._core.record_for_host(
                TaskReported(task=name, by=user, choice=event.verdict, signature=signature),
                answer=arguments["answer"],
            )
        require_second_person(
            f"confirm {name}",
            performer=UserId(task.reported_by),
            verifier=user,
            verifier_roles=self._state.people[user].roles,
        )
        second = await self._sign(user, arguments, event, "verified")
        self._require_unchanged(name, changed)
        if event.verdict != task.choice:
            await self._reopen(name, user, arguments)
        first = Signed.model_validate(task.signature)
        seq = await self._core.record(
            event.batch,
            TaskVerified(task=name, by=user, of=changed),
            event.model_copy(update={"signatures": (first, second)}),
            *what_follows(self._engine, event),
            answer=arguments["answer"],
        )
        await self._engine.late_report_decided(late)
        return seq

    async def _reopen(self, name: TaskId, user: UserId, arguments: dict[str, Any]) -> NoReturn:
        """Ask both people again: they stated different things.

        Raises:
            RefusedError: Always; neither statement stands.
        """
        differ = RefusedError(
            f"confirm {name}",
            why="the first person stated something else; neither statement stands",
            do_next="Look together at the material and the instrument, and state it again",
        )
        await self._core.record_for_host(
            TaskReopened(task=name, by=user, why="a second person found it otherwise"),
            answer=arguments["answer"].model_copy(update={"refused": differ.as_record()}),
        )
        raise differ

    async def _hold_the_asker(self, task: TaskState, why: str, user: UserId) -> None:
        """Hold what waits for an answer that a person won't give; declined work holds itself."""
        if not task.batch:
            return
        batch, holds = BatchId(task.batch), self._engine.holds
        for control in holds.controls(batch):
            if task.path.startswith(f"{control.path}/"):
                await self._hold(batch, control, f"declined to answer: {why}", user)

    def _reportable(self, arguments: dict[str, Any]) -> tuple[TaskId, TaskState]:
        """Return the task that a report is for: of the newest attempt, if it is hand work.

        Hand work that was withdrawn while somebody was at it may still be reported.
        """
        named = TaskId(str(arguments["task"]))
        known = self._state.tasks.get(named)
        if known is None or known.status != "withdrawn" or known.work != "do":
            return self._task(arguments, "offered", "taken")
        newest = self._engine.board.newest(named)
        whatever_seen = {"task": newest, "seen": self._state.seq}
        return self._task(whatever_seen, "offered", "taken", "withdrawn")

    async def _verify_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        name, task = self._task(arguments, "reported", "offered", "taken")
        _refuse_doubt(name)
        if task.status != "reported" and task.work != "verify":
            raise RefusedError(
                f"verify task {name}", why="nobody has reported it yet", do_next="Wait"
            )
        performers = {task.reported_by} if task.reported_by else self._performers(task)
        for performer in sorted(performers):
            require_second_person(
                f"verify task {name}",
                performer=UserId(performer),
                verifier=user,
                verifier_roles=self._state.people[user].roles,
            )
        changed = task.changed
        read = [label.strip() for label in _texts(arguments, "read")]
        refuse_no_look(task, f"verify task {name}", read)
        event = await self._signed(
            user,
            arguments,
            lambda by: TaskVerified(task=name, by=user, of=changed, read=tuple(read), signature=by),
            "verified",
        )
        self._require_unchanged(name, changed)
        await self._refuse_unlike(name, task, read, arguments)
        seq = await self._core.record_for_host(event, answer=arguments["answer"])
        if read:
            await self._engine.alarms.clear(refusal_alarm(task.batch, task.path))
        return seq

    async def _refuse_unlike(
        self, name: TaskId, task: TaskState, read: list[str], arguments: dict[str, Any]
    ) -> None:
        """Refuse, and record, labels that aren't those of what the work was done on.

        Raises:
            IdentityRefusedError: They aren't. The task stays unverified.
        """
        if not read:
            return
        batch = BatchId(task.batch)
        register = FoldedRegister(self._state, self._core.cell.config)
        gate = IdentityGate(batch, CoiId(self._state.batches[batch].coi), register)
        unlike = compare(gate, task, f"verify task {name}", read)
        if unlike is None:
            return
        _, path, number = self._engine.board.place_of(name)
        thing = things_to_read(task)[0]
        at = (
            *task.ask["at"],
            task.ask["parameters"].get(AT, ""),
            self._state.containers[thing].place,
            "hands",
        )
        event = IdentityRefused(
            batch=batch,
            path=path,
            word=number,
            expected=thing,
            place=PlaceId(next(place for place in at if place)),
            scanner=None,
            label_sha256=hashlib.sha256(unlike.label.encode()).hexdigest(),
            why=unlike.refused.why,
        )
        answer = arguments["answer"].model_copy(update={"refused": unlike.refused.as_record()})
        await record_refusal(
            self._core,
            self._engine.alarms,
            event,
            unlike.refused,
            label=unlike.label,
            answer=answer,
        )
        raise unlike.refused

    async def _reject_task(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Let anybody who looked say that it isn't so: nothing goes on by that report."""
        why = str(arguments["why"]).strip()
        named = TaskId(str(arguments["task"]))
        if not why:
            raise RefusedError(
                f"reject task {named}", why="it isn't said why", do_next="Say what is there instead"
            )
        if is_unproven_label(self._state, named):
            known = self._state.tasks[named]
            return await self._doubt_hand_work(named, known, why, user, arguments)
        name, task = self._task(arguments, "reported", "offered", "taken")
        if task.status != "reported" and task.work != "verify":
            raise RefusedError(
                f"reject task {name}",
                why="nobody has reported it yet",
                do_next="If it can't be done, decline it",
            )
        if in_question(self._state, task):
            return await self._doubt_hand_work(name, task, why, user, arguments)
        reopened = TaskReopened(task=name, by=user, why=why)
        if task.work != "verify":
            return await self._core.record_for_host(reopened, answer=arguments["answer"])
        batch = BatchId(task.batch)
        deviation = self._deviation(batch, f"{name} can't be verified: {why}", user)
        seq = await self._core.record(batch, reopened, deviation, answer=arguments["answer"])
        for control in self._engine.holds.controls(batch):
            await self._hold(batch, control, f"what {task.path} did is rejected: {why}", user)
        return seq

    async def _doubt_hand_work(
        self, name: TaskId, task: TaskState, why: str, user: UserId, arguments: dict[str, Any]
    ) -> int:
        """Hold hand work as in doubt, and put what it was done on into quarantine."""
        batch = BatchId(task.batch)
        rejected = TaskRejected(task=name, by=user, why=why)
        doubt = self._state.tasks.get(f"{name}{DOUBT}")
        if doubt is not None and doubt.status not in ("done", "withdrawn"):
            # two people are asked already
            return await self._core.record(batch, rejected, answer=arguments["answer"])
        things = in_question(self._state, task)
        seq = await self._core.record(
            batch,
            rejected,
            *(
                ContainerQuarantined(container=one, why=f"{task.ask['work']} was rejected: {why}")
                for one in things
            ),
            answer=arguments["answer"],
        )
        for control in self._engine.holds.controls(batch):
            if task.path.startswith(f"{control.path}/"):
                await self._hold(batch, control, f"{name} was rejected: {why}", user)
        await self._engine.alarms.raise_alarm(
            rejection_alarm(name),
            tier="block",
            cause=f"{task.ask['work']} isn't as it was reported: {why}",
            consequence=f"{', '.join(things)} is in quarantine; the unit procedure is held",
            action="Leave everything where it is, and call quality assurance; two people say what "
            "was done, quality releases or discards, then the supervisor restarts",
            batch=batch,
        )
        return seq

    async def _hold(self, batch: BatchId, control: UnitControl, why: str, user: UserId) -> None:
        with suppress(RefusedError):  # it is held, or ends, already
            await self._engine.holds.command(batch, control, "hold", why, user)

    def _performers(self, task: TaskState) -> set[str]:
        """Return everyone who had a hand in the task's phase, or answered what it asked."""
        return {
            person
            for one in self._state.tasks.values()
            if one.work != "verify" and (one.batch, one.path) == (task.batch, task.path)
            for person in one.hands
        }

    def _require_unchanged(self, name: TaskId, changed: int) -> None:
        """Refuse what was signed of a task that changed while the password was looked at."""
        _refuse_old_view(f"task {name}", self._state.tasks[name].changed, {"seen": changed})

    async def _reconcile(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Settle an attempt in doubt: one person looks and states it, another confirms it."""
        name, task = self._task(arguments, "offered", "taken", "reported")
        _refuse_anothers(f"reconcile {name}", task, user)
        if name.endswith(LATE):
            return await self._decide_late_report(name, task, user, arguments)
        command = CommandId(name.removesuffix(DOUBT))
        if not name.endswith(DOUBT) or command not in self._state.attempts:
            raise RefusedError(
                f"reconcile {name}", why="no attempt is in doubt there", do_next="Look again"
            )
        if task.status != "reported":
            return await self._state_what_was_done(name, command, user, arguments)
        require_second_person(
            f"confirm {name}",
            performer=UserId(task.reported_by),
            verifier=user,
            verifier_roles=self._state.people[user].roles,
        )
        batch, path, number = self._state.attempts[command]
        attempt = self._state.batches[batch].phases[path].words[number].attempts[-1]
        verdict, done = _stated(name, attempt, arguments)
        detail = self._owed(name, command, attempt, verdict, arguments)
        settled, changed = _reconciled(batch, command, verdict, done, detail), task.changed
        second = await self._sign(user, arguments, settled, "verified")
        self._require_unchanged(name, changed)
        if (verdict, {"done": done, **detail}) != (task.choice, task.values):
            await self._reopen(name, user, arguments)
        first = Signed.model_validate(task.signature)
        seq = await self._core.record(
            batch,
            TaskVerified(task=name, by=user, of=changed),
            settled.model_copy(update={"signatures": (first, second)}),
            answer=arguments["answer"],
        )
        await self._engine.alarms.clear(rejection_alarm(command))
        with suppress(ProcessError):  # its next act meets the silent instrument and holds
            await self._see(attempt.equipment, explained_by=command)
        await self._engine.let_go_on(BatchId(batch), path, "two people decided")
        return seq

    async def _clear_line(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Free a unit: one person signs that nothing of its batch is left, another confirms it.

        Neither can while the record has something there.
        """
        name, task = self._task(arguments, "offered", "taken", "reported")
        if not name.endswith(CLEARANCE):
            raise RefusedError(f"clear {name}", why="it is no line clearance", do_next="Look again")
        _refuse_anothers(f"clear {name}", task, user)
        if not task.second_person:
            raise RefusedError(
                f"clear {name}",
                why="nobody signs for this unit: it is free once nothing is left there",
                do_next="Carry away what is left, and say where to (`carry_away`)",
            )
        refuse_what_is_left(self._state, name, task)
        released, changed = cleared(task), task.changed
        if task.status != "reported":
            signature = await self._sign(user, arguments, released, "performed")
            self._require_unchanged(name, changed)
            return await self._core.record_for_host(
                TaskReported(task=name, by=user, signature=signature), answer=arguments["answer"]
            )
        require_second_person(
            f"confirm {name}",
            performer=UserId(task.reported_by),
            verifier=user,
            verifier_roles=self._state.people[user].roles,
        )
        first = Signed.model_validate(task.signature)
        second = await self._sign(user, arguments, released, "verified")
        self._require_unchanged(name, changed)
        refuse_what_is_left(self._state, name, task)  # the password took a while
        seq = await self._core.record(
            task.batch,
            TaskVerified(task=name, by=user, of=changed),
            released.model_copy(update={"signatures": (first, second)}),
            answer=arguments["answer"],
        )
        await self._engine.alarms.clear(f"line {name}")
        return seq

    async def _carry_away(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record where a person carried a thing that was left somewhere."""
        event = carried(self._engine, user, arguments)
        batch = self._state.containers[event.container].batch
        return await self._core.record(batch or HOST, event, answer=arguments["answer"])

    async def _report_found(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record what stands at a line that is cleared, and by the record doesn't."""
        name, task = self._task(arguments, "offered", "taken", "reported")
        if not name.endswith(CLEARANCE):
            raise RefusedError(
                f"report what was found for {name}",
                why="it is no line clearance",
                do_next="Open a deviation of the batch",
            )
        told, events = found(self._state, name, task, user, arguments)
        seq = await self._core.record(task.batch, *events, answer=arguments["answer"])
        await self._engine.alarms.raise_alarm(
            f"line {name}",
            tier="alarm",
            cause=f"as the line was cleared, a person found {told}",
            consequence="The record had it otherwise; what was found is in quarantine",
            action="Carry it to quarantine, and decide how it came there",
            batch=BatchId(task.batch),
        )
        return seq

    async def _state_what_was_done(
        self, name: TaskId, command: CommandId, user: UserId, arguments: dict[str, Any]
    ) -> int:
        batch, path, number = self._state.attempts[command]
        attempt = self._state.batches[batch].phases[path].words[number].attempts[-1]
        verdict, done = _stated(name, attempt, arguments)
        detail = self._owed(name, command, attempt, verdict, arguments)
        settled = _reconciled(batch, command, verdict, done, detail)
        changed = self._state.tasks[name].changed
        signature = await self._sign(user, arguments, settled, "performed")
        self._require_unchanged(name, changed)
        return await self._core.record_for_host(
            TaskReported(
                task=name,
                by=user,
                values={"done": done, **detail},
                choice=verdict,
                signature=signature,
            ),
            answer=arguments["answer"],
        )

    def _owed(
        self,
        name: TaskId,
        command: CommandId,
        attempt: AttemptState,
        verdict: str,
        arguments: Mapping[str, Any],
    ) -> dict[str, str]:
        """Return what the report of an attempt owes, as stated with the verdict."""
        asked = cast("list[str]", attempt.act.get("report", ())) if verdict == "all" else ()
        return values_owed(
            self._state,
            f"reconcile {name}",
            attempt.act,
            asked,
            values_of(arguments),
            own=(command, name),
        )

    # recipes and orders ------------------------------------------------------------------------

    async def _submit_recipe(self, user: UserId, arguments: dict[str, Any]) -> int:
        recipe = Recipe.read(str(arguments["content"]).encode())
        refused = self._findings(recipe, "refuse")
        if refused:
            raise RecipeRefusedError(
                f"submit {recipe.document} version {recipe.version}",
                why="; ".join(f"{one.rule} {one.text}" for one in refused[:3]),
                do_next="Correct the protocol until `cellwright check` finds nothing to refuse",
            )
        if recipe.digest in self._state.recipes:
            raise RefusedError(
                f"submit {recipe.document} version {recipe.version}",
                why="this recipe is on file",
                do_next="Have it reviewed and approved",
            )
        event = await self._signed(
            user,
            arguments,
            lambda by: RecipeSubmitted(
                recipe=recipe.digest,
                title=recipe.title,
                document=recipe.document,
                version=recipe.version,
                content=recipe.content.decode(),
                signature=by,
            ),
            "authored",
        )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    def _findings(self, recipe: Recipe, severity: str) -> list[Finding]:
        """Return what is so wrong with a recipe on this cell."""
        found = check_recipe(recipe, self._core.cell.config)
        return [one for one in found if one.severity == severity]

    def _refuse_silence(self, what: str, recipe: RecipeDigest, reason: str) -> None:
        """Refuse to approve without a reason what asks for one."""
        if reason:
            return
        asks = self._findings(self._engine.recipe_by_digest(recipe), "ask")
        if asks:
            more = f" (and {len(asks) - 1} more)" if len(asks) > 1 else ""
            raise RecipeRefusedError(
                what,
                why=f"{asks[0].rule} asks for a reason: {asks[0].text.rstrip('.')}{more}",
                do_next="Give a reason why it may be approved as it is, or have it corrected",
            )

    def _sign_recipe(self, meaning: SignatureMeaning) -> _Carry:
        async def sign_recipe(user: UserId, arguments: dict[str, Any]) -> int:
            recipe = RecipeDigest(str(arguments["recipe"]))
            known = self._state.recipes.get(recipe)
            if known is None:
                raise RefusedError(
                    f"sign recipe {recipe}", why="it isn't on file", do_next="Submit it first"
                )
            what = f"sign {known.document} version {known.version} as {meaning}"
            require_recipe_signer(what, known.signers, meaning, user)
            reason = str(arguments.get("reason", "")).strip()
            if meaning == "approved":
                self._refuse_silence(what, recipe, reason)
            event = await self._signed(
                user,
                arguments,
                lambda by: RecipeSigned(recipe=recipe, signature=by),
                meaning,
                reason,
            )
            return await self._core.record_for_host(event, answer=arguments["answer"])

        return sign_recipe

    async def _make_batch(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Bind an approved recipe to a therapy event, its containers and this cell's units."""
        batch = BatchId(str(arguments["batch"]))
        binding = Binding.model_validate(arguments["binding"])
        known = self._state.recipes.get(binding.recipe)
        what = f"make batch {batch}"
        if batch in self._state.batches:
            raise RefusedError(what, why="there is one of that name", do_next="Name it anew")
        if known is None or "approved" not in known.signers:
            raise RecipeRefusedError(
                what,
                why="its recipe isn't approved",
                do_next="Have the recipe reviewed and approved",
            )
        coi = CoiId(str(arguments["coi"]))
        self._refuse_misfits(what, binding, coi)
        event = await self._signed(
            user,
            arguments,
            lambda by: BatchMade(
                batch=batch,
                coi=coi,
                recipe=binding.recipe,
                cell=self._core.cell.digest,
                engine=VERSION,
                containers=tuple(
                    Named(name=one.name, is_=one.container) for one in binding.containers
                ),
                kits=tuple(Named(name=one.name, is_=one.kit) for one in binding.kits),
                units=tuple(Named(name=one.name, is_=one.equipment) for one in binding.units),
                places=tuple(Named(name=one.unit, is_=one.place) for one in binding.places),
                ordered=tuple(Named(name=one.name, is_=one.value) for one in binding.ordered),
                signature=by,
            ),
            "approved",
        )
        self._refuse_misfits(what, binding, coi)  # the password took a while: it must still stand
        return await self._core.record(batch, event, answer=arguments["answer"])

    def _refuse_misfits(self, what: str, binding: Binding, coi: CoiId) -> None:
        """Refuse a binding of anything that isn't, by now, what the recipe's word means."""
        recipe = self._engine.recipe_by_digest(binding.recipe)
        binding.require(recipe)
        now, config = self._core.clock.utc(), self._core.cell.config
        found = misfits(self._state, config, recipe, binding, coi, now)
        if found:
            more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
            raise RefusedError(
                what,
                why="; ".join(found[:5]) + more,
                do_next="Bind what the recipe asks for, free and in date: the view 'order' "
                "proposes it",
            )

    # batches ---------------------------------------------------------------------------------

    def _move(self, trigger: str) -> _Carry:
        async def move(user: UserId, arguments: dict[str, Any]) -> int:
            batch = BatchId(str(arguments["batch"]))
            part = str(arguments.get("unit_procedure", ""))
            why = str(arguments.get("why", ""))
            known = self._state.batches.get(batch)
            if trigger not in SAFE_ON_AN_OLD_VIEW and known is not None:
                _refuse_old_view(f"{trigger} batch {batch}", known.changed, arguments)
            holds, answer = self._engine.holds, arguments["answer"]
            await holds.command_all(batch, part, trigger, why, user, answer)
            return self._state.seq

        return move

    async def _start_batch(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Answer once the order to start is on disk; the batch runs when its places are free."""
        batch = BatchId(str(arguments["batch"]))
        return await self._engine.ask_to_start(batch, user, arguments["answer"])

    # alarms, deviations, equipment ------------------------------------------------------------

    async def _acknowledge_alarm(self, user: UserId, arguments: dict[str, Any]) -> int:
        alarm = str(arguments["alarm"])
        if alarm not in self._state.alarms:
            raise RefusedError(
                f"acknowledge {alarm!r}", why="it doesn't stand", do_next="Look again"
            )
        return await self._core.record_for_host(
            AlarmAcknowledged(alarm=alarm, by=user), answer=arguments["answer"]
        )

    async def _open_deviation(self, user: UserId, arguments: dict[str, Any]) -> int:
        batch = BatchId(str(arguments["batch"]))
        limit = str(arguments.get("limit", ""))
        running = self._state.limits.get(limit)
        if limit and (running is None or running.batch != batch):
            raise RefusedError(
                f"open a deviation for limit {limit}",
                why=f"batch {batch} has no such limit",
                do_next="Name one that is shown, or none",
            )
        return await self._core.record(
            batch,
            self._deviation(batch, str(arguments["text"]), user, limit),
            answer=arguments["answer"],
        )

    def _deviation(
        self, batch: BatchId, text: str, user: UserId, limit: str = ""
    ) -> DeviationOpened:
        number = len(self._state.deviations) + 1
        return DeviationOpened(
            deviation=f"D-{number:04d}", batch=batch, path=None, text=text, limit=limit, by=user
        )

    async def _close_deviation(self, user: UserId, arguments: dict[str, Any]) -> int:
        name = str(arguments["deviation"])
        known = self._state.deviations.get(name)
        if known is None or known.closed_by:
            raise RefusedError(
                f"close deviation {name}",
                why="it isn't there" if known is None else "it is closed",
                do_next="Look again",
            )
        require_other_person(
            f"close deviation {name}",
            first=UserId(known.opened_by) if known.opened_by != "system" else None,
            did="opened",
            now=user,
            does="closes",
        )
        event = await self._signed(
            user,
            arguments,
            lambda by: DeviationClosed(deviation=name, signature=by),
            "approved",
            str(arguments["reason"]),
        )
        return await self._core.record(BatchId(known.batch), event, answer=arguments["answer"])

    async def _look_at_equipment(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Take what a device shows now as known, after a person has looked at it."""
        del user
        equipment = str(arguments["equipment"])
        if equipment not in self._core.drivers:
            raise RefusedError(
                f"look at {equipment}", why="the cell has none of that name", do_next="Look again"
            )
        return await self._see(equipment, answer=arguments["answer"])

    async def _see(
        self,
        name: str,
        *,
        explained_by: CommandId | None = None,
        answer: CommandAnswered | None = None,
    ) -> int:
        """Record what a device shows, and first what nothing explains of it.

        ``explained_by`` names the attempt that does, and leaves strangers' acts standing.
        """
        equipment = EquipmentId(name)
        driver = self._core.drivers[equipment]
        identity = await driver.identify()
        bound_to = self._core.cell.config.by_equipment[name].serial
        if bound_to and identity.serial and bound_to != identity.serial:
            raise RefusedError(
                f"take {name} as seen",
                why=f"it shows the serial number {identity.serial}; the cell file has {bound_to}",
                do_next="Plug in the right instrument, or change the cell file",
            )
        standing = await driver.standing()
        events: list[AnyEvent] = []
        if explained_by is None:
            known = self._state.equipment.get(name)
            outside = outside_act_seen(equipment, known, standing, driver.only_acts_change)
            events += [outside] if outside is not None else []
        seq = await self._core.record_for_host(
            *events,
            EquipmentSeen(
                equipment=equipment,
                model=identity.model,
                serial=identity.serial,
                firmware=identity.firmware,
                values=standing.values,
                witness=standing.witness,
                explained_by=explained_by,
            ),
            answer=answer,
        )
        if explained_by is None:
            await self._engine.recognition.looked_at(equipment)
        return seq

    # material ----------------------------------------------------------------------------------

    async def _receive_lot(self, user: UserId, arguments: dict[str, Any]) -> int:
        event = LotReceived.model_validate(_by(user, arguments))
        if event.lot in self._state.lots:
            raise RefusedError(
                f"receive lot {event.lot}", why="it is on file", do_next="Use it as it is on file"
            )
        if event.in_use:
            Duration.read(event.in_use)
        if self._core.clock.utc() >= event.expires:
            raise RefusedError(
                f"receive lot {event.lot}",
                why=f"it expired at {event.expires}",
                do_next="Put it aside and call quality assurance, or correct the date",
            )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    async def _quarantine_lot(self, user: UserId, arguments: dict[str, Any]) -> int:
        event = LotQuarantined.model_validate(_by(user, arguments))
        if event.lot not in self._state.lots:
            raise RefusedError(
                f"quarantine lot {event.lot}", why="it was never received", do_next="Look again"
            )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    async def _receive_material(self, user: UserId, arguments: dict[str, Any]) -> int:
        event = ContainerReceived.model_validate(_by(user, arguments))
        refuse_misread(event.label)
        why = _why_not_receivable(event, self._state, self._core.clock.utc())
        if why:
            raise RefusedError(
                f"receive {event.container}", why=why, do_next="Correct it, and receive it again"
            )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    async def _release_container(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Let a quarantined container go back into use, by quality's signature."""
        name = ContainerId(str(arguments["container"]))
        known = self._state.containers.get(name)
        if known is None or not known.quarantined:
            raise RefusedError(
                f"release {name}",
                why="it was never received" if known is None else "it isn't in quarantine",
                do_next="Look again",
            )
        event = await self._signed(
            user,
            arguments,
            lambda by: ContainerReleased(container=name, signature=by),
            "released",
            str(arguments["reason"]),
        )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    # people ------------------------------------------------------------------------------------

    async def _add_person(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Add a person with a first password, which stands in no record and no message."""
        login, password = str(arguments["log_in_name"]), str(arguments["password"])
        printed_name = str(arguments["printed_name"])
        check_password(password, login=login)
        hashed = partial(hash_secret, password, salt=self._entropy(SALT_BYTES), cost=self._cost)
        secret = await self._hashed(hashed)
        return await self._core.record_for_host(
            add_person(
                self._state.people,
                login=login,
                printed_name=printed_name,
                roles=[str(one) for one in arguments["roles"]],
                secret=secret,
                by=user,
            ),
            answer=arguments["answer"],
        )


def _why_not_receivable(event: ContainerReceived, state: HostState, now: Instant) -> str:
    """Return why something can't be received as stated; empty if nothing stands against it."""
    inner = [f"{event.container}/{one}" for one in event.positions]
    labels = [event.label, *(f"{event.label}/{one}" for one in event.positions)]
    if any(one in state.containers for one in (event.container, *inner)):
        return "a container of that name was received before"
    if any(why_label_taken(state, one) for one in labels):
        return "its label is another container's"
    if event.what == "patient_material" and event.coi is None:
        return "patient material needs its therapy event (coi)"
    if event.lot is not None:
        if why := why_unusable(state, event.lot, now):
            return why
        if (known := state.lots[event.lot].material) != event.material:
            return f"lot {event.lot} is of {known}, not of {event.material}"
    if len(event.volumes) != len(event.positions):
        return "each of its positions needs a volume"
    if event.capacities and len(event.capacities) != len(event.positions):
        return "each of its positions needs a capacity"
    for text in (event.volume, event.capacity, *event.volumes, *event.capacities):
        if text and Volume.read(text).base < 0:
            return f"{text} is less than nothing"
    return ""


def _as_answered(answer: AnsweredState, command: Command) -> Given:
    """Return what a request was answered, or raise it if that was a refusal.

    Raises:
        RefusedError: So it was answered, or it was the request of another command.
    """
    if answer.command not in ("", command.name):
        raise RefusedError(
            command.name.replace("_", " "),
            why=f"its request was that of the command {answer.command}",
            do_next="Give each command a request of its own",
        )
    if answer.refused:
        raise error_from_record(answer.refused)
    return Given(seq=answer.seq)


def _texts(arguments: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts that a command may hold.

    Raises:
        ValueError: It isn't one.
    """
    given: object = arguments.get(name, [])
    if not isinstance(given, list | tuple):
        raise ValueError(f"{name}: it must be a list of texts")
    texts = cast("list[object]", given)
    if not all(isinstance(one, str) for one in texts):
        raise ValueError(f"{name}: it must be a list of texts")
    return cast("list[str]", texts)


def _by(user: UserId, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's arguments as an event's fields, with who gave it."""
    own = {name: one for name, one in arguments.items() if name not in NOT_OF_THE_EVENT}
    return {**own, "by": user}


def _what_is_wrong(error: Exception) -> str:
    """Say what is wrong with a command's arguments, and nothing of what they hold."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
    return str(error).split("\n", 1)[0]


def _refuse_old_view(what: str, changed: int, arguments: Mapping[str, Any]) -> None:
    """Refuse a command that rests on no view, or on one older than what it concerns (H13)."""
    if arguments["seen"] < changed:
        raise RefusedError(
            what,
            why="it has changed since the view that this rests on",
            do_next="Look again, and decide on what is shown now",
        )


def _refuse_anothers(what: str, task: TaskState, user: UserId) -> None:
    if task.status == "taken" and task.taken_by != user:
        raise RefusedError(what, why="another person has taken it", do_next="Wait for it")


def _refuse_doubt(name: TaskId) -> None:
    if name.endswith(CLEARANCE):
        raise RefusedError(
            f"task {name}",
            why="it is a line clearance, and two people sign it",
            do_next="Clear it: look that nothing of the batch is left, and sign",
        )
    if name.endswith(LATE):
        raise RefusedError(
            f"task {name}",
            why="it asks what a late report means, and two people sign what they found",
            do_next="Reconcile it: state same, twice or mistaken",
        )
    if name.endswith(DOUBT):
        raise RefusedError(
            f"task {name}",
            why="it asks what an attempt did, and two people sign what they found",
            do_next="Reconcile it: state all, part or nothing",
        )


def _stated(name: TaskId, attempt: AttemptState, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Return verdict and amount as stated of an attempt, in the act's own measure.

    Raises:
        RefusedError: The act could not have done that.
    """
    verdict, done = str(arguments.get("verdict")), str(arguments.get("done", ""))
    act = Act.kinds[attempt.act["kind"]].model_validate(attempt.act)
    measure = MEASURES.get(act.kind)
    whole = str(getattr(act, measure)) if measure else "1"
    match verdict:
        case "all":
            return verdict, whole
        case "nothing":
            return verdict, ""
        case "part" if measure:
            asked = cast("Quantity", getattr(act, measure))
            try:
                amount = type(asked).read(done)
            except ValueError as unreadable:
                why = str(unreadable)
            else:
                rest = act.rest_after(Effect(done=done))
                again = act.on_interruption is OnInterruption.REPEAT
                if 0 < amount.base < asked.base and (rest is not None or again):
                    return verdict, str(amount)
                why = f"a part of {asked} is more than nothing and leaves a rest"
        case "part":
            why = f"{act.kind} is done whole or not at all"
        case _:
            why = "the verdict must be all, part or nothing"
    raise RefusedError(
        f"reconcile {name}", why=why, do_next="Look at the material, and say how much was done"
    )


def _reconciled(
    batch: str, command: CommandId, verdict: str, done: str, detail: Mapping[str, str]
) -> AttemptReconciled:
    """Return the record that both people sign."""
    return AttemptReconciled.model_validate(
        {
            "batch": batch,
            "command": command,
            "verdict": verdict,
            "done": done,
            "detail": detail,
            "signatures": (),
        }
    )
