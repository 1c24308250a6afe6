"""Make CAR-T cells from a patient's own T cells in twelve days. Batch record MBR-CT-012.

Day 0 receive, select CD4/CD8, seed and activate; day 1 transduce; day 3 wash vector out;
days 5 to 11 feed, and exchange medium when the vessel is full; day 12 harvest, wash,
formulate, fill, freeze, store. Figures marked S stand for the sources of docs/explanation/
world.md; where none is named the limit is set by site.

The dose bag is filled by body weight, two reserve bags with 35 mL each. What is left, about
a fifth, stays in the culture bag for quality control.

The check asks about one thing. The alarm of the DMSO clock (H070) is set on purpose far
below what the slowest hands could take: it shall call while cells can still be helped. No
sourced limit exists for T cells, so a site replaces both of its times.

Ports: each joint shortens a port's tube, so they are used in turn. Each transfer leaves
half a millilitre in its port's tube and first pushes 2.5 mL out of the line; small doses
are therefore working solutions of about 20 mL, and liquid follows them.
"""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    Volume,
    between,
    cell,
    degC,
    hour,
    kg,
    million_cells,
    million_per_mL,
    minute,
    mL,
    mL_per_min,
    percent,
    ratio,
    units_per_mL,
)
from orchestrator.recipe import Writer, procedure
from orchestrator.recipe.author import (
    Container,
    Hold,
    cells_by_weight,
    cells_in,
    reagent_per_cells,
    volume_for_ratio,
    volume_holding,
    volume_less,
    volume_over,
)
from protocols.library.culture import (
    add_from_fresh_bag,
    briskly,
    clear_and_disconnect,
    culture_until,
    feed_from_fresh_bag,
    slowly,
    spin_and_draw_off,
    two_people_stay,
)
from protocols.library.freezing import flush_to_waste, freeze_and_store, get_cold, join_empty


def bag_of_medium(p: Writer, name: str, volume: Volume) -> Container:
    """Declare a bag of T-cell medium, with IL-7 and IL-15 (12.5 ng/mL each: S2, S8)."""
    return p.reagent(name, catalogue="t-cell-medium", volume=volume, in_use=8 * hour)


