"""A page of paper for each patient, at the moment when the software died.

Method: one batch in which every instrument acts is run whole. Its journal is cut right behind
the intent of an act of each kind, as a death leaves it, and the page is printed from each.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from orchestrator.cli import main as command
from orchestrator.journal.journal import Row, read_rows
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import day
from orchestrator.process_cell.emulated_people import PEOPLE
from orchestrator.process_cell.simulation import BATCH, simulate
from orchestrator.records.patient_page import page_of_all, read_known
from tests.simulation.one_batch import TEN_DAYS, recipe_idle
from tests.unit.journal.builders import opened
from tests.unit.records.test_watching import SetClock

COLUMNS = 80

MOMENTS = {
    "hands": '"kind":"hand_act"',
    "valves": '"kind":"set_valves"',
    "pump": '"kind":"pump_volume"',
    "arm": '"kind":"pick_container"',
    "centrifuge": '"kind":"spin"',
    "freezer": '"kind":"ramp_segment"',
}

SAID = {
    "hands": ("Don't do this again by hand", "Ask who was at it and look."),
    "valves": ("V1 ", "Look which valves are open"),
    "pump": ("P1 ", "was told to pump", "Bring P1 to rest at its own panel.", "shut the clamps of"),
    "arm": ("R1 ", "Leave R1 running", "still at", "or in the gripper. Don't take it out"),
    "centrifuge": ("C1 ", "Leave the lid shut until the rotor stands still"),
    "freezer": ("F1 ", "Leave F1 running", "Start no curve again, and don't warm or open"),
}


@cache
def whole(folder: Path) -> tuple[Path, tuple[Row, ...]]:
    """Run the batch once; return its folder and its rows."""
    simulate(recipe_idle(TEN_DAYS), folder, seed=1)
    return folder, tuple(read_rows(folder / "journal.sqlite"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, tuple[Row, ...]]]:
    yield whole(tmp_path_factory.getbasetemp() / "whole-batch")
    whole.cache_clear()


def cut(ran: tuple[Path, tuple[Row, ...]], folder: Path, seq: int) -> Path:
    """Return a data folder as a death behind event ``seq`` leaves it."""
    shutil.copytree(ran[0], folder)
    journal = opened(folder / "journal.sqlite")
    journal.execute("DELETE FROM events WHERE seq > ?", (seq,))
    journal.execute("DELETE FROM checkpoints WHERE size > ?", (seq,))
    journal.close()
    return folder


def page(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert command.main(["status", "--data", str(folder)]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_page_says_what_was_asked_how_it_comes_to_rest_and_where_to_look(
    ran: tuple[Path, tuple[Row, ...]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    moment: str,
) -> None:
    intended = [one for one in ran[1] if one.kind == "attempt_intended"]
    seq = next(one.seq for one in intended if MOMENTS[moment] in one.body)
    printed = page(cut(ran, tmp_path / "cut", seq), capsys)
    assert all(len(line) <= COLUMNS for line in printed.splitlines()), printed
    assert not [one.printed_name for one in PEOPLE if one.printed_name in printed]
    plain = " ".join(printed.split())
    for part in (
        *SAID[moment],
        "down, ended without a word",
        "Found: ____",
        "the cells are safe like this:",
        "IN DOUBT",
        f"Batch {BATCH}: running",
        "Where the cells are",
    ):
        assert part in plain, f"{part!r} isn't in\n{printed}"


def test_what_waits_is_left_alone_until_its_time_and_the_hold_after_it(
    ran: tuple[Path, tuple[Row, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = next(one for one in ran[1] if one.kind == "wait_started")
    folder = cut(ran, tmp_path / "cut", began.seq)
    plain = " ".join(page(folder, capsys).split())
    until = str(Instant.read(began.at_utc) + 10 * day)[:16].replace("T", " ")
    assert f"leave it alone, it goes on by itself until {until} UTC" in plain
    assert "IN DOUBT" not in plain
    clock = SetClock()
    clock.at = Instant.read("2026-01-10T08:00:00.000000Z")
    (patient,) = page_of_all(read_known(folder / "journal.sqlite"), clock)["patients"]
    (hold,) = patient["holds"]
    assert hold["safe_until"] > hold["waits_until"]
    assert " min left by this host's clock" in patient["by_hand"][0]


def test_an_act_that_was_settled_is_in_no_doubt(
    ran: tuple[Path, tuple[Row, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the page would cry doubt whatever happened."""
    seq = next(one.seq for one in ran[1] if one.kind == "attempt_settled")
    printed = page(cut(ran, tmp_path / "cut", seq), capsys)
    assert "IN DOUBT" not in printed
    assert "settled" in printed
