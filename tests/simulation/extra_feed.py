"""One feed more, from a bag that the batch's own procedure doesn't know."""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    between,
    degC,
    hour,
    mL,
    mL_per_min,
)
from orchestrator.recipe import Writer, procedure


@procedure(title="One feed more", document="TEST-9-A", version="1.0")
def extra_feed(p: Writer) -> None:
    """Write the procedure."""
    # What goes in
    extra = p.reagent("medium extra", catalogue="t-cell-medium", volume=100 * mL, in_use=8 * hour)
    kit = p.kit(
        "culture kit",
        catalogue="car-t-kit",
        vessel="culture bag",
        capacity=1 * L,
        flush_volume=300 * mL,
        waste_capacity=2 * L,
    )

    # What it runs on
    station = p.equipment(
        "transfer station", "transfer_station", flow=between(5 * mL_per_min, 150 * mL_per_min)
    )
    arm = p.equipment("arm", "arm")
    incubator = p.equipment("incubator", "incubator", temperature=between(36 * degC, 38 * degC))

    with p.unit_procedure("Feed more"), p.operation("Feed once more", longest_hold=4 * hour):
        arm.move(kit, from_=incubator, to=station)
        station.connect(extra, to=kit, port="p4", by="aseptic_connector", flow=20 * mL_per_min)
        station.feed(kit, medium=extra, volume=40 * mL, flow=100 * mL_per_min)
        station.disconnect(extra)
        arm.move(kit, from_=station, to=incubator)
