"""Have a container labelled by hand with a pre-printed label, and prove that it is on."""

from __future__ import annotations

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.hands import Handwork
from devices.interfaces.scanning import Identify
from orchestrator.kernel.errors import ResultOutOfRangeError
from orchestrator.kernel.identifiers import ContainerId, PlaceId
from orchestrator.phases.handwork import by_hand
from orchestrator.phases.outside import Outside


async def apply_label(
    outside: Outside,
    unit: str,
    container: ContainerId,
    at: PlaceId,
    *,
    proven: tuple[ProvenContainer, ...],
) -> tuple[str, ProvenContainer]:
    """Return the label that was stuck on ``container``, and the proof of a scan of it.

    The label is the next one of a roll: nobody knows it before it is reported. A second
    person sees it put on. ``proven`` shows the container at ``at``, by the label before.
    """
    applied = await by_hand(
        outside,
        unit,
        Handwork.APPLY_LABEL,
        f"Stick the next label of the roll over the one on {container}, at {at}; report its text",
        proven=proven,
        containers=(container,),
        report=("label",),
        second_person=True,
    )
    labelled = await outside.see(Identify(unit=unit, container=container, place=at))
    label = applied.detail.get("label", "")
    if not label:
        raise ResultOutOfRangeError(
            f"label {container}",
            why="the record doesn't say which label was stuck on",
            do_next="Put it aside and call quality assurance; nothing is done with it unlabelled",
        )
    return label, labelled
