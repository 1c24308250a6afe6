"""Whether a batch's material adds up: its parts, what was lost, and each container's account."""

from __future__ import annotations

from chain_of_identity.genealogy import Genealogy, Lost, MoveKind, Received, Unreadable
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import Volume, uL
from orchestrator.records.batch_history import BatchHistory
from orchestrator.records.genealogy_of import OF_THE_BOX, records_of
from orchestrator.records.record_model import (
    AccountEntry,
    GainEntry,
    GenealogyEntry,
    LossEntry,
    PartEntry,
    UnreadableEntry,
)


def genealogy_entry(history: BatchHistory) -> GenealogyEntry:
    """Return parts, losses and accounts of all containers that the batch used."""
    names = history.containers()
    received = [at for container, at in history.received.items() if container in names]
    records = tuple(records_of(sorted([*received, *history.events], key=lambda at: at.seq)))
    genealogy = Genealogy(records)
    return GenealogyEntry(
        parts=tuple(
            PartEntry(
                seq=one.seq,
                kind=one.kind.value,
                source=one.source,
                target=one.target,
                volume="" if one.volume is None else str(one.volume),
                measured=one.measured,
                error=""
                if one.error is None or one.volume is None
                else _told(one.error.of(one.volume)),
            )
            for one in genealogy.moves
            if one.kind is not MoveKind.TRANSFER
        ),
        losses=tuple(
            LossEntry(
                seq=one.seq,
                container=one.container,
                volume=str(one.volume),
                why=one.why,
                calculated_from=one.calculated,
            )
            for one in records
            if isinstance(one, Lost)
        ),
        gains=tuple(
            GainEntry(
                seq=one.seq,
                container=one.container,
                volume=str(one.volume),
                why=OF_THE_BOX,
                calculated_from=one.calculated,
            )
            for one in records
            if isinstance(one, Received) and one.calculated
        ),
        unreadable=tuple(
            UnreadableEntry(seq=one.seq, container=one.container, text=one.text, why=one.why)
            for one in records
            if isinstance(one, Unreadable)
        ),
        accounts=tuple(
            _account(genealogy, container, names.get(container, ""))
            for container in sorted(genealogy.containers)
            if not _is_tray(history, container)
        ),
        never_received=tuple(sorted(genealogy.orphans)),
    )


def _is_tray(history: BatchHistory, container: str) -> bool:
    """Return whether it is a kit's tray, which holds nothing itself."""
    return any(name.startswith(f"{container}/") for name in history.state.containers)


def _told(error: Volume) -> str:
    """Return an error as it is told: no finer than a balance reads."""
    return str(error.round_up_to(10 * uL))


def _account(genealogy: Genealogy, container: ContainerId, name: str) -> AccountEntry:
    balance = genealogy.balance(container)
    donations = tuple(sorted(genealogy.backward(container) & genealogy.donors))
    if balance is None:
        return AccountEntry(container=container, recipe_name=name, donations=donations)
    return AccountEntry(
        container=container,
        recipe_name=name,
        donations=donations,
        came_in=str(balance.came_in),
        went_out=str(balance.went_out),
        lost=str(balance.lost),
        unexplained=str(balance.unexplained),
        held=str(balance.held),
        error=_told(balance.error) if balance.error.base else "",
        discrepancies=balance.discrepancies,
    )
