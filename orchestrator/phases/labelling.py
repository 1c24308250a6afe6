"""Have a container labelled by hand with a pre-printed label, and prove that it is on."""

from __future__ import annotations

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.hands import AT, Handwork
from devices.interfaces.scanning import IdentifyByBoth
from orchestrator.kernel.errors import ResultOutOfRangeError
from orchestrator.kernel.identifiers import ContainerId, LabelText, PlaceId
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
    """Return the label that was stuck on ``container``, and the proof of scans of it.

    The label is the next one of a roll: nobody knows it before it is reported, so it says
    nothing of the container until it has been shown together with the one that does. It is
    stuck beside that one. A second person reads both off the container; then both are
    scanned there, one after the other. ``proven`` shows the container at ``at``, by the
    label before, which is the container's until then.
    """
    applied = await by_hand(
        outside,
        unit,
        Handwork.APPLY_LABEL,
        f"Stick the next label of the roll beside the one on {container}, at {at}, so that both "
        "can be read; report the new one's text",
        proven=proven,
        containers=(container,),
        parameters={AT: at},
        report=("label",),
        second_person=True,
    )
    label = applied.detail.get("label", "")
    if not label:
        raise ResultOutOfRangeError(
            f"label {container}",
            why="the record doesn't say which label was stuck on",
            do_next="Put it aside and call quality assurance; nothing is done with it unlabelled",
        )
    both = IdentifyByBoth(unit=unit, container=container, place=at, label=LabelText(label))
    return label, await outside.see(both)
