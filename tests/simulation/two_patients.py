"""Two patients' material in one room, and a technician who takes one for the other.

Method: a *contact* is a step of a procedure at which people work, with one thing that the
step's claims say it touches. Each is run apart: the recipe is reduced to that step, to the
joints that it needs, and to the next step in which liquid passes it, so that a case takes
a fraction of a second. Batch 1 runs; everything that batch 2 would use stands about, has
the same names, was received like any material, and holds cells of its own patient, which
so mark every drop of it. The World is the judge: whose cells are in which container and
in which tubing, and who has handled what.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from chain_of_identity.gate import ContainerScan, IdentityGate, ProvenContainer
from devices.interfaces.fluid_transfer import PumpVolume
from hw_mocks.scenario import Arrival, Scenario, scenario_for
from hw_mocks.technicians import Slips
from hw_mocks.world import Donor, World, materials
from hw_mocks.world.world import FLOOR
from orchestrator.engine.engine import Engine
from orchestrator.engine.phase_state import PhaseState
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import Contact, EffectReport, Facts
from orchestrator.kernel.identifiers import BatchId, ContainerId, PhasePath
from orchestrator.kernel.measured import Fixed
from orchestrator.kernel.quantities import Volume, minute, mL
from orchestrator.phases.connect import Connect
from orchestrator.phases.disconnect import Disconnect
from orchestrator.phases.feed import Feed
from orchestrator.phases.fill_and_seal import FillAndSeal
from orchestrator.phases.grade_confluence import GradeConfluence
from orchestrator.phases.install_kit import InstallKit
from orchestrator.phases.load import Load
from orchestrator.phases.phase import PhaseModel
from orchestrator.phases.receive import Receive
from orchestrator.phases.sample_and_count import SampleAndCount
from orchestrator.phases.select_magnetically import SelectMagnetically
from orchestrator.phases.store import Store
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from orchestrator.recipe.check import check_file
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure
from orchestrator.virtual_time import run_in_virtual_time

PROTOCOLS: Final = Path(__file__).parents[2] / "protocols"
CAR_T: Final = "car_t_twelve_day.py"
MSC: Final = "msc_adherent.py"

OURS: Final = BatchId("B-001")
THEIRS: Final = BatchId("B-002")
SEED: Final = 7

TOUCHED: Final = frozenset(
    {
        Contact.JOINS,
        Contact.DRAWS,
        Contact.RECEIVES,
        Contact.MOVES,
        Contact.HOLDS,
        Contact.PARTS,
    }
)

HANDLED: Final = frozenset({Contact.JOINS, Contact.MOVES, Contact.PARTS})
POURED: Final = frozenset({Contact.DRAWS, Contact.RECEIVES})

Slip = Literal[
    "brings",
    "docks",
    "joins",
    "joins to",
    "wrong port, seen",
    "wrong port",
    "wrong port, taken",
    "wrong port, cells in line",
    "mislabels",
    "mislabels, nodded",
    "mislabels, scanned across",
]
"""What goes wrong at a contact.

brings      (a) the other patient's thing of the same name is fetched and scanned
docks       (a) the other patient's kit stands at the station; one that is looked at elsewhere
                is brought there
joins       (b) the right thing is scanned, the other patient's is worked on; one that is to
                be parted from a kit hangs at the other patient's
joins to    (b) the right kit is scanned, the bag is joined to the other patient's
wrong port, seen
            (c) the right bag is joined to another port, and looked for at its own
wrong port  (c) the same, and it is looked for where it hangs: a scan can't tell
wrong port, taken
            (c) the same, and at its own port hangs the other patient's
wrong port, cells in line
            the same where the step before has drawn cells into the kit's tubing
mislabels   (d) the new label is stuck on the other patient's thing, which lies there too
mislabels, nodded
            (d) the same, and the second person reads the known label off ours, the new one off
                theirs
mislabels, scanned across
            (d) the same, and so does who scans the two
