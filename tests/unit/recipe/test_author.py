"""The author's words: each verb writes its step, and mistakes are findings with a line.

Every kind of phase that exists has a verb here that writes it, so a kind whose parameters
change without the verb fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from orchestrator.kernel.identifiers import PhasePath
from orchestrator.kernel.quantities import (
    L,
    between,
    day,
    degC,
    degC_per_min,
    hour,
    kg,
    million_cells,
    million_per_mL,
    minute,
    mL,
    mL_per_min,
    percent,
    x_g,
)
from orchestrator.phases.phase import PhaseModel
from orchestrator.recipe.author import (
    Arm,
    Bench,
    CellCounter,
    Centrifuge,
    Choice,
    Container,
    Dewar,
    Freezer,
    Hold,
    Incubator,
    KitInUse,
    Part,
    TransferStation,
    Writer,
    Written,
    procedure,
    volume_holding,
)
from orchestrator.recipe.model import Parallel, Recipe, RepeatUntil, When, load_phase_kinds

load_phase_kinds()

FLOW: Final = 20 * mL_per_min


class Lab:
    """A writer with one of everything declared, and everything joined."""

    def __init__(self, p: Writer) -> None:
        self.p = p
        self.cells: Container = p.patient_material("cells", volume=between(100 * mL, 200 * mL))
        self.medium = p.reagent("medium", volume=900 * mL, in_use=7 * day)
        self.enzyme = p.reagent("enzyme", volume=100 * mL, in_use=1 * day)
        self.bag = p.empty_bag("bag", catalogue="bag", capacity=50 * mL)
        self.tube = p.tube("day 5 sample")
        self.kit: KitInUse = p.kit(
            "kit", vessel="vessel", capacity=1 * L, flush_volume=1 * L, waste_capacity=2 * L
        )
        self.station: TransferStation = p.equipment("station", "transfer_station")
        self.incubator: Incubator = p.equipment("incubator", "incubator")
        self.counter: CellCounter = p.equipment("counter", "cell_counter")
        self.arm: Arm = p.equipment("arm", "arm")
        self.centrifuge: Centrifuge = p.equipment("centrifuge", "centrifuge")
        self.freezer: Freezer = p.equipment("freezer", "freezer")
        self.bench: Bench = p.equipment("bench", "bench")
        self.dewar: Dewar = p.equipment("dewar", "dewar")
        for number, one in enumerate((self.cells, self.medium, self.enzyme, self.bag), start=1):
            p.join(one, self.kit, f"p{number}")


def count(lab: Lab) -> Part:
    return lab.counter.count(
        lab.kit.vessel,
        tube=lab.tube,
        at=lab.station,
        sample_volume=1 * mL,
        expect=between(1 * million_per_mL, 20 * million_per_mL),
        viability_at_least=80 * percent,
    )


VERBS: Final[dict[str, Callable[[Lab], Part]]] = {
    "receive": lambda lab: lab.bench.receive(lab.cells, volume=between(100 * mL, 200 * mL)),
    "verify_identity": lambda lab: lab.p.verify_identity(lab.cells, at=lab.station),
    "install_kit": lambda lab: lab.station.install_kit(lab.kit),
    "connect": lambda lab: lab.station.connect(
        lab.cells, to=lab.kit, port="p1", by="sterile_weld", flow=FLOW
    ),
    "disconnect": lambda lab: lab.station.disconnect(lab.medium),
    "transfer": lambda lab: lab.station.transfer(
        lab.cells, to=lab.kit.vessel, volume=10 * mL, flow=FLOW
    ),
    "wash": lambda lab: lab.station.wash(
        lab.kit,
        buffer=lab.medium,
        waste=lab.kit.waste,
        cycles=2,
        volume=100 * mL,
        keep=20 * mL,
        flow=FLOW,
        centrifuge=lab.centrifuge,
        arm=lab.arm,
        force=300 * x_g,
        spin=10 * minute,
    ),
    "select_magnetically": lambda lab: lab.bench.select_magnetically(
        lab.cells, to=lab.bag, marker="CD4/CD8", longest=6 * hour
    ),
    "seed_and_activate": lambda lab: lab.station.seed_and_activate(
        lab.kit,
        cells=lab.cells,
        cell_volume=10 * mL,
        medium=lab.medium,
        medium_volume=100 * mL,
        reagent=lab.enzyme,
        reagent_volume=1 * mL,
        flow=FLOW,
    ),
    "transduce": lambda lab: lab.station.transduce(
        lab.kit, vector=lab.enzyme, volume=1 * mL, flow=FLOW
    ),
    "set_climate": lambda lab: lab.incubator.set_climate(
        temperature=37 * degC, carbon_dioxide=5 * percent
    ),
    "incubate": lambda lab: lab.incubator.incubate(lab.kit, duration=2 * day),
    "feed": lambda lab: lab.station.feed(lab.kit, medium=lab.medium, volume=50 * mL, flow=FLOW),
    "sample_and_count": count,
    "mix": lambda lab: lab.station.mix(lab.kit, by="hands", times=10),
    "detach": lambda lab: lab.station.detach(
        lab.kit,
        arm=lab.arm,
        incubator=lab.incubator,
        enzyme=lab.enzyme,
        enzyme_volume=20 * mL,
        contact=between(5 * minute, 15 * minute),
        quench=lab.medium,
        quench_volume=50 * mL,
        waste=lab.kit.waste,
        flow=FLOW,
    ),
    "concentrate": lambda lab: lab.station.concentrate(
        lab.kit,
        arm=lab.arm,
        centrifuge=lab.centrifuge,
        force=300 * x_g,
        spin=10 * minute,
        waste=lab.kit.waste,
        draw=100 * mL,
        keep=40 * mL,
        flow=FLOW,
    ),
    "formulate": lambda lab: lab.station.formulate(
        lab.kit, cryo=lab.enzyme, volume=20 * mL, flow=FLOW
    ),
    "fill_and_seal": lambda lab: lab.station.fill_and_seal(
        lab.kit, source=lab.kit.vessel, bags=(lab.bag,), volume=20 * mL, flow=FLOW
    ),
    "freeze": lambda lab: lab.freezer.freeze(
        lab.bag,
        start=4 * degC,
        segments=((-1 * degC_per_min, -45 * degC), (-10 * degC_per_min, -90 * degC)),
    ),
    "move_container": lambda lab: lab.arm.move(lab.kit, from_=lab.station, to=lab.incubator),
    "precool": lambda lab: lab.freezer.precool(to=4 * degC, rate=10 * degC_per_min),
    "load": lambda lab: lab.freezer.load(lab.bag),
    "store": lambda lab: lab.dewar.store(lab.bag, position="A1"),
    "confirm": lambda lab: lab.p.confirm(
        "Is the harvest clear?",
        choices=(Choice(name="yes", leads_to="go on"),),
        respond_within=1 * hour,
        second_person=True,
    ),
    "grade_confluence": lambda lab: lab.bench.grade_confluence(lab.kit),
}


def writes(body: Callable[[Writer], None]) -> Written:
    return procedure(title="T", document="D", version="1")(body)


def rules(written: Written) -> list[str]:
    return [fault.rule for fault in written.faults]


EXISTING: Final = sorted(
    kind.partition("/")[0]
    for kind, model in PhaseModel.kinds.items()
    if model.__module__.startswith("orchestrator.phases.")
)


@pytest.mark.parametrize("kind", EXISTING)
def test_every_kind_of_phase_has_a_verb_that_writes_it(kind: str) -> None:
    def body(p: Writer) -> None:
        lab = Lab(p)
        with p.operation("Work", longest_hold=2 * hour):
            VERBS[kind](lab)

    written = writes(body)
    assert [fault.text for fault in written.faults] == []
    (_, step), *_ = written.recipe.steps()
    assert step.phase.kind == f"{kind}/1"
    assert step.phase.claims().touches or kind in ("confirm", "set_climate", "precool")
    assert step.phase.sentence().endswith((".", "?"))
    assert Recipe.read(written.recipe.content) == written.recipe


def body_with(work: Callable[[Writer, Lab], None]) -> Callable[[Writer], None]:
    def body(p: Writer) -> None:
        work(p, Lab(p))

    return body


def test_all_control_elements_are_written() -> None:
    def work(p: Writer, lab: Lab) -> None:
        dose = p.ordered("dose", range=between(1 * mL, 9 * mL))
        with p.unit_procedure("Expand"):
            with p.repeat_until("Feed", at_most=5) as turns:
                with p.operation("Feed", longest_hold=1 * hour) as fed:
                    lab.station.transfer(lab.medium, to=lab.kit.vessel, volume=dose, flow=FLOW)
                turns.until(dose, at_least=5 * mL)
            with p.parallel("Meanwhile"):
                for name in ("left", "right"):
                    with p.sequence(name), p.operation("Scan", longest_hold=1 * hour):
                        p.verify_identity(lab.cells, at=lab.station)
            too_little = Hold("too little")
            with (
                p.when(dose, at_least=2 * mL, otherwise=too_little),
                p.operation("Go", longest_hold=1 * hour),
            ):
                p.verify_identity(lab.cells, at=lab.station)
            with p.when(dose, no_more_than=2 * mL) as choice:
                with p.operation("Little", longest_hold=1 * hour):
                    p.verify_identity(lab.cells, at=lab.station)
                with choice.otherwise(), p.operation("Much", longest_hold=1 * hour):
                    p.verify_identity(lab.cells, at=lab.station)
        p.lag(
            "feeds",
            from_=fed.end,
            to=fed.start,
            maximum=3 * day,
            tier="alarm",
            source="set by site",
        )

    written = writes(body_with(work))
    assert written.faults == ()
    assert [path for path, _ in written.recipe.steps()] == [
        "expand/feed/feed/01-transfer",
        "expand/meanwhile[left]/scan/02-verify-identity",
        "expand/meanwhile[right]/scan/03-verify-identity",
        "expand/when[then]/go/04-verify-identity",
        "expand/when-2[then]/little/05-verify-identity",
        "expand/when-2[otherwise]/much/06-verify-identity",
    ]
    nodes = written.recipe.nodes
    assert isinstance(nodes["expand/feed"], RepeatUntil)
    assert isinstance(nodes["expand/meanwhile"], Parallel)
    assert isinstance(nodes["expand/when"], When)
    assert "expand/when[otherwise]/hold" in nodes
    assert set(nodes) <= set(written.places)
    for path in nodes:
        assert PhasePath(path)


def _loop_without_until(p: Writer, lab: Lab) -> None:
    repeated = p.repeat_until("again", at_most=2)
    with p.unit_procedure("A"), repeated, p.operation("B", longest_hold=1 * hour):
        p.verify_identity(lab.cells, at=lab.station)


def _step_outside(p: Writer, lab: Lab) -> None:
    p.verify_identity(lab.cells, at=lab.station)


def _late_declaration(p: Writer, lab: Lab) -> None:
    with p.operation("A", longest_hold=1 * hour):
        p.tube("late")
        p.verify_identity(lab.cells, at=lab.station)


def _nested_operation(p: Writer, lab: Lab) -> None:
    with p.operation("A"), p.operation("B"):
        p.verify_identity(lab.cells, at=lab.station)


def _outside_branches(p: Writer, lab: Lab) -> None:
    with p.unit_procedure("A"), p.parallel(), p.operation("B"):
        p.verify_identity(lab.cells, at=lab.station)


def _twice_named(p: Writer, lab: Lab) -> None:
    del lab
    p.tube("cells")


def _wrong_volume(p: Writer, lab: Lab) -> None:
    wrong: Any = 5 * hour
    with p.operation("A", longest_hold=1 * hour):
        lab.station.transfer(lab.cells, to=lab.kit.vessel, volume=wrong, flow=FLOW)


def _wrong_test(p: Writer, lab: Lab) -> None:
    del lab
    weight: Any = p.ordered("weight", range=between(40 * kg, 120 * kg))
    with p.unit_procedure("A"), p.when(weight, at_least=5 * mL):
        pass


def _calculated_test(p: Writer, lab: Lab) -> None:
    del lab
    density = p.ordered("density", range=between(1 * million_per_mL, 2 * million_per_mL))
    seed = volume_holding(10 * million_cells, at=density, round_down_to=0.1 * mL)
    with p.unit_procedure("A"), p.when(seed, at_least=5 * mL):
        pass


def _lag_named_twice(p: Writer, lab: Lab) -> None:
    for name in ("A", "B"):
        with p.operation(name, longest_hold=1 * hour) as part:
            p.verify_identity(lab.cells, at=lab.station)
        p.lag(
            "same",
            from_=part.start,
            to=part.end,
            maximum=1 * day,
            tier="warn",
            source="set by site",
        )


def _selects_into_a_reagent(p: Writer, lab: Lab) -> None:
    with p.operation("A", longest_hold=1 * hour):
        lab.bench.select_magnetically(lab.cells, to=lab.medium, marker="CD4", longest=6 * hour)


def _unknown_port(p: Writer, lab: Lab) -> None:
    with p.operation("A", longest_hold=1 * hour):
        lab.station.connect(lab.bag, to=lab.kit, port="p9", by="sterile_weld", flow=FLOW)


def _not_connected(p: Writer, lab: Lab) -> None:
    with p.operation("A", longest_hold=1 * hour):
        lab.station.disconnect(lab.cells)
        lab.station.transfer(lab.cells, to=lab.kit.vessel, volume=1 * mL, flow=FLOW)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (_loop_without_until, "P060"),
        (_step_outside, "P060"),
        (_late_declaration, "P060"),
        (_nested_operation, "P060"),
        (_outside_branches, "P060"),
        (_twice_named, "P060"),
        (_wrong_volume, "U010"),
        (_wrong_test, "U010"),
        (_calculated_test, "P060"),
        (_lag_named_twice, "P060"),
        (_selects_into_a_reagent, "P060"),
        (_unknown_port, "C040"),
    ],
)
def test_what_no_recipe_can_hold_is_a_finding(
    work: Callable[[Writer, Lab], None], expected: str
) -> None:
    written = writes(body_with(work))
    assert expected in rules(written)
    assert all(fault.place.file == __file__ for fault in written.faults)


def test_a_selection_gives_the_volume_that_its_bag_was_declared_for() -> None:
    def work(p: Writer, lab: Lab) -> None:
        chosen = p.empty_bag(
            "chosen", catalogue="bag", capacity=80 * mL, filled=between(45 * mL, 55 * mL)
        )
        with p.operation("A", longest_hold=1 * hour):
            lab.bench.load(lab.cells, lab.kit)
            selected = lab.bench.select_magnetically(
                lab.cells, to=chosen, marker="CD4", longest=6 * hour
            )
        assert selected.volume.bounds == between(45 * mL, 55 * mL)

    assert writes(body_with(work)).faults == ()


@pytest.mark.skipif("disconnect" not in EXISTING, reason="needs the kind of phase")
def test_what_was_disconnected_is_not_connected() -> None:
    assert rules(writes(body_with(_not_connected))) == ["C010"]


def test_a_value_has_no_truth_while_it_is_written() -> None:
    def work(p: Writer, lab: Lab) -> None:
        del lab
        dose = p.ordered("dose", range=between(1 * mL, 9 * mL))
        with pytest.raises(TypeError, match=r"write p\.when"):
            bool(dose)

    writes(body_with(work))
