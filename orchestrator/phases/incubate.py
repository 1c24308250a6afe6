"""Leave a kit in its incubator for a time. Nothing acts; a ``Keep`` around it watches."""

from __future__ import annotations

from typing import Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Duration, Range
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class Incubate(PhaseModel):
    """Wait ``duration`` from the phase's start. Interrupted: the time runs on."""

    kind: Literal["incubate/1"] = "incubate/1"
    kit: str
    incubator: str
    duration: Duration

    def claims(self) -> Claims:
        return Claims(
            touches=(Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.incubator),),
            needs=((self.incubator, "climate"),),
            duration=Range(self.duration, self.duration),
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the kit stays in the incubator",
        )

    def sentence(self) -> str:
        return f"Incubate the {self.kit} in the {self.incubator} for {self.duration}."

    async def run(self, outside: Outside) -> Report:
        started = outside.last_answered
        await outside.until(started + self.duration)
        return {"from": str(started), "until": str(outside.last_answered)}
