"""How many batches are parked. Standard library only: each peer imports it."""

from __future__ import annotations

from typing import Final

PARKED: Final = 100
