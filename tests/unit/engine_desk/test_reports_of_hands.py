"""What people report of hand work is what was asked, readable and possible, or isn't recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chain_of_identity.pre_printed import roll
from devices.interfaces.hands import HandAct, Handwork
from hw_mocks.seeds import seeded_bytes
from orchestrator.engine.engine import Engine
from orchestrator.engine.refused_labels import record_refusal, refusal_alarm
from orchestrator.engine.words import doubt_offered
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    AttemptReconciled,
    AttemptSettled,
    AttemptUncertain,
    ContainerReceived,
    HandWorkReportedLate,
    IdentityRefused,
    LeaseGranted,
    PhaseStarted,
    TaskOffered,
    TaskReported,
    TaskWithdrawn,
)
from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.errors import IdentityRefusedError, NotAuthorisedError, RefusedError
from orchestrator.kernel.identifiers import (
    CoiId,
    CommandId,
    ContainerId,
    EquipmentId,
    PhasePath,
    PlaceId,
    TaskId,
    UserId,
)
from orchestrator.kernel.quantities import minute
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.records.patient_page import Known, page_of_all
from tests.simulation.thin import BAG, BATCH, KIT, OTHER_BAG
from tests.unit.engine_desk.test_desk_refusals import tried

TASK = TaskId("B-1/work#1.1")
PATH = PhasePath("move/once/01-verify")
COMMAND = CommandId("B-1/move/once/01-verify#1.1")
DOUBT = f"{COMMAND}/doubt"
FIRST, SECOND = "day-1", "day-2"


def _off_duty(cell: EmulatedCell) -> None:
    for one in cell.technicians:
        one.is_on_duty = lambda _: False


def _offered(work: str, *report: str, containers: tuple[str, ...] = (BAG,)) -> TaskOffered:
    return TaskOffered(
        task=TASK,
        batch=None,
        path=None,
        word=None,
        work="do",
        text="do it",
        ask={"work": work, "report": list(report), "containers": list(containers)},
        second_person=False,
        due=None,
    )


def _labels(count: int) -> list[str]:
    labels = roll(seeded_bytes(3))
    return [str(next(labels)) for _ in range(count)]


BAD_VOLUMES = ("185 min", "-5 mL", "300.001 mL", "1 g", "185", "185mL", "a lot", "nan mL")


@pytest.mark.parametrize("volume", BAD_VOLUMES)
@pytest.mark.parametrize(
    ("work", "containers"), [("receive", (BAG,)), ("select_magnetically", (f"{KIT}/waste", BAG))]
)
def test_a_volume_that_its_container_cannot_hold_is_not_recorded(
    tmp_path: Path, volume: str, work: str, containers: tuple[str, ...]
) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await engine.core.record_for_host(_offered(work, "volume", containers=containers))
        before = engine.core.state.seq
        with pytest.raises(RefusedError, match="volume"):
            await cell.give(FIRST, "report_task", task=str(TASK), values={"volume": volume})
        assert engine.core.state.seq == before
        await cell.give(FIRST, "report_task", task=str(TASK), values={"volume": "300 mL"})
        assert engine.core.state.tasks[TASK].values == {"volume": "300 mL"}

    tried(tmp_path, attempt)


def test_a_volume_is_bounded_where_no_capacity_is_on_file(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        offered = _offered("receive", "volume", containers=(f"{KIT}/vessel",))
        await engine.core.record_for_host(offered)
        with pytest.raises(RefusedError, match="10 L"):
            await cell.give(FIRST, "report_task", task=str(TASK), values={"volume": "185 L"})

    tried(tmp_path, attempt)


def test_a_late_report_is_held_to_the_same(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await engine.core.record_for_host(
            _offered("receive", "volume"), TaskWithdrawn(task=TASK, why="held")
        )
        before = engine.core.state.seq
        with pytest.raises(RefusedError, match="volume"):
            await cell.give(FIRST, "report_task", task=str(TASK), values={"volume": "185 min"})
        assert engine.core.state.seq == before

    tried(tmp_path, attempt)


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": {"weld": "sound", "volume": "20 mL"}},
        {"values": {"weld": "sound", "verified_by": "U-0001"}},
        {"values": {"weld": "sound", "performed_by": "U-0001"}},
        {"values": {"verified_by": "U-0001", "why": "it tore"}, "choice": "not done"},
        {"values": {"verified_by": "U-0001"}, "declined": "it tore"},
    ],
)
def test_what_nobody_asked_for_is_not_recorded(tmp_path: Path, arguments: dict[str, Any]) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await engine.core.record_for_host(_offered("weld", "weld"))
        before = engine.core.state.seq
        with pytest.raises(RefusedError, match="nobody asked for"):
            await cell.give(FIRST, "report_task", task=str(TASK), **arguments)
        assert engine.core.state.seq == before

    tried(tmp_path, attempt)


def test_a_word_that_the_work_does_not_know_is_not_recorded(tmp_path: Path) -> None:
    asked = _offered("test_leak", "leak")
    asked = asked.model_copy(update={"ask": {**asked.ask, "words": {"leak": ["none", "found"]}}})

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await engine.core.record_for_host(asked)
        before = engine.core.state.seq
        for word in ("no", "None", "none "):
            with pytest.raises(RefusedError, match="leak=none or leak=found"):
                await cell.give(FIRST, "report_task", task=str(TASK), values={"leak": word})
        assert engine.core.state.seq == before
        await cell.give(FIRST, "report_task", task=str(TASK), values={"leak": "found"})

    tried(tmp_path, attempt)


def test_a_question_is_answered_by_its_entries_alone_and_by_all(tmp_path: Path) -> None:
    entry = {"name": "confluence", "lowest": "0 %", "highest": "100 %"}
    question = _offered("x").model_copy(update={"work": "enter", "ask": {"entries": [entry]}})
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"values": {"confluence": "80 %", "verified_by": "U-0001"}}, "nobody asked for"),
        ({"values": {}, "choice": "not done"}, "lacks confluence"),
        ({"values": ["confluence"]}, "texts by name"),
        ({"values": {"confluence": 80}}, "texts by name"),
    ]

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await engine.core.record_for_host(question)
        before = engine.core.state.seq
        for arguments, why in wrong:
            with pytest.raises(RefusedError, match=why):
                await cell.give(FIRST, "answer_task", task=str(TASK), **arguments)
        assert engine.core.state.seq == before
        await cell.give(FIRST, "answer_task", task=str(TASK), values={"confluence": "80 %"})

    tried(tmp_path, attempt)


@pytest.mark.requirement("SIG-10")
@pytest.mark.parametrize("choice", ["", "not done"])
def test_hand_work_is_reported_by_who_may_report_it(tmp_path: Path, choice: str) -> None:
    """Quality answers questions; who decides on material didn't make it."""

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await engine.core.record_for_host(_offered("weld", "weld"))
        said = {"task": str(TASK), "values": {} if choice else {"weld": "sound"}, "choice": choice}
        with pytest.raises(NotAuthorisedError):
            await cell.give("quality", "report_task", **said)
        for login in ("quality", FIRST):
            with pytest.raises(RefusedError, match="it is hand work"):
                await cell.give(login, "answer_task", **said)
        assert engine.core.state.tasks[TASK].status == "offered"

    tried(tmp_path, attempt)


