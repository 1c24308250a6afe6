"""The recipe: a frozen tree of what is done, in which order, with which material.

Its canonical bytes are what is approved, signed, run and kept, so they are stored as
they were written and never made again from the model (``Recipe.content``). A position
in it is a path of slugs, ``expand/feed/07-transfer``; in a run each repetition adds its
number, ``expand/feed[3]/07-transfer``, and ``written_path`` takes the numbers off.

Follows design section 4 and ISA-88's procedural model.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache, cached_property
from importlib import import_module
from typing import Annotated, Any, ClassVar, Final, Literal, Self, cast

from pydantic import Field, PrivateAttr, ValidationError

import orchestrator.phases
from orchestrator.kernel.acts import Reading
from orchestrator.kernel.canonical import NotCanonicalError, canonical, digest
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import PhasePath, RecipeDigest
from orchestrator.kernel.measured import Bounds
from orchestrator.kernel.quantities import Duration, Range, Volume
from orchestrator.phases.phase import AnyPhase

SLUG: Final = r"[a-z0-9][a-z0-9_-]*"
LARGEST_CONTENT: Final = 16 * 1024 * 1024
"""Bytes of a recipe: more is refused unread."""

_ITERATION: Final = re.compile(r"\[[0-9]+\]")

Slug = Annotated[str, Field(pattern=f"^{SLUG}$", max_length=64)]


@cache
def load_phase_kinds() -> None:
    """Make every kind of phase known, so that a recipe can be read back."""
    for module in pkgutil.iter_modules(orchestrator.phases.__path__):
        import_module(f"orchestrator.phases.{module.name}")


class MeasuredValue(Reading):
    """The newest value in the batch's record under a measured or an ordered name."""

    capability: ClassVar[str] = "record"
    kind: Literal["measured_value"] = "measured_value"
    unit: str = "record"
    name: str = Field(description="The name of the measured or ordered amount")


# What goes in --------------------------------------------------------------------------


class PatientMaterial(Frozen):
    """Material of this patient, as it arrives."""

    material: Literal["patient_material"] = "patient_material"
    name: str
    volume: Range[Volume]
    longest_since_collection: Duration | None = Field(
        default=None, description="Older than this at its first use, it is refused"
    )


class Reagent(Frozen):
    """A bag of something from a released lot, used for one batch."""

    material: Literal["reagent"] = "reagent"
    name: str
    catalogue: str = Field(description="What the site's catalogue calls it (a MaterialId)")
    volume: Volume = Field(description="What the bag holds at least")
    in_use: Duration = Field(description="How long it may be used once it is connected")
    patient_specific: bool = Field(
        default=False, description="Made for this patient, e.g. a vector: it needs a proof"
    )


_KIND_OF_EMPTY: Final = (
    "What the site's catalogue calls it (a MaterialId); empty only in a recipe of an older "
    "version, of which no batch is made"
)


class EmptyBag(Frozen):
    """A bag that is filled in this procedure."""

    material: Literal["empty_bag"] = "empty_bag"
    name: str
    catalogue: str = Field(default="", description=_KIND_OF_EMPTY)
    capacity: Volume
    filled: Range[Volume] | None = Field(
        default=None, description="What it holds after a step that states no volume of its own"
    )


class Tube(Frozen):
    """A tube for a sample."""

    material: Literal["tube"] = "tube"
    name: str
    catalogue: str = Field(default="", description=_KIND_OF_EMPTY)
    capacity: Volume


Material = Annotated[PatientMaterial | Reagent | EmptyBag | Tube, Field(discriminator="material")]


class Kit(Frozen):
    """A tray with its manifold, vessel and preattached bags.

    The vessel is at valve ``vessel``, the flush bag at ``flush``, the waste bag at the
    last port; other containers are joined to the ports.
    """

    name: str
    catalogue: str = Field(description="What the site's catalogue calls it (a MaterialId)")
    ports: tuple[str, ...]
    vessel: str = Field(description="Name of the culture vessel")
    capacity: Volume = Field(description="The most that the vessel may hold")
    flush: str = Field(description="Name of the preattached bag of buffer")
    flush_volume: Volume
    waste: str = Field(description="Name of the preattached waste bag")
    waste_capacity: Volume

    @property
    def places(self) -> dict[str, str]:
        """Return which container is preattached where: container to position."""
        return {self.vessel: "vessel", self.flush: "flush", self.waste: self.ports[-1]}

    @property
    def inner(self) -> dict[str, str]:
        """Return what each of its own containers is received as, e.g. ``<kit>/vessel``."""
        return {self.vessel: "vessel", self.flush: "flush", self.waste: "waste"}


