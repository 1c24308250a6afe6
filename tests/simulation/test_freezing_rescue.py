"""Host and freezer die all along a freezing curve; the decision equals the rescue table.

Method: one run for each point of the curve, with the host's death alone and with the
freezer's power cycle at the same moment. The table is copied here by hand, and the phase is
told from the World's temperature, which the software never saw. All is held against the
room: no segment is begun twice, and no command warms the freezer while the bag lies in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from devices.drivers.linkam_t95 import LinkamT95
from orchestrator.cli.main import main
from orchestrator.journal.events import (
    AlarmRaised,
    AnyEvent,
    AttemptIntended,
    AttemptReconciled,
    AttemptSettled,
    AttemptUncertain,
    DeviationOpened,
    PhaseEnded,
    StateChanged,
    TaskOffered,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import NothingDone
from orchestrator.kernel.errors import RefusedError
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.freezing import BAG, FIRST_S, SECOND_S, Freezing, freezing, segment

E = TypeVar("E")

TABLE = {
    "above nucleation": ["all", "part"],
    "in the plateau": ["part"],
    "on the ramp": ["all", "part"],
    "at the end": ["all", "part"],
    "not to be read": ["all", "part"],
}
"""What may be found of a segment that stopped, by phase of the curve: copied by hand."""

CUTS = [(1, 15.0 + 30.0 * n) for n in range(98)] + [(2, 12.0 + 25.0 * n) for n in range(10)]
"""Segment, and seconds since it began: each half kelvin of the first, and ten in the second."""

PARTS = 6
"""The points are dealt out to so many tests, which can run side by side."""

pytestmark = pytest.mark.leaves_tasks("a crash drops tasks on purpose")


def by_hand(*, coldest: float, now: float, had_time: bool) -> str:
    """Return the phase of the curve, as the table in the manual tells it."""
    if coldest > -3.0:
        return "above nucleation"
    if now > -20.0:
        return "in the plateau"
    return "at the end" if had_time else "on the ramp"


def of(recorded: Sequence[Recorded[AnyEvent]], kind: type[E]) -> list[E]:
    """Return the events of one kind."""
    return [one.event for one in recorded if isinstance(one.event, kind)]


def questions(recorded: Sequence[Recorded[AnyEvent]]) -> list[TaskOffered]:
    """Return what two people were asked about attempts in doubt."""
    return [one for one in of(recorded, TaskOffered) if one.task.endswith("/doubt")]


def require_sound(room: Freezing, recorded: list[Recorded[AnyEvent]], where: str) -> None:
    """Check what must hold after each run, whatever was cut."""
    assert room.warmed == [], where
    assert len(room.ramps) == len(set(room.ramps)), f"{where}: a segment was begun twice"
    triggered = [one.asked["to"] for one in of(recorded, AttemptIntended) if one.equipment == "F1"]
    assert len(triggered) == len(set(triggered)), where
    assert room.cell.world.where(BAG) == "dewar/1", where
    cut = {one.command for one in of(recorded, AttemptUncertain)}
    decided = {(one.path, one.word) for one in of(recorded, AttemptIntended) if one.command in cut}
    judged = room.compared(recorded)
    assert judged.repeated == judged.lost == judged.unexplained == (), where
    assert len(judged.acts) >= 4, where
    for act in judged.acts:
        if (act.path, act.word) not in decided:
            assert act.verdict == "as asked", (where, act)


async def until(is_so: Callable[[], bool]) -> None:
    """Return as soon as the room or the record has come so far."""
    while not is_so():  # noqa: ASYNC110 - the room's temperature rings no bell
        await asyncio.sleep(0.2)


def run(story: Callable[[], Any]) -> None:
    """Run a story in virtual time."""
    run_in_virtual_time(story())


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("part", range(PARTS))
def test_the_hosts_death_alone_holds_nothing_and_the_curve_is_run_once(
    tmp_path: Path, part: int
) -> None:
    async def one(number: int, after_s: float) -> None:
        where = f"segment {number}, {after_s} s"
        async with freezing(tmp_path / f"{number}-{after_s}") as room:
            await room.until_dead(segment(number), after_s)
            await asyncio.sleep(40)
            recorded = await room.to_the_end()
            assert questions(recorded) == [], where
            assert room.ramps == [-45.0, -90.0], where
            require_sound(room, recorded, where)

    for number, after_s in CUTS[part::PARTS]:
        run(lambda number=number, after_s=after_s: one(number, after_s))


@pytest.mark.requirement("PRC-09")
@pytest.mark.parametrize("part", range(PARTS))
def test_with_the_freezers_power_cut_the_decision_equals_the_table(
    tmp_path: Path, part: int
) -> None:
    async def one(number: int, after_s: float) -> str:
        where = f"segment {number}, {after_s} s"
        async with freezing(tmp_path / f"{number}-{after_s}") as room:
            await room.until_dead(segment(number), after_s)
            coldest = room.stands_at
            room.stage.power_cycle()
            recorded = await room.to_the_end()
            require_sound(room, recorded, where)
            (question,) = questions(recorded)
            (doubt,) = of(recorded, AttemptUncertain)
            now = float(doubt.after["temperature"])
            phase = by_hand(coldest=coldest, now=now, had_time=False)
            assert question.evidence["interrupted"] == phase, where
            assert [one["name"] for one in question.ask["choices"]] == TABLE[phase], where
            assert phase in question.text, where
            assert "shipped default" in question.text, where
            (decided,) = of(recorded, AttemptReconciled)
            assert decided.verdict == "part", where
            assert room.ramps == [-45.0, -90.0][:number], where
            (deviation,) = of(recorded, DeviationOpened)
            assert deviation.text.startswith(f"cooling ended at {decided.done} in segment"), where
            return phase

    def came_to(number: int, after_s: float) -> str:
        return run_in_virtual_time(one(number, after_s))

    phases = {came_to(number, after_s) for number, after_s in CUTS[part::PARTS]}
    assert phases == {"above nucleation", "in the plateau", "on the ramp"}, "a phase was never met"


def test_enough_points_are_cut() -> None:
    assert len(CUTS) >= 100
    assert all(after_s < (FIRST_S, SECOND_S)[number - 1] for number, after_s in CUTS)


def test_a_driver_that_believes_a_stopped_stage_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_if_nothing(*_: Any) -> NothingDone:
        return NothingDone(why="planted")

    async def story() -> None:
        async with freezing(tmp_path / "run") as room:
            await room.until_dead(segment(1), 1200.0)
            room.stage.power_cycle()
            with monkeypatch.context() as planted:
                planted.setattr(LinkamT95, "_judge", as_if_nothing)
                async with room.cell.engine() as engine:
                    going = asyncio.ensure_future(room.go_to_the_end(engine))
                    await until(lambda: len(room.ramps) > 1)
                    going.cancel()
                    recorded = list(engine.core.journal.events())
            with pytest.raises(AssertionError, match="begun twice"):
                require_sound(room, recorded, "planted")

    run(story)


def test_record_and_hold_say_what_was_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story() -> None:
        async with freezing(tmp_path / "run") as room:
            await room.until_dead(segment(1), 1200.0)
            room.stage.power_cycle()
            recorded = await room.to_the_end()
            held = [one.why for one in of(recorded, StateChanged) if one.trigger == "hold"]
            assert held
            assert all("freezing interrupted in the plateau" in why for why in held)

    run(story)
    main(["report", "B-1", "--data", str(tmp_path / "run"), "--json"])
    record = json.loads(capsys.readouterr().out)
    assert not [one for one in record["open"] if "the act is part" in str(one)]
    assert [one for one in record["open"] if "cooling ended at" in str(one)]


def test_a_power_cut_after_the_last_segment_had_its_time_is_at_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with freezing(tmp_path / "run") as room:
            await room.until_dead(segment(2), SECOND_S - 5)
            await asyncio.sleep(60)
            assert room.stands_at == pytest.approx(-90.0)
            room.stage.power_cycle()
            recorded = await room.to_the_end()
            (question,) = questions(recorded)
            assert question.evidence["interrupted"] == "at the end"
            assert [one["name"] for one in question.ask["choices"]] == TABLE["at the end"]
            (decided,) = of(recorded, AttemptReconciled)
            assert decided.verdict == "all"  # as the freezer's own trace shows
            require_sound(room, recorded, "at the end")

    run(story)


def test_a_power_cut_between_two_segments_is_decided_before_the_second_begins(
    tmp_path: Path,
) -> None:
    def first_is_settled(event: AnyEvent) -> bool:
        return isinstance(event, AttemptSettled) and event.detail.get("temperature") == "-45 °C"

    async def story() -> None:
        async with freezing(tmp_path / "run") as room:
            await room.until_dead(first_is_settled)
            room.stage.power_cycle()
            recorded = await room.to_the_end()
            assert room.ramps == [-45.0]
            (question,) = questions(recorded)
            assert question.evidence["interrupted"] == "on the ramp"
            assert "stopped since the segment before it" in question.text
            require_sound(room, recorded, "between two segments")

    run(story)


def test_a_freezer_that_stops_after_the_curve_holds_nothing_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    def curve_is_complete(event: AnyEvent) -> bool:
        return isinstance(event, PhaseEnded) and event.path.endswith("/03")

    async def story() -> None:
        async with freezing(tmp_path / "run") as room:
            await room.until_dead(curve_is_complete)
            room.stage.power_cycle()
            recorded = await room.to_the_end()
            assert questions(recorded) == []
            (alarm,) = [one for one in of(recorded, AlarmRaised) if "freezer stopped" in one.alarm]
            assert alarm.action.startswith("Take the bags to the dewar at once")
            (deviation,) = of(recorded, DeviationOpened)
            assert "stopped with frozen bags in it" in deviation.text
            require_sound(room, recorded, "after it")

    run(story)


@pytest.mark.parametrize(
    ("after_s", "verdict", "done", "word"),
    [
        (60.0, "nothing", "", "never begun again"),
        (1200.0, "nothing", "", "never begun again"),
        (1200.0, "all", "", "in the plateau"),
        (1200.0, "part", "cold", "temperature"),
    ],
)
def test_nobody_can_have_a_segment_begun_again(
    tmp_path: Path, after_s: float, verdict: str, done: str, word: str
) -> None:
    async def story() -> None:
        async with freezing(tmp_path / "run") as room:
            await room.until_dead(segment(1), after_s)
            room.stage.power_cycle()
            async with room.cell.engine() as engine:
                await until(lambda: any(one.endswith("/doubt") for one in engine.core.state.tasks))
                (task,) = [one for one in engine.core.state.tasks if one.endswith("/doubt")]
                with pytest.raises(RefusedError, match=word):
                    await room.cell.give(
                        "supervisor", "reconcile", task=task, verdict=verdict, done=done
                    )

    run(story)


def test_a_freezer_that_loses_power_while_the_host_lives_is_found_within_minutes(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with freezing(tmp_path / "run") as room, room.cell.engine() as engine:
            going = asyncio.ensure_future(room.go_to_the_end(engine))
            await until(lambda: room.stands_at <= -10)
            room.stage.power_cycle()
            cut = asyncio.get_running_loop().time()
            await until(lambda: any(one.endswith("/doubt") for one in engine.core.state.tasks))
            assert asyncio.get_running_loop().time() - cut < 120
            await going
            recorded = list(engine.core.journal.events())
            (question,) = questions(recorded)
            assert question.evidence["interrupted"] == "in the plateau"
            assert room.ramps == [-45.0]
            require_sound(room, recorded, "the host lives")

    run(story)


def test_a_hold_lets_the_segment_reach_its_end_and_the_curve_goes_on_from_there(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with freezing(tmp_path / "run") as room, room.cell.engine() as engine:
            going = asyncio.ensure_future(room.go_to_the_end(engine))
            await until(lambda: room.stands_at <= -10)
            await room.cell.give("supervisor", "hold", batch="B-1", why="a look at the line")
            before = room.stands_at
            await asyncio.sleep(120)
            assert room.stands_at == pytest.approx(before - 2, abs=0.1), "the hold stopped it"
            await asyncio.sleep(3600)
            assert room.stands_at == pytest.approx(-45.0)
            assert room.ramps == [-45.0]
            await room.cell.give("supervisor", "restart", batch="B-1", why="looked")
            await going
            assert room.ramps == [-45.0, -90.0]
            require_sound(room, list(engine.core.journal.events()), "a hold")

    run(story)
