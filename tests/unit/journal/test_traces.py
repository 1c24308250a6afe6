"""Readings are kept whole, sealed in time, and shown to be those that were sealed."""

from __future__ import annotations

import errno
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from orchestrator.journal import traces
from orchestrator.journal.traces import HEADER, SealedChunk, Trace, TraceFailedError, read_chunk
from orchestrator.kernel.errors import BrokenChainError
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, hour, minute, second
from tests.unit.journal.builders import SteppingClock

START = Instant.read("2026-11-23T10:00:00.000000Z")


class SetClock(SteppingClock):
    """A clock that goes on only when told to."""

    def go_on(self, time: Duration) -> None:
        self.since_boot += time


def filled(path: Path, clock: SetClock, count: int, *, sealed: int = 0) -> list[SealedChunk]:
    """Add ``count`` samples, one a minute; return the chunks that came due."""
    with Trace(path, clock=clock, sealed=sealed) as trace:
        due: list[SealedChunk] = []
        for number in range(count):
            clock.go_on(1 * minute)
            chunk = trace.add(START + number * minute, 37_000 + number)
            due += [chunk] if chunk else []
    return due


def test_a_sealed_chunk_names_its_samples_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "I1.temperature.trace"
    with Trace(path, clock=SetClock()) as trace:
        for number in range(3):
            trace.add(START + number * minute, 37_000 - number)
        chunk = trace.seal()
        assert chunk is not None
        assert trace.seal() is None
        trace.add(START + 1 * hour, -80_000)
        second_chunk = trace.seal()
        assert second_chunk is not None
    assert (chunk.file, chunk.samples) == ("I1.temperature.trace", 3)
    assert (chunk.first, chunk.last) == (START, START + 2 * minute)
    samples = read_chunk(path, chunk, start=0)
    assert samples.base.tolist() == [37_000, 36_999, 36_998]
    assert samples.at_us[0] == START.micros
    assert read_chunk(path, second_chunk, start=3).base.tolist() == [-80_000]


def test_the_digest_is_over_little_endian_columns(tmp_path: Path) -> None:
    with Trace(tmp_path / "t", clock=SetClock()) as trace:
        trace.add(START, 1)
        trace.add(START + 1 * minute, -2)
        chunk = trace.seal()
    moments = np.array([START.micros, START.micros + 60_000_000], dtype="<i8").tobytes()
    values = (1).to_bytes(8, "little") + (-2).to_bytes(8, "little", signed=True)
    assert chunk is not None
    assert chunk.sha256 == sha256(moments + values).hexdigest()


def test_a_chunk_is_due_after_six_hours(tmp_path: Path) -> None:
    due = filled(tmp_path / "t", SetClock(), 12 * 60 + 2)
    assert [chunk.samples for chunk in due] == [361, 361]


def test_a_chunk_is_due_at_4096_samples(tmp_path: Path) -> None:
    clock = SetClock()
    with Trace(tmp_path / "t", clock=clock) as trace:
        due = [trace.add(START + number * second, number) for number in range(4_097)]
    assert [at for at, chunk in enumerate(due) if chunk] == [4_095]
    assert due[4_095] is not None
    assert due[4_095].samples == 4_096


def test_it_is_synced_each_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(traces.os, "fdatasync", syncs.append)
    clock = SetClock()
    trace = Trace(tmp_path / "t", clock=clock)
    for number in range(120):
        clock.go_on(1 * second)
        trace.add(START + number * second, number)
    assert len(syncs) == 2
    trace.close()


@pytest.mark.parametrize("left_behind", [b"", b"half a sampl", bytes(16), bytes(40)])
def test_after_a_crash_unsealed_samples_are_sealed_later(
    tmp_path: Path, left_behind: bytes
) -> None:
    path = tmp_path / "t"
    with Trace(path, clock=SetClock()) as trace:
        trace.add(START, 1)
        sealed = trace.seal()
        trace.add(START, 2)
    assert sealed is not None
    with path.open("ab") as file:
        file.write(left_behind)
    with Trace(path, clock=SetClock(), sealed=1) as trace:
        trace.add(START, 3)
        chunk = trace.seal()
    assert chunk is not None
    assert read_chunk(path, chunk, start=1).base.tolist() == [2, 3]
    assert read_chunk(path, sealed, start=0).base.tolist() == [1]


def test_a_half_written_header_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(HEADER[:7])
    assert filled(tmp_path / "t", SetClock(), 1) == []
    assert (tmp_path / "t").read_bytes()[: len(HEADER)] == HEADER


def test_a_trace_shorter_than_what_was_sealed_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "t", SetClock(), 3)
    with pytest.raises(BrokenChainError, match="it holds 3 samples, 4 were sealed"):
        Trace(tmp_path / "t", clock=SetClock(), sealed=4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"x" * 100)
    with pytest.raises(BrokenChainError, match="doesn't begin as a trace does"):
        Trace(tmp_path / "t", clock=SetClock())


def test_a_changed_or_missing_sample_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with Trace(path, clock=SetClock()) as trace:
        trace.add(START, 1)
        trace.add(START, 2)
        chunk = trace.seal()
    assert chunk is not None
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(BrokenChainError, match="samples 1 to 2 aren't those that were sealed"):
        read_chunk(path, chunk, start=0)
    path.write_bytes(content[:-1])
    with pytest.raises(BrokenChainError, match="samples 1 to 2"):
        read_chunk(path, chunk, start=0)


def test_a_failed_sync_ends_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    trace = Trace(tmp_path / "t", clock=SetClock())
    trace.add(START, 1)
    with monkeypatch.context() as patched:
        patched.setattr(traces.os, "fdatasync", fails)
        with pytest.raises(TraceFailedError, match="Input/output error"):
            trace.seal()
    for again in (trace.seal, trace.sync, lambda: trace.add(START, 2)):
        with pytest.raises(TraceFailedError, match="Input/output error"):
            again()
    trace.close()


def test_a_full_disk_is_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def takes_a_part(file: int, content: bytes) -> int:
        return 5

    trace = Trace(tmp_path / "t", clock=SetClock())
    with monkeypatch.context() as patched:
        patched.setattr(traces.os, "write", takes_a_part)
        with pytest.raises(TraceFailedError, match="the disk is full"):
            trace.add(START, 1)
    trace.close()
