"""Dock a new kit at the transfer station by hand, and scan it there."""

from __future__ import annotations

from typing import Final, Literal

from devices.interfaces.fluid_transfer import COUNT_BASE_LEAST, PumpCount, TurnEmptyPump
from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import between, minute, mL, mL_per_min
from orchestrator.phases.handwork import RACK, by_hand
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

TURNED_EMPTY: Final = 1 * mL
TURNED_AT: Final = 40 * mL_per_min
TURNED_WITHIN: Final = 1 * minute
"""Set by site: a quarter of a turn of the reference kit's pump, some thousand pulses."""


class InstallKit(PhaseModel):
    """Scan ``kit`` beside the station, have it docked, and scan what is docked.

    Before it, a pump whose count is no base to tell a power cycle by is turned while it is
    empty. Effect: hands set the tray on the pump and the valves. Interrupted: the turn is
    made again; the hand work is HELD for its report.
    """

    kind: Literal["install_kit/1"] = "install_kit/1"
    kit: str
    station: str

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS),
                Touch(container=self.kit, how=Contact.MOVES, to_unit=self.station),
            ),
            needs=(
                (self.station, "fluid_transfer"),
                (self.station, "hands"),
                (self.station, "scanning"),
                (self.station, "valves"),
            ),
            duration=between(3 * minute, 60 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the kit is unused, its clamps are shut",
        )

    def sentence(self) -> str:
        return f"Unpack the {self.kit}, dock it at the {self.station}, and scan it there."

    async def run(self, outside: Outside) -> Report:
        if int(await outside.see(PumpCount(unit=self.station))) < COUNT_BASE_LEAST:
            await outside.do(
                TurnEmptyPump(
                    unit=self.station,
                    volume=TURNED_EMPTY,
                    flow=TURNED_AT,
                    longest=TURNED_WITHIN,
                    on_interruption=OnInterruption.REPEAT,
                    quieten=Quieten.HALT,
                ),
                proven=(),
            )
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
