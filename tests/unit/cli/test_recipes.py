"""Goal: check, explain, read and diff answer on standard output and name what is wrong.

Method: the example protocol, whole and broken in each of the ways that a file can be bad.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.cells import Offers
from orchestrator.process_cell.config import load_cell
from tests.pace import shortest
from tests.unit.cli.builders import CELL, PROTOCOL, assert_one_message, call, run

Out = pytest.CaptureFixture[str]


def broken(folder: Path, old: str, new: str) -> Path:
    file = folder / "broken.py"
    text = PROTOCOL.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


def test_a_sound_protocol_is_status_0(capsys: Out) -> None:
    called = call(capsys, "check", PROTOCOL)
    assert called.status == 0
    assert called.out == f"{PROTOCOL}: nothing found wrong\n"
    assert call(capsys, "check", "--json", PROTOCOL).objects == []


def test_findings_are_lines_and_objects_and_status_1(capsys: Out, tmp_path: Path) -> None:
    file = broken(tmp_path, "volume=800 * mL, flow", "volume=950 * mL, flow")
    called = call(capsys, "check", file)
    assert called.status == 1
    assert called.out.startswith(f"{file}:")
    assert " M010 " in called.out
    assert_one_message(called, "can't be approved", "cellwright explain")
    objects = call(capsys, "check", "--json", file).objects
    assert len(objects) == len(called.out.splitlines())
    assert all(set(one) == {"rule", "severity", "file", "line", "text"} for one in objects)
    assert "M010" in {one["rule"] for one in objects}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("station.transfer(medium", "station.teleport(medium"),
        ("volume=800 * mL, flow", "volume=800 * hour, flow"),
        ("from orchestrator.recipe import W", "import socket\nfrom orchestrator.recipe import W"),
        ("    # What goes in", "    [0] * 10**9"),
        ('@procedure(title="Wash', 'while True: pass\n@procedure(title="Wash'),
    ],
    ids=["unknown word", "wrong unit", "network", "1 GB", "endless"],
)
def test_a_bad_protocol_is_one_message_and_status_1(
    capsys: Out, tmp_path: Path, old: str, new: str
) -> None:
    called = call(capsys, "check", broken(tmp_path, old, new))
    assert called.status == 1
    assert called.out
    assert_one_message(called, "broken.py")


def test_an_empty_file_is_no_protocol(capsys: Out, tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("")
    called = call(capsys, "check", file)
    assert called.status == 1
    assert_one_message(called)


@pytest.mark.parametrize("command", ["check", "read"])
def test_a_protocol_that_is_not_there_is_status_3(
    capsys: Out, tmp_path: Path, command: str
) -> None:
    called = call(capsys, command, tmp_path / "none.py")
    assert called.status == 3
    assert called.out == ""
    assert_one_message(called, "there is no such file")
    assert call(capsys, command, tmp_path).status == 3


def test_a_protocol_is_checked_against_a_cell(capsys: Out, tmp_path: Path) -> None:
    assert call(capsys, "check", "--cell", CELL, PROTOCOL).status in (0, 1)
    cell = tmp_path / "cell.toml"
    cell.write_text('name = "none"\nemulated = true\nunits = []\n')
    called = call(capsys, "check", "--json", "--cell", cell, PROTOCOL)
    assert {one["rule"] for one in called.objects} == {"L040"}


def test_a_cell_offers_what_its_sheets_say() -> None:
    offers = Offers(load_cell(CELL).config)
    assert "fluid_transfer" in offers.capabilities_of("transfer_station")
    assert offers.capabilities_of("bakery") == frozenset()
    assert str(offers.limits_of("transfer_station", "fluid_transfer")["flow"].highest) == (
        "200 mL/min"
    )
    assert str(offers.steps_of("transfer_station", "fluid_transfer")["volume"]) == "100 nL"


def test_a_cell_file_with_an_unknown_key_is_told_the_nearest(capsys: Out, tmp_path: Path) -> None:
    cell = tmp_path / "cell.toml"
    cell.write_text('name = "none"\nemulated = true\nwdth = 3\nunits = []\n')
    called = call(capsys, "check", "--cell", cell, PROTOCOL)
    assert called.status == 2
    assert_one_message(called, "line 3: wdth", "'width'")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('kind = "arm"', 'kind = "arm"\ncolour = "red"', "colour: no such key; known are name, "),
        ('equipment = "W2"\n', "", "modules.3.equipment is missing"),
        ('model = "watson_marlow_530du"', 'model = "watson_marlow_999"', "P1 is a "),
        ('model = "watson_marlow_530du"', 'model = "watson_marlow_999"', "'watson_marlow_530du'"),
    ],
)
def test_a_wrong_cell_file_is_told_where_and_what_was_meant(
    capsys: Out, tmp_path: Path, old: str, new: str, told: str
) -> None:
    cell = tmp_path / "cell.toml"
    whole = CELL.read_text("utf-8")
    assert old in whole
    cell.write_text(whole.replace(old, new, 1), "utf-8")
    lines = cell.read_text("utf-8").splitlines()
    coloured, vessel = 'colour = "red"', 'part = "vessel"'
    for call_of in (["check", PROTOCOL, "--cell", cell], ["draw", cell]):
        called = call(capsys, *call_of)
        assert called.status == 2
        assert_one_message(called, told)
        assert "Value error" not in called.err
        if "colour" in new:
            assert f"line {lines.index(coloured) + 1}: units." in called.err
        elif not new:
            assert f"line {lines.index(vessel) - 1}: units.0." in called.err


def test_two_instruments_on_one_port_are_named(capsys: Out, tmp_path: Path) -> None:
    cell = tmp_path / "cell.toml"
    port = 'address = "serial:/dev/ttyS1"'
    cell.write_text(CELL.read_text("utf-8").replace('address = "emulated"', port, 2), "utf-8")
    called = call(capsys, "draw", cell)
    assert called.status == 2
    assert_one_message(called, "P1 and V1 have one port, serial:/dev/ttyS1")
    assert "Value error" not in called.err


def test_what_is_no_cell_file_is_told_what_it_is(capsys: Out, tmp_path: Path) -> None:
    binary = tmp_path / "cell.toml"
    binary.write_bytes(b"\x7fELF\xff\xfe")
    called = call(capsys, "draw", binary)
    assert called.status == 2
    assert_one_message(called, "it isn't text", "TOML")
    assert "line" not in called.err
    binary.write_text('name = "x"\nunits = [\n')
    assert_one_message(call(capsys, "draw", binary), "it isn't TOML: ")
    called = call(capsys, "draw", PROTOCOL)
    assert called.status == 2
    assert_one_message(called, "it is a protocol, and a cell file was asked for")


def test_a_station_without_a_place_that_its_work_needs_is_refused(
    capsys: Out, tmp_path: Path
) -> None:
    whole = CELL.read_text("utf-8")
    assert ', sampling = "sampling" }' in whole
    cell = tmp_path / "cell.toml"
    cell.write_text(whole.replace(', sampling = "sampling" }', " }"), "utf-8")
    called = call(capsys, "check", "--cell", cell, PROTOCOL)
    assert called.status == 2
    assert_one_message(called, "no sampling among its named_places")


def test_three_hundred_phases_are_checked_within_a_second(tmp_path: Path) -> None:
    step = "        station.transfer(medium, to=kit.vessel, volume=2 * mL, flow=80 * mL_per_min)\n"
    text = PROTOCOL.read_text("utf-8")
    old = "        station.transfer(medium, to=kit.vessel, volume=800 * mL, flow=80 * mL_per_min)\n"
    assert old in text
    file = tmp_path / "long.py"
    file.write_text(text.replace(old, step * 300), encoding="utf-8")

    def checked() -> None:
        called = run("check", file)
        assert called.status == 0, called.out

    assert shortest(checked, at_most_s=1.0) <= 1.0


def test_a_rule_is_explained(capsys: Out) -> None:
    called = call(capsys, "explain", "m010")
    assert called.status == 0
    assert called.out.startswith("M010: ")
    (told,) = call(capsys, "explain", "M010", "--json").objects
    assert set(told) == {"rule", "severity", "demands", "because", "do_next"}


def test_several_rules_are_explained_in_the_order_asked(capsys: Out) -> None:
    called = call(capsys, "explain", "M010", "c010")
    assert called.status == 0
    assert called.out.startswith("M010: ")
    assert "\n\nC010: " in called.out
    told = call(capsys, "explain", "M010", "C010", "--json").objects
    assert [one["rule"] for one in told] == ["M010", "C010"]


def test_one_unknown_rule_among_several_explains_none(capsys: Out) -> None:
    called = call(capsys, "explain", "M010", "M999")
    assert called.status == 2
    assert called.out == ""
    assert_one_message(called, "M999", "no such rule")


def test_an_unknown_rule_is_a_wrong_call(capsys: Out) -> None:
    called = call(capsys, "explain", "M999")
    assert called.status == 2
    assert_one_message(called, "no such rule", "M010")


def test_a_protocol_is_read_back(capsys: Out) -> None:
    called = call(capsys, "read", PROTOCOL)
    assert called.status == 0
    assert called.out.startswith("MBR-CT-014 version 3.1: Wash and seed")
    (told,) = call(capsys, "read", PROTOCOL, "--json").objects
    assert told["procedure"].strip() == called.out.strip()
    assert len(told["digest"]) == 64


def test_what_cannot_be_written_cannot_be_read(capsys: Out, tmp_path: Path) -> None:
    called = call(capsys, "read", broken(tmp_path, "station.transfer(medium", "station.fly(medium"))
    assert called.status == 1
    assert called.out == ""
    assert_one_message(called, "line ", "cellwright check")
    near = call(capsys, "read", broken(tmp_path, "station.transfer(med", "station.tranfer(med"))
    assert "did you mean 'transfer'? Correct it; " in near.err


def test_a_difference_is_told_and_is_status_1(capsys: Out, tmp_path: Path) -> None:
    file = broken(tmp_path, "volume=800 * mL, flow", "volume=700 * mL, flow")
    called = call(capsys, "diff", PROTOCOL, file)
    assert called.status == 1
    assert "800 mL" in called.out
    assert "700 mL" in called.out
    (told,) = call(capsys, "diff", PROTOCOL, file, "--json").objects
    assert told["same"] is False
    assert told["differences"] == called.out.splitlines()


def test_the_same_recipe_is_no_difference(capsys: Out) -> None:
    called = call(capsys, "diff", PROTOCOL, PROTOCOL)
    assert (called.status, called.out) == (0, "They write the same recipe.\n")


def test_a_frozen_recipe_is_taken_in_place_of_its_protocol(capsys: Out, tmp_path: Path) -> None:
    from orchestrator.cli.recipes import written_recipe

    frozen = tmp_path / "recipe.json"
    frozen.write_bytes(written_recipe(PROTOCOL).content)
    assert call(capsys, "diff", PROTOCOL, frozen).status == 0
    frozen.write_bytes(b"{}")
    called = call(capsys, "read", frozen)
    assert called.status == 1
    assert_one_message(called)