"""

CHECKED_AFTER: Final = (
    Connect,
    Disconnect,
    InstallKit,
    Load,
    Receive,
    SampleAndCount,
    SelectMagnetically,
    Store,
)
"""Phases that scan what their hand work left where it was left."""

JOINED_LATER: Final = ("receive", "load", "install_kit")
"""Kinds of phase that come before the joints through which their thing's liquid passes."""

LOOK_EVERY: Final = 5 * minute
WAITED_LONG: Final = 24
"""So many looks, two hours, show that a batch that was stopped doesn't go on by itself."""
LOOKS_MOST: Final = 12 * 12


@dataclass(frozen=True, slots=True)
class Case:
    """One slip at one contact."""

    protocol: str
    path: str
    thing: str
    slip: Slip

    def __str__(self) -> str:
        return f"{self.protocol[:5]} {self.path.rsplit('/', 1)[-1]} {self.thing}: {self.slip}"


@dataclass(slots=True)
class Found:
    """What came of one case, as room and record show it."""

    refused: list[str] = field(default_factory=list[str])
    """Why the gate refused, at the step of the slip."""
    acted_first: list[str] = field(default_factory=list[str])
    """What was done to the thing at the step before the gate's first refusal."""
    presented: bool = False
    """Whether anybody scanned, or docked, the wrong thing: else identity was carried."""
    took_effect: bool = False
    """Whether anything wrong was brought, docked, joined or worked on: else nothing is shown."""
    step_ended: bool = False
    ended: bool = False
    waits: list[str] = field(default_factory=list[str])
    """The block-tier alarms and holds that stand at the end."""
    mixed: list[str] = field(default_factory=list[str])
    """Cells where no cells of that patient belong."""
    handled: list[str] = field(default_factory=list[str])
    """What was done to the other patient's material."""
    told: list[str] = field(default_factory=list[str])
    mislabelled: list[str] = field(default_factory=list[str])
    """Labels of our work that are on the other patient's things."""
    taken_for_ours: list[str] = field(default_factory=list[str])
    """Those of them by which the record knows a container of ours."""
    quarantined: bool = False


@cache
def recipe_of(protocol: str) -> Recipe:
    """Return the recipe that a protocol writes."""
    written = check_file(PROTOCOLS / protocol, None).recipe
    assert written is not None
    return written


def contacts(protocol: str) -> Iterator[tuple[str, Step, str]]:
    """Yield each step at which people work with each thing of the batch that it touches."""
    recipe = recipe_of(protocol)
    inner = {part: kit.name for kit in recipe.kits for part in kit.places}
    for path, step in recipe.steps():
        claims = step.phase.claims()
        if not claims.attended:
            continue
        things = {
            inner.get(one.container, one.container): None
            for one in claims.touches
            if one.how in TOUCHED
        }
        for thing in things:
            yield path, step, thing


def cases(protocol: str) -> Iterator[Case]:
    """Yield every slip that can be made at every contact."""
    kits = {kit.name for kit in recipe_of(protocol).kits}
    for path, step, thing in contacts(protocol):
        joins = any(one.how is Contact.JOINS for one in step.phase.claims().touches)
        moves = any(
            one.how is Contact.MOVES and one.container == thing
            for one in step.phase.claims().touches
        )
        if thing in kits and not moves and not isinstance(step.phase, GradeConfluence):
            yield Case(protocol, path, thing, "docks")
            if joins:
                yield Case(protocol, path, thing, "joins to")
            continue
        yield Case(protocol, path, thing, "brings")
        if _is_handled(step, thing):
            yield Case(protocol, path, thing, "joins")
        if is_labelled(protocol, path, thing):
            yield Case(protocol, path, thing, "mislabels")
            yield Case(protocol, path, thing, "mislabels, nodded")
            yield Case(protocol, path, thing, "mislabels, scanned across")
        if joins:
            yield Case(protocol, path, thing, "wrong port, seen")
            yield Case(protocol, path, thing, "wrong port")
            yield Case(protocol, path, thing, "wrong port, taken")
            if _leaves_cells_in_line(recipe_of(protocol), path):
                yield Case(protocol, path, thing, "wrong port, cells in line")


