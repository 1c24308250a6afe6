"""Every command of the role table, each at a cell that was brought to where it is legal."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from devices.interfaces.hands import Handwork
from hw_mocks.scenario import scenario_for
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import (
    AlarmRaised,
    AnyEvent,
    ClockDoubted,
    ContainerQuarantined,
    DeviationOpened,
    LeaseGranted,
    TaskOffered,
    TaskReported,
    TaskTaken,
    TaskWithdrawn,
)
from orchestrator.kernel.desks import Command
from orchestrator.kernel.identifiers import BatchId, CoiId, ContainerId, PhasePath, TaskId
from orchestrator.kernel.quantities import second
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.emulated_people import person
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from tests.simulation.thin import BATCH, OTHER_BAG, SEED, USER, bring, on_file
from tests.simulation.thin import CELL as THIN_CELL
from tests.simulation.two_patients import CAR_T, recipe_of
from tests.unit.engine_desk.test_reports_of_hands import DOUBT, doubt_about

TASK = TaskId("B-1/work#1.1")
Asked = tuple[str, dict[str, Any]]
"""Who gives a command, with what arguments."""

Ready = Callable[[EmulatedCell, Engine], Awaitable[Asked]]


def task(work: str, **other: Any) -> TaskOffered:
    return TaskOffered.model_validate(
        {
            "task": TASK, "batch": None, "path": None, "word": None, "work": work,
            "text": "do it", "ask": {"work": "mix", "report": [], "containers": []}, **other,
        }
    )  # fmt: skip


def offered(login: str, work: str, **arguments: Any) -> Ready:
    async def ready(cell: EmulatedCell, engine: Engine) -> Asked:
        del cell
        await engine.core.record_for_host(task(work))
        return login, {"task": str(TASK), **arguments}

    return ready


def on_record(login: str, *events: AnyEvent, **arguments: Any) -> Ready:
    async def ready(cell: EmulatedCell, engine: Engine) -> Asked:
        del cell
        await engine.core.record_for_host(*events)
        return login, arguments

    return ready


def running(*before: str) -> Ready:
    """A batch that runs, after it was given these commands and came to rest."""

    async def ready(cell: EmulatedCell, engine: Engine) -> Asked:
        await engine.start_batch(BATCH, USER)
        await engine.core.sleep(1 * second)
        for name in before:
            await cell.give("supervisor", name, batch=str(BATCH), why="to try")
            await engine.core.sleep(1 * second)
        return "supervisor", {"batch": str(BATCH), "why": "to try"}

    return ready


async def to_be_amended(cell: EmulatedCell, engine: Engine) -> Asked:
    await running("hold")(cell, engine)
    addendum = {"do": "skip", "out": "move/once/03-transfer"}
    asked = {"binding": "recipe", "addendum": addendum, "reason": "Nothing is left to move"}
    return "supervisor", {"batch": str(BATCH), **asked}


async def amendment_proposed(cell: EmulatedCell, engine: Engine) -> Asked:
    login, arguments = await to_be_amended(cell, engine)
    await cell.give(login, "propose_amendment", **arguments)
    return "quality", {"batch": str(BATCH), "amendment": "amendment-1"}


async def amendment_refused(cell: EmulatedCell, engine: Engine) -> Asked:
    login, arguments = await amendment_proposed(cell, engine)
    return login, {**arguments, "why": "It can be moved"}


async def phase_unverified(cell: EmulatedCell, engine: Engine) -> Asked:
    await running()(cell, engine)
    path = PhasePath("move/once/01-verify")
    name = TaskId(f"{BATCH}/{path}/verify")
    await engine.core.record_for_host(task("verify", task=name, batch=BATCH, path=path))
    return "supervisor", {"task": str(name), "why": "the line isn't empty"}


async def in_doubt(cell: EmulatedCell, engine: Engine) -> Asked:
    await doubt_about(engine, Handwork.MIX)
    return "day-1", {"task": DOUBT, "verdict": "all", "values": {}}


async def in_doubt_stated(cell: EmulatedCell, engine: Engine) -> Asked:
    login, arguments = await in_doubt(cell, engine)
    await cell.give(login, "reconcile", **arguments)
    return "day-2", arguments


async def in_doubt_found_otherwise(cell: EmulatedCell, engine: Engine) -> Asked:
    _, arguments = await in_doubt_stated(cell, engine)
    return "day-2", {**arguments, "verdict": "nothing"}


def clearance() -> TaskOffered:
    """Asks two people to clear a line."""
    path = PhasePath("move/once")
    name = TaskId(f"{BATCH}/{path}/transfer-station/clear")
    ask = {"resources": ["transfer-station"]}
    return task("decide", task=name, batch=BATCH, path=path, ask=ask, second_person=True)


def lease() -> LeaseGranted:
    """Gives the batch what its clearance frees."""
    asked = clearance()
    return LeaseGranted(
        batch=BATCH,
        path=PhasePath("move/once"),
        coi=CoiId("COI-A"),
        resources=tuple(asked.ask["resources"]),
        until="operation",
    )


WELD = TaskId("B-1/move/once/02-connect#1.1")
"""Hand work of a phase that is over, withdrawn before anybody took it."""


def _withdrawn() -> tuple[AnyEvent, ...]:
    path = PhasePath("move/once/02-connect")
    asked = task("do", task=WELD, batch=BATCH, path=path, ask={"report": [], "containers": []})
    return (asked, TaskWithdrawn(task=WELD, why="held"))


async def reported_late(cell: EmulatedCell, engine: Engine) -> Asked:
    """Somebody says that they made it; nothing of it goes on until two people decide."""
    login, arguments = await running("pause")(cell, engine)
    await engine.core.record(BATCH, *_withdrawn())
    del login, arguments
    return "on-call", {"task": str(WELD), "values": {}}


async def late_report(cell: EmulatedCell, engine: Engine) -> Asked:
    login, arguments = await reported_late(cell, engine)
    await cell.give(login, "report_task", **arguments)
    await engine.core.sleep(1 * second)
    return "day-1", {"task": f"{WELD}/late", "verdict": "mistaken"}


async def late_report_stated(cell: EmulatedCell, engine: Engine) -> Asked:
    login, arguments = await late_report(cell, engine)
    await cell.give(login, "reconcile", **arguments)
    return "day-2", arguments


async def late_report_found_otherwise(cell: EmulatedCell, engine: Engine) -> Asked:
    _, arguments = await late_report_stated(cell, engine)
    return "day-2", {**arguments, "verdict": "twice"}


class _Reached(Exception):  # noqa: N818 - it isn't an error
    """The command that is waited for was about to be given."""


class _Office:
    """People who put a batch on file, until they would give one command."""

    def __init__(self, cell: EmulatedCell, until: str) -> None:
        self.cell = cell.cell
        self._people = cell
        self._until = until
        self.asked: Asked = ("", {})

    async def give(self, login: str, name: str, **arguments: Any) -> Any:
        if name == self._until:
            self.asked = login, arguments
            raise _Reached
        return await self._people.give(login, name, **arguments)


def in_the_office(name: str) -> Ready:
    async def ready(cell: EmulatedCell, engine: Engine) -> Asked:
        recipe, office = recipe_of(CAR_T), _Office(cell, name)
        scenario = scenario_for(json.loads(recipe.content), seed=SEED)
        with pytest.raises(_Reached):
            await put_on_file(office, engine, recipe, scenario, BatchId("B-001"))
        return office.asked

    return ready


def alarm() -> AlarmRaised:
    return AlarmRaised(alarm="a-1", tier="alarm", cause="c", consequence="d", action="e")


def deviation() -> DeviationOpened:
    return DeviationOpened(deviation="D-0001", batch=BATCH, path=None, text="it was late")


BAG = {"container": "C-9", "label": "L-C-9", "material": "bag", "what": "empty",
       "capacity": "100 mL", "volume": "0 mL"}  # fmt: skip
NEW_PERSON = {"log_in_name": "m.keller", "printed_name": "Mia Keller", "roles": ["technician"],
              "password": "marble kettle orchid tram"}  # fmt: skip
LOT = {"lot": "LOT-9", "material": "kit", "expires": "2100-01-01T00:00:00.000000Z"}
OFFICE = ("submit_recipe", "review_recipe", "approve_recipe", "make_batch")

READY: dict[str, list[Ready]] = {
    "take_task": [offered("day-1", "do")],
    "report_task": [
        offered("day-1", "do", values={}),
        offered("day-1", "do", declined="it tore"),
        reported_late,
    ],
    "answer_task": [offered("day-1", "enter", values={})],
    "take_back_task": [
        on_record(
            "supervisor",
            task("enter"),
            TaskTaken(task=TASK, by=person("day-1").user),
            task=str(TASK),
            why="went home",
        ),
    ],
    "verify_task": [
        offered("day-1", "verify"),
        on_record(
            "day-2",
            task("do", second_person=True),
            TaskReported(task=TASK, by=person("day-1").user),
            task=str(TASK),
        ),
    ],
    "reject_task": [
        on_record(
            "day-2",
            task("do", second_person=True),
            TaskReported(task=TASK, by=person("day-1").user),
            task=str(TASK),
            why="it isn't so",
        ),
        phase_unverified,
    ],
    "reconcile": [
        in_doubt,
        in_doubt_stated,
        in_doubt_found_otherwise,
        late_report,
        late_report_stated,
        late_report_found_otherwise,
    ],
    "clear_line": [on_record("day-1", lease(), clearance(), task=str(clearance().task))],
    "carry_away": [on_record("day-1", alarm(), label=f"L-{OTHER_BAG}", to="waste bin")],
    "report_found": [
        on_record(
            "day-1",
            clearance(),
            task=str(clearance().task),
            what="a wet cloth",
            place="transfer-station",
        ),
    ],
    "propose_amendment": [to_be_amended],
    "verify_amendment": [amendment_proposed],
    "reject_amendment": [amendment_refused],
    "hold": [running()],
    "pause": [running()],
    "stop": [running()],
    "abort": [running()],
    "restart": [running("hold")],
    "resume": [running("pause")],
    "acknowledge_alarm": [on_record("day-1", alarm(), alarm="a-1")],
    "open_deviation": [on_record("day-1", alarm(), batch=str(BATCH), text="it was late")],
    "close_deviation": [on_record("quality", deviation(), deviation="D-0001", reason="no harm")],
    "look_at_equipment": [on_record("supervisor", alarm(), equipment="W1")],
    "receive_lot": [on_record("day-1", alarm(), **LOT)],
    "quarantine_lot": [on_record("day-1", alarm(), lot="LOT-1", why="its box was torn")],
    "receive_material": [on_record("day-1", alarm(), **BAG)],
    "release_container": [
        on_record(
            "quality",
            ContainerQuarantined(container=ContainerId(OTHER_BAG), why="lost"),
            container=OTHER_BAG,
            reason="found",
        ),
    ],
    "sign_time": [
        on_record(
            "day-1",
            ClockDoubted(why="it contradicts itself"),
            time="2026-01-05T08:00:00.000000Z",
            within="5 min",
        ),
    ],
    "add_person": [on_record("administrator", alarm(), **NEW_PERSON)],
    "start_batch": [on_record("supervisor", alarm(), batch=str(BATCH))],
    **{name: [in_the_office(name)] for name in OFFICE},
}


CASES: Final = [
    pytest.param(name, ready, id=f"{name}-{number}")
    for name, every in READY.items()
    for number, ready in enumerate(every, 1)
]
"""Every command, in each way in which it is legal."""


@asynccontextmanager
async def people_at(folder: Path, name: str) -> AsyncGenerator[EmulatedCell]:
    """Yield a cell where nobody is on duty, fit for the command ``name``."""
    file = REFERENCE_CELL if name in OFFICE else THIN_CELL
    async with emulated_cell(folder, file, seed=SEED) as cell:
        for technician in cell.technicians:
            technician.is_on_duty = lambda _: False
        if name not in OFFICE:
            bring(cell.world)
        yield cell


async def made_ready(cell: EmulatedCell, engine: Engine, name: str, ready: Ready) -> Command:
    """Bring a cell to where a command is legal; return the command."""
    if name not in OFFICE:
        now, digest = engine.core.clock.utc(), engine.core.cell.digest
        await engine.core.record_for_host(*on_file(now, digest))
    login, arguments = await ready(cell, engine)
    return Command(
        request="r-1",
        seen=engine.core.state.seq,
        session=await cell.desk.log_in(login, person(login).secret, "bench"),
        name=name,
        arguments=arguments,
        secret=person(login).secret,
    )
