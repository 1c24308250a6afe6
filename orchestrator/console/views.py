"""What people see: values made from the folded state, ready to render, test and print."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from orchestrator.console.amending import amendment_view, amendments_view
from orchestrator.console.clearing import left, waits_for_its_batch
from orchestrator.console.orders import order_view, why_unusable
from orchestrator.console.second_looks import labels_to_read
from orchestrator.console.timekeeping import time_view
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState, state_of_parent
from orchestrator.engine.state import AwaitedScan, BatchState, ClosedBatch, HostState, TaskState
from orchestrator.kernel.errors import RecipeRefusedError, RefusedError
from orchestrator.kernel.quantities import Volume
from orchestrator.kernel.tasks import DOUBT, LABEL, LATE, OVER


def work(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what people owe now: tasks, scans that are awaited, and holds."""
    del arguments
    state = engine.core.state
    return {
        "tasks": [
            {
                "task": name,
                "batch": task.batch,
                "path": task.path,
                "work": task.work,
                "status": task.status,
                "text": task.text,
                "ask": task.ask,
                "evidence": task.evidence,
                "second_person": task.second_person,
                "taken_by": task.taken_by,
                "recalled": task.recalled,
                "reported_by": task.reported_by,
                "reported": _reported(state, name, task),
                "to_read": labels_to_read(task),
                "due": None if task.due is None else str(task.due),
                "things": _things(state, task),
                "left": left(engine, name, task),
            }
            for name, task in state.tasks.items()
            if task.status not in OVER and not waits_for_its_batch(engine, name, task)
        ],
        "scans": [
            {
                "batch": scan.batch,
                "path": scan.path,
                "container": scan.container,
                "name": _name(state, scan.batch, scan.container),
                "place": scan.place,
                "stands_at": _stands_at(state, scan.container),
                "scanner": scan.scanner,
                "since": str(scan.since),
                **_of_two(state, scan),
            }
            for scan in state.scans.values()
        ],
        "holds": _holds(state),
        "alarms": _alarms(state),
    }


def _things(state: HostState, task: TaskState) -> dict[str, str]:
    """Return what the recipe calls the things that a task's hand work is done on."""
    things: list[str] = [*task.ask.get("containers", ()), task.ask.get("kit") or ""]
    named = {one: _name(state, task.batch, one) for one in things}
    return {one: name for one, name in named.items() if name}


def _of_two(state: HostState, scan: AwaitedScan) -> dict[str, str]:
    """Return which of two labels is to be read now, and the labelling that they are to prove."""
    container = state.containers[scan.container]
    if not scan.which:
        return {"which": ""}
    return {
        "which": scan.which,
        "label": container.label,
        "beside": container.beside,
        "labelling": container.beside_task,
    }


def _name(state: HostState, batch: str, thing: str) -> str:
    """Return what a batch's recipe calls a container or a kit; empty if it has no word for it."""
    known = state.batches.get(batch)
    if known is None:
        return ""
    every = (*known.containers.items(), *known.kits.items())
    return next((name for name, one in every if one == thing), "")


def _stands_at(state: HostState, container: str) -> str:
    """Return where the record has a container, for who goes to fetch it; empty if nowhere."""
    known = state.containers.get(container)
    return "" if known is None else known.place


def _reported(state: HostState, name: str, task: TaskState) -> dict[str, str]:
    """Return what was reported, by a person or of a phase, for another person to verify.

    Of an act in doubt or reported late, and of a label that was stuck on, the second one isn't
    told what the first one saw, and looks with their own eyes.
    """
    if name.endswith((DOUBT, LATE)):
        return {}
    if task.work == "verify":
        phase = state.batches[task.batch].phases.get(task.path)
        return {} if phase is None else dict(phase.report)
    choice = {"choice": task.choice} if task.choice else {}
    shown = {entry: value for entry, value in task.values.items() if entry != LABEL}
    return {**choice, **shown} if task.status == "reported" else {}


