"""What a batch record and its second, independent reading must agree on."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.quantities import Cells, Duration, Volume
from orchestrator.records.batch_record import BatchRecord
from orchestrator.records.paper import WIDTH, on_paper
from orchestrator.records.record_model import IdentityEntry
from tests.records.batch_recomputed import Recomputed, millilitres, seconds_between


def assert_agree(record: BatchRecord, second: Recomputed) -> None:
    summary = record.summary
    assert summary.identity_checks == second.identity_checks
    assert summary.scanned == second.scanned
    assert summary.acts == len(second.acts)
    assert summary.attempts == second.attempts
    assert summary.signatures == second.signatures
    used = {one.container: millilitres(one.used) for one in record.materials if one.used}
    assert used == second.drawn
    moved = sum(Volume.read(one.moved).base for one in record.liquids)
    assert Decimal(moved) / 1_000_000 == sum(second.moved_in.values())
    assert [one.path for one in record.procedure] == list(second.phases)
    for phase in record.procedure:
        began, ended = second.phases[phase.path]
        assert (str(phase.started_at), str(phase.ended_at)) == (began, ended)
        length = Decimal(Duration.read(phase.duration).base) / 1000
        assert abs(length - seconds_between(began, ended)) < Decimal("0.001")
    counted = [(one.seq, Decimal(one.viable_density.split()[0])) for one in record.counts]
    assert counted == second.densities
    proofs = [
        one for phase in record.procedure for one in phase.entries if isinstance(one, IdentityEntry)
    ]
    assert len(proofs) == second.identity_checks
    for one in record.genealogy.accounts:
        assert millilitres(one.held) == second.held[one.container], one.container


def assert_rests_on_weight(record: BatchRecord) -> None:
    """By weight where a balance saw more than the pump: one bag's liquid is denser than water.

    A dose of 50 mL of it weighs 50.93 g: an account that rested on what was asked would say 50 mL.
    """
    out = {millilitres(one.went_out) for one in record.genealogy.accounts}
    assert Decimal("50.93") in out
    measures = {one.measured for one in record.genealogy.parts}
    assert measures == {"as reported", "as asked", "weighed, at 1 g/mL", "by the pump's count"}
    (lost,) = record.genealogy.losses
    assert lost.calculated_from.startswith("the account's 185 mL of C-001-01 and the 50 mL")


def assert_cells_agree(record: BatchRecord, second: Recomputed) -> None:
    assert second.seeded is not None
    assert second.harvested is not None
    assert record.summary.cells_seeded
    seeded = Cells.read(record.summary.cells_seeded).base
    harvested = Cells.read(record.summary.viable_cells_harvested).base
    assert abs(seeded - second.seeded) <= 1  # the record counts whole cells
    assert abs(harvested - second.harvested) <= 1
    fold = second.harvested / second.seeded
    assert Decimal(record.summary.fold_expansion) == fold.quantize(Decimal("0.1"))


def assert_whole(record: BatchRecord) -> None:
    assert record.status == "complete"
    assert record.verification.sound
    assert not record.not_begun
    assert all(one.fits for one in record.signatures)
    assert {one.meaning for one in record.recipe.signatures} == {"authored", "reviewed", "approved"}
    assert len(record.counts) >= 5
    assert all(one.within for one in record.counts)
    assert all(one.scanned_back_at for one in record.labels)
    assert {one.formula for phase in record.procedure for one in phase.calculations} >= {
        "volume_holding/1",
        "volume_for_ratio/1",
        "cells_by_weight/1",
    }
    assert all(one.result for phase in record.procedure for one in phase.calculations)
    assert len(record.conditions) == 2
    assert all(len(one.hours) > 250 for one in record.conditions)
    filled = {one.target for one in record.genealogy.parts if one.kind == "split"}
    assert filled < {one.container for one in record.labels}
    assert {one.place for one in record.containers if one.container in filled} == {"dewar/1"}
    assert max(map(len, on_paper(record).splitlines())) <= WIDTH
