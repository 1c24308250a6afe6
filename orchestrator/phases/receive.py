"""Take in what came by courier: scan it, put it at its place, label it, scan both labels."""

from __future__ import annotations

from typing import Literal

from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Range, Volume, between, minute, mL
from orchestrator.phases.deviating import accepted
from orchestrator.phases.handwork import by_hand, reported
from orchestrator.phases.labelling import apply_label
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report

_THINKABLE = between(0 * mL, 10_000 * mL)


class Receive(PhaseModel):
    """Scan ``container``, have it put at ``at``, scan it there; label it, scan both labels.

    It comes with the label of where it was collected, and goes on with a pre-printed one of
    this site, which is stuck beside that one; a second person reads both off it. A volume
    outside the ordered range is decided upon by two people.

    Effect: hands move and label it. Interrupted: the hand work is HELD for its report.
    """

    kind: Literal["receive/1"] = "receive/1"
    container: str
    at: str
    volume: Range[Volume]

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(
                    container=self.container, how=Contact.MOVES, volume=self.volume, to_unit=self.at
                ),
            ),
            needs=((self.at, "hands"), (self.at, "scanning")),
            duration=between(2 * minute, 60 * minute),
            attended=True,
            identity="fresh",
            second_person=True,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the container stays in its transport box, unopened",
        )

    def sentence(self) -> str:
        return (
            f"Receive the {self.container} at the {self.at}: scan it, state its volume "
            f"({self.volume}), and scan it there; stick a label of this site beside the one "
            "that it came with; a second person reads both labels off it; scan both, one after the "
            "other."
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
        there = await outside.see(Identify(unit=self.at, container=container, place=place))
        label, labelled = await apply_label(outside, self.at, container, place, proven=(there,))
        report = {"volume": str(volume), "identity": labelled.rests_on, "label": label}
        if volume not in self.volume:
            why = f"it holds {volume}; {self.volume} is expected"
            await accepted(
                outside, f"receipt of {container}", why, evidence={"volume": str(volume)}
            )
            report["deviation"] = why
        return report
