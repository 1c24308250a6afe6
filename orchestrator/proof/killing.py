"""Prove a protocol by real processes: kill its daemon so many times, and say what came of it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from orchestrator.kernel.errors import FailedError
from orchestrator.proof.aiming import aimed
from orchestrator.proof.evidence import Subject, about
from orchestrator.proof.kills import HANDS, JOURNAL, OF_WIRE, TIME, killed_run, staged
from orchestrator.proof.points import Course
from orchestrator.proof.proving import Asked, in_memory, subject_of
from orchestrator.proof.run import uninterrupted
from orchestrator.proof.story import ProtocolStory
from orchestrator.recipe.model import Recipe

DEAD_S: Final = (0.0, 20.0, 600.0)
"""Not at all, into the middle of a motion, beyond its end; less than elsewhere, since the dead
times of one batch add up, and its material grows no younger."""

KILLS_A_BATCH: Final = 50
ACTS_A_KILL: Final = 2.5
"""A batch has no more than so many kills, and so many acts for each."""

FRUITLESS_MOST: Final = 5
"""So many rounds in a row may end before any kill, where the real run isn't as the first one."""

JSON_NAME: Final = "kills.json"
TEXT_NAME: Final = "kills.txt"


@dataclass(frozen=True, slots=True)
class KillsProof:
    """What came of it: a row for each kill, and an object for each batch."""

    subject: Subject
    asked: int
    rows: tuple[Mapping[str, Any], ...]
    batches: tuple[Mapping[str, Any], ...]
    wall_s: float

    @property
    def opened(self) -> list[Mapping[str, Any]]:
        """Return the kills with an attempt open."""
        return [row for row in self.rows if row["open"]]

    @property
    def triggered(self) -> list[Mapping[str, Any]]:
        """Return those after the first byte of an instrument's trigger; hands have no bytes."""
        return [row for row in self.opened if row["trigger_left"] and row["equipment"] != HANDS]

    @property
    def repeated(self) -> int:
        """Return how many acts were repeated."""
        return sum(len(one["repeated"]) for one in self.batches)

    @property
    def lost(self) -> int:
        """Return how many acts were lost."""
        return sum(len(one["lost"]) for one in self.batches)

    @property
    def failed(self) -> int:
        """Return how many batches didn't come to their end, or whose journal isn't sound."""
        return sum(bool(one["failed"]) for one in self.batches)

    @property
    def held(self) -> int:
        """Return after how many kills people were asked, or something was held."""
        return sum(bool(row["holds"]) for row in self.rows)

    @property
    def is_proven(self) -> bool:
        """Return whether all that was asked for was done, and nothing twice or not at all."""
        complete = len(self.rows) >= self.asked
        return complete and not (self.repeated or self.lost or self.failed)

    def as_json(self, *, every_kill: bool = False) -> dict[str, Any]:
        """Return the object that ``--json`` prints; with ``every_kill``, the evidence."""
        told: dict[str, Any] = {
            **about(self.subject),
            "kills": len(self.rows),
            "with_an_attempt_open": len(self.opened),
            "after_the_first_byte": len(self.triggered),
            "of_each": dict(sorted(Counter(_aimed_at(row) for row in self.rows).items())),
            "open_at_each": dict(sorted(Counter(row["equipment"] for row in self.opened).items())),
            "batches": len(self.batches),
            "repeated": self.repeated,
            "lost": self.lost,
            "held": self.held,
            "failed": self.failed,
            "hold_reasons": [{"why": why, "times": n} for why, n in self._reasons()],
            "proven": self.is_proven,
            "wall_s": round(self.wall_s, 1),
        }
        if every_kill:
            told["every_batch"] = [dict(one) for one in self.batches]
            told["every_kill"] = [dict(one) for one in self.rows]
        return told

    def as_text(self) -> str:
        """Return what people read."""
        aims = Counter(_aimed_at(row) for row in self.rows)
        at = Counter(row["equipment"] for row in self.opened)
        lines = [
            *self.subject.as_lines(),
            "",
            "room and daemon as two processes, over ptys and TCP; the daemon's group was killed",
            *(f"  {count:>5} x {what}" for what, count in sorted(aims.items())),
            "with an attempt open at",
            *(f"  {count:>5} x {equipment}" for equipment, count in sorted(at.items())),
            "",
            f"kills {len(self.rows)}, with an attempt open {len(self.opened)}, after the first byte"
            f" of its trigger {len(self.triggered)}, repeated {self.repeated}, lost {self.lost}, "
            f"held {self.held}, failed {self.failed} ({len(self.batches)} batches; "
            f"{self.wall_s:.0f} s)",
            *(f"  held {times} x: {why}" for why, times in self._reasons()),
        ]
        if len(self.rows) < self.asked:
            lines.append(f"  {self.asked - len(self.rows)} kills weren't made")
        for one in self.batches:
            for what in ("repeated", "lost", "failed"):
                said = one[what]
                for text in (said,) if isinstance(said, str) else said:
                    if text:
                        lines.append(f"  {what} in the batch with seed {one['seed']}: {text}")
        return "\n".join(lines)

    def _reasons(self) -> list[tuple[str, int]]:
        whys = Counter(f"{row['equipment']} {row['act']}: {why}".strip()
                       for row in self.rows for _, why in row["holds"])  # fmt: skip
        return sorted(whys.items(), key=lambda one: (-one[1], one[0]))


