"""What the journal's tests are made of: two events, a clock, a key, and a disk that fails."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import apsw
from pydantic import Field, TypeAdapter

from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.journal import Journal
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import BootId, HostId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Volume, mL, second

HOST = HostId("cell-a")
BATCH = "batch/B-000147"


class Poured(Frozen):
    kind: Literal["poured"] = "poured"
    number: int
    volume: Volume = 250 * mL


class Noted(Frozen):
    kind: Literal["noted"] = "noted"
    text: str


Toy = Annotated[Poured | Noted, Field(discriminator="kind")]
TOYS: TypeAdapter[Poured | Noted] = TypeAdapter(Toy)


def last_words(why: str) -> tuple[str, Poured | Noted]:
    """Return what is to be recorded when the disk is full."""
    return "host", Noted(text=why)


class SteppingClock:
    """A clock that goes on by one second each time it is asked for the wall time."""

    def __init__(self, first: str = "2026-11-23T10:00:00.000000Z") -> None:
        self.now = Instant.read(first)
        self.since_boot = 0 * second

    def utc(self) -> Instant:
        self.now += 1 * second
        self.since_boot += 1 * second
        return self.now

    def boottime(self) -> Duration:
        return self.since_boot

    def boot(self) -> BootId:
        return BootId("boot-1")

    def offset(self) -> Duration:
        return 0 * second


def entropy(seed: str = "journal") -> Callable[[int], bytes]:
    """Return the bytes that ``seed`` always gives."""
    return lambda count: sha256(seed.encode()).digest()[:count]


def a_signer(seed: str = "journal") -> Signer:
    return Signer.of_entropy(HOST, entropy(seed))


def a_journal(folder: Path, **different: Any) -> Journal[Poured | Noted]:
    """Return an open journal in ``folder``, with a small reserve."""
    given: dict[str, Any] = {
        "clock": SteppingClock(),
        "host": HOST,
        "signer": a_signer(),
        "reserve_bytes": 64 * 1024,
    }
    return Journal(folder / "journal.sqlite", TOYS, **{**given, **different})


def opened(path: Path) -> Any:
    """Return a connection that may do anything; Any, since APSW's stubs need Python 3.12."""
    return apsw.Connection(str(path))


class Disk(apsw.VFS):
    """A disk that counts writes and syncs, and fails when told to.

    ``plan`` is called before each with its kind (``"write"`` or ``"sync"``) and the file's
    name, and may raise an ``apsw`` error in its place.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.operations: list[tuple[str, str]] = []
        self.plan: Callable[[str, str], None] = lambda kind, file: None

    def count(self, kind: str, suffix: str = "") -> int:
        return sum(1 for what, file in self.operations if what == kind and file.endswith(suffix))

    def begin(self, kind: str, file: str) -> None:
        self.operations.append((kind, file))
        self.plan(kind, file)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802 (SQLite's name)
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 (SQLite's name)
        self._disk.begin("write", self._name)
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]

    def xSync(self, flags: int) -> None:  # noqa: N802 (SQLite's name)
        self._disk.begin("sync", self._name)
        super().xSync(flags)
