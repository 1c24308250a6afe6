"""The daemon is killed in whole batches over real wires: at places named here, and at drawn ones.

Method: five CAR-T batches of twelve days, each with another donor, each with five kills that
the room makes at a moment of its instruments or people. While the daemon is dead the room
goes on, not at all, to the middle of the motion or beyond its end; then a new daemon goes on
from the journal. At the end the World is the judge. Then five hundred kills, drawn by seeds,
in ten parts. What is required, over all, is counted from the journal, the recorded bytes and
the room, never from what was planned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from orchestrator.cli.demo import PROTOCOL
from orchestrator.cli.recipes import written_recipe
from orchestrator.process_cell.config import load_cell
from orchestrator.process_cell.simulation import REFERENCE_CELL
from orchestrator.proof.killing import DEAD_S, proof_by_kills
from orchestrator.proof.kills import HANDS, Kill, killed_run, staged
from orchestrator.proof.proving import Asked
from tests.proof.holds import ROWS, is_allowed, model_of
from tests.release_proof import Measured, part, tell

pytestmark = [pytest.mark.release_proof, pytest.mark.timeout(600)]

TRIGGERS: Final = {
    "R1": ("pickplate", "placeplate"),
    "P1": ("DO",),
    "V1": ("write_coils",),
    "I1": ("2010",),
    "C1": ("spin",),
    "F1": ("S", "C"),
    "N1": ("ORDER",),
}
"""What each instrument's emulator calls a request that starts an act. The arm's and the
centrifuge's homing are acting requests too, and only prepare one."""

SHORT: Final = Path(__file__).parents[1] / "proof" / "seed_and_wash.py"

PARTS: Final = {n: PROTOCOL if n % 2 else SHORT for n in range(1, 11)}
"""By its number, the protocol whose daemon a part kills ``KILLS_A_PART`` times: each shipped
batch of twelve days is killed often, each of thirty acts a few times."""

KILLS_A_PART: Final = 50
DRAWN_WITH_AN_ATTEMPT_OPEN: Final = 300
DRAWN_AFTER_THE_FIRST_BYTE: Final = 150

RUNS: Final = {
    1: (
        Kill("hands", "moving", 3, 600),  # a selection: the box runs for hours
        Kill("I1", "arriving", 1, 0),
        Kill("P1", "heard", 1, 60, hears="1SP"),  # its speed is set, its dose isn't yet
        Kill("P1", "moving", 2, 30),
        Kill("V1", "ended", 1, 60, after_s=5),  # a scan is waited for
    ),
    2: (
        Kill("P1", "arriving", 5, 20),
        Kill("R1", "arriving", 1, 0),  # its homing
        Kill("R1", "heard", 1, 0, hears="PickPlate"),
        Kill("R1", "ended", 2, 600, after_s=3600),  # the culture grows
        Kill("C1", "arriving", 1, 300),  # its homing
    ),
    3: (
        Kill("N1", "heard", 1, 60, hears="2P|1"),  # the link is won, the order isn't sent
        Kill("R1", "arrived", 7, 1),
        Kill("C1", "moving", 2, 600),
        Kill("hands", "arrived", 1, 30),
        Kill("P1", "ended", 2, 60, after_s=86_400),
    ),
    4: (
        Kill("F1", "heard", 300, 3600, hears="T"),  # idle, and asked whether anybody acted
        Kill("N1", "moving", 1, 0),
        Kill("P1", "moving", 5, 900),
        Kill("R1", "ended", 1, 60),
        Kill("V1", "replying", 1, 0),
    ),
    5: (
        Kill("I1", "heard", 500, 0, hears="?:2401"),
        Kill("F1", "heard", 1, 60, hears="L1"),  # its limit is set, it isn't started
        Kill("F1", "arrived", 1, 30),
        Kill("F1", "moving", 2, 600),
        Kill("hands", "moving", 1, 300),
    ),
}
"""By the seed of the run. Counts are from the daemon's start, after the kill before."""

KILLS: Final = 25
WITH_AN_ATTEMPT_OPEN: Final = 15
AFTER_THE_FIRST_BYTE: Final = 8
OF_EACH_DEAD_TIME: Final = 4