def batches(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return each batch: where it is, in which state, and since when."""
    del arguments
    state = engine.core.state
    return {
        "batches": [
            *(_closed(name, batch) for name, batch in state.closed.items()),
            *(_batch(name, batch) for name, batch in state.batches.items()),
        ]
    }


def _closed(name: str, batch: ClosedBatch) -> dict[str, Any]:
    return {
        "batch": name,
        "coi": batch.coi,
        "status": batch.status,
        "state": PhaseState.COMPLETE.value,
        "phases": [],
        "done": batch.phases,
        "measured": batch.measured,
    }


def _batch(name: str, batch: BatchState) -> dict[str, Any]:
    running = {path: phase for path, phase in batch.phases.items() if phase.ended_at is None}
    return {
        "batch": name,
        "coi": batch.coi,
        "status": "broken" if batch.broken else batch.status,
        "state": state_of_parent(phase.state for phase in batch.phases.values()).value,
        "phases": [
            {"path": path, "state": phase.state.value, "why": phase.why}
            for path, phase in running.items()
        ],
        "done": sum(1 for phase in batch.phases.values() if phase.ended_at is not None),
        "measured": batch.measured,
    }


def _holds(state: HostState) -> list[dict[str, str]]:
    return [
        {"batch": name, "path": path, "state": phase.state.value, "why": phase.why}
        for name, batch in state.batches.items()
        for path, phase in batch.phases.items()
        if phase.state.value in ("holding", "held", "paused", "pausing")
    ]


def _alarms(state: HostState) -> list[dict[str, Any]]:
    return [
        {
            "alarm": name,
            "tier": alarm.tier,
            "cause": alarm.cause,
            "consequence": alarm.consequence,
            "action": alarm.action,
            "batch": alarm.batch,
            "acknowledged_by": alarm.acknowledged_by,
            "cleared": alarm.cleared,
        }
        for name, alarm in state.alarms.items()
    ]


def people(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return everybody who was ever added, with their roles; nothing of their passwords."""
    del arguments
    return {
        "people": [
            {
                "user": user,
                "login": one.login,
                "printed_name": one.printed_name,
                "roles": list(one.roles),
            }
            for user, one in engine.core.state.people.items()
        ]
    }


def materials(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return the lots, and everything that was received, with what stands against its use."""
    del arguments
    state, now = engine.core.state, engine.core.clock.utc()
    return {
        "lots": [
            {
                "lot": name,
                "material": lot.material,
                "expires": str(lot.expires),
                "in_use": lot.in_use,
                "unusable": why_unusable(state, name, now),
            }
            for name, lot in state.lots.items()
        ],
        "containers": [
            {
                "container": name,
                "label": one.label,
                "what": one.what,
                "material": one.material,
                "coi": one.coi,
                "lot": one.lot,
                "volume": str(Volume.of_base(one.volume_nl)),
                "capacity": str(Volume.of_base(one.capacity_nl)),
                "place": one.place,
                "batch": one.batch,
                "quarantined": one.quarantined,
            }
            for name, one in state.containers.items()
            if "/" not in name
        ],
    }


def recipes(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return the recipes on file, and who signed what."""
    del arguments
    state = engine.core.state
    return {
        "recipes": [
            {
                "recipe": digest,
                "document": one.document,
                "version": one.version,
                "title": one.title,
                "signers": dict(one.signers),
            }
            for digest, one in state.recipes.items()
        ]
    }


def deviations(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return the deviations that nobody has closed."""
    del arguments
    return {
        "deviations": [
            {
                "deviation": name,
                "batch": one.batch,
                "path": one.path,
                "text": one.text,
                "opened_by": one.opened_by,
                "opened_at": str(one.opened_at),
            }
            for name, one in engine.core.state.deviations.items()
            if not one.closed_by
        ]
    }


def time(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what the host's clock shows, and how far it may be believed."""
    del arguments
    clock = engine.core.clock
    return time_view(engine.core.state, clock.boot(), clock.utc(), clock.offset())


def order(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what a batch of a recipe would take, for a person to read before they sign.

    Raises:
        RefusedError: The recipe isn't on file or isn't approved, or the question isn't one.
    """
    what = "prepare an order"
    recipe = arguments.get("recipe", "")
    known = engine.core.state.recipes.get(recipe)
    if known is None or "approved" not in known.signers:
        why = "isn't approved" if known is not None else "isn't on file"
        named = recipe[:16] if known is None else f"{known.document} version {known.version}"
        raise RecipeRefusedError(
            what,
            why=f"the recipe {named} {why}",
            do_next="Have it signed as authored, reviewed and approved by three people",
        )
    try:
        asked: object = json.loads(arguments.get("order", "{}"))
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise RefusedError(
            what, why="the order isn't an object", do_next="Ask as the console's page says"
        )
    core = engine.core
    return order_view(
        core.state,
        engine.recipe_by_digest(recipe),
        core.cell.config,
        core.clock.utc(),
        cast("dict[str, Any]", asked),
    )


Made = dict[str, Any] | Awaitable[dict[str, Any]]
"""A view, or what is awaited for it because an instrument is asked."""

VIEWS: Final[Mapping[str, Callable[[Engine, Mapping[str, str]], Made]]] = {
    "work": work,
    "batches": batches,
    "people": people,
    "materials": materials,
    "recipes": recipes,
    "deviations": deviations,
    "time": time,
    "order": order,
    "amendment": amendment_view,
    "amendments": amendments_view,
}
"""The views by name."""
