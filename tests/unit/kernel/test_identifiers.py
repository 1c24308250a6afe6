"""Identifiers are checked when made, and one kind is never taken for another.

Method: every class by its own example, then what each must refuse.
"""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from orchestrator.kernel.identifiers import (
    KEPT_MOST,
    BatchId,
    BootId,
    CoiId,
    CommandId,
    ContainerId,
    Identifier,
    LabelText,
    PhasePath,
    PlaceId,
    RecipeDigest,
)

KINDS = Identifier.__subclasses__()


def test_each_kind_accepts_its_own_example() -> None:
    assert len(KINDS) == 18
    for kind in KINDS:
        made = kind(kind.example)
        assert made == kind.example
        assert type(made) is kind
        assert kind(made) is made
        assert json.dumps(made) == json.dumps(kind.example)
        assert type(pickle.loads(pickle.dumps(made))) is kind
        assert type(copy.deepcopy(made)) is kind


@pytest.mark.parametrize("text", ["", " ", "a b ", "a\n", "\x1b[31m", "é", "a" * 500])
def test_no_kind_accepts_blank_overlong_or_control_characters(text: str) -> None:
    for kind in KINDS:
        if kind is LabelText and text == "a b ":
            continue  # a label may hold blanks
        with pytest.raises(ValueError, match=kind.__name__):
            kind(text)


def test_one_kind_is_not_made_from_another() -> None:
    container = ContainerId("C-000231")
    with pytest.raises(TypeError, match="ContainerId, not a BatchId"):
        BatchId(container)
    with pytest.raises(TypeError):
        BatchId(147)  # pyright: ignore[reportArgumentType]
    assert BatchId(str(container)) == "C-000231"


@pytest.mark.parametrize(
    "text",
    ["/x", "x/", "x//y", "X/y", "feed[3", "feed[]", "a b", "a" * 201],
)
def test_a_phase_path_has_the_form_of_a_tree_position(text: str) -> None:
    with pytest.raises(ValueError, match="PhasePath"):
        PhasePath(text)


def test_places_commands_boots_and_labels_take_what_the_field_uses() -> None:
    PlaceId("incubator/12")
    CommandId("B-000147/expand/feed[3]/07-transfer#2.1")
    BootId("3f0c1f0e-6f0e-4b7e-9a55-0d9c6f2f5a11")
    LabelText("=A99992600000100")
    LabelText("0104012345678901\x1d10L-24A017")
    for text in ("", "   ", "\x1d", "a\tb"):
        with pytest.raises(ValueError, match="LabelText"):
            LabelText(text)
    with pytest.raises(ValueError, match="RecipeDigest"):
        RecipeDigest(RecipeDigest.example.upper())


class Custody(BaseModel):
    container: ContainerId
    coi: CoiId


def test_a_model_stores_plain_text_and_refuses_a_swapped_kind() -> None:
    kept = Custody(container=ContainerId("C-1"), coi=CoiId("CHA999926A1B2C3"))
    stored = {"container": "C-1", "coi": "CHA999926A1B2C3"}
    assert kept.model_dump() == kept.model_dump(mode="json") == stored
    assert type(kept.model_dump()["coi"]) is str
    assert Custody.model_validate(stored) == kept
    assert Custody.model_json_schema()["properties"]["coi"]["pattern"]
    for wrong in (CoiId("CHA999926A1B2C3"), 7, "C 1"):
        with pytest.raises(ValidationError):
            Custody.model_validate({"container": wrong, "coi": kept.coi})


def test_reading_json_twice_checks_each_kind_for_itself() -> None:
    for _ in range(2):  # the second time the good texts are known
        kept = Custody.model_validate_json('{"container":"C-1/vessel","coi":"C-1"}')
        assert (type(kept.container), type(kept.coi)) == (ContainerId, CoiId)
        for wrong in ('"C-1/vessel"', '"C 1"', "7", "null", "[]", "{}"):
            with pytest.raises(ValidationError, match="coi"):
                Custody.model_validate_json(f'{{"container":"C-1/vessel","coi":{wrong}}}')


def test_more_texts_than_are_kept_are_read_alike() -> None:
    for number in [*range(KEPT_MOST + 2), 0]:
        kept = Custody.model_validate_json(f'{{"container":"C-{number}","coi":"X"}}')
        assert kept.container == ContainerId(f"C-{number}")