def _is_handled(step: Step, thing: str) -> bool:
    """Return whether hands do something to a thing: not if only a pump or eyes reach it."""
    return any(
        one.container == thing and (one.how in HANDLED or (one.how in POURED and not one.at_port))
        for one in step.phase.claims().touches
    )


def is_labelled(protocol: str, path: str, thing: str) -> bool:
    """Return whether a step sticks a label on a thing."""
    step = recipe_of(protocol).at(path)
    assert isinstance(step, Step)
    if isinstance(step.phase, FillAndSeal):
        return thing in step.phase.bags
    return isinstance(step.phase, Receive)


def _leaves_cells_in_line(recipe: Recipe, path: str) -> bool:
    """Return whether the last pumping before a step drew from a vessel."""
    drew = False
    for at, step in recipe.steps():
        if at == path:
            break
        drawn = [
            one.at_port
            for one in step.phase.claims().touches
            if one.how is Contact.DRAWS and one.at_port
        ]
        drew = drawn[-1] == "vessel" if drawn else drew
    return drew


# the reduced recipe -----------------------------------------------------------------------


def _at_ports(recipe: Recipe, step: Step) -> Iterator[tuple[str, str]]:
    """Yield each separate container that must hang at a port, with its kit's name."""
    if isinstance(step.phase, Connect):
        return
    inner = {part for kit in recipe.kits for part in kit.places}
    kit = str(getattr(step.phase, "kit", ""))
    for touch in step.phase.claims().touches:
        if touch.at_port and touch.container not in inner:
            yield touch.container, kit
    source = str(getattr(step.phase, "source", ""))
    if step.phase.kind.startswith("sample") and source not in inner:
        yield source, kit


def _passing(recipe: Recipe, path: str, thing: str) -> list[Step]:
    """Return the next step in which cells could pass from or into ``thing``, if there is one."""
    inner = {part: kit.vessel for kit in recipe.kits for part in (*kit.places, kit.name)}
    wanted = inner.get(thing, thing)
    vessels = set(inner.values())
    later = False
    for at, step in recipe.steps():
        touches = step.phase.claims().touches
        drawn = {one.container for one in touches if one.how is Contact.DRAWS}
        filled = {one.container for one in touches if one.how is Contact.RECEIVES}
        passes = wanted in drawn or (wanted in filled and (wanted in vessels or drawn & vessels))
        is_apart = thing != wanted or not step.phase.kind.startswith("sample")
        if later and passes and is_apart and not isinstance(step.phase, Connect):
            return [step]
        later = later or at == path
    return []


def _connects(recipe: Recipe) -> Iterator[tuple[Step, Connect]]:
    for _, step in recipe.steps():
        if isinstance(step.phase, Connect):
            yield step, step.phase


def reduced(protocol: str, path: str, thing: str) -> tuple[Recipe, str, str]:
    """Return the recipe of one contact, the run's path of its step, and of its last step."""
    recipe = recipe_of(protocol)
    step = recipe.at(path)
    assert isinstance(step, Step)
    passing = [] if step.phase.kind.startswith("disconnect") else _passing(recipe, path, thing)
    main = [step]
    before: list[Step] = []
    joined_later = step.phase.kind.startswith(JOINED_LATER)
    for needed in (step, *passing):
        for container, kit in _at_ports(recipe, needed):
            joint = next(
                one
                for one, phase in _connects(recipe)
                if phase.container == container and phase.kit == kit
            )
            if joint not in (*main, *before):
                (main if joined_later else before).append(joint)
    main += passing
    kits = {str(getattr(one.phase, "kit", "")) for one in (*main, *before)}
    kits |= {thing} if step.phase.kind.startswith("load") else set()
    for _, one in recipe.steps():
        if isinstance(one.phase, InstallKit) and one.phase.kit in kits and one not in main:
            before.insert(0, one)
    steps = tuple(_with_plain_amounts(one) for one in (*before, *main))
    used = {touch.container for one in steps for touch in one.phase.claims().touches}
    body = Operation(slug="here", name="Here", body=steps)
    part = Recipe(
        title=f"{recipe.title}: {step.name}",
        document=recipe.document,
        version=recipe.version,
        author=recipe.author,
        materials=tuple(one for one in recipe.materials if one.name in used),
        kits=tuple(one for one in recipe.kits if one.name in kits or one.name in used),
        equipment=recipe.equipment,
        body=(UnitProcedure(slug="part", name="Part", body=(body,)),),
    )
    return Recipe.written(part), f"part/here/{step.slug}", f"part/here/{main[-1].slug}"


