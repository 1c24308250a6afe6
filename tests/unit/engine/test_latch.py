"""On a latch each instrument in an open attempt is quieted as its own phase claims, once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from devices.interfaces.driver import DeviceIdentity, Driver, Settled, Standing
from orchestrator.engine.engine import Engine, fold_journal
from orchestrator.engine.state import (
    AttemptState,
    BatchState,
    HostState,
    PhaseRecord,
    WordState,
)
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, AlarmCleared, AnyEvent
from orchestrator.journal.journal import Journal
from orchestrator.kernel.acts import Act, Quieten, Reading
from orchestrator.kernel.errors import JournalLatchedError, OutcomeUnknownError
from orchestrator.kernel.identifiers import CommandId, EquipmentId, HostId
from orchestrator.process_cell.config import load_cell
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock

REFERENCE = Path(__file__).parents[3] / "protocols" / "cells" / "reference.toml"
ACTS: Mapping[str, dict[str, Any]] = {
    "P1": {
        "kind": "pump_volume",
        "unit": "transfer-station",
        "longest": "10 min",
        "on_interruption": "continue",
        "quieten": "halt",
        "volume": "60 mL",
        "flow": "40 mL/min",
        "forward": True,
        "source": "C-1",
        "target": "C-2",
    },
    "F1": {
        "kind": "ramp_segment",
        "unit": "freezer",
        "longest": "2 h",
        "on_interruption": "hold",
        "quieten": "leave running",
        "containers": ["C-1"],
        "place": "freezer",
        "rate": "1 °C/min",
        "to": "-40 °C",
    },
    "I1": {
        "kind": "set_climate",
        "unit": "incubator",
        "longest": "10 min",
        "on_interruption": "repeat",
        "quieten": "hold present value",
        "temperature": "37 °C",
        "carbon_dioxide": "5 %",
    },
}


class Listener:
    """An instrument that takes note of how it was quieted. Implements ``Driver``."""

    model = "listener"
    only_acts_change: Mapping[str, str] = {}

    def __init__(self, equipment: str, *, is_deaf: bool = False) -> None:
        self.equipment = EquipmentId(equipment)
        self.quieted: list[Quieten] = []
        self.line_lives = True
        self._is_deaf = is_deaf

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.line_lives = False

    async def identify(self) -> DeviceIdentity:
        return DeviceIdentity(model=self.model)

    async def standing(self) -> Standing:
        return Standing(values={})

    async def quieten(self, how: Quieten) -> None:
        await asyncio.sleep(0.5)  # the reply's way back
        if self._is_deaf or not self.line_lives:
            raise OutcomeUnknownError("quieten", why="no answer", do_next="Look")
        self.quieted.append(how)

    async def prepare(self, act: Act) -> None:
        del act

    async def trigger(self, act: Act, command: CommandId) -> None:
        raise AssertionError(f"{command}: nothing is triggered after a latch ({act.kind})")

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        raise AssertionError(f"{command}: {act.kind} {before}")

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        raise AssertionError(f"{command}: {act.kind} {before}")

    async def read(self, reading: Reading) -> str:
        raise AssertionError(reading.kind)

    async def close(self) -> None:
        self.line_lives = False


def _attempt(equipment: str, verdict: str) -> AttemptState:
    now = virtual_clock().utc()
    act = ACTS[equipment]
    return AttemptState(f"B-1/u/{equipment}#1.1", equipment, act, {}, "", {}, 1, now, verdict)


def _acting(state: HostState, verdict: str) -> HostState:
    """Return the state with one attempt on each instrument of ``ACTS``."""
    now = virtual_clock().utc()
    batch = state.batches["B-1"] = BatchState("COI-1", "r", "c", {}, {}, {}, {}, {}, now)
    batch.status = "stopped"
    for equipment, act in ACTS.items():
        phase = batch.phases[f"u/{equipment}"] = PhaseRecord("x/1", 1, now)
        attempt = _attempt(equipment, verdict)
        phase.words[1] = WordState(act, attempts=[attempt])
        state.attempts[attempt.command] = ("B-1", f"u/{equipment}", 1)
    return state


async def _latched(
    folder: Path, drivers: Mapping[str, Driver], verdict: str
) -> BaseExceptionGroup[BaseException]:
    """Run an engine on ``drivers`` until its journal latches; return what it says."""
    host = HostId("test")
    journal: Journal[AnyEvent] = Journal(
        folder / "journal.sqlite",
        EVENTS,
        clock=virtual_clock(),
        host=host,
        signer=Signer.stored(folder, host, lambda size: b"k" * size),
        reserve_bytes=4096,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            engine = Engine(
                journal,
                fold_journal(journal),
                lambda _: drivers,
                clock=virtual_clock(),
                cell=load_cell(REFERENCE),
                tasks=tasks,
                can_be_suspended=False,
                folder=folder,
            )
            await engine.start()
            _acting(engine.core.state, verdict)
            journal.latch("the disk is full")
            for _ in range(3):  # each of them meets the same error
                engine.spawn(lambda: _record(engine), "test")
            await asyncio.sleep(3600)
    except BaseExceptionGroup as said:
        return said
    finally:
        journal.close()
    raise AssertionError("it went on without a journal")


async def _record(engine: Engine) -> None:
    await engine.core.record_for_host(AlarmCleared(alarm="x"))


@pytest.mark.parametrize("verdict", ["open", "uncertain"])
def test_each_instrument_is_quieted_as_its_phase_claims_and_once(
    tmp_path: Path, verdict: str
) -> None:
    drivers = {name: Listener(name) for name in (*ACTS, "C1")}
    said = run_in_virtual_time(_latched(tmp_path, drivers, verdict))
    assert {name: one.quieted for name, one in drivers.items()} == {
        "P1": [Quieten.HALT],
        "F1": [Quieten.LEAVE_RUNNING],
        "I1": [Quieten.HOLD_PRESENT_VALUE],
        "C1": [],  # it does nothing
    }
    assert len(said.exceptions) == 1, "said more than once"
    text = str(said.exceptions[0])
    assert isinstance(said.exceptions[0], JournalLatchedError)
    assert "the disk is full" in text
    assert "P1 (halt)" in text
    assert "F1 (leave running)" in text


def test_an_instrument_that_does_not_hear_is_named(tmp_path: Path) -> None:
    drivers = {name: Listener(name, is_deaf=name == "P1") for name in ACTS}
    said = run_in_virtual_time(_latched(tmp_path, drivers, "open"))
    (only,) = said.exceptions
    assert isinstance(only, JournalLatchedError)
    assert only.do_next.startswith("Go to P1 and bring it to rest by hand")
    assert drivers["F1"].quieted == [Quieten.LEAVE_RUNNING]
