"""A recipe played on the World alone: each phase does there what its kind says, nothing fails.

No engine, no drivers, no waiting for people: this asks only whether the *procedure* makes
the cells that it is meant to make, and whether a kit ever leaves with a bag at its ports.
The times that hands take are those of the scripted technicians.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from hw_mocks.scenario import Scenario, scenario_for
from hw_mocks.technicians import HAND_WORK_S
from hw_mocks.world import Counted, Donor, ImpossibleError
from orchestrator.kernel.measured import Amount, Calculated, Fixed
from orchestrator.kernel.quantities import (
    Flow,
    Quantity,
    Volume,
    kelvin,
    minute,
    mL,
    second,
    x_g,
)
from orchestrator.recipe.calculations import evaluated
from orchestrator.recipe.check import Checked, check_file
from orchestrator.recipe.model import (
    Hold,
    Keep,
    MeasuredValue,
    Node,
    Operation,
    Recipe,
    RepeatUntil,
    Sequence,
    Step,
    UnitProcedure,
    When,
)
from tests.unit.world.lab import Lab

PROTOCOLS: Final = Path(__file__).parents[3] / "protocols"
SCAN_S: Final = 15.0
CARRY_S: Final = 60.0


class HeldError(Exception):
    """The way that was taken ends in a hold."""


@cache
def written(name: str) -> Checked:
    """Return what the check says of a protocol, with its recipe."""
    return check_file(PROTOCOLS / name)


@dataclass
class Played:
    """A recipe on its way through the World."""

    recipe: Recipe
    scenario: Scenario
    lab: Lab
    skip: Callable[[Any], bool]
    values: dict[str, str] = field(default_factory=dict[str, str])
    starts_s: dict[str, float] = field(default_factory=dict[str, float])
    ends_s: dict[str, float] = field(default_factory=dict[str, float])
    counts: dict[str, Counted] = field(default_factory=dict[str, Counted])
    counted_cells: dict[str, float] = field(default_factory=dict[str, float])
    held: str = ""
    """Why it went no further."""

    def run(self) -> Played:
        """Play all of it, or up to a hold."""
        try:
            for part in self.recipe.body:
                assert isinstance(part, UnitProcedure)
                self._body(part.body, part.slug)
        except (HeldError, ImpossibleError) as held:
            self.held = str(held)
        return self

    def viable_in(self, name: str) -> float:
        """Return the viable cells that the World has in a container of the recipe."""
        return self.lab.world.contents(self.id(name)).viable

    def id(self, name: str) -> str:
        """Return the World's name of a thing of the recipe."""
        return self.scenario.containers.get(name) or self.scenario.kits[name]

    def _body(self, body: tuple[Node, ...], path: str, mark: str = "") -> None:
        for node in body:
            self._node(node, f"{path}{mark}/{node.slug}")

    def _node(self, node: Node, path: str) -> None:
        self.starts_s[path] = self.lab.clock()
        match node:
            case Step():
                self._step(node)
            case Operation() | Sequence() | Keep():
                self._body(node.body, path)
            case When():
                branch = "then" if self._holds(node.condition) else "otherwise"
                self._body(getattr(node, branch), path, f"[{branch}]")
            case RepeatUntil():
                for _ in range(node.at_most):
                    self._body(node.body, path)
                    if self._holds(node.condition):
                        break
                else:
                    raise HeldError(f"{node.name}: not reached")
            case Hold():
                raise HeldError(node.reason)
            case _:
                raise AssertionError(f"{path}: {type(node).__name__} isn't played")
        for lag in self.recipe.lags:
            if (lag.to_event.path, lag.to_event.edge) == (path, "end") and lag.minimum is not None:
                since_s = (self.ends_s if lag.from_event.edge == "end" else self.starts_s).get(
                    lag.from_event.path
                )
                if since_s is not None:
                    left_s = since_s + lag.minimum.to(second) - self.lab.clock()
                    self.lab.clock.wait(max(0.0, left_s))
        self.ends_s[path] = self.lab.clock()

    def _holds(self, condition: Any) -> bool:
        assert isinstance(condition.reading, MeasuredValue)
        value = Quantity.read(self.values[condition.reading.name])
        least, most = condition.lowest, condition.highest
        return (not least or value >= Quantity.read(least)) and (
            not most or value <= Quantity.read(most)
        )

    def _value(self, amount: Amount) -> str:
        if isinstance(amount, Fixed):
            return amount.value
        if isinstance(amount, Calculated):
            return evaluated(amount, self._value)
        return self.values[amount.name]

    def _mL(self, amount: Any) -> float:
        volume = amount if isinstance(amount, Volume) else Volume.read(self._value(amount))
        return volume.to(mL)

    def _step(self, node: Step) -> None:
        phase: Any = node.phase
        if self.skip(phase):
            return
        kind = phase.kind.partition("/")[0]
        done: dict[str, str] | None = getattr(self, f"_{kind}")(phase)
        report = done or {}
        for name, named in phase.measures.items():
            self.values[named] = report[name]

    def _hands(self, *works: str) -> None:
        self.lab.clock.wait(sum(HAND_WORK_S[work] + SCAN_S for work in works))

    def _pump(self, source_at: str, target_at: str, volume_mL: float, flow: Flow) -> None:
        sides = (source_at, target_at)
        assert self.lab.world.at("station") == self.lab.kit, "another kit is docked"
        (port,) = (at for at in sides if at not in ("vessel", "flush"))
        (branch,) = (at for at in sides if at in ("vessel", "flush"))
        uL_per_s = flow.base / 60_000.0
        self.lab.valve(port, True)
        self.lab.valve(branch, True)
        forward = source_at == port
        self.lab.world.motor_start("station", uL_per_s if forward else -uL_per_s, "P1")
        self.lab.clock.wait(volume_mL * 1000.0 / uL_per_s)
        self.lab.world.motor_stop("station", "P1")
        self.lab.valve(port, False)
        self.lab.valve(branch, False)
        self.lab.clock.wait(5.0)

    def _put(self, thing: str, place: str) -> None:
        self.lab.world.hands.put(thing, place, by="T")

    # One method for each kind of phase

    def _receive(self, phase: Any) -> dict[str, str]:
        self._hands("receive")
        container = self.id(phase.container)
        return {"volume": f"{self.lab.world.contents(container).volume_mL:.0f} mL"}

    def _confirm(self, phase: Any) -> None:
        self.lab.clock.wait(120.0)

    def _verify_identity(self, phase: Any) -> None:
        self.lab.clock.wait(SCAN_S)

    def _select_magnetically(self, phase: Any) -> dict[str, str]:
        self._hands("select_magnetically")
        target = self.id(phase.target)
        self.lab.world.hands.select_magnetic(
            self.id(phase.source), target, by="T", marker=phase.marker
        )
        return {"volume": f"{self.lab.world.contents(target).volume_mL:.1f} mL"}

    def _set_climate(self, phase: Any) -> None:
        pass

    def _install_kit(self, phase: Any) -> None:
        self._hands("install_kit")
        self.lab.kit = self.id(phase.kit)
        self._put(self.lab.kit, "station")

    def _connect(self, phase: Any) -> None:
        hands = self.lab.world.hands
        join = hands.weld if phase.by == "sterile_weld" else hands.aseptic_connect
        work = "weld" if phase.by == "sterile_weld" else "connect_aseptically"
        self._hands(work, "test_leak", "unhang")
        bag = self.id(phase.container)
        join(bag, self.id(phase.kit), phase.port, by="T")
        self._put(bag, "rack")
        self._pump("flush", phase.port, phase.first_dose.to(mL), phase.flow)

    def _disconnect(self, phase: Any) -> None:
        self._hands("seal_off")
        self.lab.world.hands.seal_off(self.id(phase.container), by="T")

    def _transfer(self, phase: Any) -> None:
        self._pump(phase.source_at, phase.target_at, self._mL(phase.volume), phase.flow)

    def _seed_and_activate(self, phase: Any) -> None:
        self._pump(phase.cells_at, "vessel", self._mL(phase.cell_volume), phase.flow)
        self._pump(phase.reagent_at, "vessel", self._mL(phase.reagent_volume), phase.flow)
        self._pump(phase.medium_at, "vessel", self._mL(phase.medium_volume), phase.flow)

    def _transduce(self, phase: Any) -> None:
        self._pump(phase.vector_at, "vessel", self._mL(phase.volume), phase.flow)

    def _feed(self, phase: Any) -> None:
        if phase.mode == "exchange":
            self.lab.clock.wait(phase.settle.to(second))
            self._pump("vessel", phase.waste_at, phase.remove.to(mL), phase.flow)
        self._pump(phase.medium_at, "vessel", phase.volume.to(mL), phase.flow)

    def _move_container(self, phase: Any) -> None:
        place = {"transfer station": "station", "incubator": "incubator/1"}.get(phase.to, "dock")
        kit = self.id(phase.container)
        still = [joint.container for joint in self.lab.world.joints() if joint.kit == kit]
        assert still == [f"{kit}/waste"], f"{kit} is moved with {still}"
        self.lab.clock.wait(CARRY_S)
        self._put(kit, place)

    def _incubate(self, phase: Any) -> None:
        self.lab.clock.wait(phase.duration.to(second))

    def _sample_and_count(self, phase: Any) -> dict[str, str]:
        self._hands("draw_sample", "load_counter", "unload_counter")
        world, source, tube = self.lab.world, self.id(phase.source), self.id(phase.tube)
        world.hands.draw_sample(source, tube, phase.sample_volume.to(mL) * 1000.0, by="T")
        counted = world.analyse("N1", tube, drawn_uL=100.0, by="N1")
        self.counts[phase.tube] = counted
        report = {
            "viable_density": f"{round(counted.viable_per_mL)} cells/mL",
            "viability": f"{100 * counted.viability:.1f} %",
            "cd3": f"{100 * counted.cd3_share:.1f} %",
            "engineered": f"{100 * counted.car_share:.1f} %",
        }
        self.counted_cells[phase.tube] = counted.viable_per_mL * world.contents(source).volume_mL
        return report

    def _concentrate(self, phase: Any) -> None:
        kit = self.id(phase.kit)
        still = [joint.container for joint in self.lab.world.joints() if joint.kit == kit]
        assert still == [f"{kit}/waste"], f"{kit} is spun with {still}"
        self.lab.clock.wait(CARRY_S)
        self._put(kit, "rotor")
        spin_s = phase.spin.to(second)
        self.lab.world.spin_start("rotor", rcf_g=phase.force.to(x_g), by="C1", seconds=spin_s)
        self.lab.clock.wait(spin_s + 60.0)
        self.lab.clock.wait(CARRY_S)
        self._put(kit, "station")
        self._pump("vessel", phase.waste_at, phase.draw.to(mL), phase.flow)

    def _grade_confluence(self, phase: Any) -> dict[str, str]:
        self._hands("inspect_confluence")
        return {"confluence": f"{100 * self.lab.world.confluence(self.id(phase.vessel)):.0f} %"}

    def _formulate(self, phase: Any) -> None:
        self._pump(phase.cryo_at, "vessel", self._mL(phase.volume), phase.flow)

    def _mix(self, phase: Any) -> None:
        self._hands("mix")
        self.lab.world.hands.mix(self.id(phase.kit), by="T")

    def _fill_and_seal(self, phase: Any) -> None:
        for bag, port in zip(phase.bags, phase.ports, strict=True):
            self._pump(phase.source_at, port, self._mL(phase.volume), phase.flow)
            self._hands("apply_label", "seal_off")
            self.lab.world.hands.seal_off(self.id(bag), by="T")

    def _precool(self, phase: Any) -> None:
        self.lab.clock.wait(300.0)

    def _load(self, phase: Any) -> None:
        self._hands("load")
        for thing in phase.containers:
            self._put(self.id(thing), "freezer" if phase.at == "freezer" else "shelf")

    def _freeze(self, phase: Any) -> None:
        at = phase.start
        for rate, to in phase.segments:
            minutes = (abs(to - at) / rate).to(minute)
            self.lab.world.ramp(
                "freezer",
                rate_kelvin_per_min=abs(to - at).to(kelvin) / minutes,
                limit_degC=to.base / 1000.0,
                by="F1",
            )
            self.lab.clock.wait(minutes * 60.0)
            at = to

    def _store(self, phase: Any) -> None:
        self._hands("store")
        for bag in phase.containers:
            self._put(self.id(bag), "dewar/1")


def play(
    checked: Checked,
    *,
    donor: Donor,
    seed: int = 1,
    ordered: dict[str, str] | None = None,
    skip: Callable[[Any], bool] = lambda phase: False,
) -> Played:
    """Return a recipe played to its end."""
    recipe = checked.recipe
    assert recipe is not None
    scenario = scenario_for(json.loads(recipe.content), seed=seed, donor=donor, ordered=ordered)
    lab = Lab(seed=seed)
    lab.world.add_place("rack", holds=50)
    lab.world.places["dewar/1"].holds = 6
    lab.world.places["freezer"].holds = 6
    scenario.bring_into(lab.world)
    played = Played(recipe, scenario, lab, skip, dict(scenario.ordered))
    return played.run()
