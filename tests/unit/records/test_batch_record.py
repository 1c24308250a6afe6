"""Goal: the batch record says what the journal says, all of it, and nothing of anybody else.

Method: the thin path's journal on virtual time, whole and interrupted, and events written
by hand for what the thin path never does. Figures are recomputed in ``tests/records``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from hw_mocks.technicians import Slips
from orchestrator.journal.events import (
    AttemptReconciled,
    AttemptSettled,
    AttemptUncertain,
    ContainerReceived,
    DeviationClosed,
    DeviationOpened,
    Signed,
    StateChanged,
)
from orchestrator.journal.verify import Verdict
from orchestrator.kernel.canonical import canonical
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, CommandId, PhasePath, UserId
from orchestrator.kernel.instants import Instant
from orchestrator.records.batch_history import ANOTHER, StoredEvents, history_of, read_journal
from orchestrator.records.batch_record import BatchRecord, batch_record, record_of_history
from orchestrator.records.completeness import RULES, open_items
from orchestrator.records.paper import WIDTH, on_paper
from orchestrator.records.record_model import (
    ActEntry,
    AlarmEntry,
    AmendmentEntry,
    ClearanceEntry,
    ClockEntry,
    ContainerEntry,
    CountEntry,
    DeviationEntry,
    FailureEntry,
    GainEntry,
    HoldEntry,
    LabelEntry,
    LossEntry,
    OpenTask,
    PhaseEntry,
    ReconciliationEntry,
)
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BAG, BATCH, OTHER_BAG, begin, thin_cell
from tests.unit.cli.builders import a_data_folder, a_story, call
from tests.unit.journal.builders import opened
from tests.unit.records.diary import Diary

SOUND = Verdict(True, 0, "", "own checkpoints only", None, (), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a thin path that ran to its end."""
    where = tmp_path_factory.mktemp("thin")

    async def run() -> None:
        async with thin_cell(where) as cell, cell.engine() as engine:
            await begin(engine)
            await engine.ended(BATCH)

    run_in_virtual_time(run())
    return where


@pytest.fixture(scope="module")
def record(folder: Path) -> BatchRecord:
    """Return the record of that batch."""
    return batch_record(folder / "journal.sqlite", BATCH)


def _acts(record: BatchRecord) -> list[ActEntry]:
    return [one for phase in record.procedure for one in phase.entries if isinstance(one, ActEntry)]


@pytest.mark.requirement("BRR-02")
def test_each_step_says_what_was_done_with_what_and_by_whom(record: BatchRecord) -> None:
    _, connect, transfer = record.procedure
    assert [phase.number for phase in record.procedure] == ["1", "2", "3"]
    assert transfer.sentence.startswith("Move 60 mL from the patient bag to the vessel")
    pumped = next(one for one in _acts(record) if one.act == "pump_volume" and one.asked == "60 mL")
    assert (pumped.equipment, pumped.done, pumped.weighed) == ("P1", "60 mL", "60 mL")
    (attempt,) = pumped.attempts
    path = {"valves_open_": "p1,vessel"}
    assert attempt.evidence_before == {"weight_vessel": "40 g", **path}
    assert attempt.evidence_after == {"weight_vessel": "100 g", **path}
    assert attempt.proven == ("K-1 scanned", "C-1 scanned")
    weld = next(one for one in _acts(record) if one.act == "weld")
    (welded,) = weld.attempts
    people = {one.user for one in record.people}
    assert {welded.performed_by, welded.verified_by} <= people
    assert welded.performed_by != welded.verified_by
    assert connect.verification.how == "within the phase"
    assert connect.verification.by == (welded.verified_by,)
    assert transfer.verification.how == "afterwards"
    assert set(transfer.verification.by) <= people


@pytest.mark.requirement("BRR-02")
def test_materials_equipment_and_people_are_named(record: BatchRecord) -> None:
    kit = next(one for one in record.materials if one.container == "K-1")
    bag = next(one for one in record.materials if one.container == BAG)
    assert (kit.lot, str(kit.expires)) == ("LOT-1", "2026-02-16T00:00:00.040000Z")
    assert bag.used == "60 mL"
    assert bag.in_use == "91.1 s"
    assert {one.equipment: one.firmware for one in record.equipment}["V1"] == "3.2.0"
    assert {one.name for one in record.people} >= {"Ada Minster", "Devi Ashe"}
    where = {one.container: (one.volume, one.place) for one in record.containers}
    assert where[BAG] == ("41 mL", "rack")
    assert where["K-1/vessel"][0] == "60 mL"


