"""What people do to material by hand, rightly or wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_mocks.world import parameters as p
from hw_mocks.world.ledger import EffectKind, ImpossibleError
from hw_mocks.world.materials import buffer
from hw_mocks.world.mixture import T_CELLS

if TYPE_CHECKING:
    from hw_mocks.world.world import World

WELD_MM = 30.0
"""Tubing lost at each side by one weld; set (S91: welds shorten tubing)."""
SEAL_MM = 20.0
"""Tubing lost at each side by one seal; set."""


class Hands:
    """The hands in the room; ``by`` is always the person."""

    def __init__(self, world: World) -> None:
        self._world = world

    def weld(self, bag: str, kit: str, port: str, *, by: str) -> None:
        """Weld a bag's tube to a port's; both get shorter."""
        self._join(bag, kit, port, how="weld", costs_mm=WELD_MM, by=by)

    def aseptic_connect(self, bag: str, kit: str, port: str, *, by: str) -> None:
        """Join a bag to a port by an aseptic connector."""
        self._join(bag, kit, port, how="aseptic connector", costs_mm=0.0, by=by)

    def _join(self, bag: str, kit: str, port: str, *, how: str, costs_mm: float, by: str) -> None:
        world = self._world
        held = world.container(bag)
        if kit not in world.kits or port not in world.kits[kit].ports:
            raise ImpossibleError(f"there is no port {port} on {kit}")
        if held.part_of is not None:
            raise ImpossibleError(f"{bag} is part of {held.part_of}")
        if world.joint_of(bag) is not None:
            raise ImpossibleError(f"{bag} is joined already")
        if world.port_joint(kit, port) is not None:
            raise ImpossibleError(f"{port} of {kit} is taken")
        tubing = world.kits[kit].tubing_mm
        if held.tubing_mm < costs_mm or tubing[port] < costs_mm:
            raise ImpossibleError(f"the tubing of {bag} or of {port} of {kit} is too short")
        held.tubing_mm -= costs_mm
        tubing[port] -= costs_mm
        world.join(bag, kit, port, how, by)
        world.write(
            by,
            "joined",
            things=(bag, kit),
            places=(f"{kit}:{port}",),
            amount=tubing[port],
            unit="mm left",
            detail={"how": how, "port": port},
        )

    def seal_off(self, bag: str, *, by: str) -> None:
        """Seal a bag's tube and cut it; both ends stay closed."""
        self._part(bag, how="seal", costs_mm=SEAL_MM, by=by)

    def disconnect(self, bag: str, *, by: str) -> None:
        """Take an aseptic connector apart; both ends stay closed."""
        self._part(bag, how="disconnect", costs_mm=0.0, by=by)

    def _part(self, bag: str, *, how: str, costs_mm: float, by: str) -> None:
        world = self._world
        joint = world.part(bag)
        held = world.container(bag)
        tubing = world.kits[joint.kit].tubing_mm
        held.tubing_mm = max(held.tubing_mm - costs_mm, 0.0)
        tubing[joint.port] = max(tubing[joint.port] - costs_mm, 0.0)
        world.write(
            by,
            "parted",
            things=(bag, joint.kit),
            places=(f"{joint.kit}:{joint.port}",),
            amount=tubing[joint.port],
            unit="mm left",
            detail={"how": how, "port": joint.port},
        )

    def put(self, thing: str, place: str, *, by: str) -> None:
        """Put a thing at a place: hang, load, dock, rack or store it."""
        world = self._world
        if thing in world.containers and world.containers[thing].part_of is not None:
            raise ImpossibleError(f"{thing} is fixed to {world.containers[thing].part_of}")
        if world.where(thing).startswith("gripper:"):
            raise ImpossibleError(f"{thing} is in {world.where(thing)}")
        if world.where(thing) == place:
            return
        if not world.room_at(place):
            raise ImpossibleError(f"{place} is taken by {world.at(place)}")
        if world.is_spinning(place) or world.is_spinning(world.where(thing)):
            raise ImpossibleError(f"{place} turns")
        world.relocate(thing, place, by)

    hang = put
    load = put
    store = put

    def take(self, place: str, *, by: str) -> str:
        """Take the thing at a place into the hands; return what it is."""
        world = self._world
        thing = world.at(place)
        if thing is None:
            raise ImpossibleError(f"{place} is empty")
        if world.is_spinning(place):
            raise ImpossibleError(f"{place} turns")
        world.relocate(thing, "hands", by)
        return thing

    def draw_sample(self, container: str, tube: str, volume_uL: float, *, by: str) -> None:
        """Draw a sample from a container into a tube."""
        self._shift(container, tube, volume_uL / 1000.0, "sampled", volume_uL, "uL", by)

    def inject(self, source: str, target: str, volume_mL: float, *, by: str) -> None:
        """Move liquid from one container into another by syringe."""
        self._shift(source, target, volume_mL, "moved_liquid", volume_mL, "mL", by)

    def _shift(
        self,
        source: str,
        target: str,
        volume_mL: float,
        kind: EffectKind,
        amount: float,
        unit: str,
        by: str,
    ) -> None:
        world = self._world
        world.catch_up()
        giving, taking = world.settle(source), world.settle(target)
        if giving.contents.volume_mL + 1e-9 < volume_mL:
            raise ImpossibleError(f"{source} holds only {giving.contents.volume_mL:.3f} mL")
        if taking.contents.volume_mL + volume_mL > taking.capacity_mL + 1e-9:
            raise ImpossibleError(f"{target} has no room for {volume_mL:.3f} mL")
        drawn = world.draw_from(source, volume_mL)
        world.pour_in(target, drawn, at_degC=giving.temperature_degC)
        detail: dict[str, str | float] = {"from": source, "into": target}
        world.write(by, kind, things=(source, target), amount=amount, unit=unit, detail=detail)

    def mix(self, thing: str, *, by: str) -> None:
        """Rock a container, or a kit's vessel, until nothing lies at its bottom."""
        world = self._world
        container = world.kits[thing].vessel if thing in world.kits else thing
        world.settle(container).pelleted = 0.0
        world.write(by, "mixed", things=(container,), places=(world.where(container),))

    def select_magnetic(
        self,
        source: str,
        target: str,
        *,
        by: str,
        marker: str = "CD4/CD8",
        elute_mL: float = 50.0,
    ) -> None:
        """Run all of ``source`` over the stand-alone selection box; the target fraction elutes.

        The rest goes to the box's own waste. The elution buffer is the box's.
        """
        world = self._world
        world.catch_up()
        giving, taking = world.settle(source), world.settle(target)
        if taking.contents.volume_mL + elute_mL > taking.capacity_mL + 1e-9:
            raise ImpossibleError(f"{target} has no room for {elute_mL} mL")
        wanted = {"CD4/CD8": T_CELLS, "CD4": ("cd4_t",), "CD8": ("cd8_t",)}.get(marker)
        if wanted is None:
            raise ImpossibleError(f"there is no column for {marker}")
        chance = world.noise.next(f"selection/{source}")
        spread = min(max(float(chance.normal()), -2.0), 2.0)
        recovery = p.RECOVERY_OF_SELECTION + p.RECOVERY_SPREAD * spread
        purity = 1.0 - (1.0 - p.PURITY_LOWEST) * float(chance.uniform(0.2, 1.0))
        eluted = buffer(elute_mL)
        world.brought_in_g += eluted.mass_g
        all_of_it = giving.contents.take(giving.contents.volume_mL)
        kept = 0.0
        others = 0.0
        for key, cells in all_of_it.cells.items():
            if key[1] in wanted:
                eluted.cells[key] = cells.take(recovery)
                eluted.cells[key].dead *= 0.3  # columns hold back most dead cells
                kept += eluted.cells[key].viable
            else:
                others += cells.viable
        carried = min(kept * (1.0 - purity) / purity / others, 1.0) if others > 0.0 else 0.0
        for key, cells in all_of_it.cells.items():
            if key[1] not in wanted:
                eluted.cells[key] = cells.take(carried)
                eluted.cells[key].dead = 0.0
        world.consumed.add(all_of_it)
        world.pour_in(target, eluted, at_degC=giving.temperature_degC)
        world.write(
            by,
            "selected",
            things=(source, target),
            amount=kept,
            unit="cells",
            detail={"marker": marker, "recovery": recovery, "purity": purity},
        )

    def stick_label(self, thing: str, label: str, *, by: str) -> None:
        """Stick a label on a container or a kit's tray, beside those that are there."""
        world = self._world
        before = world.label_of(thing) or ""
        held = world.kits[thing] if thing in world.kits else world.container(thing)
        if held.label is not None:
            held.older_labels.append(held.label)
        held.label = label
        world.write(by, "labelled", things=(thing,), detail={"label": label, "beside": before})

    def stick_next_label(self, thing: str, *, by: str) -> str:
        """Stick the next label of the room's roll on a thing; return what it says."""
        label = next(self._world.label_roll, None)
        if label is None:
            raise ImpossibleError("the roll of labels is at its end")
        self.stick_label(thing, label, by=by)
        return label

    def inspect_confluence(self, vessel: str) -> float:
        """Return the covered share of a vessel's surface, as a grader sees it; no effect."""
        return self._world.confluence(vessel)

    def discard(self, thing: str, *, by: str) -> None:
        """Throw a container or a kit away; it stays known, and is in the bin."""
        self._carry_out(thing, "bin", "discarded", by)

    def carry_out(self, thing: str, to: str, *, by: str) -> None:
        """Carry a thing out of the cell, e.g. to quality control; it stays known, and is there."""
        self._carry_out(thing, to, "carried_out", by)

    def _carry_out(self, thing: str, to: str, kind: EffectKind, by: str) -> None:
        world = self._world
        if to not in world.places:
            world.add_place(to, holds=1_000_000)
        world.relocate(thing, to, by, kind=kind)
