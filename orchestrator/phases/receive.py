"""Take in what came by courier: scan it, put it at its place, state its volume."""

from __future__ import annotations

from typing import Literal

from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Range, Volume, between, minute, mL
from orchestrator.phases.deviating import accepted
from orchestrator.phases.handwork import by_hand, reported
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

_THINKABLE = between(0 * mL, 10_000 * mL)


class Receive(PhaseModel):
    """Scan ``container``, have it put at ``at``, and ask for its volume.

    Effect: hands move it. A volume outside the ordered range is decided upon by two
    people. Interrupted: the hand work is HELD for its report.
    """

    kind: Literal["receive/1"] = "receive/1"
    container: str
    at: str
    volume: Range[Volume]

    def claims(self) -> Claims:
        return Claims(
            touches=(Touch(container=self.container, how=Contact.MOVES, volume=self.volume),),
            needs=((self.at, "hands"), (self.at, "scanning")),
            duration=between(2 * minute, 60 * minute),
            attended=True,
            identity="fresh",
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the container stays in its transport box, unopened",
        )

    def sentence(self) -> str:
        return (
            f"Receive the {self.container} at the {self.at}: scan it, and state its volume "
            f"({self.volume})."
        )

    async def run(self, outside: Outside) -> Report:
        container = outside.container(self.container)
        place = outside.place(self.at)
        proof = await outside.see(Identify(unit=self.at, container=container, place=place))
        received = await by_hand(
            outside,
            self.at,
            Handwork.RECEIVE,
            f"Put {container} at {place} and read its volume",
            proven=(proof,),
            containers=(container,),
            at=(place,),
            report=("volume",),
        )
        volume = await reported(outside, received, "volume", _THINKABLE, second_person=False)
        report = {"volume": str(volume), "identity": proof.rests_on}
        if volume not in self.volume:
            why = f"it holds {volume}; {self.volume} is expected"
            await accepted(
                outside, f"receipt of {container}", why, evidence={"volume": str(volume)}
            )
            report["deviation"] = why
        return report