def test_a_label_is_taken_from_its_report_on_and_stays_so_when_another_counts(
    tmp_path: Path,
) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        reported, covered = _labels(2)
        labelling = _offered("apply_label", "label").model_copy(update={"second_person": True})
        await engine.core.record_for_host(labelling)
        await cell.give(FIRST, "report_task", task=str(TASK), values={"label": reported})
        assert reported not in engine.core.state.labels, "nobody has verified it yet"
        await _intend(engine, Handwork.APPLY_LABEL, "label")
        for label in (covered, _labels(3)[-1]):  # the second one is stuck on beside the first
            engine.core.state.attempts.pop(COMMAND, None)
            await _intend(engine, Handwork.APPLY_LABEL, "label")
            await _record(engine, _settled({"label": label}))
        assert engine.core.state.containers[BAG].label != covered
        for label in (reported, covered):
            with pytest.raises(RefusedError, match="another container's"):
                await cell.give(
                    FIRST, "receive_material", container="C-9", label=label, material="bag",
                    what="empty", capacity="100 mL", volume="0 mL",
                )  # fmt: skip

    tried(tmp_path, attempt)


# two people decide ---------------------------------------------------------------------------


def _hand_act(work: Handwork, *report: str) -> HandAct:
    return HandAct(
        unit="transfer-station",
        work=work,
        instruction="do it",
        containers=(ContainerId(BAG),),
        report=report,
        longest=30 * minute,
        on_interruption=OnInterruption.HOLD,
        quieten=Quieten.LEAVE_RUNNING,
    )


