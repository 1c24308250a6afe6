"""What is kept beside the journal: readings in trace files, and the folded state.

Both can be thrown away: a trace's sealed chunks are vouched for by the journal, and the
saved state counts only while a signed checkpoint states its digest. Whatever can't be used
of it is as if it weren't there: the journal is folded from its first event.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from orchestrator.engine.alarms import Alarms
from orchestrator.engine.closed import ClosedBatches, closed_batches, fits
from orchestrator.engine.core import Core
from orchestrator.engine.replay import collector_resting, replayed
from orchestrator.engine.state import HostState
from orchestrator.engine.watches import Sample
from orchestrator.journal.checkpoints import PublicKey
from orchestrator.journal.events import TraceSealed
from orchestrator.journal.merkle import CompactRange
from orchestrator.journal.saved_state import NotSavedError, SavedState, load_state, save_state
from orchestrator.journal.traces import SYNC_EVERY, SealedChunk, Trace
from orchestrator.kernel.canonical import digest
from orchestrator.kernel.errors import ProcessError
from orchestrator.kernel.identifiers import EquipmentId
from orchestrator.kernel.quantities import Quantity, hour

SYNC_EMULATED_EVERY: Final = 6 * hour
"""On a clock that jumps, a minute of the room passes in a millisecond of the disk."""

SAVE_EACH: Final = 10_000
"""Events between two saved states (design section 5), while the state is small."""

BYTES_FOR_EACH_EVENT: Final = 500
"""A larger state is saved more rarely: saving so much costs a fraction of an event.

A hundred CAR-T batches that are open are 11 MB, saved each 22,000 events: what a host that
died reads on from there is read in half a second.
"""

_NOT_SAVED: Final = "saved state"

_STATE: Final[TypeAdapter[HostState]] = TypeAdapter(HostState)

_FORM_CHARACTERS: Final = 16

_LOG: Final = logging.getLogger(__name__)


def folded_by(version: str) -> str:
    """Return who folded a state: an engine version, with the form of its states.

    The form is told by the beginning of a digest of the schema, so that a state is never read
    by code whose states have other fields, whatever both call their version.
    """
    return f"{version}+{_form()}"


def _form() -> str:
    return _form_of(_STATE)


@cache
def _form_of(states: TypeAdapter[HostState]) -> str:
    schema = json.dumps(states.json_schema(mode="serialization"), sort_keys=True)
    return digest(schema.encode())[:_FORM_CHARACTERS]


class Traces:
    """One trace file for each polled reading; implements ``Sampled``."""

    def __init__(self, folder: Path, core: Core, alarms: Alarms) -> None:
        """Keep the traces in ``folder``; sealed chunks become events of ``core``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._core = core
        self._alarms = alarms
        self._traces: dict[str, Trace] = {}

    def __call__(self, equipment: str, reading: str, sample: Sample) -> None:
        """Keep one sample; a value that didn't come, or can't be kept, leaves a gap."""
        if sample.value is None:
            return
        try:
            trace = self._trace(equipment, reading)
            chunk = trace.add(sample.at, Quantity.read(sample.value).base)
        except (ProcessError, OSError) as failed:
            self._core.tasks.create_task(self._not_kept(f"{equipment} {reading}", failed))
            return
        if chunk is not None:
            self._core.tasks.create_task(self._sealed(equipment, reading, chunk))

    async def close(self) -> None:
        """Seal what is open and close the files."""
        for name, trace in self._traces.items():
            try:
                chunk = trace.seal()
            except (ProcessError, OSError) as failed:
                chunk = None
                await self._not_kept(name, failed)
            if chunk is not None:
                equipment, _, reading = name.partition(" ")
                await self._sealed(equipment, reading, chunk)
            try:
                trace.close()
            except (ProcessError, OSError) as failed:
                await self._not_kept(name, failed)
        self._traces.clear()

    async def _not_kept(self, name: str, failed: ProcessError | OSError) -> None:
        """Say that readings aren't kept; who watches them goes on."""
        await self._alarms.raise_alarm(
            f"trace {name}",
            tier="alarm",
            cause=str(failed),
            consequence=f"The trace of {name} has a gap; conditions on it are still watched",
            action="Check the disk, write the readings down by hand, and start the daemon again "
            "when no act runs",
        )

    def _trace(self, equipment: str, reading: str) -> Trace:
        name = f"{equipment} {reading}"
        trace = self._traces.get(name)
        if trace is None:
            sealed = self._core.state.traced.get(name, 0)
            path = self._folder / f"{equipment}-{reading}.trace"
            every = SYNC_EVERY if self._core.can_be_suspended else SYNC_EMULATED_EVERY
            trace = Trace(path, clock=self._core.clock, sealed=sealed, sync_every=every)
            self._traces[name] = trace
        return trace

    async def _sealed(self, equipment: str, reading: str, chunk: SealedChunk) -> None:
        await self._core.record_for_host(
            TraceSealed(
                equipment=EquipmentId(equipment),
                reading=reading,
                file=chunk.file,
                first=chunk.first,
                last=chunk.last,
                samples=chunk.samples,
                sha256=chunk.sha256,
            )
        )


