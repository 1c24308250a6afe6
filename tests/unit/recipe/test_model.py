"""A recipe is its bytes: canonical, verbatim, refused when they aren't a recipe's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.kernel.acts import Contact
from orchestrator.kernel.canonical import canonical, digest
from orchestrator.kernel.conditions import Condition
from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.kernel.quantities import day, hour
from orchestrator.recipe.model import (
    Hold,
    MeasuredValue,
    Operation,
    Parallel,
    Recipe,
    RepeatUntil,
    Sequence,
    UnitProcedure,
    When,
    run_path,
    written_path,
)
from tests.unit.recipe.toys import claims, recipe_of, step, takes

ENOUGH = Condition(
    reading=MeasuredValue(name="dose"), lowest="6 mL", highest="", fresh_within=1 * day
)


def everything() -> Recipe:
    """Return a recipe with each kind of element."""
    feed = Operation(slug="feed", name="Feed", body=(step(1, claims()),))
    grow = Operation(slug="grow", name="Grow", body=(step(2, takes(1 * hour, 2 * hour)),))
    side = Parallel(
        slug="meanwhile",
        name="meanwhile",
        branches=(
            Sequence(slug="left", name="left", body=(feed,)),
            Sequence(slug="right", name="right", body=(grow,)),
        ),
    )
    repeat = RepeatUntil(slug="expand", name="expand", at_most=3, condition=ENOUGH, body=(side,))
    when = When(
        slug="enough",
        name="enough",
        condition=ENOUGH,
        then=(Operation(slug="fill", name="Fill", body=(step(3, claims()),)),),
        otherwise=(Hold(slug="hold", reason="too few"),),
    )
    return recipe_of(repeat, when)


def test_a_recipe_comes_back_from_its_bytes_as_it_was() -> None:
    recipe = everything()
    again = Recipe.read(recipe.content)
    assert again == recipe
    assert again.content == recipe.content
    assert again.digest == recipe.digest == digest(recipe.content)


def test_the_bytes_are_kept_and_never_made_again() -> None:
    recipe = everything()
    again = Recipe.read(bytes(recipe.content))
    assert again.content is not canonical(again.model_dump(mode="json"))
    assert again.content == canonical(again.model_dump(mode="json"))


def test_a_draft_has_no_content() -> None:
    draft = Recipe(title="T", document="D", version="1", author="")
    with pytest.raises(AssertionError, match="draft"):
        assert draft.content


def changed(**fields: Any) -> bytes:
    return canonical(json.loads(everything().content) | fields)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff", "codec"),
        (b"{}", "Field required"),
        (b"[" * 100_000, "nested|recursion"),
        (everything().content + b" ", "canonical"),
        (everything().content.replace(b"{", b"{ ", 1), "canonical"),
        (changed(more=1), "more"),
        (changed(format="recipe/9"), "format"),
        (
            json.dumps({"x": 1.5}, separators=(",", ":")).encode(),
            "float",
        ),
        (everything().content.replace(b'"toy/1"', b'"lost/1"'), "unknown kind of phase"),
        (b"x" * (16 * 1024 * 1024 + 1), "more than"),
    ],
    ids=range(11),
)
def test_what_is_no_recipe_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(RecipeRefusedError, match=why):
        Recipe.read(content)


def test_paths_are_stable_and_readable() -> None:
    recipe = everything()
    assert [path for path, _ in recipe.steps()] == [
        "main/expand/meanwhile[left]/feed/01-toy",
        "main/expand/meanwhile[right]/grow/02-toy",
        "main/enough[then]/fill/03-toy",
    ]
    assert "main/enough[otherwise]/hold" in recipe.nodes


def test_a_path_of_a_run_carries_the_turn() -> None:
    written = "main/expand/meanwhile[left]/feed/01-toy"
    run = run_path(written, {"main/expand": 3})
    assert run == "main/expand[3]/meanwhile[left]/feed/01-toy"
    assert written_path(run) == written
    recipe = everything()
    assert recipe.at(run) is recipe.nodes[written]
    with pytest.raises(RecipeRefusedError, match="no element"):
        recipe.at("main/elsewhere")


def test_a_recipe_cannot_be_changed() -> None:
    recipe = everything()
    with pytest.raises(ValueError, match="frozen"):
        recipe.title = "Other"  # type: ignore[misc]


def test_phases_come_back_as_their_own_class() -> None:
    again = Recipe.read(everything().content)
    _, first = next(again.steps())
    assert type(first.phase).__name__ == "Toy"
    assert first.phase.claims().touches == ()
    assert Contact.DRAWS == "draws"


def test_containers_are_declared_ones_and_those_of_kits() -> None:
    recipe = everything()
    assert recipe.containers() == ("cells", "medium", "bag", "vessel", "flush", "waste")
    kit = recipe.kit("kit")
    assert kit is not None
    assert kit.places == {"vessel": "vessel", "flush": "flush", "waste": "p6"}
    assert recipe.kit("other") is None
    assert isinstance(recipe.body[0], UnitProcedure)
