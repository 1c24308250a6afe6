"""What is seen of a liquid: by the World, exactly; by a counter, with its error."""

from __future__ import annotations

from math import sqrt

from hw_mocks.world import parameters as p
from hw_mocks.world.mixture import T_CELLS, Mixture
from hw_mocks.world.noise import Noise
from hw_mocks.world.things import CellView, Contents, Counted


def contents_of(held: Mixture) -> Contents:
    """Return ``held`` as what the World tells of it."""
    views: list[CellView] = []
    viable = dead = cd3 = car = attached = 0.0
    for (donor, phenotype), cells in sorted(held.cells.items()):
        viable += cells.viable
        dead += cells.dead
        car += cells.car
        attached += cells.attached
        if phenotype in T_CELLS:
            cd3 += cells.viable
        copies = cells.copies / cells.viable if cells.viable > 0.0 else 0.0
        views.append(
            CellView(
                donor,
                phenotype,
                cells.viable,
                cells.dead,
                cells.activated,
                cells.car,
                copies,
                cells.attached,
            )
        )
    per_litre = 1000.0 / held.volume_mL if held.volume_mL > 0.0 else 0.0
    return Contents(
        volume_mL=held.volume_mL,
        mass_g=held.mass_g,
        viable=viable,
        dead=dead,
        cd3=cd3,
        car=car,
        attached=attached,
        dmso_fraction=held.solute("dmso_mL") * per_litre / 1000.0,
        glucose_millimolar=held.solute("glucose_mmol") * per_litre,
        lactate_millimolar=held.solute("lactate_mmol") * per_litre,
        inhibitor_millimolar=held.solute("inhibitor_mmol") * per_litre,
        solutes=dict(held.solutes),
        materials_mL=dict(held.materials),
        cells=tuple(views),
    )


def counted(seen: Contents, drawn_uL: float, noise: Noise, counter: str) -> Counted:
    """Return what ``counter`` makes of a drop of a liquid that holds what was ``seen``."""
    swimming = seen.viable - seen.attached
    total = swimming + seen.dead
    if seen.volume_mL <= 0.0 or total <= 0.0:
        return Counted(0.0, 0.0, 0.0, 0.0, drawn_uL)
    chance = noise.next(f"count/{counter}")
    looked_at = total / seen.volume_mL / 1000.0 * min(p.COUNTED_SHARE_UL, drawn_uL)
    relative = sqrt(p.COUNT_SPREAD**2 + 1.0 / max(looked_at, 1.0))
    scale = max(1.0 + relative * float(chance.normal()), 0.0)

    def share(true: float, of: float) -> float:
        events = int(min(max(of * looked_at / total, 100.0), 10_000.0))
        return int(chance.binomial(events, min(max(true, 0.0), 1.0))) / events

    cells = [view for view in seen.cells if view.viable > 0.0]
    viable = max(seen.viable, 1e-9)
    viability = share(swimming / total, total)
    cd3 = share(sum(v.viable for v in cells if v.phenotype in T_CELLS) / viable, swimming)
    car = share(seen.car / viable, swimming)
    return Counted(total / seen.volume_mL * scale * viability, viability, cd3, car, drawn_uL)
