"""How fast this host is, measured on the real path: what ``cellwright bench`` prints.

Each act goes through recipe, phase, gate with a proof, all interlocks, actor, driver and
an in-memory wire with an instrument that answers at once. The journal lies on the disk
that is asked about, synced as always.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from devices.drivers.hands import Hands
from devices.drivers.moxa_iologik_e1213 import MoxaIologikE1213
from devices.drivers.moxa_iologik_e1213 import Settings as BlockSettings
from devices.drivers.serial_scanner import SerialScanner
from devices.drivers.serial_scanner import Settings as ScannerSettings
from devices.interfaces.driver import Driver
from devices.interfaces.scanning import Identify
from devices.transport.memory import memory_wire
from devices.transport.transport import LineBase, Transport
from orchestrator.engine.engine import Engine
from orchestrator.engine.replay import replayed
from orchestrator.engine.state import HostState
from orchestrator.engine.tasks import Board
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    EVENTS,
    AnyEvent,
    AttemptIntended,
    BatchMade,
    ContainerReceived,
    Named,
    RecipeSubmitted,
    Signed,
    TaskReported,
)
from orchestrator.journal.journal import Journal, leaf_of, row_text
from orchestrator.journal.verify import verify
from orchestrator.kernel.acts import Claims, OnInterruption, Quieten
from orchestrator.kernel.canonical import canonical
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    CommandId,
    ContainerId,
    EquipmentId,
    HostId,
    PhasePath,
    PlaceId,
    TaskId,
    UserId,
)
from orchestrator.kernel.quantities import Range, hour, second
from orchestrator.kernel.tasks import Choice, Question, TaskKind
from orchestrator.phases.liquid import set_valves
from orchestrator.phases.outside import Outside
from orchestrator.phases.phase import PhaseModel, Report
from orchestrator.process_cell.collector import collect_seldom
from orchestrator.process_cell.config import STATION_PLACES, CellConfig, LoadedCell, Module, Unit
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock

ACTS: Final = 100
SIGNALS: Final = 200
MEASURE_S: Final = 1.0
RUNS_ALONE: Final = 7
"""One batch is over in a tenth of a second: the middle one of so many, one after the other, counts.

On one journal: its log grows during the first few, and is written over for good after them.
"""
BLOCK_BYTES: Final = 8 * 1024
KEPT: Final = "bench-kept"
TMPFS: Final = ("tmpfs", "ramfs")
READ_COILS: Final = 1
WRITE_COILS: Final = 15


class Acts(PhaseModel):
    """Open and shut valves of a docked kit in turn; with ``ask``, a person answers before each."""

    kind: Literal["bench_acts/1"] = "bench_acts/1"
    station: str
    kit: str
    ask: bool = False

    def claims(self) -> Claims:
        """Claim a station and its scanner."""
        return Claims(
            needs=((self.station, "valves"), (self.station, "scanning")),
            duration=Range(lowest=1 * second, highest=1 * hour),
            second_person=True,
            on_interruption=OnInterruption.REPEAT,
            quieten=Quieten.LEAVE_RUNNING,
            longest_safe_hold=self.longest_hold,
            product_safe_state="all valves shut",
        )

    def sentence(self) -> str:
        """Say what is done."""
        return f"Work the valves of the {self.station} {ACTS} times."

    async def run(self, outside: Outside) -> Report:
        """Prove the kit once, then act."""
        kit = await outside.see(
            Identify(
                unit=self.station,
                container=outside.container(self.kit),
                place=outside.place(self.station),
            )
        )
        for turn in range(SIGNALS if self.ask else ACTS):
            if self.ask:
                await outside.ask(_SIGNAL)
            await set_valves(outside, self.station, kit, f"p{1 + turn % 2}")
        return {}


_SIGNAL: Final = Question(
    kind=TaskKind.DECIDE,
    text="Go on?",
    choices=(Choice(name="yes", leads_to="the next act"),),
    respond_within=1 * hour,
)


def measured(folder: Path) -> dict[str, Any]:
    """Return every figure but those of the CAR-T batch; ``folder`` is emptied of nothing.

    Raises:
        RefusedError: The folder lies in memory, where a sync costs nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    system = file_system_of(folder)
    if system in TMPFS:
        raise RefusedError(
            f"measure on {folder}",
            why=f"it lies on {system}, where a sync costs nothing",
            do_next="Name a folder on a disk with --data",
        )
    figures: dict[str, Any] = {"file_system": system}
    figures["fsync_per_s"] = _fsync_per_s(folder)
    figures["event_cpu_per_s"] = _event_cpu_per_s()
    collect_seldom()
    alone = run_in_virtual_time(_alone(folder / "bench-1.sqlite"))
    figures["acts_per_s_1"], figures["syncs_per_act"] = sorted(alone)[RUNS_ALONE // 2]
    for batches in (20, 1000):
        journal = folder / f"bench-{batches}.sqlite"
        figures[f"acts_per_s_{batches}"] = run_in_virtual_time(_side_by_side(journal, batches))
    largest = folder / "bench-1000.sqlite"
    figures["replay_events_per_s"] = _replay_per_s(largest)
    figures["verify_events_per_s"] = _verify_per_s(largest)
    figures["signal_ms_p99"] = run_in_virtual_time(_signal_ms(folder / "bench-signal.sqlite"))
    shutil.rmtree(folder / KEPT)
    for left in folder.glob("bench-*"):
        left.unlink()
    return figures


def file_system_of(folder: Path) -> str:
    """Return the type of the file system that a folder lies on, as the kernel names it."""
    where = str(folder.resolve())
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, *_ = line.split(" ")
        inside = where == mounted or where.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best[0]):
            best = (mounted, kind)
    return best[1]


