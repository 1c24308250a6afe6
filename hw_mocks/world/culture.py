"""How cells live in a liquid: one set of rates for every container, recipe and temperature.

The state is the mixture itself. Growth of T cells needs activation, cytokine, glucose and warmth,
and is slowed by lactate, a second inhibitor and the crowding of the settled layer; cells that grow
on a surface need it, and stop when it is full. Vector binds to activated cells, decays, and leaves
copies that are spread over the cells more widely than by chance alone. What a step costs does not
depend on what is looked at.

Integration: one exponential midpoint step for each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from hw_mocks.world import parameters as p
from hw_mocks.world.donors import Donor
from hw_mocks.world.mixture import T_CELLS, Mixture, Population


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a culture feels of its vessel and chamber during one step."""

    temperature_degC: float
    co2_percent: float | None  # None where no gas is exchanged
    area_cm2: float
    perfused: bool


def warmth(temperature_degC: float) -> float:
    """Return the growth rate at a temperature, relative to the best one (Rosso's cardinal form)."""
    low, best, high = p.GROWTH_COLDEST, p.GROWTH_BEST, p.GROWTH_HOTTEST
    if not low < temperature_degC < high:
        return 0.0
    above, t = temperature_degC - low, temperature_degC
    bottom = (best - low) * ((best - low) * (t - best) - (best - high) * (best + low - 2.0 * t))
    return max((t - high) * above * above / bottom, 0.0)


def car_share(copies_per_cell: float) -> float:
    """Return the share of cells with at least one copy (negative binomial)."""
    k = p.COPY_DISPERSION
    return 1.0 - (1.0 + copies_per_cell / k) ** -k


@dataclass(slots=True)
class _Rates:
    """Rates per hour that hold for all cells of a mixture at one moment."""

    t_growth: float
    msc_growth: float
    death: float
    activation: float
    activity: float
    binding: float


def _rates(
    mixture: Mixture, now: Surroundings, viable: float, attached: float, warm: float
) -> _Rates:
    volume_mL = mixture.volume_mL
    solutes = mixture.solutes
    per_litre = 1000.0 / volume_mL
    if now.perfused:
        glucose, lactate, inhibitor = float(p.MEDIUM_GLUCOSE), 0.0, 0.0
        cytokine = float(p.MEDIUM_CYTOKINE)
        crowding = 1.0
    else:
        glucose = solutes.get("glucose_mmol", 0.0) * per_litre
        lactate = solutes.get("lactate_mmol", 0.0) * per_litre
        inhibitor = solutes.get("inhibitor_mmol", 0.0) * per_litre
        cytokine = solutes.get("cytokine_ng", 0.0) / volume_mL
        crowding = p.STILL_GROWTH / (1.0 + (viable - attached) / volume_mL / p.CROWDED_DENSITY)
    fed = (
        glucose
        / (p.GLUCOSE_HALF + glucose)
        * p.LACTATE_HALF
        / (p.LACTATE_HALF + lactate)
        * p.INHIBITOR_HALF
        / (p.INHIBITOR_HALF + inhibitor)
    )
    gassed = 1.0
    if now.co2_percent is not None:
        gassed = exp(-(((now.co2_percent - 5.0) / p.CO2_WIDTH) ** 2))
    activity = warm * fed * gassed
    products = lactate / (p.LACTATE_DEATH_HALF + lactate)
    products += inhibitor / (p.INHIBITOR_DEATH_HALF + inhibitor)
    temperature = now.temperature_degC
    if temperature < 25.0:
        death = float(p.COLD_DEATH)
    else:
        death = p.DEATH + p.DEATH_BY_PRODUCTS * products * products
        death += p.DEATH_STARVED * p.STARVED_HALF / (p.STARVED_HALF + glucose)
        death += p.HEAT_DEATH * max(temperature - 39.0, 0.0)
    dmso = solutes.get("dmso_mL", 0.0) / volume_mL
    if dmso > 0.0:
        death += p.DMSO_DEATH * (dmso / 0.10) ** 2 * p.UPKEEP_Q10 ** ((temperature - 22.0) / 10.0)
    contact = 0.0
    if now.area_cm2 > 0.0:
        covered = attached / (now.area_cm2 * p.MSC_SATURATION)
        contact = max(1.0 - covered**p.MSC_CONTACT_POWER, 0.0)
    factor = cytokine / (p.MSC_FACTOR_HALF + cytokine)
    dose = solutes.get("activator_uL", 0.0) / (viable / 1.0e7) if viable > 0.0 else 0.0
    return _Rates(
        t_growth=p.T_GROWTH_MAX * activity * crowding * cytokine / (p.CYTOKINE_HALF + cytokine),
        msc_growth=p.MSC_GROWTH_MAX * activity * contact * factor,
        death=death,
        activation=p.ACTIVATION_RATE * warm * dose / (p.ACTIVATOR_HALF_DOSE + dose),
        activity=activity,
        binding=p.VECTOR_BINDING * warm / volume_mL,
    )


