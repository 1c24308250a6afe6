"""Make mesenchymal stromal cells from a marrow aspirate in 21 days. Batch record MBR-MS-021.

Marrow is plated without separation: what doesn't hold to the surface leaves with the first
exchanges of medium, and that is the isolation. Passage 1 in kit 1 (2,100 cm2) until a
person, verified by a second one, sees at least 30 % of the surface covered (about 40 % on
day 13); passage 2 in kit 2 (21,000 cm2) until at least 70 % (about 85 % on day 21). Then
detach, wash, formulate, fill, freeze, store. Figures marked S stand for the sources of
docs/explanation/world.md; where none is named the limit is set by site.

Enzyme is stopped by medium that is joined only when the kit is back at the station, since
no kit is moved with a bag at its ports; so its clock runs from its first drop to the end of
the quench, over work by hand.

Two bags hold a dose of 100 million viable cells (S103), a reserve bag 45 mL. What is left,
about a fifth, stays in the vessel for quality control.

The check asks about alarms that slow hands would ring (H070): the enzyme and the DMSO clock
shall call while cells can still be helped, far below what the slowest hands could take. No
sourced limit exists for either, so a site replaces them.
"""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    Volume,
    between,
    degC,
    hour,
    million_cells,
    million_per_mL,
    minute,
    mL,
    mL_per_min,
    percent,
    ratio,
)
from orchestrator.recipe import Writer, procedure
from orchestrator.recipe.author import (
    Arm,
    Bench,
    Container,
    Graded,
    Hold,
    Incubator,
    KitInUse,
    TransferStation,
    volume_holding,
    volume_over,
)
from protocols.library.culture import (
    add_from_fresh_bag,
    briskly,
    clear_and_disconnect,
    culture_until,
    exchange_from_fresh_bag,
    slowly,
    spin_and_draw_off,
    two_people_stay,
)
from protocols.library.freezing import flush_to_waste, freeze_and_store, get_cold, join_empty


def bag_of(p: Writer, name: str, catalogue: str, volume: Volume) -> Container:
    """Declare a bag of a reagent that is used on the day on which it is joined."""
    return p.reagent(name, catalogue=catalogue, volume=volume, in_use=8 * hour)


def look_at(p: Writer, incubator: Incubator, arm: Arm, bench: Bench, kit: KitInUse) -> Graded:
    """Carry the kit to the bench, have its confluence graded by two people, and carry it back."""
    with p.operation("Ready to look", longest_hold=12 * hour):
        two_people_stay(p, "grade the culture", hours=1, respond_within=12 * hour)
    with p.operation("Look at the culture", longest_hold=4 * hour):
        arm.move(kit, from_=incubator, to=bench)
        graded = bench.grade_confluence(kit)
        arm.move(kit, from_=bench, to=incubator)
    return graded


def rinse_and_detach(
    p: Writer,
    station: TransferStation,
    arm: Arm,
    incubator: Incubator,
    kit: KitInUse,
    *,
    remove: Volume,
    each: Volume,
    rinse: Container,
    enzyme: Container,
    quench: Container,
    name: str,
) -> None:
    """Draw medium off, rinse, and take the cells off their surface by enzyme."""
    station.transfer(kit.vessel, to=kit.waste, volume=remove, flow=briskly)
    add_from_fresh_bag(station, kit, rinse, port="p1", volume=each)
    station.transfer(kit.vessel, to=kit.waste, volume=each, flow=briskly)
    begun = add_from_fresh_bag(station, kit, enzyme, port="p2", volume=each)
    arm.move(kit, from_=station, to=incubator)
    incubator.incubate(kit, duration=15 * minute)
    arm.move(kit, from_=incubator, to=station)
    stopped = add_from_fresh_bag(station, kit, quench, port="p3", volume=each)
    station.mix(kit, by="hands", times=20)
    p.lag(
        f"Enzyme on cells, {name}",
        from_=begun.start,
        to=stopped.end,
        maximum=45 * minute,
        tier="alarm",
        source="set by site: no limit was found",
    )
    p.lag(
        f"Enzyme too long on cells, {name}",
        from_=begun.start,
        to=stopped.end,
        maximum=2 * hour,
        tier="block",
        source="set by site: no limit was found",
    )


