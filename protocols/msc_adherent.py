"""Make mesenchymal stromal cells from a marrow aspirate in 21 days. Batch record MBR-MS-021.

Marrow is plated without separation: what doesn't hold to the surface leaves with the first
exchanges of medium, and that is the isolation. Passage 1 in kit 1 (2,100 cm2) until a
person, verified by a second one, sees about 40 % of the surface covered, about day 13;
passage 2 in kit 2 (21,000 cm2) until about 80 %, about day 21. Then detach, wash,
formulate, fill, freeze, store. Figures marked S stand for the sources of docs/explanation/
world.md; where none is named the limit is set by site.

Enzyme is stopped by medium that is joined only when the kit is back at the station, since
no kit is moved with a bag at its ports; so its clock runs from its first drop to the end of
the quench, over work by hand.

The check asks about alarms that slow hands would ring (H070): the enzyme and the DMSO clock
shall call while cells can still be helped, far below what the slowest hands could take. No
sourced limit exists for either, so a site replaces them.
"""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    L,
    between,
    day,
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
    Part,
    TransferStation,
    volume_holding,
    volume_over,
)
from protocols.library.culture import (
    add_from_fresh_bag,
    briskly,
    culture_until,
    exchange_from_fresh_bag,
    slowly,
    spin_and_draw_off,
)
from protocols.library.freezing import flush_to_waste, freeze_and_store, get_cold, join_empty


def look_each_day(
    p: Writer,
    incubator: Incubator,
    arm: Arm,
    bench: Bench,
    kit: KitInUse,
    name: str,
) -> Graded:
    """Carry the kit to the bench, have its confluence graded, carry it back, wait for tomorrow."""
    with p.operation(f"Look at {name}", longest_hold=4 * hour):
        arm.move(kit, from_=incubator, to=bench)
        graded = bench.grade_confluence(kit)
        arm.move(kit, from_=bench, to=incubator)
    return graded
