"""Instruments that are left alone show no outside act; a key pressed at a panel shows one.

Method: a batch (``every_instrument.py``) acts with every instrument of the reference cell, leaves
all of them alone, and acts with each again. Meanwhile emulators live: balances drift, the chamber
regulates, the stage rests, clocks and ids go on. A key is pressed while nobody acts; where it
would then do nothing (a tare without load, a count without a tube) it is pressed beside hand work.
Hands have no panel and show nothing by themselves: what they do unasked is found by the scan
before the next act, and by the comparison with the room (``test_judge.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hw_mocks import (
    astm_cell_counter,
    brooks_pf400,
    highres_microspin,
    linkam_t95,
    mettler_mt_sics,
    serial_scanner,
    thermo_vios_160i,
    watson_marlow_530du,
)
from orchestrator.engine import outside_acts
from orchestrator.engine.interlocks import outside_act
from orchestrator.kernel.quantities import day, hour
from orchestrator.process_cell.simulation import BATCH
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.one_batch import (
    TEN_DAYS,
    Watched,
    idle,
    offered,
    running,
)

pytestmark = pytest.mark.leaves_tasks("a batch that is held is left as it is")

ACTING = ("P1", "V1", "R1", "C1", "I1", "N1", "F1")
"""What acts; balances and scanners are only asked."""


@dataclass(frozen=True)
class Press:
    """One key of one panel.

    Args:
        values: What strays: the first is named by the event, the others with it.
        beside: The hand work during which it is pressed; empty is while nobody does anything.
        held_at: Part of the path of the phase that is held when its unit is next asked to act.
    """

    equipment: str
    key: str
    values: tuple[str, ...]
    held_at: str
    beside: str = ""

    def __str__(self) -> str:
        return f"{self.equipment} {self.key}"


SEEN = (
    Press("P1", "MAX", ("count",), "connect"),
    Press("P1", "START", ("count", "running"), "connect"),
    Press("V1", "DO2", ("open",), "connect"),
    Press("W1", "TARE", ("tare",), "transfer", beside="unhang"),
    Press("W2", "TARE", ("tare",), "connect", beside="draw_sample"),
    Press("R1", "J1+", ("joint_1",), "move-container"),
    Press("C1", "OPEN", ("spindle", "door"), "concentrate"),
    Press("I1", "T+", ("temperature",), "set-climate"),
    Press("I1", "CO2-", ("carbon_dioxide",), "set-climate"),
    Press("N1", "START", ("result",), "sample-and-count", beside="unload_counter"),
    Press("F1", "STOP", ("state", "temperature"), "precool"),
    Press("F1", "HOLD", ("state",), "precool"),
)

NOTHING_DONE = {
    ("P1", "UP"): "each act sets the speed anew and reads it back",
    ("P1", "DOWN"): "each act sets the speed anew and reads it back",
    ("P1", "DIRECTION"): "each act sets the direction anew and reads it back",
    ("P1", "REMOTE"): "it is under remote control already",
    ("W1", "TARE"): "nothing hangs there: the tare stays 0",
    ("W1", "ZERO"): "no command reads the zero point; every transfer weighs before and after",
    ("W2", "ZERO"): "no command reads the zero point; every transfer weighs before and after",
    ("R1", "GRIPPER OPEN"): "it holds nothing and is open",
    ("R1", "GRIPPER CLOSE"): "it closes on nothing",
    ("N1", "START"): "no tube stands there: nothing is counted",
    ("F1", "START"): "it goes to the limit where it is",
    ("S1", "TRIGGER"): "a scan changes nothing",
    ("S2", "TRIGGER"): "a scan changes nothing",
}
"""Keys of idle instruments that change nothing that an act of ours doesn't set anew, and why."""

LOCKED = {
    ("P1", "STOP"): "shows",
    ("R1", "ESTOP"): "the emergency stop is down",
    ("C1", "ABORT"): "aborted",
}
"""Keys that move nothing and lock the instrument: its next act is held, and says why."""

ALIKE = {
    *(("R1", key) for key in brooks_pf400.KEYS if key[0] == "J" and key != "J1+"),
    ("R1", "ESTOP RELEASE"),
    ("I1", "T-"),
    ("I1", "CO2+"),
}
"""Keys that do to another axis, or the other way, what a row above does."""


async def _pressed(watched: Watched, press: Press) -> None:
    await watched.until(offered(press.beside) if press.beside else idle)
    await asyncio.sleep(30.0)
    watched.press(press.equipment, press.key)


def _of(equipment: str, keys: Iterable[str]) -> set[tuple[str, str]]:
    return {(equipment, key) for key in keys}