def _with_plain_amounts(step: Step) -> Step:
    """Return the step with the least of each amount that other steps would have given."""
    phase: PhaseModel = step.phase
    plain: dict[str, Any] = {}
    for name in type(phase).model_fields:
        bounds = getattr(getattr(phase, name), "bounds", None)
        if bounds is None:
            continue
        try:
            least = Volume.read(bounds.lowest)
        except ValueError:
            continue
        most = Volume.read(bounds.highest)
        plain[name] = Fixed(value=str(min(max(least, 10 * mL), most, 100 * mL)))
    changed = phase.model_copy(update={**plain, "measures": {}})
    return step.model_copy(update={"phase": changed})


# the room ---------------------------------------------------------------------------------


def _filled(scenario: Scenario, recipe: Recipe) -> tuple[Scenario, dict[str, float]]:
    """Return the scenario as it stands in the middle of a procedure, and what to pour in."""
    poured: dict[str, float] = {}
    drawn = {
        touch.container
        for _, step in recipe.steps()
        for touch in step.phase.claims().touches
        if touch.how in (Contact.DRAWS, Contact.MOVES)
    }
    removed_mL = max(
        step.phase.remove.to(mL) if isinstance(step.phase, Feed) else 0.0
        for _, step in recipe.steps()
    )
    arrivals: list[Arrival] = []
    for one in scenario.arrivals:
        changed = one
        if one.what == "kit":
            kit = next(kit for kit in recipe.kits if kit.name == one.name)
            volume = max(min(kit.capacity.to(mL) / 5, 300.0), removed_mL)
            poured[f"{one.container}/vessel"] = volume
            changed = replace(one, volumes=(f"{volume:.0f} mL", *one.volumes[1:]))
        elif one.what == "empty" and one.name in drawn:
            volume = min(Volume.read(one.capacity).to(mL) / 2, 150.0)
            poured[one.container] = volume
            changed = replace(one, volume=f"{volume:.0f} mL")
        arrivals.append(changed)
    return replace(scenario, arrivals=tuple(arrivals)), poured


def _pour(world: World, donor: Donor, container: str, volume_mL: float) -> None:
    held = world.settle(container)
    room_mL = held.capacity_mL - held.contents.volume_mL
    liquid = materials.selected_t_cells(
        donor, cells=1e6 * volume_mL, volume_mL=min(volume_mL, room_mL / 2)
    )
    world.brought_in_g += liquid.mass_g
    world.pour_in(container, liquid)


