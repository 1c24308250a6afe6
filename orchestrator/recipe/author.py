"""The words in which a scientist writes a procedure.

A file that uses them runs once, to write a ``Recipe``; nothing here moves anything. The
equipment has the verbs: ``station.transfer(medium, to=kit.vessel, volume=800 * mL, ...)``.
Each verb adds one step, in the order of the file. What can be seen to be wrong at once
(an unknown port, a quantity of another dimension) is written down as a finding with its
line, and writing goes on, so that one check tells about all of it.

Recipes write the newest behaviour version of each kind of phase; the versions stand in
``_KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from inspect import currentframe
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    TypeVar,
    cast,
    get_args,
    get_origin,
    overload,
)

from pydantic import ValidationError

from orchestrator.kernel.acts import Reading
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.measured import Amount, Bounds, Measured, Ordered
from orchestrator.kernel.quantities import (
    CellDensity,
    Duration,
    Flow,
    Fraction,
    NotAQuantityError,
    Quantity,
    RampRate,
    Range,
    RelativeForce,
    Temperature,
    Volume,
    between,
    day,
    mL,
    percent,
)
from orchestrator.kernel.tasks import Choice, Entry
from orchestrator.phases.phase import PhaseModel
from orchestrator.recipe import model
from orchestrator.recipe.calculations import (
    NotYet,
    amount_of,
    cells_by_weight,
    cells_in,
    engineered_cells,
    part_of_volume,
    reagent_per_cells,
    volume_for_ratio,
    volume_holding,
    volume_less,
    volume_over,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "Choice",
    "Container",
    "Entry",
    "Hold",
    "KitInUse",
    "NotYet",
    "Writer",
    "cells_by_weight",
    "cells_in",
    "engineered_cells",
    "part_of_volume",
    "procedure",
    "reagent_per_cells",
    "volume_for_ratio",
    "volume_holding",
    "volume_less",
    "volume_over",
]

Q = TypeVar("Q", bound=Quantity)

_KINDS: Final = {
    name: f"{name}/1"
    for name in (
        "concentrate",
        "confirm",
        "connect",
        "detach",
        "disconnect",
        "feed",
        "fill_and_seal",
        "formulate",
        "freeze",
        "grade_confluence",
        "incubate",
        "install_kit",
        "load",
        "mix",
        "move_container",
        "precool",
        "receive",
        "sample_and_count",
        "seed_and_activate",
        "select_magnetically",
        "set_climate",
        "store",
        "transduce",
        "transfer",
        "verify_identity",
        "wash",
    )
}

_CAPABILITIES: Final = {
    "transfer_station": ("fluid_transfer", "hands", "scanning", "valves", "weighing"),
    "incubator": ("climate", "scanning"),
    "cell_counter": ("cell_count", "hands"),
    "arm": ("container_transport",),
    "centrifuge": ("centrifugation",),
    "freezer": ("controlled_freezing", "hands", "scanning"),
    "bench": ("hands", "scanning"),
    "dewar": ("hands", "scanning"),
}

_NEVER_AGES: Final = 3650 * day
"""A value in the record doesn't go stale by itself: the step that uses it says how old it
may be, by a lag."""

_NOTHING: Final = Volume.of_base(0)
_KIT_PORTS: Final = ("p1", "p2", "p3", "p4", "p5", "p6")
_ANY_FRACTION: Final = between(0 * percent, 100 * percent)


@dataclass(frozen=True)
class Place:
    """A line of the file that wrote an element."""

    file: str
    line: int


@dataclass(frozen=True)
class WritingFault:
    """Something wrong that was seen while the recipe was being written."""

    rule: str
    place: Place
    text: str


@dataclass(frozen=True)
class Written:
    """What a protocol file wrote: the recipe, and beside it where each element stands."""

    recipe: model.Recipe
    places: dict[str, Place]
    faults: tuple[WritingFault, ...]


class CannotWriteError(Exception):
    """The file says something that no recipe can hold; writing ends here."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(rule, text)
        self.fault = WritingFault(rule, _here(), text)


@dataclass(frozen=True)
class Container:
    """A container, by the recipe's name."""

    name: str


@dataclass(frozen=True)
class KitInUse:
    """A kit, with its vessel and preattached bags."""

    name: str
    vessel: Container
    flush: Container
    waste: Container


@dataclass(frozen=True)
class Hold:
    """Go no further: a person must decide, for this reason."""

    reason: str


@dataclass(frozen=True)
class Part:
    """An element that was written; lags begin and end at its start or end."""

    path: str

    @property
    def start(self) -> model.Moment:
        """The moment at which it starts."""
        return model.Moment(path=self.path, edge="start")

    @property
    def end(self) -> model.Moment:
        """The moment at which it ends."""
        return model.Moment(path=self.path, edge="end")


@dataclass(frozen=True)
class Received(Part):
    """A receipt, with what it measured."""

    volume: NotYet[Volume]


@dataclass(frozen=True)
class Selected(Part):
    """A selection, with the volume that came out of it."""

    volume: NotYet[Volume]


@dataclass(frozen=True)
class Count(Part):
    """A cell count, with what it measured."""

    viable_density: NotYet[CellDensity]
    viability: NotYet[Fraction]
    cd3: NotYet[Fraction]
    engineered: NotYet[Fraction]


@dataclass(frozen=True)
class Graded(Part):
    """A look at the vessel, with what the person saw."""

    confluence: NotYet[Fraction]


@dataclass(frozen=True)
class Watched(Generic[Q]):
    """A value that an instrument shows all the time."""

    reading: str
    unit: str
    kind: type[Q]


@dataclass
class _Open:
    """An element whose body is being written."""

    kind: str
    slug: str
    path: str
    inside: str
    items: list[Any] = field(default_factory=list[Any])
    slugs: set[str] = field(default_factory=set[str])
    longest_hold: Duration | None = None

    def child(self, slug: str) -> str:
        """Return the path of a child."""
        return f"{self.inside}{slug}"


