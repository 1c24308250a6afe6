"""The one composition root: from a process cell file to drivers on their lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from devices.drivers import (
    astm_cell_counter,
    brooks_pf400,
    highres_microspin,
    linkam_t95,
    mettler_mt_sics,
    moxa_iologik_e1213,
    serial_scanner,
    thermo_vios_160i,
    watson_marlow_530du,
)
from devices.drivers.hands import Hands
from devices.interfaces.driver import Driver
from devices.transport.transport import Transport
from orchestrator.kernel.desks import TaskBoard
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.process_cell.config import CellConfig, Module

Lines = Callable[[Module], Transport]
"""Opens the line to one instrument."""

_Make = Callable[..., Driver]

DRIVERS: Final[Mapping[str, tuple[_Make, type[Frozen]]]] = {
    "watson_marlow_530du": (
        watson_marlow_530du.WatsonMarlow530Du,
        watson_marlow_530du.Settings,
    ),
    "moxa_iologik_e1213": (moxa_iologik_e1213.MoxaIologikE1213, moxa_iologik_e1213.Settings),
    "mettler_mt_sics": (mettler_mt_sics.MettlerMtSics, mettler_mt_sics.Settings),
    "serial_scanner": (serial_scanner.SerialScanner, serial_scanner.Settings),
    "brooks_pf400": (brooks_pf400.BrooksPf400, brooks_pf400.Settings),
    "highres_microspin": (highres_microspin.HighresMicrospin, highres_microspin.Settings),
    "thermo_vios_160i": (thermo_vios_160i.ThermoVios160i, thermo_vios_160i.Settings),
    "astm_cell_counter": (astm_cell_counter.AstmCellCounter, astm_cell_counter.Settings),
    "linkam_t95": (linkam_t95.LinkamT95, linkam_t95.Settings),
}
"""Each model's driver and what the cell file must say of it."""


def make_drivers(config: CellConfig, lines: Lines, board: TaskBoard) -> dict[str, Driver]:
    """Return a driver for each instrument of the cell.

    Raises:
        ConfigurationRefusedError: A model is unknown, or its settings aren't as they must
            be. No line was opened for it.
    """
    made: dict[str, Driver] = {}
    for module in config.modules:
        if module.capability == "hands":
            made[module.equipment] = Hands(board, equipment=module.equipment)
            continue
        made[module.equipment] = _driver(module, lines)
    return made


def _driver(module: Module, lines: Lines) -> Driver:
    known = DRIVERS.get(module.model)
    if known is None:
        raise ConfigurationRefusedError(
            f"make the driver of {module.equipment}",
            why=f"the model {module.model!r} is unknown; known: {', '.join(sorted(DRIVERS))}",
            do_next="Correct the model in the process cell file; `cellwright models` lists them",
        )
    make, settings_of = known
    try:
        settings: Any = settings_of.model_validate(module.settings)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigurationRefusedError(
            f"make the driver of {module.equipment}",
            why=f"its setting {where}: {first['msg']}",
            do_next="Correct the settings in the process cell file",
        ) from invalid
    return make(lines(module), equipment=module.equipment, settings=settings)
