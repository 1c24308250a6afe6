"""Chance that is the same for the same seed, whatever else was asked before.

Each purpose has a named stream of its own, and each draw of a stream its own generator, so that
one more count on one instrument changes nothing anywhere else.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np


class Noise:
    """Named streams of random numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.drawn: dict[str, int] = {}

    def next(self, stream: str) -> np.random.Generator:
        """Return the generator of the next draw from ``stream``."""
        nth = self.drawn.get(stream, 0)
        self.drawn[stream] = nth + 1
        return generator(self.seed, f"{stream}#{nth}")


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the generator that ``seed`` and ``name`` always give."""
    words = np.frombuffer(sha256(name.encode()).digest(), dtype="<u4")
    return np.random.Generator(np.random.PCG64([seed, *(int(word) for word in words)]))
