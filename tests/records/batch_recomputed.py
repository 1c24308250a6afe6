"""A second reading of a journal for one batch: plain SQLite, JSON and arithmetic.

It shares nothing with the batch record but the documented format of the journal's rows
(docs/reference/journal.md, design section 5). Decimals throughout.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

LITRES = {"nL": Decimal("1e-9"), "uL": Decimal("1e-6"), "mL": Decimal("1e-3"), "L": Decimal(1)}


def millilitres(text: str) -> Decimal:
    """Return a volume's text in millilitres."""
    number, unit = text.split()
    return Decimal(number) * LITRES[unit] * 1000


@dataclass
class Recomputed:
    """What the rows say of one batch."""

    identity_checks: int = 0
    scanned: int = 0
    acts: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    attempts: int = 0
    signatures: int = 0
    drawn: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    moved_in: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    phases: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    densities: list[tuple[int, Decimal]] = field(default_factory=list[tuple[int, Decimal]])
    seeded: Decimal | None = None
    harvested: Decimal | None = None
    held: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Millilitres by container, by the better measure of each pumped volume."""


def recomputed(journal: Path, batch: str) -> Recomputed:
    """Read the rows once, and add up."""
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT seq, at_utc, kind, body FROM events ORDER BY seq")
        return _added_up([(seq, at, kind, json.loads(body)) for seq, at, kind, body in rows], batch)


def better_measured(done: str, weighed: str) -> Decimal:
    """Return a pumped volume: by weight where that is off by less than the pump's count may be."""
    counted = millilitres(done)
    if not weighed:
        return counted
    by_weight = millilitres(weighed)
    off_by_weight = Decimal("0.3") + by_weight * 2 / 100
    return by_weight if off_by_weight < counted * 5 / 100 else counted


def seconds_between(first: str, last: str) -> Decimal:
    """Return the seconds between two instants of the journal."""
    length = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    return Decimal(length.days * 86_400 + length.seconds) + Decimal(length.microseconds) / 1_000_000


def _added_up(rows: list[tuple[int, str, str, dict[str, Any]]], batch: str) -> Recomputed:
    found = Recomputed()
    recipe = next(b["recipe"] for _, _, k, b in rows if k == "batch_made" and b["batch"] == batch)
    intents: dict[str, dict[str, Any]] = {}
    holds: dict[str, Decimal] = {}  # millilitres by container
    cells: dict[str, Decimal] = {}
    sampled: dict[str, str] = {}
    kinds: dict[str, str] = {}
    tasks: set[str] = set()
    vessel, incubated = "", False
    for seq, at, kind, body in rows:
        if kind == "container_received":
            holds[body["container"]] = millilitres(body["volume"] or "0 mL")
            for position, volume in zip(body["positions"], body["volumes"], strict=True):
                holds[f"{body['container']}/{position}"] = millilitres(volume)
            found.held |= {
                name: volume
                for name, volume in holds.items()
                if name.split("/")[0] == body["container"]
            }
        if kind in ("recipe_submitted", "recipe_signed") and body["recipe"] == recipe:
            found.signatures += 1
        if kind == "task_verified" and body["task"] in tasks:
            found.signatures += body.get("signature") is not None
        if body.get("batch") != batch:
            continue
        if kind == "task_offered":
            tasks.add(body["task"])
        found.signatures += "signature" in body and kind == "batch_made"
        found.signatures += len(body.get("signatures", ()))
        if kind == "phase_started":
            kinds[body["path"]] = body["phase"].split("/")[0]
            found.phases[body["path"]] = (at, "")
        elif kind == "phase_ended":
            found.phases[body["path"]] = (found.phases[body["path"]][0], at)
            if kinds[body["path"]] == "incubate":
                incubated, found.harvested = True, None
        elif kind == "identity_proven":
            found.identity_checks += 1
            found.scanned += body["scanner"] is not None
        elif kind == "attempt_intended":
            intents[body["command"]] = body
            found.acts.add((body["path"], body["word"]))
            found.attempts += 1
        if kind not in ("attempt_settled", "attempt_failed", "attempt_reconciled"):
            continue
        if not body["done"]:
            continue
        intent = intents[body["command"]]
        act = intent["act"] or intent["asked"]
        where = kinds[intent["path"]]
        if act["kind"] == "pump_volume":
            moved = millilitres(body["done"])
            source, target = act["source"], act["target"]
            found.drawn[source] = found.drawn.get(source, Decimal(0)) + moved
            found.moved_in[target] = found.moved_in.get(target, Decimal(0)) + moved
            share = cells.get(source, Decimal(0)) * moved / holds[source] if holds[source] else 0
            cells[source] = cells.get(source, Decimal(0)) - share
            cells[target] = cells.get(target, Decimal(0)) + share
            holds[source] -= moved
            holds[target] += moved
            measured = better_measured(body["done"], body["detail"].get("weighed", ""))
            found.held[source] -= measured
            found.held[target] += measured
            if where == "seed_and_activate" and share:
                found.seeded = (found.seeded or Decimal(0)) + share
                vessel = target
        elif act["kind"] == "count_cells":
            of = sampled[act["sample"]]
            density = Decimal(body["detail"]["viable_density"].split()[0])
            found.densities.append((seq, density))
            cells[of] = density * holds[of]
            if incubated and of == vessel and found.harvested is None:
                found.harvested = cells[of]
        elif act["kind"] == "hand_act":
            reported = body["detail"].get("volume") or act["parameters"].get("volume")
            if act["work"] == "receive" and "volume" in body["detail"]:
                holds[act["containers"][0]] = millilitres(body["detail"]["volume"])
                found.held[act["containers"][0]] = millilitres(body["detail"]["volume"])
            elif act["work"] == "select_magnetically":
                holds[act["containers"][0]] = Decimal(0)
                holds[act["containers"][1]] += millilitres(reported)
                found.held[act["containers"][0]] = Decimal(0)
                found.held[act["containers"][1]] += millilitres(reported)
            elif act["work"] == "draw_sample":
                source, tube = act["containers"][:2]
                sampled[tube] = source
                drawn = millilitres(reported)
                cells[source] = cells.get(source, Decimal(0)) * (1 - drawn / holds[source])
                holds[source] -= drawn
                holds[tube] += drawn
                found.held[source] -= drawn
                found.held[tube] += drawn
    return found
