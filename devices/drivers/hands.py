"""Driver of people's hands: hand work is offered as a Task and settled by its report.

There is no wire. The trigger is the offer, the read-back is the task's own record, and
the evidence is what the person reports and, where the act asks for it, what a second
person verifies. What was offered before the software died still stands on the board
after it, so an interrupted act is settled by its report like any other. What was withdrawn
before anybody took it is settled as nothing done; what was taken from a person who had begun
it, perhaps, only people can tell. What is reported in a word by which work doesn't go on was
done, and isn't all that was asked: it is held. What somebody rejects, who looked at it, is in
doubt: hands did something, and not what the report says.

Follows design section 7.
"""

from __future__ import annotations

from typing import Final

from devices.interfaces.driver import DeviceIdentity, Settled, Standing
from devices.interfaces.hands import HandAct
from orchestrator.kernel.acts import (
    Act,
    AllDone,
    CannotTell,
    Effect,
    Facts,
    NothingDone,
    PartDone,
    Quieten,
    Reading,
)
from orchestrator.kernel.desks import TaskBoard
from orchestrator.kernel.errors import LimitRefusedError
from orchestrator.kernel.identifiers import CommandId, EquipmentId, TaskId
from orchestrator.kernel.tasks import NOT_DONE, REJECTED

_NOTHING_TO_SHOW: Final = Standing(values={})


class Hands:
    """The people of one cell, as an instrument. Implements ``Driver``."""

    model = "hands"
    only_acts_change: Facts = {}

    def __init__(self, board: TaskBoard, *, equipment: EquipmentId) -> None:
        self.equipment = equipment
        self._board = board

    async def run(self) -> None:
        """Return at once: there is no line to read."""

    async def identify(self) -> DeviceIdentity:
        return DeviceIdentity(model=self.model)

    async def standing(self) -> Standing:
        return _NOTHING_TO_SHOW

    async def prepare(self, act: Act) -> None:
        del act

    async def trigger(self, act: Act, command: CommandId) -> None:
        await self._board.offer_hand_work(
            TaskId(str(command)), act.model_dump(mode="json"), command
        )

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        del before
        answer = await self._board.reported(TaskId(str(command)))
        taken_back = self._board.why_taken_back(TaskId(str(command))) if answer is None else ""
        if taken_back:
            return Settled(report=CannotTell(why=taken_back), standing=_NOTHING_TO_SHOW)
        if answer is None:
            return Settled(
                report=NothingDone(why="it was withdrawn before anybody took it"),
                standing=_NOTHING_TO_SHOW,
            )
        if answer.choice == NOT_DONE:
            return Settled(
                report=NothingDone(why=answer.values.get("why", "the person says so")),
                standing=_NOTHING_TO_SHOW,
            )
        if answer.choice == REJECTED:
            return Settled(
                report=CannotTell(why=f"it isn't as it was reported: {answer.values['why']}"),
                standing=_NOTHING_TO_SHOW,
            )
        asked = act.report if isinstance(act, HandAct) else ()
        detail = {name: answer.values[name] for name in asked if name in answer.values}
        detail["performed_by"] = str(answer.by)
        if answer.verified_by is not None:
            detail["verified_by"] = str(answer.verified_by)
        effect = Effect(done="1", detail=detail)
        amiss = act.amiss(detail) if isinstance(act, HandAct) else ""
        if amiss:
            why = f"the report says {amiss}"
            return Settled(report=PartDone(effect=effect, why=why), standing=_NOTHING_TO_SHOW)
        return Settled(report=AllDone(effect=effect), standing=_NOTHING_TO_SHOW)

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        if not self._board.was_offered(TaskId(str(command))):
            return Settled(
                report=NothingDone(why="it was never offered to anybody"),
                standing=_NOTHING_TO_SHOW,
            )
        return await self.settle(act, command, before)

    async def quieten(self, how: Quieten) -> None:
        del how

    async def read(self, reading: Reading) -> str:
        raise LimitRefusedError(
            f"read {reading.kind} from {self.equipment}",
            why="hands have nothing to read",
            do_next="Ask a person with a question of its own",
        )

    async def close(self) -> None:
        """Let nothing go: there is no line."""
