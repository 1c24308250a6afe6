"""The long proofs' results: kept while the source stays as it is, printed as one table.

A part that was measured on this very source isn't measured again, so a proof that was
interrupted goes on where it stopped. ``python -m tests.release_proof`` prints the table:
each figure with what is required of it, where something is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
KEPT: Final = ROOT / ".release-proof"
SOURCE: Final = ("chain_of_identity", "devices", "hw_mocks", "orchestrator", "protocols")
HARNESS: Final = (
    "tests/crash/release_proof_kills.py",
    "tests/property/frames.py",
    "tests/property/paper_instruments.py",
    "tests/property/release_proof_frames.py",
    "tests/proof/holds.py",
    "tests/proof/release_proof_restart.py",
    "tests/proof/seed_and_wash.py",
    "tests/release_proof.py",
    "tests/simulation/left_out.py",
    "tests/simulation/many.py",
    "tests/simulation/parked.py",
    "tests/simulation/two_patients.py",
    "tests/simulation/test_thin_path_crash.py",
    "tests/simulation/wires.py",
    "tests/unit/world/cultures.py",
    "tests/unit/world/lab.py",
)

REQUIRED: Final[Mapping[str, Mapping[str, str]]] = {
    "culture, run A": {"fold": "68 within 10 %", "engineered": "4.5e9 within 10 %"},
    "culture, run B": {"fold": "71 within 10 %", "engineered": "3.6e9 within 10 %"},
    "culture, all donors": {"donors": "100", "median_fold": "42 to 72"},
    "culture, with something left out": {
        "fold_without_activation": "below 1",
        "engineered_without_vector": "0 %",
        "fold_without_feeds": "30 % less at least",
        "fold_without_a_warm_day": "2 % less at least",
    },
    "culture, marrow": {
        "cells_whole": "6.6e8 within 25 %",
        "days_whole": "20 to 23",
        "cells_without_exchange": "fewer",
    },
    "culture, perfused": {"doubling_time_h": "22 at most"},
    "forty on forty cells": {
        "complete": "40",
        "repeated": "0",
        "lost": "0",
        "missing_identifiers": "0",
        "foreign_identifiers": "0",
        "different_roots": "40",
    },
    "frames": {
        "frames": "100000 at least",
        "whole_answers_refused": "0",
        "wrong": "none",
        "crashes": "none",
        "hangs": "none",
    },
    "identity": {"not_run_yet": "0", "let_through": "none"},
    "kills, all": {
        "kills": "25",
        "with_an_attempt_open": "15 at least",
        "after_the_first_byte": "8 at least",
        "of_each_instrument": "each 1 at least",
        "dead_times": "by turns",
        "holds_that_no_row_allows": "none",
    },
    "kills drawn, all": {
        "kills": "500",
        "with_an_attempt_open": "300 at least",
        "after_the_first_byte": "150 at least",
        "open_at_each": "each 1 at least",
        "repeated": "0",
        "lost": "0",
        "holds_that_no_row_allows": "none",
    },
    "kills drawn, part": {"kills": "50", "repeated": "0", "lost": "0", "failed": "0"},
    "kills, run": {"status": "complete", "repeated": "0", "lost": "0", "sound": "True"},
    "marrow at four hours": {
        "complete": "4",
        "holds": "0",
        "repeated": "0",
        "lost": "0",
        "sound": "True",
        "block_limits_overrun": "none",
    },
    "parked": {
        "waiting": "100 each time",
        "history": "10 times",
        "seconds_at_most": "5",
        "times_as_long": "1.3 at most",
    },
    "restart,": {
        "repeated": "0",
        "lost": "0",
        "failed": "0",
        "holds_that_no_row_allows": "none",
        "not_reached": "none",
        "kinds_of_phase_not_cut": "none",
    },
    "restart, thirty acts": {
        "repeated": "0",
        "lost": "0",
        "failed": "0",
        "held": "0",
        "not_reached": "none",
        "every_deciding_point": "True",
        "seconds": "180 at most",
    },
    "restart, twice, seed": {"repeated": "0", "lost": "0", "failed": "0"},
    "restart, twice": {"runs": "5000 at least", "repeated": "0", "lost": "0", "failed": "0"},
    "twelve on one cell, least": {
        "complete": "12",
        "repeated": "0",
        "lost": "0",
        "sound": "True",
        "block_limits_overrun": "none",
        "late_feeds": "none",
        "shared_places": "none",
    },
    "twelve, shared against alone": {"yields_differ": "each 0.05 at most"},
}
"""What is asked of each figure, by the beginning of its part's name; the proofs assert it."""

PRINTED_ELSEWHERE: Final[Mapping[str, str]] = {"kills": "kills, run"}
"""Figures of parts, by the beginning of the part's name, that another part tells."""

Measured = Mapping[str, Any]


@cache
def source() -> str:
    """Return the digest of all that a figure rests on."""
    total = hashlib.sha256()
    shipped = [one for folder in SOURCE for one in sorted((ROOT / folder).rglob("*"))]
    for one in (*shipped, *(ROOT / name for name in HARNESS)):
        if one.suffix in (".py", ".toml"):
            total.update(one.relative_to(ROOT).as_posix().encode() + b"\0" + one.read_bytes())
    return total.hexdigest()[:16]


def kept(name: str) -> Measured | None:
    """Return a part's figures if they were measured on this source."""
    file = KEPT / source() / f"{name}.json"
    figures: dict[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
    return figures


def part(name: str, measure: Callable[[], Measured]) -> Measured:
    """Return a part's figures: kept ones of this source, or measured now and kept.

    Who asks for a part that another process measures waits for it.
    """
    with _alone(name):
        known = kept(name)
        if known is not None:
            return known
        began = time.perf_counter()
        measured = {**measure(), "wall_s": round(time.perf_counter() - began, 1)}
        return tell(name, measured)


def tell(name: str, figures: Measured) -> Measured:
    """Keep figures that were drawn from parts, in place of earlier ones; return them as kept."""
    file = KEPT / source() / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".part")
    written.write_text(json.dumps(figures, indent=1))
    written.replace(file)
    again: dict[str, Any] = json.loads(file.read_text())
    return again


@contextmanager
def _alone(name: str) -> Generator[None]:
    file = KEPT / source() / f"{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def table() -> str:
    """Return every figure of this source, a line each, beside what is required of it."""
    lines = [
        f"Release proof of source {source()}",
        f"    {'figure':<34}{'required':<20}measured",
    ]
    for file in sorted((KEPT / source()).glob("*.json")):
        lines.append(file.stem)
        for figure, value in json.loads(file.read_text()).items():
            if file.stem.startswith(PRINTED_ELSEWHERE.get(figure, "\0")):
                continue
            name, required = figure.replace("_", " "), _required(file.stem).get(figure, "")
            lines.append(f"    {name:<34}{required:<20}{_told(value)}")
    if len(lines) == 2:
        lines.append("nothing was measured yet; run `make release-proof`")
    return "\n".join(lines)


def _required(name: str) -> Mapping[str, str]:
    """Return what is asked of a part's figures: by the longest beginning of its name."""
    found = [one for one in REQUIRED if name.startswith(one)]
    return REQUIRED[max(found, key=len)] if found else {}


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        each = [str(one) for one in value]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        apart = "\n        " if any(len(one) > 60 for one in each) else "; "
        return (apart if len(apart) > 2 and each else "") + apart.join(each) or "none"
    return str(value)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
