"""A recipe reads as a numbered procedure, and two recipes differ in words."""

from __future__ import annotations

from pathlib import Path

from orchestrator.kernel.quantities import hour
from orchestrator.recipe.check import check_file
from orchestrator.recipe.compare import diff
from orchestrator.recipe.model import Recipe
from orchestrator.recipe.render import for_people, render
from tests.unit.recipe.test_model import everything
from tests.unit.recipe.toys import claims, recipe_of, step

EXAMPLE = Path(__file__).with_name("wash_and_seed.py")


def written(text: str, tmp_path: Path) -> Recipe:
    file = tmp_path / "it.py"
    file.write_text(text)
    recipe = check_file(file).recipe
    assert recipe is not None
    return recipe


def test_a_protocol_reads_as_a_numbered_procedure(tmp_path: Path) -> None:
    text = render(written(EXAMPLE.read_text(), tmp_path))
    assert text.startswith("MBR-CT-014 version 3.1: Wash and seed, autologous T cells\n")
    assert (
        "Fill the culture bag\n"
        "  4. Move 800 mL from the expansion medium to the culture bag at 80 mL/min. "
        "[may be held for 2 h]\n"
    ) in text
    assert '5. Move 100 million cells / the ordered "donor\'s density"' in text
    assert "(5 mL to 100 mL)" in text
    assert "warm medium: at most 4 h from the end of 'Fill the culture bag'" in text


def test_every_kind_of_element_has_its_line() -> None:
    text = render(everything())
    for line in (
        "  expand: repeat at most 3 times, until the dose is at least 6 mL",
        "    meanwhile, side by side",
        "      left",
        "          1. Play. [may be held for 2 h]",
        "  If the dose is at least 6 mL",
        "  Otherwise",
        "    Hold: too few. A person decides.",
    ):
        assert f"\n{line}\n" in text


def test_millions_are_written_as_people_write_them() -> None:
    assert for_people("hold unless 1e6 cells/mL to 20e6 cells/mL") == (
        "hold unless 1 million cells/mL to 20 million cells/mL"
    )


def test_the_same_recipe_differs_in_nothing() -> None:
    assert diff(everything(), everything()) == ()


def test_a_changed_parameter_is_told_with_both_values(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    old = written(text, tmp_path)
    text = text.replace("800 * mL", "700 * mL").replace("maximum=4", "maximum=3")
    new = written(text, tmp_path)
    assert diff(old, new) == (
        "Step 4 (transfer, in fill-the-culture-bag/fill-the-culture-bag): "
        "volume 800 mL is now 700 mL.",
        "The time limit 'warm medium': maximum 4 h is now 3 h.",
    )


def test_a_step_that_came_does_not_change_those_after_it() -> None:
    one = recipe_of(step(1, claims()), step(2, claims()))
    two = recipe_of(step(1, claims()), step(2, claims()), step(3, claims()))
    assert diff(one, two) == ("Step 3 (toy, in main/work) is new: Play.",)
    assert diff(two, one) == ("Step 3 (toy, in main/work) is gone: Play.",)


def test_a_material_that_changed_or_went_is_named() -> None:
    one = recipe_of(step(1, claims()))
    other = recipe_of(step(1, claims(), longest_hold=3 * hour), materials=one.materials[:2])
    assert diff(one, other) == (
        "The material 'bag' is gone.",
        "Step 1 (toy, in main/work): longest hold 2 h is now 3 h.",
    )
