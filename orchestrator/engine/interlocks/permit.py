"""What an interlock may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain_of_identity.gate import ProvenContainer
from devices.interfaces.driver import Standing
from orchestrator.engine.state import BatchState, HostState
from orchestrator.kernel.acts import Act, Facts
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.process_cell.config import CellConfig, Module, Unit


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
    around: Mapping[str, tuple[Standing, Facts]]
    """The unit's other instruments: what each shows, and what only acts may change of it."""
    evidence: Facts
    inputs: Facts
    now: Instant
    clock: Clock
    cell: CellConfig


Interlock = Callable[[Permit], str | None]
"""Returns why the act is refused, or None."""
