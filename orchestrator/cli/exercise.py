"""``cellwright exercise``: what may safely be asked of an instrument, asked of one on a port.

It reads and changes nothing: who it is, what only acts change, and each reading of its
capability, each with the time it took; then whether asking has changed anything. A scanner
may light up. It is what the contract suites ask of every driver, less the acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar, cast

import typer

from devices.interfaces.driver import DeviceIdentity, Driver, Standing
from devices.sheets.sheet import sheet_of
from devices.transport.transport import Transport
from orchestrator.cli.cells import with_model
from orchestrator.cli.options import AsJson
from orchestrator.cli.printing import in_columns, say, say_json, tell
from orchestrator.cli.wires import Port, open_line, read_url
from orchestrator.engine.interlocks.outside_act import differences
from orchestrator.kernel.acts import Reading
from orchestrator.kernel.desks import TaskBoard
from orchestrator.kernel.errors import FailedError, OutcomeUnknownError, ProcessError, RefusedError
from orchestrator.process_cell.build import make_drivers
from orchestrator.process_cell.config import CellConfig, Module, Unit

T = TypeVar("T")

PARTS: Final = {"interlock_input": "inputs"}
"""Readings that name a part, and the setting whose keys are the parts."""

WAITS_FOR: Final = {"label_read": "a label in view"}
"""Readings that nobody may owe us an answer to, and what they wait for."""

LABEL_WITHIN_S: Final = 5.0


class InstrumentSilentError(FailedError):
    """Nothing that answers as this model is at the port. Nothing moved by asking."""

    code = "failed.instrument-silent"


@dataclass(frozen=True)
class Check:
    """One thing that was asked. ``ok`` is None where there was nothing to judge."""

    check: str
    ok: bool | None
    value: str
    ms: float


def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `cellwright models` lists it")],
    at: Annotated[str, typer.Option(metavar="URL", help="tcp://HOST:PORT, or serial:PATH")],
    cell: Annotated[
        Path | None,
        typer.Option(metavar="CELL", help="The cell file that describes it; else a shipped one"),
    ] = None,
    equipment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of several; else the first")
    ] = None,
    within: Annotated[float, typer.Option(metavar="S", min=0.1, help="For each answer")] = 60.0,
    as_json: AsJson = False,
) -> int:
    """Ask an instrument, real or emulated, everything that may be asked safely.

    Nothing is moved or set. Exit status 0 if it answered as its driver expects, 1 if not,
    3 if nothing answers. With --json one object with model, at, passed, identity and checks
    (check, ok, value, ms).
    """
    port = read_url(at)
    _, module = with_model(model, cell, equipment)
    identity, checks = asyncio.run(_exercised(module, port, within))
    failed = [check for check in checks if check.ok is False]
    if as_json:
        say_json(
            {
                "model": model,
                "at": str(port),
                "passed": not failed,
                "identity": identity.model_dump(mode="json"),
                "checks": [asdict(check) for check in checks],
            }
        )
    else:
        words = {True: "ok", False: "FAILED", None: "-"}
        rows = [(one.check, words[one.ok], f"{one.ms:.1f} ms", one.value) for one in checks]
        say(in_columns([("CHECK", "RESULT", "TIME", "ANSWER"), *rows]))
    if not failed:
        return 0
    tell(
        f"exercise {model} at {port}: {len(failed)} of {len(checks)} checks failed, the first "
        f"{failed[0].check} ({failed[0].value}). Check model and settings in the cell file."
    )
    return 1


async def _exercised(
    module: Module, port: Port, within_s: float
) -> tuple[DeviceIdentity, list[Check]]:
    line = await open_line(port, name=module.equipment)
    try:
        return await _asked(_driver(module, line), module, port, line, within_s)
    finally:
        await line.close()


async def _asked(
    driver: Driver, module: Module, port: Port, line: Transport, within_s: float
) -> tuple[DeviceIdentity, list[Check]]:
    bench = _Bench(driver, within_s)
    listening = asyncio.create_task(driver.run())
    try:
        identity = await bench.identity(module, port)
        await bench.says_the_same(identity)
        before = await bench.standing()
        for reading in readings_of(module):
            await bench.reads(reading)
        if before is not None:
            await bench.is_unchanged_since(before)
        return identity, bench.checks
    finally:
        await line.close()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError, ProcessError):
            await listening


def _driver(module: Module, line: Transport) -> Driver:
    alone = Unit(name="bench", kind="bench", lease="operation", clearance="none", modules=(module,))
    config = CellConfig(name="exercise", emulated=False, units=(alone,))
    board = cast("TaskBoard", None)  # only hands have one
    return make_drivers(config, lambda _: line, board)[module.equipment]


def readings_of(module: Module) -> Iterator[Reading]:
    """Yield the readings of an instrument's capability that need nothing but itself."""
    capability = sheet_of(module.model).capability
    for kind, made_by in sorted(Reading.kinds.items()):
        needed = {name for name, field in made_by.model_fields.items() if field.is_required()}
        if made_by.capability != capability or needed - {"unit"}:
            continue
        parts: list[str] = sorted(module.settings.get(PARTS[kind], ())) if kind in PARTS else [""]
        for part in parts:
            yield made_by.model_validate({"unit": "exercised", "part": part})