def advance(mixture: Mixture, now: Surroundings, hours: float, donors: Mapping[str, Donor]) -> None:
    """Let ``mixture`` live for ``hours`` in unchanged surroundings."""
    if mixture.volume_mL <= 0.0:
        return
    cells, solutes = mixture.cells, mixture.solutes
    temperature = now.temperature_degC
    warm = warmth(temperature)
    upkeep_speed = p.UPKEEP_Q10 ** ((min(temperature, 41.0) - 37.0) / 10.0)

    viable = mixture.viable()
    attached = sum(population.attached for population in cells.values())
    before = _rates(mixture, now, viable, attached, warm)

    # Midpoint: what the cells and the liquid will be half-way, at the rates of the beginning.
    half = 0.5 * hours
    middle_viable = middle_attached = grown_half = upkeep_half = 0.0
    for (donor, phenotype), population in cells.items():
        growth, death = _net(population, phenotype, before, donors[donor])
        middle = population.viable * exp((growth - death) * half)
        middle_viable += middle
        if population.viable > 0.0:
            middle_attached += population.attached * middle / population.viable
        grown_half += population.viable * growth * half
        upkeep_half += population.viable * half * _upkeep(phenotype)
    halfway = Mixture(mixture.volume_mL, mixture.mass_g, dict(solutes))
    _use(halfway.solutes, grown_half, upkeep_half * upkeep_speed, now.perfused)
    rates = _rates(halfway, now, middle_viable, middle_attached, warm)

    enzyme = solutes.get("enzyme_units", 0.0) / mixture.volume_mL
    activated = sum(population.activated for population in cells.values())
    vector = solutes.get("vector_tu", 0.0)
    bound = 0.0
    if vector > 0.0:
        bind = rates.binding * activated
        lost = p.VECTOR_DECAY * upkeep_speed
        gone = vector * (1.0 - exp(-(bind + lost) * hours))
        bound = gone * bind / (bind + lost)
        solutes["vector_tu"] = vector - gone

    grown = upkeep = 0.0
    for (donor, phenotype), population in cells.items():
        person = donors[donor]
        growth, death = _net(population, phenotype, rates, person)
        if enzyme > 0.0 and phenotype == "msc":
            death += (
                p.ENZYME_DEATH
                * enzyme
                * upkeep_speed
                * population.suspended()
                / max(population.viable, 1.0)
            )
        factor = exp((growth - death) * hours)
        mean = population.viable * (factor + 1.0) * 0.5
        if phenotype in T_CELLS:
            _activate(population, rates, hours)
            if bound > 0.0 and activated > 0.0:
                _transduce(population, bound, activated, person)
        died = mean * death * hours
        population.viable *= factor
        population.activated *= factor
        population.car *= factor
        population.copies *= factor
        population.attached *= factor
        population.dead = (population.dead + died) * exp(-p.LYSIS * upkeep_speed * hours)
        if phenotype == "msc":
            _attach(population, now, rates, enzyme * upkeep_speed, hours)
        grown += mean * growth * hours
        upkeep += mean * hours * _upkeep(phenotype)
    _use(solutes, grown, upkeep * upkeep_speed, now.perfused)
    if enzyme > 0.0:
        in_medium = mixture.materials.get("medium", 0.0) / mixture.volume_mL
        solutes["enzyme_units"] *= exp(-p.ENZYME_NEUTRALISED * in_medium * hours)
    if "cytokine_ng" in solutes and not now.perfused:
        solutes["cytokine_ng"] *= exp(-p.CYTOKINE_LOSS * upkeep_speed * hours)
    if now.perfused:
        volume_litres = mixture.volume_mL / 1000.0
        solutes["glucose_mmol"] = p.MEDIUM_GLUCOSE * volume_litres
        solutes["cytokine_ng"] = p.MEDIUM_CYTOKINE * mixture.volume_mL
        solutes["lactate_mmol"] = solutes["inhibitor_mmol"] = 0.0