# What it runs on -----------------------------------------------------------------------


class EquipmentRole(Frozen):
    """A unit that the procedure needs, by what it can do; a process cell provides it."""

    name: str
    kind: str
    capabilities: tuple[str, ...]
    ranges: dict[str, Bounds] = Field(
        default={}, description="Parameter to the range in which this process is proven"
    )


class OrderedValue(Frozen):
    """A value that each order states, within a range."""

    name: str
    bounds: Bounds


# What is done --------------------------------------------------------------------------


class Tier(StrEnum):
    """What passing a limit leads to."""

    WARN = "warn"
    ALARM = "alarm"
    BLOCK = "block"


class Step(Frozen):
    """One phase. Its slug begins with its number in the whole procedure."""

    element: Literal["step"] = "step"
    slug: Slug
    name: str
    phase: AnyPhase


class Hold(Frozen):
    """The end of a way on which a person must decide."""

    element: Literal["hold"] = "hold"
    slug: Slug
    reason: str


class Sequence(Frozen):
    """One after another, under a name."""

    element: Literal["sequence"] = "sequence"
    slug: Slug
    name: str
    body: tuple[Element, ...]


class Parallel(Frozen):
    """Side by side; it ends when all branches have ended."""

    element: Literal["parallel"] = "parallel"
    slug: Slug
    name: str
    branches: tuple[Sequence, ...] = Field(min_length=1)


class RepeatUntil(Frozen):
    """The body again and again until the condition holds; it is tested after each turn.

    After ``at_most`` turns without it, the unit procedure is held.
    """

    element: Literal["repeat_until"] = "repeat_until"
    slug: Slug
    name: str
    at_most: int = Field(ge=1, le=1000)
    condition: Condition
    body: tuple[Element, ...]


class When(Frozen):
    """One of two ways, by a condition. The branch taken is an event."""

    element: Literal["when"] = "when"
    slug: Slug
    name: str
    condition: Condition
    then: tuple[Element, ...]
    otherwise: tuple[Element, ...]


class Keep(Frozen):
    """The body, while a condition is watched. Watching never acts."""

    element: Literal["keep"] = "keep"
    slug: Slug
    name: str
    condition: Condition
    tier: Tier
    source: str = Field(description="A citation of the limits, or 'set by site'")
    body: tuple[Element, ...]


class Operation(Frozen):
    """Steps that use their short-leased units together. Steps stand in operations only."""

    element: Literal["operation"] = "operation"
    slug: Slug
    name: str
    body: tuple[Element, ...]


Element = Annotated[
    Step | Hold | Sequence | Parallel | RepeatUntil | When | Keep | Operation,
    Field(discriminator="element"),
]


class UnitProcedure(Frozen):
    """What is done with one patient's material around one unit. A hold acts on one of these."""

    element: Literal["unit_procedure"] = "unit_procedure"
    slug: Slug
    name: str
    body: tuple[Element, ...]


class Together(Frozen):
    """Unit procedures side by side; the next begins when all have ended."""

    element: Literal["together"] = "together"
    slug: Slug
    unit_procedures: tuple[UnitProcedure, ...]


Node = (
    UnitProcedure
    | Together
    | Operation
    | Sequence
    | Parallel
    | RepeatUntil
    | When
    | Keep
    | Step
    | Hold
)
"""Anything that stands in the tree."""


class Moment(Frozen):
    """The start or the end of one element, by its written path.

    Within a repetition it comes once in each turn; the newest counts.
    """

    path: str
    edge: Literal["start", "end"]


class Lag(Frozen):
    """The time from one moment to the next occurrence of another.

    Both ends may be the same element: then it is the time between two turns. A ``minimum``
    makes ``to_event`` wait; a ``maximum`` that runs out leads to what ``tier`` says.
    """

    name: str
    from_event: Moment
    to_event: Moment
    minimum: Duration | None = None
    maximum: Duration | None = None
    tier: Tier
    source: str = Field(description="A citation, or 'set by site'")


