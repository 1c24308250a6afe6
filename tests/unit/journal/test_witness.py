"""The witness's file: what it holds after crashes and full disks, and what it finds.

Method: checkpoints of a real journal are copied to a folder; folder or journal is then
changed as an accident or an insider would, and both are compared again. What must be found
is found by ``Witness.copy``, which a start calls, and by ``verify``.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journal.journal import read_checkpoints
from orchestrator.journal.verify import verify
from orchestrator.journal.witness import (
    Witness,
    WitnessContradictsError,
    WitnessDamagedError,
    framed,
    unframed,
)
from tests.unit.journal.builders import BATCH, HOST, Poured, a_journal, a_signer

SEED = 20261123
PHASES = 6
EACH = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty witness folder."""
    witness = tmp_path / "witness"
    witness.mkdir()
    return witness


async def grown(data: Path, phases: int = PHASES, first: int = 0, **different: Any) -> Path:
    """Have the journal in ``data`` grow by phases, each with a checkpoint at its end."""
    os.makedirs(data, exist_ok=True)
    with a_journal(data, **different) as journal:
        for _ in range(phases):
            await journal.append_all(BATCH, [Poured(number=first + n) for n in range(EACH)])
            await journal.checkpoint()
    (data / "journal.pub").write_text(f"{different.get('signer', a_signer()).public}\n")
    return journal.path


def a_witness(folder: Path, journal: Path, *, known: bool = False, key: str = "journal") -> Witness:
    """Return the witness as a start of a daemon makes it."""
    witness = Witness(folder, HOST, a_signer(key).public, known=known)
    witness.take(read_checkpoints(journal))
    return witness


def held(folder: Path) -> Path:
    return folder / f"{HOST}.notes"


async def test_it_holds_each_note_once_newest_last_over_many_starts(
    tmp_path: Path, folder: Path
) -> None:
    for known in (False, True, True):
        journal = await grown(tmp_path / "data")
        witness = a_witness(folder, journal, known=known)
        witness.copy()
        witness.copy()
    notes = read_checkpoints(journal)
    assert len(notes) == 3 * PHASES
    assert unframed(held(folder).read_bytes()) == (notes, b"")
    assert (witness.found, witness.events) == (2 * PHASES * EACH, 3 * PHASES * EACH)


async def test_it_is_gone_on_with_at_every_byte_that_a_crash_may_leave(
    tmp_path: Path, folder: Path
) -> None:
    journal = await grown(tmp_path / "data", phases=3)
    whole = framed(read_checkpoints(journal))
    for length in range(len(whole) + 1):
        held(folder).write_bytes(whole[:length])
        a_witness(folder, journal, known=True).copy()
        assert held(folder).read_bytes() == whole, f"cut after {length} bytes"