@pytest.mark.requirement("BRR-01")
def test_the_recipe_that_ran_is_the_one_on_file_by_its_bytes(record: BatchRecord) -> None:
    assert record.recipe.content_matches
    assert all(phase.phase for phase in record.procedure)
    assert "the recipe isn't signed as approved" in {one.text for one in record.open}


@pytest.mark.requirement("REC-04")
def test_the_electronic_copy_comes_back_byte_for_byte(record: BatchRecord) -> None:
    written = canonical(record.model_dump(mode="json"))
    again = BatchRecord.model_validate(json.loads(written))
    assert again == record
    assert canonical(again.model_dump(mode="json")) == written


@pytest.mark.requirement("REC-04")
def test_the_paper_is_100_columns_and_holds_every_signature_and_event(record: BatchRecord) -> None:
    paper = on_paper(record)
    assert max(map(len, paper.splitlines())) <= WIDTH
    for signature in record.signatures:
        assert signature.digest in paper
    for phase in record.procedure:
        assert phase.path in paper
        for entry in phase.entries:
            assert f"[{entry.seq}] " in paper
    for container in record.containers:
        assert container.label in paper


def test_the_first_page_tells_the_exceptions(record: BatchRecord) -> None:
    paper = on_paper(record)
    first = paper.splitlines()[:60]
    assert f"{len(record.open)} OPEN ITEMS" in first[1]
    for one in record.open:
        assert any(f"open: {one.item}: " in line for line in first), one.text
    assert paper.index("EXCEPTIONS") < paper.index("PROCEDURE -")


@pytest.mark.requirement("SIG-02")
def test_a_signature_that_was_given_on_something_else_is_open(record: BatchRecord) -> None:
    given = {one.meaning for one in record.signatures if one.fits}
    made_up = [one for one in record.signatures if not one.fits]
    assert given == {"verified"}, "people at the bench sign; the thin path's office is made up"
    assert made_up
    assert sum(one.item == "signatures" for one in record.open) == len(made_up)


def test_the_same_events_give_the_same_record(folder: Path, record: BatchRecord) -> None:
    assert batch_record(folder / "journal.sqlite", BATCH) == record


def test_a_batch_that_nobody_knows_is_refused(folder: Path) -> None:
    with pytest.raises(RefusedError, match="knows no batch"):
        batch_record(folder / "journal.sqlite", "B-2")


@pytest.mark.requirement("IDC-02")
def test_a_bag_of_another_patient_leaves_no_trace_of_whose_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        slips = Slips(brings={BAG: OTHER_BAG})
        async with thin_cell(tmp_path, slips) as cell, cell.engine() as engine:
            await begin(engine)
            await asyncio.sleep(120)

    run_in_virtual_time(run())
    record = batch_record(tmp_path / "journal.sqlite", BATCH)
    assert record.summary.refused >= 1
    assert record.alarms[0].tier == "block"
    assert record.ended_at is None
    for text in (record.model_dump_json(), on_paper(record)):
        assert OTHER_BAG not in text
        assert "COI-B" not in text
    assert "NOT ENDED" in on_paper(record)
    assert [one.why for one in record.not_begun] == ["not begun"]
    assert "phases" in {one.item for one in record.open}


def test_a_name_of_another_patient_in_a_text_is_covered() -> None:
    history = history_of(StoredEvents(_diary(a_story()).events, ""), "B-1")
    told = history.without_others(["C-2 and C-1", {"a": "COI-B/x", "b": 3}])
    assert told == [f"{ANOTHER} and C-1", {"a": f"{ANOTHER}/x", "b": 3}]


def _diary(events: list[Any]) -> Diary:
    diary = Diary()
    for second, event in enumerate(events):
        diary.write(event, at_s=float(second))
    return diary


def test_an_act_in_doubt_stands_open_with_what_it_asked() -> None:
    history = history_of(StoredEvents(_diary(a_story()).events, ""), "B-1")
    record = record_of_history(history, SOUND)
    (act,) = _acts(record)
    assert act.attempts[0].outcome == "open"
    assert not act.settled
    items = {one.item for one in record.open}
    assert {"acts", "phases", "end of the batch", "clocks", "alarms", "tasks"} <= items
    assert "P1: pump volume" in on_paper(record)


