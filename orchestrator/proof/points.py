"""The points at which the software can die, counted and named.

A *boundary* is met in the same order by every run of the same recipe with the same seed: a
transaction of the journal begins, bytes are about to leave or have come on a wire, an
instrument or a person reaches a moment of its own. A *point* is one way to die at a
boundary: before one of the transaction's operations on the disk, after so many bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

from orchestrator.kernel.identifiers import CommandId

THEN: Final = " then "
"""Between the names of two deaths."""

AFTER: Final = "+"
"""Ends the name of the point after a transaction's last operation, before anybody is told."""


class Kind(StrEnum):
    """Where the software dies."""

    JOURNAL = "journal"
    """At one operation on the journal's files."""
    TRIGGER = "trigger"
    """After some of the bytes that start an act, or none, or all."""
    REQUEST = "request"
    """After some of the bytes of anything else that is sent."""
    REPLY = "reply"
    """When a reply has come and nobody has read it."""
    MOMENT = "moment"
    """At a moment of an instrument, or of a person's hand work."""


@dataclass(frozen=True, slots=True)
class Point:
    """One place to die. ``at`` is its boundary, by which any run of the same seed finds it."""

    name: str
    kind: Kind
    at: str
    detail: int
    """The operation's number on the disk, or how many bytes have left."""
    order: int
    """Its boundary's place among all of them."""
    at_s: float
    head: int
    """How many events are acknowledged there."""
    what: str
    command: CommandId | None = None
    whole: bool = False
    """Whether all bytes have left, or all operations of a transaction were done."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of the journal: its first and last operation, and the events in it."""

    at: str
    order: int
    first: int
    last: int
    events: range


class Piece(NamedTuple):
    """Bytes that were sent and start nothing, or a reply: far too many for a ``Point`` each."""

    at: str
    length: int
    order: int
    at_s: float
    head: int


@dataclass
class Course:
    """The boundaries of one run in their order, and the points at them."""

    points: list[Point] = field(default_factory=list[Point])
    """All but those of ``requests`` and ``replies``."""
    requests: list[Piece] = field(default_factory=list[Piece])
    replies: list[Piece] = field(default_factory=list[Piece])
    transactions: list[Transaction] = field(default_factory=list[Transaction])
    boundaries: int = 0
    _passed: dict[str, int] = field(default_factory=dict[str, int])
    _digest: bytes = b""

    def pass_boundary(self, where: str, what: str) -> str:
        """Count one boundary; return its name."""
        count = self._passed[where] = self._passed.get(where, 0) + 1
        self.boundaries += 1
        name = f"{where}/{count}"
        self._digest = sha256(self._digest + f"{name} {what}".encode()).digest()
        return name

    @property
    def digest(self) -> str:
        """Return what two runs have in common only if they met the same boundaries."""
        return self._digest.hex()

    def transaction(
        self,
        at: str,
        operations: list[str],
        *,
        first: int,
        events: range,
        at_s: float,
        what: str,
    ) -> None:
        """Note a transaction that has ended, and the points at each of its operations."""
        order, head = self.boundaries, events.start - 1
        last = first + len(operations) - 1
        self.transactions.append(Transaction(at, order, first, last, events))
        for number, operation in enumerate(operations, start=first):
            told = f"{what}, before operation {number}: {operation}"
            self.points.append(
                Point(f"journal/{number}", Kind.JOURNAL, at, number, order, at_s, head, told)
            )
        self.points.append(
            Point(
                f"journal/{last}{AFTER}",
                Kind.JOURNAL,
                at,
                last + 1,
                order,
                at_s,
                head,
                f"{what}, on the disk and nobody told",
                whole=True,
            )
        )

    def sent(
        self, at: str, data: bytes, trigger: CommandId | None, *, at_s: float, head: int
    ) -> None:
        """Note the points at each byte of a piece that is sent."""
        piece = Piece(at, len(data), self.boundaries, at_s, head)
        if trigger is None:
            self.requests.append(piece)
        else:
            self.points += [_sent(piece, left, trigger) for left in range(len(data) + 1)]

    def came(self, at: str, data: bytes, *, at_s: float, head: int) -> None:
        """Note the point at which a reply has come."""
        self.replies.append(Piece(at, len(data), self.boundaries, at_s, head))

    def moment(self, at: str, what: str, *, at_s: float, head: int) -> None:
        """Note a moment of an instrument or of a person."""
        self.points.append(Point(at, Kind.MOMENT, at, 0, self.boundaries, at_s, head, what))

    def count(self, kind: Kind) -> int:
        """Return how many points of a kind there are."""
        if kind is Kind.REQUEST:
            return sum(piece.length + 1 for piece in self.requests)
        if kind is Kind.REPLY:
            return len(self.replies)
        return sum(point.kind is kind for point in self.points)

    def request(self, number: int) -> Point:
        """Return one of the points in what is sent and starts nothing, counted from 0."""
        for piece in self.requests:
            if number <= piece.length:
                return _sent(piece, number, None)
            number -= piece.length + 1
        raise IndexError(number)

    def reply(self, number: int) -> Point:
        """Return one of the points at which a reply has come, counted from 0."""
        piece = self.replies[number]
        line = piece.at.split("/")[1]
        what = f"{line}: a reply of {piece.length} bytes has come"
        return Point(piece.at, Kind.REPLY, piece.at, 0, piece.order, piece.at_s, piece.head, what)

    def named(self, name: str) -> Point | None:
        """Return the point of a name, if there is one."""
        for point in self.points:
            if point.name == name:
                return point
        for number, piece in enumerate(self.replies):
            if piece.at == name:
                return self.reply(number)
        at, _, left = name.rpartition("/")
        for piece in self.requests:
            if piece.at == at and left.isdecimal() and int(left) <= piece.length:
                return _sent(piece, int(left), None)
        return None


def _sent(piece: Piece, left: int, trigger: CommandId | None) -> Point:
    line = piece.at.split("/")[1]
    of = f" of the trigger of {trigger}" if trigger else ""
    return Point(
        f"{piece.at}/{left}",
        Kind.REQUEST if trigger is None else Kind.TRIGGER,
        piece.at,
        left,
        piece.order,
        piece.at_s,
        piece.head,
        f"{line}: {left} of {piece.length} bytes sent{of}",
        command=trigger,
        whole=left == piece.length,
    )
