"""Add medium to a culture, or let its cells settle and exchange a part of its medium."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Duration, Flow, Range, Volume
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

_NOTHING = Volume.of_base(0)
_AT_ONCE = Duration.of_base(0)


class Feed(PhaseModel):
    """Add ``volume`` of medium; before it, in mode ``exchange``, settle and draw ``remove`` off.

    Effect: moves liquid, irreversibly. Interrupted: the rest is moved (CONTINUE).
    """

    kind: Literal["feed/1"] = "feed/1"
    kit: str
    station: str
    vessel: str
    medium: str
    medium_at: str
    volume: Volume
    flow: Flow
    mode: Literal["add", "exchange"]
    waste: str = ""
    waste_at: str = ""
    settle: Duration = Field(default=_AT_ONCE, description="Cells sink before medium is drawn")
    remove: Volume = Field(default=_NOTHING, description="Old medium to draw off")

    @model_validator(mode="after")
    def _says_what_is_exchanged(self) -> Self:
        given = bool(self.waste), bool(self.waste_at), self.remove > _NOTHING
        if self.mode == "exchange" and not (all(given) and self.settle > _AT_ONCE):
            raise ValueError("an exchange needs waste, waste_at, remove and settle")
        if self.mode == "add" and (any(given) or self.settle > _AT_ONCE):
            raise ValueError("adding medium draws nothing off: leave waste, remove, settle out")
        return self

    def claims(self) -> Claims:
        removed = exactly(self.remove)
        added = exactly(self.volume)
        drawing = self.mode == "exchange"
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                *(
                    pumped(self.vessel, "vessel", self.waste, self.waste_at, removed)
                    if drawing
                    else ()
                ),
                *pumped(self.medium, self.medium_at, self.vessel, "vessel", added),
            ),
            needs=station_needs(self.station),
            duration=together(
                Range(self.settle, self.settle),
                time_of(self.flow, *((removed, added) if drawing else (added,))),
            ),
            consumes_patient_material=drawing,
            identity="either",
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut",
        )

    def sentence(self) -> str:
        fresh = f"{self.volume} of the {self.medium}"
        if self.mode == "add":
            return f"Feed the {self.vessel} with {fresh} at {self.flow}."
        return (
            f"Let the cells of the {self.vessel} settle for {self.settle}, draw {self.remove} "
            f"off to the {self.waste}, and add {fresh} at {self.flow}."
        )

    async def run(self, outside: Outside) -> Report:
        vessel = outside.container(self.vessel)
        report: Report = {}
        joined: tuple[tuple[str, str], ...] = ()
        if self.mode == "exchange":
            joined = ((self.waste, self.waste_at),)
            await outside.until(outside.last_answered + self.settle)
        proven = await prove_joined(outside, station=self.station, kit=self.kit, joined=joined)
        if self.mode == "exchange":
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
        fed = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.medium),
            source_at=self.medium_at,
            target=vessel,
            target_at="vessel",
            volume=self.volume,
            flow=self.flow,
            proven=proven,
        )
        return {**report, "volume": fed.done, **fed.detail}
