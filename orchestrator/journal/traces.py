"""Readings too many to journal one by one: an append-only file, sealed piece by piece.

A trace holds one reading of one instrument as pairs of whole numbers: the moment, in
microseconds since 1970 (UTC), and the value, in the base unit of its quantity. It is
synced each minute. At 4,096 samples, six hours or when asked (the end of a phase) the
samples since the last time become a *chunk*: they are synced, and what ``seal``
returns goes into the journal, which so vouches for them.

The format is in ``docs/reference/journal.md``. Follows design section 5.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from orchestrator.kernel.errors import BrokenChainError, FailedError
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.kernel.quantities import Duration, hour, minute

SYNC_EVERY: Final = 1 * minute
CHUNK_SAMPLES_MAX: Final = 4_096
CHUNK_LONGEST: Final = 6 * hour

HEADER: Final = b"cellwright trace 1\n".ljust(32, b"\n")
_SAMPLE: Final = struct.Struct("<qq")
_SAMPLE_TYPE: Final = np.dtype([("at_us", "<i8"), ("base", "<i8")])


class TraceFailedError(FailedError):
    """A reading couldn't be kept. Those before the last sync are safe."""

    code = "failed.trace"


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """What the journal says of one chunk."""

    file: str
    """The file's name, without its folder."""
    first: Instant
    last: Instant
    samples: int
    sha256: str
    """Of all ``at_us``, then all ``base``, as little-endian 64-bit integers."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples as columns, both of shape (n_samples,)."""

    at_us: NDArray[np.int64]
    base: NDArray[np.int64]

    def digest(self) -> str:
        """Return the SHA-256 over the columns, in hexadecimal."""
        columns = (self.at_us, self.base)
        return sha256(b"".join(column.astype("<i8").tobytes() for column in columns)).hexdigest()


class Trace:
    """The one writer of one trace file."""

    def __init__(
        self, path: Path, *, clock: Clock, sealed: int = 0, sync_every: Duration = SYNC_EVERY
    ) -> None:
        """Open the trace at ``path``; make it if there is none.

        Args:
            path: The file.
            clock: Tells when to sync and seal.
            sealed: How many samples the journal says are sealed. Later ones, if a crash
                left them, belong to the chunk that is now open.
            sync_every: How much may be lost with the power; longer only where no clock of a
                real room runs.

        Raises:
            BrokenChainError: It is no trace, or shorter than ``sealed``.
            TraceFailedError: It can't be written.
        """
        self.path: Final = path
        self._clock = clock
        self._sealed = sealed
        self._sync_every = sync_every
        self._failed: str | None = None
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        try:
            self._open_samples = self._recovered()
        except BaseException:
            os.close(self._file)
            raise
        self._synced_at = self._chunk_since = clock.boottime()

    def add(self, at: Instant, base: int) -> SealedChunk | None:
        """Keep one sample; return a chunk to journal if that was due.

        Raises:
            TraceFailedError: It can't be written, now or since an earlier failure.
        """
        self._write(_SAMPLE.pack(at.micros, base))
        self._open_samples += 1
        now = self._clock.boottime()
        if self._open_samples == 1:
            self._chunk_since = now
        if self._open_samples >= CHUNK_SAMPLES_MAX or now - self._chunk_since >= CHUNK_LONGEST:
            return self.seal()
        if now - self._synced_at >= self._sync_every:
            self.sync()
        return None

    def seal(self) -> SealedChunk | None:
        """End the open chunk and return it, durable, to be journaled; None if it is empty.

        Raises:
            TraceFailedError: It can't be synced. There is no chunk.
        """
        if not self._open_samples:
            return None
        self.sync()
        samples = _read_samples(self._file, self._sealed, self._open_samples)
        chunk = SealedChunk(
            file=self.path.name,
            first=Instant.of_micros(int(samples.at_us[0])),
            last=Instant.of_micros(int(samples.at_us[-1])),
            samples=self._open_samples,
            sha256=samples.digest(),
        )
        self._sealed += self._open_samples
        self._open_samples = 0
        return chunk

    def sync(self) -> None:
        """Make durable what was added.

        Raises:
            TraceFailedError: What was added since the last sync may be lost. Nothing is
                added any more, since trying again would hide that.
        """
        self._refuse_if_failed()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise self._fail(error) from error
        self._synced_at = self._clock.boottime()

    def close(self) -> None:
        """Sync and leave the file. Open samples stay in it, to be sealed later."""
        try:
            if self._failed is None:
                self.sync()
        finally:
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _recovered(self) -> int:
        """Return how many unsealed samples there are, less what a crash left half written."""
        size = os.fstat(self._file).st_size
        if size < len(HEADER) and self._sealed == 0:
            os.ftruncate(self._file, 0)
            self._write(HEADER)
            os.fsync(self._file)
            return 0
        if os.pread(self._file, len(HEADER), 0) != HEADER:
            raise _broken(self.path, "it doesn't begin as a trace does")
        whole = (size - len(HEADER)) // _SAMPLE.size
        if whole < self._sealed:
            raise _broken(self.path, f"it holds {whole} samples, {self._sealed} were sealed")
        unsealed = _read_samples(self._file, self._sealed, whole - self._sealed)
        never_written = np.flatnonzero(unsealed.at_us == 0)
        kept = int(never_written[0]) if never_written.size else whole - self._sealed
        os.ftruncate(self._file, len(HEADER) + (self._sealed + kept) * _SAMPLE.size)
        return kept

    def _write(self, content: bytes) -> None:
        self._refuse_if_failed()
        try:
            written = os.write(self._file, content)
        except OSError as error:
            raise self._fail(error) from error
        if written != len(content):
            raise self._fail(OSError("only a part could be written; the disk is full"))

    def _fail(self, error: OSError) -> TraceFailedError:
        self._failed = error.strerror or str(error)
        return self._error(self._failed)

    def _refuse_if_failed(self) -> None:
        if self._failed is not None:
            raise self._error(self._failed)

    def _error(self, why: str) -> TraceFailedError:
        return TraceFailedError(
            f"keep a reading in {self.path.name}",
            why=why,
            do_next="Check the disk; read the instrument by hand until the trace is opened anew",
        )


def read_chunk(path: Path, chunk: SealedChunk, *, start: int) -> Samples:
    """Return the samples of ``chunk``, compared with what the journal says of them.

    Args:
        path: The trace.
        chunk: As journaled.
        start: How many samples the chunks before it hold.

    Raises:
        BrokenChainError: They aren't those that were sealed, or are missing.
        OSError: There is no such file.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        samples = _read_samples(file, start, chunk.samples)
    finally:
        os.close(file)
    if len(samples.at_us) != chunk.samples or samples.digest() != chunk.sha256:
        why = f"samples {start + 1} to {start + chunk.samples} aren't those that were sealed"
        raise _broken(path, why)
    return samples


def _read_samples(file: int, start: int, count: int) -> Samples:
    stored = os.pread(file, count * _SAMPLE.size, len(HEADER) + start * _SAMPLE.size)
    whole = len(stored) - len(stored) % _SAMPLE.size
    rows = np.frombuffer(stored[:whole], dtype=_SAMPLE_TYPE)
    return Samples(at_us=rows["at_us"].astype(np.int64), base=rows["base"].astype(np.int64))


def _broken(path: Path, why: str) -> BrokenChainError:
    return BrokenChainError(
        f"read the trace {path}",
        why=why,
        do_next="Run cellwright verify, and bring the file back from its backup",
    )
