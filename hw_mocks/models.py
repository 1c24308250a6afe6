"""Which emulator stands for which model, and how a process cell file describes it.

The file is read here as a plain table: the room shares no configuration code with the
software that it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from hw_mocks.astm_cell_counter import AstmCellCounter
from hw_mocks.brooks_pf400 import BrooksPf400
from hw_mocks.emulator import Emulator
from hw_mocks.highres_microspin import HighresMicrospin
from hw_mocks.linkam_t95 import LinkamT95
from hw_mocks.mettler_mt_sics import MettlerMtSics
from hw_mocks.moxa_iologik_e1213 import MoxaIoLogikE1213
from hw_mocks.serial_scanner import SerialScanner
from hw_mocks.thermo_vios_160i import Checksum, ThermoVios160i
from hw_mocks.watson_marlow_530du import WatsonMarlow530Du
from hw_mocks.world.world import World

Table = Mapping[str, Any]

_Make = Callable[[World, str, Table, Table], Emulator]


def _pump(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    settings = module["settings"]
    return WatsonMarlow530Du(
        world,
        equipment,
        station=unit["places"][0],
        number=settings["pump_number"],
        mL_per_revolution=settings["uL_per_revolution"] / 1000,
        pulses_per_revolution=settings["pulses_per_revolution"],
        echo=settings["echo"],
        **module.get("emulator", {}),
    )


def _valves(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    return MoxaIoLogikE1213(
        world, equipment, station=unit["places"][0], **module.get("emulator", {})
    )


def _balance(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    del unit
    return MettlerMtSics(
        world, equipment, serial_number=module.get("serial", ""), **module.get("emulator", {})
    )


def _scanner(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    del unit
    watches = module["covers"][0] if module["settings"]["triggered"] else None
    return SerialScanner(world, equipment, watches=watches, **module.get("emulator", {}))


def _arm(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    del unit
    taught = module["settings"]["stations"]
    return BrooksPf400(
        world,
        equipment,
        stations={one["index"]: place for place, one in taught.items()},
        **module.get("emulator", {}),
    )


def _centrifuge(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    return HighresMicrospin(world, equipment, rotor=unit["places"][0], **module.get("emulator", {}))


def _incubator(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    checksum: Checksum = "xor" if module["settings"]["checksum"] == "inverted xor" else "crc8"
    return ThermoVios160i(
        world,
        equipment,
        chamber=unit["name"],
        checksum=checksum,
        **module.get("emulator", {}),
    )


def _counter(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    return AstmCellCounter(world, equipment, place=unit["places"][0], **module.get("emulator", {}))


def _freezer(world: World, equipment: str, unit: Table, module: Table) -> Emulator:
    return LinkamT95(world, equipment, chamber=unit["name"], **module.get("emulator", {}))


MODELS: Final[Mapping[str, _Make]] = {
    "watson_marlow_530du": _pump,
    "moxa_iologik_e1213": _valves,
    "mettler_mt_sics": _balance,
    "serial_scanner": _scanner,
    "brooks_pf400": _arm,
    "highres_microspin": _centrifuge,
    "thermo_vios_160i": _incubator,
    "astm_cell_counter": _counter,
    "linkam_t95": _freezer,
}
"""Each model's emulator, made from its unit's and its own table in the cell file."""
