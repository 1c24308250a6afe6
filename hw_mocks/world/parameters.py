"""Every number of the World's physics, each with its unit and where it comes from.

Three kinds of source: a published table (DOI, or a mark ``S..``), ``fitted
to`` a published figure, or ``set``: chosen for this room because nothing sourced was found, which a
site would replace. No parameter names a day, a yield or a recipe.

Tables used: T cells, doi 10.1186/s13036-019-0167-2, table 1; Monod constants (of CHO cells, taken
over for want of a T-cell set), doi 10.3390/bioengineering5010025, table 2; vector stability, doi
10.1038/s41434-020-00193-y. What the marks stand for: ``docs/explanation/world.md``.
"""

from __future__ import annotations

from typing import Final


class Parameter(float):
    """A number that knows its unit and its source."""

    unit: str
    source: str

    def __new__(cls, value: float, unit: str, source: str) -> Parameter:
        """Return ``value`` as a float that carries ``unit`` and ``source``."""
        new = super().__new__(cls, value)
        new.unit = unit
        new.source = source
        return new

    def __reduce__(self) -> tuple[type[Parameter], tuple[float, str, str]]:
        """Return how to make it again, so that copies and pickles keep unit and source."""
        return Parameter, (float(self), self.unit, self.source)


_T = "doi 10.1186/s13036-019-0167-2, table 1"
_CHO = "doi 10.3390/bioengineering5010025, table 2"

# Growth of T cells
T_GROWTH_MAX: Final = Parameter(0.046, "1/h", f"{_T}, row Bioreactor, mu 0.046")
ACTIVATION_RATE: Final = Parameter(0.06, "1/h", "fitted to S114 (> 500-fold in 8 to 9 d)")
ACTIVATOR_HALF_DOSE: Final = Parameter(
    4.0, "uL/1e7 cells", "set; well below the 17.5 uL/1e7 cells that S8 gives"
)
REST_RATE: Final = Parameter(
    0.0012, "1/h", f"fitted to S4 A and S114; {_T}, rows seed, show that it is not 0"
)
CYTOKINE_HALF: Final = Parameter(1.5, "ng/mL", "set; below the 12.5 ng/mL of S2, S8")
CYTOKINE_LOSS: Final = Parameter(0.008, "1/h", "set")
STILL_GROWTH: Final = Parameter(
    0.67, "1", "fitted to S4 A, B (still) against S114 (perfused): growth in the settled layer"
)
CROWDED_DENSITY: Final = Parameter(
    6.0e6, "cells/mL", f"set between the VCDmax of {_T} (1.9e6 to 8.3e6); halves still growth"
)
OTHERS_DEATH: Final = Parameter(
    0.012, "1/h", "set: cells other than T and MSC die out in this medium"
)

# Substrate, inhibitor, death
GLUCOSE_HALF: Final = Parameter(1.00, "mM", f"{_CHO}, K_glc")
LACTATE_HALF: Final = Parameter(43.0, "mM", f"{_CHO}, KI_lac")
INHIBITOR_HALF: Final = Parameter(6.51, "mM", f"{_CHO}, KI_amm")
LACTATE_DEATH_HALF: Final = Parameter(45.8, "mM", f"{_CHO}, KD_lac")
INHIBITOR_DEATH_HALF: Final = Parameter(6.51, "mM", f"{_CHO}, KD_amm")
CELLS_PER_GLUCOSE: Final = Parameter(0.357e9, "cells/mmol", f"{_CHO}, Y_X_glc")
LACTATE_PER_GLUCOSE: Final = Parameter(0.70, "mmol/mmol", f"{_CHO}, Y_lac_glc")
INHIBITOR_PER_CELL: Final = Parameter(0.67 / 0.974e9, "mmol/cell", f"{_CHO}, Y_amm_gln / Y_X_gln")
GLUCOSE_UPKEEP: Final = Parameter(69.2e-12, "mmol/cell/h", f"{_CHO}, m_glc")
DEATH: Final = Parameter(0.0006, "1/h", "fitted to S113 (viability 98 % at the end)")
DEATH_BY_PRODUCTS: Final = Parameter(0.004, "1/h", f"{_CHO}, k_d")
DEATH_STARVED: Final = Parameter(0.02, "1/h", "set: at no glucose")
STARVED_HALF: Final = Parameter(0.15, "mM", "set")
LYSIS: Final = Parameter(0.03, "1/h", "fitted to S113 (viability 98 % at the end)")

# Temperature and gas
GROWTH_COLDEST: Final = Parameter(30.0, "degC", "set; cardinal temperatures of the Rosso form")
GROWTH_BEST: Final = Parameter(37.0, "degC", "set: the usual set point, S8")
GROWTH_HOTTEST: Final = Parameter(41.5, "degC", "set")
UPKEEP_Q10: Final = Parameter(2.5, "1", "set")
HEAT_DEATH: Final = Parameter(0.05, "1/h per K above 39 degC", "set")
CO2_WIDTH: Final = Parameter(4.0, "% CO2", "set: width of growth around 5 % (S8)")
COLD_DEATH: Final = Parameter(0.0008, "1/h", "set: unfed cells, 2 to 25 degC; 72 h in S104")

