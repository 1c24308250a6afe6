"""The process cell file: which instruments there are, what they provide, where things stand.

Strict: an unknown key is refused with the nearest known one, and nothing that safety
depends on has a default. The digest of the file's bytes is journaled with each batch.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from devices.sheets.sheet import dimension_of, models, sheet_of
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import EquipmentId, PlaceId
from orchestrator.kernel.quantities import Quantity, Range, Temperature, TemperatureChange


class Module(Frozen):
    """One instrument of a unit."""

    equipment: EquipmentId
    capability: str
    part: str = Field(default="", description="Which of several with the same capability")
    model: str
    address: str = Field(description="serial:PATH, tcp:HOST:PORT or emulated")
    serial: str = Field(default="", description="Serial number it must show, where it can")
    calibration_due: date | None = None
    covers: tuple[PlaceId, ...] = Field(default=(), description="Places that a scanner sees")
    settings: dict[str, Any] = {}
    emulator: dict[str, Any] = Field(
        default={}, description="What the emulated instrument is like; read by the room alone"
    )


class Unit(Frozen):
    """A part of the cell that one batch owns at a time."""

    name: str
    kind: str
    lease: Literal["operation", "batch"]
    clearance: Literal["none", "automatic", "two people"]
    places: tuple[PlaceId, ...] = Field(default=(), description="The first is where work is done")
    named_places: dict[str, PlaceId] = {}
    holds: int = Field(default=1, description="How many things each of its places holds")
    safety_inputs: tuple[str, ...] = Field(
        default=(), description="What must be safe for it to move, as EQUIPMENT/INPUT"
    )
    room: str = ""
    chamber: dict[str, Any] = Field(
        default={}, description="What the emulated chamber is like; read by the room alone"
    )
    modules: tuple[Module, ...] = ()

    @cached_property
    def watched(self) -> tuple[tuple[str, str], ...]:
        """Return the safety inputs as pairs of equipment and input."""
        pairs = (one.partition("/") for one in self.safety_inputs)
        return tuple((equipment, name) for equipment, _, name in pairs)


class FreezingRescue(Frozen):
    """The site's own temperatures for the freezing rescue table, instead of the shipped ones."""

    ice_forms_below: Temperature | None = None
    ice_formed_by: Temperature | None = None
    begins_within: TemperatureChange | None = None

    @model_validator(mode="after")
    def _bounds_the_plateau(self) -> Self:
        upper, lower = self.ice_forms_below, self.ice_formed_by
        if (upper is None) != (lower is None):
            raise ValueError("state ice_forms_below and ice_formed_by both, or neither")
        if upper is not None and lower is not None and lower >= upper:
            raise ValueError("ice_formed_by must lie below ice_forms_below")
        return self


class Station(Frozen):
    """Where in a drawing a place is, in millimetres from the cell's corner."""

    place: PlaceId
    x: int
    y: int


