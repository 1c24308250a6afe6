"""Set containers at a unit's place by hand, and scan them there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from devices.interfaces.hands import Handwork
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import between, minute
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.setting_down import set_down


class Load(PhaseModel):
    """Scan ``containers`` at ``at``, have them set there, and scan what stands there.

    Effect: hands move them. Interrupted: the hand work is HELD for its report.
    """

    kind: Literal["load/1"] = "load/1"
    containers: tuple[str, ...] = Field(min_length=1)
    at: str

    def claims(self) -> Claims:
        return Claims(
            touches=tuple(
                Touch(container=name, how=Contact.MOVES, to_unit=self.at)
                for name in self.containers
            ),
            needs=((self.at, "hands"), (self.at, "scanning")),
            duration=between(1 * minute, 40 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the containers are closed and labelled",
        )

    def sentence(self) -> str:
        return f"Load {', '.join(self.containers)} into the {self.at}; scan each before and there."

    async def run(self, outside: Outside) -> Report:
        place = outside.place(self.at)
        containers = tuple(outside.container(name) for name in self.containers)
        loaded, _ = await set_down(
            outside,
            self.at,
            Handwork.LOAD,
            f"Set {', '.join(containers)} at {place}",
            containers,
            place,
        )
        return loaded
