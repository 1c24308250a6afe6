"""The judge finds what the engine doesn't: each fault, on each instrument and by hand.

Method: the real engine runs a batch (``every_instrument.py``) until one act of an instrument is
settled. The fault is planted below the engine, and whatever could have told it is made to believe
that all went well: the driver settles the whole act, and the balances aren't asked. So the record
says that all is well, and the room knows better. Expected: just this act is named.

``test_judge.py`` has the same faults with a journal written by hand, triggers sent again as raw
bytes, and every kind of hand work. That a batch without a fault is as asked is shown in
``test_idle.py``, where the keys of all panels are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import pytest

from devices.interfaces.driver import Driver, Settled, Standing
from devices.interfaces.fluid_transfer import PumpVolume
from hw_mocks.emulator import Planted
from hw_mocks.models import MODELS
from hw_mocks.technicians import Technician
from orchestrator.engine import outside_acts
from orchestrator.engine.interlocks import outside_act
from orchestrator.journal.events import AnyEvent
from orchestrator.kernel.acts import Act, AllDone, Effect
from orchestrator.kernel.errors import ProcessError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.one_batch import (
    Seen,
    Watched,
    batch_in,
    idle,
    no_differences,
    offered,
    room,
    running,
)
from tests.unit.records.diary import names

pytestmark = pytest.mark.leaves_tasks("the batch is left as soon as the act is settled")

SETTLED_WITHIN_S = 4000.0


class Fault(StrEnum):
    """What goes wrong with an act, while the record says that all went well."""

    SENT_TWICE = "its trigger is sent twice"
    OBEYED_TWICE = "its trigger is obeyed twice"
    SWALLOWED = "its trigger is swallowed"
    HALF = "half of it is done"
    NEVER_SENT = "it is settled without having been sent"


PLANTED = {
    Fault.OBEYED_TWICE: Planted.DOUBLED,
    Fault.SWALLOWED: Planted.SWALLOWED,
    Fault.HALF: Planted.HALF,
}
LOST = (Fault.SWALLOWED, Fault.HALF, Fault.NEVER_SENT)


@dataclass(frozen=True)
class Acting:
    """An instrument's first act of a kind.

    Args:
        sent_twice: What is named if the trigger comes again after the act's end, and why.
        half: What is named beside the loss when half of it is done.
    """

    equipment: str
    kind: str
    sent_twice: tuple[str, ...] = ("repeated",)
    because: str = "it does it again"
    half: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.equipment} {self.kind}"


ACTING = (
    Acting("P1", "turn_empty_pump"),
    Acting("P1", "pump_volume"),
    Acting("V1", "set_valves", (), "outputs written to what they are move no valve"),
    Acting("R1", "pick_container", (), "its driver reads the gripper, which holds it already"),
    Acting("R1", "place_container", (), "the gripper is empty"),
    Acting("C1", "spin"),
    Acting("I1", "set_climate", (), "a set point written to what it is changes nothing"),
    Acting("N1", "count_cells"),
    Acting("F1", "ramp_segment", (), "it stands at its limit"),
)


ONLY_ASKED = {
    "mettler_mt_sics": "no phase tares it; to be asked for a weight has no effect on the room",
    "serial_scanner": "a scan changes nothing in the room",
}
"""Models without an act that could go wrong, and why."""


def test_every_model_has_its_rows() -> None:
    by_equipment = load_cell(REFERENCE_CELL).config.by_equipment
    acting = {by_equipment[one.equipment].model for one in ACTING}
    assert acting | ONLY_ASKED.keys() == MODELS.keys()


def expected(acting: Acting, fault: Fault) -> list[tuple[str, str]]:
    """Return what the judge says of a fault: kind and instrument."""
    match fault:
        case Fault.SENT_TWICE:
            return [(kind, acting.equipment) for kind in acting.sent_twice]
        case Fault.OBEYED_TWICE:
            return [("repeated", acting.equipment)]
        case Fault.HALF if acting.kind == "set_climate":
            # A set point that nobody asked for stands there too.
            return [("repeated", acting.equipment), ("lost", acting.equipment)]
        case Fault.SWALLOWED | Fault.HALF | Fault.NEVER_SENT:
            return [("lost", acting.equipment)]


class Credulous:
    """A driver that has the first act of a kind go wrong, and settles it as well done."""

    def __init__(self, driver: Driver, watched: Watched, kind: str, fault: Fault) -> None:
        self._driver = driver
        self._watched = watched
        self._kind = kind
        self._fault = fault
        self.command: CommandId | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def trigger(self, act: Act, command: CommandId) -> None:
        if act.kind != self._kind or self.command is not None:
            await self._driver.trigger(act, command)
            return
        self.command = command
        if self._fault is Fault.NEVER_SENT:
            return
        if self._fault in PLANTED:
            emulator = self._watched.cell.room.emulators[str(self._driver.equipment)]
            emulator.plant(PLANTED[self._fault])
        with suppress(ProcessError):
            await self._driver.trigger(act, command)

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        if command != self.command:
            return await self._driver.settle(act, command, before)
        if self._fault is not Fault.NEVER_SENT:
            await self._wait(act, command, before)
        if self._fault is Fault.SENT_TWICE:
            with suppress(ProcessError):
                await self._driver.prepare(act)
                again = CommandId(f"{command}.again")  # the line refuses one trigger twice
                await self._driver.trigger(act, again)
            await self._wait(act, command, before)
        done = str(getattr(act, "volume", getattr(act, "at_speed", 1)))
        standing = before
        with suppress(ProcessError, TimeoutError):
            async with asyncio.timeout(60.0):
                standing = await self._driver.standing()
        return Settled(report=AllDone(effect=Effect(done=done)), standing=standing)

    async def _wait(self, act: Act, command: CommandId, before: Standing) -> None:
        with suppress(ProcessError, TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN_S):
                await self._driver.settle(act, command, before)


def _settled(command_of: Callable[[], CommandId | None]) -> Seen:
    return lambda event: event.kind == "attempt_settled" and event.command == command_of()


def _unweighed(self: Act, report: Any, before: Any, after: Any) -> Any:
    del self, before, after
    return report


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("acting", ACTING, ids=str)
def test_the_judge_names_the_act_that_went_wrong_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acting: Acting, fault: Fault
) -> None:
    monkeypatch.setattr(PumpVolume, "judge", _unweighed)

    async def run() -> None:
        async with room(tmp_path) as cell:
            async with batch_in(cell) as watched:
                drivers = cast("dict[str, Any]", watched.engine.core.drivers)
                driver = Credulous(drivers[acting.equipment], watched, acting.kind, fault)
                drivers[acting.equipment] = driver
                await watched.until(_settled(lambda: driver.command))
            await asyncio.sleep(SETTLED_WITHIN_S)
            said = watched.judged()
            assert names(said) == expected(acting, fault), said.findings
            assert watched.held == []
            for one in said.findings:
                assert one.act == acting.kind or one.kind == "repeated"

    run_in_virtual_time(run())


def _done(kind: str) -> Seen:
    """Tell the settlement by which the first act of a kind is done."""
    commands: list[str] = []

    def is_it(event: AnyEvent) -> bool:
        if event.kind == "attempt_intended" and event.asked["kind"] == kind:
            commands.append(event.command)
        return (
            event.kind == "attempt_settled" and event.verdict == "all" and event.command in commands
        )

    return is_it


AT_THE_PANEL = (
    ("P1", "MAX", idle),
    ("V1", "DO2", idle),
    ("R1", "GRIPPER OPEN", _done("pick_container")),
    ("I1", "T+", idle),
    ("N1", "START", offered("unload_counter")),
    ("F1", "STOP", idle),
)
"""Of the centrifuge no key does anything to what stands in it: its door is no effect on cells."""


@pytest.mark.parametrize(
    ("equipment", "key", "when"), AT_THE_PANEL, ids=[" ".join(one[:2]) for one in AT_THE_PANEL]
)
def test_the_judge_names_what_was_done_at_a_panel_if_the_engine_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, equipment: str, key: str, when: Seen
) -> None:
    for module in (outside_act, outside_acts):
        monkeypatch.setattr(module, "differences", no_differences)

    async def run() -> None:
        async with running(tmp_path) as watched:
            await watched.until(when)
            watched.press(equipment, key)
            await asyncio.sleep(0.5 if when is not idle else 400.0)
            assert watched.outside == []
            assert names(watched.judged()) == [("unexplained", equipment)]

    run_in_virtual_time(run())


# By hand -------------------------------------------------------------------------------------


class Handiwork(StrEnum):
    """What people do instead of what they report."""

    TWICE = "they do it twice"
    NOT_AT_ALL = "they report what they never did"
    HALF = "they do half of it"
    UNASKED = "they do what nobody asked for"


@dataclass(frozen=True)
class Work:
    """A kind of hand work in the batch, and the World's word for it.

    Args:
        faults: What can go wrong with it. A joint can't be made twice or half, nor a seal; a
            thing that was put somewhere stands there, however often it is put.
    """

    work: str
    method: str
    faults: tuple[Handiwork, ...]

    def __str__(self) -> str:
        return self.work


WORKS = (
    Work("draw_sample", "draw_sample", tuple(Handiwork)),
    Work("weld", "weld", (Handiwork.NOT_AT_ALL,)),
    Work("connect_aseptically", "aseptic_connect", (Handiwork.NOT_AT_ALL,)),
    Work("seal_off", "seal_off", (Handiwork.NOT_AT_ALL,)),
    Work("load_counter", "put", (Handiwork.NOT_AT_ALL, Handiwork.UNASKED)),
)
HANDS = {
    Handiwork.TWICE: "repeated",
    Handiwork.NOT_AT_ALL: "lost",
    Handiwork.HALF: "lost",
    Handiwork.UNASKED: "unexplained",
}
BY_HAND = [(work, fault) for work in WORKS for fault in work.faults]


@pytest.mark.parametrize(("work", "fault"), BY_HAND, ids=str)
def test_the_judge_names_hand_work_that_is_not_what_was_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Work, fault: Handiwork
) -> None:
    """Who verifies copies the labels; looking would find that nothing is joined."""

    def copied(self: Technician, act: Mapping[str, Any]) -> list[str]:
        things = [str(one).partition("/")[0] for one in (*act["containers"], act["kit"]) if one]
        return [self.world.labels_on(one)[-1] for one in things]

    monkeypatch.setattr(Technician, "read_off", copied)

    async def run() -> None:
        async with running(tmp_path) as watched:
            hands = watched.cell.world.hands
            well = getattr(hands, work.method)

            def wrong(*things: Any, by: str) -> None:
                setattr(hands, work.method, well)
                if fault is Handiwork.HALF:
                    container, tube, volume_uL = things
                    well(container, tube, volume_uL / 2, by=by)
                for _ in range(2 if fault is Handiwork.TWICE else 0):
                    well(*things, by=by)

            await watched.until(offered(work.work))
            if fault is Handiwork.UNASKED:
                hands.put("C-001-02", "rack", by="U-0006")
            else:
                setattr(hands, work.method, wrong)
                await watched.until(lambda event: event.kind == "attempt_settled")
            said = watched.judged()
            who = "U-0006" if fault is Handiwork.UNASKED else "hands"
            assert names(said) == [(HANDS[fault], who)], said.findings

    run_in_virtual_time(run())


def test_a_second_person_who_looks_finds_that_nothing_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*things: str, by: str) -> None:
        del things, by

    async def run() -> None:
        async with running(tmp_path) as watched:
            await watched.until(offered("weld"))
            monkeypatch.setattr(watched.cell.world.hands, "weld", never)
            await watched.until(lambda event: event.kind == "task_rejected")
            await watched.until(lambda event: event.kind == "attempt_uncertain")
            assert names(watched.judged()) == [], "nobody takes it for done"

    run_in_virtual_time(run())