class CellConfig(Frozen):
    """One process cell."""

    name: str
    emulated: bool = Field(description="Whether the addresses lead to emulators; never both")
    units: tuple[Unit, ...]
    freezing_rescue: FreezingRescue = FreezingRescue()
    drawing: tuple[Station, ...] = ()
    width: int = 0
    depth: int = 0

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("unit", [unit.name for unit in self.units]),
            ("equipment", [str(module.equipment) for module in self.modules]),
            ("place", [str(place) for unit in self.units for place in unit.places]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"the {what} {twice[0]} stands there twice")
        return self

    @model_validator(mode="after")
    def _each_port_is_one_instruments(self) -> Self:
        at: dict[str, list[str]] = {}
        for one in self.modules:
            if one.address not in ("emulated", "people"):
                at.setdefault(one.address, []).append(str(one.equipment))
        for address, names in at.items():
            if len(names) > 1:
                raise ValueError(f"{' and '.join(names)} have one port, {address}")
        return self

    @model_validator(mode="after")
    def _safety_inputs_exist(self) -> Self:
        for unit in self.units:
            for equipment, name in unit.watched:
                block = self.by_equipment.get(equipment)
                offered: dict[str, Any] = block.settings.get("inputs", {}) if block else {}
                if name not in offered:
                    raise ValueError(
                        f"unit {unit.name} names the safety input {equipment}/{name}, "
                        "and no instrument of the cell has it among its inputs"
                    )
        return self

    @model_validator(mode="after")
    def _stations_have_their_places(self) -> Self:
        for unit in self.units:
            for name in STATION_PLACES if unit.kind == "transfer_station" else ():
                if name not in unit.named_places:
                    raise ValueError(f"unit {unit.name} has no {name} among its named_places")
        return self

    def require_watched_motion(self, what: str) -> None:
        """Refuse a cell in which a unit could move with its door open.

        Raises:
            ConfigurationRefusedError: A unit that moves something names no safety input.
        """
        for unit in self.units:
            moving = sorted({one.capability for one in unit.modules} & MOVING)
            if moving and not unit.safety_inputs:
                raise ConfigurationRefusedError(
                    what,
                    why=f"unit {unit.name} has {moving[0]} and names no safety_inputs",
                    do_next='Name its door and emergency stop, e.g. safety_inputs = ["V1/door"]',
                )

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """Return every instrument of the cell."""
        return tuple(module for unit in self.units for module in unit.modules)

    @cached_property
    def by_equipment(self) -> dict[str, Module]:
        """Return each instrument by its name."""
        return {str(module.equipment): module for module in self.modules}

    @cached_property
    def by_unit(self) -> dict[str, Unit]:
        """Return each unit by its name."""
        return {unit.name: unit for unit in self.units}

    @cached_property
    def unit_of_place(self) -> dict[str, Unit]:
        """Return the unit that each place belongs to."""
        return {
            str(place): unit
            for unit in self.units
            for place in (*unit.places, *unit.named_places.values())
        }

    def unit_of(self, module: Module) -> Unit:
        """Return the unit that an instrument belongs to."""
        return next(unit for unit in self.units if module in unit.modules)

    @cached_property
    def hands(self) -> Module:
        """Return the people of the cell, as an instrument."""
        found = [one for one in self.modules if one.capability == "hands"]
        if len(found) != 1:
            raise ConfigurationRefusedError(
                "find the hands of the cell",
                why=f"the process cell file has {len(found)} modules with the capability hands",
                do_next="Give it one, in a unit of its own",
            )
        return found[0]

    def module(self, unit: str, capability: str, part: str = "") -> Module:
        """Return the unit's instrument with this capability.

        Raises:
            ConfigurationRefusedError: The unit has none, or has several and ``part`` names
                none of them.
        """
        found = [
            one
            for one in self.by_unit[unit].modules
            if one.capability == capability and (not part or one.part == part)
        ]
        if len(found) != 1:
            raise ConfigurationRefusedError(
                f"find {capability} {part} of unit {unit}".replace("  ", " "),
                why=f"the process cell file has {len(found)} of it there",
                do_next="Add the instrument to the unit, or name its part",
            )
        return found[0]

    def capabilities_of(self, kind: str) -> frozenset[str]:
        """Return what units of one kind can do here; hands are everywhere."""
        return frozenset(
            module.capability for unit in self.units_of_kind(kind) for module in unit.modules
        ) | {"hands"}

    def limits_of(self, kind: str, capability: str) -> Mapping[str, Range[Any]]:
        """Return the range of each parameter in which every such instrument is qualified."""
        found: dict[str, Range[Any]] = {}
        for module in self._modules_of(kind, capability):
            for name, limit in sheet_of(module.model).limits.items():
                if limit.quantity == "number":
                    continue
                one = sheet_of(module.model).range_of(name, dimension_of(limit.quantity))
                known = found.get(name)
                found[name] = one if known is None else _narrower(known, one)
        return found

    def steps_of(self, kind: str, capability: str) -> Mapping[str, Quantity]:
        """Return the smallest step of each parameter that has one, the coarsest of them."""
        found: dict[str, Quantity] = {}
        for module in self._modules_of(kind, capability):
            for name, figure in sheet_of(module.model).figures.items():
                if not name.endswith(_STEP):
                    continue
                step = sheet_of(module.model).figure(name, dimension_of(figure.quantity))
                parameter = name.removesuffix(_STEP)
                known = found.get(parameter)
                found[parameter] = step if known is None or step > known else known
        return found

    def _modules_of(self, kind: str, capability: str) -> Iterator[Module]:
        for unit in self.units_of_kind(kind):
            for module in unit.modules:
                if module.capability == capability and module.model != PEOPLE:
                    yield module

    def units_of_kind(self, kind: str) -> tuple[Unit, ...]:
        """Return the units of one kind, in the file's order."""
        return tuple(unit for unit in self.units if unit.kind == kind)


STATION_PLACES: Final = ("hook", "rack", "sampling")
"""Where at a transfer station a bag is weighed, bags and tubes wait, and samples are drawn."""

MOVING: Final = frozenset({"fluid_transfer", "container_transport", "centrifugation"})
"""What moves liquid, things or people's fingers: never without a safety input."""

