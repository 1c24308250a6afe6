"""A daemon starts on the newest state of its journal alone, where a witness tells.

Method: a data folder lives through fifty short lives, each witnessed, and is copied after
each. Every copy is put back and the daemon started on it, in its own process' place: it must
refuse before any line is opened. The lines of the cell aren't there, so a start that doesn't
refuse ends with the absent port; that is what happens to the newest state, and, planted, to
each earlier one when no witness is named.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from devices.transport.transport import PortRefusedError
from orchestrator.cli.main import status_of
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import EVENTS, HOST, AlarmCleared
from orchestrator.journal.journal import Journal
from orchestrator.journal.verify import verify
from orchestrator.journal.witness import Witness, WitnessContradictsError, WitnessDamagedError
from orchestrator.kernel.errors import BrokenChainError, ProcessError
from orchestrator.kernel.identifiers import HostId
from orchestrator.kernel.instants import SystemClock
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.daemon import WitnessNotBegunError, running
from tests.unit.cli.builders import call
from tests.unit.cli.test_serve import a_cell

NAME = HostId("bench")
SNAPSHOTS = 50


async def _a_life(data: Path, witness: Path | None) -> None:
    signer = Signer.stored(data, NAME, os.urandom)
    journal = Journal(
        data / "journal.sqlite", EVENTS, clock=SystemClock(), host=NAME, signer=signer,
        reserve_bytes=4096,
    )  # fmt: skip
    with journal:
        for number in range(3):
            await journal.append(HOST, AlarmCleared(alarm=f"alarm {number}"))
        await journal.checkpoint()
        notes = journal.notes()
    if witness is not None:
        copying = Witness(witness, NAME, signer.public, known=False)
        copying.take(notes)
        copying.copy()


def a_life(data: Path, witness: Path | None) -> None:
    """Have a few events recorded and signed, and copied if there is a witness."""
    data.mkdir(mode=0o700, exist_ok=True)
    asyncio.run(_a_life(data, witness))


def a_start(data: Path, witness: Path | None) -> ProcessError:
    """Return what a start of the daemon on ``data`` ends with; its port isn't there."""
    cell = load_cell(a_cell(data.parent, f"serial:{data.parent}/none", emulated=True))

    async def start() -> None:
        async with running(cell, data, host=NAME, clock=SystemClock(), room=None, witness=witness):
            raise AssertionError("it serves")

    with pytest.raises(ProcessError) as raised:
        asyncio.run(start())
    return raised.value


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Return an empty witness folder."""
    folder = tmp_path / "witness"
    folder.mkdir()
    return folder


def test_of_fifty_snapshots_put_back_all_but_the_newest_are_refused(
    tmp_path: Path, witness: Path
) -> None:
    data = tmp_path / "data"
    for number in range(SNAPSHOTS + 1):
        a_life(data, witness)
        shutil.copytree(data, tmp_path / f"snapshot-{number}")
    held = (witness / "bench.notes").read_bytes()
    for number in range(SNAPSHOTS):
        put_back = tmp_path / f"snapshot-{number}"
        assert verify(put_back / "journal.sqlite").sound
        before = (put_back / "journal.sqlite").read_bytes()
        refused = a_start(put_back, witness)
        assert isinstance(refused, WitnessContradictsError), f"snapshot {number}: {refused}"
        assert status_of(refused) == 1
        assert (put_back / "journal.sqlite").read_bytes() == before
        planted = a_start(put_back, None)
        assert isinstance(planted, PortRefusedError), f"without a witness: {planted}"
    assert isinstance(a_start(tmp_path / f"snapshot-{SNAPSHOTS}", witness), PortRefusedError)
    assert (witness / "bench.notes").read_bytes() == held


def test_a_snapshot_that_was_gone_on_with_is_refused(tmp_path: Path, witness: Path) -> None:
    data = tmp_path / "data"
    a_life(data, witness)
    shutil.copytree(data, tmp_path / "early")
    a_life(data, witness)
    for _ in range(3):
        a_life(tmp_path / "early", None)
    assert isinstance(a_start(tmp_path / "early", witness), WitnessContradictsError)
    assert isinstance(a_start(data, witness), PortRefusedError)


def test_another_journal_in_the_place_of_the_right_one_is_refused(
    tmp_path: Path, witness: Path
) -> None:
    data, foreign = tmp_path / "data", tmp_path / "foreign"
    a_life(data, witness)
    a_life(foreign, None)
    for named in (witness, None):
        refused = a_start(foreign, named)
        assert isinstance(refused, WitnessDamagedError if named else PortRefusedError)
    shutil.copy(foreign / "journal.sqlite", data / "journal.sqlite")
    refused = a_start(data, witness)
    assert isinstance(refused, BrokenChainError)
    assert "signed by another key" in refused.why


def test_what_was_signed_and_not_yet_copied_is_copied_at_the_next_start(
    tmp_path: Path, witness: Path
) -> None:
    data = tmp_path / "data"
    a_life(data, witness)
    a_life(data, None)
    assert verify(data / "journal.sqlite", witness=witness).unwitnessed_from == 4
    assert isinstance(a_start(data, witness), PortRefusedError)
    assert verify(data / "journal.sqlite", witness=witness).unwitnessed_from is None


def test_a_witness_that_never_was_is_refused_before_anything(tmp_path: Path) -> None:
    data = tmp_path / "data"
    a_life(data, None)
    refused = a_start(data, tmp_path / "mistyped")
    assert isinstance(refused, WitnessNotBegunError)
    assert status_of(refused) == 3


def test_a_witness_in_the_data_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    cell = a_cell(tmp_path, f"serial:{tmp_path}/none", emulated=True)
    called = call(capsys, "serve", cell, "--data", data, "--witness", data / "witness")
    assert called.status == 2
    assert "lies in the data folder" in called.err
    assert not data.exists()


def test_verify_for_programs_says_what_lies_beyond_the_witness(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, witness: Path
) -> None:
    data = tmp_path / "data"
    a_life(data, witness)
    a_life(data, None)
    (told,) = call(capsys, "verify", data, "--witness", witness, "--json").objects
    assert told["sound"]
    assert told["anchored_to"] == f"witness {witness}"
    assert (told["unanchored_from"], told["unwitnessed_from"]) == (None, 4)
    said = call(capsys, "verify", data, "--witness", witness).out
    assert "events from 4 on" in said
