"""Chance that can be repeated: the one home of a seed outside the World's own noise."""

from __future__ import annotations

import random
from collections.abc import Callable


def seeded_bytes(seed: int, of: str = "entropy") -> Callable[[int], bytes]:
    """Return a source of bytes that is the same for the same seed. Never for real keys."""
    return random.Random(f"{of} {seed}").randbytes
