"""Fill a culture bag and seed it with a patient's cells. Batch record MBR-CT-014, section 4.

Process owner: cell processing. Limits: development report DR-031, table 6.
"""

from orchestrator.kernel.quantities import (
    L,
    between,
    hour,
    million_cells,
    million_per_mL,
    mL,
    mL_per_min,
)
from orchestrator.recipe import Writer, procedure
from orchestrator.recipe.author import volume_holding


@procedure(title="Wash and seed, autologous T cells", document="MBR-CT-014", version="3.1")
def wash_and_seed(p: Writer) -> None:
    # What goes in
    cells = p.patient_material(
        "leukapheresis bag",
        volume=between(150 * mL, 300 * mL),
        longest_since_collection=72 * hour,
    )
    medium = p.reagent("expansion medium", volume=900 * mL, in_use=24 * hour)
    kit = p.kit(
        "culture kit",
        vessel="culture bag",
        capacity=1 * L,
        flush_volume=100 * mL,
        waste_capacity=2 * L,
    )
    density = p.ordered("donor's density", range=between(1 * million_per_mL, 20 * million_per_mL))

    # What it runs on
    station = p.equipment(
        "transfer station", "transfer_station", flow=between(1 * mL_per_min, 100 * mL_per_min)
    )

    with p.operation("Connect", longest_hold=2 * hour):
        p.verify_identity(cells, at=station)
        station.connect(cells, to=kit, port="p1", by="sterile_weld", flow=5 * mL_per_min)
        station.connect(medium, to=kit, port="p2", by="aseptic_connector", flow=5 * mL_per_min)

    with p.operation("Fill the culture bag", longest_hold=2 * hour) as fill:
        station.transfer(medium, to=kit.vessel, volume=800 * mL, flow=80 * mL_per_min)

    with p.operation("Seed", longest_hold=1 * hour) as seeding:
        seed = volume_holding(100 * million_cells, at=density, round_down_to=0.1 * mL)
        station.transfer(cells, to=kit.vessel, volume=seed, flow=20 * mL_per_min)

    p.lag(
        "warm medium",
        from_=fill.end,
        to=seeding.start,
        maximum=4 * hour,
        tier="alarm",
        source="DR-031, table 6",
    )
