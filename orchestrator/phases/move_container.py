"""Carry a kit or a bag by arm from one unit to another."""

from __future__ import annotations

from typing import Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.phases.carrying import CARRYING_TAKES, carry
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class MoveContainer(PhaseModel):
    """Pick ``container`` up at ``from_`` and set it down at ``to``.

    Effect: moves it. Interrupted: HOLD unless gripper and position both tell.
    """

    kind: Literal["move_container/1"] = "move_container/1"
    container: str
    arm: str
    from_: str
    to: str

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(
                    container=self.container, how=Contact.MOVES, at_unit=self.from_, to_unit=self.to
                ),
            ),
            needs=((self.arm, "container_transport"), (self.from_, "scanning")),
            occupies=(self.to,),
            duration=CARRYING_TAKES,
            identity="either",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the arm has ended its motion and holds what it gripped",
        )

    def sentence(self) -> str:
        return f"Move the {self.container} from the {self.from_} to the {self.to} by arm."

    async def run(self, outside: Outside) -> Report:
        await carry(
            outside,
            arm=self.arm,
            container=self.container,
            from_=self.from_,
            to=self.to,
            scanner_of=self.from_,
        )
        return {"place": str(outside.place(self.to))}
