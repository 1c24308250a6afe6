"""Fill final bags out of a vessel, freeze them along the curve, and store them."""

from __future__ import annotations

from orchestrator.kernel.quantities import degC, degC_per_min, mL, mL_per_min
from orchestrator.recipe.author import (
    Container,
    Dewar,
    Freezer,
    KitInUse,
    Part,
    TransferStation,
)

first_cooling = (1 * degC_per_min, -45 * degC)
second_cooling = (10 * degC_per_min, -90 * degC)


def get_cold(freezer: Freezer) -> Part:
    """Bring the freezer to the start of its curve: a former one has left it in the cold."""
    return freezer.precool(to=4 * degC, rate=10 * degC_per_min)


def join_empty(station: TransferStation, kit: KitInUse, bag: Container, *, port: str) -> Part:
    """Join an empty bag, before the cells wait for it."""
    return station.connect(bag, to=kit, port=port, by="sterile_weld", flow=20 * mL_per_min)


def flush_to_waste(station: TransferStation, kit: KitInUse) -> Part:
    """Push what stands in the pump's line out to the waste with buffer."""
    return station.transfer(kit.flush, to=kit.waste, volume=5 * mL, flow=20 * mL_per_min)


def freeze_and_store(
    freezer: Freezer,
    dewar: Dewar,
    one: Container,
    two: Container,
    three: Container,
    *,
    position: str,
) -> Part:
    """Load three bags, freeze them, put them into the dewar; return the freezing.

    The curve is that of the CryoMed with its compensation left to the freezer: 1 degC/min
    from +4 to -45 degC, then 10 degC/min to -90 degC (process description, 4.1, S93).
    """
    freezer.load(one, two, three)
    frozen = freezer.freeze(
        one, two, three, start=4 * degC, segments=(first_cooling, second_cooling)
    )
    dewar.store(one, two, three, position=position)
    return frozen
