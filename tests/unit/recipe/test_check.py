"""A file in, findings out: each with rule, line, numbers and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.kernel.errors import RecipeRefusedError
from orchestrator.recipe import check
from orchestrator.recipe.check import check_file, explain, rules_in_words
from tests.pace import shortest

EXAMPLE = Path(__file__).with_name("wash_and_seed.py")
REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "rules.md"


def checked(tmp_path: Path, old: str, new: str) -> list[str]:
    """Return the findings about the example with one change, without its folder."""
    text = EXAMPLE.read_text()
    assert old in text
    file = tmp_path / "it.py"
    file.write_text(text.replace(old, new, 1))
    return [str(finding).removeprefix(f"{tmp_path}/") for finding in check_file(file).findings]


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(EXAMPLE.read_text().splitlines(), 1) if text in line)


def test_a_sound_protocol_has_no_findings() -> None:
    found = check_file(EXAMPLE)
    assert found.findings == ()
    assert found.recipe is not None
    assert [path for path, _ in found.recipe.steps()][-1] == "seed/seed/05-transfer"
    assert not found.is_refused


def test_the_same_file_writes_the_same_digest() -> None:
    one, other = check_file(EXAMPLE).recipe, check_file(EXAMPLE).recipe
    assert one is not None
    assert other is not None
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("volume=800 * mL, flow", "volume=800 * hour, flow", "U010"),
        ("volume=800 * mL, flow", "volume=0.0000001 * mL, flow", "U010"),
        ("flow=80 * mL_per_min", "flow=80 * mL", "U010"),
        ("flow=80 * mL_per_min", "flow=180 * mL_per_min", "L020"),
        ("volume=800 * mL, flow", "volume=950 * mL, flow", "M010"),
        ("100 * million_cells", "400 * million_cells", "M010"),
        ("capacity=1 * L", "capacity=850 * mL", "M020"),
        ('port="p1"', 'port="p7"', "C040"),
        ('port="p2"', 'port="p1"', "C040"),
        (", longest_hold=1 * hour) as seeding", ") as seeding", "H010"),
        ("maximum=4 * hour", "maximum=-4 * hour", "H070"),
        ('source="DR-031, table 6"', 'source=""', "H050"),
        ("station.transfer(medium", "station.tranfer(medium", "P040"),
        ("station.transfer(medium", "p.transfer(medium", "P040"),
        ("volume=800 * mL, flow=80 * mL_per_min", "volume=800 * mL", "P060"),
        (
            "from orchestrator.recipe import Writer",
            "import socket\nfrom orchestrator.recipe import Writer",
            "P020",
        ),
        ('"transfer_station", flow', '"transfer_staton", flow', "P040"),
        (
            '    with p.operation("Seed"',
            '    while True:\n        pass\n    with p.operation("Seed"',
            "P030",
        ),
        ("seed = volume_holding", "seed = [0] * 1000000000\n        seed = volume_holding", "P030"),
    ],
)
def test_a_mistake_is_found_by_its_rule(tmp_path: Path, old: str, new: str, rule: str) -> None:
    found = checked(tmp_path, old, new)
    assert [re.match(r"it\.py:\d+: (\w+) ", one)[1] for one in found][:1] == [rule], found  # type: ignore[index]


def test_a_finding_names_the_line_and_what_to_do(tmp_path: Path) -> None:
    found = checked(tmp_path, "volume=800 * mL, flow", "volume=950 * mL, flow")
    assert found[0] == (
        f"it.py:{line_of('volume=800')}: M010 may ask for 950 mL of 'expansion medium', which "
        "may hold only 901 mL. Narrow the expected range, or ask for less."
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "volume=800 * mL, flow",
            "volume=800 * hour, flow",
            "U010 transfer, volume: 800 h (Duration) isn't a Volume: write a number times a unit, "
            "e.g. 1 * mL.",
        ),
        (
            "flow=80 * mL_per_min",
            "flow=80 * mL",
            "U010 transfer, flow: 80 mL (Volume) isn't a Flow: write a number times a unit, "
            "e.g. 1 * mL_per_min.",
        ),
        (
            "capacity=1 * L",
            "capacity=1 * hour",
            "U010 kit 'culture kit', capacity: 1 h (Duration) isn't a Volume: write a number times "
            "a unit, e.g. 1 * mL.",
        ),
        (
            "800 * mL, flow",
            "800 * mL + 3 * hour, flow",
            "U010 a Volume and a Duration don't add up. Write a number times a unit of that "
            "dimension, e.g. 250 * mL.",
        ),
        (
            "volume=800 * mL, flow",
            "volume=250, flow",
            "U010 transfer, volume: 250 isn't a Volume: write a number times a unit, e.g. "
            "250 * mL.",
        ),
        (
            "volume=900 * mL, in_use",
            "volume=900, in_use",
            "U010 reagent 'expansion medium', volume: 900 isn't a Volume: write a number times a "
            "unit, e.g. 900 * mL.",
        ),
        (
            'by="sterile_weld"',
            'by="luer"',
            "P040 connect, by: unknown word 'luer'; write 'sterile_weld' or 'aseptic_connector'.",
        ),
        (
            "between(150 * mL, 300 * mL)",
            "between(300 * mL, 150 * mL)",
            "U010 300 mL to 150 mL: the highest lies below the lowest; swap them.",
        ),
        (
            "from_=fill.end,\n        to=seeding.start",
            "from_=seeding.start,\n        to=fill.end",
            "H050 'warm medium': the end of 'Fill the culture bag' doesn't follow the start of "
            "'Seed'; swap from_ and to.",
        ),
        (
            'source="DR-031, table 6"',
            'source=""',
            "H050 'warm medium' has no source; write source=... (a citation or 'set by site').",
        ),
        (
            "maximum=4 * hour",
            "minimum=5 * hour, maximum=4 * hour",
            "H050 'warm medium': 5 h at least and 4 h at most; swap them.",
        ),
        ("800 * mL, flow", "800 * litre, flow", "P040 unknown word 'litre'; did you mean 'L'?"),
        ("800 * mL, flow", "800 * Hours, flow", "P040 unknown word 'Hours'; did you mean 'hour'?"),
        (
            "800 * mL, flow",
            "800 * quux, flow",
            "P040 unknown word 'quux'. Write the word as docs and completion spell it.",
        ),
        (
            "station.transfer(medium",
            "p.transfer(medium",
            "P040 a Writer has no 'transfer'; write it after a TransferStation, which has it.",
        ),
        (
            "volume=900 * mL, in_use",
            "volum=900 * mL, in_use",
            "P060 reagent 'expansion medium' has no 'volum'; did you mean 'volume'?",
        ),
        (
            "volume=900 * mL, in_use=24 * hour",
            "",
            "P060 reagent 'expansion medium' says no volume and in_use: write volume=..., "
            "in_use=... in it.",
        ),
        (
            "station.transfer(medium, to",
            'station.transfer("medium", to',
            "P060 the text 'medium' stands where something declared belongs; give it by its "
            "Python name.",
        ),
        (
            "from orchestrator.recipe import Writer",
            "import socket\nfrom orchestrator.recipe import Writer",
            "P020 imports socket: a procedure that can reach beyond its words isn't a document. "
            "Remove the import.",
        ),
    ],
)
def test_one_mistake_is_one_finding_that_says_what_to_do(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert [one.partition(" ")[2] for one in checked(tmp_path, old, new)] == [told]


def test_a_file_without_a_procedure_is_told_how_one_begins(tmp_path: Path) -> None:
    head = next(one for one in EXAMPLE.read_text().splitlines() if one.startswith("@procedure("))
    assert checked(tmp_path, f"{head}\n", "") == [
        "it.py:1: P050 it holds no procedure; write one: a function under @procedure(...)."
    ]


def test_a_step_is_named_by_its_number_and_what_it_does(tmp_path: Path) -> None:
    found = checked(tmp_path, '"Connect", longest_hold=2 * hour', '"Connect"')
    assert [one.split(" (")[0].partition(": ")[2] for one in found] == [
        f"H010 step {number}" for number in (1, 2, 3)
    ]
    assert "Connect the leukapheresis bag to port p1" in found[1]
    assert "connect/1" not in "".join(found)


def test_the_ends_of_a_limit_are_named_by_their_steps_numbers(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    text = text.replace("        station.transfer(medium", "        one = station.transfer(medium")
    text = text.replace("        station.transfer(cells", "        two = station.transfer(cells")
    text = text.replace("from_=fill.end", "from_=two.end").replace("seeding.start", "one.start")
    file = tmp_path / "it.py"
    file.write_text(text)
    (found,) = check_file(file).findings
    assert found.text.startswith("'warm medium': the start of step 4 (Move 800 mL ")
    assert "doesn't follow the end of step 5 (" in found.text
    assert found.text.endswith("; swap from_ and to.")


def counts_into(*tubes: str) -> str:
    """Return the example with one count into each of these tubes at its end."""
    text = EXAMPLE.read_text()
    named = dict.fromkeys(tubes)
    head = "    density = p.ordered("
    declared = "".join(f'    {tube} = p.tube("{tube}", capacity=2 * mL)\n' for tube in named)
    text = text.replace(head, f'{declared}    n1 = p.equipment("n1", "cell_counter")\n{head}')
    count = (
        "        n1.count(kit.vessel, tube={}, at=station, sample_volume=1 * mL, "
        "expect=between(0.1 * million_per_mL, 9 * million_per_mL), "
        "viability_at_least=80 * percent)\n"
    )
    lag = text.index("    p.lag(")
    text = text.replace("million_per_mL,\n", "million_per_mL,\n    percent,\n", 1)
    lag = text.index("    p.lag(")
    return text[:lag].rstrip() + "\n" + "".join(map(count.format, tubes)) + "\n" + text[lag:]


def test_a_tube_that_is_used_already_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "it.py"
    file.write_text(counts_into("one", "other"))
    before = [finding.rule for finding in check_file(file).findings]
    assert "P060" not in before
    file.write_text(counts_into("one", "one"))
    found = check_file(file).findings
    assert [one.text for one in found if one.rule == "P060"] == [
        "the tube 'one' is used already by step 6; declare another tube."
    ]
    assert sorted(one.rule for one in found) == sorted([*before, "P060"])


def test_what_is_not_connected_is_said_once(tmp_path: Path) -> None:
    whole = next(line for line in EXAMPLE.read_text().splitlines() if "connect(medium" in line)
    found = checked(tmp_path, whole + "\n", "")
    assert [one.split()[1] for one in found] == ["C010"]
    assert "Write station.connect(...) for it above this line." in found[0]


def test_a_missing_file_and_a_folder_are_findings(tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", tmp_path):
        found = check_file(path)
        assert found.is_refused
        assert [one.rule for one in found.findings] == ["P010"]


def test_an_empty_file_is_a_finding(tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    empty.touch()
    assert [one.rule for one in check_file(empty).findings] == ["P050"]


LIBRARY = """
from orchestrator.kernel.quantities import mL, mL_per_min
from orchestrator.recipe.author import Container, KitInUse, TransferStation


