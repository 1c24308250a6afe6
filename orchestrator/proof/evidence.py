"""What a proof found, as a program and as a person reads it.

Nothing of the machine it ran on is in it: two runs with the same product, protocol, cell and
seed say the same, but for the real time that they took.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.proof.choosing import Choice
from orchestrator.proof.points import THEN, Kind

SHOWN_MOST: Final = 10
"""So many stages that weren't reached are shown to people; a program gets all."""

JSON_NAME: Final = "proof.json"
TEXT_NAME: Final = "proof.txt"

_WORDS: Final = {
    Kind.JOURNAL: "operations of the journal on the disk",
    Kind.TRIGGER: "bytes of what starts an act",
    Kind.MOMENT: "moments of instruments and people",
    Kind.REQUEST: "bytes of other requests",
    Kind.REPLY: "replies that came",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What was proven."""

    product: str
    title: str
    document: str
    version: str
    recipe: str
    cell_name: str
    cell: str
    seed: int
    dead_s: tuple[float, ...]
    acting: tuple[str, ...]
    """Every instrument that acts in it, and hands."""
    acts: int
    events: int
    phases: int
    days: float

    def as_lines(self) -> list[str]:
        """Return what people read of it."""
        dead = ", ".join(f"{one:g} s" for one in self.dead_s)
        return [
            f"{self.title} ({self.document} version {self.version})",
            f"recipe {self.recipe}",
            f"cell {self.cell_name} {self.cell}",
            f"cellwright {self.product}, seed {self.seed}, dead for {dead} in turn",
            f"uninterrupted: {self.acts} acts, {self.phases} phases, "
            f"{self.events} events, {self.days:.1f} days",
        ]


def about(subject: Subject, findings: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a program reads of what was proven, and of its uninterrupted run."""
    return {
        "product": subject.product,
        "protocol": {
            "title": subject.title,
            "document": subject.document,
            "version": subject.version,
            "recipe": subject.recipe,
        },
        "cell": {"name": subject.cell_name, "digest": subject.cell},
        "seed": subject.seed,
        "dead_s": list(subject.dead_s),
        "uninterrupted": {
            "acting": list(subject.acting),
            "acts": subject.acts,
            "events": subject.events,
            "phases": subject.phases,
            "days": round(subject.days, 2),
            "findings": list(findings),
        },
    }


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of it."""

    subject: Subject
    choice: Choice
    runs: tuple[Mapping[str, Any], ...]
    stages: int
    not_reached: tuple[str, ...]
    findings: tuple[str, ...]
    """What the comparison says of the uninterrupted run."""
    phase_kinds: Mapping[str, str]
    """By phase, its kind."""
    wall_s: float
    by_classes: bool = False
    """Whether a class of stages counts as reached by any one stage of it."""

    @property
    def repeated(self) -> int:
        """Return how many acts were repeated, over all runs."""
        return sum(len(one.get("repeated", ())) for one in self.runs)

    @property
    def lost(self) -> int:
        """Return how many acts were lost, over all runs."""
        return sum(len(one.get("lost", ())) for one in self.runs)

    @property
    def held(self) -> int:
        """Return how many runs asked people what was done, or were held otherwise."""
        return sum(bool(one.get("held")) for one in self.runs)

    @property
    def failed(self) -> int:
        """Return how many runs didn't come to their end."""
        return sum(bool(one.get("failed")) for one in self.runs)

    @property
    def second_deaths(self) -> set[str]:
        """Return the names of the deaths while another one was recovered from."""
        return {name for one in self.runs for name in one["points"] if THEN in name}

    @property
    def images(self) -> int:
        """Return how many images of the journal were recovered."""
        return sum(len(one.get("images", ())) for one in self.runs)

    @property
    def is_proven(self) -> bool:
        """Return whether nothing was repeated, lost or left out."""
        return not (self.repeated or self.lost or self.failed or self.not_reached or self.findings)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Return why runs were held, the most frequent first."""
        reasons = Counter(why for one in self.runs for why in one.get("held", ()))
        return sorted(reasons.items(), key=lambda one: (-one[1], one[0]))

    @property
    def by_phase_kind(self) -> list[tuple[str, int]]:
        """Return how many runs were cut in each kind of phase."""
        kinds = Counter(
            kind
            for one in self.runs
            for kind in {self.phase_kinds.get(path, "?") for path in one.get("cut", ())}
        )
        return sorted(kinds.items())

    def as_json(self, *, every_run: bool = False) -> dict[str, Any]:
        """Return the object that ``--json`` prints; with ``every_run``, the evidence."""
        told: dict[str, Any] = {
            **about(self.subject, self.findings),
            "points": {
                kind.value: {"there": self.choice.there[kind], "died_at": self.choice.chosen(kind)}
                for kind in Kind
            },
            "second_deaths": len(self.second_deaths),
            "images": self.images,
            "runs": len(self.runs),
            "repeated": self.repeated,
            "lost": self.lost,
            "held": self.held,
            "failed": self.failed,
            "hold_reasons": [{"why": why, "times": times} for why, times in self.reasons],
            "phase_kinds": dict(self.by_phase_kind),
            "stages": self.stages,
            "not_reached": list(self.not_reached),
            "proven": self.is_proven,
            "wall_s": round(self.wall_s, 1),
        }
        if every_run:
            ordered = sorted(self.runs, key=lambda one: (one["points"], str(one.get("images"))))
            told["every_run"] = [
                {key: value for key, value in one.items() if key != "wall_s"} for one in ordered
            ]
        return told

    def as_text(self) -> str:
        """Return what people read."""
        lines = [
            *self.subject.as_lines(),
            *(f"  {one}" for one in self.findings),
            "",
            "died at",
            *(self._row(kind) for kind in Kind),
            *self._second_row(),
            "",
            f"points {len(self.choice.points)}, runs {len(self.runs)}, repeated {self.repeated}, "
            f"lost {self.lost}, held {self.held}, failed {self.failed} "
            f"({self.images} images of the journal recovered; {self.wall_s:.0f} s)",
        ]
        for why, times in self.reasons:
            lines.append(f"  held {times} x: {why}")
        lines += self._wrong()
        lines += ["", "cut in phases of the kind"]
        lines += [f"  {kind}: {count} runs" for kind, count in self.by_phase_kind]
        lines += ["", self._reach()]
        lines += [f"  not reached: {one}" for one in self.not_reached[:SHOWN_MOST]]
        if len(self.not_reached) > SHOWN_MOST:
            lines.append(f"  not reached: {len(self.not_reached) - SHOWN_MOST} more")
        return "\n".join(lines)

    def _row(self, kind: Kind) -> str:
        there, died = self.choice.there[kind], self.choice.chosen(kind)
        how = "every one" if there == died else f"{died} of them, drawn by the seed"
        return f"  {there:>9,} {_WORDS[kind]}: {how}"

    def _second_row(self) -> list[str]:
        if not self.second_deaths:
            return []
        at_journal = sum("journal/" in name.rpartition(THEN)[2] for name in self.second_deaths)
        others = len(self.second_deaths) - at_journal
        return [
            f"and again while that is recovered from, at {at_journal:,} operations of the journal: "
            f"every one until the phase goes on; and at {others:,} other points, drawn by the seed"
        ]

    def _wrong(self) -> list[str]:
        lines: list[str] = []
        for one in self.runs:
            for what in ("repeated", "lost", "failed"):
                said = one.get(what) or ()
                for text in (said,) if isinstance(said, str) else said:
                    told = [line.strip(" |+-") for line in text.splitlines()]
                    last = next((line for line in reversed(told) if line), "")
                    lines.append(f"  {what} at --only '{one['points'][0]}': {last}")
        return lines

    def _reach(self) -> str:
        what = "classes of stages" if self.by_classes else "stages"
        there = f"{what} of acts, hand work, questions and scans"
        if not self.not_reached:
            return f"reach: each of the {self.stages} {there}"
        return f"reach: {self.stages - len(self.not_reached)} of {self.stages} {there}"


def write_evidence(proof: Proof, folder: Path) -> Sequence[Path]:
    """Write a proof into ``folder``, for programs and for people; return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(proof.as_json(every_run=True), indent=1, ensure_ascii=False)
    files = (folder / JSON_NAME, folder / TEXT_NAME)
    files[0].write_text(f"{told}\n", encoding="utf-8")
    files[1].write_text(f"{proof.as_text()}\n", encoding="utf-8")
    return files