async def test_a_full_disk_is_gone_on_with_when_there_is_room(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await grown(tmp_path / "data")
    witness = a_witness(folder, journal)
    room = [300]

    def write(file: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = os.pwrite(file, data[: room[0]], os.fstat(file).st_size)
        room[0] -= written
        return written

    with monkeypatch.context() as full:
        full.setattr("orchestrator.journal.witness.os.write", write)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                witness.copy()
        assert held(folder).stat().st_size == 300
        assert verify(journal, witness=folder).sound, "what is written so far is true"
    witness.copy()
    assert held(folder).read_bytes() == framed(read_checkpoints(journal))


async def test_a_copy_is_synced_with_the_folder_that_it_was_made_in(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await grown(tmp_path / "data")
    synced: list[str] = []
    sync = os.fsync

    def seen(file: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{file}")).name)
        sync(file)

    monkeypatch.setattr("orchestrator.journal.witness.os.fsync", seen)
    a_witness(folder, journal).copy()
    assert synced == [held(folder).name, folder.name]


async def test_an_earlier_state_of_the_journal_is_found_and_gone_on_with_too(
    tmp_path: Path, folder: Path
) -> None:
    """F10, H22: put back whole, with its checkpoints and key, it is sound by itself."""
    early = await grown(tmp_path / "early", phases=2)
    late = tmp_path / "late"
    shutil.copytree(early.parent, late)
    newest = await grown(late, phases=2)
    a_witness(folder, newest).copy()
    assert verify(early).sound
    with pytest.raises(WitnessContradictsError, match="of 20 events, and its own newest counts 10"):
        a_witness(folder, early, known=True).copy()
    verdict = verify(early, witness=folder)
    assert not verdict.sound
    assert "events 11 to 20 are missing" in verdict.problems[0]

    await grown(early.parent, phases=4, first=EACH)
    with pytest.raises(WitnessContradictsError, match="checkpoint 3 of the witness"):
        a_witness(folder, early, known=True).copy()
    verdict = verify(early, witness=folder)
    assert not verdict.sound
    assert verdict.first_bad_seq == 11
    assert verify(newest, witness=folder).sound


async def test_a_journal_written_anew_with_the_same_key_is_found(
    tmp_path: Path, folder: Path
) -> None:
    journal = await grown(tmp_path / "data")
    a_witness(folder, journal).copy()
    other = tmp_path / "anew"
    other.mkdir()
    with a_journal(other) as forged:
        await forged.append_all(BATCH, [Poured(number=7)] * EACH * PHASES * 2)
        await forged.checkpoint()
    shutil.copy(tmp_path / "data" / "journal.pub", other)
    with pytest.raises(WitnessContradictsError):
        a_witness(folder, forged.path, known=True).copy()
    assert not verify(forged.path, witness=folder).sound


async def test_a_journal_of_another_key_is_found(tmp_path: Path, folder: Path) -> None:
    journal = await grown(tmp_path / "data")
    a_witness(folder, journal).copy()
    other = await grown(tmp_path / "other", signer=a_signer("another"))
    with pytest.raises(WitnessDamagedError, match="this journal's key didn't sign"):
        a_witness(folder, other, known=True, key="another").copy()
    verdict = verify(other, witness=folder)
    assert not verdict.sound
    assert "signed by another key" in verdict.problems[0]
    assert verdict.anchored_to == "own checkpoints only"


async def test_a_foreign_hosts_journal_isnt_vouched_for(tmp_path: Path, folder: Path) -> None:
    journal = await grown(tmp_path / "data")
    a_witness(folder, journal).copy()
    host = type(HOST)("cell-b")
    signer = type(a_signer()).of_entropy(host, lambda count: b"b" * count)
    foreign = await grown(tmp_path / "foreign", host=host, signer=signer)
    assert verify(foreign).sound
    verdict = verify(foreign, witness=folder)
    assert not verdict.sound
    assert "no witnessed checkpoint of host cell-b" in verdict.problems[0]


async def test_any_byte_changed_in_the_witness_is_found(tmp_path: Path, folder: Path) -> None:
    journal = await grown(tmp_path / "data", phases=3)
    a_witness(folder, journal).copy()
    whole = held(folder).read_bytes()
    print(f"seed {SEED}")
    for at in range(len(whole)):
        held(folder).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises((WitnessDamagedError, WitnessContradictsError)):
            a_witness(folder, journal, known=True).copy()
        if at % 7 == SEED % 7:
            assert not verify(journal, witness=folder).sound, f"byte {at}"


async def test_what_was_copied_and_is_gone_is_found_while_it_runs(
    tmp_path: Path, folder: Path
) -> None:
    journal = await grown(tmp_path / "data")
    witness = a_witness(folder, journal)
    witness.copy()
    os.truncate(held(folder), 10)
    with pytest.raises(WitnessDamagedError, match="are gone"):
        witness.copy()


async def test_an_empty_mount_point_isnt_taken_for_the_witness(
    tmp_path: Path, folder: Path
) -> None:
    journal = await grown(tmp_path / "data")
    witness = a_witness(folder, journal)
    witness.copy()
    held(folder).unlink()
    for one in (witness, a_witness(folder, journal, known=True)):
        with pytest.raises(FileNotFoundError):
            one.copy()
    assert not held(folder).exists()
    held(folder).touch()  # a person's own act: from now on this is the witness
    a_witness(folder, journal, known=True).copy()
    assert held(folder).read_bytes() == framed(read_checkpoints(journal))


async def test_verify_says_which_events_no_witness_has(tmp_path: Path, folder: Path) -> None:
    journal = await grown(tmp_path / "data", phases=2)
    a_witness(folder, journal).copy()
    await grown(tmp_path / "data", phases=1)
    verdict = verify(journal, witness=folder)
    assert (verdict.sound, verdict.anchored_to) == (True, f"witness {folder}")
    assert (verdict.events, verdict.unanchored_from, verdict.unwitnessed_from) == (15, None, 11)
    a_witness(folder, journal, known=True).copy()
    assert verify(journal, witness=folder).unwitnessed_from is None
    assert verify(journal).unwitnessed_from is None