class Room:
    """One case while it runs."""

    def __init__(self, case: Case, cell: EmulatedCell, engine: Engine, slips: Slips) -> None:
        self.case = case
        self.cell = cell
        self.world = cell.world
        self.engine = engine
        self.slips = slips
        self.found = Found()
        self.recipe, self.step, self.last = reduced(case.protocol, case.path, case.thing)
        document = json.loads(self.recipe.content)
        self.ours, poured = _filled(scenario_for(document, seed=SEED, batch=1), self.recipe)
        self.theirs = scenario_for(document, seed=SEED, batch=2)
        for scenario in (self.ours, self.theirs):
            scenario.bring_into(self.world)
        for container, volume_mL in poured.items():
            _pour(self.world, self.ours.donor, container, volume_mL)
        for container in self.theirs.containers.values():
            capacity_mL = self.world.container(container).capacity_mL
            _pour(self.world, self.theirs.donor, container, min(capacity_mL / 4, 5.0))
        self._here = False
        self._refused = False
        self._put_right = False

    def _names(self, scenario: Scenario) -> tuple[str, str]:
        known = {**scenario.containers, **scenario.kits}
        phase = self.recipe.at(self.step)
        assert isinstance(phase, Step)
        bag = str(getattr(phase.phase, "container", self.case.thing))
        return known[self.case.thing], known.get(bag, "")

    def listen(self, recorded: Recorded[AnyEvent]) -> None:
        """Make the slip when its step begins; take note of what comes of it."""
        event = recorded.event
        if event.kind == "phase_started" and event.path == self.step:
            self._here = True
            self._slip()
        path = str(getattr(event, "path", getattr(event, "command", "")))
        if event.kind in ("identity_refused", "act_refused", "attempt_uncertain", "alarm_raised"):
            told = event.model_dump(mode="json")
            self.found.told.append(f"{event.kind} {told}"[:400])
        if not self._here or self.step not in path:
            return
        if event.kind == "identity_refused":
            self._refused = True
            self.found.refused.append(event.why)
            if self.case.slip == "docks" and not self._put_right:
                self._put_right = True
                self._dock(self._names(self.ours)[0])
        elif event.kind == "attempt_intended" and not self._refused:
            act = event.asked
            if self._names(self.ours)[0] in json.dumps(act):
                self.found.acted_first.append(f"{act['kind']} {act.get('work', '')}".strip())

    def _slip(self) -> None:
        mine, _ = self._names(self.ours)
        other, other_bag = self._names(self.theirs)
        match self.case.slip:
            case "brings":
                self.slips.brings[mine] = other
            case "joins":
                self.slips.joins[mine] = other
                self._join_to_theirs(other)
            case "joins to":
                self.slips.joins[mine] = other
            case "docks":
                self._dock(other)
            case "mislabels" | "mislabels, nodded" | "mislabels, scanned across":
                self.slips.mislabels[mine] = other
                self.slips.nods = self.case.slip == "mislabels, nodded"
                self.slips.reads_across = self.case.slip == "mislabels, scanned across"
            case _:
                self._take_another_port(other_bag)

    def _join_to_theirs(self, other: str) -> None:
        """Join the other patient's bag to the other patient's kit, if the step parts it."""
        step = self.recipe.at(self.step)
        assert isinstance(step, Step)
        touches = step.phase.claims().touches
        if any((one.container, one.how) == (self.case.thing, Contact.PARTS) for one in touches):
            kit = next(iter(self.theirs.kits.values()))
            self.world.hands.weld(other, kit, "p1", by="somebody before")

    def _take_another_port(self, other_bag: str) -> None:
        step = self.recipe.at(self.step)
        assert isinstance(step, Step)
        assert isinstance(step.phase, Connect)
        port, kit = step.phase.port, self.ours.kits[step.phase.kit]
        another = next(
            one
            for one in ("p5", "p4", "p3", "p2", "p1")
            if one != port and self.world.port_joint(kit, one) is None
        )
        self.slips.ports[port] = another
        if self.case.slip != "wrong port, seen":
            self.slips.looks[port] = another
        if self.case.slip == "wrong port, cells in line":
            docked = self.world.kits[kit]
            drawn = self.world.draw_from(docked.vessel, 5.0)
            for left in docked.pump_line.push([drawn], at_left=False):
                self.world.pour_in(docked.waste, left)
        if self.case.slip in ("wrong port, taken", "wrong port, cells in line"):
            self.world.hands.weld(other_bag, kit, port, by="somebody before")
            self.world.hands.put(other_bag, "rack", by="somebody before")

    def _dock(self, kit: str) -> None:
        """Exchange the docked kit; the bags that are joined to one stay where they hang."""
        hung_at = {one.container: self.world.where(one.container) for one in self.world.joints()}
        if self.world.at("station") is not None:
            self.world.hands.take("station", by="somebody before")
        self.world.hands.put(kit, "station", by="somebody before")
        for bag, place in hung_at.items():
            if self.world.where(bag) == FLOOR:
                self.world.hands.put(bag, place, by="somebody before")

    async def run(self) -> None:
        """Run batch 1 until its last step has ended, or until it surely stands still."""
        state = self.engine.core.state
        phases = state.batches[OURS].phases
        waited = 0
        for _ in range(LOOKS_MOST):
            await self.engine.core.sleep(LOOK_EVERY)
            last = phases.get(PhasePath(self.last))
            if last is not None and last.state is PhaseState.COMPLETE:
                break
            step = phases.get(PhasePath(self.step))
            stopped = self._refused or (step is not None and step.state is PhaseState.HELD)
            waited += stopped
            if waited > WAITED_LONG and self.case.slip not in ("brings", "docks"):
                break
        self._judge()

    def _judge(self) -> None:
        state = self.engine.core.state
        batch = state.batches[OURS]
        found = self.found

        def has_ended(path: str) -> bool:
            phase = batch.phases.get(PhasePath(path))
            return phase is not None and phase.state is PhaseState.COMPLETE

        found.step_ended, found.ended = has_ended(self.step), has_ended(self.last)
        found.waits = [
            f"{name}: {alarm.cause}"
            for name, alarm in state.alarms.items()
            if alarm.batch == OURS and not alarm.cleared
        ] + [
            f"{path} is {phase.state.value}: {phase.why}"
            for path, phase in batch.phases.items()
            if phase.state in (PhaseState.HOLDING, PhaseState.HELD)
        ]
        found.presented = bool(self.slips.presented) or self.case.slip == "docks"
        found.mixed = self._cells_out_of_place()
        found.quarantined = bool(state.containers[self._names(self.ours)[0]].quarantined)
        found.mislabelled = [
            f"{label} on {other}"
            for other in self.theirs.containers.values()
            for label in self.world.labels_on(other)[1:]
        ]
        ours = {state.containers[one].label for one in self.ours.containers.values()}
        found.taken_for_ours = [one for one in found.mislabelled if one.split(" on ")[0] in ours]
        theirs = {*self.theirs.containers.values(), *self.theirs.kits.values()}
        found.handled = [
            f"{one.kind} {' '.join(one.things)} by {one.by}"
            for one in self.world.ledger
            if theirs & set(one.things) and one.by != "somebody before" and not one.consequence
        ]
        found.took_effect = found.presented or bool(found.handled) or self._is_at_another_port()

    def _is_at_another_port(self) -> bool:
        """Return whether hands joined something to the port that was taken for another."""
        return any(
            one.kind == "joined" and one.detail["port"] in self.slips.ports.values()
            for one in self.world.ledger
        )

    def _cells_out_of_place(self) -> list[str]:
        world = self.world
        wrong: list[str] = []
        for scenario, stranger in (
            (self.ours, self.theirs.donor.donor),
            (self.theirs, self.ours.donor.donor),
        ):
            looked_in: list[tuple[str, Callable[[str], dict[str, float]]]] = [
                *((one, world.donors_in) for one in scenario.containers.values()),
                *((one, world.donors_in_tubing) for one in scenario.kits.values()),
            ]
            for name, look in looked_in:
                cells = look(name).get(stranger, 0.0)
                if cells > 0.0:
                    wrong.append(f"{cells:.3g} cells of {stranger} in {name}")
        return wrong


