"""Wash the cells of a culture: spin, draw off, add buffer, so many times."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Duration, Flow, Fraction, RelativeForce, Volume
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.liquid import move_liquid
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import (
    exactly,
    pumped,
    report_of,
    station_needs,
    time_of,
    together,
)
from orchestrator.phases.spinning import (
    ACCELERATION,
    DECELERATION,
    spin,
    spinning_needs,
    spinning_time,
)


class Wash(PhaseModel):
    """In each cycle spin the kit, draw ``volume`` off to waste, and add as much buffer.

    The vessel holds as much after it as before. At least ``keep`` stays above the cells
    while they lie at the bottom.

    Effect: moves liquid, irreversibly. Interrupted: a spin and a robot holding the kit are
    HELD unless they tell; the pump goes on with the rest.
    """

    kind: Literal["wash/1"] = "wash/1"
    kit: str
    station: str
    vessel: str
    arm: str
    centrifuge: str
    buffer: str
    buffer_at: str
    waste: str
    waste_at: str
    cycles: int = Field(ge=1, le=10)
    volume: Volume = Field(description="Drawn off, and added, in each cycle")
    keep: Volume = Field(description="Below this the inlet would draw cells")
    flow: Flow
    force: RelativeForce
    spin: Duration
    acceleration: Fraction = ACCELERATION
    deceleration: Fraction = DECELERATION

    def claims(self) -> Claims:
        each = exactly(self.volume)
        cycle = (
            *pumped(self.vessel, "vessel", self.waste, self.waste_at, each),
            Touch(container=self.vessel, how=Contact.HOLDS, volume=exactly(self.keep)),
            *pumped(self.buffer, self.buffer_at, self.vessel, "vessel", each),
        )
        time = together(spinning_time(self.spin), time_of(self.flow, each, each))
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(container=self.kit, how=Contact.MOVES),
                *(cycle * self.cycles),
            ),
            needs=(
                *station_needs(self.station),
                *spinning_needs(self.arm, self.centrifuge),
            ),
            duration=together(*(time,) * self.cycles),
            consumes_patient_material=True,
            identity="either",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut",
        )

    def sentence(self) -> str:
        times = "once" if self.cycles == 1 else f"{self.cycles} times"
        return (
            f"Wash the cells of the {self.vessel} {times}: spin at {self.force} for {self.spin}, "
            f"draw {self.volume} off to the {self.waste}, never below {self.keep}, and add "
            f"{self.volume} of the {self.buffer} at {self.flow}."
        )

    async def run(self, outside: Outside) -> Report:
        vessel = outside.container(self.vessel)
        report: Report = {}
        for cycle in range(1, self.cycles + 1):
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
                outside,
                station=self.station,
                kit=self.kit,
                joined=((self.waste, self.waste_at),),
            )
            drawn = await move_liquid(
                outside,
                station=self.station,
                source=vessel,
                source_at="vessel",
                target=outside.container(self.waste),
                target_at=self.waste_at,
                volume=self.volume,
                flow=self.flow,
                proven=proven,
            )
            added = await move_liquid(
                outside,
                station=self.station,
                source=outside.container(self.buffer),
                source_at=self.buffer_at,
                target=vessel,
                target_at="vessel",
                volume=self.volume,
                flow=self.flow,
                proven=proven,
            )
            report |= report_of(f"drawn_{cycle}", drawn)
            report |= report_of(f"added_{cycle}", added)
        return report
