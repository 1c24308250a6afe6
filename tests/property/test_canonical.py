"""Our canonical bytes are those of RFC 8785 on everything that we store.

Method: 100,000 random values of the subset from one seeded generator, each compared with
the independent ``rfc8785`` package. A plain generator, not Hypothesis: the point is the
number, and the whole run stays within seconds.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
import rfc8785

from orchestrator.kernel.canonical import LARGEST_INTEGER, canonical

SEED = 8785
VALUES = 100_000

KEY_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
EDGES = [0, 1, -1, LARGEST_INTEGER, -LARGEST_INTEGER, 2**31, -(2**31)]
# Each band is where escaping, encoding length or sorting changes its rule.
BANDS = [
    (0x00, 0x1F), (0x20, 0x7E), (0x7F, 0xFF), (0x100, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF),
    (0x10000, 0x10FFFF),
]  # fmt: skip


def text(chance: random.Random) -> str:
    return "".join(chr(chance.randint(*chance.choice(BANDS))) for _ in range(chance.randrange(8)))


def key(chance: random.Random) -> str:
    return "".join(chance.choices(KEY_CHARACTERS, k=chance.randint(1, 4)))


def value(chance: random.Random, depth: int) -> Any:
    match chance.randrange(8 if depth else 6):
        case 0 | 1:
            return text(chance)
        case 2:
            return chance.choice(EDGES)
        case 3:
            return chance.randint(-LARGEST_INTEGER, LARGEST_INTEGER) >> chance.randrange(53)
        case 4:
            return chance.random() < 0.5
        case 5:
            return None
        case 6:
            return [value(chance, depth - 1) for _ in range(chance.randrange(6))]
        case _:
            return {key(chance): value(chance, depth - 1) for _ in range(chance.randrange(13))}


@pytest.mark.requirement("REC-11", "REC-13")
def test_a_hundred_thousand_random_values_equal_rfc_8785() -> None:
    chance = random.Random(SEED)
    kinds: Counter[str] = Counter()
    for at in range(VALUES):
        one = value(chance, depth=4)
        kinds[type(one).__name__] += 1
        ours = canonical(one)
        assert ours == rfc8785.dumps(one), f"seed {SEED}, value {at}: {one!r}"
        assert json.loads(ours) == one, f"seed {SEED}, value {at}: {one!r}"
    assert set(kinds) == {"str", "int", "bool", "NoneType", "list", "dict"}
    assert min(kinds.values()) > VALUES // 20, "some kind of value was hardly tried"
