"""Bring vector into the culture vessel, after two people have confirmed which and how much."""

from __future__ import annotations

from typing import Final, Literal

from orchestrator.kernel.acts import Claims, Contact, OnInterruption, Quieten, Touch
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import Flow, Volume, between, minute
from orchestrator.kernel.tasks import Choice, Question, TaskKind
from orchestrator.phases.joints import prove_joined
from orchestrator.phases.liquid import move_liquid
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.phases.pumping import pumped, station_needs, time_of, together, volume_range

GIVE: Final = "give"
CONFIRM_WITHIN: Final = 30 * minute
"""Set by site: by when two people should have confirmed; vector ages while it waits."""


class Transduce(PhaseModel):
    """Scan kit and vector afresh, have the dose confirmed by two people, and pump it in.

    What stands in the line when the pump stops reaches the vessel with the next liquid, so
    a feed of a few millilitres follows.

    Effect: adds vector, irreversibly. Interrupted: the rest is moved (CONTINUE), since tacho
    count and vessel balance both tell how much has passed; where they disagree it is held.
    """

    kind: Literal["transduce/1"] = "transduce/1"
    kit: str
    station: str
    vessel: str
    vector: str
    vector_at: str
    volume: Amount
    flow: Flow

    def claims(self) -> Claims:
        volume = volume_range(self.volume)
        return Claims(
            touches=(
                Touch(container=self.kit, how=Contact.HOLDS, at_unit=self.station),
                *pumped(self.vector, self.vector_at, self.vessel, "vessel", volume),
            ),
            needs=station_needs(self.station),
            duration=together(between(1 * minute, CONFIRM_WITHIN), time_of(self.flow, volume)),
            consumes_patient_material=True,
            attended=True,
            identity="fresh",
            second_person=True,
            on_interruption=OnInterruption.CONTINUE,
            quieten=Quieten.HALT,
            longest_safe_hold=self.longest_hold,
            product_safe_state="pump halted, all valves shut",
        )

    def sentence(self) -> str:
        return (
            f"Transduce: two people confirm vector and dose, then {{volume}} of the "
            f"{self.vector} go into the {self.vessel} at {self.flow}."
        )

    async def run(self, outside: Outside) -> Report:
        vector = outside.container(self.vector)
        volume = outside.amount(self.volume)
        proven = await prove_joined(
            outside,
            station=self.station,
            kit=self.kit,
            joined=((self.vector, self.vector_at),),
            carried_suffices=False,
        )
        answer = await outside.ask(
            Question(
                kind=TaskKind.DECIDE,
                text=f"Compare the product code of {vector} at {self.vector_at} and the dose of "
                f"{volume} with the order. Give it?",
                choices=(
                    Choice(name=GIVE, leads_to=f"{volume} are pumped into the vessel"),
                    Choice(name="stop", leads_to="nothing is given; the batch is held here"),
                ),
                evidence={"vector": str(vector), "volume": volume},
                second_person=True,
                respond_within=CONFIRM_WITHIN,
            )
        )
        if answer.choice != GIVE:
            raise RefusedError(
                f"give {volume} of {vector}",
                why="the two people who compared it with the order didn't confirm it",
                do_next="Have quality assurance compare vector, dose and order",
            )
        given = await move_liquid(
            outside,
            station=self.station,
            source=vector,
            source_at=self.vector_at,
            target=outside.container(self.vessel),
            target_at="vessel",
            volume=Volume.read(volume),
            flow=self.flow,
            proven=proven,
        )
        return {
            "volume": given.done,
            "confirmed_by": str(answer.by),
            "verified_by": str(answer.verified_by or ""),
            **given.detail,
        }