# Vector
VECTOR_DECAY: Final = Parameter(
    0.0198, "1/h", "doi 10.1038/s41434-020-00193-y: half-life 35 h, VSV-G, in medium at 37 degC"
)
VECTOR_BINDING: Final = Parameter(
    3.0e-8, "mL/cell/h", "set; only its product with the next one shows"
)
COPIES_PER_BOUND: Final = Parameter(
    0.80, "copies/unit", "fitted to S5 (CAR+ 34 to 61 %) at MOI 5 (S2) for the typical donor"
)
COPY_DISPERSION: Final = Parameter(
    0.5, "1", "fitted to S113: copies per CAR+ cell 1.45, 2.32, 2.51 at 26.0, 41.9, 39.7 % CAR+"
)

# Adherent cells
MSC_GROWTH_MAX: Final = Parameter(0.0389, "1/h", "fitted to S38 (6.6e8 after 21 d from 25 mL)")
MSC_SATURATION: Final = Parameter(
    4.0e4, "cells/cm2", "set: 6.6e8 (S38) on 2.1 m2 is 3.1e4 cells/cm2"
)
MSC_CONTACT_POWER: Final = Parameter(4.0, "1", "set: shape of contact inhibition")
MSC_ATTACHMENT: Final = Parameter(0.12, "1/h", "set")
MSC_SETTLING: Final = Parameter(0.03, "1/h", "set: from plating into cycle")
MSC_DEATH: Final = Parameter(0.0008, "1/h", "fitted to S17 (viability > 90 %)")
MSC_GLUCOSE_UPKEEP: Final = Parameter(2.2e-10, "mmol/cell/h", "fitted to S38 with its exchanges")
MSC_PER_MARROW: Final = Parameter(
    2500.0, "cells/mL", "fitted to S38: colony-forming cells in marrow of the typical donor"
)
ENZYME_RATE: Final = Parameter(40.0, "1/h", "set: at 1 unit/mL and 37 degC")
ENZYME_DEATH: Final = Parameter(0.35, "1/h", "set: at 1 unit/mL and 37 degC, cells detached")

ENZYME_NEUTRALISED: Final = Parameter(60.0, "1/h", "set: in pure medium, by its inhibitors")
MSC_FACTOR_HALF: Final = Parameter(5.0, "ng/mL", "set: growth factor of the medium")

# Drawing, spinning, selecting
SUPERNATANT_CELLS: Final = Parameter(
    0.01, "1", "fitted to S36: recovery of a wash, after standard parameters 86 % or more"
)
PELLET_HEEL: Final = Parameter(8.0, "mL", "set: below this the pellet itself is drawn")
PELLETING: Final = Parameter(30_000.0, "g s", "set: e-fold of the cells still swimming")
RECOVERY_OF_SELECTION: Final = Parameter(0.55, "1", "S2: 55 +- 6 %")
RECOVERY_SPREAD: Final = Parameter(0.06, "1", "S2: 55 +- 6 %")
PURITY_LOWEST: Final = Parameter(0.98, "1", "S2: purity >= ~98 %")

# Cold
COOLING_BEST: Final = Parameter(1.0, "K/min", "S94: no harm at or below 1 K/min")
COOLING_HARM: Final = Parameter(0.22, "1", "fitted to S94: loss for each e-fold above 1 K/min")
COOLING_SLOWEST: Final = Parameter(0.15, "K/min", "set: slower than this dehydrates")
SURVIVAL_FROZEN: Final = Parameter(0.95, "1", "set, in the range of S100 (98.8 % viable)")
SURVIVAL_UNPROTECTED: Final = Parameter(0.03, "1", "set: frozen with no DMSO")
DMSO_FULL: Final = Parameter(0.05, "mL/mL", "S93: 7.5 to 12.5 %; S8: CS5 (5 %) or more protects")
DMSO_DEATH: Final = Parameter(
    0.06, "1/h at 10 % and 22 degC", "site-set: no sourced value for T cells (S104, S107, S108)"
)

# Things
DENSITY_WATERY: Final = Parameter(1.00, "g/mL", "set: medium and buffer, so that mL read as g")
DENSITY_DMSO: Final = Parameter(1.10, "g/mL", "handbook value of pure DMSO")
MEDIUM_GLUCOSE: Final = Parameter(25.0, "mM", "4.5 g/L, as in IMDM")
MSC_MEDIUM_GLUCOSE: Final = Parameter(5.6, "mM", "1 g/L, as in low-glucose DMEM")
MEDIUM_CYTOKINE: Final = Parameter(25.0, "ng/mL", "S2, S8: IL-7 12.5 and IL-15 12.5 ng/mL")
COUNT_SPREAD: Final = Parameter(0.02, "1", "set: relative, of one count, beside counting noise")
COUNTED_SHARE_UL: Final = Parameter(0.4, "uL", "set: what a counting chamber sees of the sample")
