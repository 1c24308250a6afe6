"""Join a bag to a port of a docked kit by hand, and show that it is the right joint.

A joint made by hand can be wrong in two ways that no scan before it can see: another
bag was joined, or the right bag was joined to another port. So the bag is scanned at
the port after it was joined, and the first dose through the joint is at most 1 mL of
flush buffer whose weight must show on the balance that carries the bag (design
section 10). Cells may stand in the line of the pump, and the first dose would push them
through the joint; so the line is rinsed to the kit's waste before.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.hands import HandAct, Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.identifiers import KitId, PlaceId
from orchestrator.kernel.quantities import Flow, Range, Volume, minute, mL
from orchestrator.phases.joints import at_port, prove_joined
from orchestrator.phases.liquid import move_liquid
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import exactly, pumped

FIRST_DOSE_MOST: Final = 1 * mL
"""Design section 10."""

WELD_WORDS: Final = ("sound", "unsound")
LEAK_WORDS: Final = ("none", "found")
"""What may be reported of a joint. The phase goes on by the first word alone."""

_WORK: Final = {
    "sterile_weld": (Handwork.WELD, "Weld the tube of {bag} to port {port} of kit {kit}"),
    "aseptic_connector": (
        Handwork.CONNECT_ASEPTICALLY,
        "Join {bag} to port {port} of kit {kit} with the aseptic connector",
    ),
}

HAND_WORK_WITHIN: Final = 30 * minute
"""Set by site: how long hand work may take before it is overdue."""


class Connect(PhaseModel):
    """Join ``container`` to ``port``, scan it there, test for leaks, and prove the joint.

    Effect: joins tubes, irreversibly. Interrupted: the hand work is HELD for its report;
    rinse and first dose go on (CONTINUE). A joint that leaks is held, and tested again after a
    restart; of a weld that is reported unsound two people say what was done.
    """

    kind: Literal["connect/1"] = "connect/1"
    container: str
    kit: str
    port: str
    flush: str = Field(description="The kit's container of buffer, for the first dose")
    waste: str
    waste_at: str
    station: str
    by: Literal["sterile_weld", "aseptic_connector"]
    patient_material: bool
    rinse: Volume = Field(description="More than the line of the pump holds; goes to the waste")
    first_dose: Volume
    flow: Flow
    leak_test: bool = True

    def claims(self) -> Claims:
        rinse, dose = exactly(self.rinse), exactly(self.first_dose)
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                Touch(container=self.container, how=Contact.JOINS, at_port=self.port),
                *pumped(self.flush, "flush", self.waste, self.waste_at, rinse),
                *pumped(self.flush, "flush", self.container, self.port, dose),
            ),
            needs=(
                (self.station, "scanning"),
                (self.station, "fluid_transfer"),
                (self.station, "valves"),
                (self.station, "weighing"),
                (self.station, "hands"),
            ),
            duration=Range(lowest=3 * minute, highest=20 * minute),
            consumes_patient_material=self.patient_material,
            attended=True,
            identity="fresh",
            second_person=self.patient_material,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="the bag hangs at the station, its valve is shut",
        )

    def sentence(self) -> str:
        way = self.by.replace("_", " ")
        return (
            f"Connect the {self.container} to port {self.port} of the {self.kit} by {way}; "
            f"scan it there, test for leaks, rinse the line with {self.rinse} of the "
            f"{self.flush}, and let {self.first_dose} of it show on the bag's balance."
        )

    async def run(self, outside: Outside) -> Report:
        container = outside.container(self.container)
        kit = KitId(str(outside.container(self.kit)))
        hook = outside.place(self.station, "hook")
        (kit_proof,) = await prove_joined(
            outside, station=self.station, kit=self.kit, carried_suffices=False
        )
        bag_proof = await outside.see(Identify(unit=self.station, container=container, place=hook))
        work, instruction = _WORK[self.by]
        await outside.do(
            HandAct(
                unit=self.station,
                work=work,
                instruction=instruction.format(bag=container, port=self.port, kit=kit)
                + f", and hang it at {hook}",
                containers=(container,),
                kit=kit,
                port=self.port,
                at=(hook,),
                report=("weld",) if work is Handwork.WELD else (),
                words={"weld": WELD_WORDS} if work is Handwork.WELD else {},
                second_person=self.patient_material,
                longest=HAND_WORK_WITHIN,
                on_interruption=OnInterruption.HOLD,
                quieten=Quieten.LEAVE_RUNNING,
            ),
            proven=(kit_proof, bag_proof),
        )
        joined = await outside.see(
            Identify(
                unit=self.station,
                container=container,
                place=at_port(outside.place(self.station), self.port),
            )
        )
        if self.leak_test:
            await self._test_for_leaks(outside, joined.place)
        await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.flush),
            source_at="flush",
            target=outside.container(self.waste),
            target_at=self.waste_at,
            volume=self.rinse,
            flow=self.flow,
            proven=(kit_proof,),
        )
        dose = await move_liquid(
            outside,
            station=self.station,
            source=outside.container(self.flush),
            source_at="flush",
            target=container,
            target_at=self.port,
            volume=self.first_dose,
            flow=self.flow,
            proven=(kit_proof, joined),
            on_hook=self.port,
        )
        await self._clear_the_hook(outside, (kit_proof, joined))
        return {"identity": joined.rests_on, "first_dose": dose.done, **dose.detail}

    async def _clear_the_hook(self, outside: Outside, proven: tuple[ProvenContainer, ...]) -> None:
        """Have the bag hung on the rack, so that the hook is free for the next."""
        container = outside.container(self.container)
        rack = outside.place(self.station, "rack")
        await outside.do(
            HandAct(
                unit=self.station,
                work=Handwork.UNHANG,
                instruction=f"Take {container} off the hook and hang it on the {rack}",
                containers=(container,),
                at=(rack,),
                longest=HAND_WORK_WITHIN,
                on_interruption=OnInterruption.HOLD,
                quieten=Quieten.LEAVE_RUNNING,
            ),
            proven=proven,
        )

    async def _test_for_leaks(self, outside: Outside, port: PlaceId) -> None:
        """Have the joint tested until no leak is found; each leak holds, and nothing passes."""
        await outside.do(
            HandAct(
                unit=self.station,
                work=Handwork.TEST_LEAK,
                instruction=f"Test the joint at {port} for leaks; if one is found, clamp the joint "
                "and call quality: nothing has passed it",
                port=self.port,
                report=("leak",),
                words={"leak": LEAK_WORDS},
                longest=HAND_WORK_WITHIN,
                on_interruption=OnInterruption.REPEAT,
                quieten=Quieten.LEAVE_RUNNING,
            ),
            proven=(),
        )
