"""Whether a run that died and resumed did what the uninterrupted run did, and nothing else.

The judge is the product's own comparison of the World's ledger with the journal, which knows
neither the engine nor where the software died. Beside it stands the uninterrupted run: each
act of a phase that has ended must show the same effects on the same things, and the same
amount of them where the same was asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

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

_Act = tuple[str, int]
"""Its phase and its word."""

_What = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Kind, things and places of effects."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one act asked for, and what the World shows of it on material."""

    kind: str
    asked: str
    effects: Mapping[_What, float]


def shown_by(comparison: Comparison, ledger: Iterable[LedgerEffect]) -> dict[_Act, Shown]:
    """Return what the World shows of each act."""
    effects = {one.n: one for one in ledger if one.n}
    return {(str(act.path), act.word): _shown(act, effects) for act in comparison.acts}


def differences(
    expected: Mapping[_Act, Shown], found: Mapping[_Act, Shown], ended: Collection[str]
) -> Iterator[str]:
    """Yield each act of an ended phase whose effects aren't those of the uninterrupted run."""
    for key in sorted({*expected, *found}):
        if key[0] not in ended:
            continue
        was, now = expected.get(key), found.get(key)
        where = f"{key[0]} word {key[1]}"
        if was is None or now is None:
            if was is None and now is not None and not any(one[0] == key[0] for one in expected):
                continue  # a turn of a loop that the uninterrupted run didn't take
            yield f"{where}: {'no such act' if now is None else 'an act'} in this run alone"
        elif was.kind != now.kind or was.effects.keys() != now.effects.keys():
            yield f"{where} {was.kind}: {_told(was)}; here {now.kind}: {_told(now)}"
        elif was.asked == now.asked:
            yield from _amounts(where, was, now)


def _shown(act: JudgedAct, effects: Mapping[int, LedgerEffect]) -> Shown:
    sums: dict[_What, float] = defaultdict(float)
    for n in act.effects:
        effect = effects[n]
        if effect.kind in ON_MATERIAL:
            sums[effect.kind, effect.things, effect.places] += effect.amount
    return Shown(act.kind, act.asked, dict(sums))


def _amounts(where: str, was: Shown, now: Shown) -> Iterator[str]:
    stated = STATED.get(was.kind.split()[-1])
    for what, amount in was.effects.items():
        # Either may be off by so much.
        error = 2 * stated.of(amount) if stated is not None else 1e-9
        if abs(now.effects[what] - amount) > error:
            yield f"{where} {was.kind}: {_told(was)}; here {_told(now)}"


def _told(one: Shown) -> str:
    parts = [
        f"{kind} {', '.join(things)} {' -> '.join(places)} {amount:.6g}"
        for (kind, things, places), amount in one.effects.items()
    ]
    return "; ".join(parts) or "nothing"
