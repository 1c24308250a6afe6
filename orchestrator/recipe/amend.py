"""A recipe with an addendum: one more wait, a step again, a step less, or a small recipe put in.

Nothing else changes: each element that stays keeps its path and its words, so that what has run
under the old recipe is found, word for word, in the new one. What is new bears the amendment's
number in its slug, ``a1_2-feed``. Nothing is put into a repetition, where turns differ.

Follows design section 4: an addendum inserts a small checked recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.quantities import Duration
from orchestrator.phases.incubate import Incubate
from orchestrator.recipe.model import (
    Element,
    Hold,
    Lag,
    Moment,
    Node,
    Operation,
    Parallel,
    Recipe,
    RepeatUntil,
    Step,
    Tier,
    Together,
    UnitProcedure,
    When,
    children,
    written_path,
)

_Body = tuple[Element, ...]
_Edit = Callable[[str, _Body], _Body]
"""Returns the elements that stand under a path instead of those that do."""


class Wait(Frozen):
    """The kit stays in its incubator for so much longer, after an operation that leaves it there.

    Each limit that spans it and doesn't block gets as much more.
    """

    do: Literal["wait"] = "wait"
    after: str
    lasting: Duration


class Repeat(Frozen):
    """A step or an operation once more: behind itself, or behind a later one."""

    do: Literal["repeat"] = "repeat"
    again: str
    after: str = ""


class Skip(Frozen):
    """A step or an operation that hasn't begun is left out."""

    do: Literal["skip"] = "skip"
    out: str


class Add(Frozen):
    """The operations of a small recipe, behind one of the batch's."""

    do: Literal["add"] = "add"
    after: str
    content: str


Addendum = Annotated[Wait | Repeat | Skip | Add, Field(discriminator="do")]


