"""The two procedures: what the check says of them, and what cells they make in the World.

Method: the recipe that each file writes is looked at, and is played on the World alone
(``play.py``), with the donors of the published runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import pytest

from hw_mocks import scenario
from hw_mocks.world import Donor, random_donor, run_a, run_b
from orchestrator.cli.cells import SHIPPED, Offers, load
from orchestrator.kernel.acts import Contact
from orchestrator.kernel.quantities import Duration, hour, minute
from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Node, Operation, Recipe, Step, children
from tests.unit.protocols.play import PROTOCOLS, Played, play, written

CAR_T: Final = "car_t_twelve_day.py"
MSC: Final = "msc_adherent.py"
SHORT_LEASES: Final = (
    "transfer_station",
    "arm",
    "centrifuge",
    "cell_counter",
    "freezer",
    "bench",
)
BEFORE_HARVEST: Final = "sample before harvest"
AFTER_WASHING: Final = "sample of the concentrate"

both = pytest.mark.parametrize("name", [CAR_T, MSC])


def recipe_of(name: str) -> Recipe:
    recipe = written(name).recipe
    assert recipe is not None
    return recipe


def operations(recipe: Recipe) -> Iterator[tuple[str, Operation]]:
    for path, node in recipe.nodes.items():
        if isinstance(node, Operation):
            yield path, node


def steps_of(path: str, node: Node) -> Iterator[Step]:
    if isinstance(node, Step):
        yield node
    for below, child in children(path, node):
        yield from steps_of(below, child)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (CAR_T, ["'Cells in DMSO'"]),
        (MSC, ["'Enzyme on cells, passage 1'", "'Enzyme on cells, passage 2'", "'Cells in DMSO'"]),
    ],
)
def test_the_reference_cell_can_run_it_and_only_early_alarms_are_asked_about(
    name: str, asked: list[str]
) -> None:
    checked = check_file(PROTOCOLS / name, Offers(load(SHIPPED / "reference.toml").config))
    assert not checked.is_refused
    assert [(found.rule, found.severity) for found in checked.findings] == [("H070", "ask")] * len(
        asked
    )
    told = " ".join(found.text for found in checked.findings)
    assert all(one in told for one in asked)
    assert "(H070)" in (PROTOCOLS / name).read_text(encoding="utf-8")


@both
def test_every_limit_says_who_set_it(name: str) -> None:
    recipe = recipe_of(name)
    assert len(recipe.lags) >= 10
    assert all(lag.source for lag in recipe.lags)


@both
def test_nobody_else_waits_while_cells_grow(name: str) -> None:
    """Operations that hold what others need incubate for no longer than enzyme acts."""
    recipe = recipe_of(name)
    kinds = {role.name: role.kind for role in recipe.equipment}
    for path, operation in operations(recipe):
        steps = list(steps_of(path, operation))
        used = {kinds[unit] for step in steps for unit, _ in step.phase.claims().needs}
        waits = [getattr(step.phase, "duration", Duration.of_base(0)) for step in steps]
        if used & set(SHORT_LEASES):
            assert max(waits) <= 15 * minute, path
        else:
            assert used <= {"incubator", "bench"}, path


@both
def test_a_kit_never_stays_where_the_next_one_must_stand(name: str) -> None:
    """Each operation that docks a kit takes it away again."""
    recipe = recipe_of(name)
    for path, operation in operations(recipe):
        docked = ""
        for step in steps_of(path, operation):
            phase: Any = step.phase
            kind = phase.kind.partition("/")[0]
            if kind == "install_kit" or (kind == "move_container" and phase.to.endswith("station")):
                assert not docked, path
                docked = phase.kit if kind == "install_kit" else phase.container
            elif docked and docked in leaving(phase):
                docked = ""
        assert not docked, path


def leaving(phase: Any) -> tuple[str, ...]:
    """Return what a phase takes away from the station."""
    if phase.kind == "load/1":
        return phase.containers
    return (phase.container,) if phase.kind == "move_container/1" else ()


@both
def test_no_port_is_used_until_its_tube_is_too_short(name: str) -> None:
    """A weld and a seal cost 50 mm of a port's 400 mm."""
    joints: Counter[tuple[str, str]] = Counter()
    for _, step in recipe_of(name).steps():
        for touch in step.phase.claims().touches:
            if touch.how is Contact.JOINS:
                phase: Any = step.phase
                joints[phase.kit, phase.port] += 1
    assert max(joints.values()) <= 8


@both
def test_a_feed_at_night_needs_one_visit_within_its_time(name: str) -> None:
    """Each visit during culture is one operation, is due by an alarm, and takes under two hours."""
    recipe = recipe_of(name)
    due = {lag.to_event.path for lag in recipe.lags if lag.to_event.edge == "start"}
    visits = [
        path
        for path, operation in operations(recipe)
        if any(step.phase.kind == "feed/1" for step in steps_of(path, operation))
        and "/chamber-at" in path
        and "pass-the-cells" not in path
    ]
    assert len(visits) >= 7
    assert set(visits) <= due


@pytest.mark.parametrize(
    ("donor", "seeded", "fold", "engineered"),
    [(run_a("A"), 84e6, 68.3, 4.5e9), (run_b("B"), 91e6, 71.4, 3.6e9)],
    ids=["run A", "run B"],
)
def test_the_counter_reads_the_published_runs_before_harvest(
    donor: Donor, seeded: float, fold: float, engineered: float
) -> None:
    played = car_t(donor, seeded)
    counted = played.counted_cells[BEFORE_HARVEST]
    share = played.counts[BEFORE_HARVEST].car_share
    assert counted / seeded == pytest.approx(fold, rel=0.1)
    assert counted * share == pytest.approx(engineered, rel=0.1)


