"""Freeze final bags along a curve of segments: the DMSO clock ends as it begins."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from devices.interfaces.controlled_freezing import RampSegment, StageTemperature
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import (
    Duration,
    RampRate,
    Range,
    Temperature,
    kelvin,
    minute,
)
from orchestrator.phases.deviating import accepted
from orchestrator.phases.formulate import DMSO_CLOCK
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

START_WITHIN: Final = 3 * kelvin
"""How far the stage may stand from the start of the curve. Set by site."""

RAMP_MARGIN: Final = 10 * minute
"""Set by site: what a segment may take beyond its way over its rate before it is overdue."""


class Freeze(PhaseModel):
    """Take the loaded ``containers`` along ``segments``, each a rate and the end of its ramp.

    Effect: freezes, irreversibly. Interrupted: the stage goes on by itself and is left
    running, waited for and read. Where it stopped, two people decide by the freezing rescue
    table (HOLD): a segment is never run again, and nothing warms what is in the freezer.
    """

    kind: Literal["freeze/1"] = "freeze/1"
    containers: tuple[str, ...] = Field(min_length=1)
    freezer: str
    start: Temperature
    segments: tuple[tuple[RampRate, Temperature], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _only_cools(self) -> Self:
        begins_at = self.start
        for _, to in self.segments:
            if to >= begins_at:
                raise ValueError(f"a freezing curve only cools: {to} doesn't lie below {begins_at}")
            begins_at = to
        return self

    def claims(self) -> Claims:
        times = self._times()
        lowest = sum(time.base for time in times)
        return Claims(
            touches=tuple(Touch(container=name, how=Contact.HOLDS) for name in self.containers),
            needs=((self.freezer, "controlled_freezing"), (self.freezer, "scanning")),
            duration=Range(
                Duration.of_base(lowest),
                Duration.of_base(lowest) + len(times) * RAMP_MARGIN,
            ),
            consumes_patient_material=True,
            identity="either",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the stage keeps the temperature it has reached",
            ends_clocks=(DMSO_CLOCK,),
        )

    def sentence(self) -> str:
        curve = ", then ".join(f"at {rate} to {to}" for rate, to in self.segments)
        return (
            f"Freeze {', '.join(self.containers)} in the {self.freezer} from {self.start} {curve}."
        )

    async def run(self, outside: Outside) -> Report:
        place = outside.place(self.freezer)
        containers = tuple(outside.container(name) for name in self.containers)
        proven = tuple(
            [
                await outside.see(
                    Identify(
                        unit=self.freezer,
                        container=container,
                        place=place,
                        carried_suffices=True,
                    )
                )
                for container in containers
            ]
        )
        report: Report = {}
        begins_at: Temperature | None = None
        stands_at = await outside.see(StageTemperature(unit=self.freezer))
        report["start"] = stands_at
        if abs(Temperature.read(stands_at) - self.start) > START_WITHIN:
            why = f"the stage stands at {stands_at}; the curve starts at {self.start}"
            await accepted(outside, f"freeze in {self.freezer}", why, evidence={"stage": stands_at})
            report["deviation"] = why
        for number, ((rate, to), time) in enumerate(
            zip(self.segments, self._times(), strict=True), start=1
        ):
            ramped = await outside.do(
                RampSegment(
                    unit=self.freezer,
                    containers=containers,
                    place=place,
                    rate=rate,
                    to=to,
                    begins_at=begins_at,
                    longest=time + RAMP_MARGIN,
                    on_interruption=OnInterruption.HOLD,
                    quieten=Quieten.LEAVE_RUNNING,
                ),
                proven=proven,
            )
            report |= {f"segment_{number}_{key}": text for key, text in ramped.detail.items()}
            if ramped.done != "1":
                why = f"cooling ended at {ramped.done} in segment {number} of {len(self.segments)}"
                report["deviation"] = "; ".join(filter(None, (report.get("deviation"), why)))
                break
            begins_at = to
        return report

    def _times(self) -> tuple[Duration, ...]:
        """Return how long each segment takes."""
        times: list[Duration] = []
        stands_at = self.start
        for rate, to in self.segments:
            times.append(abs(to - stands_at) / rate)
            stands_at = to
        return tuple(times)