@pytest.mark.requirement("PRC-09")
@pytest.mark.emulation_cannot_show("what an instrument of the site does when its host dies")
@pytest.mark.parametrize("seed", RUNS)
def test_a_batch_with_five_kills_ends_with_nothing_twice_and_nothing_lost(
    tmp_path: Path, seed: int
) -> None:
    ran = _run(tmp_path, seed)
    assert (ran["repeated"], ran["lost"]) == (0, 0), ran["findings"]
    assert (ran["status"], ran["sound"]) == ("complete", True)
    assert ran["holds_before_any_kill"] == []


@pytest.mark.requirement("PRC-09")
def test_the_kills_fell_where_they_must_and_held_no_more_than_they_may(tmp_path: Path) -> None:
    runs = [_run(tmp_path / str(seed), seed) for seed in RUNS]
    kills: list[Measured] = [kill for ran in runs for kill in ran["kills"]]
    opened = [kill for kill in kills if kill["open"]]
    triggered = [kill for kill in opened if kill["trigger_left"]]
    of_each = Counter(str(kill["equipment"]) for kill in opened)
    dead = Counter(dead_time(kill) for kill in triggered)
    unjustified = [why for kill in kills if (why := unjustified_hold(kill))]
    tell(
        "kills, all",
        {
            "kills": len(kills),
            "with_an_attempt_open": len(opened),
            "after_the_first_byte": len(triggered),
            "of_each_instrument": _counted(of_each),
            "after_the_first_byte_of_each": _counted(
                Counter(str(kill["equipment"]) for kill in triggered)
            ),
            "dead_times": _counted(dead),
            "holds": sum(len(kill["holds"]) for kill in kills),
            "holds_that_no_row_allows": unjustified,
            "each_kill": [
                f"run {ran['seed']}  {told(kill)}" for ran in runs for kill in ran["kills"]
            ],
        },
    )
    assert len(kills) == KILLS
    assert len(opened) >= WITH_AN_ATTEMPT_OPEN
    assert len(triggered) >= AFTER_THE_FIRST_BYTE
    assert set(of_each) == acting()
    assert set(dead) == {"none", "ends in mid-motion", "beyond its end"}
    assert min(dead.values()) >= OF_EACH_DEAD_TIME
    disputed = [
        told(kill)
        for kill in kills
        if kill["planned"].startswith(f"{kill['equipment']} ")
        and kill["trigger_left"] != kill["room_heard_it"]
    ]
    assert disputed == [], "record and room differ on whether the trigger had left"
    assert unjustified == []


@pytest.mark.requirement("PRC-09")
@pytest.mark.emulation_cannot_show("what an instrument of the site does when its host dies")
@pytest.mark.parametrize("number", PARTS)
def test_kills_drawn_by_a_seed_leave_nothing_twice_and_nothing_lost(number: int) -> None:
    drawn = _drawn(number)
    assert (drawn["repeated"], drawn["lost"], drawn["failed"]) == (0, 0, 0), drawn
    assert drawn["kills"] == KILLS_A_PART


@pytest.mark.requirement("PRC-09")
def test_the_drawn_kills_fell_where_they_must_and_held_no_more_than_they_may() -> None:
    parts = [_drawn(number) for number in PARTS]
    rows: list[Measured] = [row for drawn in parts for row in drawn["every_kill"]]
    unjustified = [why for row in rows if (why := unjustified_hold(row))]
    said = tell(
        "kills drawn, all",
        {
            "kills": len(rows),
            "with_an_attempt_open": sum(drawn["with_an_attempt_open"] for drawn in parts),
            "after_the_first_byte": sum(drawn["after_the_first_byte"] for drawn in parts),
            "open_at_each": _counted(Counter(str(row["equipment"]) for row in rows if row["open"])),
            "aimed": _counted(Counter(how for one in parts for how in _each(one["of_each"]))),
            "repeated": sum(drawn["repeated"] for drawn in parts),
            "lost": sum(drawn["lost"] for drawn in parts),
            "holds": sum(len(row["holds"]) for row in rows),
            "holds_that_no_row_allows": unjustified,
        },
    )
    assert said["kills"] == len(PARTS) * KILLS_A_PART
    assert said["with_an_attempt_open"] >= DRAWN_WITH_AN_ATTEMPT_OPEN
    assert said["after_the_first_byte"] >= DRAWN_AFTER_THE_FIRST_BYTE
    assert {row["equipment"] for row in rows if row["open"]} >= acting()
    assert (said["repeated"], said["lost"], unjustified) == (0, 0, [])


