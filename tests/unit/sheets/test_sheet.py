"""Sheets are read strictly, and each one that ships is sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.sheets.sheet import FOLDER, models, read_sheet, sheet_of
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.quantities import Duration, Flow, mL_per_min, ms, uL_per_min


@pytest.mark.parametrize("model", models())
def test_each_sheet_is_sound_and_honest(model: str) -> None:
    sheet = sheet_of(model)
    assert sheet.model == model
    assert not sheet.tried_on_hardware
    assert (FOLDER.parent / "drivers" / f"{model}.py").exists()


def test_limits_and_figures_are_quantities() -> None:
    sheet = sheet_of("watson_marlow_530du")
    flows = sheet.range_of("flow", Flow)
    assert (flows.lowest, flows.highest) == (400 * uL_per_min, 200 * mL_per_min)
    assert sheet.figure("command_gap", Duration) == 10 * ms
    assert sheet.number("idle_count") == 11
    assert [str(end) for end in sheet.numbers_of("speed_rpm")] == ["0.1", "220.0"]


def test_a_model_without_a_sheet_names_the_nearest() -> None:
    with pytest.raises(ConfigurationRefusedError, match="'watson_marlow_530du'"):
        sheet_of("watson_marlow_530")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('lowest = "400 uL/min"', 'lowest = "400 uL"'),
        ('lowest = "400 uL/min"', 'lowest = "400 mL/min"'),
        ('quantity = "Flow"', 'quantity = "Speed"'),
        ('value = "11"', 'value = "eleven"'),
        ('value = "11"', 'value = "inf"'),
        ('capability = "fluid_transfer"', 'capability = "pumping"'),
        ("tried_on_hardware = false", ""),
        ("tried_on_hardware = false", "tried_on_hardware = false\ncolour = 'blue'"),
        ('model = "watson_marlow_530du"', 'model = "watson_marlow_630du"'),
        ("[limits.flow]", "[limits.flow"),
    ],
)
def test_a_damaged_sheet_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = (FOLDER / "watson_marlow_530du.toml").read_text("utf-8")
    assert old in text
    path = tmp_path / "watson_marlow_530du.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigurationRefusedError):
        read_sheet(path)


def test_a_missing_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationRefusedError):
        read_sheet(tmp_path / "none.toml")
