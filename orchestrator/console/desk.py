"""The console in process: what people may see and ask for, checked person by person.

Every command names its session; the person behind it must have a role that allows it,
and what two people must do is never done by one. A command that isn't legal now is
refused with the reason, and nothing has happened. What each command does stands in the
file of its group, to which the desk's table leads. Follows design sections 7 and 11.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final
from weakref import WeakValueDictionary

from pydantic import ValidationError

from orchestrator.console.alarms import Alarms
from orchestrator.console.amending import Amendments
from orchestrator.console.batches import SAFE_ON_AN_OLD_VIEW, Batches
from orchestrator.console.clearing import Clearing
from orchestrator.console.deviations import Deviations
from orchestrator.console.equipment import Equipment
from orchestrator.console.office import Carry, Office
from orchestrator.console.people import People
from orchestrator.console.receiving import Receiving
from orchestrator.console.recipes import Recipes
from orchestrator.console.reconciling import Reconciling
from orchestrator.console.rejecting import Rejecting
from orchestrator.console.reporting import Reporting
from orchestrator.console.timekeeping import Timekeeping
from orchestrator.console.verifying import Verifying
from orchestrator.console.views import VIEWS
from orchestrator.engine.engine import Engine
from orchestrator.engine.state import AnsweredState, HostState
from orchestrator.journal.events import CommandAnswered
from orchestrator.kernel.desks import Command, Given
from orchestrator.kernel.errors import RefusedError, error_from_record
from orchestrator.kernel.identifiers import UserId
from orchestrator.people.roles import require
from orchestrator.people.sessions import (
    NoSessionError,
    close_session,
    holder_of,
    open_session,
    request_of,
    token_sha256,
)
from orchestrator.people.users import RFC_9106_LOW_MEMORY, HashingCost, Present

PASSWORD: Final = "password"
"""The argument of which nothing is kept."""


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
        self._core = engine.core
        self._requests: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """What is asked for and not answered yet: given again meanwhile, it waits."""
        self.office = office = Office(engine, entropy=entropy, cost=cost)
        """Where people are recognised and sign, whatever the command."""
        reporting, verifying, rejecting = Reporting(office), Verifying(office), Rejecting(office)
        equipment, clearing = Equipment(office), Clearing(office)
        reconciling = Reconciling(office, equipment)
        recipes, batches, receiving = Recipes(office), Batches(office), Receiving(office)
        amendments = Amendments(office)
        alarms, deviations, people = Alarms(office), Deviations(office), People(office)
        self._commands: Final[dict[str, Carry]] = {
            "take_task": reporting.take,
            "take_back_task": reporting.take_back,
            "report_task": reporting.report,
            "verify_task": verifying.verify,
            "reject_task": rejecting.reject,
            "answer_task": reporting.answer,
            "reconcile": reconciling.reconcile,
            "clear_line": clearing.clear,
            "carry_away": clearing.carry_away,
            "report_found": clearing.report_found,
            "hold": batches.move("hold"),
            "restart": batches.move("restart"),
            "pause": batches.move("pause"),
            "resume": batches.move("resume"),
            "stop": batches.move("stop"),
            "abort": batches.move("abort"),
            "acknowledge_alarm": alarms.acknowledge,
            "open_deviation": deviations.open,
            "close_deviation": deviations.close,
            "look_at_equipment": equipment.look_at,
            "receive_lot": receiving.receive_lot,
            "quarantine_lot": receiving.quarantine_lot,
            "receive_material": receiving.receive_material,
            "release_container": receiving.release_container,
            "sign_time": Timekeeping(office).sign_time,
            "add_person": people.add,
            "submit_recipe": recipes.submit,
            "review_recipe": recipes.sign("reviewed"),
            "approve_recipe": recipes.sign("approved"),
            "make_batch": batches.make,
            "start_batch": batches.start,
            "propose_amendment": amendments.propose,
            "verify_amendment": amendments.verify,
            "reject_amendment": amendments.reject,
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
        made = make(self._engine, arguments)
        shown = made if isinstance(made, dict) else await made
        return {"version": state.seq, **shown}

    async def give(self, command: Command) -> Given:
        once = self._requests.setdefault(command.request, asyncio.Lock())
        async with once, self.office.turns.turn():
            return await self._give(command)

    async def _give(self, command: Command) -> Given:
        user = await self._who(command)
        session = token_sha256(command.session)
        request = request_of(user, command.request)
        if request in self._state.answered:
            return _as_answered(self._state.answered[request], command)
        answer = CommandAnswered(
            command=command.name,
            by=user,
            session=session,
            request=command.request,
            arguments=_digest_of(command.arguments),
        )
        person = self._state.people[user]
        require(command.name, person.roles, who=person.printed_name)
        rests_on_none = command.seen < 0 and command.name not in SAFE_ON_AN_OLD_VIEW
        if rests_on_none or command.seen > self._state.seq:
            raise RefusedError(
                command.name.replace("_", " "),
                why="it rests on no view"
                if rests_on_none
                else "it rests on a view that this daemon has never shown",
                do_next="Look again, and decide on what is shown now",
            )
        self._refuse_forgotten(command)
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

    def _refuse_forgotten(self, command: Command) -> None:
        """Refuse a command that may be one whose answer isn't remembered any more.

        A hold or a pause that is given once more does no harm, so it is taken on any view.

        Raises:
            RefusedError: It rests on a view from before then. Nothing happened now.
        """
        if command.seen < self._state.forgotten and command.name not in SAFE_ON_AN_OLD_VIEW:
            raise RefusedError(
                command.name.replace("_", " "),
                why="it rests on so old a view that it may have been carried out since, and its "
                "answer be forgotten",
                do_next="Look again; give it anew, under a new request, if it is missing",
            )

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

    async def recognise(self, login: str, secret: str, terminal: str) -> Present:
        """Return the proof that a person gave the right password just now.

        Raises:
            NotAuthorisedError: As ``Office.recognise``. The try is recorded.
        """
        return await self.office.recognise(login, secret, terminal)

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


def _as_answered(answer: AnsweredState, command: Command) -> Given:
    """Return what a request was answered, or raise it if that was a refusal.

    Raises:
        RefusedError: So it was answered, or it was the request of another command, or of the
            same with other arguments.
    """
    if answer.command != command.name:
        raise RefusedError(
            command.name.replace("_", " "),
            why=f"its request was that of the command {answer.command}",
            do_next="Give each command a request of its own",
        )
    if answer.arguments != _digest_of(command.arguments):
        raise RefusedError(
            command.name.replace("_", " "),
            why="its request was that of the same command with other arguments, and was answered",
            do_next="Look what was done by it; give this one under a request of its own",
        )
    if answer.refused:
        raise error_from_record(answer.refused)
    return Given(seq=answer.seq)


def _digest_of(arguments: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a command's arguments; of a password nothing is kept."""
    told = {name: one for name, one in arguments.items() if name != PASSWORD}
    return sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _what_is_wrong(error: Exception) -> str:
    """Say what is wrong with a command's arguments, and nothing of what they hold."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
    return str(error).split("\n", 1)[0]
