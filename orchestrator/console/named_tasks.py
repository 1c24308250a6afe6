"""The task that a command names: there, as the person last saw it, and theirs to decide on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.console.old_views import refuse_old_view
from orchestrator.engine.state import HostState, TaskState
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import TaskId, UserId
from orchestrator.kernel.tasks import CLEARANCE, DOUBT, LATE


def task_named(
    state: HostState, arguments: Mapping[str, Any], *legal: str
) -> tuple[TaskId, TaskState]:
    """Return the task that a command names, by name and state.

    Raises:
        RefusedError: It isn't there, isn't ``legal`` now, or has changed since it was seen.
    """
    name = TaskId(str(arguments["task"]))
    task = state.tasks.get(name)
    if task is None or task.status not in legal:
        raise RefusedError(
            f"task {name}",
            why="it isn't there" if task is None else f"it is {task.status}",
            do_next="Look again at what is to be done",
        )
    refuse_old_view(f"task {name}", task.changed, arguments)
    return name, task


def require_unchanged(state: HostState, name: TaskId, changed: int) -> None:
    """Refuse what was signed of a task that changed while the password was looked at."""
    refuse_old_view(f"task {name}", state.tasks[name].changed, {"seen": changed})


def refuse_anothers(what: str, task: TaskState, user: UserId) -> None:
    """Refuse to decide on what another person has taken."""
    if task.status == "taken" and task.taken_by != user:
        raise RefusedError(what, why="another person has taken it", do_next="Wait for it")


def refuse_what_two_sign(name: TaskId) -> None:
    """Refuse one person's word on a task that two people sign by a command of its own."""
    if name.endswith(CLEARANCE):
        raise RefusedError(
            f"task {name}",
            why="it is a line clearance, and two people sign it",
            do_next="Clear it: look that nothing of the batch is left, and sign",
        )
    if name.endswith(LATE):
        raise RefusedError(
            f"task {name}",
            why="it asks what a late report means, and two people sign what they found",
            do_next="Reconcile it: state same, twice or mistaken",
        )
    if name.endswith(DOUBT):
        raise RefusedError(
            f"task {name}",
            why="it asks what an attempt did, and two people sign what they found",
            do_next="Reconcile it: state all, part or nothing",
        )
