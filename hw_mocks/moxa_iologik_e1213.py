"""Emulator of the Moxa ioLogik E1213 that drives pinch valves and reads interlocks.

Source: ioLogik E1200 series manual, Modbus/TCP default address mappings, pages 87, 90, 91 and 95.
Modbus TCP, port 502, unit not looked at. Addresses are those on the wire (from 0):

    coils 0..7            outputs; 1 opens the valve of that channel      FC 1, 5, 15
    coil 4144             watchdog alarm; writing 1 clears it             FC 1, 5, 15
    inputs 0..7           inputs                                          FC 2
    register 32 (40033)   all outputs in one word, bit 0 = channel 0      FC 3, 6, 16
    input register 48     all inputs in one word                          FC 4
    5000, 10 words        model name, two characters in a word            FC 4
    5020, 2 words         uptime, s, high word first                      FC 4
    5024, 3 words         MAC address                                     FC 4
    5027, 2 words         IP address                                      FC 4
    5029, 2 words         firmware V1.2.3 as bytes 1, 2, 3, 0             FC 4
    5031, 2 words         firmware build date, as a number                FC 4
    5040, 30 words        device name                                     FC 4

Exceptions: 1 unknown function, 2 no such address, 3 illegal value. Pulse outputs, counters and
peer-to-peer registers aren't emulated: exception 2.

Host watchdog: off by default. When it is on and no request comes for its time, the outputs go to
their safe states, the alarm is set, and until it is cleared they can't be written.

Wiring of the reference cell: outputs 0 to 7 are the valves p1..p6, vessel, flush (channels 4 to 7
are the DIO, set to output). Both contacts open for danger, so that a broken wire looks like one:
input 0 is on while the door is closed, input 1 while the emergency stop is released.

Unconfirmed: word order of uptime; text of the model name; outputs off after power-up; exception 4
for writing outputs under a watchdog alarm (that they stay uncontrollable is told of the ioThinx);
exception 3 for clearing the alarm by 0 (as for its counters); that it answers at once after
power-up. Valves are taken to move at once (assumed: a pinch valve takes some 20 ms).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

from devices.transport.modbus import (
    ModbusFunction,
    ModbusRefusal,
    ModbusRequest,
    ModbusServerCodec,
)
from devices.transport.transport import LineClosedError, Transport
from hw_mocks.emulator import Emulator, Moment, Planted
from hw_mocks.world.world import World

CHANNELS: Final = 8  # manual, page 87
WATCHDOG_ALARM: Final = 4144  # manual, page 90, as the registers below
ALL_OUTPUTS: Final = 32
ALL_INPUTS: Final = 48
MODEL_NAME: Final = (5000, 10)
UPTIME: Final = 5020
MAC_ADDRESS: Final = 5024
IP_ADDRESS: Final = 5027
FIRMWARE: Final = 5029
BUILD_DATE: Final = 5031
DEVICE_NAME: Final = (5040, 30)

SafeState = Literal["off", "on", "hold"]


class MoxaIoLogikE1213(Emulator):
    """An E1213 whose outputs drive the valves of one transfer station.

    Args:
        world: The room it stands in.
        equipment: Its name in the room.
        station: The transfer station whose valves it drives.
        door_channel: The input that is on while the door is closed.
        emergency_stop_channel: The input that is on while the emergency stop is released.
        watchdog_s: How long the host may be silent; None for no watchdog.
        safe_states: Where the watchdog puts each output.
        firmware: As register 5029 tells it.
        reply_after_s: From a request to its reply.
    """

    model: ClassVar[str] = "moxa_iologik_e1213"

    def __init__(
        self,
        world: World,
        equipment: str,
        *,
        station: str = "station",
        door_channel: int = 0,
        emergency_stop_channel: int = 1,
        watchdog_s: float | None = None,
        safe_states: Sequence[SafeState] = ("off",) * CHANNELS,
        firmware: tuple[int, int, int] = (3, 2, 0),
        reply_after_s: float = 0.0,
    ) -> None:
        super().__init__(world, equipment)
        self._station = station
        self._door_channel = door_channel
        self._emergency_stop_channel = emergency_stop_channel
        self._watchdog_s = watchdog_s
        self._safe_states = tuple(safe_states)
        self._firmware = firmware
        self._reply_after_s = reply_after_s
        self._outputs = [False] * CHANNELS
        self._inputs = [False] * CHANNELS
        self._alarm = False
        self._up_since_s = world.now()
        self._watching: asyncio.TimerHandle | None = None
        self._power_lost: list[asyncio.Event] = []
        self.set_door(is_open=False)
        self.set_emergency_stop(is_pressed=False)

    # ---------------------------------------------------------------- what is wired to it

    @property
    def outputs(self) -> tuple[bool, ...]:
        """Return what the outputs are switched to, channel 0 first."""
        return tuple(self._outputs)

    @property
    def watchdog_alarm(self) -> bool:
        """Return whether the host was silent for too long."""
        return self._alarm

    def set_input(self, channel: int, *, on: bool) -> None:
        """Close or open the contact at an input."""
        self._inputs[channel] = on

    def set_door(self, *, is_open: bool) -> None:
        """Open or close the door of the enclosure."""
        self.set_input(self._door_channel, on=not is_open)

    def set_emergency_stop(self, *, is_pressed: bool) -> None:
        """Press or release the emergency stop."""
        self.set_input(self._emergency_stop_channel, on=not is_pressed)

    # ---------------------------------------------------------------- the line

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes; several hosts may be connected at once."""
        codec = ModbusServerCodec()
        lost = asyncio.Event()
        self._power_lost.append(lost)
        try:
            async with asyncio.TaskGroup() as tasks:
                cutting = tasks.create_task(_close_when(lost, line))
                with contextlib.suppress(LineClosedError):
                    while True:
                        for request in codec.feed(await line.receive()):
                            await self._answer(codec, request, line)
                cutting.cancel()
        finally:
            self._power_lost.remove(lost)

    async def _answer(
        self, codec: ModbusServerCodec, request: ModbusRequest, line: Transport
    ) -> None:
        self._feed_watchdog()
        acting = _moves_valves(request)
        reply = self._obey(codec, request)
        if self._reply_after_s > 0.0:
            await asyncio.sleep(self._reply_after_s)
        if acting:
            self._moment(Moment.REPLYING, _name(request))
        await line.send(reply)

    def _obey(self, codec: ModbusServerCodec, request: ModbusRequest) -> bytes:
        try:
            function = ModbusFunction(request.function)
        except ValueError:
            return codec.refused(request, ModbusRefusal.ILLEGAL_FUNCTION)
        if not request.is_sound:
            return codec.refused(request, ModbusRefusal.ILLEGAL_VALUE)
        wanted = range(request.address, request.address + request.count)
        match function:
            case ModbusFunction.READ_COILS | ModbusFunction.READ_DISCRETE_INPUTS:
                bits = self._bits(coils=function is ModbusFunction.READ_COILS)
                if all(address in bits for address in wanted):
                    return codec.bits(request, [bits[address] for address in wanted])
                refusal = ModbusRefusal.ILLEGAL_ADDRESS
            case ModbusFunction.READ_HOLDING_REGISTERS | ModbusFunction.READ_INPUT_REGISTERS:
                holding = function is ModbusFunction.READ_HOLDING_REGISTERS
                words = {ALL_OUTPUTS: _word(self._outputs)} if holding else self._input_registers()
                if all(address in words for address in wanted):
                    return codec.registers(request, [words[address] for address in wanted])
                refusal = ModbusRefusal.ILLEGAL_ADDRESS
            case ModbusFunction.WRITE_COIL | ModbusFunction.WRITE_COILS:
                refusal = self._write_coils(request, wanted)
            case ModbusFunction.WRITE_REGISTER | ModbusFunction.WRITE_REGISTERS:
                refusal = self._write_all_outputs(request, wanted)
        return codec.written(request) if refusal is None else codec.refused(request, refusal)

    # ---------------------------------------------------------------- reading

    def _bits(self, *, coils: bool) -> Mapping[int, bool]:
        if not coils:
            return dict(enumerate(self._inputs))
        return {**dict(enumerate(self._outputs)), WATCHDOG_ALARM: self._alarm}

    def _input_registers(self) -> Mapping[int, int]:
        uptime_s = int(self.world.now() - self._up_since_s + 1e-6)
        texts = {MODEL_NAME: "E1213", DEVICE_NAME: self.equipment}
        words = {ALL_INPUTS: _word(self._inputs)}
        for (address, length), text in texts.items():
            words.update(_registers(address, text.encode("ascii", "replace"), length))
        for address, octets in (
            (UPTIME, uptime_s.to_bytes(4, "big")),
            (MAC_ADDRESS, bytes.fromhex("0090e8000001")),
            (IP_ADDRESS, bytes((192, 168, 127, 254))),
            (FIRMWARE, bytes((*self._firmware, 0))),
            (BUILD_DATE, (20_200_901).to_bytes(4, "big")),
        ):
            words.update(_registers(address, octets, len(octets) // 2))
        return words

    # ---------------------------------------------------------------- writing

    def _write_coils(self, request: ModbusRequest, wanted: range) -> ModbusRefusal | None:
        values = dict(zip(wanted, request.bits, strict=True))
        if not all(address in self._bits(coils=True) for address in wanted):
            return ModbusRefusal.ILLEGAL_ADDRESS
        clears = values.pop(WATCHDOG_ALARM, None)
        if clears is not None:
            if not clears:
                return ModbusRefusal.ILLEGAL_VALUE
            self._alarm = False
            return None
        return self._switch_by_wire(request, values)

    def _write_all_outputs(self, request: ModbusRequest, wanted: range) -> ModbusRefusal | None:
        if wanted != range(ALL_OUTPUTS, ALL_OUTPUTS + 1):
            return ModbusRefusal.ILLEGAL_ADDRESS
        (word,) = request.registers
        if word >= 1 << CHANNELS:
            return ModbusRefusal.ILLEGAL_VALUE
        return self._switch_by_wire(request, {n: bool(word >> n & 1) for n in range(CHANNELS)})

    def _switch_by_wire(
        self, request: ModbusRequest, values: Mapping[int, bool]
    ) -> ModbusRefusal | None:
        if self._alarm:
            return ModbusRefusal.DEVICE_FAILURE
        name = _name(request)
        self._moment(Moment.ARRIVING, name)
        self._moment(Moment.ARRIVED, name)
        fault = self._next_fault()
        changed = [channel for channel, on in values.items() if self._outputs[channel] != on]
        if fault is Planted.SWALLOWED:
            changed = []
        for done, channel in enumerate(changed):
            if done == len(changed) // 2:
                self._moment(Moment.MOVING, name)
            self._outputs[channel] = values[channel]
            if fault is Planted.HALF and done >= len(changed) // 2:
                continue  # the output is switched and its valve sticks
            self._move(channel, is_open=values[channel], by=self.equipment)
            if fault is Planted.DOUBLED:
                self._move(channel, is_open=not values[channel], by=self.equipment)
                self._move(channel, is_open=values[channel], by=self.equipment)
        self._moment(Moment.ENDED, name)
        return None

    def _move(self, channel: int, *, is_open: bool, by: str) -> None:
        """Let the valve of a channel follow its output, if one is connected."""
        if channel in self.world.station(self._station).channels:
            self.world.set_valve(self._station, channel, is_open, by)

    # ---------------------------------------------------------------- the watchdog

    def _feed_watchdog(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._watchdog_s is not None:
            self._watching = self._after(self._watchdog_s, self._host_is_silent)

    def _host_is_silent(self) -> None:
        self._watching = None
        self._alarm = True
        for channel, safe in enumerate(self._safe_states):
            if safe != "hold":
                self._outputs[channel] = safe == "on"
                self._move(channel, is_open=safe == "on", by=self.equipment)

    # ---------------------------------------------------------------- by hand

    def press(self, key: str) -> None:
        """Toggle an output, ``DO0`` to ``DO7``, from its web console."""
        channels = {f"DO{channel}": channel for channel in range(CHANNELS)}
        if key not in channels:
            raise ValueError(
                f"{self.equipment}: {self.model} has no key {key!r}; it has {', '.join(channels)}"
            )
        channel = channels[key]
        self._outputs[channel] = not self._outputs[channel]
        self._move(channel, is_open=self._outputs[channel], by=f"panel:{self.equipment}")

    def power_cycle(self) -> None:
        """Drop every connection; come up with all outputs off, no alarm, uptime from 0."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        self._alarm = False
        self._up_since_s = self.world.now()
        self._outputs = [False] * CHANNELS
        for channel in range(CHANNELS):
            self._move(channel, is_open=False, by=self.equipment)
        for lost in self._power_lost:
            lost.set()


async def _close_when(lost: asyncio.Event, line: Transport) -> None:
    await lost.wait()
    await line.close()


def _name(request: ModbusRequest) -> str:
    return ModbusFunction(request.function).name.lower()


def _moves_valves(request: ModbusRequest) -> bool:
    """Return whether a request asks for outputs to be switched."""
    match request.function:
        case ModbusFunction.WRITE_COIL | ModbusFunction.WRITE_COILS:
            return request.address < CHANNELS
        case ModbusFunction.WRITE_REGISTER | ModbusFunction.WRITE_REGISTERS:
            return request.address == ALL_OUTPUTS
        case _:
            return False


def _word(bits: Sequence[bool]) -> int:
    return sum(on << channel for channel, on in enumerate(bits))


def _registers(address: int, octets: bytes, length: int) -> dict[int, int]:
    """Return ``octets`` in ``length`` registers from ``address`` on, filled up with zeros."""
    padded = octets[: 2 * length].ljust(2 * length, b"\0")
    return {address + n: int.from_bytes(padded[2 * n : 2 * n + 2], "big") for n in range(length)}
