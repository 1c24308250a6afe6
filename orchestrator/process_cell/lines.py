"""From a process cell file to open lines, one for each instrument.

An instrument's address is ``serial:PATH``, with what differs from 9600 8N1 after a question
mark (``serial:/dev/serial/by-id/...?baud=19200&stop_bits=2``), ``tcp:HOST:PORT``, or
``emulated``. The last leads to the wire that a room has for it: a folder's
``wires/EQUIPMENT``, which is a serial port, or ``wires/EQUIPMENT.tcp``, which says a port on
this machine. Bytes are all that passes: no emulator is loaded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from devices.transport.serial_line import SerialSettings, open_serial
from devices.transport.tcp import LOOPBACK, connect_tcp, read_tcp_address
from devices.transport.transport import PortRefusedError, Recorder, Transport
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.process_cell.config import PEOPLE, CellConfig, Module

EMULATED: Final = "emulated"
WIRES: Final = "wires"
"""The folder of a room that has its wires."""

_SETTINGS: Final = TypeAdapter(SerialSettings)


async def open_lines(
    config: CellConfig, *, room: Path | None, recorder: Recorder | None = None
) -> dict[str, Transport]:
    """Return an open line to each instrument of the cell, in the file's order.

    Args:
        config: The cell.
        room: The folder of the room that it is emulated in, if it is.
        recorder: Is told every byte, raw.

    Raises:
        ConfigurationRefusedError: An address isn't one, or cell and room don't fit. No line
            is open.
        PortRefusedError: A port is absent, busy or not ours to open. No line is open.
    """
    opened: dict[str, Transport] = {}
    try:
        for module in config.modules:
            if module.model != PEOPLE:
                address = _address(config, module, room)
                opened[module.equipment] = await _open(module, address, recorder)
    except BaseException:
        await close_lines(opened)
        raise
    return opened


def refuse_unopenable(config: CellConfig, *, room: Path | None) -> None:
    """Refuse what can be seen to be wrong with the lines before any is opened.

    That is the form of each address, whether cell and room fit, and whether a serial port is
    there. Nothing is opened or made.

    Raises:
        ConfigurationRefusedError: An address isn't one, or cell and room don't fit.
        PortRefusedError: A serial port, or a wire of the room, is absent.
    """
    for module in config.modules:
        if module.model != PEOPLE:
            line = _line(module, _address(config, module, room))
            if isinstance(line, _Serial) and not Path(line.path).exists():
                raise PortRefusedError(
                    f"{module.equipment}: open {line.path}",
                    why="no such port",
                    do_next="Check the cable and the instrument's power, then the path in the "
                    "cell file",
                )


async def close_lines(lines: Mapping[str, Transport]) -> None:
    """Close every line. Stops nothing that moves."""
    for line in lines.values():
        await line.close()


def _address(config: CellConfig, module: Module, room: Path | None) -> str:
    """Return where an instrument really is."""
    is_emulated = module.address == EMULATED
    if is_emulated and not config.emulated:
        why = "its address says emulated, and the cell isn't"
        do_next = "Give the instrument's own address, or a cell file of an emulated cell"
    elif is_emulated and room is None:
        why = "it is emulated, and there is no room for it"
        do_next = "Start `cellwright room` on this cell file, and name its folder with --room"
    elif room is not None and not is_emulated:
        why = f"its address is {module.address}, which a room's clock doesn't reach"
        do_next = "Leave --room out, or take a cell file whose instruments are all emulated"
    else:
        return module.address if room is None else _wire(module, room)
    raise ConfigurationRefusedError(
        f"open the line to {module.equipment}", why=why, do_next=do_next
    )


def _wire(module: Module, room: Path) -> str:
    wire = room / WIRES / module.equipment
    port = wire.with_name(f"{wire.name}.tcp")
    if port.exists():
        return f"tcp:{LOOPBACK}:{port.read_text('ascii').strip()}"
    if wire.is_symlink():
        return f"serial:{wire}"
    raise PortRefusedError(
        f"open the line to {module.equipment}",
        why=f"the room at {room} has no wire for it",
        do_next="Start the room on the same cell file as the daemon",
    )


@dataclass(frozen=True)
class _Serial:
    """A serial port and how it frames."""

    path: str
    settings: SerialSettings


def _line(module: Module, address: str) -> _Serial | str:
    """Return what an address leads to: a serial port, or the URL of a network one.

    Raises:
        ConfigurationRefusedError: It isn't an address.
    """
    kind, _, rest = address.partition(":")
    if kind == "tcp":
        url = f"tcp://{rest.removeprefix('//')}"
        read_tcp_address(url)
        return url
    path, _, settings = rest.partition("?")
    if kind != "serial" or not path:
        raise ConfigurationRefusedError(
            f"open the line to {module.equipment}",
            why=f"its address {address!r} is neither serial:PATH nor tcp:HOST:PORT",
            do_next="Correct the address in the process cell file",
        )
    return _Serial(path, _framing(module, settings))


async def _open(module: Module, address: str, recorder: Recorder | None) -> Transport:
    line = _line(module, address)
    if isinstance(line, _Serial):
        return open_serial(line.path, line.settings, name=module.equipment, recorder=recorder)
    return await connect_tcp(line, name=module.equipment, recorder=recorder)


def _framing(module: Module, text: str) -> SerialSettings:
    given: dict[str, str | int] = {
        name: int(value) if value.isascii() and value.isdigit() else value
        for name, value in parse_qsl(text, keep_blank_values=True)
    }
    unknown = sorted(given.keys() - SerialSettings.__dataclass_fields__.keys())
    try:
        if unknown:
            raise ValueError(f"a serial port has no {', '.join(unknown)}")
        return _SETTINGS.validate_python(given)
    except ValueError as wrong:
        why = str(wrong)
        if isinstance(wrong, ValidationError):
            first = wrong.errors()[0]
            why = f"{first['loc'][0]}: {first['msg']}"
        raise ConfigurationRefusedError(
            f"open the line to {module.equipment}",
            why=why,
            do_next="Correct the address in the process cell file, e.g. ?baud=19200&parity=E",
        ) from wrong