def makes_a_joint(case: Case) -> bool:
    """Return whether the step of a case joins something to a kit."""
    step = recipe_of(case.protocol).at(case.path)
    assert isinstance(step, Step)
    return any(one.how is Contact.JOINS for one in step.phase.claims().touches)


def lets_cells_pass(case: Case) -> bool:
    """Return whether, with no check, the slip itself or the next step brings cells astray."""
    step = recipe_of(case.protocol).at(case.path)
    assert isinstance(step, Step)
    if makes_a_joint(case):
        return case.slip in ("brings", "joins", "wrong port, taken", "wrong port, cells in line")
    if not isinstance(step.phase, Receive | SampleAndCount | SelectMagnetically):
        return False
    if case.slip.startswith("mislabels"):
        return False  # the label is wrong then, and who fetches by it later
    return case.slip != "docks" or is_of_the_kit(case)


def is_of_the_kit(case: Case) -> bool:
    """Return whether what the step takes from is part of a kit."""
    recipe = recipe_of(case.protocol)
    step = recipe.at(case.path)
    assert isinstance(step, Step)
    inner = {part for kit in recipe.kits for part in kit.places}
    return getattr(step.phase, "source", "") in inner


def is_checked_after(case: Case) -> bool:
    """Return whether the step looks at what hands did: at a joint, or where things were set."""
    step = recipe_of(case.protocol).at(case.path)
    assert isinstance(step, Step)
    return isinstance(step.phase, CHECKED_AFTER)


