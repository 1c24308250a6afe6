"""Prove a story: run it once, die at its points, and say what came of it and what was reached."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Final

from orchestrator.journal.events import AttemptIntended, PhaseEnded, PhaseStarted
from orchestrator.process_cell.config import load_cell
from orchestrator.proof.afterwards import Proving
from orchestrator.proof.choosing import (
    Choice,
    all_points,
    one_point,
    points_of_classes,
    some_points,
)
from orchestrator.proof.evidence import Proof, Subject
from orchestrator.proof.points import THEN
from orchestrator.proof.reach import Stage, classes, classes_not_reached, not_reached, stages
from orchestrator.proof.restart import prove
from orchestrator.proof.run import Uninterrupted, uninterrupted
from orchestrator.proof.story import Story
from orchestrator.recipe.model import Recipe

DEAD_S: Final = (0.0, 20.0, 3600.0)
"""Not at all, into the middle of a motion, beyond its end."""

IN_MEMORY: Final = Path("/dev/shm")
ROOM_BYTES: Final = 2_000_000_000
"""So much must be free in memory for journals to be kept there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a proof is to do. ``cuts`` is None for all points.

    With ``classes`` it dies at two points of each class of stages instead.
    """

    seed: int = 1
    cuts: int | None = None
    dead_s: tuple[float, ...] = DEAD_S
    workers: int = 2
    every_image: bool = False
    double: bool = False
    classes: bool = False
    only: str | None = None


def proof_of(
    story: Story,
    recipe: Recipe,
    asked: Asked,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> Proof:
    """Return what came of dying at the points of a story.

    Args:
        story: The batch.
        recipe: What it is a batch of.
        asked: Where to die.
        told: Is told what is done now.

    Raises:
        RefusedError: ``asked.only`` names no point.
    """
    began = perf_counter()
    then = (asked.only or "").partition(THEN)[2]
    with in_memory() as folder:
        first = uninterrupted(story, folder)
        wanted = stages(first.course, first.events)
        kinds = {
            str(one.event.path): one.event.phase
            for one in first.events
            if isinstance(one.event, PhaseStarted)
        }
        of_class = classes(wanted, kinds)
        choice = _chosen(first, wanted, of_class, asked)
        told(f"{len(choice.points)} points to die at")
        proving = Proving(
            seed=asked.seed,
            dead_s=asked.dead_s,
            workers=asked.workers,
            every_image=asked.every_image,
            double=asked.double,
            then=then or None,
        )
        with first.disk:
            runs = prove(story, first, choice.points, proving, folder)
    missed: list[str] = []
    if asked.only is None and asked.classes:
        missed = classes_not_reached(of_class, runs)
    elif asked.only is None:
        missed = [str(one) for one in not_reached(wanted, runs)]
    return Proof(
        subject=subject_of(story, recipe, first, asked),
        choice=choice,
        runs=tuple(runs),
        stages=0 if asked.only else len(of_class) if asked.classes else len(wanted),
        not_reached=tuple(missed),
        findings=first.findings,
        phase_kinds=kinds,
        wall_s=perf_counter() - began,
        by_classes=asked.classes,
    )


def _chosen(
    first: Uninterrupted,
    wanted: Sequence[Stage],
    of_class: Mapping[str, Sequence[tuple[str, Stage]]],
    asked: Asked,
) -> Choice:
    if asked.only is not None:
        return one_point(first.course, asked.only.partition(THEN)[0])
    if asked.classes:
        return points_of_classes(first.course, of_class, asked.seed)
    if asked.cuts is None:
        return all_points(first.course, asked.seed)
    return some_points(first.course, wanted, asked.cuts, asked.seed)


def subject_of(story: Story, recipe: Recipe, first: Uninterrupted, asked: Asked) -> Subject:
    """Return what is proven, and how its uninterrupted run went."""
    cell = load_cell(story.cell_file)
    events = [one.event for one in first.events]
    acts = {(one.batch, one.path, one.word) for one in events if isinstance(one, AttemptIntended)}
    return Subject(
        product=version("cellwright"),
        title=recipe.title,
        document=recipe.document,
        version=recipe.version,
        recipe=recipe.digest,
        cell_name=cell.config.name,
        cell=cell.digest,
        seed=asked.seed,
        dead_s=asked.dead_s,
        acting=tuple(
            sorted({str(one.equipment) for one in events if isinstance(one, AttemptIntended)})
        ),
        acts=len(acts),
        events=len(events),
        phases=sum(isinstance(one, PhaseEnded) for one in events),
        days=first.ended_s / 86_400,
    )


@contextmanager
def in_memory() -> Generator[Path]:
    """Yield a folder for journals, in memory where there is room."""
    base = None
    if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK):
        free = os.statvfs(IN_MEMORY)
        if free.f_bavail * free.f_frsize > ROOM_BYTES:
            base = IN_MEMORY
    with tempfile.TemporaryDirectory(prefix="cellwright-prove-", dir=base) as folder:
        yield Path(folder)
