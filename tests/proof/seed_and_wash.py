"""Thirty acts on six instruments and by hand, in one working day."""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    between,
    degC,
    hour,
    million_per_mL,
    minute,
    mL,
    mL_per_min,
    percent,
    x_g,
)
from orchestrator.recipe import Writer, procedure


@procedure(title="Seed and wash", document="TEST-30", version="1.0")
def seed_and_wash(p: Writer) -> None:
    """Write the procedure."""
    # What goes in
    cells = p.patient_material(
        "apheresis bag", volume=between(100 * mL, 300 * mL), longest_since_collection=72 * hour
    )
    tube = p.tube("sample")
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
    centrifuge = p.equipment("centrifuge", "centrifuge")
    incubator = p.equipment("incubator", "incubator", temperature=between(36 * degC, 38 * degC))
    counter = p.equipment("cell counter", "cell_counter")

    with p.unit_procedure("Seed"):
        with p.operation("Fill", longest_hold=4 * hour):
            station.install_kit(kit)
            station.connect(cells, to=kit, port="p1", by="sterile_weld", flow=20 * mL_per_min)
            station.transfer(cells, to=kit.vessel, volume=60 * mL, flow=20 * mL_per_min)
            station.disconnect(cells)
        with p.operation("Count and wash", longest_hold=4 * hour):
            incubator.set_climate(temperature=36.5 * degC, carbon_dioxide=5 * percent)
            counter.count(
                kit.vessel,
                tube=tube,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(0.01 * million_per_mL, 60 * million_per_mL),
                viability_at_least=1 * percent,
            )
            station.concentrate(
                kit,
                arm=arm,
                centrifuge=centrifuge,
                force=300 * x_g,
                spin=10 * minute,
                waste=kit.waste,
                draw=40 * mL,
                keep=15 * mL,
                flow=100 * mL_per_min,
            )
            arm.move(kit, from_=station, to=incubator)
