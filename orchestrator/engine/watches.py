"""Conditions over readings: one poller for each sensor, however many batches look.

What is journaled of a watch is its edges and one summary an hour; the samples go to the
reading's trace. Follows design sections 4 and 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

from orchestrator.engine.core import Core
from orchestrator.engine.recognition import Recognition
from orchestrator.journal.events import ConditionEdge, KeepSummary
from orchestrator.kernel.acts import Reading
from orchestrator.kernel.conditions import Condition, Edge
from orchestrator.kernel.errors import ProcessError, RefusedError
from orchestrator.kernel.identifiers import BatchId, EquipmentId, PhasePath
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Quantity, hour, minute
from orchestrator.phases.outside import CameFirst
from orchestrator.recipe.model import MeasuredValue

POLL_EVERY: Final = 1 * minute
"""Design section 5: the default interval of a polled sensor."""

SUMMARY_EVERY: Final = 1 * hour


@dataclass(slots=True)
class Sample:
    """The newest value of a sensor; ``value`` is None while it doesn't answer."""

    value: str | None
    at: Instant
    since_boot: Duration


class Sampled(Protocol):
    """Takes note of each sample of a sensor, e.g. in a trace file."""

    def __call__(self, equipment: str, reading: str, sample: Sample) -> None:
        """Take one sample."""
        ...


@dataclass(slots=True)
class _Sensor:
    equipment: str
    reading: Reading
    latest: Sample | None = None
    listeners: list[Callable[[Sample], None]] = field(
        default_factory=list[Callable[[Sample], None]]
    )
    poller: asyncio.Task[None] | None = None


