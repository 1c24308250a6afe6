"""Bring cells, activation reagent and medium into the culture vessel."""

from __future__ import annotations

from typing import Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import Flow, Volume
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
    volume_range,
)


class SeedAndActivate(PhaseModel):
    """Pump cells, then activation reagent, then medium into ``vessel``.

    Medium comes last: it drives what stands in the common line of the small volumes before
    it into the vessel. What stands in a port's own tube stays there.

    Effect: moves liquid, irreversibly. Interrupted: the rest is moved (CONTINUE).
    """

    kind: Literal["seed_and_activate/1"] = "seed_and_activate/1"
    kit: str
    station: str
    vessel: str
    cells: str
    cells_at: str
    cell_volume: Amount
    medium: str
    medium_at: str
    medium_volume: Volume
    reagent: str
    reagent_at: str
    reagent_volume: Amount
    flow: Flow

    def claims(self) -> Claims:
        cells = volume_range(self.cell_volume)
        reagent = volume_range(self.reagent_volume)
        medium = exactly(self.medium_volume)
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                *pumped(self.cells, self.cells_at, self.vessel, "vessel", cells),
                *pumped(self.reagent, self.reagent_at, self.vessel, "vessel", reagent),
                *pumped(self.medium, self.medium_at, self.vessel, "vessel", medium),
            ),
            needs=station_needs(self.station),
            duration=time_of(self.flow, cells, reagent, medium),
            consumes_patient_material=True,
            identity="either",
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut",
        )

    def sentence(self) -> str:
        return (
            f"Seed and activate: bring {{cell_volume}} of the {self.cells}, {{reagent_volume}} "
            f"of the {self.reagent} and {self.medium_volume} of the {self.medium} into the "
            f"{self.vessel} at {self.flow}."
        )

    async def run(self, outside: Outside) -> Report:
        proven = await prove_joined(
            outside, station=self.station, kit=self.kit, joined=((self.cells, self.cells_at),)
        )
        report: Report = {}
        for name, source, source_at, volume in (
            ("cells", self.cells, self.cells_at, outside.amount(self.cell_volume)),
            ("reagent", self.reagent, self.reagent_at, outside.amount(self.reagent_volume)),
            ("medium", self.medium, self.medium_at, str(self.medium_volume)),
        ):
            moved = await move_liquid(
                outside,
                station=self.station,
                source=outside.container(source),
                source_at=source_at,
                target=outside.container(self.vessel),
                target_at="vessel",
                volume=Volume.read(volume),
                flow=self.flow,
                proven=proven,
            )
            report |= report_of(name, moved)
        return report
