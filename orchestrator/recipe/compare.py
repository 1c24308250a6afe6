"""Tell in words what differs between two recipes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Final, cast

from orchestrator.kernel.frozen import Frozen
from orchestrator.recipe.model import Node, Recipe, Step
from orchestrator.recipe.render import for_people, step_in_words

_NUMBER: Final = re.compile(r"(^|/)[0-9]+-(?=[a-z-]+$)")
_STRUCTURE: Final = frozenset(
    {"element", "slug", "body", "branches", "then", "otherwise", "unit_procedures", "phase"}
)


def diff(old: Recipe, new: Recipe) -> tuple[str, ...]:
    """Return what differs, one sentence each, in the order of the procedure.

    Steps that only have another number because others came or went aren't named.
    """
    return tuple(for_people(line) for line in _differences(old, new))


def _differences(old: Recipe, new: Recipe) -> Iterator[str]:
    for name in ("title", "document", "version", "author"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{name.capitalize()}: {before!r} is now {after!r}."
    yield from _named("material", old.materials, new.materials)
    yield from _named("kit", old.kits, new.kits)
    yield from _named("equipment", old.equipment, new.equipment)
    yield from _named("ordered value", old.ordered, new.ordered)
    yield from _tree(old, new)
    yield from _named("time limit", _renumbered(old), _renumbered(new))


def _named(what: str, old: Iterable[Any], new: Iterable[Any]) -> Iterator[str]:
    before, after = ({one.name: one for one in some} for some in (old, new))
    for name in before:
        if name not in after:
            yield f"The {what} {name!r} is gone."
    for name, one in after.items():
        if name not in before:
            yield f"The {what} {name!r} is new: {_flat_text(one)}."
            continue
        for change in _changes(before[name], one):
            yield f"The {what} {name!r}: {change}."


def _renumbered(recipe: Recipe) -> list[Any]:
    """Return the time limits with paths that hold no step numbers."""
    return [
        lag.model_copy(
            update={
                "from_event": lag.from_event.model_copy(
                    update={"path": _unnumbered(lag.from_event.path)}
                ),
                "to_event": lag.to_event.model_copy(
                    update={"path": _unnumbered(lag.to_event.path)}
                ),
            }
        )
        for lag in recipe.lags
    ]


def _tree(old: Recipe, new: Recipe) -> Iterator[str]:
    before, after = list(old.nodes.items()), list(new.nodes.items())
    match = SequenceMatcher(
        a=[_unnumbered(path) for path, _ in before],
        b=[_unnumbered(path) for path, _ in after],
        autojunk=False,
    )
    for kind, i, j, k, n in match.get_opcodes():
        if kind == "equal":
            for (_, one), (path, other) in zip(before[i:j], after[k:n], strict=True):
                for change in _changes(*_own(one, other)):
                    yield f"{_called(path, other)}: {change}."
            continue
        for path, node in before[i:j]:
            yield f"{_called(path, node)} is gone{_told(node)}"
        for path, node in after[k:n]:
            yield f"{_called(path, node)} is new{_told(node)}"


def _own(one: Node, other: Node) -> tuple[Frozen, Frozen]:
    if isinstance(one, Step) and isinstance(other, Step):
        return one.phase, other.phase
    return one, other


def _called(path: str, node: Node) -> str:
    if isinstance(node, Step):
        number = node.slug.partition("-")[0].lstrip("0")
        where = path.rpartition("/")[0]
        return f"Step {number} ({node.name.lower()}, in {where})"
    return f"{type(node).__name__} {path!r}"


def _told(node: Node) -> str:
    return f": {step_in_words(node)}" if isinstance(node, Step) else "."


def _unnumbered(path: str) -> str:
    return _NUMBER.sub(r"\1", path)


def _changes(old: Frozen, new: Frozen) -> Iterator[str]:
    before, after = dict(_flat("", _content(old))), dict(_flat("", _content(new)))
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        if was != now:
            told = name.replace("_", " ").replace(".value", "")
            yield f"{told} {was or 'not stated'} is now {now or 'not stated'}"


def _content(one: Frozen) -> dict[str, Any]:
    content: dict[str, Any] = one.model_dump(mode="json")
    return {name: value for name, value in content.items() if name not in _STRUCTURE}


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for part, inner in cast("Mapping[str, object]", value).items():
            yield from _flat(f"{name}.{part}" if name else part, inner)
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[object]", value), start=1):
            yield from _flat(f"{name} {number}", inner)
    elif value is not None:
        yield name, str(value)


def _flat_text(one: Frozen) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in _flat("", _content(one)) if value
    )