def top_up(station: TransferStation, kit: KitInUse, medium: Container) -> None:
    station.transfer(medium, to=kit.vessel, volume={volume}, flow=20 * mL_per_min)
"""


@pytest.mark.parametrize(
    ("volume", "rules"), [("10 * mL", []), ("500 * mL", ["M010", "M020"]), ("open(1)", ["P040"])]
)
def test_the_library_is_checked_like_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: str, rules: list[str]
) -> None:
    monkeypatch.setattr(check, "_ROOT", tmp_path)
    library = tmp_path / "protocols" / "library" / "filling.py"
    library.parent.mkdir(parents=True)
    library.write_text(LIBRARY.format(volume=volume))
    text = EXAMPLE.read_text()
    text = text.replace("@procedure", "from protocols.library.filling import top_up\n\n@procedure")
    text = text.replace("    p.lag(", "        top_up(station, kit, medium)\n    p.lag(")
    file = tmp_path / "it.py"
    file.write_text(text)
    found = check_file(file)
    assert [one.rule for one in found.findings] == rules
    assert {one.file for one in found.findings} <= {str(library)}


def test_a_library_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    found = checked(
        tmp_path, "\n\n@procedure", "from protocols.library.nowhere import wash\n\n\n@procedure"
    )
    assert [one.split()[1] for one in found] == ["P010"]


def test_an_unknown_rule_is_refused_with_those_that_exist() -> None:
    with pytest.raises(RecipeRefusedError, match="M010"):
        explain("Z999")


def test_the_reference_page_says_what_the_rules_say() -> None:
    assert REFERENCE.read_text() == rules_in_words()


def long_protocol(steps: int) -> str:
    """Return the example with so many small transfers at its end."""
    small = "station.transfer(cells, to=kit.vessel, volume=0.1 * mL, flow=20 * mL_per_min)"
    text = EXAMPLE.read_text()
    lag = text.index("    p.lag(")
    return text[:lag].rstrip() + "\n" + f"        {small}\n" * steps + "\n" + text[lag:]


def test_300_phases_are_checked_within_a_second(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    file.write_text(long_protocol(295))
    assert shortest(lambda: check_file(file), at_most_s=1.0) <= 1.0
    found = check_file(file)
    assert found.findings == ()
    assert found.recipe is not None
    assert len(list(found.recipe.steps())) == 300
