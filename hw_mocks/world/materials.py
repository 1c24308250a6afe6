"""What comes in bottles, bags and vials: a maker for each material of the two processes."""

from __future__ import annotations

from hw_mocks.world import parameters as p
from hw_mocks.world.donors import Donor
from hw_mocks.world.mixture import Mixture, Population


def _liquid(material: str, volume_mL: float, **solutes: float) -> Mixture:
    dmso_mL = solutes.get("dmso_mL", 0.0)
    mass_g = (volume_mL - dmso_mL) * p.DENSITY_WATERY + dmso_mL * p.DENSITY_DMSO
    present = {name: amount for name, amount in solutes.items() if amount > 0.0}
    return Mixture(volume_mL, mass_g, present, {material: volume_mL})


def medium(
    volume_mL: float,
    *,
    cytokine_ng_per_mL: float = p.MEDIUM_CYTOKINE,
    glucose_millimolar: float = p.MEDIUM_GLUCOSE,
) -> Mixture:
    """Return T-cell medium with glucose and cytokine."""
    return _liquid(
        "medium",
        volume_mL,
        glucose_mmol=volume_mL * glucose_millimolar / 1000.0,
        cytokine_ng=volume_mL * cytokine_ng_per_mL,
    )


def msc_medium(volume_mL: float) -> Mixture:
    """Return MSC medium: little glucose, and growth factor, which counts as cytokine."""
    return medium(volume_mL, glucose_millimolar=p.MSC_MEDIUM_GLUCOSE)


def buffer(volume_mL: float) -> Mixture:
    """Return buffer: it flushes and washes, and feeds nothing."""
    return _liquid("buffer", volume_mL)


def activator(volume_mL: float) -> Mixture:
    """Return activation reagent, dosed by volume for a number of cells."""
    return _liquid("activator", volume_mL, activator_uL=volume_mL * 1000.0)


def vector(volume_mL: float, *, titer_tu_per_mL: float) -> Mixture:
    """Return vector, counted in transducing units."""
    return _liquid("vector", volume_mL, vector_tu=volume_mL * titer_tu_per_mL)


def enzyme(volume_mL: float, *, units_per_mL: float = 1.0) -> Mixture:
    """Return detachment enzyme; 1 unit/mL is working strength."""
    return _liquid("enzyme", volume_mL, enzyme_units=volume_mL * units_per_mL)


def cryo_medium(volume_mL: float, *, dmso_percent: float = 10.0) -> Mixture:
    """Return freezing medium."""
    return _liquid("cryo_medium", volume_mL, dmso_mL=volume_mL * dmso_percent / 100.0)


def apheresis(
    donor: Donor,
    *,
    t_cells: float,
    volume_mL: float,
    t_share: float = 0.45,
    viability: float = 0.98,
) -> Mixture:
    """Return an apheresis product with ``t_cells`` viable CD3+ cells among other leukocytes."""
    liquid = _liquid("apheresis", volume_mL, glucose_mmol=volume_mL * 0.015)
    others = t_cells * (1.0 - t_share) / t_share
    shares = {
        "cd4_t": t_cells * donor.cd4_share,
        "cd8_t": t_cells * (1.0 - donor.cd4_share),
        "monocyte": 0.5 * others,
        "b": 0.25 * others,
        "nk": 0.25 * others,
    }
    for phenotype, viable in shares.items():
        dead = viable * (1.0 - viability) / viability
        liquid.cells[(donor.donor, phenotype)] = Population(viable=viable, dead=dead)
    return liquid


def selected_t_cells(donor: Donor, *, cells: float, volume_mL: float) -> Mixture:
    """Return T cells in buffer, as they leave a selection: for tests that begin there."""
    liquid = buffer(volume_mL)
    liquid.cells[(donor.donor, "cd4_t")] = Population(viable=cells * donor.cd4_share)
    liquid.cells[(donor.donor, "cd8_t")] = Population(viable=cells * (1.0 - donor.cd4_share))
    return liquid


def marrow(donor: Donor, *, volume_mL: float, nucleated_per_mL: float = 2.0e7) -> Mixture:
    """Return a heparinised marrow aspirate: few MSC among many others."""
    liquid = _liquid("marrow", volume_mL, glucose_mmol=volume_mL * 0.005)
    msc = volume_mL * p.MSC_PER_MARROW * donor.colony_forming
    liquid.cells[(donor.donor, "msc")] = Population(viable=msc)
    liquid.cells[(donor.donor, "monocyte")] = Population(viable=volume_mL * nucleated_per_mL - msc)
    return liquid
