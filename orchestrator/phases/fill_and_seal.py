"""Fill final bags one by one; each is labelled, and proven so, before it is sealed off."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.hands import Handwork
from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import Flow, Volume, between, minute
from orchestrator.phases.handwork import RACK, by_hand
from orchestrator.phases.joints import at_port, prove_joined
from orchestrator.phases.labelling import apply_label
from orchestrator.phases.liquid import move_liquid
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import (
    pumped,
    report_of,
    station_needs,
    time_of,
    together,
    volume_range,
)

_HANDS_TAKE = between(4 * minute, 60 * minute)
"""Scanning, labelling and sealing one bag."""


class FillAndSeal(PhaseModel):
    """Fill each of ``bags`` at its port with ``volume``; label, scan and seal each.

    The final label goes on while the bag still hangs at its proven port, beside the label
    that it has, so that no bag without its label ever lies loose. A second person reads both
    off it, then both are scanned there; a second person also sees the sealing.

    Effect: moves cells and parts the bags, irreversibly. Interrupted: the pump goes on with
    the rest; hand work is HELD for its report.
    """

    kind: Literal["fill_and_seal/1"] = "fill_and_seal/1"
    kit: str
    station: str
    source: str
    source_at: str = "vessel"
    bags: tuple[str, ...] = Field(min_length=1)
    ports: tuple[str, ...]
    volume: Amount
    flow: Flow

    @model_validator(mode="after")
    def _each_bag_has_its_port(self) -> Self:
        if len(self.bags) != len(self.ports):
            raise ValueError(f"{len(self.bags)} bags at {len(self.ports)} ports")
        for what, names in (("bag", self.bags), ("port", self.ports)):
            if len(set(names)) < len(names):
                raise ValueError(f"a {what} stands there twice")
        return self

    def claims(self) -> Claims:
        volume = volume_range(self.volume)
        each = together(time_of(self.flow, volume), _HANDS_TAKE)
        touches: list[Touch] = [Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station)]
        for bag, port in zip(self.bags, self.ports, strict=True):
            touches += pumped(self.source, self.source_at, bag, port, volume)
            touches.append(Touch(container=bag, how=Contact.PARTS, at_port=port))
        return Claims(
            touches=tuple(touches),
            needs=(*station_needs(self.station), (self.station, "hands")),
            duration=together(*(each,) * len(self.bags)),
            consumes_patient_material=True,
            attended=True,
            identity="fresh",
            second_person=True,
            on_interruption=OnInterruption.HOLD,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut; filled bags carry their labels",
        )

    def sentence(self) -> str:
        return (
            f"Fill {', '.join(self.bags)} with {{volume}} each from the {self.source} at "
            f"{self.flow}; stick the final label beside the one that is on it; a second person "
            "reads both labels off it; scan both, one after the other, and seal it off; a second "
            "person verifies."
        )

    async def run(self, outside: Outside) -> Report:
        report: Report = {"bags": str(len(self.bags))}
        for number, (bag, port) in enumerate(zip(self.bags, self.ports, strict=True), start=1):
            proven = await prove_joined(
                outside,
                station=self.station,
                kit=self.kit,
                joined=((bag, port),),
                carried_suffices=False,
            )
            filled = await move_liquid(
                outside,
                station=self.station,
                source=outside.container(self.source),
                source_at=self.source_at,
                target=outside.container(bag),
                target_at=port,
                volume=Volume.read(outside.amount(self.volume)),
                flow=self.flow,
                proven=proven,
            )
            report |= report_of(f"bag_{number}", filled)
            label = await self._label_and_seal(outside, bag, port, proven)
            report[f"bag_{number}_label"] = label
        return report

    async def _label_and_seal(
        self, outside: Outside, bag: str, port: str, proven: tuple[ProvenContainer, ...]
    ) -> str:
        container = outside.container(bag)
        label, labelled = await apply_label(
            outside,
            self.station,
            container,
            at_port(outside.place(self.station), port),
            proven=proven,
        )
        kit_proof = proven[0]
        rack = outside.place(self.station, RACK)
        await by_hand(
            outside,
            self.station,
            Handwork.SEAL_OFF,
            f"Seal {container} off from port {port}, check the seal, and put it at {rack}",
            proven=(kit_proof, labelled),
            containers=(container,),
            kit=outside.kit(self.kit),
            port=port,
            at=(rack,),
            second_person=True,
        )
        return label