def resumed_state(
    folder: Path, public: PublicKey, version: str
) -> tuple[HostState, CompactRange | None]:
    """Return the state of the journal in ``folder``, from what was saved where that holds."""
    journal = folder / "journal.sqlite"
    state, tree = _saved_state(folder / "state.sqlite", journal, public, version)
    if journal.exists():
        replayed(state, journal)
    return state, tree


def _saved_state(
    path: Path, journal: Path, public: PublicKey, version: str
) -> tuple[HostState, CompactRange | None]:
    """Return what was saved; nothing, and a line in the log, where it can't be used."""
    saved = load_state(path, journal=journal, public=public, engine_version=folded_by(version))
    if saved is None:
        if path.exists():
            _LOG.warning(
                "%s isn't used: it is damaged, of another version or form, or no checkpoint "
                "vouches for it. The whole journal is read instead",
                path.name,
            )
        return HostState(), None
    try:
        with collector_resting():
            state = _STATE.validate_json(saved.state)
            if not fits(state, saved.parts):
                raise ValueError("what was put away isn't what the state says")
            ClosedBatches(state, saved.parts)
            return state, saved.tree
    except (ProcessError, ValueError, TypeError) as unread:
        _LOG.warning(
            "%s isn't used: it can't be read (%s). The whole journal is read instead",
            path.name,
            type(unread).__name__,
        )
        return HostState(), None


class StateKeeper:
    """Saves the folded state at each so many events and at a clean end."""

    def __init__(self, folder: Path, core: Core, version: str, alarms: Alarms) -> None:
        """Save ``core``'s state beside its journal."""
        self._path = folder / "state.sqlite"
        self._core = core
        self._version = version
        self._alarms = alarms
        self._closed = closed_batches(core.state)
        self._saved_at = core.state.seq
        self._save_each = SAVE_EACH
        self._saving = False

    def look(self) -> None:
        """Save if enough has happened since the last time; called with every event."""
        if self._saving or self._core.state.seq - self._saved_at < self._save_each:
            return
        self._saving = True
        self._core.tasks.create_task(self.save())

    async def save(self) -> None:
        """Save the state, with a checkpoint that states its digest.

        Where it can't be, an alarm says so and work goes on: a start only takes longer.
        """
        try:
            await self._save()
        except NotSavedError as failed:
            await self._alarms.raise_alarm(
                _NOT_SAVED,
                tier="warn",
                cause=str(failed),
                consequence="Nothing is lost; the next start reads the whole journal",
                action=failed.do_next,
            )
        else:
            await self._alarms.clear(_NOT_SAVED)
        finally:
            self._saving = False

    async def _save(self) -> None:
        kept: list[SavedState] = []

        def now() -> SavedState:
            self._closed.put_away()
            kept.append(
                SavedState(
                    folded_by(self._version),
                    _STATE.dump_json(self._core.state),
                    self._core.journal.tree,
                    dict(self._closed.contents),
                )
            )
            return kept[-1]

        await self._core.checkpoint(lambda: now().statement())
        self._saved_at = kept[-1].seq  # also where it fails: not tried again at each event
        self._save_each = max(SAVE_EACH, len(kept[-1].state) // BYTES_FOR_EACH_EVENT)
        save_state(self._path, kept[-1], written=self._closed.saved)
        self._closed.saved |= kept[-1].parts.keys()