class Change(Frozen):
    """What is asked for."""

    addendum: Addendum


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a batch has come, by written paths."""

    paths: Collection[str]
    """Of everything that has begun: phases, branches, moments, unit procedures."""
    ended: Collection[str]
    """Of operations and unit procedures that are over."""

    def has(self, path: str) -> bool:
        """Return whether an element or anything in it has begun."""
        return any(one == path or one.startswith((f"{path}/", f"{path}[")) for one in self.paths)


@dataclass(frozen=True, slots=True)
class Amended:
    """The recipe as it would be."""

    recipe: Recipe
    at: str
    """Where, as a path of the recipe that it was."""
    lengthened: tuple[Lag, ...]
    """Limits with other bounds, as they are now."""
    fallen: tuple[str, ...]
    """Names of limits that are gone."""


def amended(
    recipe: Recipe, addendum: Addendum, *, number: int, batch: str, begun: Begun
) -> Amended:
    """Return a batch's recipe with an addendum.

    Args:
        recipe: What the batch is bound to.
        addendum: What is asked for.
        number: The amendment's number in the batch.
        batch: Whose it is: the version says so.
        begun: How far it has come.

    Raises:
        RecipeRefusedError: It can't be put there, or would touch what has begun.
    """
    match addendum:
        case Wait():
            what, found = _waiting(recipe, addendum, number, batch)
        case Repeat():
            what, found = _repeating(recipe, addendum, number, batch, begun)
        case Skip():
            what, found = _skipping(recipe, addendum, number, batch)
        case Add():
            what, found = _adding(recipe, addendum, number, batch)
    require_kept(what, recipe, found.recipe, begun)
    return found


def _waiting(recipe: Recipe, wait: Wait, number: int, batch: str) -> tuple[str, Amended]:
    what = f"wait {wait.lasting} after {wait.after}"
    node = recipe.at(wait.after)
    if wait.lasting.base <= 0:
        raise RecipeRefusedError(
            what, why="that is no time", do_next="Say how much longer, e.g. '1 d'"
        )
    incubating = [one for _, one in _steps(wait.after, node) if isinstance(one.phase, Incubate)]
    if not isinstance(node, Operation) or not incubating:
        raise RecipeRefusedError(
            what,
            why="it isn't an operation that leaves a kit in its incubator",
            do_next="Name an operation in which the kit is incubated",
        )
    longer = incubating[-1].phase.model_copy(update={"duration": wait.lasting})
    step = Step(slug=f"a{number}_1-incubate", name=incubating[-1].name, phase=longer)
    inserted = Operation(slug=f"a{number}_wait", name=f"Wait {wait.lasting} more", body=(step,))
    body = _inserted(what, recipe, wait.after, (inserted,))
    order = {path: place for place, path in enumerate(recipe.nodes)}
    here = order[wait.after]
    lags = tuple(
        _longer(lag, wait.lasting)
        if _spans(lag, order, here, wait.after) and lag.tier is not Tier.BLOCK
        else lag
        for lag in recipe.lags
    )
    new = _written(recipe, number, batch, body=body, lags=lags)
    changed = tuple(now for was, now in zip(recipe.lags, lags, strict=True) if was != now)
    return what, Amended(new, wait.after, changed, ())


def _repeating(
    recipe: Recipe, repeat: Repeat, number: int, batch: str, begun: Begun
) -> tuple[str, Amended]:
    after = repeat.after or repeat.again
    what = f"repeat {repeat.again} after {after}"
    node, behind = recipe.at(repeat.again), recipe.at(after)
    if not isinstance(node, Step | Operation) or type(node) is not type(behind):
        raise RecipeRefusedError(
            what,
            why="a step is repeated behind a step, an operation behind an operation",
            do_next="Name two steps, or two operations",
        )
    if not begun.has(repeat.again):
        raise RecipeRefusedError(
            what,
            why=f"{repeat.again} hasn't run yet",
            do_next="Repeat what has run; what hasn't is done once by itself",
        )
    again = _numbered((node,), number)
    body = _inserted(what, recipe, after, again)
    return what, Amended(_written(recipe, number, batch, body=body), after, (), ())


def _skipping(recipe: Recipe, skip: Skip, number: int, batch: str) -> tuple[str, Amended]:
    what = f"skip {skip.out}"
    node = recipe.at(skip.out)
    if not isinstance(node, Step | Operation):
        raise RecipeRefusedError(
            what,
            why="it isn't a step or an operation",
            do_next="Name a step or an operation; `stop` ends a unit procedure",
        )
    _refuse_repetitions(what, recipe, skip.out)

    def without(path: str, body: _Body) -> _Body:
        left = tuple(one for one in body if f"{path}/{one.slug}" != skip.out)
        if body and not left:
            raise RecipeRefusedError(
                what,
                why=f"nothing would be left in {path}",
                do_next=f"Skip {path} as a whole, or leave it as it is",
            )
        return left

    gone = {path for path in recipe.nodes if path == skip.out or path.startswith(f"{skip.out}/")}
    lags = tuple(one for one in recipe.lags if not {one.from_event.path, one.to_event.path} & gone)
    fallen = tuple(one.name for one in recipe.lags if one not in lags)
    new = _written(recipe, number, batch, body=_edited(recipe, without), lags=lags)
    return what, Amended(new, skip.out, (), fallen)


def _adding(recipe: Recipe, add: Add, number: int, batch: str) -> tuple[str, Amended]:
    what = f"add an addendum after {add.after}"
    small = Recipe.read(add.content.encode())
    parts = [part for part in small.body if isinstance(part, UnitProcedure)]
    operations = tuple(one for part in parts for one in part.body if isinstance(one, Operation))
    if (
        len(small.body) != 1
        or len(parts) != 1
        or len(operations) != len(parts[0].body)
        or not isinstance(recipe.at(add.after), Operation)
    ):
        raise RecipeRefusedError(
            what,
            why="an addendum is one unit procedure of operations, and comes behind an operation",
            do_next="Write its steps in operations of one unit procedure, and name an operation",
        )
    _refuse_other_words(what, recipe, small)
    inserted = _numbered(operations, number)
    parent = add.after.rpartition("/")[0]
    moved = {
        f"{parts[0].slug}/{was.slug}": f"{parent}/{now.slug}"
        for was, now in zip(operations, inserted, strict=True)
    }
    lags = tuple(
        lag.model_copy(
            update={
                "from_event": _moved(what, lag.from_event, moved, number),
                "to_event": _moved(what, lag.to_event, moved, number),
            }
        )
        for lag in small.lags
    )
    known = {one.name for one in recipe.materials}
    new = _written(
        recipe,
        number,
        batch,
        body=_inserted(what, recipe, add.after, inserted),
        lags=(*recipe.lags, *lags),
        materials=(*recipe.materials, *(one for one in small.materials if one.name not in known)),
    )
    return what, Amended(new, add.after, (), ())


def new_containers(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """Return the names of containers that only the newer recipe has: they must be bound."""
    known = old.containers()
    return tuple(one for one in new.containers() if one not in known)


def _refuse_other_words(what: str, recipe: Recipe, small: Recipe) -> None:
    """Refuse an addendum whose words mean something else than the batch's, or aren't its."""
    why: list[str] = []
    for called, own, theirs in (
        ("kit", recipe.kits, small.kits),
        ("unit", recipe.equipment, small.equipment),
        ("ordered value", recipe.ordered, small.ordered),
    ):
        known = {one.name: one for one in own}
        for one in theirs:
            if one.name not in known:
                why.append(f"the batch has no {called} {one.name!r}")
            elif called == "unit" and getattr(known[one.name], "kind", "") != getattr(
                one, "kind", ""
            ):
                why.append(f"the batch's unit {one.name!r} is of another kind")
            elif called != "unit" and known[one.name] != one:
                why.append(f"the batch's {called} {one.name!r} is stated otherwise")
    materials = {one.name: one for one in recipe.materials}
    why += [
        f"the batch's {one.name!r} is stated otherwise"
        for one in small.materials
        if materials.get(one.name, one) != one
    ]
    inside = {name for kit in recipe.kits for name in kit.places}
    why += [
        f"{one.name!r} is a container of the batch's kit"
        for one in small.materials
        if one.name in inside
    ]
    limits = {one.name for one in recipe.lags}
    why += [f"the batch has a limit {one.name!r}" for one in small.lags if one.name in limits]
    measured = set(_measured(recipe))
    why += [f"the batch measures {name!r}" for name in _measured(small) if name in measured]
    if why:
        raise RecipeRefusedError(
            what,
            why="; ".join(dict.fromkeys(why)),
            do_next="State what the batch has as its own procedure does, and name what is new anew",
        )


def _measured(recipe: Recipe) -> Iterator[str]:
    for _, step in recipe.steps():
        yield from step.phase.measures.values()


def _moved(what: str, moment: Moment, moved: dict[str, str], number: int) -> Moment:
    """Return a moment of an addendum as one of the recipe that it was put into."""
    for was, now in moved.items():
        if moment.path == was:
            return moment.model_copy(update={"path": now})
        if moment.path.startswith(f"{was}/"):
            within = moment.path.removeprefix(f"{was}/").split("/")
            inner = "/".join(_new_slug(slug, number) for slug in within)
            return moment.model_copy(update={"path": f"{now}/{inner}"})
    raise RecipeRefusedError(
        what,
        why=f"a limit of it begins or ends at {moment.path}",
        do_next="Have its limits begin and end at operations or steps",
    )


def _numbered(body: tuple[Element, ...], number: int) -> tuple[Element, ...]:
    """Return elements with the amendment's number in each of their slugs."""
    return tuple(_renamed(one, number) for one in body)


