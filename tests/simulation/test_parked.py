"""What is over is put away, found again by its name, and read by no start that doesn't ask.

Method: one real batch's record told again under other names, some whole and some parked in
their wait. What a start finds is compared with the fold of every event. How long a start takes
with a hundred parked batches is measured by ``release_proof_parked.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.console.orders import next_batch
from orchestrator.engine.closed import closable, closed_batches
from orchestrator.engine.engine import VERSION
from orchestrator.engine.keeping import resumed_state
from orchestrator.engine.replay import replayed
from orchestrator.engine.state import HostState
from orchestrator.kernel.tasks import LABEL
from tests.simulation.one_batch import TEN_DAYS, recipe_idle
from tests.simulation.parked import SIGNER, Story, resume, story_of, write_history
from tests.unit.journal.builders import opened

PARKED = 2
OVER = 3


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return story_of(recipe_idle(TEN_DAYS), tmp_path_factory.mktemp("story") / "one")


def loaded(folder: Path) -> HostState:
    state, tree = resumed_state(folder, SIGNER.public, VERSION)
    assert tree is not None, "what was saved isn't used"
    return state


@pytest.mark.parametrize("clean", [True, False], ids=["ended in good order", "died"])
def test_every_parked_batch_waits_again_and_what_is_over_stays_away(
    tmp_path: Path, story: Story, clean: bool
) -> None:
    write_history(tmp_path / "host", story, parked=PARKED, over=OVER, clean=clean)
    started = resume(tmp_path / "host", story, parked=PARKED)
    assert (started.waiting, started.put_away) == (PARKED, OVER if clean else 0)


def test_what_was_put_away_is_found_as_it_was(tmp_path: Path, story: Story) -> None:
    folder = tmp_path / "host"
    write_history(folder, story, parked=PARKED, over=OVER, clean=True)
    state, folded = loaded(folder), replayed(HostState(), folder / "journal.sqlite")
    assert len(state.batches) == PARKED
    assert len(state.closed) == OVER
    thrown = next(iter(state.closed.values())).containers
    assert thrown
    assert not set(thrown) & set(state.containers)
    assert set(thrown) <= set(state.labels.values()), "their labels stay taken"
    assert state.containers[thrown[0]] == folded.containers[thrown[0]]
    assert len(state.closed) == OVER - 1
    assert "B-none" not in state.batches
    assert "B-none/task" not in state.tasks
    for task, known in folded.tasks.items():
        assert state.tasks[task] == known
    assert set(folded.batches) == {one for one in folded.batches if one in state.batches}
    assert {one: state.batches[one] for one in folded.batches} == folded.batches
    assert dict(state.tasks) == folded.tasks
    assert dict(state.containers) == folded.containers
    assert state.closed == {}


def test_who_goes_through_all_may_ask_for_what_is_put_away(tmp_path: Path, story: Story) -> None:
    folder = tmp_path / "host"
    write_history(folder, story, parked=PARKED, over=OVER, clean=True)
    state = loaded(folder)
    over = list(state.closed)
    for name in over:
        bag = replace(next(iter(state.containers.values())), batch=name, place="dewar/1")
        state.containers[f"product of {name}"] = bag
    shown = len(state.containers)
    found = [one.batch for one in state.containers.values() if one.batch in state.batches]
    assert set(over) < set(found)
    assert len(found) <= shown
    assert state.closed == {}
    assert len(state.containers) > shown, "what was thrown away came back with its batch"


def test_a_new_batch_gets_a_name_without_taking_out_what_is_over(
    tmp_path: Path, story: Story
) -> None:
    folder = tmp_path / "host"
    write_history(folder, story, parked=PARKED, over=OVER, clean=True)
    state = loaded(folder)
    name = next_batch(state)
    assert name not in state.batches
    assert (name, len(state.closed)) == (f"B-{PARKED + OVER + 1:03d}", OVER)


def test_a_batch_that_is_over_costs_a_start_little(tmp_path: Path, story: Story) -> None:
    """Of what it adds to the state, all but its line, its product and its labels is away."""

    def bytes_read(over: int) -> tuple[int, int]:
        folder = tmp_path / str(over)
        write_history(folder, story, parked=PARKED, over=over, clean=True)
        saved = opened(folder / "state.sqlite")
        (state,) = saved.execute("SELECT length(state) FROM saved").fetchone()
        (parts,) = saved.execute("SELECT sum(length(content)) FROM parts").fetchone()
        saved.close()
        return state, parts or 0

    few, more = bytes_read(0), bytes_read(OVER)
    each = (sum(more) - sum(few)) / OVER
    parked = few[0] / PARKED
    assert each < parked / 2, (each, parked)


def test_a_part_that_was_changed_is_thrown_away_with_all_that_was_saved(
    tmp_path: Path, story: Story
) -> None:
    folder = tmp_path / "host"
    write_history(folder, story, parked=PARKED, over=OVER, clean=True)
    for damage in (
        "UPDATE parts SET content = zeroblob(10) WHERE name = (SELECT min(name) FROM parts)",
        "DELETE FROM parts WHERE name = (SELECT max(name) FROM parts)",
        "DROP TABLE parts",
    ):
        saved = opened(folder / "state.sqlite")
        saved.execute(damage)
        saved.close()
        state, tree = resumed_state(folder, SIGNER.public, VERSION)
        assert tree is None
        assert len(state.batches) == PARKED + OVER


def test_what_changed_since_it_was_put_away_is_put_away_as_it_is_now(
    tmp_path: Path, story: Story
) -> None:
    folder = tmp_path / "host"
    write_history(folder, story, parked=0, over=1, clean=True)
    state = loaded(folder)
    (name,) = state.closed
    before = state.closed[name].sha256
    closed = closed_batches(state)
    assert closed.saved == {name}
    state.batches[name].measured["found late"] = "1 mL"
    closed.put_away()
    assert (state.closed[name].sha256 == before, closed.saved) == (False, set())
    assert state.batches[name].measured["found late"] == "1 mL"


def test_nothing_is_put_away_that_somebody_may_look_for_among_all(
    tmp_path: Path, story: Story
) -> None:
    folder = tmp_path / "host"
    write_history(folder, story, parked=0, over=1, clean=True)

    def whole() -> HostState:
        return replayed(HostState(), folder / "journal.sqlite")

    state = whole()
    (name,) = closable(state)
    task = next(iter(state.tasks.values()))
    task.values = {**task.values, LABEL: "a label that counts nowhere"}
    assert list(closable(state)) == []
    state = whole()
    next(iter(state.tasks.values())).status = "reported"
    assert list(closable(state)) == []
    state = whole()
    state.batches[name].status = "stopped"
    assert list(closable(state)) == []
    state = whole()
    state.batches[name].broken = "it doesn't fit"
    assert list(closable(state)) == []