class _Bench:
    """Asks one driver, and keeps what came of it."""

    def __init__(self, driver: Driver, within_s: float) -> None:
        self.checks: list[Check] = []
        self._driver = driver
        self._within_s = within_s

    async def identity(self, module: Module, port: Port) -> DeviceIdentity:
        started = time.perf_counter()
        what = f"{module.equipment}: ask {module.model} at {port} who it is"
        try:
            identity = await self._in_time(self._driver.identify())
        except (ProcessError, TimeoutError) as lost:
            why = lost.why if isinstance(lost, ProcessError) else f"no answer in {self._within_s} s"
            raise InstrumentSilentError(
                what,
                why=why,
                do_next="Check cable, power, port settings and which instrument it is",
            ) from lost
        said = ", ".join(f"{name} {value}" for name, value in identity if value)
        self._note("identify", True, said, started)
        if module.serial and identity.serial and module.serial != identity.serial:
            why = f"serial number {identity.serial}, the cell file says {module.serial}"
            self._note("serial number", False, why, started)
        return identity

    async def says_the_same(self, identity: DeviceIdentity) -> None:
        async def again() -> tuple[bool, str]:
            now = await self._driver.identify()
            return now == identity, "the same" if now == identity else str(now)

        await self._judged("identify again", again())

    async def standing(self) -> Standing | None:
        shown: list[Standing] = []

        async def stands() -> tuple[bool, str]:
            standing = await self._driver.standing()
            shown.append(standing)
            declared = self._driver.only_acts_change
            unknown = sorted(set(standing.values) - set(declared))
            if unknown:
                return False, f"it shows what its driver doesn't declare: {', '.join(unknown)}"
            shows = [f"{name} {value or 'none'}" for name, value in standing.values.items()]
            shows += [f"{name} not now" for name in declared if name not in standing.values]
            return True, ", ".join([*shows, f"witness {standing.witness or 'none'}"])

        await self._judged("standing", stands())
        return shown[0] if shown else None

    async def reads(self, reading: Reading) -> None:
        name = f"{reading.kind} {reading.part}".strip()
        started = time.perf_counter()
        waits_for = WAITS_FOR.get(reading.kind)
        if waits_for is None:

            async def read() -> tuple[bool, str]:
                return True, await self._driver.read(reading) or "none"

            await self._judged(name, read())
            return
        try:
            async with asyncio.timeout(min(LABEL_WITHIN_S, self._within_s)):
                self._note(name, True, await self._driver.read(reading), started)
        except (TimeoutError, OutcomeUnknownError):
            self._note(name, None, f"not judged without {waits_for}", started)
        except RefusedError as refused:
            self._note(name, None, refused.why, started)
        except ProcessError as failed:
            self._note(name, False, failed.why, started)

    async def is_unchanged_since(self, before: Standing) -> None:
        async def unchanged() -> tuple[bool, str]:
            after = await self._driver.standing()
            strayed = differences(before.values, after.values, self._driver.only_acts_change)
            if strayed:
                return False, "; ".join(f"{name} went from {a} to {b}" for name, a, b in strayed)
            return True, "asking changed nothing"

        await self._judged("standing again", unchanged())

    async def _judged(self, name: str, asked: Awaitable[tuple[bool, str]]) -> None:
        started = time.perf_counter()
        ok: bool | None
        try:
            ok, value = await self._in_time(asked)
        except RefusedError as refused:  # it answered, and as it stands it can't say this
            ok, value = None, refused.why
        except TimeoutError:
            ok, value = False, f"no answer in {self._within_s} s"
        except ProcessError as failed:
            ok, value = False, failed.why
        self._note(name, ok, value, started)

    async def _in_time(self, asked: Awaitable[T]) -> T:
        async with asyncio.timeout(self._within_s):
            return await asked

    def _note(self, name: str, ok: bool | None, value: str, started: float) -> None:
        self.checks.append(Check(name, ok, value, round((time.perf_counter() - started) * 1e3, 1)))