def _renamed(node: Element, number: int) -> Element:
    update: dict[str, object] = {"slug": _new_slug(node.slug, number)}
    if isinstance(node, Parallel):
        update["branches"] = _numbered(node.branches, number)
    elif isinstance(node, When):
        update["then"] = _numbered(node.then, number)
        update["otherwise"] = _numbered(node.otherwise, number)
    elif not isinstance(node, Step | Hold):
        update["body"] = _numbered(node.body, number)
    return node.model_copy(update=update)


def _new_slug(slug: str, number: int) -> str:
    """Return ``a1_2-feed`` for ``02-feed``: what stands before the dash is the step's number."""
    return f"a{number}_{slug.lstrip('0')}"


def _steps(path: str, node: Node) -> Iterator[tuple[str, Step]]:
    if isinstance(node, Step):
        yield path, node
    for below, child in children(path, node):
        yield from _steps(below, child)


def _longer(lag: Lag, by: Duration) -> Lag:
    return lag.model_copy(
        update={
            name: None if bound is None else bound + by
            for name, bound in (("minimum", lag.minimum), ("maximum", lag.maximum))
        }
    )


def _spans(lag: Lag, order: dict[str, int], here: int, after: str) -> bool:
    """Return whether what is put behind ``after`` lies between the ends of a limit."""

    def is_before(moment: Moment) -> bool:
        inside = moment.path == after or moment.path.startswith(f"{after}/")
        around = after.startswith(f"{moment.path}/")
        if around:
            return moment.edge == "start"
        return inside or order[moment.path] <= here

    return is_before(lag.from_event) and not is_before(lag.to_event)