class Turns:
    """A repetition that is being written. Say once in its body when it ends."""

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self.name = name
        self.condition: Condition | None = None

    def until(
        self, value: NotYet[Q], *, at_least: Q | None = None, no_more_than: Q | None = None
    ) -> None:
        """End the repetition after the turn in which ``value`` lies in these limits."""
        if self.condition is not None:
            self._writer.fault("P060", f"{self.name!r} already says until when it is repeated")
        self.condition = self._writer.condition(value, at_least, no_more_than)


class Branches:
    """A choice that is being written; ``otherwise`` opens its other way."""

    def __init__(self, other: Callable[[], Any]) -> None:
        self._other = other

    def otherwise(self) -> Any:
        """Open the way that is taken when the condition doesn't hold."""
        return self._other()


class Writer:
    """Collects a recipe. A protocol's function gets one as its only argument."""

    def __init__(self, *, title: str, document: str, version: str, author: str) -> None:
        self._head = model.Recipe(title=title, document=document, version=version, author=author)
        self._materials: list[Any] = []
        self._kits: list[model.Kit] = []
        self._equipment: list[model.EquipmentRole] = []
        self._ordered: list[model.OrderedValue] = []
        self._lags: list[model.Lag] = []
        self._names: dict[str, str] = {}
        self._values: set[str] = set()
        self._joined: dict[str, tuple[str, str]] = {}
        self._samples: dict[str, int] = {}
        self._patients: set[str] = set()
        self._open: list[_Open] = [_Open(kind="procedure", slug="", path="", inside="")]
        self._number = 0
        self._places: dict[str, Place] = {}
        self._faults: list[WritingFault] = []

    # What goes in

    def patient_material(
        self,
        name: str,
        *,
        volume: Range[Volume],
        longest_since_collection: Duration | None = None,
    ) -> Container:
        """Declare material of the patient, as it arrives."""
        self._declare(
            name,
            "patient material",
            lambda: model.PatientMaterial(
                name=name, volume=volume, longest_since_collection=longest_since_collection
            ),
            self._materials,
        )
        self._patients.add(name)
        return Container(name)

    def reagent(
        self,
        name: str,
        *,
        volume: Volume,
        in_use: Duration,
        catalogue: str = "",
        patient_specific: bool = False,
    ) -> Container:
        """Declare a bag of a reagent: what it holds at least, how long it is good once in use.

        ``catalogue`` is the site's name of the material; by default the name with dashes.
        """
        self._declare(
            name,
            "reagent",
            lambda: model.Reagent(
                name=name,
                catalogue=catalogue or _slug(name),
                volume=volume,
                in_use=in_use,
                patient_specific=patient_specific,
            ),
            self._materials,
        )
        return Container(name)

    def empty_bag(
        self,
        name: str,
        *,
        catalogue: str,
        capacity: Volume,
        filled: Range[Volume] | None = None,
    ) -> Container:
        """Declare a bag that is filled here; ``filled`` where a step states no volume.

        ``catalogue`` is the site's name of the kind of bag, e.g. ``"cryobag"``: no other kind
        stands for it, however large.
        """
        self._declare(
            name,
            "empty bag",
            lambda: model.EmptyBag(
                name=name, catalogue=catalogue, capacity=capacity, filled=filled
            ),
            self._materials,
        )
        return Container(name)

    def tube(self, name: str, *, catalogue: str = "tube", capacity: Volume = 2 * mL) -> Container:
        """Declare a tube for a sample; ``catalogue`` is the site's name of its kind."""
        self._declare(
            name,
            "tube",
            lambda: model.Tube(name=name, catalogue=catalogue, capacity=capacity),
            self._materials,
        )
        return Container(name)

    def kit(
        self,
        name: str,
        *,
        vessel: str,
        capacity: Volume,
        flush_volume: Volume,
        waste_capacity: Volume,
        catalogue: str = "",
        ports: tuple[str, ...] = _KIT_PORTS,
    ) -> KitInUse:
        """Declare a kit: a tray with a vessel, a flush bag and, at its last port, a waste bag."""
        flush, waste = f"{name} flush bag", f"{name} waste bag"
        self._declare(
            name,
            "kit",
            lambda: model.Kit(
                name=name,
                catalogue=catalogue or _slug(name),
                ports=ports,
                vessel=vessel,
                capacity=capacity,
                flush=flush,
                flush_volume=flush_volume,
                waste=waste,
                waste_capacity=waste_capacity,
            ),
            self._kits,
        )
        for part in (vessel, flush, waste):
            self._take_name(part, f"part of the kit {name!r}")
        return KitInUse(name, Container(vessel), Container(flush), Container(waste))

    def ordered(self, name: str, *, range: Range[Q]) -> NotYet[Q]:  # noqa: A002 - the author's word
        """Declare a value that each order states, within ``range``."""
        bounds = _bounds(range)
        self._declare(
            name,
            "ordered value",
            lambda: model.OrderedValue(name=name, bounds=bounds),
            self._ordered,
        )
        self._values.add(name)
        return NotYet(Ordered(name=name, bounds=bounds), type(range.lowest))

    # What it runs on

    @overload
    def equipment(
        self, name: str, kind: Literal["transfer_station"], **ranges: Range[Any]
    ) -> TransferStation: ...
    @overload
    def equipment(
        self, name: str, kind: Literal["incubator"], **ranges: Range[Any]
    ) -> Incubator: ...
    @overload
    def equipment(
        self, name: str, kind: Literal["cell_counter"], **ranges: Range[Any]
    ) -> CellCounter: ...
    @overload
    def equipment(self, name: str, kind: Literal["arm"], **ranges: Range[Any]) -> Arm: ...
    @overload
    def equipment(
        self, name: str, kind: Literal["centrifuge"], **ranges: Range[Any]
    ) -> Centrifuge: ...
    @overload
    def equipment(self, name: str, kind: Literal["freezer"], **ranges: Range[Any]) -> Freezer: ...
    @overload
    def equipment(self, name: str, kind: Literal["bench"], **ranges: Range[Any]) -> Bench: ...
    @overload
    def equipment(self, name: str, kind: Literal["dewar"], **ranges: Range[Any]) -> Dewar: ...
    def equipment(self, name: str, kind: str, **ranges: Range[Any]) -> Unit:
        """Declare a unit by its kind, with the ranges in which this process is proven.

        For example ``p.equipment("station", "transfer_station", flow=between(...))``.
        """
        made = _UNITS.get(kind)
        if made is None:
            raise CannotWriteError(
                "P040",
                f"unknown kind of equipment {kind!r}; {_nearest(kind, _UNITS)}",
            )
        self._declare(
            name,
            "equipment",
            lambda: model.EquipmentRole(
                name=name,
                kind=kind,
                capabilities=_CAPABILITIES[kind],
                ranges={parameter: _bounds(limits) for parameter, limits in ranges.items()},
            ),
            self._equipment,
        )
        return made(self, name)

    # What is done

    @contextmanager
    def unit_procedure(self, name: str) -> Generator[Part]:
        """Open a unit procedure: what can be held by itself."""
        if self._open[-1].kind not in ("procedure", "together"):
            raise CannotWriteError("P060", f"unit procedure {name!r} stands within another part")
        with self._element("unit_procedure", name) as opened:
            yield Part(opened.path)
        self._put(model.UnitProcedure(slug=opened.slug, name=name, body=tuple(opened.items)))

    @contextmanager
    def together(self) -> Generator[None]:
        """Open unit procedures that run side by side."""
        with self._element("together", "together") as opened:
            yield
        self._put(model.Together(slug=opened.slug, unit_procedures=tuple(opened.items)))

    @contextmanager
    def operation(self, name: str, *, longest_hold: Duration | None = None) -> Generator[Part]:
        """Open an operation. ``longest_hold`` is for its steps that state none themselves."""
        outside = [opened.kind for opened in self._open]
        if "operation" in outside:
            raise CannotWriteError("P060", f"operation {name!r} stands within an operation")
        if outside[-1] == "procedure":
            with self.unit_procedure(name), self.operation(name, longest_hold=longest_hold) as one:
                yield one
            return
        with self._element("operation", name) as opened:
            opened.longest_hold = longest_hold
            yield Part(opened.path)
        self._put(model.Operation(slug=opened.slug, name=name, body=tuple(opened.items)))

    @contextmanager
    def sequence(self, name: str) -> Generator[Part]:
        """Open a named part; in ``parallel``, one branch."""
        with self._element("sequence", name) as opened:
            yield Part(opened.path)
        self._put(model.Sequence(slug=opened.slug, name=name, body=tuple(opened.items)))

    @contextmanager
    def parallel(self, name: str = "parallel") -> Generator[Part]:
        """Open branches that run side by side; each is a ``with p.sequence(...)``."""
        with self._element("parallel", name) as opened:
            opened.inside = opened.path
            yield Part(opened.path)
        branches = tuple(item for item in opened.items if isinstance(item, model.Sequence))
        if not branches or len(branches) != len(opened.items):
            raise CannotWriteError(
                "P060", f"{name!r} holds steps outside its branches: write with p.sequence(...)"
            )
        self._put(model.Parallel(slug=opened.slug, name=name, branches=branches))

    @contextmanager
    def repeat_until(self, name: str, *, at_most: int) -> Generator[Turns]:
        """Open a repetition of at most so many turns; its body says ``turns.until(...)``."""
        turns = Turns(self, name)
        with self._element("repeat_until", name) as opened:
            yield turns
        if turns.condition is None:
            raise CannotWriteError(
                "P060", f"{name!r} doesn't say until when: write turns.until(...) in its body"
            )
        if not 1 <= at_most <= 1000:
            raise CannotWriteError("P060", f"{name!r}: at_most is from 1 to 1000, not {at_most}")
        self._put(
            model.RepeatUntil(
                slug=opened.slug,
                name=name,
                at_most=at_most,
                condition=turns.condition,
                body=tuple(opened.items),
            )
        )

    @contextmanager
    def when(
        self,
        value: NotYet[Q],
        *,
        at_least: Q | None = None,
        no_more_than: Q | None = None,
        name: str = "when",
        otherwise: Hold | None = None,
    ) -> Generator[Branches]:
        """Open the way that is taken if ``value`` lies in these limits.

        The other way is ``otherwise=Hold("...")``, or is written with
        ``with choice.otherwise():`` inside this block, at its end; without either it is empty.
        """
        condition = self.condition(value, at_least, no_more_than)
        others: list[_Open] = []

        @contextmanager
        def other() -> Generator[None]:
            if others or otherwise is not None:
                raise CannotWriteError("P060", f"{name!r} already says what happens otherwise")
            branch = _Open("otherwise", "", opened.path, f"{opened.path}[otherwise]/")
            branch.longest_hold = opened.longest_hold
            others.append(branch)
            self._open.append(branch)
            yield
            self._open.pop()

        with self._element("when", name) as opened:
            opened.inside = f"{opened.path}[then]/"
            yield Branches(other)
        items: tuple[Any, ...] = tuple(others[0].items) if others else ()
        if otherwise is not None:
            hold = model.Hold(slug="hold", reason=otherwise.reason)
            self._places[f"{opened.path}[otherwise]/hold"] = self._places[opened.path]
            items = (hold,)
        self._put(
            model.When(
                slug=opened.slug,
                name=name,
                condition=condition,
                then=tuple(opened.items),
                otherwise=items,
            )
        )

    @contextmanager
    def keep(
        self,
        watched: Watched[Q],
        limits: Range[Q],
        *,
        fresh_within: Duration,
        for_at_least: Duration,
        tier: Literal["warn", "alarm", "block"],
        source: str,
        name: str = "keep",
    ) -> Generator[Part]:
        """Open what runs while a value is watched; out of limits for so long leads to ``tier``."""
        if watched.kind is not type(limits.lowest):
            raise CannotWriteError(
                "U010", f"{limits} are no limits of a {watched.kind.__name__} ({watched.reading})"
            )
        condition = Condition(
            reading=Reading.kinds[watched.reading].model_validate({"unit": watched.unit}),
            lowest=str(limits.lowest),
            highest=str(limits.highest),
            fresh_within=fresh_within,
            for_at_least=for_at_least,
        )
        with self._element("keep", name) as opened:
            yield Part(opened.path)
        self._put(
            model.Keep(
                slug=opened.slug,
                name=name,
                condition=condition,
                tier=model.Tier(tier),
                source=source,
                body=tuple(opened.items),
            )
        )

    def hold(self, reason: str) -> None:
        """Go no further on this way: a person must decide."""
        opened = self._open[-1]
        slug = self._slug_in(opened, "hold")
        self._places[opened.child(slug)] = _here()
        self._put(model.Hold(slug=slug, reason=reason))

    def lag(
        self,
        name: str,
        *,
        from_: model.Moment,
        to: model.Moment,
        minimum: Duration | None = None,
        maximum: Duration | None = None,
        tier: Literal["warn", "alarm", "block"],
        source: str,
    ) -> None:
        """State the time between two moments, e.g. ``from_=feed.end, to=feed.start``.

        ``source`` is a citation or ``"set by site"``.
        """
        if f"lag:{name}" in self._places:
            self.fault("P060", f"{name!r} is already the name of a lag; choose another")
        self._places[f"lag:{name}"] = _here()
        self._lags.append(
            model.Lag(
                name=name,
                from_event=from_,
                to_event=to,
                minimum=minimum,
                maximum=maximum,
                tier=model.Tier(tier),
                source=source,
            )
        )

    def verify_identity(
        self, container: Container | KitInUse, *, at: Unit, longest_hold: Duration | None = None
    ) -> Part:
        """Scan a container at a unit; go on only if it is this patient's."""
        return self.add("verify_identity", longest_hold, container=container.name, at=at.name)

    def confirm(
        self,
        question: str,
        *,
        respond_within: Duration,
        choices: tuple[Choice, ...] = (),
        entries: tuple[Entry, ...] = (),
        second_person: bool = False,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Ask a person to confirm, choose or enter; moves nothing."""
        return self.add(
            "confirm",
            longest_hold,
            question=question,
            choices=choices,
            entries=entries,
            second_person=second_person,
            respond_within=respond_within,
        )

    # For the units' verbs

    def add(
        self,
        kind: str,
        longest_hold: Duration | None,
        *,
        measures: dict[str, str] | None = None,
        **parameters: Any,
    ) -> Part:
        """Add one step with a phase of the newest version of ``kind``.

        Where that kind asks for the vessel, flush or waste bag of the kit it is given, they
        are filled in.
        """
        opened = self._open[-1]
        if not any(part.kind == "operation" for part in self._open):
            raise CannotWriteError(
                "P060", "a step stands outside any operation: write with p.operation(...)"
            )
        if opened.kind == "parallel":
            raise CannotWriteError(
                "P060", "a step stands outside the branches: write with p.sequence(...)"
            )
        version = _KINDS[kind]
        if version not in PhaseModel.kinds:
            model.load_phase_kinds()
        self._number += 1
        slug = f"{self._number:02d}-{kind.replace('_', '-')}"
        path = opened.child(slug)
        self._places[path] = _here()
        made = PhaseModel.kinds[version]
        given = self._surroundings(made, parameters.get("kit"))
        given |= {name: value for name, value in parameters.items() if value is not None}
        hold = longest_hold if longest_hold is not None else self._longest_hold()
        given |= {"kind": version, "longest_hold": hold, "measures": measures or {}}
        phase = self._phase(made, given, kind)
        if phase is None:
            return Part(path)
        opened.items.append(
            model.Step(slug=slug, name=kind.replace("_", " ").capitalize(), phase=phase)
        )
        return Part(path)

    def _phase(self, made: type[PhaseModel], given: dict[str, Any], kind: str) -> PhaseModel | None:
        """Return the phase; where that can't be, say why.

        A word that isn't one of those known is told, and another stands for it until all is
        written: the step is still there for those that rest on it. Such a recipe isn't given out.
        """
        try:
            return made.model_validate(given)
        except ValidationError as invalid:
            errors = invalid.errors()
        was_told = self._has_fault_here()
        for error in errors:
            if error["type"] == "missing" and was_told:
                continue  # it was given, and told already to be wrong
            self.fault(*_wrong_part(kind.replace("_", " "), kind, error))
        known = {".".join(map(str, error["loc"])): _words(made, error) for error in errors}
        if not all(known.values()):
            return None
        stands_in = {name: words[0] for name, words in known.items()}
        try:
            return made.model_validate({**given, **stands_in})
        except ValidationError:  # the author's own word may have fitted the rest, and this doesn't
            return None

    def amount(self, value: Q | NotYet[Q], kind: type[Q], what: str) -> Amount | None:
        """Return what stands in the recipe for ``value``; a wrong dimension is a finding."""
        try:
            return amount_of(value, kind)
        except TypeError as wrong:
            self.fault("U010", f"{what}: {wrong}")
            return None

    def condition(self, value: NotYet[Q], at_least: Q | None, no_more_than: Q | None) -> Condition:
        """Return the condition that a value of the record lies within limits."""
        amount = value.amount if isinstance(cast("object", value), NotYet) else None
        if not isinstance(amount, Measured | Ordered):
            raise CannotWriteError(
                "P060", f"{value!r} can't be tested: name a measured or an ordered value"
            )
        if at_least is None and no_more_than is None:
            raise CannotWriteError("P060", f"{amount.name!r}: say at_least or no_more_than")
        for limit in (at_least, no_more_than):
            if limit is not None and type(limit) is not value.kind:
                raise CannotWriteError(
                    "U010", f"{amount.name!r} is a {value.kind.__name__}; {limit} isn't"
                )
        return Condition(
            reading=model.MeasuredValue(name=amount.name),
            lowest="" if at_least is None else str(at_least),
            highest="" if no_more_than is None else str(no_more_than),
            fresh_within=_NEVER_AGES,
        )

    def measured(self, name: str, bounds: Range[Q]) -> NotYet[Q]:
        """Return a new measured value; its name is unique in the recipe."""
        if name in self._values:
            self.fault("P060", f"{name!r} is measured twice; declare another container for it")
        self._values.add(name)
        return NotYet(Measured(name=name, bounds=_bounds(bounds)), type(bounds.lowest))

    def sampled_into(self, tube: Container) -> str:
        """Return what the next step's sample is called: as its tube, which serves once."""
        number = self._number + 1
        earlier = self._samples.setdefault(tube.name, number)
        if earlier == number:
            return tube.name
        self.fault(
            "P060",
            f"the tube {tube.name!r} is used already by step {earlier}; declare another tube",
        )
        return f"{tube.name} of step {number}"

    def join(self, container: Container, kit: KitInUse, port: str) -> None:
        """Remember that ``container`` hangs at a port of ``kit``."""
        declared = next(one for one in self._kits if one.name == kit.name)
        if port not in declared.ports:
            self.fault(
                "C040", f"{kit.name!r} has no port {port!r}; it has {', '.join(declared.ports)}"
            )
        self._joined[container.name] = (kit.name, port)

    def joined_at(self, container: Container) -> tuple[str, str] | None:
        """Return kit and position at which ``container`` is joined, as far as written."""
        for kit in self._kits:
            if container.name in kit.places:
                return kit.name, kit.places[container.name]
        return self._joined.get(container.name)

    def part(self, container: Container) -> tuple[str, str]:
        """Forget where ``container`` is joined, and return it."""
        return self._where(container, self._joined.pop(container.name, None))

    def kit_of(self, *containers: Container) -> str:
        """Return the kit through which containers can meet, as far as written."""
        found = [where for where in map(self.joined_at, containers) if where is not None]
        if not found:
            return self._where(containers[0], None)[0]
        return found[0][0]

    def position(self, container: Container) -> str:
        """Return the position of a joined container; a finding if it isn't joined."""
        return self._where(container, self.joined_at(container))[1]

    def _where(self, container: Container, found: tuple[str, str] | None) -> tuple[str, str]:
        if found is not None:
            return found
        self.fault(
            "C010",
            f"{container.name!r} is not connected; the system would be open. "
            "Write station.connect(...) for it above this line.",
        )
        return (self._kits[0].name if self._kits else "no kit"), "p1"

    @property
    def value_names(self) -> frozenset[str]:
        """The names of what is measured or ordered so far."""
        return frozenset(self._values)

    def filling_of(self, container: Container) -> Range[Volume]:
        """Return what an empty bag was declared to be filled with; at most what it holds."""
        for one in self._materials:
            if one.name == container.name and isinstance(one, model.EmptyBag):
                return one.filled or between(_NOTHING, one.capacity)
        self.fault("P060", f"{container.name!r} isn't an empty bag: nothing can be filled into it")
        return between(_NOTHING, _NOTHING)

    def carries(self, container: Container) -> bool:
        """Return whether patient material is or may be in ``container`` by now."""
        return container.name in self._patients

    def passes(self, source: Container, target: Container) -> bool:
        """Remember that contents pass; return whether patient material is touched."""
        touched = self.carries(source) or self.carries(target)
        if self.carries(source):
            self._patients.add(target.name)
        return touched

    def fault(self, rule: str, text: str) -> None:
        """Write down something wrong, at the line being run."""
        self._faults.append(WritingFault(rule, _here(), text))

    def _has_fault_here(self) -> bool:
        here = _here()
        return any(fault.place == here for fault in self._faults)

    def written(self) -> Written:
        """Return the recipe as far as it was written."""
        draft = self._head.model_copy(
            update={
                "materials": tuple(self._materials),
                "kits": tuple(self._kits),
                "equipment": tuple(self._equipment),
                "ordered": tuple(self._ordered),
                "body": tuple(self._open[0].items),
                "lags": tuple(self._lags),
            }
        )
        return Written(model.Recipe.written(draft), self._places, tuple(self._faults))

    def abandoned(self, why: CannotWriteError) -> Written:
        """Return what was found wrong, and no steps."""
        return Written(model.Recipe.written(self._head), {}, (*self._faults, why.fault))

    def _surroundings(self, phase: type[PhaseModel], kit: object) -> dict[str, Any]:
        for one in self._kits:
            if one.name == kit:
                around = {"vessel": one.vessel, "flush": one.flush}
                return {name: part for name, part in around.items() if name in phase.model_fields}
        return {}

    def _longest_hold(self) -> Duration:
        for opened in reversed(self._open):
            if opened.longest_hold is not None:
                return opened.longest_hold
        return Duration.of_base(0)

    def _declare(self, name: str, what: str, made: Callable[[], Any], into: list[Any]) -> None:
        if len(self._open) > 1:
            self.fault("P060", f"{name!r} is declared within a step; declare it at the top")
        self._take_name(name, what)
        self._places[f"{what.replace(' ', '-')}:{name}"] = _here()
        try:
            into.append(made())
        except ValidationError as invalid:
            *others, last = (_wrong_part(f"{what} {name!r}", what, one) for one in invalid.errors())
            for rule, other in others:
                self.fault(rule, other)
            raise CannotWriteError(*last) from None

    def _take_name(self, name: str, what: str) -> None:
        if name in self._names:
            self.fault("P060", f"{name!r} is already a name of {self._names[name]}; choose another")
        if not name.strip() or len(name) > 60 or not name.isprintable() or set(name) & set("{}"):
            self.fault("P060", f"{name!r} can't be a name: 1 to 60 printable characters, no braces")
        self._names[name] = what

    @contextmanager
    def _element(self, kind: str, name: str) -> Generator[_Open]:
        outer = self._open[-1]
        if outer.kind == "parallel" and kind != "sequence":
            raise CannotWriteError(
                "P060", f"{name!r} stands outside the branches: write with p.sequence(...)"
            )
        if outer.kind == "procedure" and kind not in ("unit_procedure", "together"):
            raise CannotWriteError(
                "P060", f"{name!r} stands outside any unit procedure: write p.unit_procedure(...)"
            )
        slug = self._slug_in(outer, _slug(name))
        path = f"{outer.path}[{slug}]" if outer.kind == "parallel" else outer.child(slug)
        opened = _Open(kind=kind, slug=slug, path=path, inside=f"{path}/")
        self._places[path] = _here()
        self._open.append(opened)
        yield opened
        self._open.pop()

    def _slug_in(self, opened: _Open, wanted: str) -> str:
        slug, count = wanted, 1
        while slug in opened.slugs:
            count += 1
            slug = f"{wanted}-{count}"
        opened.slugs.add(slug)
        return slug

    def _put(self, node: Any) -> None:
        self._open[-1].items.append(node)


class Unit:
    """A unit of equipment, by the recipe's name."""

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self.name = name


class TransferStation(Unit):
    """A docked kit, a pump, valves and balances."""

    def install_kit(self, kit: KitInUse, *, longest_hold: Duration | None = None) -> Part:
        """Have a kit unpacked and docked at the station."""
        return self._writer.add("install_kit", longest_hold, kit=kit.name, station=self.name)

    def connect(
        self,
        container: Container,
        *,
        to: KitInUse,
        port: str,
        by: Literal["sterile_weld", "aseptic_connector"],
        flow: Flow,
        rinse: Volume = 5 * mL,
        first_dose: Volume = 1 * mL,
        leak_test: bool = True,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Join a container to a port of a kit, and test the joint."""
        self._writer.join(container, to, port)
        return self._writer.add(
            "connect",
            longest_hold,
            container=container.name,
            kit=to.name,
            port=port,
            station=self.name,
            by=by,
            patient_material=self._writer.carries(container),
            rinse=rinse,
            first_dose=first_dose,
            waste=to.waste.name,
            waste_at=self._writer.position(to.waste),
            flow=flow,
            leak_test=leak_test,
        )

    def disconnect(self, container: Container, *, longest_hold: Duration | None = None) -> Part:
        """Have a joined container sealed off and taken away."""
        kit, port = self._writer.part(container)
        return self._writer.add(
            "disconnect",
            longest_hold,
            container=container.name,
            kit=kit,
            port=port,
            station=self.name,
        )

    def transfer(
        self,
        source: Container,
        *,
        to: Container,
        volume: Volume | NotYet[Volume],
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Move a volume from one joined container to another."""
        writer = self._writer
        return writer.add(
            "transfer",
            longest_hold,
            kit=writer.kit_of(to, source),
            station=self.name,
            source=source.name,
            source_at=writer.position(source),
            target=to.name,
            target_at=writer.position(to),
            volume=writer.amount(volume, Volume, "transfer, volume"),
            flow=flow,
            patient_material=writer.passes(source, to),
        )

    def wash(
        self,
        kit: KitInUse,
        *,
        buffer: Container,
        waste: Container,
        cycles: int,
        volume: Volume,
        keep: Volume,
        flow: Flow,
        centrifuge: Centrifuge,
        arm: Arm,
        force: RelativeForce,
        spin: Duration,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Wash the vessel's cells: spin, draw off, add buffer, so many times."""
        writer = self._writer
        writer.passes(kit.vessel, waste)
        return writer.add(
            "wash",
            longest_hold,
            kit=kit.name,
            station=self.name,
            centrifuge=centrifuge.name,
            arm=arm.name,
            buffer=buffer.name,
            buffer_at=writer.position(buffer),
            waste=waste.name,
            waste_at=writer.position(waste),
            cycles=cycles,
            volume=volume,
            keep=keep,
            flow=flow,
            force=force,
            spin=spin,
        )

    def seed_and_activate(
        self,
        kit: KitInUse,
        *,
        cells: Container,
        cell_volume: Volume | NotYet[Volume],
        medium: Container,
        medium_volume: Volume,
        reagent: Container,
        reagent_volume: Volume | NotYet[Volume],
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Bring medium, cells and activation reagent into the vessel."""
        writer = self._writer
        writer.passes(cells, kit.vessel)
        return writer.add(
            "seed_and_activate",
            longest_hold,
            kit=kit.name,
            station=self.name,
            cells=cells.name,
            cells_at=writer.position(cells),
            medium=medium.name,
            medium_at=writer.position(medium),
            medium_volume=medium_volume,
            cell_volume=writer.amount(cell_volume, Volume, "seed and activate, cell_volume"),
            reagent=reagent.name,
            reagent_at=writer.position(reagent),
            reagent_volume=writer.amount(
                reagent_volume, Volume, "seed and activate, reagent_volume"
            ),
            flow=flow,
        )

    def transduce(
        self,
        kit: KitInUse,
        *,
        vector: Container,
        volume: Volume | NotYet[Volume],
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Bring vector into the vessel."""
        writer = self._writer
        return writer.add(
            "transduce",
            longest_hold,
            kit=kit.name,
            station=self.name,
            vector=vector.name,
            vector_at=writer.position(vector),
            volume=writer.amount(volume, Volume, "transduce, volume"),
            flow=flow,
        )

    def feed(
        self,
        kit: KitInUse,
        *,
        medium: Container,
        volume: Volume,
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Add medium to the vessel."""
        return self._feed(kit, medium, volume, flow, longest_hold, mode="add")

    def exchange_medium(
        self,
        kit: KitInUse,
        *,
        medium: Container,
        volume: Volume,
        remove: Volume,
        waste: Container,
        settle: Duration,
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Let cells settle, draw old medium off to waste, add fresh medium."""
        self._writer.passes(kit.vessel, waste)
        return self._feed(
            kit,
            medium,
            volume,
            flow,
            longest_hold,
            mode="exchange",
            waste=waste.name,
            waste_at=self._writer.position(waste),
            settle=settle,
            remove=remove,
        )

    def _feed(
        self,
        kit: KitInUse,
        medium: Container,
        volume: Volume,
        flow: Flow,
        longest_hold: Duration | None,
        **exchange: Any,
    ) -> Part:
        return self._writer.add(
            "feed",
            longest_hold,
            kit=kit.name,
            station=self.name,
            medium=medium.name,
            medium_at=self._writer.position(medium),
            volume=volume,
            flow=flow,
            **exchange,
        )

    def mix(
        self,
        kit: KitInUse,
        *,
        by: Literal["hands"],
        times: int,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Mix the vessel's contents, so many times."""
        return self._writer.add(
            "mix",
            longest_hold,
            kit=kit.name,
            station=self.name,
            by=by,
            times=times,
        )

    def detach(
        self,
        kit: KitInUse,
        *,
        arm: Arm,
        incubator: Incubator,
        enzyme: Container,
        enzyme_volume: Volume,
        contact: Range[Duration],
        quench: Container,
        quench_volume: Volume,
        waste: Container,
        flow: Flow,
        remove: Volume = _NOTHING,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Take adherent cells off their surface by enzyme, and quench it within ``contact``.

        ``remove`` is old medium drawn off before, since it inhibits the enzyme.
        """
        writer = self._writer
        writer.passes(kit.vessel, waste)
        return writer.add(
            "detach",
            longest_hold,
            kit=kit.name,
            station=self.name,
            arm=arm.name,
            incubator=incubator.name,
            enzyme=enzyme.name,
            enzyme_at=writer.position(enzyme),
            enzyme_volume=enzyme_volume,
            contact=contact,
            quench=quench.name,
            quench_at=writer.position(quench),
            quench_volume=quench_volume,
            waste=waste.name,
            waste_at=writer.position(waste),
            remove=remove,
            flow=flow,
        )

    def concentrate(
        self,
        kit: KitInUse,
        *,
        arm: Arm,
        centrifuge: Centrifuge,
        force: RelativeForce,
        spin: Duration,
        waste: Container,
        draw: Volume,
        keep: Volume,
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Spin the vessel and draw liquid off to waste, never below what is kept."""
        writer = self._writer
        writer.passes(kit.vessel, waste)
        return writer.add(
            "concentrate",
            longest_hold,
            kit=kit.name,
            station=self.name,
            arm=arm.name,
            centrifuge=centrifuge.name,
            force=force,
            spin=spin,
            waste=waste.name,
            waste_at=writer.position(waste),
            keep=keep,
            draw=draw,
            flow=flow,
        )

    def formulate(
        self,
        kit: KitInUse,
        *,
        cryo: Container,
        volume: Volume | NotYet[Volume],
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Add cryoprotectant to the vessel: the DMSO clock starts."""
        writer = self._writer
        return writer.add(
            "formulate",
            longest_hold,
            kit=kit.name,
            station=self.name,
            cryo=cryo.name,
            cryo_at=writer.position(cryo),
            volume=writer.amount(volume, Volume, "formulate, volume"),
            flow=flow,
        )

    def fill_and_seal(
        self,
        kit: KitInUse,
        *,
        source: Container,
        bags: tuple[Container, ...],
        volume: Volume | NotYet[Volume],
        flow: Flow,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Fill each joined bag with a volume; hands seal it off, label it beside its own label."""
        writer = self._writer
        for bag in bags:
            writer.passes(source, bag)
        made = writer.add(
            "fill_and_seal",
            longest_hold,
            kit=kit.name,
            station=self.name,
            source=source.name,
            bags=tuple(bag.name for bag in bags),
            ports=tuple(writer.position(bag) for bag in bags),
            volume=writer.amount(volume, Volume, "fill and seal, volume"),
            flow=flow,
        )
        for bag in bags:
            if writer.joined_at(bag) is not None:
                writer.part(bag)
        return made


class Incubator(Unit):
    """A chamber whose climate all its batches share."""

    @property
    def temperature(self) -> Watched[Temperature]:
        """The chamber's temperature, for ``p.keep``."""
        return Watched("chamber_temperature", self.name, Temperature)

    @property
    def carbon_dioxide(self) -> Watched[Fraction]:
        """The chamber's carbon dioxide, for ``p.keep``."""
        return Watched("chamber_carbon_dioxide", self.name, Fraction)

    def set_climate(
        self,
        *,
        temperature: Temperature,
        carbon_dioxide: Fraction,
        longest_hold: Duration | None = None,
    ) -> Part:
        """State the climate that this batch needs."""
        return self._writer.add(
            "set_climate",
            longest_hold,
            incubator=self.name,
            temperature=temperature,
            carbon_dioxide=carbon_dioxide,
        )

    def incubate(
        self, kit: KitInUse, *, duration: Duration, longest_hold: Duration | None = None
    ) -> Part:
        """Leave a kit in the chamber for a time."""
        return self._writer.add(
            "incubate", longest_hold, kit=kit.name, incubator=self.name, duration=duration
        )


class CellCounter(Unit):
    """Counts the cells of a sample."""

    def count(
        self,
        source: Container,
        *,
        tube: Container,
        at: TransferStation,
        sample_volume: Volume,
        expect: Range[CellDensity],
        viability_at_least: Fraction,
        longest_hold: Duration | None = None,
    ) -> Count:
        """Draw a sample and count it; hold unless the result lies as expected."""
        writer = self._writer
        writer.passes(source, tube)
        sample = writer.sampled_into(tube)
        names = {
            report: f"{sample} {report.replace('_', ' ')}"
            for report in ("viable_density", "viability", "cd3", "engineered")
        }
        part = writer.add(
            "sample_and_count",
            longest_hold,
            measures=names,
            kit=writer.kit_of(source),
            station=at.name,
            source=source.name,
            sample_volume=sample_volume,
            counter=self.name,
            tube=tube.name,
            density=expect,
            viability_at_least=viability_at_least,
        )
        return Count(
            path=part.path,
            viable_density=writer.measured(names["viable_density"], expect),
            viability=writer.measured(
                names["viability"], between(viability_at_least, 100 * percent)
            ),
            cd3=writer.measured(names["cd3"], _ANY_FRACTION),
            engineered=writer.measured(names["engineered"], _ANY_FRACTION),
        )


class Arm(Unit):
    """Moves trays and bags between places."""

    def move(
        self,
        what: KitInUse | Container,
        *,
        from_: Unit,
        to: Unit,
        longest_hold: Duration | None = None,
    ) -> Part:
        """Move a kit or a bag from one unit's place to another's."""
        return self._writer.add(
            "move_container",
            longest_hold,
            container=what.name,
            arm=self.name,
            from_=from_.name,
            to=to.name,
        )


class Centrifuge(Unit):
    """Spins a kit; used by washing and concentrating."""


class Freezer(Unit):
    """Cools at a controlled rate."""

    def precool(
        self, *, to: Temperature, rate: RampRate, longest_hold: Duration | None = None
    ) -> Part:
        """Bring the empty chamber to the temperature at which bags are loaded."""
        return self._writer.add("precool", longest_hold, freezer=self.name, to=to, rate=rate)

    def load(self, *containers: Container, longest_hold: Duration | None = None) -> Part:
        """Have containers set into the chamber by hand."""
        return self._writer.add(
            "load",
            longest_hold,
            containers=tuple(container.name for container in containers),
            at=self.name,
        )

    def freeze(
        self,
        *containers: Container,
        start: Temperature,
        segments: tuple[tuple[RampRate, Temperature], ...],
        longest_hold: Duration | None = None,
    ) -> Part:
        """Cool along segments of (rate, to): the DMSO clock ends as the first one begins."""
        return self._writer.add(
            "freeze",
            longest_hold,
            containers=tuple(container.name for container in containers),
            freezer=self.name,
            segments=segments,
            start=start,
        )


class Bench(Unit):
    """A place where people work by hand, with a scanner."""

    def receive(
        self,
        container: Container,
        *,
        volume: Range[Volume],
        longest_hold: Duration | None = None,
    ) -> Received:
        """Take in what came, and state its volume."""
        name = f"{container.name} received volume"
        part = self._writer.add(
            "receive",
            longest_hold,
            measures={"volume": name},
            container=container.name,
            at=self.name,
            volume=volume,
        )
        return Received(path=part.path, volume=self._writer.measured(name, volume))

    def load(self, *things: Container | KitInUse, longest_hold: Duration | None = None) -> Part:
        """Have containers or a kit set on the bench by hand, and scanned there."""
        return self._writer.add(
            "load",
            longest_hold,
            containers=tuple(thing.name for thing in things),
            at=self.name,
        )

    def select_magnetically(
        self,
        source: Container,
        *,
        to: Container,
        marker: str,
        longest: Duration,
        longest_hold: Duration | None = None,
    ) -> Selected:
        """Have cells selected by marker on a stand-alone closed box.

        What comes out lies in the range that ``to`` was declared to be filled with.
        """
        writer = self._writer
        writer.passes(source, to)
        name = f"{to.name} selected volume"
        part = writer.add(
            "select_magnetically",
            longest_hold,
            measures={"volume": name},
            source=source.name,
            target=to.name,
            marker=marker,
            longest=longest,
            at=self.name,
        )
        return Selected(path=part.path, volume=writer.measured(name, writer.filling_of(to)))

    def grade_confluence(self, kit: KitInUse, *, longest_hold: Duration | None = None) -> Graded:
        """Have a person look at the vessel and state how much of it cells cover."""
        opened = f"{kit.name} confluence"
        number = sum(1 for name in self._writer.value_names if name.startswith(opened))
        name = opened if not number else f"{opened} {number + 1}"
        part = self._writer.add(
            "grade_confluence",
            longest_hold,
            measures={"confluence": name},
            kit=kit.name,
            at=self.name,
        )
        return Graded(path=part.path, confluence=self._writer.measured(name, _ANY_FRACTION))


class Dewar(Unit):
    """Stores frozen bags in vapour of liquid nitrogen."""

    def store(
        self, *containers: Container, position: str, longest_hold: Duration | None = None
    ) -> Part:
        """Have containers put into a position of the dewar and scanned there."""
        return self._writer.add(
            "store",
            longest_hold,
            containers=tuple(container.name for container in containers),
            dewar=self.name,
            position=position,
        )


_UNITS: Final[dict[str, type[Unit]]] = {
    "transfer_station": TransferStation,
    "incubator": Incubator,
    "cell_counter": CellCounter,
    "arm": Arm,
    "centrifuge": Centrifuge,
    "freezer": Freezer,
    "bench": Bench,
    "dewar": Dewar,
}


def units() -> tuple[type[Unit], ...]:
    """Return every kind of unit that has verbs."""
    return tuple(_UNITS.values())


def procedure(
    *, title: str, document: str, version: str, author: str = ""
) -> Callable[[Callable[[Writer], None]], Written]:
    """Make a function that writes a procedure into the recipe that it writes."""

    def write(function: Callable[[Writer], None]) -> Written:
        writer = Writer(title=title, document=document, version=version, author=author)
        try:
            function(writer)
        except CannotWriteError as ended:
            return writer.abandoned(ended)
        return writer.written()

    return write


def _bounds(limits: Range[Any]) -> Bounds:
    return Bounds(lowest=str(limits.lowest), highest=str(limits.highest))


def _slug(name: str) -> str:
    slug = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in slug.split("-") if part)[:48] or "part"


def _wrong_part(of: str, whole: str, error: ErrorDetails) -> tuple[str, str]:
    """Return the rule, and in words which part of a step or a declaration breaks it."""
    where = ".".join(str(part) for part in error["loc"]) or whole
    if error["type"] == "missing":
        return "U010", f"{of} says no {where}: write {where}=... in it"
    about = error.get("ctx", {})
    if error["type"] == "literal_error":
        return "P040", f"{of}, {where}: unknown word {error['input']!r}; write {about['expected']}"
    cause = about.get("error")
    if isinstance(cause, NotAQuantityError):
        return "U010", f"{of}, {where}: {cause.in_python}"
    return "U010", f"{of}, {where}: {error['msg'].removeprefix('Value error, ')}"


def _words(made: type[PhaseModel], error: ErrorDetails) -> tuple[Any, ...]:
    """Return the words among which a parameter isn't; none if that isn't what is wrong."""
    annotation = made.model_fields[str(error["loc"][0])].annotation if error["loc"] else None
    if error["type"] != "literal_error" or get_origin(annotation) is not Literal:
        return ()
    return get_args(annotation)


def _nearest(word: str, known: Any) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _here() -> Place:
    """Return the innermost line that is neither ours nor Python's own."""
    frame = currentframe()
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith("orchestrator.recipe.") and name != "contextlib":
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return Place("", 0)
