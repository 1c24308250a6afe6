"""The genealogy of a journal's containers: its events, as the plain records of a ``Genealogy``.

It tells what settled, failed half-way or was reconciled; an attempt in doubt moves nothing
until people have decided what it did. What a person read off a container that was received
with a stated volume counts as *found*, so that a bag that came with less than its papers say
shows as a discrepancy.

A pumped volume is the one that balances saw pass, wherever they are the better measure: a
pump says how often it turned, which is how much was asked of it. Reported volumes are taken
as they stand. A volume that nobody can read, as an older version may have let one on record,
is told as unreadable: the material went there all the same, and the account isn't known.

No count is given to a move: a journal holds densities of samples, and cells grow and die
between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from chain_of_identity.genealogy import (
    Error,
    Found,
    Genealogy,
    Lost,
    Moved,
    MoveKind,
    Received,
    Record,
    Unreadable,
)
from devices.interfaces.fluid_transfer import VOLUME_ERROR, WEIGHT_FLOOR
from orchestrator.journal import events as ev
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import Volume, percent

LEFT_ON_THE_BOX: Final = "left on the selection box"
OF_THE_BOX: Final = "buffer of the selection box"

DENSITY_ERROR: Final = 2 * percent
"""So far the density of what is weighed may lie off 1 g/mL, cryoprotectant included: set by
site, to be confirmed at qualification."""

WEIGHED: Final = "weighed, at 1 g/mL"
PUMPED: Final = "by the pump's count"
ERRORS: Final = {
    WEIGHED: Error(DENSITY_ERROR, Volume.of_base(WEIGHT_FLOOR.base)),  # 1 ug of water is 1 nL
    PUMPED: Error(VOLUME_ERROR, Volume.of_base(0)),
}
REPORTED: Final = "as reported"
ASKED: Final = "as asked"
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
        self._unknown: set[ContainerId] = set()
        self._stated: set[ContainerId] = set()
        self._patients: set[ContainerId] = set()
        self._came_from: defaultdict[ContainerId, set[ContainerId]] = defaultdict(set)

    def note(self, record: Record) -> None:
        """Take note of what one record does to volumes and origins."""
        match record:
            case Received(container=container, volume=volume, donor=donor):
                self._held[container] += 0 if volume is None else volume.base
                if volume is None:
                    self._unknown.add(container)
                if donor:
                    self._patients.add(container)
            case Unreadable(container=container):
                self._unknown.add(container)
            case Moved(source=source, target=target, volume=volume):
                if volume is None:
                    self._unknown |= {source, target}
                else:
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
        donor = event.what == "patient_material"
        if event.volume:
            volume, unreadable = _read(event.volume, event.container, seq)
            if volume is not None:
                self._stated.add(event.container)
        else:
            volume, unreadable = (_NOTHING if event.what in _COMES_EMPTY else None), []
        yield Received(event.container, volume, seq, donor=donor)
        yield from unreadable
        for position, held in zip(event.positions, event.volumes, strict=True):
            inner = ContainerId(f"{event.container}/{position}")
            volume, unreadable = _read(held, inner, seq)
            yield Received(inner, volume, seq)
            yield from unreadable

    def _acted(
        self, intended: ev.AttemptIntended, done: str, detail: Mapping[str, str], seq: int
    ) -> Iterator[Record]:
        act: Mapping[str, Any] = intended.act if intended.act is not None else intended.asked
        if act["kind"] == "pump_volume":
            source, target = ContainerId(act["source"]), ContainerId(act["target"])
            kind = self._kind(source, target, self._phase.get((intended.batch, intended.path), ""))
            yield from _pumped(source, target, done, detail.get("weighed", ""), kind, seq)
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
        if stated is None or act["work"] not in ("receive", "draw_sample", "select_magnetically"):
            return
        first, *others = (ContainerId(one) for one in act["containers"][:2])
        volume, unreadable = _read(stated, first, seq)
        match act["work"]:
            case "receive" if volume is not None and first in self._stated:
                yield Found(first, volume, seq)
            case "receive":
                yield Received(first, volume, seq)
            case "draw_sample":
                measured = REPORTED if detail.get("volume") else ASKED
                yield from _moved(first, others[0], volume, MoveKind.SAMPLE, seq, measured)
            case _:
                yield from self._selected(first, others[0], volume, seq)
        yield from unreadable

    def _selected(
        self, source: ContainerId, target: ContainerId, volume: Volume | None, seq: int
    ) -> Iterator[Record]:
        """All of the source runs over the box, and may come off it in more than it went on.

        Nobody measures what stays on the box, or what its buffer adds: both are the difference
        between what the account holds and what was reported, and say so. Where the account
        isn't known, there is no difference to tell.
        """
        held = Volume.of_base(max(self._held[source], 0))
        if volume is None or source in self._unknown or held == _NOTHING:
            yield from _moved(source, target, volume, MoveKind.SELECTION, seq, REPORTED)
            return
        yield from _moved(source, target, min(volume, held), MoveKind.SELECTION, seq, REPORTED)
        calculated = f"the account's {held} of {source} and the {volume} reported of {target}"
        if held > volume:
            yield Lost(source, held - volume, LEFT_ON_THE_BOX, seq, calculated=calculated)
        elif volume > held:
            yield Received(target, volume - held, seq, calculated=calculated)


def _read(text: str, container: ContainerId, seq: int) -> tuple[Volume | None, list[Unreadable]]:
    """Return a volume, or None and what there is to be said of its text."""
    try:
        volume = Volume.read(text)
    except ValueError as wrong:
        return None, [Unreadable(container, text, str(wrong), seq)]
    if volume < _NOTHING:
        return None, [Unreadable(container, text, "it is less than nothing", seq)]
    return volume, []


def _pumped(
    source: ContainerId, target: ContainerId, done: str, by_weight: str, kind: MoveKind, seq: int
) -> Iterator[Record]:
    """Yield a pumped move by the better of its two measures, and its error."""
    counted, unreadable = _read(done, source, seq)
    weighed = _read(by_weight, source, seq)[0] if by_weight else None
    yield from unreadable
    both = ((weighed, WEIGHED), (counted, PUMPED))
    measures = [(volume, how) for volume, how in both if volume is not None]
    if not measures:
        yield Moved(source, target, None, kind, seq)
        return
    volume, how = min(measures, key=lambda one: ERRORS[one[1]].of(one[0]))
    if volume > _NOTHING:
        yield Moved(source, target, volume, kind, seq, measured=how, error=ERRORS[how])


def _moved(
    source: ContainerId,
    target: ContainerId,
    volume: Volume | None,
    kind: MoveKind,
    seq: int,
    measured: str,
) -> Iterator[Record]:
    if volume is None or volume > _NOTHING:
        yield Moved(source, target, volume, kind, seq, measured=measured)