def wrongly_accepted(case: Case, found: Found) -> list[str]:
    """Return what must not be after a slip, with all checks in place; empty if all is well."""
    wrong = [*found.mixed]
    if case.slip.startswith("mislabels"):
        wrong += [] if found.mislabelled else ["no label was stuck on the other patient's"]
        wrong += [f"the record has it as ours: {one}" for one in found.taken_for_ours]
        wrong += [] if found.quarantined else ["what was to be labelled isn't in quarantine"]
    if case.slip in ("brings", "docks"):
        if not found.presented:
            wrong.append("nobody was asked to show it: its identity was carried")
        if not found.refused:
            wrong.append("the gate refused nothing")
        wrong += [f"before the refusal: {act}" for act in found.acted_first]
        wrong += found.handled
        if found.refused and not found.step_ended:
            wrong.append("the right thing was brought, and the step didn't end")
        return wrong
    if not found.took_effect:
        wrong.append("the slip had no effect: nothing wrong was joined or worked on")
    if found.step_ended:
        wrong.append("the step ended")
    if not found.waits:
        wrong.append("nothing waits, nothing alarms")
    if case.slip == "joins" and is_checked_after(case) and not found.refused:
        wrong.append("the gate refused nothing")
    return wrong


async def _run(case: Case, folder: Path) -> Found:
    slips = Slips()
    async with (
        emulated_cell(folder, REFERENCE_CELL, seed=SEED, slips=slips) as cell,
        cell.engine() as engine,
    ):
        room = Room(case, cell, engine, slips)
        await put_on_file(cell, engine, room.recipe, room.ours, OURS)
        await put_on_file(cell, engine, room.recipe, room.theirs, THEIRS, number=2)
        engine.core.listeners.append(room.listen)
        await cell.give("supervisor", "start_batch", batch=str(OURS))
        await room.run()
        await engine.stop()
        return room.found
    raise AssertionError("a room is left by its last line")


def run_case(case: Case, folder: Path) -> Found:
    """Return what comes of one slip."""
    with pytest.MonkeyPatch.context() as patch:
        # A part of a procedure isn't one that a check would let pass, and isn't checked here.
        patch.setattr("orchestrator.console.recipes.check_recipe", _nothing_found)
        return run_in_virtual_time(_run(case, folder))


def _nothing_found(*_: Any) -> list[Any]:
    return []


def nothing_unlike(*_: Any, **__: Any) -> None:
    """Take a second person's word, and a second scan, whatever was read."""


def without_the_checks(patch: pytest.MonkeyPatch) -> None:
    """Let any scan prove anything, and no weight contradict the pump."""

    def anything(
        self: IdentityGate,
        scan: ContainerScan,
        *,
        expected: ContainerId,
        path: PhasePath,
        seq: int,
    ) -> ProvenContainer:
        return self.recall(expected, place=scan.place, path=path, rests_on="scanned", since=seq)

    def as_the_pump_says(
        self: PumpVolume, report: EffectReport, before: Facts, after: Facts
    ) -> EffectReport:
        del self, before, after
        return report

    patch.setattr(IdentityGate, "verify", anything)
    patch.setattr(IdentityGate, "verify_beside", nothing_unlike)
    patch.setattr("orchestrator.console.verifying.compare", nothing_unlike)
    patch.setattr(PumpVolume, "judge", as_the_pump_says)
