"""What the desk refuses before it is recorded, so that nothing poisonous reaches the fold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chain_of_identity.pre_printed import roll
from chain_of_identity.schemes.scheme import LabelKind
from hw_mocks.seeds import seeded_bytes
from orchestrator.engine.engine import Engine
from orchestrator.journal.events import ContainerQuarantined, TaskOffered
from orchestrator.kernel.errors import NotAuthorisedError, ProcessError, RefusedError
from orchestrator.kernel.identifiers import CoiId, ContainerId, TaskId
from orchestrator.process_cell.emulated import EmulatedCell
from orchestrator.virtual_time import run_in_virtual_time
from tests.simulation.thin import BATCH, OTHER_BAG, begin, on_file, thin_cell

Try = Callable[[EmulatedCell, Engine], Awaitable[None]]


def tried(folder: Path, attempt: Try) -> None:
    """Run ``attempt`` on a cell whose recipe and material are on file."""

    async def run() -> None:
        async with thin_cell(folder) as cell, cell.engine() as engine:
            now, digest = engine.core.clock.utc(), engine.core.cell.digest
            await engine.core.record_for_host(*on_file(now, digest))
            await attempt(cell, engine)

    run_in_virtual_time(run())


BAG: dict[str, Any] = {"label": "L-9", "material": "cells", "what": "patient_material"}

MISTYPED = "CQENVPBWXEHSFW8"
"""It looks opaque, and ends with a wrong check character."""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("receive_material", {**BAG, "container": OTHER_BAG, "coi": "COI-A"}),
        ("receive_material", {**BAG, "container": "C-9", "coi": "COI-A", "label": "L-C-2"}),
        ("receive_material", {**BAG, "container": "C-9"}),
        ("receive_material", {**BAG, "container": "C-9", "coi": "COI-A", "volume": "100 g"}),
        ("receive_material", {**BAG, "container": "C-9", "coi": "COI-A", "label": MISTYPED}),
        ("receive_material", {**BAG, "container": "C-9", "coi": "COI-A", "volume": "-5 mL"}),
        (
            "receive_lot",
            {"lot": "LOT-1", "material": "x", "expires": "2027-01-01T00:00:00.000000Z"},
        ),
        ("quarantine_lot", {"lot": "LOT-2", "why": "cracked"}),
    ],
)
def test_material_is_received_once_and_readably(
    tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        before = engine.core.state.seq
        with pytest.raises(RefusedError):
            await cell.give("day-1", name, **arguments)
        assert engine.core.state.seq == before

    tried(tmp_path, attempt)


def test_a_command_on_nothing_is_refused(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        del engine
        for batch, part in (("B-9", ""), (str(BATCH), "mvoe")):
            with pytest.raises(RefusedError):
                await cell.give("supervisor", "hold", batch=batch, unit_procedure=part, why="x")
        with pytest.raises(RefusedError, match="no such batch"):
            await cell.give("supervisor", "open_deviation", batch="B-9", text="it was late")

    tried(tmp_path, attempt)


def test_quality_alone_lets_a_bag_out_of_quarantine(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        bag = ContainerId(OTHER_BAG)
        release = {"container": str(bag), "reason": "It was put back untouched"}
        with pytest.raises(RefusedError, match="isn't in quarantine"):
            await cell.give("quality", "release_container", **release)
        await engine.core.record_for_host(
            ContainerQuarantined(container=bag, why="it was brought to another patient's place")
        )
        with pytest.raises(NotAuthorisedError):
            await cell.give("day-1", "release_container", **release)
        assert engine.core.state.containers[bag].quarantined
        await cell.give("quality", "release_container", **release)
        assert not engine.core.state.containers[bag].quarantined

    tried(tmp_path, attempt)


def test_a_batch_is_started_once(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        await cell.give("supervisor", "start_batch", batch=str(BATCH))
        with pytest.raises(RefusedError, match="it was started"):
            await cell.give("supervisor", "start_batch", batch=str(BATCH))
        del engine

    tried(tmp_path, attempt)


def test_binding_never_rewrites_whose_cells_a_bag_holds(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        del cell
        made = on_file(engine.core.clock.utc(), engine.core.cell.digest)[-1]
        assert made.kind == "batch_made"
        await engine.core.record_for_host(
            made.model_copy(update={"batch": "B-2", "coi": CoiId("COI-Z")})
        )
        assert engine.core.state.containers["C-1"].coi == "COI-A"
        assert engine.core.state.containers["C-1"].batch == BATCH

    tried(tmp_path, attempt)


def test_a_password_of_a_new_person_stands_in_no_message(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        del engine
        password = "short-one"
        with pytest.raises(RefusedError) as refused:
            await cell.give(
                "administrator",
                "add_person",
                log_in_name="m.keller",
                printed_name="Mia Keller",
                roles=["technician"],
                password=password,
            )
        assert password not in str(refused.value)
        with pytest.raises(NotAuthorisedError):
            await cell.give("day-1", "add_person", log_in_name="x")

    tried(tmp_path, attempt)


def test_what_was_answered_is_answered_again_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with thin_cell(tmp_path) as cell:
            async with cell.engine() as engine:
                await begin(engine)
                await engine.ended(BATCH)
                answered = dict(engine.core.state.answered)
            async with cell.engine() as engine:
                assert engine.core.state.answered == answered
                assert answered

    run_in_virtual_time(run())


def _labelling() -> TaskOffered:
    return TaskOffered(
        task=TaskId("B-1/label#1.1"),
        batch=None,
        path=None,
        word=None,
        work="do",
        text="Stick the next label of the roll on C-1",
        ask={"work": "apply_label", "report": ["label"], "containers": ["C-1"]},
        second_person=True,
        due=None,
    )


def _mistyped(label: str) -> str:
    return label[:-1] + ("2" if label[-1] != "2" else "3")


def _swapped(label: str) -> str:
    return label[:3] + label[4] + label[3] + label[5:]


BAD_LABELS: list[tuple[Callable[[str], str], str]] = [
    (_mistyped, "check character"),
    (_swapped, "check character"),
    (lambda label: label[:-1], "14 characters"),
    (lambda _: "L-C-2", "character"),
    (lambda _: "", "lacks label"),
    (lambda _: next(roll(seeded_bytes(3), LabelKind.SAMPLE)), "a container's is needed"),
]


@pytest.mark.parametrize(("spoil", "why"), BAD_LABELS)
def test_a_label_that_no_roll_has_is_not_reported(
    tmp_path: Path, spoil: Callable[[str], str], why: str
) -> None:
    good = next(one for one in roll(seeded_bytes(3)) if one[3] != one[4])

    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        task = _labelling()
        await engine.core.record_for_host(task)
        name = str(task.task)
        with pytest.raises(ProcessError, match=why) as refused:
            await cell.give("day-1", "report_task", task=name, values={"label": spoil(good)})
        assert spoil(good) not in str(refused.value) or not spoil(good)
        assert engine.core.state.tasks[name].status == "offered"
        await cell.give("day-1", "report_task", task=name, values={"label": good})
        assert engine.core.state.tasks[name].status == "reported"

    tried(tmp_path, attempt)


def test_one_label_is_stuck_on_one_container(tmp_path: Path) -> None:
    async def attempt(cell: EmulatedCell, engine: Engine) -> None:
        label = next(roll(seeded_bytes(3)))
        first, second = _labelling(), _labelling().model_copy(update={"task": TaskId("B-1/l#2.1")})
        await engine.core.record_for_host(first, second)
        await cell.give("day-1", "report_task", task=str(first.task), values={"label": label})
        with pytest.raises(RefusedError, match="Stick the next label of the roll beside it"):
            await cell.give("day-1", "report_task", task=str(second.task), values={"label": label})

    tried(tmp_path, attempt)
