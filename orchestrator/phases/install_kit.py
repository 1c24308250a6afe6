"""Dock a new kit at the transfer station by hand, and scan it there."""

from __future__ import annotations

from typing import Literal

from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import between, minute
from orchestrator.phases.handwork import RACK, by_hand
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report


class InstallKit(PhaseModel):
    """Scan ``kit`` beside the station, have it docked, and scan what is docked.

    Effect: hands set the tray on the pump and the valves. Interrupted: the hand work is
    HELD for its report.
    """

    kind: Literal["install_kit/1"] = "install_kit/1"
    kit: str
    station: str

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS),
                Touch(container=self.kit, how=Contact.MOVES),
            ),
            needs=((self.station, "hands"), (self.station, "scanning")),
            duration=between(3 * minute, 60 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the kit is unused, its clamps are shut",
        )

    def sentence(self) -> str:
        return f"Unpack the {self.kit}, dock it at the {self.station}, and scan it there."

    async def run(self, outside: Outside) -> Report:
        tray = outside.container(self.kit)
        docked_at = outside.place(self.station)
        # The fixed scanner sees docked trays only, so a new one is scanned by hand beside it.
        proof = await outside.see(
            Identify(unit=self.station, container=tray, place=outside.place(self.station, RACK))
        )
        await by_hand(
            outside,
            self.station,
            Handwork.INSTALL_KIT,
            f"Unpack kit {tray}, look for damage, and dock it at {docked_at}",
            proven=(proof,),
            containers=(tray,),
            kit=outside.kit(self.kit),
            at=(docked_at,),
        )
        docked = await outside.see(Identify(unit=self.station, container=tray, place=docked_at))
        return {"identity": docked.rests_on}
