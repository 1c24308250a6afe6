"""``make_batch`` binds nothing but what the recipe's words mean, whoever put the order together.

Method: the CAR-T procedure's material is received in a room, and the order that its people
would sign is kept. Each pair of its containers is exchanged, and each of its words is given a
thing that is wrong in one respect; each such order is signed, and the journal is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hw_mocks.scenario import Arrival, scenario_for
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import ContainerQuarantined, LotQuarantined
from orchestrator.kernel.desks import Given
from orchestrator.kernel.errors import ProcessError
from orchestrator.kernel.identifiers import BatchId, ContainerId, LotId, UserId
from orchestrator.kernel.quantities import Duration, Volume, hour, mL, second
from orchestrator.people.users import Present
from orchestrator.process_cell.config import LoadedCell
from orchestrator.process_cell.emulated import EmulatedCell, emulated_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL, put_on_file
from orchestrator.recipe.model import Kit, Reagent
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.two_patients import CAR_T, recipe_of

SEED = 7
RECIPE = recipe_of(CAR_T)
SCENARIO = scenario_for(json.loads(RECIPE.content), seed=SEED)
BATCH = BatchId("B-001")
THINGS = {one.name: one for one in SCENARIO.arrivals}
INNER = [name for kit in RECIPE.kits for name in (kit.vessel, kit.flush, kit.waste)]


@dataclass
class Order:
    """A room where everything was received and nothing is ordered yet."""

    people: EmulatedCell
    engine: Engine
    asked: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def cell(self) -> LoadedCell:
        return self.people.cell

    async def give(self, login: str, name: str, **arguments: Any) -> Given:
        """Have a person give a command; the order is kept instead."""
        if name == "make_batch":
            self.asked = arguments
            return Given(seq=0)
        return await self.people.give(login, name, **arguments)

    async def make_of(self, instead: dict[str, str], part: str = "containers") -> None:
        """Sign the order, with other things under some of its words."""
        field_of = {"containers": "container", "kits": "kit", "units": "equipment"}[part]
        binding = dict(self.asked["binding"])
        binding[part] = [
            {**one, field_of: instead.get(one["name"], one[field_of])} for one in binding[part]
        ]
        await self.people.give("supervisor", "make_batch", **{**self.asked, "binding": binding})

    async def refused(self, instead: dict[str, str], part: str = "containers") -> str:
        """Sign the order; return why it was refused, with nothing recorded."""
        before = self.engine.core.state.seq
        with pytest.raises(ProcessError) as refusal:
            await self.make_of(instead, part)
        assert self.engine.core.state.seq == before
        assert not self.engine.core.state.batches
        assert refusal.value.what.startswith("make ")
        assert refusal.value.do_next
        return refusal.value.why

    async def receive_lot(self, material: str, shelf_life: Duration) -> str:
        """Receive a lot, unless there is one; return its name."""
        lot = f"LOT-{material}"
        if lot not in self.engine.core.state.lots:
            expires = str(self.engine.core.clock.utc() + shelf_life)
            await self.give("day-1", "receive_lot", lot=lot, material=material, expires=expires)
        return lot

    async def receive(self, like: Arrival, **other: Any) -> str:
        """Receive another thing like one of the order's, but for what is stated."""
        told: dict[str, Any] = {
            "container": f"{like.container}-X",
            "label": f"{like.label}-X",
            "material": like.material,
            "what": like.what,
            "volume": like.volume,
            "capacity": like.capacity,
            "positions": list(like.positions),
            "volumes": list(like.volumes),
            "capacities": list(like.capacities),
            **({"lot": like.lot} if like.lot else {}),
            **({"coi": "COI-001"} if like.what == "patient_material" else {}),
            **other,
        }
        if told["what"] != "reagent" and told["what"] != "kit":
            told.pop("lot", None)
        elif told["material"] != like.material:
            told["lot"] = await self.receive_lot(told["material"], 1000 * hour)
        await self.give("day-1", "receive_material", **told)
        return str(told["container"])


def ordering(folder: Path, attempt: Callable[[Order], Awaitable[None]]) -> None:
    """Run ``attempt`` where the order's material was received."""

    async def run() -> None:
        async with (
            emulated_cell(folder, REFERENCE_CELL, seed=SEED) as cell,
            cell.engine() as engine,
        ):
            order = Order(cell, engine)
            await put_on_file(order, engine, RECIPE, SCENARIO, BATCH)
            await attempt(order)

    run_in_virtual_time(run())