def _fsync_per_s(folder: Path) -> float:
    path = folder / "bench-fsync"
    block = bytes(BLOCK_BYTES)
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < MEASURE_S:
            os.write(file, block)
            os.fdatasync(file)
            count += 1
        return round(count / (time.perf_counter() - began), 1)
    finally:
        os.close(file)


def _event_cpu_per_s() -> float:
    """Build, canonical form, hash and validation of one event, on one core."""
    count, began = 0, time.process_time()
    while time.process_time() - began < MEASURE_S:
        event = AttemptIntended(
            batch=BatchId("B-1"),
            path=PhasePath("bench/acts/01-acts"),
            word=count,
            attempt=1,
            command=CommandId("B-1/bench/acts/01-acts#2.1"),
            equipment=EquipmentId("V1"),
            asked={"kind": "set_valves", "open": ["p1"], "unit": "station", "kit": "K-1"},
            before={"open": ""},
            witness="12",
            evidence={},
            proven=("K-1 scanned",),
        )
        body = canonical(event.model_dump(mode="json"))
        EVENTS.validate_json(body)
        leaf_of(row_text(1, "h", 0, "b", "2026-01-01", 1, "B-1", event.kind, body.decode()))
        count += 1
    return round(count / (time.process_time() - began), 1)


class _Bench:
    """An engine with one station for each batch, on instruments that answer at once."""

    def __init__(self, path: Path, batches: int, tasks: asyncio.TaskGroup, *, ask: bool) -> None:
        self.batches = [BatchId(f"B-{number}") for number in range(1, batches + 1)]
        self.commits = 0
        clock = virtual_clock()
        cell = LoadedCell(config=_cell(batches), digest="0" * 64, source="bench")
        self.journal: Journal[AnyEvent] = Journal(
            path,
            EVENTS,
            clock=clock,
            host=HostId("bench"),
            signer=Signer.of_entropy(HostId("bench"), os.urandom),
        )
        self.journal.subscribe(lambda _: self._committed())
        self._tasks = tasks
        self._ask = ask
        self.engine = Engine(
            self.journal,
            HostState(),
            lambda board: self._drivers(cell.config, board),
            clock=clock,
            cell=cell,
            tasks=tasks,
            can_be_suspended=False,
            folder=path.parent / KEPT,
        )

    def _committed(self) -> None:
        self.commits += 1

    def _drivers(self, config: CellConfig, board: Board) -> dict[str, Driver]:
        made: dict[str, Driver] = {}
        for module in config.modules:
            if module.capability == "hands":
                made[module.equipment] = Hands(board, equipment=module.equipment)
                continue
            if module.capability == "valves":
                made[module.equipment] = MoxaIologikE1213(
                    _Block(module.equipment),
                    equipment=module.equipment,
                    settings=BlockSettings.model_validate(module.settings),
                )
            else:
                host, instrument = memory_wire(module.equipment)
                label = f"L-K-{module.equipment.removeprefix('S')}"
                self._tasks.create_task(_scanner(instrument, label))
                made[module.equipment] = SerialScanner(
                    host,
                    equipment=module.equipment,
                    settings=ScannerSettings.model_validate(module.settings),
                )
        return made

    async def begin(self) -> None:
        """Put everything on file and start the engine; no batch runs yet."""
        core = self.engine.core
        now = core.clock.utc()
        for number, batch in enumerate(self.batches, start=1):
            recipe = _recipe(number, ask=self._ask)
            signed = Signed(
                signer=UserId("U-1"),
                printed_name="bench",
                meaning="approved",
                signed_digest="0" * 64,
                signed_at=now,
            )
            await core.record_for_host(
                RecipeSubmitted(
                    recipe=recipe.digest,
                    title=recipe.title,
                    document=recipe.document,
                    version=recipe.version,
                    content=recipe.content.decode(),
                    signature=signed,
                ),
                ContainerReceived(
                    container=ContainerId(f"K-{number}"),
                    label=f"L-K-{number}",
                    material="kit",
                    what="kit",
                    coi=CoiId(f"COI-{number}"),
                    by=UserId("U-1"),
                ),
                BatchMade(
                    batch=batch,
                    coi=CoiId(f"COI-{number}"),
                    recipe=recipe.digest,
                    cell=core.cell.digest,
                    engine="bench",
                    containers=(),
                    kits=(Named(name="kit", is_=f"K-{number}"),),
                    units=(),
                    places=(),
                    ordered=(),
                    signature=signed,
                ),
            )
        await self.engine.start()

    async def start(self, batch: BatchId) -> None:
        """Have a batch started, and return when it runs."""
        await self.engine.start_batch(batch, UserId("U-1"))