@procedure(title="Autologous CAR-T cells, twelve days", document="MBR-CT-012", version="1.0")
def car_t_twelve_day(p: Writer) -> None:
    """Write the procedure: what goes in, what it runs on, operations, clocks."""
    # What goes in
    apheresis = p.patient_material(
        "apheresis bag",
        volume=between(100 * mL, 300 * mL),  # median 185 mL (S99)
        longest_since_collection=72 * hour,  # S59, S104
    )
    selected = p.empty_bag(
        "selected cells",
        catalogue="transfer-bag",
        capacity=800 * mL,
        filled=between(45 * mL, 55 * mL),
    )
    activator = p.reagent("activation reagent", volume=30 * mL, in_use=4 * hour)
    vector = p.reagent("vector", volume=40 * mL, in_use=4 * hour)
    medium_0 = bag_of_medium(p, "medium for day 0", 100 * mL)
    medium_1 = bag_of_medium(p, "medium for day 1", 50 * mL)
    medium_3 = bag_of_medium(p, "medium for day 3", 200 * mL)
    medium_5 = bag_of_medium(p, "medium for day 5", 300 * mL)
    medium_7 = bag_of_medium(p, "medium for day 7", 550 * mL)
    medium_8 = bag_of_medium(p, "medium for day 8", 650 * mL)
    medium_9 = bag_of_medium(p, "medium for day 9", 350 * mL)
    medium_10 = bag_of_medium(p, "medium for day 10", 950 * mL)
    medium_11 = bag_of_medium(p, "medium for day 11", 950 * mL)
    buffer = p.reagent("wash buffer", volume=350 * mL, in_use=8 * hour)
    cryo = p.reagent("cryoprotectant", catalogue="dmso-20-percent", volume=60 * mL, in_use=4 * hour)
    dose_bag = p.empty_bag("dose bag", catalogue="cryobag", capacity=50 * mL)
    reserve_1 = p.empty_bag("first reserve bag", catalogue="cryobag", capacity=50 * mL)
    reserve_2 = p.empty_bag("second reserve bag", catalogue="cryobag", capacity=50 * mL)
    tube_0 = p.tube("sample after selection")
    tube_5 = p.tube("sample of day 5")
    tube_8 = p.tube("sample of day 8")
    tube_10 = p.tube("sample of day 10")
    tube_12 = p.tube("sample before harvest")
    tube_13 = p.tube("sample of the concentrate")
    kit = p.kit(
        "culture kit",
        catalogue="car-t-kit",
        vessel="culture bag",
        capacity=2 * L,
        flush_volume=900 * mL,
        waste_capacity=10 * L,
    )
    cells_to_seed = p.ordered(
        "cells to seed",
        range=between(80 * million_cells, 100 * million_cells),  # S2, S4
    )
    titer = p.ordered(
        "titer of the vector",
        range=between(20_000_000 * units_per_mL, 25_000_000 * units_per_mL),
    )
    weight = p.ordered("body weight", range=between(40 * kg, 100 * kg))
    dose_per_kg = p.ordered(
        "viable cells per kg", range=between(3 * million_cells, 8 * million_cells)
    )

    # What it runs on
    station = p.equipment(
        "transfer station",
        "transfer_station",
        flow=between(5 * mL_per_min, 150 * mL_per_min),
    )
    arm = p.equipment("arm", "arm")
    centrifuge = p.equipment("centrifuge", "centrifuge")
    incubator = p.equipment("incubator", "incubator", temperature=between(36 * degC, 38 * degC))
    counter = p.equipment("cell counter", "cell_counter")
    freezer = p.equipment("freezer", "freezer")
    receiving = p.equipment("receiving bench", "bench")
    selection = p.equipment("selection bench", "bench")
    dewar = p.equipment("dewar", "dewar")

    with p.unit_procedure("Receive and select"):
        with p.operation("Receive", longest_hold=12 * hour):
            receiving.receive(apheresis, volume=between(100 * mL, 300 * mL))
            p.confirm(
                "Do donor and product identifiers on the bag, its papers and the order agree?",
                respond_within=1 * hour,
                second_person=True,
            )
        with p.operation("Select CD4 and CD8", longest_hold=6 * hour):
            selection.load(apheresis)
            chosen = selection.select_magnetically(
                apheresis,
                to=selected,
                marker="CD4/CD8",
                longest=6 * hour,  # 4 to 6 h (S29)
            )

    with p.unit_procedure("Seed and activate"):
        with p.operation("Ready the incubator", longest_hold=12 * hour):
            incubator.set_climate(temperature=37 * degC, carbon_dioxide=5 * percent)
        with p.operation("Seed", longest_hold=4 * hour) as seeding:
            station.install_kit(kit)
            station.connect(selected, to=kit, port="p1", by="sterile_weld", flow=slowly)
            count_0 = counter.count(
                selected,
                tube=tube_0,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(
                    10 * million_per_mL, 55 * million_per_mL
                ),  # CD3 1.2 to 4.1e9 (S69), recovery 55 % (S2)
                viability_at_least=70 * percent,
            )
            # Diluted to 5 million/mL, so that what stays in the tubes is few cells.
            whole = volume_holding(
                cells_in(chosen.volume, at=count_0.viable_density, round_down_to=1 * cell),
                at=5 * million_per_mL,
                round_down_to=1 * mL,
            )
            station.transfer(
                kit.flush,
                to=selected,
                volume=volume_less(whole, taken=chosen.volume, round_down_to=1 * mL),
                flow=briskly,
            )
            station.connect(activator, to=kit, port="p2", by="aseptic_connector", flow=slowly)
            station.connect(medium_0, to=kit, port="p3", by="aseptic_connector", flow=slowly)
            station.seed_and_activate(
                kit,
                cells=selected,
                cell_volume=volume_holding(
                    cells_to_seed, at=5 * million_per_mL, round_down_to=0.1 * mL
                ),
                reagent=activator,
                reagent_volume=reagent_per_cells(  # 17.5 uL in 2 mL for 10 million cells (S8)
                    cells_to_seed, volume=2 * mL, per_cells=10 * million_cells, round_up_to=0.1 * mL
                ),
                medium=medium_0,
                medium_volume=80 * mL,
                flow=slowly,
            )
            clear_and_disconnect(station, kit, selected)
            station.disconnect(activator)
            station.disconnect(medium_0)
            arm.move(kit, from_=station, to=incubator)

    with (
        p.unit_procedure("Culture"),
        p.keep(
            incubator.temperature,
            between(36.5 * degC, 37.5 * degC),
            fresh_within=5 * minute,
            for_at_least=15 * minute,
            tier="alarm",
            source="set by site",
            name="Chamber at 37 degC",
        ),
        p.keep(
            incubator.carbon_dioxide,
            between(4.5 * percent, 5.5 * percent),
            fresh_within=5 * minute,
            for_at_least=15 * minute,
            tier="alarm",
            source="set by site",
            name="Chamber at 5 percent CO2",
        ),
    ):
        culture_until(
            p, incubator, kit, since=seeding, days=1, at_least=22 * hour, safe_for=12 * hour
        )
        with p.operation("Transduce on day 1", longest_hold=2 * hour) as day_1:
            arm.move(kit, from_=incubator, to=station)
            station.connect(vector, to=kit, port="p4", by="aseptic_connector", flow=slowly)
            station.transduce(
                kit,
                vector=vector,
                volume=volume_for_ratio(  # MOI 5 (S2)
                    cells_to_seed, ratio=5 * ratio, titer=titer, round_down_to=0.1 * mL
                ),
                flow=slowly,
            )
            station.disconnect(vector)
            feed_from_fresh_bag(station, kit, medium_1, port="p5", volume=10 * mL, flow=slowly)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=3, at_least=44 * hour, safe_for=12 * hour
        )
        with p.operation("Wash vector out on day 3", longest_hold=2 * hour) as day_3:
            arm.move(kit, from_=incubator, to=station)
            spin_and_draw_off(
                station, kit, arm=arm, centrifuge=centrifuge, draw=90 * mL, keep=40 * mL
            )
            feed_from_fresh_bag(station, kit, medium_3, port="p1", volume=150 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=5, at_least=44 * hour, safe_for=12 * hour
        )
        with p.operation("Feed on day 5", longest_hold=2 * hour) as day_5:
            arm.move(kit, from_=incubator, to=station)
            station.mix(kit, by="hands", times=10)
            counter.count(
                kit.vessel,
                tube=tube_5,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(0.1 * million_per_mL, 6 * million_per_mL),
                viability_at_least=60 * percent,
            )
            feed_from_fresh_bag(station, kit, medium_5, port="p2", volume=250 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=7, at_least=43 * hour, safe_for=12 * hour
        )
        with p.operation("Feed on day 7", longest_hold=2 * hour) as day_7:
            arm.move(kit, from_=incubator, to=station)
            feed_from_fresh_bag(station, kit, medium_7, port="p3", volume=500 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=8, at_least=21 * hour, safe_for=12 * hour
        )
        with p.operation("Feed on day 8", longest_hold=2 * hour) as day_8:
            arm.move(kit, from_=incubator, to=station)
            station.mix(kit, by="hands", times=10)
            counter.count(
                kit.vessel,
                tube=tube_8,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(0.1 * million_per_mL, 6 * million_per_mL),
                viability_at_least=60 * percent,
            )
            feed_from_fresh_bag(station, kit, medium_8, port="p4", volume=600 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=9, at_least=20 * hour, safe_for=12 * hour
        )
        with p.operation("Feed on day 9", longest_hold=2 * hour) as day_9:
            arm.move(kit, from_=incubator, to=station)
            feed_from_fresh_bag(station, kit, medium_9, port="p5", volume=300 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=10, at_least=21 * hour, safe_for=12 * hour
        )
        with p.operation("Exchange medium on day 10", longest_hold=2 * hour) as day_10:
            arm.move(kit, from_=incubator, to=station)
            station.mix(kit, by="hands", times=10)
            counter.count(
                kit.vessel,
                tube=tube_10,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(0.1 * million_per_mL, 6 * million_per_mL),
                viability_at_least=60 * percent,
            )
            spin_and_draw_off(
                station, kit, arm=arm, centrifuge=centrifuge, draw=900 * mL, keep=900 * mL
            )
            feed_from_fresh_bag(station, kit, medium_10, port="p1", volume=900 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=11, at_least=20 * hour, safe_for=12 * hour
        )
        with p.operation("Exchange medium on day 11", longest_hold=2 * hour) as day_11:
            arm.move(kit, from_=incubator, to=station)
            spin_and_draw_off(
                station, kit, arm=arm, centrifuge=centrifuge, draw=900 * mL, keep=900 * mL
            )
            feed_from_fresh_bag(station, kit, medium_11, port="p2", volume=900 * mL)
            arm.move(kit, from_=station, to=incubator)
        culture_until(
            p, incubator, kit, since=seeding, days=12, at_least=20 * hour, safe_for=12 * hour
        )
        with p.operation("Sample before harvest on day 12", longest_hold=2 * hour) as day_12:
            arm.move(kit, from_=incubator, to=station)
            station.mix(kit, by="hands", times=10)
            count_12 = counter.count(
                kit.vessel,
                tube=tube_12,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(1 * million_per_mL, 6 * million_per_mL),
                viability_at_least=60 * percent,
            )
            arm.move(kit, from_=station, to=incubator)

    with (
        p.unit_procedure("Harvest, formulate and freeze"),
        p.when(
            count_12.viability,
            at_least=70 * percent,  # release criterion (S113)
            name="Fit to be harvested",
            otherwise=Hold("Less than 70 % of the cells live: quality decides on the harvest"),
        ),
    ):
        with p.operation("Ready to harvest", longest_hold=12 * hour):
            two_people_stay(
                p, "harvest, wash, formulate and fill", hours=5, respond_within=12 * hour
            )
        with p.operation("Harvest and wash", longest_hold=2 * hour) as harvest:
            arm.move(kit, from_=incubator, to=station)
            spin_and_draw_off(
                station, kit, arm=arm, centrifuge=centrifuge, draw=1750 * mL, keep=80 * mL
            )
            add_from_fresh_bag(station, kit, buffer, port="p3", volume=300 * mL)
            spin_and_draw_off(
                station, kit, arm=arm, centrifuge=centrifuge, draw=350 * mL, keep=40 * mL
            )
            station.mix(kit, by="hands", times=10)
            count_13 = counter.count(
                kit.vessel,
                tube=tube_13,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(70 * million_per_mL, 250 * million_per_mL),
                viability_at_least=70 * percent,
            )
            arm.move(kit, from_=station, to=incubator)
        dose = volume_over(  # formulating doubles the volume
            volume_holding(
                cells_by_weight(weight, cells_per_kg=dose_per_kg, round_down_to=1 * cell),
                at=count_13.viable_density,
                round_down_to=0.1 * mL,
            ),
            ratio=0.5 * ratio,
            round_down_to=0.1 * mL,
        )
        with p.operation("Ready to formulate", longest_hold=6 * hour):
            two_people_stay(p, "formulate and fill", hours=2, respond_within=4 * hour)
        with p.operation("Formulate, fill and freeze", longest_hold=1 * hour) as finish:
            get_cold(freezer)
            arm.move(kit, from_=incubator, to=station)
            join_empty(station, kit, reserve_1, port="p1")
            join_empty(station, kit, dose_bag, port="p2")
            join_empty(station, kit, reserve_2, port="p5")
            station.connect(cryo, to=kit, port="p4", by="aseptic_connector", flow=slowly)
            formulated = station.formulate(kit, cryo=cryo, volume=50 * mL, flow=slowly)
            flush_to_waste(station, kit)
            station.mix(kit, by="hands", times=10)
            # The first bag takes what stands in the line, so the dose comes second.
            station.fill_and_seal(
                kit, source=kit.vessel, bags=(reserve_1,), volume=35 * mL, flow=slowly
            )
            station.fill_and_seal(
                kit, source=kit.vessel, bags=(dose_bag,), volume=dose, flow=slowly
            )
            station.fill_and_seal(
                kit, source=kit.vessel, bags=(reserve_2,), volume=35 * mL, flow=slowly
            )
            station.disconnect(cryo)
            arm.move(kit, from_=station, to=incubator)
            frozen = freeze_and_store(
                freezer, dewar, reserve_1, dose_bag, reserve_2, position="rack of the batch"
            )

    # Clocks
    for name, before, after, most in (
        ("Transduction is due", seeding, day_1, 30 * hour),
        ("Wash of day 3 is due", day_1, day_3, 54 * hour),
        ("Feed of day 5 is due", day_3, day_5, 54 * hour),
        ("Feed of day 7 is due", day_5, day_7, 54 * hour),
        ("Feed of day 8 is due", day_7, day_8, 30 * hour),
        ("Feed of day 9 is due", day_8, day_9, 30 * hour),
        ("Exchange of day 10 is due", day_9, day_10, 30 * hour),
        ("Exchange of day 11 is due", day_10, day_11, 30 * hour),
        ("Count of day 12 is due", day_11, day_12, 26 * hour),
        ("Harvest is due", day_11, harvest, 40 * hour),
    ):
        p.lag(
            name,
            from_=before.end,
            to=after.start,
            maximum=most,
            tier="alarm",
            source="set by site",
        )
    p.lag(
        "Selected cells wait to be seeded",
        from_=chosen.end,
        to=seeding.end,
        maximum=24 * hour,
        tier="alarm",
        source="overnight at 4 degC was seen in practice (S99); at room temperature set by site",
    )
    p.lag(
        "Washed cells wait to be formulated",
        from_=harvest.end,
        to=finish.start,
        maximum=6 * hour,
        tier="alarm",
        source="set by site: no limit was found",
    )
    p.lag(
        "Cells in DMSO",
        from_=formulated.start,
        to=frozen.start,
        maximum=2 * hour,
        tier="alarm",
        source="set by site: 30 min, as is often said, has no source",
    )
    p.lag(
        "Cells too long in DMSO",
        from_=formulated.start,
        to=frozen.start,
        maximum=6 * hour,
        tier="block",
        source="set by site: no sourced limit exists for T cells before freezing",
    )