def are_alike(one: str, other: str) -> bool:
    """Return whether two of the recipe's words may change their things: each does for both."""
    if one not in THINGS or other not in THINGS:
        return False
    kinds = {(THINGS[name].what, THINGS[name].material) for name in (one, other)}
    amounts = {(THINGS[name].volume, THINGS[name].capacity) for name in (one, other)}
    return len(kinds) == 1 and len(amounts) == 1


@pytest.mark.requirement("IDC-05")
def test_no_two_things_of_an_order_are_exchanged(tmp_path: Path) -> None:
    async def attempt(order: Order) -> None:
        bound = dict(SCENARIO.containers)
        pairs = [two for two in combinations(bound, 2) if not are_alike(*two)]
        assert len(pairs) > 300
        for one, other in pairs:
            why = await order.refused({one: bound[other], other: bound[one]})
            assert repr(one) in why or repr(other) in why
        alike = [two for two in combinations(bound, 2) if are_alike(*two)]
        assert ("dose bag", "first reserve bag") in alike
        assert ("medium for day 10", "medium for day 11") in alike
        changed: dict[str, str] = {}
        for one, other in alike:
            if not {one, other} & set(changed):
                changed |= {one: bound[other], other: bound[one]}
        await order.make_of(changed)
        made = order.engine.core.state.batches[BATCH].containers
        assert {name: made[name] for name in changed} == changed

    ordering(tmp_path, attempt)


def less(text: str) -> str:
    return str(Volume.read(text) - 1 * mL)


