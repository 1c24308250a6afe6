"""Lots, materials and containers: received, put aside, and let back into use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chain_of_identity.pre_printed import refuse_misread
from orchestrator.console.office import Office
from orchestrator.console.old_views import refuse_old_view
from orchestrator.console.orders import why_unusable
from orchestrator.console.reports import label_taken_by
from orchestrator.engine.state import HostState
from orchestrator.journal.events import (
    ContainerReceived,
    ContainerReleased,
    LotQuarantined,
    LotReceived,
)
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import ContainerId, UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Volume

NOT_OF_THE_EVENT: Final = ("secret", "answer", "seen", "password")
"""What a command carries beside the facts that it states."""


class Receiving:
    """Puts on file what arrives, what is put aside, and what goes back into use."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core

    async def receive_lot(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Put a lot on file."""
        event = LotReceived.model_validate(_by(user, arguments))
        if event.lot in self._core.state.lots:
            raise RefusedError(
                f"receive lot {event.lot}", why="it is on file", do_next="Use it as it is on file"
            )
        if event.in_use:
            Duration.read(event.in_use)
        if self._core.clock.utc() >= event.expires:
            raise RefusedError(
                f"receive lot {event.lot}",
                why=f"it expired at {event.expires}",
                do_next="Put it aside and call quality assurance, or correct the date",
            )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    async def quarantine_lot(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Put a lot that is on file into quarantine."""
        event = LotQuarantined.model_validate(_by(user, arguments))
        if event.lot not in self._core.state.lots:
            raise RefusedError(
                f"quarantine lot {event.lot}", why="it was never received", do_next="Look again"
            )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    async def receive_material(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Put a container or a kit on file, with its positions."""
        event = ContainerReceived.model_validate(_by(user, arguments))
        refuse_misread(event.label)
        why = _why_not_receivable(event, self._core.state, self._core.clock.utc())
        if why:
            raise RefusedError(
                f"receive {event.container}", why=why, do_next="Correct it, and receive it again"
            )
        return await self._core.record_for_host(event, answer=arguments["answer"])

    async def release_container(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Let a quarantined container go back into use, by quality's signature."""
        name = ContainerId(str(arguments["container"]))
        known = self._core.state.containers.get(name)
        if known is None or not known.quarantined:
            raise RefusedError(
                f"release {name}",
                why="it was never received" if known is None else "it isn't in quarantine",
                do_next="Look again",
            )
        refuse_old_view(f"release {name}", known.changed, arguments)
        event = await self._office.signed(
            user,
            arguments,
            lambda by: ContainerReleased(container=name, signature=by),
            "released",
            str(arguments["reason"]),
        )
        refuse_old_view(f"release {name}", known.changed, arguments)  # the password took a while
        return await self._core.record_for_host(event, answer=arguments["answer"])


def _by(user: UserId, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's arguments as an event's fields, with who gave it."""
    own = {name: one for name, one in arguments.items() if name not in NOT_OF_THE_EVENT}
    return {**own, "by": user}


def _why_not_receivable(event: ContainerReceived, state: HostState, now: Instant) -> str:
    """Return why something can't be received as stated; empty if nothing stands against it."""
    inner = [f"{event.container}/{one}" for one in event.positions]
    labels = [event.label, *(f"{event.label}/{one}" for one in event.positions)]
    if any(one in state.containers for one in (event.container, *inner)):
        return "a container of that name was received before"
    if any(label_taken_by(state, one) for one in labels):
        return "its label is another container's"
    if event.what == "patient_material" and event.coi is None:
        return "patient material needs its therapy event (coi)"
    if event.lot is not None:
        if why := why_unusable(state, event.lot, now):
            return why
        if (known := state.lots[event.lot].material) != event.material:
            return f"lot {event.lot} is of {known}, not of {event.material}"
    if len(event.volumes) != len(event.positions):
        return "each of its positions needs a volume"
    if event.capacities and len(event.capacities) != len(event.positions):
        return "each of its positions needs a capacity"
    for text in (event.volume, event.capacity, *event.volumes, *event.capacities):
        if text and Volume.read(text).base < 0:
            return f"{text} is less than nothing"
    return ""