def car_t(donor: Donor, seeded: float = 84e6, **others: Any) -> Played:
    ordered = {"cells to seed": f"{seeded / 1e6:g}e6 cells", "titer of the vector": "22e6 units/mL"}
    return play(written(CAR_T), donor=donor, ordered=ordered, **others)


@cache
def marrow() -> Played:
    """Return the second procedure as it is written, played; only looked at."""
    return play(written(MSC), donor=Donor("M"))


@cache
def run_a_as_written() -> Played:
    """Return the first procedure as it is written, played; only looked at."""
    return car_t(run_a("A"))


def test_the_bags_hold_the_harvest_times_its_recoveries() -> None:
    """Two spins lose about 2 %; DMSO and frost about 10 %; 22 % stay for quality control."""
    played = run_a_as_written()
    counted = played.counted_cells[BEFORE_HARVEST]
    washed = played.counted_cells[AFTER_WASHING]
    bags = ("first reserve bag", "dose bag", "second reserve bag")
    frozen = sum(played.viable_in(bag) for bag in bags)
    filled = sum(played.lab.world.contents(played.id(bag)).volume_mL - 1.0 for bag in bags)
    whole = filled + played.lab.world.contents(played.id("culture bag")).volume_mL
    assert washed / counted == pytest.approx(0.98, abs=0.05)
    assert filled / whole == pytest.approx(0.78, abs=0.05)
    assert frozen == pytest.approx(counted * 0.98 * 0.78 * 0.92, rel=0.08)
    assert played.lab.world.temperature_of(played.id("dose bag")) < -80.0


def test_the_dose_bag_holds_what_was_ordered_and_no_more() -> None:
    played = car_t(run_a("A"))
    ordered = 70 * 5.5e6
    thawed = played.lab.world.contents(played.id("dose bag"))
    before_frost = thawed.viable + thawed.dead
    assert 0.85 * ordered < before_frost < 1.05 * ordered


def test_without_vector_no_cell_is_engineered() -> None:
    def skip(phase: Any) -> bool:
        return phase.kind == "transduce/1"

    played = car_t(run_a("A"), skip=skip)
    assert played.counts[BEFORE_HARVEST].car_share == 0.0


def test_without_activation_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    without = scenario.REAGENTS["t-cell-medium"]
    monkeypatch.setitem(cast("dict[str, Any]", scenario.REAGENTS), "activation-reagent", without)
    played = car_t(run_a("A"))
    assert played.counted_cells[BEFORE_HARVEST] < 84e6


def test_feeds_that_are_left_out_cost_a_third() -> None:
    """From day 5 on nothing is fed and nothing drawn off."""
    fed = tuple(f"medium for day {day}" for day in (5, 7, 8, 9, 10, 11))

    def skip(phase: Any) -> bool:
        exchanged = phase.kind == "concentrate/1" and str(phase.draw) == "900 mL"
        return exchanged or (phase.kind == "feed/1" and phase.medium in fed)

    fewer = car_t(run_a("A"), skip=skip).counted_cells
    assert fewer[BEFORE_HARVEST] < 0.7 * run_a_as_written().counted_cells[BEFORE_HARVEST]


@pytest.mark.parametrize("seed", range(3))
def test_marrow_gives_the_published_harvest_in_about_21_days(seed: int) -> None:
    played = play(written(MSC), donor=Donor("M"), seed=seed + 1)
    assert played.counted_cells[AFTER_WASHING] == pytest.approx(6.6e8, rel=0.25)
    days = played.lab.clock() / 86_400
    assert 20.5 < days < 22.0
    dose = played.lab.world.contents(played.id("first dose bag"))
    assert dose.viable + dose.dead == pytest.approx(1e8, rel=0.3)


@pytest.mark.parametrize("left_out", ["medium for day 6", "medium for day 9", "medium for day 18"])
def test_one_exchange_left_out_costs_cells(left_out: str) -> None:
    def skip(phase: Any) -> bool:
        return phase.kind == "feed/1" and phase.medium == left_out

    whole = marrow().counted_cells[AFTER_WASHING]
    fewer = play(written(MSC), donor=Donor("M"), skip=skip).counted_cells[AFTER_WASHING]
    assert fewer < whole


def test_the_grader_decides_when_cells_are_passed_on() -> None:
    """A marrow with few MSC is looked at on more days before it is passed on."""
    few = play(written(MSC), donor=Donor("M", colony_forming=0.5))
    assert few.lab.clock() - marrow().lab.clock() > (20 * hour).base / 1000


@pytest.mark.parametrize("seed", range(5))
def test_any_donor_comes_to_the_end(seed: int) -> None:
    played = car_t(random_donor("D", seed), seeded=90e6)
    assert played.viable_in("first reserve bag") > 5e8


def test_the_library_says_where_it_is_used() -> None:
    used = {path.stem for path in (PROTOCOLS / "library").glob("*.py")} - {"__init__"}
    texts = "".join(Path(PROTOCOLS / name).read_text(encoding="utf-8") for name in (CAR_T, MSC))
    assert all(f"protocols.library.{one} import" in texts for one in used)
