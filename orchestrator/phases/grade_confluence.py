"""Have people look at an adherent culture and state how much of its surface cells cover."""

from __future__ import annotations

from typing import Final, Literal

from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import between, minute, percent
from orchestrator.phases.handwork import by_hand, reported
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

_ANY: Final = between(0 * percent, 100 * percent)


class GradeConfluence(PhaseModel):
    """Scan the kit at ``at``; have one person grade its ``vessel``, and a second one verify it.

    Effect: none on the material. Interrupted: looked at again (REPEAT).
    """

    kind: Literal["grade_confluence/1"] = "grade_confluence/1"
    kit: str
    vessel: str
    at: str

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.at),
                Touch(container=self.vessel, how=Contact.MEASURES),
            ),
            needs=((self.at, "hands"), (self.at, "scanning")),
            duration=between(2 * minute, 60 * minute),
            attended=True,
            identity="fresh",
            second_person=True,
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the kit stays closed",
        )

    def sentence(self) -> str:
        return (
            f"Look at the {self.vessel} and state how much of its surface cells cover; a second "
            "person verifies."
        )

    async def run(self, outside: Outside) -> Report:
        tray = outside.container(self.kit)
        vessel = outside.container(self.vessel)
        proof = await outside.see(
            Identify(unit=self.at, container=tray, place=outside.place(self.at))
        )
        graded = await by_hand(
            outside,
            self.at,
            Handwork.INSPECT_CONFLUENCE,
            f"Look at {vessel} in kit {tray} and state its confluence in percent",
            proven=(proof,),
            containers=(vessel,),
            kit=outside.kit(self.kit),
            report=("confluence",),
            second_person=True,
            on_interruption=OnInterruption.REPEAT,
        )
        confluence = await reported(outside, graded, "confluence", _ANY, second_person=True)
        return {**graded.detail, "confluence": str(confluence)}
