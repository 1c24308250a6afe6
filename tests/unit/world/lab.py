"""A small laboratory for tests of the World: one station, one incubator, and a clock by hand.

It acts on the World as emulators and hands do, and nothing else: no engine, no drivers.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw_mocks.world import Donor, Mixture, World

HOUR_S = 3600.0
DAY_S = 86_400.0
FLOW_UL_PER_S = 1500.0
AT_STATION_S = 1200.0
"""What a kit spends at room temperature for one visit to the station."""


@dataclass
class HandClock:
    """A clock that stands still until it is moved."""

    at_s: float = 0.0

    def __call__(self) -> float:
        return self.at_s

    def wait(self, seconds: float) -> None:
        self.at_s += seconds

    def until_day(self, day: float) -> None:
        assert day * DAY_S >= self.at_s, f"day {day} is over"
        self.at_s = day * DAY_S


class Lab:
    """One World with the reference layout; acts on the kit that is current."""

    def __init__(self, *donors: Donor, seed: int = 1) -> None:
        self.clock = HandClock()
        self.world = World(self.clock, seed)
        for donor in donors:
            self.world.add_donor(donor)
        self.world.add_station()
        self.world.add_chamber(
            "incubator",
            places=[f"incubator/{n}" for n in range(1, 13)],
            temperature_degC=37.0,
            co2_percent=5.0,
            of="I1",
        )
        self.world.add_chamber("freezer", places=["freezer"], temperature_degC=4.0, of="F1")
        self.world.add_chamber("dewar", places=["dewar/1", "dewar/2"], temperature_degC=-150.0)
        self.world.add_place("rotor", of="C1")
        self.world.add_place("dock")
        self.world.add_place("shelf", holds=20)
        self.kit = "K1"
        self._bags = 0

    def bag(self, liquid: Mixture, *, name: str | None = None, place: str | None = None) -> str:
        self._bags += 1
        bag = name or f"B{self._bags}"
        self.world.add_container(
            bag, kind="bag", capacity_mL=liquid.volume_mL + 1000.0, contents=liquid, place=place
        )
        return bag

    def valve(self, branch: str, is_open: bool) -> None:
        channels = self.world.stations["station"].channels
        channel = next(n for n, wired in channels.items() if wired == branch)
        self.world.set_valve("station", channel, is_open, "V1")

    def pump(self, side_a: str, side_b: str, volume_mL: float, *, forward: bool = True) -> None:
        self.valve(side_a, True)
        self.valve(side_b, True)
        flow = FLOW_UL_PER_S if forward else -FLOW_UL_PER_S
        self.world.motor_start("station", flow, "P1")
        self.clock.wait(volume_mL * 1000.0 / FLOW_UL_PER_S)
        self.world.motor_stop("station", "P1")
        self.valve(side_a, False)
        self.valve(side_b, False)

    def add(self, liquid: Mixture) -> None:
        """Weld a bag on, pump all of it into the vessel, seal it off; ports p2 to p4 in turn."""
        bag = self.bag(liquid)
        port = f"p{2 + self._bags % 3}"
        self.world.hands.weld(bag, self.kit, port, by="technician")
        self.pump(port, "vessel", liquid.volume_mL)
        self.world.hands.seal_off(bag, by="technician")

    def collect(self, bag: str, *, port: str = "p5") -> None:
        """Weld an empty bag on, pump the whole vessel into it, flush after, seal it off."""
        self.bag(Mixture(), name=bag)
        self.world.hands.weld(bag, self.kit, port, by="technician")
        self.pump(port, "vessel", 3000.0, forward=False)
        self.pump(port, "flush", 10.0, forward=False)
        self.world.hands.seal_off(bag, by="technician")

    def put(self, place: str) -> None:
        self.world.hands.put(self.kit, place, by="technician")

    def spin_and_draw_off(self, volume_mL: float) -> None:
        self.put("rotor")
        self.world.spin_start("rotor", rcf_g=300.0, by="C1", seconds=600.0)
        self.clock.wait(660.0)
        self.put("station")
        self.pump("p6", "vessel", volume_mL, forward=False)

    @property
    def vessel(self) -> str:
        return f"{self.kit}/vessel"
