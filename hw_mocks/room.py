"""The room: the World of one cell and its emulators, standing on their own.

What runs here survives the death of the software: emulators keep moving, the culture
keeps growing. A line that is opened anew finds the instrument as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from devices.transport.memory import memory_wire
from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator
from hw_mocks.models import MODELS
from hw_mocks.world.world import World

BOX_HOLDS = 2
"""Bags that hang on a stand-alone selection box: what goes in, and what comes out."""

RACK_HOLDS = 500
"""Bags and tubes that the rack beside a station has room for. Assumed."""


class Room:
    """One process cell, emulated. ``table`` is the process cell file as a plain table."""

    def __init__(self, world: World, table: Mapping[str, Any]) -> None:
        self.world = world
        self.emulators: dict[str, Emulator] = {}
        for unit, module in _modules(table):
            make = MODELS.get(module["model"])
            if make is not None:
                equipment = module["equipment"]
                self.emulators[equipment] = make(world, equipment, unit, module)

    def plug_in(self, equipment: str, tasks: asyncio.TaskGroup) -> Transport:
        """Return the host's end of a new in-memory line to an instrument."""
        host, instrument = memory_wire(equipment)
        tasks.create_task(self._serve(self.emulators[equipment], instrument))
        return host

    async def _serve(self, emulator: Emulator, line: Transport) -> None:
        try:
            await emulator.serve(line)
        except LineClosedError:
            return


def furnish(world: World, table: Mapping[str, Any]) -> None:
    """Put the cell's places, chambers and stations into the World, as its file has them."""
    for unit in table["units"]:
        modules = unit.get("modules", [])
        match unit["kind"]:
            case "transfer_station":
                _furnish_station(world, unit, modules)
            case _:
                of = modules[0]["equipment"] if modules else unit["name"]
                for place in unit.get("places", []):
                    world.add_place(place, of=of, holds=unit.get("holds", 1))
                for place in unit.get("named_places", {}).values():
                    world.add_place(place, of=of, holds=BOX_HOLDS)
                if "chamber" in unit:
                    world.add_chamber(unit["name"], places=unit["places"], of=of, **unit["chamber"])


def _furnish_station(
    world: World, unit: Mapping[str, Any], modules: list[Mapping[str, Any]]
) -> None:
    by_capability: dict[str, list[Mapping[str, Any]]] = {}
    for module in modules:
        by_capability.setdefault(module["capability"], []).append(module)
    valves = by_capability["valves"][0]
    world.add_station(
        unit["places"][0],
        pump=by_capability["fluid_transfer"][0]["equipment"],
        valves=valves["equipment"],
        channels={channel: name for name, channel in valves["settings"]["outputs"].items()},
        balances={one["equipment"]: one["part"] for one in by_capability["weighing"]},
    )
    for name, place in unit.get("named_places", {}).items():
        if name != "hook":
            world.add_place(place, holds=RACK_HOLDS)


def _modules(table: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for unit in table["units"]:
        for module in unit.get("modules", []):
            yield unit, module
