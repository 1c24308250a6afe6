"""Scan a container where it will be used, and go on only if it is this patient's."""

from __future__ import annotations

from typing import Literal

from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Range, minute, second
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class VerifyIdentity(PhaseModel):
    """Scan ``container`` at ``at``. Moves nothing."""

    kind: Literal["verify_identity/1"] = "verify_identity/1"
    container: str
    at: str

    def claims(self) -> Claims:
        return Claims(
            touches=(Touch(container=self.container, how=Contact.HOLDS, at_unit=self.at),),
            needs=((self.at, "scanning"),),
            duration=Range(lowest=1 * second, highest=10 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the container stays where it is, unconnected",
        )

    def sentence(self) -> str:
        return f"Scan the {self.container} at the {self.at}; go on only if it is this patient's."

    async def run(self, outside: Outside) -> Report:
        proof = await outside.see(
            Identify(
                unit=self.at,
                container=outside.container(self.container),
                place=outside.place(self.at),
            )
        )
        return {"identity": proof.rests_on}
