"""Move a volume from one container of a docked kit to another, with weight as evidence."""

from __future__ import annotations

from typing import Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import Flow, Range, Volume, minute
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.liquid import PUMP_MARGIN, SIDE_B, move_liquid, pumping_time
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class Transfer(PhaseModel):
    """Pump ``volume`` from ``source`` to ``target``.

    Effect: moves liquid, irreversibly. Interrupted: the rest is moved (CONTINUE), since
    tacho count and balance tell how much has passed.
    """

    kind: Literal["transfer/1"] = "transfer/1"
    kit: str
    station: str
    source: str
    source_at: str
    target: str
    target_at: str
    volume: Amount
    flow: Flow
    patient_material: bool

    def claims(self) -> Claims:
        moved = Range(
            lowest=Volume.read(self.volume.bounds.lowest),
            highest=Volume.read(self.volume.bounds.highest),
        )
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(
                    container=self.source,
                    how=Contact.DRAWS,
                    volume=moved,
                    at_port=self.source_at,
                ),
                Touch(
                    container=self.target,
                    how=Contact.RECEIVES,
                    volume=moved,
                    at_port=self.target_at,
                ),
            ),
            needs=(
                (self.station, "fluid_transfer"),
                (self.station, "valves"),
                (self.station, "weighing"),
                (self.station, "scanning"),
            ),
            duration=Range(
                lowest=pumping_time(moved.lowest, self.flow),
                highest=pumping_time(moved.highest, self.flow) + PUMP_MARGIN + 1 * minute,
            ),
            consumes_patient_material=self.patient_material,
            identity="either",
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut",
        )

    def sentence(self) -> str:
        return f"Move {{volume}} from the {self.source} to the {self.target} at {self.flow}."

    async def run(self, outside: Outside) -> Report:
        ends = ((self.source, self.source_at), (self.target, self.target_at))
        proven = await prove_joined(
            outside,
            station=self.station,
            kit=self.kit,
            joined=tuple(
                (name, at) for name, at in ends if self.patient_material and at not in SIDE_B
            ),
        )
        effect = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.source),
            source_at=self.source_at,
            target=outside.container(self.target),
            target_at=self.target_at,
            volume=Volume.read(outside.amount(self.volume)),
            flow=self.flow,
            proven=proven,
        )
        return {"volume": effect.done, **effect.detail}