@pytest.mark.requirement("BRR-05")
def test_who_did_and_verified_hand_work_is_told_by_its_task_alone(folder: Path) -> None:
    stored = read_journal(folder / "journal.sqlite")
    forged = {"performed_by": "U-9998", "verified_by": "U-9999"}
    events = [
        one._replace(event=one.event.model_copy(update={"detail": {**one.event.detail, **forged}}))
        if isinstance(one.event, AttemptSettled)
        else one
        for one in stored.events
    ]
    record = record_of_history(history_of(StoredEvents(events, ""), BATCH), SOUND)
    attempts = [attempt for act in _acts(record) for attempt in act.attempts]
    assert any("verified_by" in one.detail for one in attempts)
    told = {who for one in attempts for who in (one.performed_by, one.verified_by)}
    assert not told & set(forged.values()), told
    assert any(one.verified_by for one in attempts), "a weld was verified"


@pytest.mark.requirement("BRR-01", "IDC-10")
@pytest.mark.parametrize(
    ("spoilt", "update"),
    [
        (ContainerReceived, {"volume": "ten"}),
        (ContainerReceived, {"volumes": ("none",) * 3}),
        (AttemptSettled, {"done": "sixty"}),
    ],
)
def test_an_amount_that_nobody_can_read_is_a_finding_in_a_record_that_is_made_all_the_same(
    folder: Path, spoilt: type[Any], update: dict[str, Any]
) -> None:
    def is_meant(event: Any) -> bool:
        if isinstance(event, ContainerReceived):
            return (event.container == BAG) == ("volume" in update)
        return str(event.done) == "60 mL"

    stored = read_journal(folder / "journal.sqlite")
    events = [
        one._replace(event=one.event.model_copy(update=update))
        if isinstance(one.event, spoilt) and is_meant(one.event)
        else one
        for one in stored.events
    ]
    record = record_of_history(history_of(StoredEvents(events, ""), BATCH), SOUND)
    (text,) = {one.text for one in record.genealogy.unreadable}
    assert text in ("ten", "none", "sixty")
    assert [one.item for one in record.open if repr(text) in one.text] == ["genealogy"] * len(
        record.genealogy.unreadable
    )
    assert f"UNREADABLE: {text!r}" in on_paper(record)


def test_what_nobody_measured_says_so_on_paper(record: BatchRecord) -> None:
    loss = LossEntry(seq=7, container=BAG, volume="39 mL", why="left", calculated_from="x less y")
    gain = GainEntry(seq=8, container=BAG, volume="3 mL", why="buffer", calculated_from="y less x")
    genealogy = record.genealogy.model_copy(update={"losses": (loss,), "gains": (gain,)})
    paper = on_paper(record.model_copy(update={"genealogy": genealogy}))
    words = " ".join(paper.split())
    assert "[7] lost: 39 mL of C-1 (patient bag), left: not measured, calculated from x" in words
    assert "[8] came in: 3 mL of C-1 (patient bag), buffer: not measured, calculated" in words


def test_a_weighed_volume_says_how_far_off_it_may_be(record: BatchRecord) -> None:
    held = {one.container: (one.held, one.error) for one in record.genealogy.accounts}
    assert held["K-1/vessel"] == ("60 mL", "1.5 mL")  # 0.3 mL of the balance, 2 % of density
    assert "60 mL ± 1.5 mL" in on_paper(record)


@pytest.mark.requirement("BRR-05")
def test_a_doubt_a_hold_and_a_deviation_are_told_with_how_they_ended() -> None:
    batch, path = BatchId("B-1"), PhasePath("move/once/02-verify")
    command = CommandId("B-1/move#1.1")

    def change(trigger: str, why: str) -> StateChanged:
        return StateChanged(batch=batch, path=path, trigger=trigger, why=why)

    def signed(user: str, meaning: Literal["performed", "verified", "approved"]) -> Signed:
        return Signed(
            signer=UserId(user), printed_name=user, meaning=meaning, signed_digest="0" * 64,
            signed_at=Instant.read("2026-11-23T10:00:00.000000Z"), reason="seen on the scale",
        )  # fmt: skip

    story = [
        *a_story(),
        AttemptUncertain(batch=batch, command=command, why="no reply"),
        change("hold", "pump_volume in doubt"),
        change("held", ""),
        AttemptReconciled(
            batch=batch, command=command, verdict="nothing",
            signatures=(signed("U-2", "performed"), signed("U-3", "verified")),
        ),
        change("restart", "two people decided"),
        change("restarted", ""),
        DeviationOpened(deviation="D-1", batch=batch, path=path, text="late by an hour"),
        DeviationClosed(deviation="D-1", signature=signed("U-4", "approved")),
    ]  # fmt: skip
    record = record_of_history(history_of(StoredEvents(_diary(story).events, ""), "B-1"), SOUND)
    (reconciled,) = record.reconciliations
    assert (reconciled.doubt, reconciled.verdict) == ("no reply", "nothing")
    assert [one.signer for one in reconciled.signatures] == ["U-2", "U-3"]
    (hold,) = record.holds
    assert (hold.why, hold.ended) == ("pump_volume in doubt", "restart: two people decided")
    assert hold.until is not None
    (deviation,) = record.deviations
    assert deviation.closed is not None
    assert deviation.closed.signer == "U-4"
    assert not {"deviations", "holds", "reconciliations"} & {one.item for one in record.open}
    paper = on_paper(record)
    assert "in doubt because no reply" in paper
    assert "late by an hour" in paper


