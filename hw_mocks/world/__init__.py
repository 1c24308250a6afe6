"""The physical World: the judge in tests, and what emulators and hands act on.

Begin at ``World``. It knows containers, kits, tubing, joints, places, temperatures and cells, and
keeps a ledger of every physical effect. It imports nothing of the product.
"""

from __future__ import annotations

from hw_mocks.world.donors import Donor, random_donor, run_a, run_b
from hw_mocks.world.ledger import Effect, EffectKind, ImpossibleError
from hw_mocks.world.mixture import Mixture, Population
from hw_mocks.world.things import (
    CellView,
    Container,
    ContainerKind,
    Contents,
    Counted,
    Joint,
    Kit,
    Path,
    Stay,
)
from hw_mocks.world.world import World

__all__ = [
    "CellView",
    "Container",
    "ContainerKind",
    "Contents",
    "Counted",
    "Donor",
    "Effect",
    "EffectKind",
    "ImpossibleError",
    "Joint",
    "Kit",
    "Mixture",
    "Path",
    "Population",
    "Stay",
    "World",
    "random_donor",
    "run_a",
    "run_b",
]