_STEP: Final = "_step"

PEOPLE: Final = "hands"
"""The model of people's hands, which have no sheet."""


def _narrower(one: Range[Any], other: Range[Any]) -> Range[Any]:
    return Range(lowest=max(one.lowest, other.lowest), highest=min(one.highest, other.highest))


class LoadedCell(Frozen):
    """A process cell and the digest of the file that it came from."""

    config: CellConfig
    digest: str
    source: str


_WHAT: Final = "read the process cell file"


def load_cell(path: Path) -> LoadedCell:
    """Read a process cell file.

    Raises:
        ConfigurationRefusedError: The file is missing, isn't TOML, or a key is unknown,
            missing or of the wrong form. The message names the nearest known key.
    """
    try:
        content = path.read_bytes()
    except OSError as absent:
        raise ConfigurationRefusedError(
            f"{_WHAT} {path.name}",
            why=absent.strerror or "it can't be read",
            do_next="Give the path of a process cell file; `cellwright draw` shows one",
        ) from absent
    return read_cell(content, source=path.name)


def read_cell(content: bytes, *, source: str) -> LoadedCell:
    """Read a process cell from a file's bytes. Raises as ``load_cell``."""
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as binary:
        raise ConfigurationRefusedError(
            f"{_WHAT} {source}",
            why="it isn't text",
            do_next="Name a process cell file, which is TOML in UTF-8",
        ) from binary
    except tomllib.TOMLDecodeError as broken:
        raise ConfigurationRefusedError(
            f"{_WHAT} {source}", why=f"it isn't TOML: {broken}", do_next="Correct the file there"
        ) from broken
    try:
        config = CellConfig.model_validate(table)
    except ValidationError as invalid:
        raise ConfigurationRefusedError(
            f"{_WHAT} {source}",
            why=_first_reason(invalid, content.decode("utf-8")),
            do_next="Correct the file",
        ) from invalid
    _require_known_models(config, f"{_WHAT} {source}")
    config.require_watched_motion(f"{_WHAT} {source}")
    return LoadedCell(config=config, digest=hashlib.sha256(content).hexdigest(), source=source)


_MODELS: Final[dict[str, type[BaseModel]]] = {
    "units": Unit,
    "modules": Module,
    "drawing": Station,
    "freezing_rescue": FreezingRescue,
}


_HEADER: Final = re.compile(r"\s*(\[{1,2})\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*([\w-]+)\s*=")


def _require_known_models(config: CellConfig, what: str) -> None:
    for module in config.modules:
        if module.model not in (PEOPLE, *models()):
            near = difflib.get_close_matches(module.model, models(), n=1)
            raise ConfigurationRefusedError(
                what,
                why=f"{module.equipment} is a {module.model!r}, and there is no driver for one",
                do_next=f"Write {near[0]!r} if you mean that"
                if near
                else "Write a model that `cellwright models` lists",
            )


def _first_reason(invalid: ValidationError, text: str) -> str:
    """Return the first fault in words: where it is, and what was probably meant."""
    first = invalid.errors()[0]
    loc = first["loc"]
    where = ".".join(str(step) for step in loc)
    line = _line_of(loc, text)
    at = f"line {line}: {where}" if line else where
    if first["type"] == "missing":
        return f"{at} is missing"
    if first["type"] != "extra_forbidden":
        told = first["msg"].removeprefix("Value error, ")
        return f"{at}: {told}" if at else told
    names = [step for step in loc if isinstance(step, str)]
    model = _MODELS.get(names[-2], CellConfig) if len(names) > 1 else CellConfig
    known = list(model.model_fields)
    near = difflib.get_close_matches(names[-1], known, n=1)
    hint = f"the nearest known is {near[0]!r}" if near else f"known are {', '.join(known)}"
    return f"{at}: no such key; {hint}"


def _line_of(loc: tuple[int | str, ...], text: str) -> int:
    """Return the line on which what ``loc`` leads to stands, or its table begins; 0 if neither.

    Keys are found where they begin a line, which is how cell files are written.
    """
    found, deepest = 0, 0
    table: tuple[int | str, ...] = ()
    counts: dict[tuple[int | str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            *outer, last = header[2].split(".")
            table = ()
            for name in outer:
                table += (name,)
                if table in counts:
                    table += (counts[table],)
            table += (last,)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table += (counts[table],)
            path = table
        elif key := _KEY.match(line):
            path = (*table, key[1])
        else:
            continue
        if len(path) > deepest and loc[: len(path)] == path:
            found, deepest = number, len(path)
    return found