def test_reports_are_made_on_paper_in_json_and_into_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = call(capsys, "report", BATCH, "--data", folder)
    assert paper.status == 0
    assert paper.out.splitlines()[1].startswith("BATCH RECORD  B-1")
    (told,) = call(capsys, "report", BATCH, "--data", folder, "--json").objects
    assert told["format"] == "batch_record/2"
    assert told["summary"]["acts"] == 12
    out = tmp_path / "record.json"
    silent = call(capsys, "report", BATCH, "--data", folder, "--json", "--out", out)
    assert (silent.status, silent.out) == (0, "")
    assert BatchRecord.model_validate_json(out.read_text()).batch == BATCH
    assert call(capsys, "report", "B-9", "--data", folder).status == 1


@pytest.mark.requirement("REC-03")
def test_a_damaged_journal_gives_the_part_before_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_data_folder(tmp_path)
    connection = opened(folder / "journal.sqlite")
    connection.execute("UPDATE events SET body = replace(body, '30 min', '90 min') WHERE seq = 10")
    connection.close()
    called = call(capsys, "report", "B-1", "--data", folder)
    assert called.status == 1
    assert called.err.count("\n") == 1
    assert "JOURNAL NOT SOUND" in called.out
    record = batch_record(folder / "journal.sqlite", "B-1")
    assert not record.verification.sound
    assert record.verification.first_bad_seq == 10
    assert record.verification.record_to_seq == 9
    assert record.open[0].item == "journal"


# The completeness checker ---------------------------------------------------------------------


def _complete(record: BatchRecord) -> BatchRecord:
    """Return the thin path's record as if all that it lacks were there."""
    fitting = [one.model_copy(update={"fits": True}) for one in record.signatures]
    recipe = [
        fitting[0].model_copy(update={"meaning": meaning, "signer": f"U-{meaning}"})
        for meaning in ("authored", "reviewed", "approved")
    ]
    return record.model_copy(
        update={
            "signatures": tuple(fitting),
            "recipe": record.recipe.model_copy(update={"signatures": tuple(recipe)}),
            "equipment": tuple(
                one.model_copy(update={"serial": "1000001"}) for one in record.equipment
            ),
            "verification": record.verification.model_copy(update={"unanchored_from": None}),
        }
    )


def test_a_record_that_lacks_nothing_has_no_open_item(record: BatchRecord) -> None:
    assert open_items(_complete(record)) == ()


Spoil = Callable[[BatchRecord], dict[str, Any]]


def _phases(record: BatchRecord, **update: Any) -> dict[str, Any]:
    """Return the procedure with its last phase changed."""
    *before, last = record.procedure
    return {"procedure": (*before, last.model_copy(update=update))}


def _with_acts(record: BatchRecord, change: Callable[[ActEntry], ActEntry]) -> dict[str, Any]:
    def changed(phase: PhaseEntry) -> PhaseEntry:
        entries = tuple(
            change(one) if isinstance(one, ActEntry) and one.act == "pump_volume" else one
            for one in phase.entries
        )
        return phase.model_copy(update={"entries": entries})

    return {"procedure": tuple(changed(phase) for phase in record.procedure)}


def _last_attempt(**update: Any) -> Callable[[ActEntry], ActEntry]:
    def change(act: ActEntry) -> ActEntry:
        *before, last = act.attempts
        return act.model_copy(
            update={"attempts": (*before, last.model_copy(update=update)), "settled": False}
        )

    return change


def _count(record: BatchRecord) -> CountEntry:
    return CountEntry(
        seq=1, at=record.made_at, path="x", sample="T", of="", result="", viable_density="",
        viability="", cd3="", engineered="", volume="", viable_cells="", expected_density="",
        expected_viability="", within=None,
    )  # fmt: skip