async def _alone(path: Path) -> list[tuple[float, float]]:
    """Return the acts per second and the syncs per act of batches that run one at a time."""
    found: list[tuple[float, float]] = []
    with _ended():
        async with asyncio.TaskGroup() as tasks:
            bench = _Bench(path, RUNS_ALONE, tasks, ask=False)
            await bench.begin()
            for batch in bench.batches:
                began, commits = time.perf_counter(), bench.commits
                await bench.start(batch)
                await bench.engine.ended(batch)
                rate = ACTS / (time.perf_counter() - began)
                found.append((round(rate, 1), round((bench.commits - commits) / ACTS, 3)))
            bench.journal.close()
            raise _OverError
    return found


async def _side_by_side(path: Path, batches: int) -> float:
    """Return the acts per second of batches that all run at once."""
    rate = 0.0
    with _ended():
        async with asyncio.TaskGroup() as tasks:
            bench = _Bench(path, batches, tasks, ask=False)
            await bench.begin()
            began = time.perf_counter()
            await asyncio.gather(*map(bench.start, bench.batches))
            for batch in bench.batches:
                await bench.engine.ended(batch)
            rate = round(batches * ACTS / (time.perf_counter() - began), 1)
            bench.journal.close()
            raise _OverError
    return rate


async def _signal_ms(path: Path) -> float:
    """Return the 99th percentile from an answer's arrival to the next act's intent."""
    waits: list[float] = []
    with _ended():
        async with asyncio.TaskGroup() as tasks:
            bench = _Bench(path, 1, tasks, ask=True)
            await bench.begin()
            given: list[float] = []

            def look(recorded: Any) -> None:
                if recorded.event.kind == "task_offered":
                    tasks.create_task(answer(recorded.event.task))
                elif recorded.event.kind == "attempt_intended" and given:
                    waits.append(time.perf_counter() - given.pop())

            async def answer(task: TaskId) -> None:
                given.append(time.perf_counter())
                await bench.engine.core.record_for_host(
                    TaskReported(task=task, by=UserId("U-1"), choice="yes")
                )

            bench.engine.core.listeners.append(look)
            await bench.start(bench.batches[0])
            await bench.engine.ended(bench.batches[0])
            bench.journal.close()
            raise _OverError
    return round(1000 * sorted(waits)[int(0.99 * len(waits))], 3)