async def _record(engine: Engine, *events: AnyEvent) -> None:
    await engine.core.record(BATCH, *events)


async def _intend(engine: Engine, work: Handwork, *report: str) -> HandAct:
    return await _intend_act(engine, _hand_act(work, *report))


async def _intend_act(engine: Engine, act: HandAct) -> HandAct:
    recipe = engine.core.state.batches[BATCH].recipe
    await _record(
        engine,
        PhaseStarted.model_validate(
            {"batch": BATCH, "path": PATH, "phase": "receive/1", "recipe": recipe}
        ),
        AttemptIntended(
            batch=BATCH,
            path=PATH,
            word=1,
            attempt=1,
            command=COMMAND,
            equipment=EquipmentId("hands"),
            asked=act.model_dump(mode="json"),
            before={},
            witness="",
            evidence={},
        ),
    )
    return act


async def doubt_about(engine: Engine, work: Handwork, *report: str) -> None:
    act = await _intend(engine, work, *report)
    await _record(engine, AttemptUncertain(batch=BATCH, command=COMMAND, why="reported late"))
    attempt = engine.core.state.batches[BATCH].phases[PATH].words[1].attempts[-1]
    now = engine.core.clock.utc()
    await _record(engine, doubt_offered(BATCH, PATH, attempt, act, "reported late", now=now))


def _settled(detail: dict[str, str]) -> AttemptSettled:
    return AttemptSettled(
        batch=BATCH, command=COMMAND, verdict="all", done="1", detail=detail, after={}, witness="",
        evidence={},
    )  # fmt: skip


def _decided(detail: dict[str, str]) -> AttemptReconciled:
    return AttemptReconciled(
        batch=BATCH, command=COMMAND, verdict="all", done="1", detail=detail, signatures=()
    )


async def _found_all(cell: EmulatedCell, login: str, values: Mapping[str, str]) -> None:
    await cell.give(login, "reconcile", task=DOUBT, verdict="all", values=dict(values))


@pytest.mark.requirement("PRC-09")
def test_two_people_who_find_all_done_sign_what_the_report_owes(tmp_path: Path) -> None:
    label, other = _labels(2)

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        state = engine.core.state
        await doubt_about(engine, Handwork.APPLY_LABEL, "label")
        before = state.seq
        wrong: list[tuple[dict[str, str], str]] = [
            ({}, "lacks label"),
            ({"label": label, "verified_by": "U-0001"}, "nobody asked for"),
        ]
        for values, why in wrong:
            with pytest.raises(RefusedError, match=why):
                await _found_all(cell, FIRST, values)
        with pytest.raises(RefusedError, match="nobody asked for"):
            await cell.give(
                FIRST, "reconcile", task=DOUBT, verdict="nothing", values={"label": label}
            )
        assert state.seq == before
        await _found_all(cell, FIRST, {"label": label})
        with pytest.raises(RefusedError, match="stated something else"):
            await _found_all(cell, SECOND, {"label": other})
        await _found_all(cell, FIRST, {"label": label})
        await _found_all(cell, SECOND, {"label": label})
        (decided,) = [
            one.event
            for one in engine.core.journal.events()
            if isinstance(one.event, AttemptReconciled)
        ]
        assert decided.detail == {"label": label}
        assert [one.meaning for one in decided.signatures] == ["performed", "verified"]
        bag = state.containers[BAG]
        assert (bag.label, bag.beside, state.labels[label]) == (f"L-{BAG}", label, BAG)
        assert not state.batches[BATCH].broken

    tried(tmp_path, attempt)