SPOILED: dict[str, Spoil] = {
    "journal": lambda r: {"verification": r.verification.model_copy(update={"sound": False})},
    "master recipe": lambda r: {
        "recipe": r.recipe.model_copy(update={"signatures": r.recipe.signatures[:2]})
    },
    "signatures": lambda r: {
        "signatures": (r.signatures[0].model_copy(update={"fits": False}),)
    },
    "end of the batch": lambda r: {"status": "stopped"},
    "amendments": lambda r: {
        "amendments": (
            AmendmentEntry(seq=1, amendment="amendment-1", binding="recipe", old="a", new="b",
                           at="", changes=(), reason="r", proposed_by="U", proposed_at=r.made_at,
                           status="proposed", decided_at=None, why_not="", signatures=()),
        )
    },
    "phases": lambda r: _phases(r, ended_at=None),
    "acts": lambda r: _with_acts(r, _last_attempt(outcome="uncertain")),
    "performed by": lambda r: _phases(r, performed_by=()),
    "verified by": lambda r: _phases(
        r, verification=r.procedure[-1].verification.model_copy(update={"by": ("U-0007",)}),
        performed_by=("U-0007",),
    ),
    "measures": lambda r: _with_acts(r, lambda act: act.model_copy(update={"done": ""})),
    "in-process results": lambda r: {"counts": (_count(r),)},
    "components": lambda r: {
        "materials": tuple(one.model_copy(update={"lot": ""}) for one in r.materials)
    },
    "equipment": lambda r: {"equipment": (r.equipment[0].model_copy(update={"shown": ()}),)},
    "identity": lambda r: _with_acts(r, _last_attempt(proven=())),
    "yield": lambda r: {"liquids": ()},
    "labelling": lambda r: {
        "labels": (
            LabelEntry(seq=1, at=r.made_at, container="C", label="L", applied_by="",
                       verified_by="", scanned_back_at=None),
        )
    },
    "line clearance": lambda r: {
        "clearances": (
            ClearanceEntry(seq=1, at=r.made_at, resources=("incubator/1",),
                           clearance="two people", signatures=()),
        )
    },
    "containers": lambda r: {
        "containers": tuple[ContainerEntry, ...](
            one.model_copy(update={"quarantined": "why"}) for one in r.containers
        )
    },
    "genealogy": lambda r: {
        "genealogy": r.genealogy.model_copy(update={"never_received": ("C",)}),
    },
    "deviations": lambda r: {
        "deviations": (
            DeviationEntry(deviation="D-1", path="", text="t", opened_by="system",
                           opened_at=r.made_at, seq=1, closed=None),
        )
    },
    "reconciliations": lambda r: {
        "reconciliations": (
            ReconciliationEntry(seq=1, at=r.made_at, command="c", equipment="P1", doubt="",
                                verdict="all", done="", signatures=(r.signatures[0],)),
        )
    },
    "alarms": lambda r: {
        "alarms": (
            AlarmEntry(seq=1, alarm="a", tier="warn", cause="", consequence="", action="",
                       raised_at=r.made_at, acknowledged_by="", acknowledged_at=None,
                       cleared_at=None),
        )
    },
    "clocks": lambda r: {
        "clocks": (
            ClockEntry(clock="c", started_at=r.made_at, started_seq=1, ended_at=None, minimum="",
                       maximum="1 h", used="", left="", ran_out_at=None, tier="block", source=""),
        )
    },
    "holds": lambda r: {
        "holds": (
            HoldEntry(path="p", kind="hold", since=r.made_at, seq=1, why="", commanded_by="",
                      until=None, ended="", ended_by=""),
        )
    },
    "tasks": lambda r: {
        "open_tasks": (OpenTask(task="T", work="do", status="offered", text="", due=None),)
    },
}  # fmt: skip
"""For each item of the checker, what takes it away from a complete record."""


@pytest.mark.requirement("BRR-02")
@pytest.mark.parametrize("item", RULES)
def test_each_item_that_is_missing_is_named(record: BatchRecord, item: str) -> None:
    whole = _complete(record)
    spoiled = whole.model_copy(update=SPOILED[item](whole))
    assert item in {one.item for one in open_items(spoiled)}


def test_an_error_stands_on_paper_as_a_sentence(record: BatchRecord) -> None:
    phase = record.procedure[0]
    error = {"code": "failed.it", "what": "leak test", "why": "it leaks.", "do_next": "Clamp it"}
    failed = FailureEntry(seq=1, at=record.made_at, error=error)
    told = phase.model_copy(update={"entries": (*phase.entries, failed)})
    paper = on_paper(record.model_copy(update={"procedure": (told, *record.procedure[1:])}))
    assert "FAILED: leak test: it leaks. Clamp it. (failed.it)" in " ".join(paper.split())
