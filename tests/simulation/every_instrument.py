"""Let every instrument act, leave all of them alone for ten days, and let each act again."""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    Temperature,
    Volume,
    between,
    day,
    degC,
    degC_per_min,
    hour,
    million_per_mL,
    minute,
    mL,
    mL_per_min,
    percent,
    x_g,
)
from orchestrator.recipe import Writer, procedure
from orchestrator.recipe.author import (
    Arm,
    CellCounter,
    Centrifuge,
    Container,
    Freezer,
    Incubator,
    KitInUse,
    TransferStation,
)


def act_with_each(
    station: TransferStation,
    arm: Arm,
    centrifuge: Centrifuge,
    incubator: Incubator,
    counter: CellCounter,
    freezer: Freezer,
    kit: KitInUse,
    *,
    medium: Container,
    port: str,
    tube: Container,
    draw: Volume,
    climate: Temperature,
    cold: Temperature,
) -> None:
    """Begin and end with the kit at the station and in the incubator."""
    incubator.set_climate(temperature=climate, carbon_dioxide=5 * percent)
    freezer.precool(to=cold, rate=10 * degC_per_min)
    counter.count(
        kit.vessel,
        tube=tube,
        at=station,
        sample_volume=0.5 * mL,
        expect=between(0.01 * million_per_mL, 60 * million_per_mL),
        viability_at_least=1 * percent,
    )
    station.connect(medium, to=kit, port=port, by="aseptic_connector", flow=20 * mL_per_min)
    station.feed(kit, medium=medium, volume=80 * mL, flow=100 * mL_per_min)
    station.disconnect(medium)
    station.concentrate(
        kit,
        arm=arm,
        centrifuge=centrifuge,
        force=300 * x_g,
        spin=10 * minute,
        waste=kit.waste,
        draw=draw,
        keep=20 * mL,
        flow=100 * mL_per_min,
    )
    arm.move(kit, from_=station, to=incubator)


@procedure(title="Every instrument, twice", document="TEST-9", version="1.0")
def every_instrument(p: Writer) -> None:
    """Write the procedure."""
    # What goes in
    cells = p.patient_material(
        "apheresis bag", volume=between(100 * mL, 300 * mL), longest_since_collection=72 * hour
    )
    before = p.reagent("medium before", catalogue="t-cell-medium", volume=100 * mL, in_use=8 * hour)
    after = p.reagent("medium after", catalogue="t-cell-medium", volume=100 * mL, in_use=8 * hour)
    tube_before = p.tube("sample before")
    tube_after = p.tube("sample after")
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
    freezer = p.equipment("freezer", "freezer")

    with p.unit_procedure("Before"):
        with p.operation("Seed", longest_hold=4 * hour):
            station.install_kit(kit)
            station.connect(cells, to=kit, port="p1", by="sterile_weld", flow=20 * mL_per_min)
            station.transfer(cells, to=kit.vessel, volume=50 * mL, flow=20 * mL_per_min)
            station.disconnect(cells)
        with p.operation("Act with each before", longest_hold=4 * hour):
            act_with_each(
                station,
                arm,
                centrifuge,
                incubator,
                counter,
                freezer,
                kit,
                medium=before,
                port="p2",
                tube=tube_before,
                draw=60 * mL,
                climate=36.5 * degC,
                cold=10 * degC,
            )

    with p.unit_procedure("Idle"), p.operation("Leave alone", longest_hold=12 * hour):
        incubator.incubate(kit, duration=10 * day)

    with p.unit_procedure("After"), p.operation("Act with each after", longest_hold=4 * hour):
        arm.move(kit, from_=incubator, to=station)
        act_with_each(
            station,
            arm,
            centrifuge,
            incubator,
            counter,
            freezer,
            kit,
            medium=after,
            port="p3",
            tube=tube_after,
            draw=60 * mL,
            climate=37 * degC,
            cold=4 * degC,
        )
