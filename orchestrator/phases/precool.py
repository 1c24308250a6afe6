"""Bring an empty freezer to the temperature at which bags are loaded."""

from __future__ import annotations

from typing import Final, Literal

from devices.interfaces.controlled_freezing import RampSegment
from orchestrator.kernel.acts import Claims, OnInterruption, Quieten
from orchestrator.kernel.quantities import Duration, RampRate, Temperature, between, hour, minute
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

PRECOOL_WITHIN: Final = 3 * hour
"""Set by site: from the end of a former curve back to its start, at the slowest."""


class Precool(PhaseModel):
    """Take the empty stage to ``to`` at ``rate``: a former curve has left it in the cold.

    Effect: changes the stage's temperature; holds nothing of a patient, twice equals once
    (REPEAT).
    """

    kind: Literal["precool/1"] = "precool/1"
    freezer: str
    to: Temperature
    rate: RampRate

    def claims(self) -> Claims:
        return Claims(
            needs=((self.freezer, "controlled_freezing"),),
            duration=between(Duration.of_base(0), PRECOOL_WITHIN),
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the stage is empty",
        )

    def sentence(self) -> str:
        return f"Bring the empty {self.freezer} to {self.to} at {self.rate}."

    async def run(self, outside: Outside) -> Report:
        reached = await outside.do(
            RampSegment(
                unit=self.freezer,
                containers=(),
                place=outside.place(self.freezer),
                rate=self.rate,
                to=self.to,
                longest=PRECOOL_WITHIN + 1 * minute,
                on_interruption=OnInterruption.REPEAT,
                quieten=Quieten.LEAVE_RUNNING,
            ),
            proven=(),
        )
        return {"to": str(self.to), **reached.detail}
