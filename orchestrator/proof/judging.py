"""Whether a run that died and resumed did what the uninterrupted run did, and nothing else.

The judge is the product's own comparison of the World's ledger with the journal, which knows
neither the engine nor where the software died. Beside it stands the uninterrupted run: each
act of a phase that has ended must show the same effects on the same things, and the same
amount of them, or as often, where the same was asked for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from orchestrator.journal.events import AnyEvent, TaskOffered
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.tasks import DOUBT, LATE
from orchestrator.records.asked import STATED, LedgerEffect
from orchestrator.records.comparison import Comparison, JudgedAct

ON_MATERIAL: Final = frozenset(
    {
        "moved_liquid",
        "moved_thing",
        "spun",
        "ramped",
        "counted",
        "joined",
        "parted",
        "labelled",
        "selected",
        "sampled",
        "mixed",
        "discarded",
        "dropped",
        "collided",
    }
)
"""What can't be taken back. A valve that is closed at a restart and opened again is none of it."""

_What = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Kind, things and places of effects."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one act asked for, and what the World shows of it on material."""

    kind: str
    asked: str
    effects: Mapping[_What, tuple[float, int]]
    """How much of each, and how many times."""


@dataclass(frozen=True, slots=True)
class PhaseShown:
    """What one phase did: its acts in their order, and how often people decided in it.

    People decide on what was measured, and what is measured differs from one moment to another:
    a count that is doubted is made again, and its acts then have other numbers.
    """

    acts: tuple[Shown, ...]
    decided: int


def shown_by(
    comparison: Comparison, ledger: Iterable[LedgerEffect], events: Iterable[Recorded[AnyEvent]]
) -> dict[str, PhaseShown]:
    """Return what the World shows of each phase."""
    effects = {one.n: one for one in ledger if one.n}
    acts: dict[str, list[JudgedAct]] = defaultdict(list)
    for act in comparison.acts:
        acts[str(act.path)].append(act)
    decided = Counter(
        str(one.event.path)
        for one in events
        if isinstance(one.event, TaskOffered)
        and one.event.work in ("enter", "decide")
        and not one.event.task.endswith((DOUBT, LATE))
    )
    return {
        path: PhaseShown(
            tuple(_shown(act, effects) for act in sorted(found, key=lambda one: one.word)),
            decided[path],
        )
        for path, found in acts.items()
    }


def differences(
    expected: Mapping[str, PhaseShown], found: Mapping[str, PhaseShown], ended: Collection[str]
) -> Iterator[str]:
    """Yield each act of an ended phase whose effects aren't those of the uninterrupted run.

    A phase that only one run came through, or in which people decided otherwise, is left to the
    comparison.
    """
    for path in sorted(expected.keys() & set(ended)):
        was, now = expected[path], found.get(path, _NOTHING)
        if was.decided != now.decided:
            continue
        for number, (one, other) in enumerate(zip_longest(was.acts, now.acts), start=1):
            yield from _unlike(f"{path} act {number}", one, other)


def _unlike(where: str, was: Shown | None, now: Shown | None) -> Iterator[str]:
    if (
        was is None
        or now is None
        or was.kind != now.kind
        or was.effects.keys() != now.effects.keys()
    ):
        yield f"{where}: there {_named(was)}; here {_named(now)}"
    elif was.asked == now.asked:
        yield from _amounts(where, was, now)


def _shown(act: JudgedAct, effects: Mapping[int, LedgerEffect]) -> Shown:
    sums: dict[_What, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for n in act.effects:
        effect = effects[n]
        if effect.kind in ON_MATERIAL:
            what = (effect.kind, effect.things, effect.places)
            amount, times = sums[what]
            sums[what] = amount + effect.amount, times + 1
    return Shown(act.kind, act.asked, dict(sums))


def _amounts(where: str, was: Shown, now: Shown) -> Iterator[str]:
    stated = STATED.get(was.kind.split()[-1])
    for what, (amount, times) in was.effects.items():
        if stated is None:
            differs = now.effects[what][1] != times  # of what is whole or not at all, cells die
        else:  # either may be off by so much, and a part with its rest is as good as the whole
            differs = abs(now.effects[what][0] - amount) > 2 * stated.of(amount)
        if differs:
            yield f"{where}: there {_named(was)}; here {_named(now)}"


def _named(one: Shown | None) -> str:
    if one is None:
        return "no such act"
    parts = [
        f"{kind} {', '.join(things)} {' -> '.join(places)} {amount:.6g} ({times} x)"
        for (kind, things, places), (amount, times) in one.effects.items()
    ]
    return f"{one.kind}: {'; '.join(parts) or 'nothing'}"


_NOTHING: Final = PhaseShown((), 0)