def proof_by_kills(
    recipe: Recipe,
    protocol: Path,
    cell_file: Path,
    kills: int,
    asked: Asked,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> KillsProof:
    """Return what came of killing the daemon of batches of a protocol ``kills`` times.

    Args:
        recipe: Written by ``protocol``.
        protocol: The file, which the room reads for what it has to bring.
        cell_file: Emulated.
        kills: How many.
        asked: The seed, dead times and workers; the seed of each further batch is one more.
        told: Is told of what is done now.
    """
    began = perf_counter()
    story = ProtocolStory(recipe, cell_file, seed=asked.seed)
    rows: list[Mapping[str, Any]] = []
    batches: list[Mapping[str, Any]] = []
    with in_memory() as folder:
        first = uninterrupted(story, folder)
        subject = replace(subject_of(story, recipe, first, asked), dead_s=asked.dead_s)
        most = max(1, min(KILLS_A_BATCH, round(subject.acts / ACTS_A_KILL)))
        maker = _Maker(recipe, protocol, cell_file, first.course, asked, kills)
        with ThreadPoolExecutor(asked.workers) as pool:
            fruitless = 0
            while len(rows) < kills and fruitless < FRUITLESS_MOST:
                made = len(rows)
                starts = range(made, kills, most)
                shares = [(len(batches) + n, start) for n, start in enumerate(starts)]
                for kept, batch in pool.map(partial(maker.batch, most), shares):
                    rows += kept
                    batches.append(batch)
                    told(f"{len(rows)} of {kills} kills")
                fruitless = fruitless + 1 if len(rows) == made else 0
    return KillsProof(
        subject=subject,
        asked=kills,
        rows=tuple(rows),
        batches=tuple(batches),
        wall_s=perf_counter() - began,
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes batches whose daemons die."""

    recipe: Recipe
    protocol: Path
    cell_file: Path
    course: Course
    asked: Asked
    kills: int

    def batch(
        self, most: int, share: tuple[int, int]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the rows of one batch's kills, and what came of the batch.

        ``share`` is the batch's number, and that of its first kill.
        """
        number, first = share
        seed = self.asked.seed + number
        count = min(most, self.kills - first)
        plan = aimed(
            self.course, count, first=first, seed=f"{seed} kills", dead_s=self.asked.dead_s
        )
        stage = staged(self.recipe, self.protocol, self.cell_file, seed)
        with tempfile.TemporaryDirectory(prefix="cellwright-kills-") as folder:
            try:
                ran = killed_run(stage, Path(folder) / "batch", plan)
            except FailedError as failed:
                return [], {"seed": seed, "repeated": [], "lost": [], "failed": str(failed)}
        compared = ran.comparison
        failed = "" if ran.is_sound else "its journal isn't sound"
        if ran.status != "complete":
            failed = f"the batch is {ran.status}"
        elif ran.holds_before:
            failed = f"held before any kill: {ran.holds_before}"
        return [{"seed": seed, **row} for row in ran.rows], {
            "seed": seed,
            "status": ran.status,
            "events": ran.events,
            "acts": len(compared.acts),
            "repeated": [str(one) for one in (*compared.repeated, *compared.unexplained)],
            "lost": [str(one) for one in compared.lost],
            "failed": failed,
        }


def _aimed_at(row: Mapping[str, Any]) -> str:
    """Return by what a kill was made."""
    where, moment, *_ = row["planned"].split()
    if where == JOURNAL:
        return "by an event of the journal"
    if where == TIME:
        return "by time"
    return "by bytes on a wire" if moment == OF_WIRE else f"by a moment: {moment}"


def write_kills(proof: KillsProof, folder: Path) -> Sequence[Path]:
    """Write a proof into ``folder``, for programs and for people; return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(proof.as_json(every_kill=True), indent=1, ensure_ascii=False)
    files = (folder / JSON_NAME, folder / TEXT_NAME)
    files[0].write_text(f"{told}\n", encoding="utf-8")
    files[1].write_text(f"{proof.as_text()}\n", encoding="utf-8")
    return files
