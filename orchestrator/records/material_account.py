"""Whether a batch's material adds up: its parts, what was lost, and each container's account."""

from __future__ import annotations

from chain_of_identity.genealogy import Genealogy, Lost, MoveKind
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.records.batch_history import BatchHistory
from orchestrator.records.genealogy_of import records_of
from orchestrator.records.record_model import (
    AccountEntry,
    GenealogyEntry,
    LossEntry,
    PartEntry,
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
                volume=str(one.volume),
            )
            for one in genealogy.moves
            if one.kind is not MoveKind.TRANSFER
        ),
        losses=tuple(
            LossEntry(seq=one.seq, container=one.container, volume=str(one.volume), why=one.why)
            for one in records
            if isinstance(one, Lost)
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
        discrepancies=balance.discrepancies,
    )
