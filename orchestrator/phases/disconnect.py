"""Have a joined bag sealed off from its port and put aside, and scan what was put aside."""

from __future__ import annotations

from typing import Literal

from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import between, minute
from orchestrator.phases.handwork import RACK, by_hand
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class Disconnect(PhaseModel):
    """Scan kit and bag afresh, have the tube between them sealed and cut, and scan the bag.

    The last scan, where the bag was put, finds that another one was sealed off. Effect: parts
    them, irreversibly. Interrupted: the hand work is HELD for its report.
    """

    kind: Literal["disconnect/1"] = "disconnect/1"
    container: str
    kit: str
    port: str
    station: str

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(container=self.container, how=Contact.PARTS, at_port=self.port),
            ),
            needs=((self.station, "hands"), (self.station, "scanning")),
            duration=between(2 * minute, 40 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="all valves are shut, both ends of the tube are closed",
        )

    def sentence(self) -> str:
        return (
            f"Seal the {self.container} off from port {self.port} of the {self.kit}, and scan it "
            "on the rack."
        )

    async def run(self, outside: Outside) -> Report:
        container = outside.container(self.container)
        rack = outside.place(self.station, RACK)
        proven = await prove_joined(
            outside,
            station=self.station,
            kit=self.kit,
            joined=((self.container, self.port),),
            carried_suffices=False,
        )
        parted = await by_hand(
            outside,
            self.station,
            Handwork.SEAL_OFF,
            f"Seal {container} off from port {self.port}, check the seal, and put it at {rack}",
            proven=proven,
            containers=(container,),
            kit=outside.kit(self.kit),
            port=self.port,
            at=(rack,),
        )
        aside = await outside.see(Identify(unit=self.station, container=container, place=rack))
        return {
            "port": self.port,
            "place": str(rack),
            "identity": aside.rests_on,
            **parted.detail,
        }
