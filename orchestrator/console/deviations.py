"""Deviations: opened with what was seen, closed with a reason by somebody else."""

from __future__ import annotations

from typing import Any

from orchestrator.console.office import Office
from orchestrator.engine.state import DeviationState, HostState
from orchestrator.journal.events import DeviationClosed, DeviationOpened
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, UserId
from orchestrator.people.roles import require_other_person


class Deviations:
    """Opens and closes deviations."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core

    async def open(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Open a deviation of a batch, or of one of its limits that runs."""
        batch = BatchId(str(arguments["batch"]))
        limit = str(arguments.get("limit", ""))
        if batch not in self._core.state.batches:
            raise RefusedError(
                f"open a deviation of batch {batch}",
                why="there is no such batch",
                do_next="Look at the batches",
            )
        running = self._core.state.limits.get(limit)
        if limit and (running is None or running.batch != batch):
            raise RefusedError(
                f"open a deviation for limit {limit}",
                why=f"batch {batch} has no such limit",
                do_next="Name one that is shown, or none",
            )
        return await self._core.record(
            batch,
            deviation(self._core.state, batch, str(arguments["text"]), user, limit),
            answer=arguments["answer"],
        )

    async def close(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Close a deviation by a signature; who opened it can't."""
        name = str(arguments["deviation"])
        known = self._open(name)
        require_other_person(
            f"close deviation {name}",
            first=UserId(known.opened_by) if known.opened_by != "system" else None,
            did="opened",
            now=user,
            does="closes",
            called=self._core.state.people[user].printed_name,
        )
        event = await self._office.signed(
            user,
            arguments,
            lambda by: DeviationClosed(deviation=name, signature=by),
            "approved",
            str(arguments["reason"]),
        )
        self._open(name)  # the password took a while
        return await self._core.record(BatchId(known.batch), event, answer=arguments["answer"])

    def _open(self, name: str) -> DeviationState:
        """Return a deviation that nobody has closed.

        Raises:
            RefusedError: There is none of that name.
        """
        known = self._core.state.deviations.get(name)
        if known is None or known.closed_by:
            raise RefusedError(
                f"close deviation {name}",
                why="it isn't there" if known is None else "it is closed",
                do_next="Look again",
            )
        return known


def deviation(
    state: HostState, batch: BatchId, text: str, user: UserId, limit: str = ""
) -> DeviationOpened:
    """Return the record that a person opens the next deviation."""
    number = len(state.deviations) + 1
    return DeviationOpened(
        deviation=f"D-{number:04d}", batch=batch, path=None, text=text, limit=limit, by=user
    )
