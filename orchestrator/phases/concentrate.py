"""Spin a culture and draw liquid off above its cells."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Duration, Flow, Fraction, RelativeForce, Volume
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.liquid import move_liquid
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import exactly, pumped, station_needs, time_of, together
from orchestrator.phases.spinning import (
    ACCELERATION,
    DECELERATION,
    spin,
    spinning_needs,
    spinning_time,
)


class Concentrate(PhaseModel):
    """Spin the kit and draw ``draw`` off to waste; at least ``keep`` stays above the cells.

    Effect: moves liquid, irreversibly. Interrupted: a spin and a robot holding the kit are
    HELD unless they tell; the pump goes on with the rest.
    """

    kind: Literal["concentrate/1"] = "concentrate/1"
    kit: str
    station: str
    vessel: str
    arm: str
    centrifuge: str
    force: RelativeForce
    spin: Duration
    acceleration: Fraction = ACCELERATION
    deceleration: Fraction = DECELERATION
    waste: str
    waste_at: str
    draw: Volume
    keep: Volume = Field(description="Below this the inlet would draw cells")
    flow: Flow

    def claims(self) -> Claims:
        drawn = exactly(self.draw)
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(container=self.kit, how=Contact.MOVES),
                *pumped(self.vessel, "vessel", self.waste, self.waste_at, drawn),
                Touch(container=self.vessel, how=Contact.HOLDS, volume=exactly(self.keep)),
            ),
            needs=(
                *station_needs(self.station),
                *spinning_needs(self.arm, self.centrifuge),
            ),
            duration=together(spinning_time(self.spin), time_of(self.flow, drawn)),
            consumes_patient_material=True,
            identity="either",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut; cells lie in the kept volume",
        )

    def sentence(self) -> str:
        return (
            f"Spin the {self.kit} at {self.force} for {self.spin} and draw {self.draw} off to "
            f"the {self.waste} at {self.flow}; at least {self.keep} stay in the {self.vessel}."
        )

    async def run(self, outside: Outside) -> Report:
        await spin(
            outside,
            station=self.station,
            arm=self.arm,
            centrifuge=self.centrifuge,
            kit=self.kit,
            force=self.force,
            at_speed=self.spin,
            acceleration=self.acceleration,
            deceleration=self.deceleration,
        )
        proven = await prove_joined(
            outside, station=self.station, kit=self.kit, joined=((self.waste, self.waste_at),)
        )
        drawn = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.vessel),
            source_at="vessel",
            target=outside.container(self.waste),
            target_at=self.waste_at,
            volume=self.draw,
            flow=self.flow,
            proven=proven,
        )
        return {"volume": drawn.done, **drawn.detail}