def _drawn(number: int) -> Measured:
    protocol = PARTS[number]
    asked = Asked(seed=1000 * number, dead_s=DEAD_S, workers=1)

    def measure() -> Measured:
        recipe = written_recipe(protocol)
        proof = proof_by_kills(recipe, protocol, REFERENCE_CELL, KILLS_A_PART, asked)
        return proof.as_json(every_kill=True)

    return part(f"kills drawn, part {number}", measure)


def _run(folder: Path, seed: int) -> Measured:
    folder.mkdir(exist_ok=True)
    return part(f"kills, run {seed}", lambda: _killed(folder, seed))


def _killed(folder: Path, seed: int) -> Measured:
    stage = staged(written_recipe(PROTOCOL), PROTOCOL, REFERENCE_CELL, seed)
    ran = killed_run(stage, folder / "batch", RUNS[seed])
    compared = ran.comparison
    return {
        "seed": seed,
        "status": ran.status,
        "repeated": compared.repeated_acts,
        "lost": compared.lost_acts,
        "findings": [str(one) for one in compared.findings],
        "acts": len(compared.acts),
        "events": ran.events,
        "sound": ran.is_sound,
        "holds_before_any_kill": list(ran.holds_before),
        "kills": [
            {**row, "room_heard_it": _room_heard(kill, row)}
            for kill, row in zip(RUNS[seed], ran.rows, strict=True)
        ],
    }


def _room_heard(kill: Kill, row: Measured) -> bool:
    """Return whether the room had heard the trigger of the act that was open at the kill."""
    if row["equipment"] != kill.equipment:
        return False
    said = (row["heard"], kill.hears.lower())
    return kill.equipment == HANDS or any(one in TRIGGERS[kill.equipment] for one in said)


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{count} {name}" for name, count in sorted(counts.items())]


def _each(counts: Mapping[str, int]) -> Iterator[str]:
    for name, count in counts.items():
        yield from [name] * count


def acting() -> set[str]:
    """Return every instrument of the cell that acts in this procedure, and hands."""
    modules = {str(one.equipment) for one in load_cell(REFERENCE_CELL).config.modules}
    return {*(modules & set(TRIGGERS)), HANDS}


def dead_time(kill: Measured) -> str:
    """Return for how long the daemon was dead, beside the motion of its instrument."""
    if kill["dead_s"] == 0:
        return "none"
    return "ends in mid-motion" if kill["moves_at_restart"] else "beyond its end"


def unjustified_hold(kill: Measured) -> str:
    """Return what is wrong with the holds after a kill; empty if nothing is."""
    for held, why in kill["holds"]:
        if not kill["open"]:
            return f"{kill['planned']}: no attempt was open, yet {held} is held: {why}"
        by = kill["began"].get(held)
        if by is None:
            return f"{kill['planned']}: {held} is held, whose trigger hadn't left: {why}"
        if not is_allowed(why, by):
            return f"{kill['planned']}: {held} is held, which no row allows: {why}"
    return ""


def told(kill: Measured) -> str:
    """Return one kill in a line: where it fell, on what, how long dead, what came of it."""
    act = f"{kill['equipment']} {kill['act']}" if kill["equipment"] else "no attempt open"
    byte = "after its first byte" if kill["trigger_left"] else "before its first byte"
    where = f"{act}, {byte}" if kill["equipment"] else act
    motion = f" ({dead_time(kill)})" if kill["trigger_left"] else ""
    row = ROWS[model_of(kill["equipment"])].says if kill["equipment"] and kill["holds"] else ""
    held = [f"{one}: {why}; its row: {row}" for one, why in kill["holds"]]
    return (
        f"day {kill['day']:5.2f}  {kill['planned']:28} {where}; dead {kill['dead_s']:g} s{motion};"
        f" came to: {kill['came_to'] or 'going on'}; held: {', '.join(held) or 'nothing'}"
    )
