"""Operations that several cultures share: visits to the station, feeding, spinning, waiting.

A kit is never moved while a bag hangs at one of its ports: each bag is joined for its one
use and sealed off again, and the joints go round the ports.
"""

from __future__ import annotations

from orchestrator.kernel.quantities import (
    Duration,
    Flow,
    Volume,
    day,
    hour,
    minute,
    mL,
    mL_per_min,
    x_g,
)
from orchestrator.recipe.author import (
    Arm,
    Centrifuge,
    Container,
    Incubator,
    KitInUse,
    Part,
    TransferStation,
    Writer,
)

slowly = 20 * mL_per_min
briskly = 100 * mL_per_min


def two_people_stay(p: Writer, task: str, *, hours: int, respond_within: Duration) -> None:
    """Wait, while nothing is held, until two people can see a step through to its end.

    Two people check each bag that is filled. Where one is on call at night, what can't wait
    for the second must not begin in the evening.
    """
    p.confirm(
        f"Are two people here for the next {hours} h, to {task}?",
        respond_within=respond_within,
        second_person=True,
    )


def clear_and_disconnect(station: TransferStation, kit: KitInUse, bag: Container) -> Part:
    """Push the cells that stand in the port's tube back into their bag, and take it off."""
    station.transfer(kit.flush, to=bag, volume=3 * mL, flow=slowly)
    return station.disconnect(bag)


def feed_from_fresh_bag(
    station: TransferStation,
    kit: KitInUse,
    medium: Container,
    *,
    port: str,
    volume: Volume,
    flow: Flow = briskly,
) -> Part:
    """Join a bag of medium, add a volume of it to the vessel, and take it off again."""
    station.connect(medium, to=kit, port=port, by="aseptic_connector", flow=slowly)
    fed = station.feed(kit, medium=medium, volume=volume, flow=flow)
    station.disconnect(medium)
    return fed


def exchange_from_fresh_bag(
    station: TransferStation,
    kit: KitInUse,
    medium: Container,
    *,
    port: str,
    volume: Volume,
    settle: Duration,
) -> Part:
    """Join a bag of medium, let cells settle, replace old medium by as much, take it off."""
    station.connect(medium, to=kit, port=port, by="aseptic_connector", flow=slowly)
    exchanged = station.exchange_medium(
        kit,
        medium=medium,
        volume=volume,
        remove=volume,
        waste=kit.waste,
        settle=settle,
        flow=briskly,
    )
    station.disconnect(medium)
    return exchanged


def add_from_fresh_bag(
    station: TransferStation,
    kit: KitInUse,
    liquid: Container,
    *,
    port: str,
    volume: Volume,
    flow: Flow = briskly,
) -> Part:
    """Join a bag of buffer or enzyme, move a volume of it to the vessel, take it off."""
    station.connect(liquid, to=kit, port=port, by="aseptic_connector", flow=slowly)
    added = station.transfer(liquid, to=kit.vessel, volume=volume, flow=flow)
    station.disconnect(liquid)
    return added


def spin_and_draw_off(
    station: TransferStation,
    kit: KitInUse,
    *,
    arm: Arm,
    centrifuge: Centrifuge,
    draw: Volume,
    keep: Volume,
) -> Part:
    """Spin the kit at 300 x g for 10 min and draw liquid off above the cells."""
    return station.concentrate(
        kit,
        arm=arm,
        centrifuge=centrifuge,
        force=300 * x_g,
        spin=10 * minute,
        waste=kit.waste,
        draw=draw,
        keep=keep,
        flow=briskly,
    )


def culture_until(
    p: Writer,
    incubator: Incubator,
    kit: KitInUse,
    *,
    of: str = "culture",
    since: Part,
    days: int,
    at_least: Duration,
    safe_for: Duration,
) -> Part:
    """Leave the kit in the incubator until so many days since a moment have passed.

    ``at_least`` is what surely passes whatever the visit before took; the rest, up to the
    day, is waited for at the end, while no station or arm is held.
    """
    with p.operation(f"Culture to day {days}", longest_hold=safe_for) as culture:
        incubator.incubate(kit, duration=at_least)
    p.lag(
        f"{days} days of {of}",
        from_=since.end,
        to=culture.end,
        minimum=days * day,
        maximum=days * day + 6 * hour,
        tier="alarm",
        source="set by site",
    )
    return culture