class Recipe(Frozen):
    """A master recipe. ``content`` and ``digest`` are of the bytes it was written as."""

    format: Literal["recipe/1"] = "recipe/1"
    title: str
    document: str
    version: str
    author: str
    materials: tuple[Material, ...] = ()
    kits: tuple[Kit, ...] = ()
    equipment: tuple[EquipmentRole, ...] = ()
    ordered: tuple[OrderedValue, ...] = ()
    body: tuple[Annotated[UnitProcedure | Together, Field(discriminator="element")], ...] = ()
    lags: tuple[Lag, ...] = ()

    _content: bytes = PrivateAttr(default=b"")

    @classmethod
    def written(cls, draft: Recipe) -> Recipe:
        """Return ``draft`` with the canonical bytes that stand for it from now on."""
        return cls._of(draft, canonical(draft.model_dump(mode="json")))

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return the recipe that ``content`` holds, with these bytes beside it.

        Raises:
            RecipeRefusedError: It isn't a recipe, isn't canonical, or holds a kind of
                phase that this version doesn't know.
        """
        what = f"read a recipe of {len(content)} bytes"
        if len(content) > LARGEST_CONTENT:
            raise RecipeRefusedError(
                what,
                why=f"more than {LARGEST_CONTENT} bytes",
                do_next="Check that the file is a recipe",
            )
        load_phase_kinds()
        try:
            value: Any = json.loads(content)
            if canonical(value) != content:
                raise ValueError("its bytes aren't in canonical form")
            return cls._of(cls.model_validate(value), content)
        except ValidationError as invalid:
            first = invalid.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            why = f"{where}: {first['msg']}"
        except (ValueError, NotCanonicalError, RecursionError) as malformed:
            why = str(malformed) or type(malformed).__name__
        raise RecipeRefusedError(
            what,
            why=why,
            do_next="Write it again with `cellwright check`, or use the version "
            "of cellwright that wrote it",
        )

    @classmethod
    def _of(cls, recipe: Recipe, content: bytes) -> Self:
        made: Any = recipe.model_copy()
        made._content = content  # noqa: SLF001 - its own class, past the type's frozen look
        return cast("Self", made)

    @property
    def content(self) -> bytes:
        """The bytes to store, verbatim."""
        if not self._content:
            raise AssertionError("a draft has no content; use Recipe.written or Recipe.read")
        return self._content

    @cached_property
    def digest(self) -> RecipeDigest:
        """What is approved, signed and run: SHA-256 of the content."""
        return RecipeDigest(digest(self.content))

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node by its written path, in the order of the procedure."""
        return {path: node for part in self.body for path, node in _walk(part.slug, part)}

    def steps(self) -> Iterator[tuple[str, Step]]:
        """Yield each step once, with its written path, in the order of the procedure."""
        for path, node in self.nodes.items():
            if isinstance(node, Step):
                yield path, node

    def at(self, path: str) -> Node:
        """Return the node at a written path or a path of a run.

        Raises:
            RecipeRefusedError: There is none.
        """
        node = self.nodes.get(written_path(path))
        if node is None:
            raise RecipeRefusedError(
                f"find {path!r} in {self.document} version {self.version}",
                why="no element of the recipe has this path",
                do_next="List the paths with `cellwright read`",
            )
        return node

    def kit(self, name: str) -> Kit | None:
        """Return the declared kit of this name, if there is one."""
        return next((kit for kit in self.kits if kit.name == name), None)

    def containers(self) -> tuple[str, ...]:
        """Return the name of every container: declared, and preattached in kits."""
        declared = [material.name for material in self.materials]
        return (*declared, *(name for kit in self.kits for name in kit.places))


def written_path(path: str) -> str:
    """Return a run's path without the numbers of repetitions."""
    return _ITERATION.sub("", path)


def children(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    """Yield a node's children with their written paths, given the node's own.

    A branch of a ``Parallel`` adds its slug in brackets, ``meanwhile[left]``; what stands in
    a ``When`` has ``[then]`` or ``[otherwise]`` on the way. A run adds the turn of a
    ``RepeatUntil``.
    """
    if isinstance(node, Parallel):
        for branch in node.branches:
            yield f"{path}[{branch.slug}]", branch
    elif isinstance(node, When):
        for child in node.then:
            yield f"{path}[then]/{child.slug}", child
        for child in node.otherwise:
            yield f"{path}[otherwise]/{child.slug}", child
    elif isinstance(node, Together):
        for child in node.unit_procedures:
            yield f"{path}/{child.slug}", child
    elif not isinstance(node, Step | Hold):
        for child in node.body:
            yield f"{path}/{child.slug}", child


def _walk(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    yield path, node
    for below, child in children(path, node):
        yield from _walk(below, child)


def run_path(written: str, turns: dict[str, int]) -> PhasePath:
    """Return the path in a run: ``turns`` gives, by written path, each repetition's turn."""
    parts = written.split("/")
    made: list[str] = []
    for end in range(1, len(parts) + 1):
        turn = turns.get("/".join(parts[:end]))
        made.append(parts[end - 1] if turn is None else f"{parts[end - 1]}[{turn}]")
    return PhasePath("/".join(made))


for _model in (Sequence, Parallel, RepeatUntil, When, Keep, Operation, UnitProcedure, Together):
    _model.model_rebuild()
Recipe.model_rebuild()
