"""The driver of people's hands takes who did it from the task's record, never from a value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from devices.drivers.hands import Hands
from devices.interfaces.driver import Standing
from devices.interfaces.hands import HandAct, Handwork
from orchestrator.kernel.acts import AllDone, OnInterruption, PartDone, Quieten
from orchestrator.kernel.identifiers import CommandId, EquipmentId, TaskId, UserId
from orchestrator.kernel.quantities import minute
from orchestrator.kernel.tasks import Answer

WELD = HandAct(
    unit="station",
    work=Handwork.WELD,
    instruction="weld it",
    report=("weld",),
    words={"weld": ("sound", "unsound")},
    longest=30 * minute,
    on_interruption=OnInterruption.HOLD,
    quieten=Quieten.LEAVE_RUNNING,
)


class _Board:
    """A board on which one task was reported."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def offer_hand_work(
        self, task: TaskId, act: Mapping[str, Any], command: CommandId
    ) -> None:
        raise AssertionError("nothing is offered here")

    async def reported(self, task: TaskId) -> Answer | None:
        return self._answer

    def why_taken_back(self, task: TaskId) -> str:
        return ""

    def was_offered(self, task: TaskId) -> bool:
        return True


def test_values_that_nobody_asked_for_are_no_evidence() -> None:
    values = {"weld": "sound", "verified_by": "U-0001", "performed_by": "U-0001", "volume": "9 mL"}
    hands = Hands(_Board(Answer(values=values, by=UserId("U-2"))), equipment=EquipmentId("hands"))
    settled = asyncio.run(hands.settle(WELD, CommandId("B-1/p#1.1"), Standing(values={})))
    assert isinstance(settled.report, AllDone)
    assert settled.report.effect.detail == {"weld": "sound", "performed_by": "U-2"}


def test_a_word_by_which_work_does_not_go_on_is_not_all_that_was_asked() -> None:
    answer = Answer(values={"weld": "unsound"}, by=UserId("U-2"))
    hands = Hands(_Board(answer), equipment=EquipmentId("hands"))
    settled = asyncio.run(hands.settle(WELD, CommandId("B-1/p#1.1"), Standing(values={})))
    assert isinstance(settled.report, PartDone)
    assert "weld=unsound" in settled.report.why
