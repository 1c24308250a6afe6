"""Have the contents of a docked kit's vessel mixed by hand."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from devices.interfaces.hands import Handwork
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Range, minute, second
from orchestrator.phases.handwork import by_hand
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class Mix(PhaseModel):
    """Scan the docked kit afresh, and have its vessel rocked ``times`` times.

    Effect: stirs up what lies at the bottom; twice does no more than once (REPEAT).
    """

    kind: Literal["mix/1"] = "mix/1"
    kit: str
    station: str
    vessel: str
    by: Literal["hands"]
    times: int = Field(ge=1, le=100)

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(container=self.vessel, how=Contact.HOLDS),
            ),
            needs=((self.station, "hands"), (self.station, "scanning")),
            duration=Range(self.times * second, 30 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the kit stands docked with its clamps shut",
        )

    def sentence(self) -> str:
        return f"Rock the {self.vessel} by hand {self.times} times."

    async def run(self, outside: Outside) -> Report:
        proven = await prove_joined(
            outside, station=self.station, kit=self.kit, carried_suffices=False
        )
        vessel = outside.container(self.vessel)
        mixed = await by_hand(
            outside,
            self.station,
            Handwork.MIX,
            f"Rock {vessel} gently, {self.times} times, until nothing lies at its bottom",
            proven=proven,
            containers=(vessel,),
            kit=outside.kit(self.kit),
            parameters={"times": str(self.times)},
            on_interruption=OnInterruption.REPEAT,
        )
        return {"times": str(self.times), **mixed.detail}
