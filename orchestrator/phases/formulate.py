"""Add cryoprotectant to washed cells: the DMSO clock starts."""

from __future__ import annotations

from typing import Final, Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import Flow, Volume
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.liquid import move_liquid
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import pumped, station_needs, time_of, volume_range

DMSO_CLOCK: Final = "dmso"


class Formulate(PhaseModel):
    """Pump ``volume`` of cryoprotectant into ``vessel``.

    Effect: cells stand in DMSO from its first drop, irreversibly. Interrupted: the rest is
    moved (CONTINUE).
    """

    kind: Literal["formulate/1"] = "formulate/1"
    kit: str
    station: str
    vessel: str
    cryo: str
    cryo_at: str
    volume: Amount
    flow: Flow

    def claims(self) -> Claims:
        volume = volume_range(self.volume)
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                *pumped(self.cryo, self.cryo_at, self.vessel, "vessel", volume),
            ),
            needs=station_needs(self.station),
            duration=time_of(self.flow, volume),
            consumes_patient_material=True,
            identity="either",
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut; the DMSO clock runs",
            starts_clocks=(DMSO_CLOCK,),
        )

    def sentence(self) -> str:
        return (
            f"Formulate: add {{volume}} of the {self.cryo} to the {self.vessel} at {self.flow}; "
            "the DMSO clock starts."
        )

    async def run(self, outside: Outside) -> Report:
        proven = await prove_joined(outside, station=self.station, kit=self.kit)
        started = outside.last_answered
        added = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.cryo),
            source_at=self.cryo_at,
            target=outside.container(self.vessel),
            target_at="vessel",
            volume=Volume.read(outside.amount(self.volume)),
            flow=self.flow,
            proven=proven,
        )
        return {"volume": added.done, "first_contact": str(started), **added.detail}
