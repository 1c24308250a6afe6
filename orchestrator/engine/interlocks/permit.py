"""What an interlock may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.driver import Standing
from orchestrator.engine.state import BatchState, HostState
from orchestrator.kernel.acts import Act, Facts
from orchestrator.kernel.instants import Instant
from orchestrator.process_cell.config import Module, Unit


@dataclass(slots=True)
class Permit:
    """One act that asks to begin, and all that is known about it."""

    state: HostState
    batch_name: str
    batch: BatchState
    path: str
    phase_started: int
    act: Act
    unit: Unit
    module: Module
    proven: tuple[ProvenContainer, ...]
    standing: Standing
    only_acts_change: Facts
    inputs: Facts
    now: Instant


Interlock = Callable[[Permit], str | None]
"""Returns why the act is refused, or None."""
