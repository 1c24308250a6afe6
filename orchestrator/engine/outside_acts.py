"""Tell from what a device shows that somebody acted on it, and say so once for each act.

What strayed together is one act. What goes on by itself is none of its own: while a state that
strayed still stands (a pump was started, a stage was stopped), values that a state carries along
(a count, a temperature) are expected to stray further, and nobody learns more by hearing of it.
"""

from __future__ import annotations

from devices.interfaces.driver import Standing
from orchestrator.engine.interlocks.outside_act import differences
from orchestrator.engine.state import EquipmentState
from orchestrator.journal.events import OutsideActSeen, Strayed
from orchestrator.kernel.acts import Facts
from orchestrator.kernel.identifiers import EquipmentId


def outside_act_seen(
    equipment: EquipmentId,
    known: EquipmentState | None,
    standing: Standing,
    only_acts_change: Facts,
) -> OutsideActSeen | None:
    """Return what is to be recorded of a device that shows ``standing``; None is nothing new."""
    if known is None:
        return None
    strayed = [
        Strayed(value=name, was=was, seen=seen)
        for name, was, seen in differences(known.values, standing.values, only_acts_change)
    ]
    is_a_new_state = any(only_acts_change[one.value] == "equal" for one in strayed)
    if not strayed or (not is_a_new_state and _stands_strayed(known, only_acts_change)):
        return None
    first, *others = strayed
    return OutsideActSeen(
        equipment=equipment,
        value=first.value,
        was=first.was,
        seen=first.seen,
        also=tuple(others),
    )


def _stands_strayed(known: EquipmentState, only_acts_change: Facts) -> bool:
    """Return whether a state from outside, not only a value, is still what the device shows."""
    return any(
        only_acts_change.get(name) == "equal" and known.values.get(name) != was
        for name, was in known.outside.items()
    )
