"""Set what a batch needs of its incubator: temperature and carbon dioxide."""

from __future__ import annotations

from typing import Literal

from devices.interfaces.climate import SetClimate as SetClimateAct
from orchestrator.kernel.acts import Claims, OnInterruption, Quieten
from orchestrator.kernel.quantities import Fraction, Temperature, between, minute, second
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class SetClimate(PhaseModel):
    """Set the chamber. Climate is the incubator's; a batch states its need.

    Effect: changes set points; twice equals once (REPEAT). Interrupted: left running.
    """

    kind: Literal["set_climate/1"] = "set_climate/1"
    incubator: str
    temperature: Temperature
    carbon_dioxide: Fraction

    def claims(self) -> Claims:
        return Claims(
            needs=((self.incubator, "climate"),),
            duration=between(1 * second, 2 * minute),
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the chamber keeps the climate it has",
        )

    def sentence(self) -> str:
        return f"Set the {self.incubator} to {self.temperature} and {self.carbon_dioxide} CO2."

    async def run(self, outside: Outside) -> Report:
        await outside.do(
            SetClimateAct(
                unit=self.incubator,
                temperature=self.temperature,
                carbon_dioxide=self.carbon_dioxide,
                longest=1 * minute,
                on_interruption=OnInterruption.REPEAT,
                quieten=Quieten.LEAVE_RUNNING,
            ),
            proven=(),
        )
        return {
            "temperature": str(self.temperature),
            "carbon_dioxide": str(self.carbon_dioxide),
        }