def test_every_key_of_every_panel_stands_in_a_table() -> None:
    panels = (
        _of("P1", watson_marlow_530du.KEYS)
        | _of("W1", mettler_mt_sics.KEYS)
        | _of("W2", mettler_mt_sics.KEYS)
        | _of("R1", brooks_pf400.KEYS)
        | _of("C1", highres_microspin.KEYS)
        | _of("I1", thermo_vios_160i.KEYS)
        | _of("N1", astm_cell_counter.KEYS)
        | _of("F1", linkam_t95.KEYS)
        | _of("S1", serial_scanner.KEYS)
        | _of("S2", serial_scanner.KEYS)
        | _of("V1", ["DO2"])
    )
    told = {(one.equipment, one.key) for one in SEEN} | NOTHING_DONE.keys() | LOCKED.keys() | ALIKE
    assert panels == told


def test_ten_idle_days_show_no_outside_act_and_then_everything_acts_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path, TEN_DAYS) as watched:
            began = watched.engine.core.clock.utc()
            assert await watched.go_on(at_most=12 * day) == "complete"
            assert watched.engine.core.clock.utc() - began > 10 * day
            assert watched.outside == []
            assert watched.held == []
            assert watched.judged().agrees
            for part in ("before", "after"):
                acted = {
                    one.equipment
                    for one in watched.events
                    if one.kind == "attempt_intended" and one.path.startswith(part)
                }
                assert set(ACTING) <= {str(one) for one in acted}

    run_in_virtual_time(run())


@pytest.mark.parametrize("press", SEEN, ids=str)
def test_one_key_press_is_seen_once_and_holds_what_would_act_next(
    tmp_path: Path, press: Press
) -> None:
    async def run() -> None:
        async with running(tmp_path) as watched:
            await _pressed(watched, press)
            assert await watched.go_on(at_most=18 * hour) == "running"
            (seen,) = watched.outside
            assert seen.equipment == press.equipment
            assert tuple(one.value for one in seen.strayed) == press.values
            ((unit_procedure, why),) = watched.held
            assert unit_procedure in ("before", "after")
            assert press.equipment in why
            at = watched.events.index(seen)
            (refused,) = [one for one in watched.events if one.kind == "act_refused"]
            assert press.held_at in refused.path
            acted_since = [
                one.equipment for one in watched.events[at:] if one.kind == "attempt_intended"
            ]
            assert press.equipment not in acted_since

    run_in_virtual_time(run())


def test_keys_that_change_nothing_are_not_seen_and_the_batch_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as watched:
            await watched.until(idle)
            for equipment, key in NOTHING_DONE:
                watched.press(equipment, key)
                await asyncio.sleep(60.0)
            assert await watched.go_on(at_most=18 * hour) == "complete"
            assert watched.outside == []
            assert watched.held == []
            assert watched.judged().agrees

    run_in_virtual_time(run())


@pytest.mark.parametrize(("equipment", "key"), LOCKED, ids=" ".join)
def test_keys_that_lock_an_instrument_hold_its_next_act(
    tmp_path: Path, equipment: str, key: str
) -> None:
    async def run() -> None:
        async with running(tmp_path) as watched:
            await watched.until(idle)
            watched.press(equipment, key)
            assert await watched.go_on(at_most=18 * hour) == "running"
            assert watched.outside == []
            unit_procedure, why = watched.held[0]
            assert unit_procedure == "after"
            assert LOCKED[equipment, key] in why
            assert watched.judged().agrees

    run_in_virtual_time(run())


def test_each_press_is_named_and_once_a_person_looked_the_batch_goes_on(tmp_path: Path) -> None:
    """A valve is opened at its web console, shut, opened, shut; then it is looked at."""

    async def run() -> None:
        async with running(tmp_path) as watched:
            await watched.until(idle)
            for times in range(4):
                assert len(watched.outside) == times
                watched.press("V1", "DO2")
                await watched.go_on(at_most=3 * hour)
            assert len(watched.held) == 1
            await watched.cell.give("supervisor", "look_at_equipment", equipment="V1")
            await watched.cell.give(
                "supervisor", "restart", batch=str(BATCH), path="after", why="the valves are shut"
            )
            assert await watched.go_on(at_most=6 * hour) == "complete"
            assert len(watched.outside) == 4
            assert watched.judged().agrees, watched.judged().findings

    run_in_virtual_time(run())


def test_without_the_interlock_the_pump_acts_on_and_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above find is the interlock's doing; without it the judge alone sees it."""

    def nothing(*_: object) -> list[tuple[str, str, str]]:
        return []

    for module in (outside_act, outside_acts):
        monkeypatch.setattr(module, "differences", nothing)

    async def run() -> None:
        press = next(one for one in SEEN if one.key == "MAX")
        async with running(tmp_path) as watched:
            await _pressed(watched, press)
            assert await watched.go_on(at_most=18 * hour) == "complete"
            assert watched.outside == []
            assert watched.held == []
            (named,) = watched.judged().findings
            assert (named.kind, named.instrument) == ("unexplained", "P1")

    run_in_virtual_time(run())
