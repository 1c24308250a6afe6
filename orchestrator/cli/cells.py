"""Process cell files, as commands use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from devices.sheets.sheet import NUMBER, sheet_of
from orchestrator.cli.options import CallRefusedError, readable
from orchestrator.kernel.quantities import Quantity, Range
from orchestrator.process_cell.config import CellConfig, LoadedCell, Module, load_cell

SHIPPED: Final = Path(__file__).resolve().parents[2] / "protocols" / "cells"
"""The folder of the cell files that come with the product."""

_STEP: Final = "_step"


def load(path: Path) -> LoadedCell:
    """Return the process cell in ``path``.

    Raises:
        FileRefusedError: There is no such file, or it can't be read.
        CallRefusedError: It is a protocol.
        ConfigurationRefusedError: It isn't a process cell file.
    """
    what = "read the process cell file"
    readable(path, what=what)
    if path.suffix == ".py":
        raise CallRefusedError(
            f"{what} {path}",
            why="it is a protocol, and a cell file was asked for",
            do_next="Name a cell file, as protocols/cells/reference.toml; "
            "`cellwright read` prints a protocol",
        )
    return load_cell(path)


def with_model(model: str, cell: Path | None, equipment: str | None) -> tuple[Path, Module]:
    """Return an instrument of ``model``, and the cell file that describes it.

    Args:
        model: As `cellwright models` lists it.
        cell: Where to look; else in the cell files that come with the product.
        equipment: Which of several; else the first.

    Raises:
        ConfigurationRefusedError: There is no such model, or the file is wrong.
        CallRefusedError: No cell file has it.
    """
    sheet_of(model)
    files = [cell] if cell is not None else sorted(SHIPPED.glob("*.toml"))
    for file in files:
        for module in load(file).config.modules:
            if module.model == model and equipment in (None, module.equipment):
                return file, module
    named = f" {equipment}" if equipment else ""
    raise CallRefusedError(
        f"find an instrument{named} of model {model}",
        why=f"no cell file has it: {', '.join(str(file) for file in files) or 'none is there'}",
        do_next="Name a process cell file that has it with --cell",
    )


class Offers:
    """What one process cell has, for the rules. Implements ``CellOffers``.

    Where several units or instruments could serve, their narrowest common range and
    coarsest step stand for all, so that a recipe that fits them runs on any.
    """

    def __init__(self, config: CellConfig) -> None:
        """Look at the cell in ``config``."""
        self._config = config

    def capabilities_of(self, kind: str) -> frozenset[str]:
        """Return what the cell's units of this kind can do; empty if there is none."""
        if not self._config.units_of_kind(kind):
            return frozenset()
        return self._config.capabilities_of(kind)

    def limits_of(self, kind: str, capability: str) -> Mapping[str, Range[Any]]:
        """Return the qualified range of each parameter, e.g. ``flow``."""
        found: dict[str, Range[Any]] = {}
        for model in self._models(kind, capability):
            for name, limit in sheet_of(model).limits.items():
                if limit.quantity == NUMBER:
                    continue
                lowest, highest = Quantity.read(limit.lowest), Quantity.read(limit.highest)
                if name in found:
                    lowest = max(lowest, found[name].lowest)
                    highest = min(highest, found[name].highest)
                if lowest <= highest:
                    found[name] = Range(lowest, highest)
        return found

    def steps_of(self, kind: str, capability: str) -> Mapping[str, Quantity]:
        """Return the smallest step of each parameter that has one, e.g. ``volume``."""
        found: dict[str, Quantity] = {}
        for model in self._models(kind, capability):
            for name, figure in sheet_of(model).figures.items():
                if not name.endswith(_STEP) or figure.quantity == NUMBER:
                    continue
                step = Quantity.read(figure.value)
                parameter = name.removesuffix(_STEP)
                found[parameter] = max(step, found.get(parameter, step))
        return found

    def _models(self, kind: str, capability: str) -> Iterator[str]:
        for unit in self._config.units_of_kind(kind):
            for module in unit.modules:
                if module.capability == capability != "hands":
                    yield module.model
