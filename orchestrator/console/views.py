"""What people see: values made from the folded state, ready to render, test and print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import state_of_parent
from orchestrator.engine.state import BatchState, HostState


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
                "reported_by": task.reported_by,
                "due": None if task.due is None else str(task.due),
            }
            for name, task in state.tasks.items()
            if task.status not in ("done", "withdrawn")
        ],
        "scans": [
            {
                "batch": scan.batch,
                "path": scan.path,
                "container": scan.container,
                "place": scan.place,
                "scanner": scan.scanner,
                "since": str(scan.since),
            }
            for scan in state.scans.values()
        ],
        "holds": _holds(state),
        "alarms": _alarms(state),
    }


def batches(engine: Engine, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return each batch: where it is, in which state, and since when."""
    del arguments
    state = engine.core.state
    return {"batches": [_batch(name, batch) for name, batch in state.batches.items()]}


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


VIEWS: Final[Mapping[str, Callable[[Engine, Mapping[str, str]], dict[str, Any]]]] = {
    "work": work,
    "batches": batches,
}
"""The views by name."""
