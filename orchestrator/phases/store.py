"""Put frozen bags into the dewar by hand, and scan them back there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from devices.interfaces.hands import Handwork
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import between, minute
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.setting_down import set_down


class Store(PhaseModel):
    """Scan ``containers``, have them put at ``position`` of the batch's place, scan them back.

    Two patients' bags never share a place: it is this batch's own. The scan back is where
    mixed-up labels were found in practice.

    Effect: hands move them. Interrupted: the hand work is HELD for its report.
    """

    kind: Literal["store/1"] = "store/1"
    containers: tuple[str, ...] = Field(min_length=1)
    dewar: str
    position: str

    def claims(self) -> Claims:
        return Claims(
            touches=tuple(
                Touch(container=name, how=Contact.MOVES, to_unit=self.dewar)
                for name in self.containers
            ),
            needs=((self.dewar, "hands"), (self.dewar, "scanning")),
            duration=between(1 * minute, 40 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the bags stay in the cold freezer",
        )

    def sentence(self) -> str:
        return (
            f"Store {', '.join(self.containers)} in the {self.dewar} at {self.position}; scan "
            "each before and there."
        )

    async def run(self, outside: Outside) -> Report:
        place = outside.place(self.dewar)
        containers = tuple(outside.container(name) for name in self.containers)
        stored, _ = await set_down(
            outside,
            self.dewar,
            Handwork.STORE,
            f"Put {', '.join(containers)} into {place}, {self.position}, at once",
            containers,
            place,
            parameters={"position": self.position},
        )
        return {"position": self.position, **stored}