class Watches:
    """Polls sensors for those who watch them."""

    def __init__(self, core: Core, sampled: Sampled, recognition: Recognition) -> None:
        self._core = core
        self._recognition = recognition
        self._sampled = sampled
        self._sensors: dict[str, _Sensor] = {}

    def holds_now(self, batch: BatchId, condition: Condition) -> tuple[bool, str]:
        """Return whether a condition on a recorded value holds, and the value."""
        if not isinstance(condition.reading, MeasuredValue):
            raise AssertionError(f"{condition.reading.kind} isn't kept in the record")
        known = self._core.state.batches[batch]
        name = condition.reading.name
        value = known.measured.get(name) or known.ordered.get(name)
        if value is None:
            raise RefusedError(
                f"decide on {name!r}",
                why="no value of that name is in the batch's record",
                do_next="Stop the unit procedure, or have quality decide",
            )
        return _within(condition, value), value

    async def read_once(self, batch: BatchId, condition: Condition) -> tuple[bool, str]:
        """Read a condition's sensor now; return whether it holds, and the value."""
        if condition.reading.capability == "record":
            return self.holds_now(batch, condition)
        sensor = self._sensor(batch, condition.reading)
        await self._recognition.require(EquipmentId(sensor.equipment), batch)
        value = await self._core.drivers[sensor.equipment].read(condition.reading)
        return _within(condition, value), value

    async def first_of(
        self,
        batch: BatchId,
        condition: Condition,
        run_out: Callable[[], Coroutine[Any, Any, None]] | None,
    ) -> CameFirst:
        """Return when the condition has held long enough, or when ``run_out`` returns."""
        since: list[Duration] = []
        last: list[Duration] = []
        held = asyncio.Event()

        def look(sample: Sample) -> None:
            if last and (sample.since_boot - last[0]).base > condition.fresh_within.base:
                since.clear()  # nobody knows what it was in between
            last[:] = [sample.since_boot]
            if sample.value is None or not _within(condition, sample.value):
                since.clear()
                return
            if not since:
                since.append(sample.since_boot)
            if (sample.since_boot - since[0]).base >= condition.for_at_least.base:
                held.set()

        sensor = self._sensor(batch, condition.reading)
        self._listen(sensor, look)
        try:
            if run_out is None:
                await held.wait()
            else:
                await _first(held.wait(), run_out())
            return CameFirst.CONDITION if held.is_set() else CameFirst.INSTANT
        finally:
            self._unlisten(sensor, look)

    async def keep(
        self,
        batch: BatchId,
        path: PhasePath,
        condition: Condition,
        on_edge: Callable[[Edge, str], None],
    ) -> None:
        """Watch a condition until cancelled; journal its edges and an hourly summary."""
        news: asyncio.Queue[Sample] = asyncio.Queue()
        sensor = self._sensor(batch, condition.reading)
        self._listen(sensor, news.put_nowait)
        try:
            await self._follow(batch, path, condition, news, on_edge)
        finally:
            self._unlisten(sensor, news.put_nowait)

    async def _follow(
        self,
        batch: BatchId,
        path: PhasePath,
        condition: Condition,
        news: asyncio.Queue[Sample],
        on_edge: Callable[[Edge, str], None],
    ) -> None:
        core = self._core
        state = core.state.batches[batch].watches.get(path, "")
        lowest = highest = ""
        samples = 0
        hour_ends = core.clock.boottime() + SUMMARY_EVERY
        out_since: Duration | None = None
        while True:
            try:
                async with asyncio.timeout(condition.fresh_within.base / 1000):
                    sample = await news.get()
            except TimeoutError:
                sample = Sample(None, core.clock.utc(), core.clock.boottime())
            value = sample.value or ""
            if sample.value is None:
                edge = Edge.STALE
            elif _within(condition, value):
                edge = Edge.BACK if state == Edge.STALE else Edge.IN
                out_since = None
            else:
                out_since = out_since or sample.since_boot
                lasting = (sample.since_boot - out_since).base >= condition.for_at_least.base
                edge = Edge.OUT if lasting else Edge.IN
            known = Edge.IN if state == Edge.BACK else state
            if edge.value != known and not (edge is Edge.BACK and known == Edge.IN):
                state = edge.value
                await core.record(
                    batch,
                    ConditionEdge(batch=batch, path=path, edge=edge.value, value=value),
                )
                on_edge(edge, value)
            if sample.value is not None:
                samples += 1
                lowest = value if not lowest or _read(value) < _read(lowest) else lowest
                highest = value if not highest or _read(value) > _read(highest) else highest
            if sample.since_boot >= hour_ends and samples:
                await core.record(
                    batch,
                    KeepSummary(
                        batch=batch, path=path, lowest=lowest, highest=highest, samples=samples
                    ),
                )
                lowest = highest = ""
                samples = 0
                hour_ends = sample.since_boot + SUMMARY_EVERY

    def _sensor(self, batch: BatchId, reading: Reading) -> _Sensor:
        unit = self._core.state.batches[batch].units.get(reading.unit, reading.unit)
        module = self._core.cell.config.module(unit, reading.capability, reading.part)
        name = f"{module.equipment} {reading.kind} {reading.part}"
        sensor = self._sensors.get(name)
        if sensor is None:
            sensor = self._sensors[name] = _Sensor(module.equipment, reading)
        return sensor

    def _listen(self, sensor: _Sensor, listener: Callable[[Sample], None]) -> None:
        sensor.listeners.append(listener)
        if sensor.poller is None:
            sensor.poller = self._core.tasks.create_task(self._poll(sensor))

    def _unlisten(self, sensor: _Sensor, listener: Callable[[Sample], None]) -> None:
        sensor.listeners.remove(listener)
        if not sensor.listeners and sensor.poller is not None:
            sensor.poller.cancel()
            sensor.poller = None

    async def _poll(self, sensor: _Sensor) -> None:
        equipment = EquipmentId(sensor.equipment)
        driver = self._core.drivers[equipment]
        while True:
            try:
                await self._recognition.ask(equipment)
                value: str | None = await driver.read(sensor.reading)
                _read(value)
                if self._recognition.why_not(equipment):
                    value = None  # another instrument's value
            except ValueError:
                value = None  # nothing that can be read
            except ProcessError:
                self._recognition.lost(equipment)
                value = None
            clock = self._core.clock
            sample = Sample(value, clock.utc(), clock.boottime())
            sensor.latest = sample
            self._sampled(sensor.equipment, sensor.reading.kind, sample)
            for listener in tuple(sensor.listeners):
                listener(sample)
            await self._core.sleep(POLL_EVERY)


async def _first(*either: Coroutine[Any, Any, object]) -> None:
    """Return as soon as one of them has."""
    running = [asyncio.ensure_future(one) for one in either]
    try:
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for one in ended:
            one.result()
    finally:
        for one in running:
            one.cancel()


def _within(condition: Condition, value: str) -> bool:
    seen = _read(value)
    if condition.lowest and seen < _read(condition.lowest):
        return False
    return not (condition.highest and seen > _read(condition.highest))


@lru_cache(maxsize=1024)
def _read(text: str) -> Quantity:
    """Return a reading's quantity; a sensor at rest says the same few over and over."""
    return Quantity.read(text)
