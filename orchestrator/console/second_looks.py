"""What a second person's word on hand work rests on: the labels that they read themselves.

A yes costs nothing and can be given from a chair. So who verifies hand work states the label
of each thing that it was done on, as they read it off that thing, and the gate compares. The
screen doesn't tell them a label that was just stuck on.

It shows that somebody looked at those labels after the work, and which person answers for it;
a name that was copied from a screen it can't tell from one that was read. Follows design
sections 7 and 10.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from chain_of_identity.gate import IdentityGate
from chain_of_identity.pre_printed import refuse_misread
from devices.interfaces.hands import Handwork
from orchestrator.engine.materials import SHARED
from orchestrator.engine.state import HostState, TaskState
from orchestrator.kernel.errors import IdentityRefusedError, RefusedError
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.tasks import LABEL, NOT_DONE

_MAKES_IDENTITY: Final = frozenset(
    {
        Handwork.APPLY_LABEL,
        Handwork.WELD,
        Handwork.CONNECT_ASEPTICALLY,
        Handwork.SEAL_OFF,
        Handwork.SELECT_MAGNETICALLY,
    }
)
"""Hand work after which a thing is called something else, or is joined to something else."""


def things_to_read(task: TaskState) -> tuple[ContainerId, ...]:
    """Return the things off which a second person reads labels; a kit's parts have the kit's.

    Nothing where nothing was done, or where no second person is asked for hand work.
    """
    if task.work != "do" or not task.second_person or task.choice == NOT_DONE:
        return ()
    named = [str(one).partition("/")[0] for one in task.ask.get("containers", ())]
    named += [str(task.ask["kit"])] if task.ask.get("kit") else []
    return tuple(ContainerId(one) for one in dict.fromkeys(named))


def labels_to_read(task: TaskState) -> list[str]:
    """Return, in words, each label that a second person reads."""
    things = things_to_read(task)
    new = [f"the new label on {one}" for one in things if _stuck_on(task)]
    return [*(f"the label of {one}" for one in things), *new]


@dataclass(frozen=True, slots=True)
class Unlike:
    """A label that was read, and why the gate refused it; an empty one wasn't found there."""

    label: str
    refused: IdentityRefusedError


def refuse_no_look(task: TaskState, what: str, read: Collection[str]) -> None:
    """Refuse a second person's word without the labels that it rests on.

    Raises:
        RefusedError: Nothing was read, or nothing was asked for.
        IdentityRefusedError: A check character is wrong: it was misread.
    """
    things = things_to_read(task)
    if not things:
        if read:
            raise RefusedError(what, why="it asks for no label", do_next="Verify it without labels")
        return
    asked = ", ".join(labels_to_read(task))
    if not read:
        raise RefusedError(
            what,
            why="it isn't said which labels are there",
            do_next=f"Go and read {asked}, and give them with your verification; reject the task "
            "if it isn't so",
        )
    for label in read:
        refuse_misread(label)


def compare(gate: IdentityGate, task: TaskState, what: str, read: Collection[str]) -> Unlike | None:
    """Return what differs from a label of each thing and the one just stuck on, and no other."""
    things, stuck_on = things_to_read(task), _stuck_on(task)
    found: set[str] = set()
    for label in read:
        if stuck_on and label == stuck_on:
            found.add(label)
            continue
        try:
            found.add(gate.read_off(label, things=things, where=f"{what}: label read"))
        except IdentityRefusedError as refused:
            return Unlike(label, refused)
    if found >= {*things, *([stuck_on] if stuck_on and things else [])}:
        return None
    return Unlike(
        "",
        IdentityRefusedError(
            what,
            why=f"not all of these were read there: {', '.join(labels_to_read(task))}",
            do_next="Read what is missing; reject the task if it isn't there",
        ),
    )


def in_question(state: HostState, task: TaskState) -> list[ContainerId]:
    """Return what nobody may touch once hand work was rejected; reagents are nobody's."""
    act: Mapping[str, Any] = task.ask
    if task.work != "do" or act.get("work") not in _MAKES_IDENTITY:
        return []
    named = [str(one).partition("/")[0] for one in cast("list[str]", act["containers"])]
    known = [(one, state.containers.get(one)) for one in dict.fromkeys(named)]
    return [
        ContainerId(name)
        for name, one in known
        if one is not None and (one.coi or one.what not in SHARED)
    ]


def is_unproven_label(state: HostState, name: str) -> bool:
    """Return whether a task stuck a label on that wasn't scanned with the one before yet."""
    is_open = any(one.beside_task == name for one in state.containers.values())
    return is_open and name in state.tasks


def _stuck_on(task: TaskState) -> str:
    return task.values.get(LABEL, "") if task.ask.get("work") == Handwork.APPLY_LABEL else ""
