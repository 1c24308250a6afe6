"""A protocol of thirty acts dies and resumes; planted faults of the product are found by it.

Method: the harness that users call, on a protocol in which six instruments and hands act. A
fault is a patch of the product that a test applies before both runs; the harness knows
nothing of it and must say so by what the World shows.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from devices.drivers.watson_marlow_530du import WatsonMarlow530Du
from devices.interfaces.fluid_transfer import PumpVolume
from hw_mocks.emulator import Moment
from orchestrator.cli.main import main
from orchestrator.engine.actor import Actor
from orchestrator.engine.core import Core
from orchestrator.engine.recognition import equipment_seen
from orchestrator.journal.events import AnyEvent, AttemptIntended
from orchestrator.kernel.acts import AllDone, Effect, NothingDone
from orchestrator.process_cell.simulation import REFERENCE_CELL
from orchestrator.proof.afterwards import Proving
from orchestrator.proof.choosing import DECIDING
from orchestrator.proof.evidence import Proof, write_evidence
from orchestrator.proof.points import Kind, Point
from orchestrator.proof.proving import Asked, proof_of
from orchestrator.proof.reach import not_reached, stages
from orchestrator.proof.restart import prove
from orchestrator.proof.run import uninterrupted
from orchestrator.proof.story import ProtocolStory
from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Recipe

PROTOCOL = Path(__file__).parent / "seed_and_wash.py"
SEED = 1
PUMPED = "B-001/seed/fill/03-transfer#"
"""Where the patient's cells are pumped into the vessel."""

pytestmark = pytest.mark.leaves_tasks("a death drops tasks on purpose")


@cache
def recipe() -> Recipe:
    found = check_file(PROTOCOL)
    assert found.recipe is not None, found.findings
    return found.recipe


def story() -> ProtocolStory:
    return ProtocolStory(recipe(), REFERENCE_CELL, seed=SEED)


def died_at_the_pump(folder: Path, *, dead_s: float = 0.0) -> list[dict[str, Any]]:
    """Return what came of deaths around the pumping of the patient's cells."""
    first = uninterrupted(story(), folder)
    proving = Proving(seed=SEED, dead_s=(dead_s,))
    with first.disk:
        chosen = list(around_the_pump(first.course.points))
        assert len(chosen) > 8
        return [dict(one) for one in prove(story(), first, chosen, proving, folder)]


def around_the_pump(points: Iterable[Point]) -> Iterable[Point]:
    """Yield points from the pump's trigger until it has ended, and one in three of the journal."""
    began = False
    for point in points:
        if point.kind is Kind.TRIGGER and str(point.command).startswith(PUMPED):
            began = point.at.startswith("sent/P1/")
            if (began and point.detail in (0, 3, 6)) or point.whole:
                yield point
        elif began and point.kind is Kind.MOMENT:
            yield point
            if point.what.startswith(f"P1: {Moment.ENDED}"):
                return
        elif began and point.kind is Kind.JOURNAL and point.detail % 3 == 0:
            yield point


def wrong(runs: Iterable[dict[str, Any]], what: str) -> list[Any]:
    return [one[what] for one in runs if one.get(what)]


@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(120)
def test_a_protocol_survives_a_death_at_points_drawn_by_the_seed(seed: int) -> None:
    proof = proof_of(story(), recipe(), Asked(seed=seed, cuts=25))
    assert (proof.repeated, proof.lost, proof.failed) == (0, 0, 0), proof.as_text()
    assert len(proof.choice.points) == 25
    assert proof.images > len(proof.runs) >= 25
    assert proof.findings == ()


@pytest.mark.release_proof
@pytest.mark.requirement("PRC-09")
@pytest.mark.timeout(900)
def test_a_protocol_survives_a_death_at_every_point(tmp_path: Path) -> None:
    proof = proof_of(story(), recipe(), Asked(seed=SEED))
    write_evidence(proof, tmp_path)
    assert proof.is_proven, proof.as_text()
    assert all(proof.choice.chosen(kind) == proof.choice.there[kind] for kind in DECIDING)


def test_where_nothing_is_planted_the_pump_is_proven(tmp_path: Path) -> None:
    runs = died_at_the_pump(tmp_path)
    assert [wrong(runs, what) for what in ("repeated", "lost", "failed")] == [[], [], []]


def test_a_settlement_before_the_act_is_found_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    well: Any = vars(Actor)["_do"]

    async def settled_first(self: Any, phase: Any, unit: Any, module: Any, driver: Any, act: Any,
                            command: Any, before: Any, evidence: Any) -> Any:  # fmt: skip
        if not str(command).startswith(PUMPED) or not isinstance(act, PumpVolume):
            return await well(self, phase, unit, module, driver, act, command, before, evidence)
        await driver.prepare(act)
        done = AllDone(effect=Effect(done=str(act.volume)))
        await self._settle(phase, command, done, before, evidence)
        await driver.trigger(act, command)
        shown = (await driver.settle(act, command, before)).standing
        seen = equipment_seen(module.equipment, await driver.identify(), shown)
        await self._core.record_for_host(seen)
        return None

    monkeypatch.setattr(Actor, "_do", settled_first)
    assert wrong(died_at_the_pump(tmp_path), "lost")