def _net(
    population: Population, phenotype: str, rates: _Rates, donor: Donor
) -> tuple[float, float]:
    """Return growth and death of one population, per hour."""
    if population.viable <= 0.0:
        return 0.0, 0.0
    if phenotype in T_CELLS:
        growth = donor.growth * rates.t_growth * population.activated / population.viable
        return growth, rates.death
    if phenotype == "msc":
        return rates.msc_growth * population.activated / population.viable, rates.death
    return 0.0, rates.death + p.OTHERS_DEATH * min(rates.activity, 1.0)


def _upkeep(phenotype: str) -> float:
    return p.MSC_GLUCOSE_UPKEEP if phenotype == "msc" else p.GLUCOSE_UPKEEP


def _use(solutes: dict[str, float], grown: float, upkeep_mmol: float, perfused: bool) -> None:
    """Take glucose, give lactate and inhibitor, for cells grown and cells kept."""
    if perfused:
        return
    held = solutes.get("glucose_mmol", 0.0)
    used = min(grown / p.CELLS_PER_GLUCOSE + upkeep_mmol, held)
    if used > 0.0:
        solutes["glucose_mmol"] = held - used
        made = used * p.LACTATE_PER_GLUCOSE
        solutes["lactate_mmol"] = solutes.get("lactate_mmol", 0.0) + made
    if grown > 0.0:
        made = grown * p.INHIBITOR_PER_CELL
        solutes["inhibitor_mmol"] = solutes.get("inhibitor_mmol", 0.0) + made


def _activate(population: Population, rates: _Rates, hours: float) -> None:
    """Let resting cells enter the cycle, and cycling ones return to rest."""
    if population.viable <= 0.0:
        return
    turnover = rates.activation + p.REST_RATE
    settled = rates.activation / turnover
    share = population.activated / population.viable
    share = settled + (share - settled) * exp(-turnover * hours)
    population.activated = population.viable * share


def _transduce(population: Population, bound: float, activated: float, donor: Donor) -> None:
    """Give this population its part of the bound vector, as copies and as CAR+ cells."""
    if population.viable <= 0.0:
        return
    share = population.activated / activated
    before = population.copies / population.viable
    population.copies += bound * share * p.COPIES_PER_BOUND * donor.transducibility
    after = population.copies / population.viable
    negative_before, negative_after = 1.0 - car_share(before), 1.0 - car_share(after)
    negative = population.viable - population.car
    population.car = population.viable - negative * negative_after / negative_before


def _attach(
    population: Population, now: Surroundings, rates: _Rates, enzyme: float, hours: float
) -> None:
    """Move cells between swimming and growing on the surface."""
    if population.viable <= 0.0:
        return
    if now.area_cm2 <= 0.0:
        population.attached = population.activated = 0.0
        return
    on = p.MSC_ATTACHMENT * min(rates.activity, 1.0) if enzyme <= 0.01 else 0.0
    off = p.ENZYME_RATE * enzyme
    if on + off > 0.0:
        settled = on / (on + off)
        share = population.attached / population.viable
        share = settled + (share - settled) * exp(-(on + off) * hours)
        population.attached = population.viable * share
    # Cells on the surface enter the cycle with a lag; cells torn off leave it.
    cycling = min(population.activated, population.attached)
    entering = (population.attached - cycling) * (1.0 - exp(-p.MSC_SETTLING * hours))
    population.activated = cycling + entering
