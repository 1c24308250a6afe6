"""Bring a kit into the incubator, set its climate, and carry it out again by the arm."""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    between,
    day,
    degC,
    hour,
    mL,
    mL_per_min,
    percent,
)
from orchestrator.recipe import Writer, procedure


@procedure(title="An arm for several", document="TEST-11", version="1.0")
def shared_arm(p: Writer) -> None:
    """Write the procedure."""
    kit = p.kit(
        "culture kit",
        catalogue="car-t-kit",
        vessel="culture bag",
        capacity=1 * L,
        flush_volume=300 * mL,
        waste_capacity=2 * L,
    )
    station = p.equipment(
        "transfer station", "transfer_station", flow=between(5 * mL_per_min, 150 * mL_per_min)
    )
    arm = p.equipment("arm", "arm")
    incubator = p.equipment("incubator", "incubator", temperature=between(36 * degC, 38 * degC))

    with p.unit_procedure("In"), p.operation("Carry in", longest_hold=4 * hour):
        station.install_kit(kit)
        arm.move(kit, from_=station, to=incubator)
    with p.unit_procedure("Stay"), p.operation("Wait", longest_hold=12 * hour):
        incubator.incubate(kit, duration=1 * day)
    with p.unit_procedure("Warm"), p.operation("Set", longest_hold=12 * hour):
        incubator.set_climate(temperature=37 * degC, carbon_dioxide=5 * percent)
    with p.unit_procedure("Out"), p.operation("Carry out", longest_hold=4 * hour):
        arm.move(kit, from_=incubator, to=station)