def test_two_people_state_a_volume_that_can_be(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await doubt_about(engine, Handwork.RECEIVE, "volume")
        for volume in BAD_VOLUMES:
            with pytest.raises(RefusedError, match="volume"):
                await _found_all(cell, FIRST, {"volume": volume})
        await _found_all(cell, FIRST, {"volume": "185 mL"})
        await _found_all(cell, SECOND, {"volume": "185.0 mL"})
        assert engine.core.state.containers[BAG].volume_nl == 185_000_000

    tried(tmp_path, attempt)


def test_a_label_that_was_reported_late_can_be_confirmed(tmp_path: Path) -> None:
    (label,) = _labels(1)

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        offered = _offered("apply_label", "label")
        by = UserId("U-0001")
        await engine.core.record_for_host(
            offered.model_copy(update={"task": TaskId(str(COMMAND))}),
            TaskReported(task=TaskId(str(COMMAND)), by=by, values={"label": label}),
        )
        await doubt_about(engine, Handwork.APPLY_LABEL, "label")
        await _found_all(cell, FIRST, {"label": label})
        await _found_all(cell, SECOND, {"label": label})
        assert engine.core.state.labels[label] == BAG

    tried(tmp_path, attempt)


# the ledger --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [_settled, _decided])
@pytest.mark.parametrize(
    ("work", "asked", "detail"),
    [
        (Handwork.RECEIVE, "volume", {"volume": "185 min"}),
        (Handwork.RECEIVE, "volume", {"volume": "-5 mL"}),
        (Handwork.RECEIVE, "volume", {}),
        (Handwork.APPLY_LABEL, "label", {}),
    ],
)
def test_what_cannot_be_believed_quarantines_and_breaks_no_batch(
    tmp_path: Path, end: Any, work: Handwork, asked: str, detail: dict[str, str]
) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await _intend(engine, work, asked)
        await _record(engine, end(detail))
        state = engine.core.state
        assert not state.batches[BATCH].broken
        assert not state.unfolded
        bag = state.containers[BAG]
        assert bag.quarantined
        assert (bag.label, bag.volume_nl) == (f"L-{BAG}", 100_000_000)

    tried(tmp_path, attempt)


def test_a_label_is_never_taken_from_another_container(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        state = engine.core.state
        await _intend(engine, Handwork.APPLY_LABEL, "label")
        await _record(engine, _settled({"label": f"L-{OTHER_BAG}"}))
        assert state.labels[f"L-{OTHER_BAG}"] == OTHER_BAG
        assert state.containers[BAG].label == f"L-{BAG}"
        assert state.containers[BAG].quarantined
        assert state.containers[OTHER_BAG].quarantined
        received = ContainerReceived(
            container=ContainerId("C-9"), label=f"L-{KIT}", material="bag", what="empty",
            by=UserId("U-0001"),
        )  # fmt: skip
        await engine.core.record_for_host(received)
        assert state.labels[f"L-{KIT}"] == KIT
        assert state.containers["C-9"].quarantined
        assert not state.unfolded

    tried(tmp_path, attempt)


@pytest.mark.requirement("IDC-07")
def test_nothing_is_carried_to_where_an_act_puts_something(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        leased = LeaseGranted(
            batch=BATCH, path=PhasePath("move/once"), coi=CoiId("COI-A"), resources=("hook",),
            until="operation",
        )  # fmt: skip
        hangs = _hand_act(Handwork.HANG).model_copy(update={"at": (PlaceId("hook"),)})
        await _record(engine, leased)
        await _intend_act(engine, hangs)
        carried = {"label": f"L-{KIT}", "to": "hook"}
        with pytest.raises(RefusedError, match=f"batch {BATCH} is working there"):
            await cell.give(FIRST, "carry_away", **carried)
        await _record(engine, _settled({}))
        with pytest.raises(RefusedError, match=f"by the record {BAG} stands there"):
            await cell.give(FIRST, "carry_away", **carried)
        assert not engine.core.state.containers[KIT].place

    tried(tmp_path, attempt)


@pytest.mark.requirement("IDC-05")
def test_a_late_report_of_a_label_that_the_other_reported_is_on_record(tmp_path: Path) -> None:
    """Both name the one label that is on the bag: neither is refused for the other's sake."""
    (label,) = _labels(1)

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        state = engine.core.state
        await _intend(engine, Handwork.APPLY_LABEL, "label")
        old, new = TaskId(str(COMMAND)), TaskId(f"{COMMAND.rpartition('.')[0]}.2")
        offered = _offered("apply_label", "label").model_copy(
            update={"task": old, "batch": BATCH, "path": PATH, "second_person": True}
        )
        await _record(engine, offered, TaskWithdrawn(task=old, why="held"))
        await _record(
            engine,
            AttemptSettled(
                batch=BATCH, command=COMMAND, verdict="nothing", done="", detail={}, after={},
                witness="", evidence={},
            ),
            AttemptIntended(
                batch=BATCH, path=PATH, word=1, attempt=2, command=CommandId(str(new)),
                equipment=EquipmentId("hands"),
                asked=_hand_act(Handwork.APPLY_LABEL, "label").model_dump(mode="json"),
                before={}, witness="", evidence={},
            ),
            offered.model_copy(update={"task": new}),
        )  # fmt: skip
        await cell.give(SECOND, "report_task", task=str(new), values={"label": label})
        await cell.give(FIRST, "report_task", task=str(old), values={"label": label})
        (late,) = [
            one.event
            for one in engine.core.journal.events()
            if isinstance(one.event, HandWorkReportedLate)
        ]
        assert (late.against, late.values) == (new, {"label": label})
        assert state.tasks[f"{old}/late"].status == "offered"

    tried(tmp_path, attempt)


def test_hand_work_in_doubt_is_told_in_the_words_of_its_instruction(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await doubt_about(engine, Handwork.APPLY_LABEL, "label")
        told = engine.core.state.tasks[TaskId(DOUBT)].text
        assert told.startswith("hand work (apply label) is in doubt: reported late. Asked was: do")
        known = Known(engine.core.state, daemon="down")
        (page,) = (
            one for one in page_of_all(known, engine.core.clock)["patients"] if one["in_doubt"]
        )
        first = page["by_hand"][0]
        assert first.startswith("Don't do this again by hand (do it)")
        for raw in ("hand_act", "hands running", "second person True"):
            assert raw not in str(page["by_hand"]) + str(page["in_doubt"]) + told

    tried(tmp_path, attempt)


def test_two_people_do_not_state_as_done_what_work_does_not_go_on_by(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        weld = _hand_act(Handwork.WELD, "weld")
        weld = weld.model_copy(update={"words": {"weld": ("sound", "unsound")}})
        await _intend_act(engine, weld)
        await _record(engine, AttemptUncertain(batch=BATCH, command=COMMAND, why="unsound"))
        seen = engine.core.state.batches[BATCH].phases[PATH].words[1].attempts[-1]
        now = engine.core.clock.utc()
        await _record(engine, doubt_offered(BATCH, PATH, seen, weld, "unsound", now=now))
        stated = {"task": DOUBT, "verdict": "all", "done": ""}
        with pytest.raises(RefusedError, match="nothing goes on by weld=unsound"):
            await cell.give(FIRST, "reconcile", **stated, values={"weld": "unsound"})
        await cell.give(FIRST, "reconcile", **stated, values={"weld": "sound"})

    tried(tmp_path, attempt)


def test_the_alarm_of_a_refused_label_gives_its_advice_once(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        _off_duty(cell)
        await _intend(engine, Handwork.APPLY_LABEL, "label")
        refused = IdentityRefusedError("scan C-1", why="it is C-2", do_next="Fetch the right one")
        event = IdentityRefused(
            batch=BATCH,
            path=PATH,
            word=1,
            expected=ContainerId(BAG),
            place=PlaceId("hook"),
            scanner=None,
            label_sha256="0" * 64,
            why=refused.why,
        )
        await record_refusal(engine.core, engine.alarms, event, refused, label="nobody's")
        alarm = engine.core.state.alarms[refusal_alarm(BATCH, PATH)]
        assert (alarm.cause, alarm.action) == ("scan C-1: it is C-2", "Fetch the right one")

    tried(tmp_path, attempt)
