"""What pumping a volume through a docked kit claims: touches, needs, time, and its report."""

from __future__ import annotations

from typing import Final

from orchestrator.kernel.acts import Contact, Effect, Touch
from orchestrator.kernel.measured import Amount
from orchestrator.kernel.quantities import Duration, Flow, Range, Volume, minute
from orchestrator.phases.liquid import PUMP_MARGIN, pumping_time
from orchestrator.phases.phase import Report

VALVES_TAKE: Final = 1 * minute
"""Opening and shutting one path, at most."""


def volume_range(amount: Amount) -> Range[Volume]:
    """Return the least and the most that an amount of liquid can be."""
    return Range(Volume.read(amount.bounds.lowest), Volume.read(amount.bounds.highest))


def exactly(volume: Volume) -> Range[Volume]:
    """Return the range that holds one volume."""
    return Range(volume, volume)


def pumped(
    source: str, source_at: str, target: str, target_at: str, volume: Range[Volume]
) -> tuple[Touch, Touch]:
    """Return what pumping from one position to another touches."""
    return (
        Touch(container=source, how=Contact.DRAWS, volume=volume, at_port=source_at),
        Touch(container=target, how=Contact.RECEIVES, volume=volume, at_port=target_at),
    )


def station_needs(station: str) -> tuple[tuple[str, str], ...]:
    """Return what pumping needs of a transfer station."""
    return (
        (station, "fluid_transfer"),
        (station, "valves"),
        (station, "weighing"),
        (station, "scanning"),
    )


def time_of(flow: Flow, *volumes: Range[Volume]) -> Range[Duration]:
    """Return how long it takes to pump these volumes, one after another."""
    lowest = highest = Duration.of_base(0)
    for volume in volumes:
        lowest += pumping_time(volume.lowest, flow)
        highest += pumping_time(volume.highest, flow) + PUMP_MARGIN + VALVES_TAKE
    return Range(lowest, highest)


def together(*times: Range[Duration]) -> Range[Duration]:
    """Return how long parts take one after another."""
    lowest = highest = Duration.of_base(0)
    for part in times:
        lowest += part.lowest
        highest += part.highest
    return Range(lowest, highest)


def report_of(name: str, effect: Effect) -> Report:
    """Return a pumped volume and its evidence under ``name``, for a report that holds several."""
    return {name: effect.done, **{f"{name}_{key}": text for key, text in effect.detail.items()}}
