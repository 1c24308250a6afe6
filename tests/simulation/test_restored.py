"""After a restore nothing moves before people looked; a long phase is anchored each minute.

Method: the thin path is backed up while its pump turns, goes on to its end, and is restored; the
room has everything in it that the journal has lost. Its ledger is the judge: what it holds at the
restore is all that it holds until a supervisor restarts. A planted fault, a restore that holds
nothing, shows that the ledger would tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.ledger_record import ledger_of
from orchestrator.engine import anchoring
from orchestrator.engine import fold as fold_module
from orchestrator.engine.engine import Engine
from orchestrator.engine.fold import _journal_restored  # pyright: ignore[reportPrivateUsage]
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import RESTORED, HostState
from orchestrator.journal.backup import back_up
from orchestrator.journal.checkpoints import Checkpoint
from orchestrator.journal.events import (
    EVENTS,
    AlarmRaised,
    AttemptIntended,
    AttemptReconciled,
    EquipmentSeen,
    IdentityProven,
    JournalRestored,
)
from orchestrator.journal.journal import read_checkpoints, read_events
from orchestrator.journal.verify import verify
from orchestrator.kernel.identifiers import EquipmentId
from orchestrator.kernel.quantities import mL
from orchestrator.process_cell import restore
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.process_cell.emulated_people import person
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock
from tests.simulation.thin import BATCH, KIT, TRANSFERRED, begin, thin_cell

pytestmark = [
    pytest.mark.leaves_tasks("engines are left as a death leaves them"),
    pytest.mark.requirement("REC-15"),
]

DAY_S = 86_400


async def backed_up(cell: EmulatedCell, to: Path, moment: str) -> None:
    """Run the batch to its end; back up before the dose of its transfer, or while it runs."""
    async with cell.engine() as engine:
        await engine.core.checkpoint()
        is_there = in_the_dose if moment == IN_THE_DOSE else before_the_dose
        await begin(engine)
        await engine.core.bells.until("news", lambda: is_there(engine))
        back_up(cell.journal_path, to)
        await engine.ended(BATCH)
        assert engine.core.state.batches[BATCH].status == "complete"


IN_THE_DOSE = "in the dose"
BEFORE_IT = "before it"


def before_the_dose(engine: Engine) -> bool:
    return any("03-transfer" in path for path in engine.core.state.batches[BATCH].phases)


def in_the_dose(engine: Engine) -> bool:
    state = engine.core.state
    for batch, path, number in state.attempts.values():
        act = state.batches[batch].phases[path].words[number].attempts[-1].act
        if "03-transfer" in path and act["kind"] == "pump_volume":
            return True
    return False


async def restored(cell: EmulatedCell, backup: Path) -> Path | None:
    """Put the backup back, signed by two people of the cell."""
    clock = virtual_clock()
    with restore.prepared(backup, cell.folder, None) as prepared:
        first, second = (
            restore.recognised(prepared, login, person(login).secret, clock)
            for login in ("supervisor", "quality")
        )
        event = restore.signed(prepared, first, second, clock)
        return await restore.carried_out(prepared, event, clock)


def effects(cell: EmulatedCell) -> list[dict[str, Any]]:
    cell.world.catch_up()
    return list(ledger_of(cell.world))


async def a_restored_day(folder: Path) -> tuple[int, int]:
    """Return how many effects there were at the restore, and a day after the next start."""
    async with thin_cell(folder / "run") as cell:
        await backed_up(cell, folder / "backup.sqlite", BEFORE_IT)
        await restored(cell, folder / "backup.sqlite")
        before = len(effects(cell))
        async with cell.engine():
            await asyncio.sleep(DAY_S)
            return before, len(effects(cell))


@pytest.mark.parametrize("moment", [IN_THE_DOSE, BEFORE_IT])
def test_nothing_moves_after_a_restore_until_people_have_looked(
    tmp_path: Path, moment: str
) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path / "run") as cell:
            await backed_up(cell, tmp_path / "backup.sqlite", moment)
            kept = await restored(cell, tmp_path / "backup.sqlite")
            assert kept is not None
            lost = verify(kept).events - verify(tmp_path / "backup.sqlite").events
            before = effects(cell)
            async with cell.engine() as engine:
                state = engine.core.state
                procedure = state.batches[BATCH].procedures["move"]
                assert RESTORED in procedure.reasons
                alarm = state.alarms[f"{RESTORED} 1"]
                assert (alarm.tier, f"at least {lost} that came after" in alarm.cause) == (
                    "block",
                    True,
                ), alarm.cause
                await asyncio.sleep(DAY_S)
                assert effects(cell) == before, "something moved"
                assert procedure.state is PhaseState.HELD
                assert set(procedure.reasons) == {RESTORED}, "two people have decided by then"

                await cell.give("supervisor", "restart", batch=BATCH, why="in a hurry")
                await asyncio.sleep(DAY_S)
                assert effects(cell) == before, "it moved, and nobody has looked at the pump"
                assert procedure.state is PhaseState.HELD
                await _looked_at(cell, engine)
                if moment == IN_THE_DOSE:
                    decision, how = "restart", "complete"
                else:  # the dose is on no record, and was given
                    decision, how = "stop", "stopped"
                await cell.give("supervisor", decision, batch=BATCH, why="the bag was weighed")
                await engine.ended(BATCH)
                assert state.batches[BATCH].status == how
                vessel = cell.world.contents(f"{KIT}/vessel").volume_mL
                assert vessel == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
                events = [one.event for one in engine.core.journal.events()]
            _assert_people_came_first(events)
            decided = [one for one in events if isinstance(one, AttemptReconciled)]
            assert bool(decided) == (moment == IN_THE_DOSE)
            assert verify(cell.journal_path, deep=True).sound

    run_in_virtual_time(story())


async def _looked_at(cell: EmulatedCell, engine: Engine) -> None:
    for name in [one for one, known in engine.core.state.equipment.items() if known.outside]:
        await cell.give("supervisor", "look_at_equipment", equipment=name)
    assert not [one for one in engine.core.state.equipment.values() if one.outside]


def _assert_people_came_first(events: list[Any]) -> None:
    at = next(n for n, one in enumerate(events) if isinstance(one, JournalRestored))
    after = events[at:]
    acts = [n for n, one in enumerate(after) if isinstance(one, AttemptIntended)]
    scans = [n for n, one in enumerate(after) if isinstance(one, IdentityProven)]
    looks = {one.equipment for one in after if isinstance(one, EquipmentSeen)}
    assert EquipmentId("P1") in looks
    if any(after[n].proven for n in acts):
        first = next(n for n in acts if after[n].proven)
        assert min(scans) < first, "it acted on material before a scan"
    assert all(":e1" in after[n].command for n in acts), "a lost attempt's name was given again"


def test_a_restore_that_held_nothing_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any) -> Iterator[Any]:
        return iter(())

    def forgets(state: HostState, at: Any, event: Any) -> None:
        _journal_restored(state, at, event)
        state.equipment.clear()  # so that each instrument is taken as it shows itself

    monkeypatch.setattr(restore, "put_at_rest", nothing)
    monkeypatch.setitem(fold_module._STEPS, "journal_restored", forgets)  # pyright: ignore[reportPrivateUsage]
    before, after = run_in_virtual_time(a_restored_day(tmp_path))
    assert after > before, "what was done would be done again, and the ledger shows it"


def test_an_order_to_start_that_waits_is_void_after_a_restore(tmp_path: Path) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path / "run") as cell:
            backup = tmp_path / "backup.sqlite"
            async with cell.engine() as engine:

                def look(recorded: Any) -> None:
                    if recorded.event.kind == "batch_start_asked":
                        back_up(cell.journal_path, backup)

                engine.core.listeners.append(look)
                await engine.core.checkpoint()
                await begin(engine)
                await engine.ended(BATCH)
            await restored(cell, backup)
            before = effects(cell)
            async with cell.engine() as engine:
                await asyncio.sleep(DAY_S)
                assert engine.core.state.batches[BATCH].status == "made"
                assert effects(cell) == before
                await cell.give("supervisor", "start_batch", batch=BATCH)

    run_in_virtual_time(story())


# A checkpoint of each minute -----------------------------------------------------------------


async def _long_phase(folder: Path) -> list[tuple[float, float]]:
    """Return of each event how long it was on record before a checkpoint, with its time."""
    async with thin_cell(folder) as cell, cell.engine() as engine:
        await begin(engine)
        await engine.ended(BATCH)
        await asyncio.sleep(120)
        public = cell._signer.public  # pyright: ignore[reportPrivateUsage]
        signed = [public.open(one) for one in read_checkpoints(cell.journal_path)]
        began = engine.core.clock.utc()
        waits: list[tuple[float, float]] = []
        for one in read_events(cell.journal_path, EVENTS):
            covering: Checkpoint | None = next((c for c in signed if c.size >= one.seq), None)
            until = began if covering is None else covering.at
            waits.append(((until - one.at).base / 1000, float(one.seq)))
        return waits


def test_no_event_is_without_a_checkpoint_for_more_than_a_minute(tmp_path: Path) -> None:
    waits = run_in_virtual_time(_long_phase(tmp_path))
    assert max(waits)[0] <= 60


def test_without_the_minute_it_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(anchoring.Anchoring, "_recorded", nothing)
    waits = run_in_virtual_time(_long_phase(tmp_path))
    assert max(waits)[0] > 60


def test_an_idle_cell_signs_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with thin_cell(tmp_path) as cell, cell.engine() as engine:
            await asyncio.sleep(600)
            notes = read_checkpoints(cell.journal_path)
            await asyncio.sleep(DAY_S / 2)
            later = read_checkpoints(cell.journal_path)
            news = [one.event for one in engine.core.journal.events()]
            assert later == notes or any(isinstance(one, AlarmRaised) for one in news)

    run_in_virtual_time(story())
