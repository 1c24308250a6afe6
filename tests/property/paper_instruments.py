"""The nine instruments on paper, by the grammar of their manuals, for lines that disturb them.

They are no emulators: they have no time, no physics and no faults. Each holds what can be read
of it, changes all of it at each ``turn`` beyond any tolerance, and counts what it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from devices.drivers.astm_cell_counter import AstmCellCounter
from devices.drivers.astm_cell_counter import Settings as CounterSettings
from devices.drivers.brooks_pf400 import BrooksPf400
from devices.drivers.brooks_pf400 import Settings as ArmSettings
from devices.drivers.highres_microspin import HighresMicrospin
from devices.drivers.highres_microspin import Settings as CentrifugeSettings
from devices.drivers.linkam_t95 import LinkamT95
from devices.drivers.linkam_t95 import Settings as StageSettings
from devices.drivers.mettler_mt_sics import MettlerMtSics
from devices.drivers.mettler_mt_sics import Settings as BalanceSettings
from devices.drivers.moxa_iologik_e1213 import MoxaIologikE1213
from devices.drivers.moxa_iologik_e1213 import Settings as BlockSettings
from devices.drivers.serial_scanner import SCAN, SerialScanner
from devices.drivers.serial_scanner import Settings as ScannerSettings
from devices.drivers.thermo_vios_160i import Settings as IncubatorSettings
from devices.drivers.thermo_vios_160i import ThermoVios160i
from devices.drivers.watson_marlow_530du import Settings as PumpSettings
from devices.drivers.watson_marlow_530du import WatsonMarlow530Du
from devices.interfaces.cell_count import CountCells, CounterReady
from devices.interfaces.centrifugation import RotorStill, Spin
from devices.interfaces.climate import ChamberTemperature, ClimateEvents, SetClimate
from devices.interfaces.container_transport import GripperHolds, PickContainer, PlaceContainer
from devices.interfaces.controlled_freezing import RampSegment, StageTemperature
from devices.interfaces.driver import Driver, Settled
from devices.interfaces.fluid_transfer import PumpCount, PumpVolume
from devices.interfaces.scanning import LabelRead
from devices.interfaces.valves import InterlockInput, SetValves, ValvesOpen
from devices.interfaces.weighing import Tare, Weight
from devices.sheets.sheet import sheet_of
from devices.transport.transport import Transport
from orchestrator.kernel.acts import Act, AllDone, OnInterruption, Quieten
from orchestrator.kernel.identifiers import ContainerId, EquipmentId, PlaceId, SampleId
from orchestrator.kernel.quantities import (
    CellDensity,
    Duration,
    Fraction,
    Mass,
    Temperature,
    TemperatureChange,
    Volume,
    degC_per_min,
    gram,
    hour,
    minute,
    mL,
    mL_per_min,
    percent,
    x_g,
)

LEFT: Final[dict[str, Any]] = {"longest": 1 * hour, "quieten": Quieten.LEAVE_RUNNING}
KIT: Final = ContainerId("KIT-1")


def lines_of(terminator: bytes) -> Callable[[bytearray], bytes | None]:
    """Return what splits requests that end with ``terminator`` off a buffer."""

    def split(buffer: bytearray) -> bytes | None:
        end = buffer.find(terminator)
        if end < 0:
            return None
        request = bytes(buffer[:end])
        del buffer[: end + len(terminator)]
        return request

    return split


class OnPaper:
    """What all have in common. ``model`` names the sheet."""

    model = ""
    names_question = False
    has_checksum = False
    split: Callable[[bytearray], bytes | None]

    def __init__(self) -> None:
        """Stand there, with nothing done."""
        sheet = sheet_of(self.model)
        name = "read_within" if self.model == "serial_scanner" else "reply_within"
        self.reply_within_s = sheet.figure(name, Duration).base / 1_000
        self.equipment = EquipmentId("X1")
        self.acted = 0
        self.turn(Random(0))

    def turn(self, chance: Random) -> None:
        """Begin an epoch."""

    def act(self, chance: Random) -> Act | None:
        """Offer no act."""
        del chance

    def question(self, request: bytes) -> bytes:
        """Return what of a request its answer names: all of it."""
        return request

    def effect_wrong(self, settled: Settled) -> str:
        """Return what is wrong with what is said of how much was done."""
        del settled
        return ""


class PaperPump(OnPaper):
    """A 530Du: type and number in its status, echo as set at the pump, no checksum."""

    model = "watson_marlow_530du"
    names_question = True
    split = staticmethod(lines_of(b"\r"))

    def __init__(self, *, echo: bool) -> None:
        """Stand with or without echo."""
        self.echo = echo
        self.tenths, self.clockwise = 100, True
        super().__init__()

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        settings = PumpSettings(
            pump_number=1,
            pulses_per_revolution=10_982,
            uL_per_revolution=4_000,
            forward_is_clockwise=True,
            echo=self.echo,
        )
        return WatsonMarlow530Du(line, equipment=self.equipment, settings=settings)

    def turn(self, chance: Random) -> None:
        """Count otherwise."""
        self.count = chance.randrange(1_000, 900_000_000)

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Answer RS and RT, do the rest in silence."""
        echo = [request + b"\r"] if self.echo else []
        match request[1:3]:
            case b"RS":
                whole, tenth = divmod(self.tenths, 10)
                turns = b"CW" if self.clockwise else b"CCW"
                status = b"530Du 4.00 520R 9.6MM %d.%d %b P/N 1 %d 0 !\r"
                return [*echo, status % (whole, tenth, turns, self.count)]
            case b"RT":
                return [*echo, b"%d\r" % self.count]
            case b"SP":
                whole, _, tenth = request[3:].partition(b".")
                self.tenths = 10 * int(whole) + int(tenth)
            case b"RR" | b"RL":
                self.clockwise = request[1:3] == b"RR"
            case b"DO":
                self.acted += 1
                self.count += int(request[3:])
            case _:
                pass
        return echo

    def act(self, chance: Random) -> Act | None:
        """Pump a volume."""
        self.asked = chance.randrange(1, 50) * mL
        return PumpVolume(
            unit="station",
            on_interruption=OnInterruption.CONTINUE,
            volume=self.asked,
            flow=80 * mL_per_min,
            forward=chance.random() < 0.5,
            source=ContainerId("C-1"),
            target=ContainerId("C-2"),
            **LEFT,
        )

    def effect_wrong(self, settled: Settled) -> str:
        """Compare volume and count."""
        if not isinstance(settled.report, AllDone):
            return ""
        if Volume.read(settled.report.effect.done) != self.asked:
            return f"{settled.report.effect.done} of {self.asked}"
        count = settled.standing.values["count"]
        return "" if count == str(self.count) else f"count {count}, not {self.count}"

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask for the count, one way or the other, or who it is."""
        what = chance.randrange(3)
        if what == 0:
            told = await driver.read(PumpCount(unit="station"))
            return "" if told == str(self.count) else f"count {told}, not {self.count}"
        if what == 1:
            model = (await driver.identify()).model
            return "" if model == "530Du" else f"type {model}"
        values = (await driver.standing()).values
        true = {"count": str(self.count), "running": "0"}
        return "" if values == true else f"{values}, not {true}"


class PaperStage(OnPaper):
    """A T95: ten bytes in answer to T, a bare CR to all else; no checksum, no echo."""

    model = "linkam_t95"
    split = staticmethod(lines_of(b"\r"))

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        return LinkamT95(line, equipment=self.equipment, settings=StageSettings())

    def turn(self, chance: Random) -> None:
        """Rest elsewhere, and otherwise."""
        self.tenths = 50 * chance.randrange(-30, 8)
        self.state = chance.choice((0x01, 0x30, 0x50))
        self.limit = self.tenths

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Show itself, or acknowledge."""
        if request == b"T":
            head = bytes([self.state, 0x80, 0x80, 0x80, 0x80, 0x80])
            return [head + b"%04x\r" % (self.tenths & 0xFFFF)]
        if request == b"O" and self.state == 0x30:
            self.state = 0x50
        elif request.startswith(b"L1"):
            self.limit = int(request[2:])
        elif request in (b"S", b"C", b"H"):
            self.acted += 1
            self.tenths, self.state = self.limit, 0x30
        return [b"\r"]

    def act(self, chance: Random) -> Act | None:
        """Go 20 K up or down."""
        to = self.tenths + chance.choice((-200, 200))
        return RampSegment(
            unit="freezer",
            on_interruption=OnInterruption.REPEAT,
            containers=(ContainerId("BAG-1"),),
            place=PlaceId("freezer"),
            rate=1 * degC_per_min,
            to=Temperature.of_base(100 * to),
            **LEFT,
        )

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask for the temperature, one way or the other."""
        true = Temperature.of_base(100 * self.tenths)
        if chance.random() < 0.5:
            told = Temperature.read(await driver.read(StageTemperature(unit="freezer")))
        else:
            values = (await driver.standing()).values
            states = {0x01: "stopped", 0x30: "holding", 0x50: "held"}
            if values["state"] != states[self.state]:
                return f"{values['state']}, not {states[self.state]}"
            told = Temperature.read(values["temperature"] + " °C")
        near = abs(told - true) <= sheet_of(self.model).figure("limit_error", TemperatureChange)
        return "" if near else f"{told}, not {true}"


class PaperBalance(OnPaper):
    """A balance: its answers bear the request's name, and no checksum."""

    model = "mettler_mt_sics"
    names_question = True
    split = staticmethod(lines_of(b"\r\n"))

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        return MettlerMtSics(line, equipment=self.equipment, settings=BalanceSettings())

    def turn(self, chance: Random) -> None:
        """Bear another load, over another tare."""
        self.load, self.tare = chance.sample(range(10, 3_000, 10), 2)

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Weigh, tare, or say who it is."""
        if request == b"T":
            self.acted += 1
            self.tare = self.load
        said = {
            b"S": b"S S %10.2f g" % (self.load - self.tare),
            b"T": b"T S %10.2f g" % self.tare,
            b"TA": b"TA A %10.2f g" % self.tare,
            b"I2": b'I2 A "MS3002S 3200.00 g"',
            b"I3": b'I3 A "2.10 10.28.0.493.142"',
            b"I4": b'I4 A "B021002593"',
        }
        return [said.get(request, b"ES") + b"\r\n"]

    def act(self, chance: Random) -> Act | None:
        """Tare."""
        del chance
        return Tare(unit="station", on_interruption=OnInterruption.REPEAT, **LEFT)

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask for weight, tare or name."""
        what = chance.randrange(3)
        if what == 0:
            told = Mass.read(await driver.read(Weight(unit="station")))
            off = abs(told - (self.load - self.tare) * gram)
            near = off <= sheet_of(self.model).figure("zero_error", Mass)
            return "" if near else f"{told}, not {self.load - self.tare} g"
        if what == 1:
            serial = (await driver.identify()).serial
            return "" if serial == "B021002593" else f"serial number {serial}"
        tare = Mass.read((await driver.standing()).values["tare"])
        return "" if tare == self.tare * gram else f"tare {tare}, not {self.tare} g"