@procedure(title="Mesenchymal stromal cells, two passages", document="MBR-MS-021", version="1.0")
def msc_adherent(p: Writer) -> None:
    """Write the procedure: what goes in, what it runs on, operations, clocks."""
    # What goes in
    marrow = p.patient_material(
        "marrow bag",
        volume=between(25 * mL, 30 * mL),  # 25 mL (S38)
        longest_since_collection=24 * hour,  # S106
    )
    medium_0 = p.reagent(
        "medium for day 0", catalogue="msc-medium", volume=560 * mL, in_use=8 * hour
    )
    medium_3 = p.reagent(
        "medium for day 3", catalogue="msc-medium", volume=520 * mL, in_use=8 * hour
    )
    medium_6 = p.reagent(
        "medium for day 6", catalogue="msc-medium", volume=520 * mL, in_use=8 * hour
    )
    medium_9 = p.reagent(
        "medium for day 9", catalogue="msc-medium", volume=520 * mL, in_use=8 * hour
    )
    medium_11 = p.reagent(
        "medium for day 11", catalogue="msc-medium", volume=520 * mL, in_use=8 * hour
    )
    medium_13 = p.reagent(
        "medium for passage 2", catalogue="msc-medium", volume=1750 * mL, in_use=8 * hour
    )
    medium_16 = p.reagent(
        "medium for day 16", catalogue="msc-medium", volume=1550 * mL, in_use=8 * hour
    )
    medium_18 = p.reagent(
        "medium for day 18", catalogue="msc-medium", volume=1550 * mL, in_use=8 * hour
    )
    medium_20 = p.reagent(
        "medium for day 20", catalogue="msc-medium", volume=1550 * mL, in_use=8 * hour
    )
    rinse_1 = p.reagent(
        "rinse of passage 1", catalogue="rinse-buffer", volume=120 * mL, in_use=4 * hour
    )
    enzyme_1 = p.reagent(
        "enzyme for passage 1", catalogue="detachment-enzyme", volume=120 * mL, in_use=4 * hour
    )
    quench_1 = p.reagent(
        "quench of passage 1", catalogue="msc-medium", volume=120 * mL, in_use=4 * hour
    )
    rinse_2 = p.reagent(
        "rinse of passage 2", catalogue="rinse-buffer", volume=420 * mL, in_use=4 * hour
    )
    enzyme_2 = p.reagent(
        "enzyme for passage 2", catalogue="detachment-enzyme", volume=420 * mL, in_use=4 * hour
    )
    quench_2 = p.reagent(
        "quench of passage 2", catalogue="msc-medium", volume=420 * mL, in_use=4 * hour
    )
    buffer = p.reagent("wash buffer", volume=350 * mL, in_use=8 * hour)
    cryo = bag_of(p, "cryoprotectant", "dmso-20-percent", 60 * mL)
    passage_bag = p.empty_bag("passage bag", catalogue="transfer-bag", capacity=300 * mL)
    dose_1 = p.empty_bag("first dose bag", catalogue="cryobag", capacity=50 * mL)
    dose_2 = p.empty_bag("second dose bag", catalogue="cryobag", capacity=50 * mL)
    reserve = p.empty_bag("reserve bag", catalogue="cryobag", capacity=50 * mL)
    tube_1 = p.tube("sample of passage 1")
    tube_2 = p.tube("sample of the concentrate")
    kit_1 = p.kit(
        "kit of passage 1",
        catalogue="msc-kit-1",
        vessel="first vessel",
        capacity=700 * mL,
        flush_volume=200 * mL,
        waste_capacity=10 * L,
    )
    kit_2 = p.kit(
        "kit of passage 2",
        catalogue="msc-kit-2",
        vessel="second vessel",
        capacity=2100 * mL,
        flush_volume=200 * mL,
        waste_capacity=20 * L,
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
    bench = p.equipment("receiving bench", "bench")
    used = p.equipment("selection bench", "bench")  # where used kits wait for their clearance
    dewar = p.equipment("dewar", "dewar")

    with p.unit_procedure("Receive and plate"):
        with p.operation("Receive", longest_hold=6 * hour):
            bench.receive(marrow, volume=between(25 * mL, 30 * mL))
            p.confirm(
                "Do bag, papers and order agree, and is the marrow free of clots?",
                respond_within=1 * hour,
                second_person=True,
            )
        with p.operation("Ready the incubator", longest_hold=12 * hour):
            incubator.set_climate(temperature=37 * degC, carbon_dioxide=5 * percent)
        with p.operation("Plate the marrow", longest_hold=4 * hour) as plating:
            station.install_kit(kit_1)
            station.connect(marrow, to=kit_1, port="p1", by="sterile_weld", flow=slowly)
            station.connect(medium_0, to=kit_1, port="p2", by="aseptic_connector", flow=slowly)
            station.transfer(marrow, to=kit_1.vessel, volume=26 * mL, flow=slowly)
            station.feed(kit_1, medium=medium_0, volume=540 * mL, flow=briskly)
            clear_and_disconnect(station, kit_1, marrow)
            station.disconnect(medium_0)
            arm.move(kit_1, from_=station, to=incubator)

    with (
        p.unit_procedure("Passage 1"),
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
        for days, least, medium, port in (
            (3, 70 * hour, medium_3, "p3"),
            (6, 68 * hour, medium_6, "p4"),
            (9, 68 * hour, medium_9, "p5"),
            (11, 44 * hour, medium_11, "p1"),
        ):
            waited = culture_until(
                p,
                incubator,
                kit_1,
                of="passage 1",
                since=plating,
                days=days,
                at_least=least,
                safe_for=12 * hour,
            )
            with p.operation(
                f"Exchange on day {days} of passage 1", longest_hold=4 * hour
            ) as exchange:
                arm.move(kit_1, from_=incubator, to=station)
                exchange_from_fresh_bag(
                    station, kit_1, medium, port=port, volume=500 * mL, settle=1 * minute
                )
                arm.move(kit_1, from_=station, to=incubator)
            p.lag(
                f"Exchange of day {days} of passage 1 is due",
                from_=waited.end,
                to=exchange.start,
                maximum=6 * hour,
                tier="alarm",
                source="set by site",
            )
        culture_until(
            p,
            incubator,
            kit_1,
            of="passage 1",
            since=plating,
            days=12,
            at_least=20 * hour,
            safe_for=12 * hour,
        )
        with p.repeat_until("Grow until 30 percent are covered", at_most=4) as turns:
            with p.operation("Another day", longest_hold=12 * hour):
                incubator.incubate(kit_1, duration=24 * hour)
            turns.until(look_at(p, incubator, arm, bench, kit_1).confluence, at_least=30 * percent)
        with p.operation("Ready to pass the cells on", longest_hold=12 * hour):
            two_people_stay(
                p, "detach the cells and pass them on", hours=4, respond_within=12 * hour
            )
        with p.operation("Pass the cells on to kit 2", longest_hold=1 * hour) as passing:
            arm.move(kit_1, from_=incubator, to=station)
            rinse_and_detach(
                p,
                station,
                arm,
                incubator,
                kit_1,
                remove=560 * mL,
                each=100 * mL,
                rinse=rinse_1,
                enzyme=enzyme_1,
                quench=quench_1,
                name="passage 1",
            )
            counter.count(
                kit_1.vessel,
                tube=tube_1,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(0.02 * million_per_mL, 2 * million_per_mL),
                viability_at_least=70 * percent,
            )
            station.connect(passage_bag, to=kit_1, port="p4", by="sterile_weld", flow=slowly)
            station.transfer(kit_1.vessel, to=passage_bag, volume=204 * mL, flow=briskly)
            station.transfer(kit_1.flush, to=passage_bag, volume=10 * mL, flow=briskly)
            station.disconnect(passage_bag)
            used.load(kit_1)
            station.install_kit(kit_2)
            station.connect(passage_bag, to=kit_2, port="p1", by="sterile_weld", flow=slowly)
            station.transfer(passage_bag, to=kit_2.vessel, volume=216 * mL, flow=briskly)
            clear_and_disconnect(station, kit_2, passage_bag)
            station.connect(medium_13, to=kit_2, port="p2", by="aseptic_connector", flow=slowly)
            station.feed(kit_2, medium=medium_13, volume=1700 * mL, flow=briskly)
            station.disconnect(medium_13)
            arm.move(kit_2, from_=station, to=incubator)

    with (
        p.unit_procedure("Passage 2"),
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
        for days, least, medium, port in (
            (3, 70 * hour, medium_16, "p3"),
            (5, 44 * hour, medium_18, "p4"),
            (7, 44 * hour, medium_20, "p5"),
        ):
            waited = culture_until(
                p,
                incubator,
                kit_2,
                of="passage 2",
                since=passing,
                days=days,
                at_least=least,
                safe_for=12 * hour,
            )
            with p.operation(
                f"Exchange on day {days} of passage 2", longest_hold=4 * hour
            ) as exchange:
                arm.move(kit_2, from_=incubator, to=station)
                exchange_from_fresh_bag(
                    station, kit_2, medium, port=port, volume=1500 * mL, settle=1 * minute
                )
                arm.move(kit_2, from_=station, to=incubator)
            p.lag(
                f"Exchange of day {days} of passage 2 is due",
                from_=waited.end,
                to=exchange.start,
                maximum=6 * hour,
                tier="alarm",
                source="set by site",
            )
        with p.repeat_until("Grow until 70 percent are covered", at_most=4) as turns_2:
            with p.operation("Another day", longest_hold=12 * hour):
                incubator.incubate(kit_2, duration=24 * hour)
            turns_2.until(
                look_at(p, incubator, arm, bench, kit_2).confluence, at_least=70 * percent
            )

    with p.unit_procedure("Harvest, formulate and freeze"):
        with p.operation("Ready to harvest", longest_hold=12 * hour):
            two_people_stay(
                p, "detach, wash, formulate and fill", hours=6, respond_within=12 * hour
            )
        with p.operation("Detach, wash and concentrate", longest_hold=1 * hour) as harvest:
            arm.move(kit_2, from_=incubator, to=station)
            rinse_and_detach(
                p,
                station,
                arm,
                incubator,
                kit_2,
                remove=1910 * mL,
                each=400 * mL,
                rinse=rinse_2,
                enzyme=enzyme_2,
                quench=quench_2,
                name="passage 2",
            )
            spin_and_draw_off(
                station, kit_2, arm=arm, centrifuge=centrifuge, draw=700 * mL, keep=80 * mL
            )
            add_from_fresh_bag(station, kit_2, buffer, port="p4", volume=300 * mL)
            spin_and_draw_off(
                station, kit_2, arm=arm, centrifuge=centrifuge, draw=350 * mL, keep=40 * mL
            )
            station.mix(kit_2, by="hands", times=10)
            counted = counter.count(
                kit_2.vessel,
                tube=tube_2,
                at=station,
                sample_volume=0.5 * mL,
                expect=between(7 * million_per_mL, 25 * million_per_mL),
                viability_at_least=70 * percent,
            )
            arm.move(kit_2, from_=station, to=incubator)
        with p.when(
            counted.viability,
            at_least=80 * percent,
            name="Fit to be frozen",
            otherwise=Hold("Less than 80 % of the cells live: quality decides on the batch"),
        ):
            dose = volume_over(  # formulating doubles the volume
                volume_holding(
                    100 * million_cells,  # S103
                    at=counted.viable_density,
                    round_down_to=0.1 * mL,
                ),
                ratio=0.5 * ratio,
                round_down_to=0.1 * mL,
            )
            with p.operation("Formulate, fill and freeze", longest_hold=1 * hour) as finish:
                get_cold(freezer)
                arm.move(kit_2, from_=incubator, to=station)
                join_empty(station, kit_2, reserve, port="p1")
                join_empty(station, kit_2, dose_1, port="p2")
                join_empty(station, kit_2, dose_2, port="p5")
                station.connect(cryo, to=kit_2, port="p4", by="aseptic_connector", flow=slowly)
                formulated = station.formulate(kit_2, cryo=cryo, volume=50 * mL, flow=slowly)
                flush_to_waste(station, kit_2)
                station.mix(kit_2, by="hands", times=10)
                # The first bag takes what stands in the line, so the doses come after it.
                station.fill_and_seal(
                    kit_2, source=kit_2.vessel, bags=(reserve,), volume=45 * mL, flow=slowly
                )
                station.fill_and_seal(
                    kit_2, source=kit_2.vessel, bags=(dose_1, dose_2), volume=dose, flow=slowly
                )
                station.disconnect(cryo)
                arm.move(kit_2, from_=station, to=incubator)
                frozen = freeze_and_store(
                    freezer, dewar, reserve, dose_1, dose_2, position="rack of the batch"
                )

    # Clocks
    p.lag(
        "Washed cells wait to be formulated",
        from_=harvest.end,
        to=finish.start,
        maximum=4 * hour,
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
        source="set by site: no sourced limit exists before freezing",
    )
