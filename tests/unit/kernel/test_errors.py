"""Errors say what, why and what to do next, and come back from a record as themselves.

Method: over every class of the tree.
"""

from __future__ import annotations

import pickle

import pytest

from orchestrator.kernel.canonical import canonical
from orchestrator.kernel.errors import (
    FailedError,
    IntegrityError,
    LimitRefusedError,
    ProcessError,
    RefusedError,
    UncertainError,
    error_from_record,
)

FAMILIES = (RefusedError, FailedError, UncertainError, IntegrityError)


def classes(root: type[ProcessError]) -> list[type[ProcessError]]:
    found = [root] if root is not ProcessError else []
    for kind in root.__subclasses__():
        if kind.__module__ == ProcessError.__module__:
            found += classes(kind)
    return found


def test_an_error_reads_as_one_line_for_the_operator() -> None:
    error = LimitRefusedError(
        "P1: transfer 250 mL at 120 mL/min",
        why="the pump is qualified for 1 mL/min to 100 mL/min (manual, 2.1)",
        do_next="Correct the flow in the recipe.",
    )
    assert str(error) == (
        "P1: transfer 250 mL at 120 mL/min: the pump is qualified for 1 mL/min to "
        "100 mL/min (manual, 2.1). Correct the flow in the recipe."
    )


def test_every_error_comes_back_from_its_record_as_the_same_type() -> None:
    kinds = classes(ProcessError)
    assert len(kinds) == 21
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        error = kind("P1: x", why="y", do_next="z")
        for again in (error_from_record(error.as_record()), pickle.loads(pickle.dumps(error))):
            assert type(again) is kind
            assert (again.what, again.why, again.do_next) == ("P1: x", "y", "z")
        assert canonical(error.as_record())


def test_every_error_belongs_to_one_family_and_its_code_says_which() -> None:
    for kind in classes(ProcessError):
        families = [family for family in FAMILIES if issubclass(kind, family)]
        assert len(families) == 1
        assert kind.code.split(".")[0] == families[0].code


def test_the_root_itself_is_never_raised() -> None:
    with pytest.raises(AssertionError, match="family"):
        ProcessError("x", why="y", do_next="z")


def test_an_error_without_a_next_step_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        RefusedError("x", why="y", do_next="")


def test_a_new_class_needs_a_code_of_its_own() -> None:
    with pytest.raises(TypeError, match="code of its own"):
        type("NamelessError", (RefusedError,), {})
    with pytest.raises(TypeError, match="code of its own"):
        type("TwinError", (RefusedError,), {"code": "refused.limit"})


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"code": "unheard-of", "what": "x", "why": "y", "do_next": "z"},
        {"code": "refused", "what": "x", "why": "y"},
        {"code": "refused", "what": "x", "why": "y", "do_next": ""},
        {"code": "refused", "what": "x", "why": "y", "do_next": "z", "more": "1"},
    ],
)
def test_a_record_that_is_no_error_is_damage(record: dict[str, str]) -> None:
    with pytest.raises(IntegrityError, match="recorded error"):
        error_from_record(record)
