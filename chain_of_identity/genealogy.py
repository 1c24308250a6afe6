"""Where material came from and where it went: a graph of moves between containers.

It is folded from plain records in the order of their events, and holds no opinion: what was
received, moved, declared lost, found and unreadable is told to it. Closures follow time: what
left a container before something came in carries nothing of it. Each container's account must
come out even: what came in, less what went out and what was declared lost, is what it holds.
What was found to be there may differ by less than ``DISCREPANCY_FROM`` of what had come in. How
far off the measured amounts of an account may be is told beside it, and excuses nothing.

Volumes are added as they are, so mixing must not change them, as it doesn't for what is
handled here. Cells grow and die, so an account of cells means something only where no
culture lies between its counts; a container with one move that counted none has none.
Follows design section 10; 21 CFR 1271.290(b); 21 CFR 211.192 for unexplained discrepancies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import isqrt
from typing import Final, Generic, TypeVar

from orchestrator.kernel.identifiers import ContainerId
from orchestrator.kernel.quantities import Cells, Fraction, Volume, percent

DISCREPANCY_FROM: Final = 3 * percent
"""From this part of what came in on, a difference must be investigated: set by site."""

_WHOLE: Final = Fraction.of_base(100_000)


class MoveKind(StrEnum):
    """Why material went from one container into another."""

    TRANSFER = "transfer"
    SPLIT = "split"  # one of several parts of the source
    POOL = "pool"  # it joins material that came another way
    SAMPLE = "sample"  # taken to measure
    SELECTION = "selection"  # the part that a selection keeps


@dataclass(frozen=True, slots=True)
class Error:
    """How far off a measure may be: a part of the amount, and so much at each measuring.

    The part is off to the same side each time (one tube, one kind of liquid), so what came in
    and went out by the same measure cancels; each measuring is off by itself.
    """

    part: Fraction
    each: Volume

    def of(self, volume: Volume) -> Volume:
        """Return how far off one measured amount may be."""
        return self.part.of(volume) + self.each


@dataclass(frozen=True, slots=True)
class Received:
    """A container came from outside; ``donor``: what is in it was taken from a patient.

    ``volume`` and ``cells`` are what it held then, None where nobody knew yet. What nobody
    measured says from what it was ``calculated``.
    """

    container: ContainerId
    volume: Volume | None
    seq: int
    cells: Cells | None = None
    donor: bool = False
    calculated: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """Material went from ``source`` into ``target``.

    ``volume`` is None where nobody knows how much. ``measured`` says by what it was measured,
    and ``error`` how far off that may be, None where nobody stated it.
    """

    source: ContainerId
    target: ContainerId
    volume: Volume | None
    kind: MoveKind
    seq: int
    cells: Cells | None = None
    measured: str = ""
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """Material left a container and went into none: declared, with a reason.

    What nobody measured says from what it was ``calculated``.
    """

    container: ContainerId
    volume: Volume
    why: str
    seq: int
    cells: Cells | None = None
    calculated: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a container was measured to hold, by something else than the moves' record."""

    container: ContainerId
    volume: Volume
    seq: int
    cells: Cells | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An amount that went with a container is on record, and nobody can read it."""

    container: ContainerId
    text: str
    why: str
    seq: int


Record = Received | Moved | Lost | Found | Unreadable

Q = TypeVar("Q", Volume, Cells)


@dataclass(frozen=True, slots=True)
class Balance(Generic[Q]):
    """One container's account. ``came_in - went_out - lost - unexplained == held``.

    ``unexplained`` is what was missing where it was looked at, below zero what was too much.
    ``discrepancies`` are the events at which the difference had to be investigated. ``error``
    is how far ``held`` may be off because of its measured moves; amounts whose error nobody
    stated count as exact.
    """

    container: ContainerId
    came_in: Q
    went_out: Q
    lost: Q
    held: Q
    unexplained: Q
    discrepancies: tuple[int, ...]
    error: Q

    @property
    def is_discrepancy(self) -> bool:
        """Return whether somebody must look for the difference."""
        return bool(self.discrepancies)


class _Account:
    """The running sums of one container, in whole base units."""

    def __init__(self) -> None:
        self.came_in = 0
        self.went_out = 0
        self.lost = 0
        self.unexplained = 0
        self.is_known = True
        self.discrepancies: list[int] = []
        self._by_part: defaultdict[Fraction, int] = defaultdict(int)
        self._squares = 0

    @property
    def error(self) -> int:
        nets = ((part, Volume.of_base(abs(net))) for part, net in self._by_part.items())
        return sum(part.of(net).base for part, net in nets) + isqrt(self._squares)

    @property
    def held(self) -> int:
        return self.came_in - self.went_out - self.lost - self.unexplained

    def take_in(self, amount: Volume | Cells | None) -> None:
        self.came_in += self._known(amount)

    def give(self, amount: Volume | Cells | None, seq: int) -> None:
        self.went_out += self._known(amount)
        self._judge(min(self.held, 0), seq)

    def lose(self, amount: Volume | Cells | None, seq: int) -> None:
        self.lost += self._known(amount)
        self._judge(min(self.held, 0), seq)

    def find(self, amount: Volume | Cells | None, seq: int) -> None:
        if amount is None:
            return
        missing = self.held - amount.base
        self.unexplained += missing
        worst = max(missing, self.unexplained, key=abs)
        self._judge(worst, seq)

    def may_be_off(self, error: Error | None, amount: Volume | None, *, came_in: bool) -> None:
        """Take note of how a move was measured."""
        if error is not None and amount is not None:
            self._by_part[error.part] += amount.base if came_in else -amount.base
            self._squares += error.each.base**2

    def _known(self, amount: Volume | Cells | None) -> int:
        if amount is None:
            self.is_known = False
            return 0
        if amount.base < 0:
            raise ValueError(f"{amount} is below zero; turn the move round")
        return amount.base

    def _judge(self, difference: int, seq: int) -> None:
        limit = DISCREPANCY_FROM.base * self.came_in
        if difference and abs(difference) * _WHOLE.base >= limit:
            self.discrepancies.append(seq)


class Genealogy:
    """Where each container's material came from, where it went, and whether it adds up."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Fold ``records``, which stand in the order of their events.

        Raises:
            ValueError: They don't stand in order, or an amount is below zero.
        """
        self._moves: list[Moved] = []
        self._received: dict[ContainerId, bool] = {}
        self._containers: set[ContainerId] = set()
        self._volumes: defaultdict[ContainerId, _Account] = defaultdict(_Account)
        self._cells: defaultdict[ContainerId, _Account] = defaultdict(_Account)
        last = 0
        for record in records:
            if record.seq < last:
                raise ValueError(f"event {record.seq} stands after event {last}")
            last = record.seq
            self._take(record)

    @property
    def containers(self) -> frozenset[ContainerId]:
        """Return every container that a record names."""
        return frozenset(self._containers)

    @property
    def moves(self) -> tuple[Moved, ...]:
        """Return every move, in order."""
        return tuple(self._moves)

    @property
    def donors(self) -> frozenset[ContainerId]:
        """Return the containers that came with a patient's material."""
        return frozenset(one for one, donor in self._received.items() if donor)

    @property
    def leaves(self) -> frozenset[ContainerId]:
        """Return the containers into which something went, and out of which nothing went."""
        return frozenset(one.target for one in self._moves) - {one.source for one in self._moves}

    @property
    def orphans(self) -> frozenset[ContainerId]:
        """Return the containers that gave or got material that was never received."""
        known = set(self._received)
        fed = known.copy()
        orphaned: set[ContainerId] = set()
        for move in self._moves:
            if move.source in fed and move.source not in orphaned:
                fed.add(move.target)
            else:
                orphaned |= {move.source, move.target}
        return frozenset(orphaned)

    def forward(self, container: ContainerId) -> frozenset[ContainerId]:
        """Return every container that holds or held something of this one; itself too."""
        reached = {container}
        for move in self._moves:
            if move.source in reached:
                reached.add(move.target)
        return frozenset(reached)

    def backward(self, container: ContainerId) -> frozenset[ContainerId]:
        """Return every container that something in this one came from; itself too."""
        reached = {container}
        for move in reversed(self._moves):
            if move.target in reached:
                reached.add(move.source)
        return frozenset(reached)

    def out_of(self, container: ContainerId) -> tuple[Moved, ...]:
        """Return the moves out of a container: to its children."""
        return tuple(one for one in self._moves if one.source == container)

    def into(self, container: ContainerId) -> tuple[Moved, ...]:
        """Return the moves into a container: from its parents."""
        return tuple(one for one in self._moves if one.target == container)

    def balance(self, container: ContainerId) -> Balance[Volume] | None:
        """Return a container's account of volume.

        None where something came or went whose volume nobody knew.

        Raises:
            KeyError: No record names the container.
        """
        return self._balance(container, self._volumes, Volume)

    def balance_of_cells(self, container: ContainerId) -> Balance[Cells] | None:
        """Return a container's account of cells, or None where one move counted none.

        Raises:
            KeyError: No record names the container.
        """
        return self._balance(container, self._cells, Cells)

    def discrepancies(self) -> tuple[Balance[Volume] | Balance[Cells], ...]:
        """Return the accounts that don't come out even, by container, volume first."""
        accounts = (
            account
            for container in sorted(self._containers)
            for account in (self.balance(container), self.balance_of_cells(container))
        )
        return tuple(one for one in accounts if one is not None and one.is_discrepancy)

    def _balance(
        self,
        container: ContainerId,
        accounts: defaultdict[ContainerId, _Account],
        unit: type[Q],
    ) -> Balance[Q] | None:
        if container not in self._containers:
            raise KeyError(container)
        account = accounts[container]
        if not account.is_known:
            return None
        return Balance(
            container,
            unit.of_base(account.came_in),
            unit.of_base(account.went_out),
            unit.of_base(account.lost),
            unit.of_base(account.held),
            unit.of_base(account.unexplained),
            tuple(account.discrepancies),
            unit.of_base(account.error),
        )

    def _take(self, record: Record) -> None:
        if isinstance(record, Moved):
            self._take_move(record)
            return
        container, seq = record.container, record.seq
        self._containers.add(container)
        volume, cells = self._volumes[container], self._cells[container]
        match record:
            case Received(donor=donor):
                self._received[container] = donor or self._received.get(container, False)
                volume.take_in(record.volume)
                cells.take_in(record.cells)
            case Lost():
                volume.lose(record.volume, seq)
                cells.lose(record.cells, seq)
            case Found():
                volume.find(record.volume, seq)
                cells.find(record.cells, seq)
            case Unreadable():
                volume.is_known = False

    def _take_move(self, move: Moved) -> None:
        if move.source == move.target:
            raise ValueError(f"event {move.seq} moves {move.source} into itself")
        self._moves.append(move)
        self._containers |= {move.source, move.target}
        for container in (move.source, move.target):
            came_in = container == move.target
            self._volumes[container].may_be_off(move.error, move.volume, came_in=came_in)
        self._volumes[move.source].give(move.volume, move.seq)
        self._volumes[move.target].take_in(move.volume)
        self._cells[move.source].give(move.cells, move.seq)
        self._cells[move.target].take_in(move.cells)
