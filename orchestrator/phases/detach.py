"""Take adherent cells off their surface by enzyme, and quench it in time."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Duration, Flow, Range, Volume
from orchestrator.phases.carrying import CARRYING_TAKES, carry
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.liquid import move_liquid, pumping_time
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import (
    VALVES_TAKE,
    exactly,
    pumped,
    report_of,
    station_needs,
    time_of,
    together,
)

CLOCK: Final = "enzyme"
_NOTHING: Final = Volume.of_base(0)


class Detach(PhaseModel):
    """Draw medium off, add enzyme, keep the kit warm for the contact time, and quench at once.

    The enzyme clock starts when enzyme begins to flow. The kit leaves the incubator when
    the shortest contact has passed since all enzyme was in; ``contact`` must leave time for
    the way back and the quench. An overrun is reported.

    Effect: acts on cells, irreversibly. Interrupted: a robot holding the kit is HELD unless
    it tells; the pump goes on with the rest. The enzyme works on meanwhile.
    """

    kind: Literal["detach/1"] = "detach/1"
    kit: str
    station: str
    vessel: str
    arm: str
    incubator: str
    remove: Volume = Field(
        default=_NOTHING, description="Medium drawn off first: it would inhibit the enzyme"
    )
    enzyme: str
    enzyme_at: str
    enzyme_volume: Volume
    contact: Range[Duration]
    quench: str
    quench_at: str
    quench_volume: Volume
    waste: str
    waste_at: str
    flow: Flow

    @model_validator(mode="after")
    def _can_be_quenched_in_time(self) -> Self:
        longest = (
            pumping_time(self.enzyme_volume, self.flow)
            + self.contact.lowest
            + CARRYING_TAKES.highest
            + pumping_time(self.quench_volume, self.flow)
            + 2 * VALVES_TAKE
        )
        if longest > self.contact.highest:
            raise ValueError(
                f"the enzyme may act for {longest}, since it has to be pumped in, the kit to be "
                f"brought back and the quench to be pumped in; at most {self.contact.highest} "
                "are allowed"
            )
        return self

    def claims(self) -> Claims:
        removed, enzyme = exactly(self.remove), exactly(self.enzyme_volume)
        quench = exactly(self.quench_volume)
        drawing = self.remove > _NOTHING
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                *(
                    pumped(self.vessel, "vessel", self.waste, self.waste_at, removed)
                    if drawing
                    else ()
                ),
                *pumped(self.enzyme, self.enzyme_at, self.vessel, "vessel", enzyme),
                Touch(container=self.kit, how=Contact.MOVES),
                *pumped(self.quench, self.quench_at, self.vessel, "vessel", quench),
            ),
            needs=(
                *station_needs(self.station),
                (self.arm, "container_transport"),
                (self.incubator, "climate"),
                (self.incubator, "scanning"),
            ),
            duration=together(
                time_of(self.flow, *((removed,) if drawing else ()), enzyme, quench),
                Range(self.contact.lowest, self.contact.lowest + CARRYING_TAKES.highest),
                CARRYING_TAKES,
            ),
            consumes_patient_material=True,
            identity="either",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="enzyme quenched, pump halted, all valves shut",
            starts_clocks=(CLOCK,),
            ends_clocks=(CLOCK,),
        )

    def sentence(self) -> str:
        drawn = f"draw {self.remove} off to the {self.waste}, " if self.remove > _NOTHING else ""
        return (
            f"Detach the cells of the {self.vessel}: {drawn}add {self.enzyme_volume} of the "
            f"{self.enzyme}, keep it in the {self.incubator}, and add {self.quench_volume} of "
            f"the {self.quench} within {self.contact} of contact, at {self.flow}."
        )

    async def run(self, outside: Outside) -> Report:
        vessel = outside.container(self.vessel)
        drawing = self.remove > _NOTHING
        report: Report = {}
        proven = await prove_joined(
            outside,
            station=self.station,
            kit=self.kit,
            joined=((self.waste, self.waste_at),) if drawing else (),
        )
        if drawing:
            removed = await move_liquid(
                outside,
                station=self.station,
                source=vessel,
                source_at="vessel",
                target=outside.container(self.waste),
                target_at=self.waste_at,
                volume=self.remove,
                flow=self.flow,
                proven=proven,
            )
            report |= report_of("removed", removed)
        started = outside.last_answered
        added = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.enzyme),
            source_at=self.enzyme_at,
            target=vessel,
            target_at="vessel",
            volume=self.enzyme_volume,
            flow=self.flow,
            proven=proven,
        )
        all_in = outside.last_answered
        await carry(
            outside,
            arm=self.arm,
            container=self.kit,
            from_=self.station,
            to=self.incubator,
            scanner_of=self.station,
        )
        await outside.until(all_in + self.contact.lowest)
        await carry(
            outside,
            arm=self.arm,
            container=self.kit,
            from_=self.incubator,
            to=self.station,
            scanner_of=self.incubator,
        )
        proven = await prove_joined(outside, station=self.station, kit=self.kit)
        quenched = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.quench),
            source_at=self.quench_at,
            target=vessel,
            target_at="vessel",
            volume=self.quench_volume,
            flow=self.flow,
            proven=proven,
        )
        contact = outside.last_answered - started
        report |= report_of("enzyme", added) | report_of("quench", quenched)
        report["contact"] = str(contact)
        if contact > self.contact.highest:
            report["deviation"] = f"enzyme acted for {contact}; {self.contact.highest} are allowed"
        return report
