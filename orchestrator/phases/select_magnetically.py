"""Have cells selected by their markers on a stand-alone closed box, by hand."""

from __future__ import annotations

from typing import Final, Literal

from devices.interfaces.hands import Handwork
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.quantities import Duration, Range, Volume, between, hour, mL
from orchestrator.phases.handwork import BOX, by_hand, reported
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.setting_down import set_down

_SHORTEST: Final = 1 * hour
_THINKABLE: Final = between(Volume.of_base(1), 10_000 * mL)


class SelectMagnetically(PhaseModel):
    """Have all of ``source`` run over the box; cells with ``marker`` come into ``target``.

    Both bags are scanned where they hang on the box before anything runs. The person
    reports the volume that came out, a second one verifies.

    Effect: consumes ``source``, irreversibly. Interrupted: HELD for its report.
    """

    kind: Literal["select_magnetically/1"] = "select_magnetically/1"
    source: str
    target: str
    marker: str
    longest: Duration
    at: str

    def claims(self) -> Claims:
        return Claims(
            touches=(
                Touch(container=self.source, how=Contact.MOVES),
                Touch(container=self.target, how=Contact.MOVES),
                Touch(container=self.source, how=Contact.DRAWS),
                Touch(container=self.target, how=Contact.RECEIVES),
            ),
            needs=((self.at, "hands"), (self.at, "scanning")),
            duration=Range(min(_SHORTEST, self.longest), self.longest),
            consumes_patient_material=True,
            attended=True,
            identity="fresh",
            second_person=True,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the cells are in a closed bag, cooled",
        )

    def sentence(self) -> str:
        return (
            f"Select {self.marker} cells of the {self.source} into the {self.target} on the "
            f"selection box at the {self.at}, within {self.longest}: hang both bags on it, scan "
            "them there, and state the volume; a second person verifies. Throw the empty bag away."
        )

    async def run(self, outside: Outside) -> Report:
        source, target = outside.container(self.source), outside.container(self.target)
        place = outside.place(self.at)
        box = outside.place(self.at, BOX)
        _, on_the_box = await set_down(
            outside,
            self.at,
            Handwork.LOAD,
            f"Hang {source} on the selection box at {box}, and {target} where the cells come out",
            (source, target),
            box,
        )
        selected = await by_hand(
            outside,
            self.at,
            Handwork.SELECT_MAGNETICALLY,
            f"Run all of {source} over the selection box for {self.marker}; collect the cells "
            f"in {target}",
            proven=on_the_box,
            containers=(source, target),
            parameters={"marker": self.marker},
            report=("volume",),
            second_person=True,
            longest=self.longest,
        )
        volume = await reported(outside, selected, "volume", _THINKABLE, second_person=True)
        source_proof, target_proof = on_the_box
        await by_hand(
            outside,
            self.at,
            Handwork.DISCARD,
            f"Throw {source} away: it is empty, and the box is for the next patient",
            proven=(source_proof,),
            containers=(source,),
        )
        await by_hand(
            outside,
            self.at,
            Handwork.LOAD,
            f"Take {target} off the selection box and lay it at {place}",
            proven=(target_proof,),
            containers=(target,),
            at=(place,),
        )
        return {**selected.detail, "volume": str(volume)}