def _replay_per_s(path: Path) -> float:
    began = time.perf_counter()
    state = replayed(HostState(), path)
    return round(state.seq / (time.perf_counter() - began), 1)


def _verify_per_s(path: Path) -> float:
    began = time.perf_counter()
    events = verify(path).events
    return round(events / (time.perf_counter() - began), 1)


class _OverError(Exception):
    """Ends the bench's task group."""


@contextmanager
def _ended() -> Generator[None]:
    try:
        yield
    except* _OverError:
        pass  # how a bench ends


def _recipe(number: int, *, ask: bool) -> Recipe:
    phase = Acts(station=f"station-{number}", kit="kit", ask=ask, longest_hold=1 * hour)
    step = Step(slug="01-acts", name="Acts", phase=phase)
    operation = Operation(slug="acts", name="Acts", body=(step,))
    return Recipe.written(
        Recipe(
            title="Bench",
            document=f"BENCH-{number}",
            version="1",
            author="bench",
            body=(UnitProcedure(slug="bench", name="Bench", body=(operation,)),),
        )
    )


def _cell(stations: int) -> CellConfig:
    people = Unit(
        name="people",
        kind="people",
        lease="batch",
        clearance="none",
        modules=(
            Module(
                equipment=EquipmentId("hands"),
                capability="hands",
                model="hands",
                address="people",
            ),
        ),
    )
    return CellConfig(
        name="bench",
        emulated=True,
        units=(*(_station(number) for number in range(1, stations + 1)), people),
    )


def _station(number: int) -> Unit:
    place = PlaceId(f"station-{number}")
    beside = {name: PlaceId(f"{name}-{number}") for name in STATION_PLACES}
    block = Module(
        equipment=EquipmentId(f"V{number}"),
        capability="valves",
        model="moxa_iologik_e1213",
        address="emulated",
        settings={"unit_identifier": 1, "outputs": {"p1": 0, "p2": 1}, "inputs": {}},
    )
    scanner = Module(
        equipment=EquipmentId(f"S{number}"),
        capability="scanning",
        model="serial_scanner",
        address="emulated",
        covers=(place,),
        settings={"triggered": True, "label_length_max": 64},
    )
    return Unit(
        name=f"station-{number}",
        kind="transfer_station",
        lease="operation",
        clearance="automatic",
        places=(place, *beside.values()),
        named_places=beside,
        modules=(block, scanner),
    )


class _Block(LineBase):
    """A wire with a valve block at its end that answers as it is asked, from one table.

    It stands in for the device, so that what is measured is the software up to the wire.
    Frames and function codes are those of the Modbus/TCP messaging guide.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._outputs = 0

    async def send(self, data: bytes, *, trigger: CommandId | None = None) -> None:
        self._about_to_send(data, trigger)
        if data[7] == WRITE_COILS:
            self._outputs = data[13]
            answer = data[7:12]
        elif data[7] == READ_COILS:
            answer = bytes((READ_COILS, 1, self._outputs))
        else:
            size = 2 * int.from_bytes(data[10:12])
            answer = bytes((data[7], size)) + bytes(size)
        self._take_in(data[:4] + (1 + len(answer)).to_bytes(2) + data[6:7] + answer)
        self._wake()

    async def close(self) -> None:
        self._closed = True
        self._wake()


async def _scanner(line: Transport, label: str) -> None:
    """Answer each trigger with the label, at once."""
    while True:
        if b"T" in await line.receive():
            await line.send(f"{label}\r".encode())