def wrong_things() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a word, how a thing differs from what it means, and what the refusal says."""
    for material in RECIPE.materials:
        name, thing = material.name, THINGS[material.name]
        kinds = {"patient_material", "reagent", "empty", "sample_tube", "kit"} - {thing.what}
        for what in sorted(kinds - {"reagent", "kit"} | ({"kit"} & kinds if thing.lot else set())):
            other: dict[str, Any] = {"what": what}
            if what == "patient_material":
                other["coi"] = "COI-001"
            yield name, other, "isn't "
        if isinstance(material, Reagent):
            yield name, {"material": "something-else"}, f"isn't {material.catalogue}, at least"
            yield name, {"volume": less(str(material.volume))}, f"at least {material.volume}"
            yield name, {"coi": "COI-002"}, "another therapy event"
        elif thing.what == "patient_material":
            yield name, {"coi": "COI-002"}, "another therapy event"
        else:
            yield name, {"capacity": less(thing.capacity)}, f"for {thing.capacity}"
            yield name, {"material": "something-else"}, f"isn't an empty {thing.material} for"
            yield name, {"coi": "COI-002"}, "another therapy event"


@pytest.mark.requirement("IDC-05")
def test_a_thing_that_is_wrong_in_one_respect_is_refused(tmp_path: Path) -> None:
    async def attempt(order: Order) -> None:
        tried = list(wrong_things())
        assert {name for name, _, _ in tried} == {one.name for one in RECIPE.materials}
        for number, (name, other, says) in enumerate(tried):
            named = {"container": f"X-{number}", "label": f"L-X-{number}"}
            thing = await order.receive(THINGS[name], **named, **other)
            why = await order.refused({name: thing})
            assert repr(name) in why, (name, other)
            assert says in why, (name, other)
        for name in (*THINGS, *INNER):
            part = "kits" if name == "culture kit" else "containers"
            assert "X-none" in await order.refused({name: "X-none"}, part)
        await order.make_of({})

    ordering(tmp_path, attempt)


def kit_of(recipe_kit: Kit, **other: Any) -> dict[str, Any]:
    thing = THINGS[recipe_kit.name]
    volumes, capacities = list(thing.volumes), list(thing.capacities)
    if "flush" in other:
        volumes[1] = other["flush"]
    if "vessel" in other:
        capacities[0] = other["vessel"]
    if "waste" in other:
        capacities[2] = other["waste"]
    return {"volumes": volumes, "capacities": capacities}


@pytest.mark.parametrize(
    ("kit", "says"),
    [
        ({"material": "msc-kit-1"}, "isn't a kit car-t-kit"),
        ({"what": "empty", "positions": [], "volumes": [], "capacities": []}, "isn't a kit"),
        (kit_of(RECIPE.kits[0], flush="100 mL"), "isn't the flush of a kit car-t-kit with 900 mL"),
        (kit_of(RECIPE.kits[0], vessel="1 L"), "isn't the vessel of a kit car-t-kit for 2 L"),
        (kit_of(RECIPE.kits[0], waste="1 L"), "isn't the waste of a kit car-t-kit for 10 L"),
        ({"positions": ["vessel", "flush", "p1"]}, "was never received"),
    ],
)
def test_another_kit_is_refused(tmp_path: Path, kit: dict[str, Any], says: str) -> None:
    async def attempt(order: Order) -> None:
        (name,) = (one.name for one in RECIPE.kits)
        thing = await order.receive(THINGS[name], **kit)
        assert "of its kit, not" in await order.refused({name: thing}, "kits")
        inner = RECIPE.kits[0].inner
        own = {one: f"{thing}/{position}" for one, position in inner.items()}
        containers = [
            {**one, "container": own.get(one["name"], one["container"])}
            for one in order.asked["binding"]["containers"]
        ]
        order.asked["binding"]["containers"] = containers
        assert says in await order.refused({name: thing}, "kits")

    ordering(tmp_path, attempt)


def test_another_unit_or_place_is_refused(tmp_path: Path) -> None:
    async def attempt(order: Order) -> None:
        for role in RECIPE.equipment:
            for unit in order.cell.config.units:
                if unit.kind != role.kind:
                    why = await order.refused({role.name: str(unit.name)}, "units")
                    assert f"{unit.name} isn't a {role.kind}" in why
        own = list(order.asked["binding"]["places"])
        assert own
        for places in (
            [{**own[0], "place": "freezer"}, *own[1:]],
            own[1:],
            [*own, {"unit": "nobody", "place": "freezer"}],
        ):
            order.asked["binding"]["places"] = places
            assert "place" in await order.refused({})

    ordering(tmp_path, attempt)


def quarantined(order: Order, thing: str) -> Awaitable[object]:
    event = ContainerQuarantined(container=ContainerId(thing), why="its bag is torn")
    return order.engine.core.record_for_host(event)


async def lot_quarantined(order: Order, thing: str) -> None:
    lot = order.engine.core.state.containers[thing].lot
    await order.engine.core.record_for_host(
        LotQuarantined(lot=LotId(lot), why="its maker called it back", by=UserId("U-0001"))
    )


async def expired(order: Order, thing: str) -> None:
    lot = order.engine.core.state.lots[order.engine.core.state.containers[thing].lot]
    await order.engine.core.sleep(lot.expires - order.engine.core.clock.utc())


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (quarantined, "is in quarantine"),
        (lot_quarantined, "is in quarantine"),
        (expired, "expired at"),
    ],
)
def test_what_happens_while_the_password_is_checked_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Order, str], Awaitable[object]],
    says: str,
) -> None:
    async def attempt(order: Order) -> None:
        desk, name = order.people.desk, "wash buffer"
        lot = await order.receive_lot("wash-buffer", 30 * second)
        bag = await order.receive(THINGS[name], lot=lot)
        recognise = desk.office.recognise

        async def meanwhile(login: str, secret: str, terminal: str) -> Present:
            present = await recognise(login, secret, terminal)
            await happens(order, bag)
            return present

        monkeypatch.setattr(desk.office, "recognise", meanwhile)
        with pytest.raises(ProcessError) as refusal:
            await order.make_of({name: bag})
        assert says in refusal.value.why
        assert repr(name) in refusal.value.why
        assert not order.engine.core.state.batches

    ordering(tmp_path, attempt)


@pytest.mark.requirement("IDC-05")
def test_an_ordinary_bag_stands_for_no_cryobag_nor_the_other_way(tmp_path: Path) -> None:
    """Large enough and empty isn't enough: only a cryobag is made to be frozen."""

    async def attempt(order: Order) -> None:
        pairs = [("dose bag", "transfer-bag"), ("dose bag", "bag"), ("selected cells", "cryobag")]
        for number, (name, kind) in enumerate(pairs):
            named = {"container": f"Y-{number}", "label": f"L-Y-{number}"}
            roomy = {"material": kind, "capacity": "900 mL"}
            thing = await order.receive(THINGS[name], **named, **roomy)
            why = await order.refused({name: thing})
            assert f"isn't an empty {THINGS[name].material} for" in why
        await order.make_of({})

    ordering(tmp_path, attempt)