def test_a_trigger_sent_again_after_a_restart_is_found_as_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believed_undone(self: Any, phase: Any, driver: Any, act: Any, attempt: Any) -> None:
        shown = await driver.standing()
        await self.quieten(attempt.equipment, act, "an attempt was interrupted")
        report = NothingDone(why="nobody asked")
        await self._settle(phase, attempt.command, report, shown, {})

    monkeypatch.setattr(Actor, "_reconcile", believed_undone)
    assert wrong(died_at_the_pump(tmp_path, dead_s=3600.0), "repeated")


def test_an_intent_after_the_trigger_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[tuple[Core, str, AnyEvent]] = []
    record, trigger = Core.record, WatsonMarlow530Du.trigger

    async def record_late(self: Core, stream: str, *events: AnyEvent, answer: Any = None) -> int:
        if isinstance(events[0], AttemptIntended) and events[0].equipment == "P1":
            late.append((self, stream, events[0]))
            return 0
        return await record(self, stream, *events, answer=answer)

    async def trigger_first(self: Any, act: Any, command: Any) -> None:
        await trigger(self, act, command)
        core, stream, event = late.pop()
        await record(core, stream, event)

    monkeypatch.setattr(Core, "record", record_late)
    monkeypatch.setattr(WatsonMarlow530Du, "trigger", trigger_first)
    runs = died_at_the_pump(tmp_path)
    assert wrong(runs, "repeated") or wrong(runs, "failed")


def test_a_reach_that_is_not_met_is_said(tmp_path: Path) -> None:
    proof = proof_of(story(), recipe(), Asked(seed=SEED, cuts=2))
    assert not proof.is_proven
    assert proof.not_reached
    assert "not reached: " in proof.as_text()
    assert (proof.repeated, proof.lost, proof.failed) == (0, 0, 0), proof.as_text()
    evidence, text = write_evidence(proof, tmp_path)
    told = json.loads(evidence.read_text())
    assert told["not_reached"] == list(proof.not_reached)
    assert len(told["every_run"]) == len(proof.runs)
    assert str(os.getcwd()) not in evidence.read_text() + text.read_text()


def test_one_point_is_replayed_by_its_name() -> None:
    def at(name: str) -> Proof:
        return proof_of(story(), recipe(), Asked(seed=SEED, only=name))

    told = [[{k: v for k, v in run.items() if k != "wall_s"} for run in at("sent/P1/40/3").runs]
            for _ in range(2)]  # fmt: skip
    assert told[0] == told[1]
    assert told[0][0]["points"] == ["sent/P1/40/3"]


def test_a_second_death_is_replayed_by_its_name() -> None:
    once = proof_of(story(), recipe(), Asked(seed=SEED, only="sent/P1/40/3", double=True))
    assert len(once.second_deaths) > 10
    assert once.is_proven, once.as_text()
    name = sorted(once.second_deaths)[0]
    again = proof_of(story(), recipe(), Asked(seed=SEED, only=name))
    assert [run["points"] for run in again.runs] == [[name]] * len(again.runs)
    assert again.is_proven
    assert again.runs


def test_a_call_that_says_no_number_of_points_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["prove", "restart", str(PROTOCOL), "--cuts", "some"]) == 2
    assert "die at some points" in capsys.readouterr().err


def test_a_point_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "restart", str(PROTOCOL), "--only", "sent/P1/99999/1"]) == 1
    assert "no such point" in capsys.readouterr().err


def test_each_stage_of_each_act_is_asked_for(tmp_path: Path) -> None:
    first = uninterrupted(story(), tmp_path)
    with first.disk:
        wanted = stages(first.course, first.events)
    acts = {one.event.command for one in first.events if isinstance(one.event, AttemptIntended)}
    names: dict[str, set[str]] = {}
    for stage in wanted:
        names.setdefault(stage.subject.split()[0], set()).add(stage.name)
    assert acts <= names.keys()
    by_machine = [said for said in names.values() if "before its intent was durable" in said]
    assert len(by_machine) > 10
    untriggered = [said for said in by_machine if "before it was settled without a trigger" in said]
    assert len(untriggered) == 1, "the arm's first attempt makes it ready, and begins nothing"
    assert all(len(said) == 5 for said in by_machine if said not in untriggered), by_machine
    assert len(not_reached(wanted, [])) == len(wanted)


def test_a_child_that_hangs_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Actor, "_reconcile", hang)
    runs = died_at_the_pump(tmp_path)
    assert any("stands still" in str(said) for said in wrong(runs, "failed"))
