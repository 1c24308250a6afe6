"""Clearing a line by the record: what is left, where people carried it, what they found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.console.named_tasks import refuse_anothers, require_unchanged, task_named
from orchestrator.console.office import Office
from orchestrator.engine.clearing import OUT_OF_THE_CELL, TO_QUARANTINE, left_at
from orchestrator.engine.engine import Engine
from orchestrator.engine.leases import cleared, stands_for
from orchestrator.engine.materials import GRIPPER
from orchestrator.engine.register import FoldedRegister
from orchestrator.engine.state import ContainerState, HostState, TaskState
from orchestrator.journal.events import (
    HOST,
    AnyEvent,
    ContainerPlaced,
    ContainerQuarantined,
    DeviationOpened,
    Joint,
    Signed,
    TaskReopened,
    TaskReported,
    TaskVerified,
)
from orchestrator.kernel.acts import Act
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, ContainerId, KitId, PortId, TaskId, UserId
from orchestrator.kernel.tasks import CLEARANCE
from orchestrator.people.roles import require_second_person


class Clearing:
    """Clears lines, and records what people carried away or found there."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def clear(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Free a unit: one person signs that nothing of its batch is left, another confirms it.

        Neither can while the record has something there.
        """
        name, task = task_named(self._core.state, arguments, "offered", "taken", "reported")
        if not name.endswith(CLEARANCE):
            raise RefusedError(f"clear {name}", why="it is no line clearance", do_next="Look again")
        refuse_anothers(f"clear {name}", task, user)
        if not task.second_person:
            raise RefusedError(
                f"clear {name}",
                why="nobody signs for this unit: it is free once nothing is left there",
                do_next="Carry away what is left, and say where to (`carry_away`)",
            )
        refuse_what_is_left(self._engine, name, task)
        refuse_anothers_unit(self._core.state, name, task)
        released, changed = cleared(task), task.changed
        if task.status != "reported":
            signature = await self._office.sign(user, arguments, released, "performed")
            require_unchanged(self._core.state, name, changed)
            return await self._core.record_for_host(
                TaskReported(task=name, by=user, signature=signature), answer=arguments["answer"]
            )
        require_second_person(
            f"confirm {name}",
            performer=UserId(task.reported_by),
            verifier=user,
            verifier_roles=self._core.state.people[user].roles,
            called=self._core.state.people[user].printed_name,
        )
        first = Signed.model_validate(task.signature)
        second = await self._office.sign(user, arguments, released, "verified")
        require_unchanged(self._core.state, name, changed)
        refuse_what_is_left(self._engine, name, task)  # the password took a while
        refuse_anothers_unit(self._core.state, name, task)
        return await self._core.record(
            task.batch,
            TaskVerified(task=name, by=user, of=changed),
            released.model_copy(update={"signatures": (first, second)}),
            *self._engine.alarms.cleared(f"line {name}"),
            answer=arguments["answer"],
        )

    async def carry_away(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record where a person carried a thing that was left somewhere."""
        await self._refuse_unproven(arguments)
        event = carried(self._engine, user, arguments)
        batch = self._core.state.containers[event.container].batch
        return await self._core.record(batch or HOST, event, answer=arguments["answer"])

    async def _refuse_unproven(self, arguments: dict[str, Any]) -> None:
        """Refuse to know a thing by a label that was stuck on and wasn't scanned there yet.

        Where it is found, the thing that it was reported of may be another one: that is in
        quarantine from now on.

        Raises:
            RefusedError: It is such a label.
        """
        state = self._core.state
        label = str(arguments["label"]).strip()
        name = state.labels.get(label)
        if name is None or state.containers[name].beside != label:
            return
        refused = RefusedError(
            f"carry the thing labelled {label}",
            why="this label was stuck on and wasn't scanned with the one before yet, so it doesn't "
            "say what it is on",
            do_next="Leave it where it is, and call quality assurance; if the label before is on "
            "it too, carry it by that one to quarantine",
        )
        why = "its new label was read off something carried away before two scans had proven it"
        await self._core.record(
            state.containers[name].batch or HOST,
            ContainerQuarantined(container=ContainerId(name), why=why),
            answer=arguments["answer"].model_copy(update={"refused": refused.as_record()}),
        )
        raise refused

    async def report_found(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record what stands at a line that is cleared, and by the record doesn't."""
        name, task = task_named(self._core.state, arguments, "offered", "taken", "reported")
        if not name.endswith(CLEARANCE):
            raise RefusedError(
                f"report what was found for {name}",
                why="it is no line clearance",
                do_next="Open a deviation of the batch",
            )
        told, events = found(self._engine, name, task, user, arguments)
        raised = self._engine.alarms.raised(
            f"line {name}",
            tier="alarm",
            cause=f"as the line was cleared, a person found {told}",
            consequence="The record had it otherwise; what was found is in quarantine",
            action="Carry it to quarantine, and decide how it came there",
            batch=BatchId(task.batch),
        )
        return await self._core.record(task.batch, *events, *raised, answer=arguments["answer"])


def left(engine: Engine, name: str, task: TaskState) -> list[dict[str, Any]]:
    """Return what a line's clearance still has to carry away, for people to see."""
    if not name.endswith(CLEARANCE):
        return []
    state = engine.core.state
    return [
        {
            "container": one.container,
            "label": state.containers[one.container].label,
            "place": one.place,
            "quarantined": bool(state.containers[one.container].quarantined),
            "needed": engine.needs.is_needed(one.container),
            "joined": _joined(state.containers[one.container]),
        }
        for one in left_at(state, engine.core.cell.config, task.ask["resources"])
    ]


def waits_for_its_batch(engine: Engine, name: str, task: TaskState) -> bool:
    """Return whether there is nothing to clear for people: the batch needs all that stands there.

    Then its unit stays with it until its own next step, and nobody is asked to do anything.
    """
    if not name.endswith(CLEARANCE) or task.second_person:
        return False
    return all(
        engine.needs.is_needed(one.container)
        for one in left_at(engine.core.state, engine.core.cell.config, task.ask["resources"])
    )


def refuse_what_is_left(engine: Engine, name: TaskId, task: TaskState) -> None:
    """Refuse to sign that a line is clear while the record has something there.

    Raises:
        RefusedError: It names each thing, and where it stands. Nothing was signed.
    """
    here = left_at(engine.core.state, engine.core.cell.config, task.ask["resources"])
    if here:
        raise RefusedError(
            f"clear {name}",
            why=f"by the record there is {', '.join(str(one) for one in here)}",
            do_next="Carry each away and say where to (`carry_away`); look again, and sign",
        )


def refuse_anothers_unit(state: HostState, name: TaskId, task: TaskState) -> None:
    """Refuse to sign free what the batch of a clearance doesn't own there any more.

    Raises:
        RefusedError: Somebody else may have it. Nothing was signed.
    """
    if not stands_for(state.leases, task):
        raise RefusedError(
            f"clear {name}",
            why=f"{', '.join(task.ask['resources'])} isn't all batch {task.batch}'s any more",
            do_next="Look whose it is, and leave it to them; open a deviation of the batch",
        )


def carried(engine: Engine, user: UserId, arguments: Mapping[str, Any]) -> ContainerPlaced:
    """Return the record that a person carried a thing away, known by the label they read.

    Raises:
        RefusedError: The label is no container's, an arm has it, it mustn't go there, something
            stands there, or it is joined to a kit and they don't say that they sealed it off.
    """
    state = engine.core.state
    label, to = str(arguments["label"]).strip(), str(arguments["to"]).strip()
    what = f"carry the thing labelled {label} to {to}"
    name = FoldedRegister(state, engine.core.cell.config).container_labelled(label)
    if name is None or "/" in name:
        raise RefusedError(
            what,
            why="no container or kit of the record is known by this label now",
            do_next="Read the label again; if it says so, report what you found (`report_found`)",
        )
    known = state.containers[name]
    why = _why_not(engine, name, known, to)
    if why:
        raise RefusedError(
            what,
            why=why,
            do_next=f"Carry it to one of {', '.join(OUT_OF_THE_CELL)}, to a place that its batch "
            "holds, or leave it",
        )
    return ContainerPlaced(
        container=name,
        label=label,
        place=to,
        how="carried",
        why=str(arguments.get("why", "")).strip() or "carried away",
        by=user,
        sealed_off=_sealed_off(what, known, arguments.get("sealed_off", False)),
    )


def _sealed_off(what: str, known: ContainerState, said: object) -> Joint | None:
    """Return the joint that a person cut to carry a thing away; None if it hung at none.

    Raises:
        RefusedError: What they say isn't so by the record.
        ValueError: They say neither yes nor no.
    """
    if not isinstance(said, bool):
        raise ValueError("sealed_off: it is true or false")
    if known.kit and not said:
        raise RefusedError(
            what,
            why=f"by the record it is joined to {_joined(known)}",
            do_next="Seal it off there, and say that you did (`sealed_off`); if it hangs there no "
            "more, report what you found (`report_found`)",
        )
    if said and not known.kit:
        raise RefusedError(
            what,
            why="by the record it is joined to no kit, and so wasn't sealed off",
            do_next="Report what you found (`report_found`), then carry it to quarantine",
        )
    return Joint(kit=KitId(known.kit), port=PortId(known.port)) if said else None


def _joined(known: ContainerState) -> str:
    """Return where a thing is joined by the record, in words; empty if it isn't."""
    return f"port {known.port} of {known.kit}" if known.kit else ""


def _why_not(engine: Engine, name: str, known: ContainerState, to: str) -> str:
    """Return what stands against carrying a thing to a place; empty if nothing does."""
    state = engine.core.state
    if known.place.startswith(f"{GRIPPER}/") and engine.needs.is_needed(name):
        return f"{known.place.removeprefix(f'{GRIPPER}/')} has it in its gripper, and goes on"
    for batch, path, number in state.attempts.values():
        if name in str(state.batches[batch].phases[path].words[number].asked):
            return f"batch {batch} is working with it"
    if known.quarantined and to != TO_QUARANTINE:
        return "it is in quarantine"
    if to in OUT_OF_THE_CELL:
        is_kept = to != TO_QUARANTINE and engine.needs.is_needed(name)
        return f"batch {known.batch} still needs it" if is_kept else ""
    lease = state.leases.get(to)
    if to not in engine.core.cell.config.unit_of_place:
        return "there is no such place"
    if lease is None or lease.batch != known.batch:
        return "its batch doesn't hold that place"
    return _why_full(engine, name, to)


def _why_full(engine: Engine, name: str, to: str) -> str:
    """Return why a place of the cell can't take one thing more by the record; empty if it can.

    At a station's rack and sampling place there is room for many things.
    """
    state, unit = engine.core.state, engine.core.cell.config.unit_of_place[to]
    for batch, path, number in state.attempts.values():
        asked = state.batches[batch].phases[path].words[number].attempts[-1].act
        if to in Act.kinds[asked["kind"]].model_validate(asked).places():
            return f"batch {batch} is working there"
    there = [one for one, known in state.containers.items() if known.place == to and one != name]
    is_shared = to in [unit.named_places.get(one) for one in ("rack", "sampling")]
    if is_shared or len(there) < unit.holds:
        return ""
    return f"by the record {', '.join(there)} stands there"


def found(
    engine: Engine, name: TaskId, task: TaskState, user: UserId, arguments: Mapping[str, Any]
) -> tuple[str, list[AnyEvent]]:
    """Return what a person found otherwise than the record has it, in words and as events.

    What bears its label of the record is where it was found from now on, and in quarantine; by
    a label that doesn't count (yet, or any more) it is in quarantine only. A first signature of
    the clearance falls.

    Raises:
        RefusedError: The place isn't among those that are cleared, or nothing is said.
    """
    state = engine.core.state
    what, place = str(arguments["what"]).strip(), str(arguments["place"]).strip()
    if place not in task.ask["resources"] or not what:
        raise RefusedError(
            f"report what was found for {name}",
            why="nothing is said" if not what else f"{place} isn't among what is cleared",
            do_next=f"Say what you see, at one of {', '.join(task.ask['resources'])}",
        )
    container = state.labels.get(what)
    known = None if container is None else state.containers.get(container)
    is_anothers = known is not None and (
        known.batch not in ("", task.batch) or known.coi not in ("", state.batches[task.batch].coi)
    )
    told = f"{'something of another batch' if is_anothers else what} at {place}"
    events: list[AnyEvent] = [
        DeviationOpened(
            deviation=f"D-{len(state.deviations) + 1:04d}",
            batch=BatchId(task.batch),
            path=None,
            text=f"Found as the line was cleared, and not so in the record: {told}",
            by=user,
        )
    ]
    if container is not None and known is not None:
        counts = FoldedRegister(state, engine.core.cell.config).container_labelled(what)
        why = f"{'it' if counts else 'a label of it'} was found at {place} as the line was cleared"
        if counts is not None:
            events.append(
                ContainerPlaced(
                    container=counts, label=what, place=place, how="found", why=why, by=user
                )
            )
        events.append(ContainerQuarantined(container=ContainerId(container), why=why))
    if task.status == "reported":
        events.append(TaskReopened(task=name, by=user, why=f"there is {told}"))
    return told, events