def require_kept(what: str, old: Recipe, new: Recipe, begun: Begun) -> None:
    """Go on only if all that has begun stays as it is, and all that is new is still to come.

    Args:
        what: What is wanted, for the message.
        old: What the batch is bound to.
        new: What it would be bound to.
        begun: How far it has come.

    Raises:
        RecipeRefusedError: Something of the batch's past would be another. Nothing happened.
    """
    for path in sorted(begun.paths):
        was, now = old.nodes.get(path), new.nodes.get(path)
        if was is not None and (now is None or _own(was) != _own(now)):
            raise RecipeRefusedError(
                what,
                why=f"{path} has begun, and would be {'gone' if now is None else 'another'}",
                do_next="What has run stays; choose what is still to come",
            )
    for path in new.nodes:
        if path in old.nodes:
            continue
        late = [one for one in _behind(new, path) if begun.has(one)]
        over = [one for one in _around(new, path) if one in begun.ended]
        if late or over:
            raise RecipeRefusedError(
                what,
                why=f"{late[0]} has begun already" if late else f"{over[0]} has ended already",
                do_next="Name a later place: the batch goes on from where it is",
            )


def _own(node: Node) -> Node:
    """Return an element without what stands in it."""
    within = ("body", "branches", "then", "otherwise", "unit_procedures")
    return node.model_copy(update={name: () for name in within if name in type(node).model_fields})


def _inserted(
    what: str, recipe: Recipe, after: str, new: tuple[Element, ...]
) -> tuple[UnitProcedure | Together, ...]:
    """Return the recipe's body with elements behind one of its own."""
    _refuse_repetitions(what, recipe, after)

    def behind(path: str, body: _Body) -> _Body:
        found: list[Element] = []
        for one in body:
            found.append(one)
            if f"{path}/{one.slug}" == after:
                found += new
        return tuple(found)

    return _edited(recipe, behind)


def _behind(recipe: Recipe, path: str) -> Iterator[str]:
    """Yield what comes after an element: in its body, and after each element around it."""
    around = [path, *_around(recipe, path)]
    for parent, node in recipe.nodes.items():
        if isinstance(node, Together | Parallel):
            continue  # what stands side by side comes neither before nor after
        below = [one for one, _ in children(parent, node)]
        for at, one in enumerate(below):
            if one in around:
                yield from below[at + 1 :]
    top = [part.slug for part in recipe.body]
    for at, one in enumerate(top):
        if one in around:
            yield from top[at + 1 :]


def _around(recipe: Recipe, path: str) -> list[str]:
    return [one for one in recipe.nodes if one != path and path.startswith((f"{one}/", f"{one}["))]


def _refuse_repetitions(what: str, recipe: Recipe, path: str) -> None:
    if path != written_path(path) or any(
        isinstance(recipe.nodes[one], RepeatUntil) for one in _around(recipe, path)
    ):
        raise RecipeRefusedError(
            what,
            why="it stands in a repetition, of which each turn would differ",
            do_next="Name a place outside it",
        )


def _edited(recipe: Recipe, edit: _Edit) -> tuple[UnitProcedure | Together, ...]:
    found: list[UnitProcedure | Together] = []
    for part in recipe.body:
        if isinstance(part, Together):
            inner = tuple(
                one.model_copy(update={"body": _body(f"{part.slug}/{one.slug}", one.body, edit)})
                for one in part.unit_procedures
            )
            found.append(part.model_copy(update={"unit_procedures": inner}))
        else:
            found.append(part.model_copy(update={"body": _body(part.slug, part.body, edit)}))
    return tuple(found)


def _body(path: str, body: _Body, edit: _Edit) -> _Body:
    return edit(path, tuple(_element(f"{path}/{one.slug}", one, edit) for one in body))


def _element(path: str, node: Element, edit: _Edit) -> Element:
    match node:
        case Step() | Hold():
            return node
        case Parallel():
            branches = tuple(
                one.model_copy(update={"body": _body(f"{path}[{one.slug}]", one.body, edit)})
                for one in node.branches
            )
            return node.model_copy(update={"branches": branches})
        case When():
            return node.model_copy(
                update={
                    "then": _body(f"{path}[then]", node.then, edit),
                    "otherwise": _body(f"{path}[otherwise]", node.otherwise, edit),
                }
            )
        case _:
            return node.model_copy(update={"body": _body(path, node.body, edit)})


def _written(recipe: Recipe, number: int, batch: str, **update: tuple[Frozen, ...]) -> Recipe:
    """Return the recipe with its parts replaced, under a version of its own."""
    parts = {name: [one.model_dump(mode="json") for one in value] for name, value in update.items()}
    base = recipe.version.partition(" for ")[0]
    version = f"{base} for {batch}, amendment {number}"
    draft = {**recipe.model_dump(mode="json"), **parts, "version": version}
    return Recipe.written(Recipe.model_validate(draft))
