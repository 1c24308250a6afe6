"""What a turning pump head moves through the docked kit.

The emulator of the pump only turns. Which containers the liquid comes from and goes to follows from
the open valves and the joints at that moment. While nothing changes, nothing is computed: the
displaced volume is integrated when somebody looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_mocks.world.mixture import Mixture
from hw_mocks.world.things import Path, Station, Turning

if TYPE_CHECKING:
    from hw_mocks.world.world import World


class Flow:
    """The pumps, valves and tubing of all stations."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open_path(self, station: Station) -> Path | None:
        """Return the open way through the docked kit: at least one container at each side."""
        kit = self._world.kit_at(station.place)
        if kit is None:
            return None
        side_a: list[tuple[str, str]] = []
        for port in kit.ports:
            joint = self._world.port_joint(kit.kit, port) if port in station.opened else None
            if joint is not None:
                side_a.append((port, joint.container))
        ends = (("vessel", kit.vessel), ("flush", kit.flush))
        side_b = [end for end in ends if end[0] in station.opened]
        if not side_a or not side_b:
            return None
        return Path(kit.kit, tuple(side_a), tuple(side_b))

    def start(self, station: Station, flow_uL_per_s: float, by: str) -> None:
        """Begin to turn, or turn at another flow."""
        world = self._world
        world.catch_up()
        turning = station.turning
        if turning is not None and turning.flow_uL_per_s == flow_uL_per_s:
            return
        self.stop(station, by)
        if flow_uL_per_s != 0.0:
            now = world.now()
            station.turning = Turning(by, flow_uL_per_s, now, now)
            self._look(station)

    def stop(self, station: Station, by: str) -> None:
        """Stand still. What was moved is the starter's; who stopped it, if another, is noted."""
        self._world.catch_up()
        self._close(station, stopped_by=by)
        station.turning = None

    def way_changed(self, station: Station) -> None:
        """A valve, a joint or the docked kit changed: what moves now is another effect."""
        if station.turning is None:
            return
        before = (station.turning.sources, station.turning.sinks)
        path = self.open_path(station)
        if path is not None and before == _ends(path, station.turning.flow_uL_per_s):
            return
        self._close(station)
        self._look(station)

    def integrate(self, station: Station, until_s: float) -> None:
        """Move what the head has displaced since the last look."""
        turning = station.turning
        if turning is None:
            return
        passed_s = until_s - turning.integrated_to_s
        turning.integrated_to_s = until_s
        if passed_s <= 0.0:
            return
        displaced_mL = abs(turning.flow_uL_per_s) * passed_s / 1000.0
        turning.displaced_mL += displaced_mL
        path = self.open_path(station)
        if path is None:
            return
        moved = self._move(path, displaced_mL, forward=turning.flow_uL_per_s > 0.0)
        turning.moved_mL += moved
        if moved < displaced_mL * (1.0 - 1e-9):
            turning.reason = "source empty or target full"

    def _look(self, station: Station) -> None:
        """Begin a new effect on the way that is open now."""
        turning = station.turning
        if turning is None:
            return
        now = self._world.now()
        turning.from_s = turning.integrated_to_s = now
        turning.moved_mL = turning.displaced_mL = 0.0
        path = self.open_path(station)
        turning.reason = "" if path is not None else "no open path"
        if path is None:
            turning.sources = turning.sinks = ()
        else:
            turning.sources, turning.sinks = _ends(path, turning.flow_uL_per_s)

    def _close(self, station: Station, *, stopped_by: str | None = None) -> None:
        """Write what was moved since the present effect began."""
        turning = station.turning
        if turning is None or turning.displaced_mL <= 0.0:
            return
        moved = turning.moved_mL > 0.0
        docked = self._world.at(station.place)
        detail: dict[str, str | float] = {
            "displaced_mL": turning.displaced_mL,
            "from": "+".join(turning.sources),
            "into": "+".join(turning.sinks),
            "kit": docked or "",
        }
        if turning.reason:
            detail["reason"] = turning.reason
        if stopped_by not in (None, turning.by):
            detail["stopped_by"] = stopped_by
        self._world.write(
            turning.by,
            "moved_liquid" if moved else "turned",
            things=(*turning.sources, *turning.sinks),
            places=(station.station,),
            amount=turning.moved_mL if moved else turning.displaced_mL,
            unit="mL",
            detail=detail,
            from_s=turning.from_s,
            to_s=turning.integrated_to_s,
        )

    def _move(self, path: Path, displaced_mL: float, *, forward: bool) -> float:
        """Push up to ``displaced_mL`` through the kit; return how much left the sources."""
        world = self._world
        kit = world.kits[path.kit]
        froms, intos = (path.side_a, path.side_b) if forward else (path.side_b, path.side_a)
        sources = [world.settle(container) for _, container in froms]
        sinks = [world.settle(container) for _, container in intos]
        available = sum(held.contents.volume_mL for held in sources)
        free = sum(held.capacity_mL - held.contents.volume_mL for held in sinks)
        wanted = min(displaced_mL, available, max(free, 0.0))
        if wanted <= 0.0:
            return 0.0
        entering: list[Mixture] = []
        warmth = 0.0
        branches = {**kit.ports, **kit.branches}
        for (branch, container), held in zip(froms, sources, strict=True):
            drawn = world.draw_from(container, wanted * (held.contents.volume_mL / available))
            warmth += drawn.volume_mL * held.temperature_degC
            # Side A's left end is the container's; side B's left end is the pump's.
            entering += branches[branch].push([drawn], at_left=forward)
        warmth /= wanted
        through = kit.pump_line.push(entering, at_left=forward)
        total_room = free
        for (branch, container), held in zip(intos, sinks, strict=True):
            space = held.capacity_mL - held.contents.volume_mL
            share = min(space / total_room, 1.0)
            total_room -= space
            part = [slug.take(slug.volume_mL * share) for slug in through]
            for leaving in branches[branch].push(part, at_left=forward):
                world.pour_in(container, leaving, at_degC=warmth)
        return wanted


def _ends(path: Path, flow_uL_per_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the containers that give and those that take."""
    side_a = tuple(container for _, container in path.side_a)
    side_b = tuple(container for _, container in path.side_b)
    return (side_a, side_b) if flow_uL_per_s > 0.0 else (side_b, side_a)
