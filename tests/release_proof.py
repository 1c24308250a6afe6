"""The long proofs' results: kept while the source stays as it is, printed as one table.

A part that was measured on this very source isn't measured again, so a proof that was
interrupted goes on where it stopped. ``python -m tests.release_proof`` prints the table.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
KEPT: Final = ROOT / ".release-proof"
SOURCE: Final = ("chain_of_identity", "devices", "hw_mocks", "orchestrator", "protocols")
HARNESS: Final = (
    "tests/release_proof.py",
    "tests/simulation/left_out.py",
    "tests/simulation/many.py",
    "tests/unit/world/cultures.py",
    "tests/unit/world/lab.py",
)

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
    """Return a part's figures: kept ones of this source, or measured now and kept."""
    known = kept(name)
    if known is not None:
        return known
    file = KEPT / source() / f"{name}.json"
    began = time.perf_counter()
    measured = {**measure(), "wall_s": round(time.perf_counter() - began, 1)}
    file.parent.mkdir(parents=True, exist_ok=True)
    written = file.with_suffix(".part")
    written.write_text(json.dumps(measured, indent=1, sort_keys=True))
    written.replace(file)
    return measured


def table() -> str:
    """Return every figure of this source, a line each."""
    lines = [f"Release proof of source {source()}"]
    for file in sorted((KEPT / source()).glob("*.json")):
        lines.append(file.stem)
        for figure, value in json.loads(file.read_text()).items():
            lines.append(f"    {figure.replace('_', ' '):<32}{_told(value)}")
    if len(lines) == 1:
        lines.append("nothing was measured yet; run `make release-proof`")
    return "\n".join(lines)


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"  # pyright: ignore[reportUnknownArgumentType]
    return str(value)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
