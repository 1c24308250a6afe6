"""The genealogy of a journal's containers: its events, as the plain records of a ``Genealogy``.

It tells what settled, failed half-way or was reconciled; an attempt in doubt moves nothing
until people have decided what it did. Pumped volumes and reported ones are taken as they
stand. What a person read off a container that was received with a stated volume counts as
*found*, so that a bag that came with less than its papers say shows as a discrepancy.

No count is given to a move: a journal holds densities of samples, and cells grow and die
between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from chain_of_identity.genealogy import Found, Genealogy, Lost, Moved, MoveKind, Received, Record
from orchestrator.journal import events as ev
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import Volume

LEFT_ON_THE_BOX: Final = "left on the selection box"
_NOTHING: Final = Volume.of_base(0)
_COMES_EMPTY: Final = frozenset({"empty", "kit", "patient_material", "sample_tube"})
"""Received without a volume, these hold nothing that is known; a reagent's is unknown."""


def genealogy_of(events: Iterable[Recorded[ev.AnyEvent]]) -> Genealogy:
    """Return the genealogy that a journal's events tell, of all its batches together."""
    return Genealogy(records_of(events))


def records_of(events: Iterable[Recorded[ev.AnyEvent]]) -> Iterator[Record]:
    """Yield what the events say was received, moved, lost and found, in their order."""
    reader = _Reader()
    for recorded in events:
        for record in reader.read(recorded):
            reader.note(record)
            yield record


class _Reader:
    def __init__(self) -> None:
        self._phase: dict[tuple[str, str], str] = {}
        self._intended: dict[str, ev.AttemptIntended] = {}
        self._held: defaultdict[ContainerId, int] = defaultdict(int)
        self._stated: set[ContainerId] = set()
        self._patients: set[ContainerId] = set()
        self._came_from: defaultdict[ContainerId, set[ContainerId]] = defaultdict(set)

    def note(self, record: Record) -> None:
        """Take note of what one record does to volumes and origins."""
        match record:
            case Received(container=container, volume=volume, donor=donor):
                self._held[container] += 0 if volume is None else volume.base
                if donor:
                    self._patients.add(container)
            case Moved(source=source, target=target, volume=volume):
                self._held[source] -= volume.base
                self._held[target] += volume.base
                self._came_from[target] |= {source} | self._came_from[source]
                if source in self._patients:
                    self._patients.add(target)
            case Lost(container=container, volume=volume):
                self._held[container] -= volume.base
            case Found(container=container, volume=volume):
                self._held[container] = volume.base

    def read(self, at: Recorded[ev.AnyEvent]) -> Iterator[Record]:
        """Yield what one event says."""
        match at.event:
            case ev.ContainerReceived() as received:
                yield from self._received(received, at.seq)
            case ev.PhaseStarted(batch=batch, path=path, phase=phase):
                self._phase[batch, path] = phase.partition("/")[0]
            case ev.AttemptIntended() as intended:
                self._intended[intended.command] = intended
            case ev.AttemptSettled() | ev.AttemptReconciled() | ev.AttemptFailed() as ended:
                intended = self._intended.pop(ended.command, None)
                if intended is not None and ended.done:
                    yield from self._acted(intended, ended.done, ended.detail, at.seq)
            case _:
                pass

    def _received(self, event: ev.ContainerReceived, seq: int) -> Iterator[Record]:
        volume = Volume.read(event.volume) if event.volume else None
        if volume is not None:
            self._stated.add(event.container)
        elif event.what in _COMES_EMPTY:
            volume = _NOTHING
        donor = event.what == "patient_material"
        yield Received(event.container, volume, seq, donor=donor)
        for position, held in zip(event.positions, event.volumes, strict=True):
            inner = ContainerId(f"{event.container}/{position}")
            yield Received(inner, Volume.read(held), seq)

    def _acted(
        self, intended: ev.AttemptIntended, done: str, detail: Mapping[str, str], seq: int
    ) -> Iterator[Record]:
        act: Mapping[str, Any] = intended.act if intended.act is not None else intended.asked
        if act["kind"] == "pump_volume":
            source, target = ContainerId(act["source"]), ContainerId(act["target"])
            kind = self._kind(source, target, self._phase.get((intended.batch, intended.path), ""))
            yield from _moved(source, target, Volume.read(done), kind, seq)
        elif act["kind"] == "hand_act":
            yield from self._by_hand(act, detail, seq)

    def _kind(self, source: ContainerId, target: ContainerId, phase: str) -> MoveKind:
        if phase == "fill_and_seal":
            return MoveKind.SPLIT
        apart = target not in self._came_from[source] and source not in self._came_from[target]
        if apart and source in self._patients and target in self._patients:
            return MoveKind.POOL
        return MoveKind.TRANSFER

    def _by_hand(
        self, act: Mapping[str, Any], detail: Mapping[str, str], seq: int
    ) -> Iterator[Record]:
        stated = detail.get("volume") or act["parameters"].get("volume")
        if stated is None:
            return
        volume = Volume.read(stated)
        containers = [ContainerId(one) for one in act["containers"]]
        match act["work"]:
            case "receive" if containers[0] in self._stated:
                yield Found(containers[0], volume, seq)
            case "receive":
                yield Received(containers[0], volume, seq)
            case "draw_sample":
                source, target = containers[:2]
                yield from _moved(source, target, volume, MoveKind.SAMPLE, seq)
            case "select_magnetically":
                source, target = containers[:2]
                yield from self._selected(source, target, volume, seq)
            case _:
                pass

    def _selected(
        self, source: ContainerId, target: ContainerId, volume: Volume, seq: int
    ) -> Iterator[Record]:
        """All of the source runs over the box, and may come off it in more than it went on."""
        held = Volume.of_base(max(self._held[source], 0))
        yield from _moved(source, target, min(volume, held), MoveKind.SELECTION, seq)
        if held > volume:
            yield Lost(source, held - volume, LEFT_ON_THE_BOX, seq)
        elif volume > held:
            yield Received(target, volume - held, seq)  # the box's own buffer


def _moved(
    source: ContainerId, target: ContainerId, volume: Volume, kind: MoveKind, seq: int
) -> Iterator[Record]:
    if volume > _NOTHING:
        yield Moved(source, target, volume, kind, seq)
