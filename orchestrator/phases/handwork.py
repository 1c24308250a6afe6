"""Have people do something to material by hand, and read what they report of it."""

from __future__ import annotations

from typing import TypeVar

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.hands import HandAct, Handwork
from orchestrator.kernel.acts import Effect, OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId, KitId, PlaceId
from orchestrator.kernel.quantities import Duration, Quantity, Range
from orchestrator.kernel.tasks import Entry, Question, TaskKind
from orchestrator.phases.connect import HAND_WORK_WITHIN
from orchestrator.phases.outside import Outside

Q = TypeVar("Q", bound=Quantity)

RACK = "rack"
"""The station's place for tubes and for bags that are joined or were sealed off."""

SAMPLING = "sampling"
"""The station's place where a tube is put to a sample port, and the bag that it is on hangs."""

BOX = "box"
"""The bench's place for the two bags that hang on a stand-alone selection box."""


async def by_hand(
    outside: Outside,
    unit: str,
    work: Handwork,
    instruction: str,
    *,
    proven: tuple[ProvenContainer, ...],
    containers: tuple[ContainerId, ...] = (),
    kit: KitId | None = None,
    port: str = "",
    at: tuple[PlaceId, ...] = (),
    parameters: dict[str, str] | None = None,
    report: tuple[str, ...] = (),
    second_person: bool = False,
    longest: Duration = HAND_WORK_WITHIN,
    on_interruption: OnInterruption = OnInterruption.HOLD,
) -> Effect:
    """Offer one piece of hand work and return what was reported of it."""
    return await outside.do(
        HandAct(
            unit=unit,
            work=work,
            instruction=instruction,
            containers=containers,
            kit=kit,
            port=port,
            at=at,
            parameters=parameters or {},
            report=report,
            second_person=second_person,
            longest=longest,
            on_interruption=on_interruption,
            quieten=Quieten.LEAVE_RUNNING,
        ),
        proven=proven,
    )


async def reported(
    outside: Outside, effect: Effect, name: str, limits: Range[Q], *, second_person: bool
) -> Q:
    """Return a reported value as a quantity within ``limits``.

    What can't be read as one, or can't be true, is asked for until it can: the work is done
    and isn't done again for a slip of the pen.
    """
    text = effect.detail.get(name, "")
    value = _read(text, limits)
    while value is None:
        answer = await outside.ask(
            Question(
                kind=TaskKind.ENTER,
                text=f"The report of {name.replace('_', ' ')} reads {text!r}. Enter it again, "
                f"from {limits.lowest} to {limits.highest}.",
                entries=(Entry(name=name, lowest=str(limits.lowest), highest=str(limits.highest)),),
                second_person=second_person,
                respond_within=HAND_WORK_WITHIN,
            )
        )
        text = answer.values.get(name, "")
        value = _read(text, limits)
    return value


def _read(text: str, limits: Range[Q]) -> Q | None:
    try:
        value = type(limits.lowest).read(text)
    except ValueError:
        return None
    return value if value in limits else None
