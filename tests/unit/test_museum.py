"""Every exhibit of the museum still fits the source, and names tests that are there."""

from __future__ import annotations

import pytest

from tests.museum.__main__ import ROOT, UnfitError, planted
from tests.museum.exhibits import EXHIBITS, Edit, Exhibit


def test_there_are_as_many_as_a_release_needs() -> None:
    assert len({one.name for one in EXHIBITS}) == len(EXHIBITS) >= 25


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda one: one.name)
def test_an_exhibit_fits_the_source(exhibit: Exhibit) -> None:
    for edit in exhibit.edits:
        text = planted((ROOT / edit.file).read_text(), edit)
        compile(text, edit.file, "exec")
        assert edit.stands != edit.planted
    for suspect in exhibit.suspects:
        assert (ROOT / suspect.split("::")[0]).exists(), suspect


def test_an_exhibit_that_no_longer_fits_is_told() -> None:
    with pytest.raises(UnfitError, match="stands 0 times"):
        planted("a = 1\n", Edit("some.py", "b = 1\n", "b = 2\n"))
