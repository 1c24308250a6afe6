"""What follows on a label that the gate refused: the record, the quarantine and the alarm.

Whoever read it, a scanner or a second person's eyes, it is the same: nothing goes on by it,
and another patient's container that turned up where it doesn't belong is left alone until
quality decides. Follows design section 10.
"""

from __future__ import annotations

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.journal.events import CommandAnswered, ContainerQuarantined, IdentityRefused
from orchestrator.kernel.errors import IdentityRefusedError
from orchestrator.kernel.identifiers import ContainerId


def refusal_alarm(batch: str, path: str) -> str:
    """Return the name of the alarm that the gate refused a label in a phase."""
    return f"identity {batch}/{path}"


def rejection_alarm(task: str) -> str:
    """Return the name of the alarm that hand work isn't as it was reported."""
    return f"rejected {task}"


async def record_refusal(
    core: Core,
    alarms: Alarms,
    event: IdentityRefused,
    refused: IdentityRefusedError,
    *,
    label: str,
    answer: CommandAnswered | None = None,
) -> None:
    """Record at once a refused label, the quarantine of another patient's, and the alarm."""
    found = core.state.labels.get(label)
    foreign = core.state.containers.get(found or "")
    own = core.state.batches[event.batch].coi
    aside: tuple[ContainerQuarantined, ...] = ()
    if found is not None and foreign is not None and foreign.coi not in ("", own):
        why = f"it was brought to {event.place} where another patient's was expected"
        aside = (ContainerQuarantined(container=ContainerId(found), why=why),)
    raised = alarms.raised(
        refusal_alarm(event.batch, event.path),
        tier="block",
        cause=f"{refused.what}: {refused.why}",
        consequence="Nothing has moved; the step waits for the right container",
        action=refused.do_next,
        batch=event.batch,
    )
    await core.record(event.batch, event, *aside, *raised, answer=answer)