class PaperIncubator(OnPaper):
    """A VIOS: its answers bear the parameter's address and an eight-bit checksum."""

    model = "thermo_vios_160i"
    names_question = True
    has_checksum = True
    split = staticmethod(lines_of(b"\r"))

    def __init__(self) -> None:
        """Stand with an empty data logger."""
        self.log: list[str] = []
        self.untold: list[str] = []
        self.reset = "no power reset in its log"
        self.at = 0
        self.last: list[str] = []
        self.minutes = 0
        self.wanted: tuple[int, int] | None = None
        super().__init__()

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        settings = IncubatorSettings(checksum="inverted xor")
        return ThermoVios160i(line, equipment=self.equipment, settings=settings)

    def turn(self, chance: Random) -> None:
        """Hold another climate, and log what happened."""
        self.set = [chance.randrange(25, 55), chance.randrange(0, 20)]
        self.wanted = None
        for _ in range(chance.choice((0, 0, 1, 3, 9))):
            event = chance.choice((0x01, 0x30, 0x31, 0x32))
            self.minutes += 1
            hours, minute_ = divmod(self.minutes, 60)
            day, hour_ = divmod(hours, 24)
            month, day = divmod(day, 28)
            year, month = divmod(month, 12)
            stamp = (day + 1, month + 1, 6 + year, hour_, minute_)
            self.log.append(bytes((event, *stamp)).hex() + "00000177002800d40000")
            text = "20{2:02d}-{1:02d}-{0:02d}T{3:02d}:{4:02d}".format(*stamp)
            name = {0x30: "power_reset", 0x31: "door_open", 0x32: "door_closed"}.get(event)
            if name is not None:
                self.untold.append(f"{name} {text}")
            if event == 0x30:
                self.reset = f"power reset {text}"

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Answer a telegram, if it is whole."""
        kind, address, _, rest = request.split(b":", 3)
        value = rest[:-3]
        if kind == b"!":
            self.set[address == b"2020"] = round(float(value))
            if tuple(self.set) == self.wanted:
                self.acted, self.wanted = self.acted + 1, None
            return [self.telegram(address, b"")]
        if address in (b"2400", b"2401"):
            self.at = 0 if address == b"2400" else self.at
            self.last = self.log[self.at : self.at + 7]
            self.at += len(self.last)
        said = {
            b"0001": b"50111927",
            b"2010": b"+%06.2f;+%06.2f;+000.000" % (self.set[0], self.set[0]),
            b"2020": b"+%06.2f;+%06.2f;+000.000" % (self.set[1], self.set[1]),
        }
        return [self.telegram(address, said.get(address, "".join(self.last).encode()))]

    def question(self, request: bytes) -> bytes:
        """Return the address: an acknowledgement doesn't say what was written, so that is read."""
        return request[1:6]

    def telegram(self, address: bytes, value: bytes) -> bytes:
        """Return an answer with its checksum."""
        body = b"!:%b:%02x:%b:" % (address, len(value), value)
        checksum = 0xFF
        for byte in body:
            checksum ^= byte
        return body + b"%02x\r" % checksum

    def act(self, chance: Random) -> Act | None:
        """Set one or both of the set points."""
        to = list(self.set)
        for which in chance.choice(((0,), (1,), (0, 1))):
            to[which] = 37 if which == 0 else 5
        if to == self.set:
            return None
        self.wanted = (to[0], to[1])
        return SetClimate(
            unit="incubator",
            on_interruption=OnInterruption.REPEAT,
            temperature=Temperature.of_base(1_000 * to[0]),
            carbon_dioxide=to[1] * percent,
            **LEFT,
        )

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask for the climate, for its set points, or for what happened."""
        what = chance.randrange(3)
        if what == 0:
            told = await driver.read(ChamberTemperature(unit="incubator"))
            return "" if told == f"{self.set[0]} °C" else f"{told}, not {self.set[0]} °C"
        if what == 1:
            events = await driver.read(ClimateEvents(unit="incubator"))
            untold, self.untold = " | ".join(self.untold), []
            return "" if events == untold else f"events {events!r}, not {untold!r}"
        shown = await driver.standing()
        told_all = (shown.values["temperature"], shown.values["carbon_dioxide"], shown.witness)
        true = (f"{self.set[0]} °C", str(Fraction.of_base(1_000 * self.set[1])), self.reset)
        return "" if told_all == true else f"{told_all}, not {true}"


HELD_MM, OPEN_MM = 85.0, 110.0
APPROACH: Final = (200.0, -93.924, 114.442, -20.517)
CLEAR: Final = (250.0, -200.0, 200.0)


class PaperArm(OnPaper):
    """A PF400: replies without number or echo; nothing but their form says whose they are."""

    model = "brooks_pf400"
    split = staticmethod(lines_of(b"\n"))

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        station: dict[str, Any] = {"index": 2, "x_mm": 250, "y_mm": -200, "z_mm": 100}
        station |= {"yaw_deg": 0, "pitch_deg": 90, "roll_deg": 180, "configuration": 4097}
        station |= {"approach": "vertical", "clearance_mm": 100, "above_mm": 0}
        settings: dict[str, Any] = {
            "stations": {"incubator/1": {**station, "grasp_offset_mm": 10}},
            "grip_width_mm": HELD_MM,
            "open_width_mm": OPEN_MM,
            "finger_speed_percent": 50,
            "grip_force_n": 10,
            "profile": 1,
            "speed_percent": 40,
            "acceleration_percent": 30,
        }
        return BrooksPf400(
            line, equipment=self.equipment, settings=ArmSettings.model_validate(settings)
        )

    def turn(self, chance: Random) -> None:
        """Stand elsewhere, with something between the fingers or nothing."""
        self.joints = tuple(10.0 * chance.randrange(-15, 15) + 5 for _ in range(4))
        self.pose = (0.0, 0.0, 900.0)
        self.holds = chance.random() < 0.5

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Reply to a line."""
        words = request.decode().split()
        if not words:
            return []
        if words[0] in ("PickPlate", "PlacePlate"):
            self.acted += 1
            self.joints, self.pose = APPROACH, CLEAR
            self.holds = words[0] == "PickPlate"
        width = HELD_MM if self.holds else OPEN_MM
        axes = " ".join(f"{one:.3f}" for one in (*self.joints, width))
        said = {
            "PickPlate": "-1",
            "sysState": "21",
            "pd": "1, 0, 0",
            "wherej": axes,
            "destJ": axes,
            "wherec": " ".join(f"{one:.3f}" for one in (*self.pose, 0.0, 90.0, 180.0, 4097)),
            "IsFullyClosed": "0",
            "version": "TCP Command Server 3.0D4",
        }.get(words[0], "")
        if words == ["attach"]:
            said = "-1"
        return [f"0 {said}".strip().encode() + b"\r\n"]

    def act(self, chance: Random) -> Act | None:
        """Pick, or place what it holds."""
        del chance
        kind = PlaceContainer if self.holds else PickContainer
        return kind(
            unit="arm",
            on_interruption=OnInterruption.HOLD,
            container=KIT,
            place=PlaceId("incubator/1"),
            **LEFT,
        )

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask how it stands, whether it holds something, or who it is."""
        what = chance.randrange(3)
        holds = "yes" if self.holds else "no"
        if what == 0:
            told = await driver.read(GripperHolds(unit="arm"))
            return "" if told == holds else f"holds: {told}"
        if what == 1:
            firmware = (await driver.identify()).firmware
            return "" if firmware == "TCP Command Server 3.0D4" else f"version {firmware}"
        values = (await driver.standing()).values
        true = {f"joint_{n}": one for n, one in enumerate(self.joints, start=1)}
        strays = any(abs(float(values[name]) - one) > 0.02 for name, one in true.items())
        return f"{values}, not {true}, {holds}" if strays or values["holds"] != holds else ""


class PaperCentrifuge(OnPaper):
    """A MicroSpin: numbers each command, and echoes it before and behind what it says."""

    model = "highres_microspin"
    names_question = True
    split = staticmethod(lines_of(b"\r\n"))

    def __init__(self) -> None:
        """Stand homed."""
        self.newest = 20
        self.spins: dict[int, str] = {}
        super().__init__()

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        return HighresMicrospin(line, equipment=self.equipment, settings=CentrifugeSettings())

    def turn(self, chance: Random) -> None:
        """Stand otherwise."""
        self.spindle, self.door = chance.randrange(4_000), chance.randrange(-900, 900)

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Acknowledge, say, and end."""
        text = request.decode()
        name, *arguments = text.split()
        self.newest += 1
        word, data = "OK", list[str]()
        match name:
            case "status":
                data = [f"Spindle Position: {self.spindle}", f"Door Position: {self.door}"]
            case "homedstatus":
                data = ["homed"]
            case "version":
                data = ["Product Name: MicroSpin", "Serial Number: HRB-1", "Version: MS-1.3.3"]
            case "spin":
                self.acted += 1
                self.spins[self.newest] = f"OK! {text} {self.newest}"
            case "commandstat":
                data = [self.spins.get(int(arguments[0]), f"OK! status {arguments[0]}")]
            case _:
                pass
        said = [f"ACK! {text} {self.newest}", *data, f"{word}! {text} {self.newest}"]
        return [line.encode() + b"\r\n" for line in said]

    def act(self, chance: Random) -> Act | None:
        """Spin."""
        del chance
        return Spin(
            unit="centrifuge",
            on_interruption=OnInterruption.HOLD,
            container=KIT,
            place=PlaceId("rotor"),
            force=300 * x_g,
            acceleration=100 * percent,
            deceleration=50 * percent,
            at_speed=10 * minute,
            **LEFT,
        )

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask how it stands, whether it does, or who it is."""
        what = chance.randrange(3)
        if what == 0:
            told = await driver.read(RotorStill(unit="centrifuge"))
            return "" if told == "yes" else f"still: {told}"
        if what == 1:
            serial = (await driver.identify()).serial
            return "" if serial == "HRB-1" else f"serial number {serial}"
        values = (await driver.standing()).values
        told_all = (values["homed"], values["spindle"], values["door"])
        true = ("yes", str(self.spindle), str(self.door))
        return "" if told_all == true else f"{told_all}, not {true}"


VALVES: Final = ("p1", "p2", "p3", "p4", "p5", "p6", "vessel", "flush")


class PaperBlock(OnPaper):
    """An E1213: a transaction number in each answer; nothing but TCP guards the values."""

    model = "moxa_iologik_e1213"
    names_question = True

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        settings = BlockSettings(
            unit_identifier=1,
            outputs={valve: n for n, valve in enumerate(VALVES)},
            inputs={"door": 0, "emergency_stop": 1},
        )
        return MoxaIologikE1213(line, equipment=self.equipment, settings=settings)

    @staticmethod
    def split(buffer: bytearray) -> bytes | None:
        """Take a whole message off the buffer."""
        used = 6 + int.from_bytes(buffer[4:6], "big")
        if len(buffer) < 6 or len(buffer) < used:
            return None
        request = bytes(buffer[:used])
        del buffer[:used]
        return request

    def turn(self, chance: Random) -> None:
        """Have other outputs, inputs and uptime."""
        self.outputs, self.inputs = chance.randrange(256), chance.randrange(256)
        self.uptime_s = 100 * chance.randrange(1, 40_000_000)

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Answer one message."""
        function, address = request[7], int.from_bytes(request[8:10], "big")
        match function, address:
            case 15, _:
                self.acted += 1
                self.outputs = request[13]
                said = request[7:12]
            case 1, _:
                said = bytes((1, 1, self.outputs))
            case 2, _:
                said = bytes((2, 1, self.inputs))
            case 4, 5000:
                said = b"\x04\x14" + b"E1213".ljust(20, b"\0")
            case 4, 5020:
                said = b"\x04\x04" + self.uptime_s.to_bytes(4, "big")
            case _:
                said = b"\x04\x04\x03\x02\x00\x00"
        return [request[:4] + (1 + len(said)).to_bytes(2, "big") + request[6:7] + said]

    def open(self) -> str:
        """Return the valves that are open, as the driver names them."""
        return ",".join(sorted(name for n, name in enumerate(VALVES) if self.outputs >> n & 1))

    def act(self, chance: Random) -> Act | None:
        """Open other valves."""
        wanted = chance.randrange(256)
        if wanted == self.outputs:
            return None
        return SetValves(
            unit="station",
            kit=KIT,
            on_interruption=OnInterruption.REPEAT,
            open=tuple(sorted(name for n, name in enumerate(VALVES) if wanted >> n & 1)),
            **LEFT,
        )

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask for valves, a door, uptime or name."""
        what = chance.randrange(4)
        if what == 0:
            told = await driver.read(ValvesOpen(unit="station"))
            return "" if told == self.open() else f"{told}, not {self.open()}"
        if what == 1:
            told = await driver.read(InterlockInput(unit="station", part="door"))
            true = "safe" if self.inputs & 1 else "unsafe"
            return "" if told == true else f"door {told}"
        if what == 2:
            name = (await driver.identify()).model
            return "" if name == "E1213" else f"model {name}"
        shown = await driver.standing()
        told_all = (shown.values["open"], shown.witness)
        true_all = (self.open(), str(self.uptime_s))
        return "" if told_all == true_all else f"{told_all}, not {true_all}"


class PaperScanner(OnPaper):
    """A fixed scanner: a label for each trigger, which bears nothing of it."""

    model = "serial_scanner"
    split = staticmethod(lines_of(b"\r"))

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        settings = ScannerSettings(triggered=True, label_length_max=20)
        return SerialScanner(line, equipment=self.equipment, settings=settings)

    def turn(self, chance: Random) -> None:
        """See another label."""
        self.label = f"K-{chance.randrange(1_000_000):06d}"

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Read the label."""
        return [self.label.encode() + b"\r\n"] if request + b"\r" == SCAN else []

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Read the label."""
        del chance
        told = await driver.read(LabelRead(unit="station"))
        return "" if told == self.label else f"{told}, not {self.label}"


ENQ, ACK, NAK, EOT, STX, ETX = b"\x05", b"\x06", b"\x15", b"\x04", b"\x02", b"\x03"


def _framed(number: int, record: str) -> bytes:
    body = b"%d%b\r" % (number % 8, record.encode()) + ETX
    return STX + body + b"%02X\r\n" % (sum(body) % 256)


class PaperCounter(OnPaper):
    """A counter: frames with a number and an eight-bit sum; signs that bear nothing."""

    model = "astm_cell_counter"

    def __init__(self) -> None:
        """Stand idle. ``say`` is the line's, for what comes unasked."""
        self.say: Callable[[bytes], None] = lambda _: None
        self.results: dict[str, tuple[int, float, float]] = {}
        self.counted = 20_260_101_000_000
        self.samples = 0
        self.heard: list[str] = []
        self.expects = 0
        self.receiving = False
        self.outbox: list[list[str]] = []
        self.sending: list[bytes] = []
        self.timer: asyncio.TimerHandle | None = None
        self.bidding: asyncio.TimerHandle | None = None
        self.hears_until: asyncio.TimerHandle | None = None
        super().__init__()

    def make(self, line: Transport) -> Driver:
        """Return its driver."""
        settings = CounterSettings(tests={"viable_density": "VCD", "viability": "VIA"})
        return AstmCellCounter(line, equipment=self.equipment, settings=settings)

    @staticmethod
    def split(buffer: bytearray) -> bytes | None:
        """Take a sign or a frame off the buffer."""
        if not buffer:
            return None
        used = 1 if not buffer.startswith(STX) else buffer.find(b"\n") + 1
        request = bytes(buffer[:used])
        del buffer[:used]
        return request or None

    def turn(self, chance: Random) -> None:
        """Have another count to come."""
        self.next = (chance.randrange(1, 900) / 100, chance.randrange(1, 990) / 10)

    def answer(self, request: bytes) -> Sequence[bytes]:
        """Take a sign or a frame. A message that isn't gone on with in 30 s is dropped."""
        if self.hears_until is not None:
            self.hears_until.cancel()
        self.hears_until = asyncio.get_running_loop().call_later(30, self._stop_hearing)
        if request == ENQ:
            if self.sending:
                return [NAK]
            self.receiving, self.heard, self.expects = True, [], 1
            return [ACK]
        if request == EOT:
            self.receiving = False
            self._message()
            return []
        if request in (ACK, NAK):
            return self._go_on(taken=request == ACK)
        if not self.receiving:
            return []
        number = int(request[1:2])
        if number == (self.expects - 1) % 8 and self.heard:
            return [ACK]
        if number != self.expects % 8:
            return [NAK]
        self.expects += 1
        self.heard.append(request[2:-6].decode())
        return [ACK]

    def _stop_hearing(self) -> None:
        self.receiving, self.heard = False, []

    def _message(self) -> None:
        heard, self.heard = self.heard, []
        kinds = [record[0] for record in heard]
        if kinds == ["H", "P", "O", "L"]:
            self.acted += 1
            sample = heard[2].split("|")[2]
            self.counted += 1
            self.results[sample] = (self.counted, *self.next)
            asyncio.get_running_loop().call_later(60, self._send, self._of(sample))
        elif kinds == ["H", "Q", "L"]:
            self._send(self._of(heard[1].split("|")[2].strip("^")))

    def _of(self, sample: str) -> list[str]:
        if sample not in self.results:
            return [r"H|\^&|8", "L|1|I"]
        number, density, viability = self.results[sample]
        return [
            rf"H|\^&|{number}||SIM",
            "P|1",
            f"O|1|{sample}||^^^ALL|R||||||||||||||||||||F",
            f"R|1|^^^VCD|{density}|10*6/mL||N||F||||{number}",
            f"R|2|^^^VIA|{viability}|%||N||F||||{number}",
            "L|1|N",
        ]

    def _send(self, message: list[str]) -> None:
        """Bid for the link, after what is being sent."""
        self.outbox.append(message)
        if not self.sending:
            self._bid()

    def _bid(self) -> None:
        if not self.outbox or self.sending:
            return
        if self.receiving:
            self._bid_later(10)
            return
        frames = [_framed(n, record) for n, record in enumerate(self.outbox[0], start=1)]
        self.sending = [ENQ, *frames]
        self.tries = 0
        self._wait_for_answer()
        self.say(ENQ)

    def _bid_later(self, after_s: float) -> None:
        if self.bidding is not None:
            self.bidding.cancel()
        self.bidding = asyncio.get_running_loop().call_later(after_s, self._bid)

    def _wait_for_answer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(15, self._give_up)

    def _give_up(self) -> None:
        """End the message, and bid for it anew."""
        self.sending = []
        self.say(EOT)
        self._bid_later(10)

    def _go_on(self, *, taken: bool) -> list[bytes]:
        if not self.sending:
            return []
        if self.timer is not None:
            self.timer.cancel()
        if taken:
            self.sending.pop(0)
            self.tries = 0
            if not self.sending:
                self.outbox.pop(0)
                self._bid_later(1)
                return [EOT]
        self.tries += 1
        if self.tries > 6 or self.sending[0] == ENQ:
            self._give_up()
            return []
        self._wait_for_answer()
        return [self.sending[0]]

    def act(self, chance: Random) -> Act | None:
        """Count a new sample."""
        del chance
        self.samples += 1
        self.sample = f"S-{self.samples:06d}"
        return CountCells(
            unit="counter",
            on_interruption=OnInterruption.CONTINUE,
            sample=SampleId(self.sample),
            tube=ContainerId("TUBE-1"),
            **LEFT,
        )

    def effect_wrong(self, settled: Settled) -> str:
        """Compare what was counted."""
        if not isinstance(settled.report, AllDone):
            return ""
        detail = settled.report.effect.detail
        number, density, viability = self.results[self.sample]
        told = (detail["result"], detail["viable_density"], detail["viability"])
        true_density = round(density * 1_000_000)
        true = (
            str(number),
            str(CellDensity.of_base(true_density)),
            str(Fraction.of_base(round(viability * 1_000))),
        )
        return "" if told == true else f"{told}, not {true}"

    async def wrong(self, driver: Driver, chance: Random) -> str:
        """Ask whether it is ready: a busy counter and a lost answer both say no."""
        del chance
        told = await driver.read(CounterReady(unit="counter"))
        return "" if told in ("yes", "no") else told


INSTRUMENTS: Final[dict[str, Callable[[], Any]]] = {
    "watson_marlow_530du": lambda: PaperPump(echo=False),
    "watson_marlow_530du with echo": lambda: PaperPump(echo=True),
    "linkam_t95": PaperStage,
    "mettler_mt_sics": PaperBalance,
    "thermo_vios_160i": PaperIncubator,
    "brooks_pf400": PaperArm,
    "highres_microspin": PaperCentrifuge,
    "moxa_iologik_e1213": PaperBlock,
    "serial_scanner": PaperScanner,
    "astm_cell_counter": PaperCounter,
}
