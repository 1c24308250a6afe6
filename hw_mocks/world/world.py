"""The World: what is physically where, joined to what, how warm, and what was done to it.

It decides what happens; emulators only turn, open, grip and heat, and hands only join and hang. A
bag welded to the wrong port is joined to the wrong port. It keeps time from the function it is
given, runs nothing by itself, and is brought up to date by whoever looks at it or acts on it, so
that looking changes nothing: the same acts at the same times give the same World however often it
was observed.

Bare numbers carry their unit in their names. What can't be done raises ``ImpossibleError`` and
changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from math import exp
from typing import Any

from hw_mocks.world import parameters as p
from hw_mocks.world.ageing import Happened, age
from hw_mocks.world.climate import Course
from hw_mocks.world.donors import Donor
from hw_mocks.world.flow import Flow
from hw_mocks.world.hands import Hands
from hw_mocks.world.ledger import Detail, Effect, EffectKind, ImpossibleError
from hw_mocks.world.materials import buffer
from hw_mocks.world.mixture import Line, Mixture
from hw_mocks.world.noise import Noise
from hw_mocks.world.plain import plain
from hw_mocks.world.things import (
    THERMAL_LAG_S,
    Chamber,
    Container,
    ContainerKind,
    Contents,
    Counted,
    Joint,
    Kit,
    Path,
    Place,
    Ramping,
    Spinning,
    Station,
    Stay,
)
from hw_mocks.world.views import contents_of, counted

ROOM = "room"
FLOOR = "floor"
HANDS = "hands"
AIR_CO2_PERCENT = 0.04
DOOR_LAG_S = 120.0


class World:
    """One room with everything in it.

    Args:
        now: Seconds since the start; never falls.
        seed: Of every chance in this World.
        room_degC: The air of the room, and of all that is in hands, grippers or no chamber.
    """

    def __init__(self, now: Callable[[], float], seed: int, *, room_degC: float = 21.0) -> None:
        self.now = now
        self.noise = Noise(seed)
        self.donors: dict[str, Donor] = {}
        self.containers: dict[str, Container] = {}
        self.kits: dict[str, Kit] = {}
        self.places: dict[str, Place] = {}
        self.chambers: dict[str, Chamber] = {}
        self.stations: dict[str, Station] = {}
        self.ledger: list[Effect] = []
        self.consumed = Mixture()
        self.brought_in_g = 0.0
        self.label_roll: Iterator[str] = iter(())
        self._where: dict[str, str] = {}
        self._joints: dict[str, Joint] = {}  # by container
        self._spinning: dict[str, Spinning] = {}
        self._touched: dict[str, set[str]] = {}
        self._stays: list[Stay] = []
        self._open_stays: dict[str, tuple[str, float]] = {}  # thing -> place, since
        self._slips: set[str] = set()
        self._leaks_planned = 0
        self.flow = Flow(self)
        self.hands = Hands(self)
        self.add_chamber(ROOM, temperature_degC=room_degC)
        self.places[FLOOR] = Place(FLOOR, None, 1_000_000, ROOM)

    # ---------------------------------------------------------------- what is in the room

    def add_donor(self, donor: Donor) -> None:
        """Make ``donor`` known, so that their cells can live here."""
        self.donors[donor.donor] = donor

    def add_container(
        self,
        container: str,
        *,
        kind: ContainerKind,
        capacity_mL: float,
        tare_g: float = 30.0,
        label: str | None = None,
        place: str | None = None,
        contents: Mixture | None = None,
        area_cm2: float = 0.0,
        tubing_mm: float = 300.0,
    ) -> None:
        """Bring a container into the room: to ``place``, or into somebody's hands."""
        self._new(container)
        held = contents if contents is not None else Mixture()
        if held.volume_mL > capacity_mL:
            raise ImpossibleError(f"{container}: {held.volume_mL} mL in {capacity_mL} mL")
        self._make(container, kind, capacity_mL, tare_g, label, held, area_cm2, tubing_mm, None)
        self._where[container] = HANDS
        if place is not None:
            self._settle_in(container, place)

    def add_kit(
        self,
        kit: str,
        *,
        vessel_kind: ContainerKind = "culture_bag",
        vessel_capacity_mL: float = 2000.0,
        area_cm2: float = 0.0,
        flush_mL: float = 200.0,
        flush_capacity_mL: float = 250.0,
        waste_capacity_mL: float = 10_000.0,
        ports: Sequence[str] = ("p1", "p2", "p3", "p4", "p5", "p6"),
        waste_port: str = "p6",
        label: str | None = None,
        vessel_label: str | None = None,
        flush_label: str | None = None,
        waste_label: str | None = None,
        tare_g: float = 400.0,
        place: str | None = None,
        tubing_mm: float = 400.0,
        port_dead_mL: float = 0.5,
        pump_dead_mL: float = 1.5,
        branch_dead_mL: float = 0.5,
        primed: bool = True,
    ) -> None:
        """Bring a kit into the room, with ``<kit>/vessel``, ``<kit>/flush`` and ``<kit>/waste``.

        Its tubing comes primed with buffer unless told otherwise; the waste bag is on its port.
        """
        self._new(kit)

        def line(dead_mL: float) -> Line:
            filled = buffer(dead_mL) if primed else Mixture()
            self.brought_in_g += filled.mass_g
            return Line(dead_mL, filled)

        new = Kit(
            kit=kit,
            label=label,
            tare_g=tare_g,
            vessel=f"{kit}/vessel",
            flush=f"{kit}/flush",
            waste=f"{kit}/waste",
            ports={port: line(port_dead_mL) for port in ports},
            branches={branch: line(branch_dead_mL) for branch in ("vessel", "flush")},
            pump_line=line(pump_dead_mL),
            tubing_mm=dict.fromkeys(ports, tubing_mm),
        )
        self.kits[kit] = new
        parts: tuple[tuple[str, ContainerKind, float, str | None, Mixture, float], ...] = (
            (new.vessel, vessel_kind, vessel_capacity_mL, vessel_label, Mixture(), area_cm2),
            (new.flush, "bag", flush_capacity_mL, flush_label, buffer(flush_mL), 0.0),
            (new.waste, "waste_bag", waste_capacity_mL, waste_label, Mixture(), 0.0),
        )
        for part, kind, capacity_mL, text, held, area in parts:
            self._make(part, kind, capacity_mL, 40.0, text, held, area, tubing_mm, kit)
        self._joints[new.waste] = Joint(new.waste, kit, waste_port, "made so", "maker", self.now())
        self._where[kit] = HANDS
        if place is not None:
            self._settle_in(kit, place)

    def add_place(
        self, place: str, *, of: str | None = None, chamber: str = ROOM, holds: int = 1
    ) -> None:
        """Make a place that holds one thing (or ``holds``), in a chamber or the open room."""
        if place in self.places:
            raise ImpossibleError(f"there is a place {place} already")
        self.places[place] = Place(place, of, holds, chamber)

    def add_chamber(
        self,
        chamber: str,
        *,
        places: Iterable[str] = (),
        temperature_degC: float = 21.0,
        co2_percent: float = AIR_CO2_PERCENT,
        of: str | None = None,
        lag_s: float = 300.0,
        co2_lag_s: float = 300.0,
    ) -> None:
        """Make an incubator, freezer, fridge, dewar or room, and the places in it.

        ``lag_s`` is the time constant with which its air follows a set point.
        """
        self.chambers[chamber] = Chamber(
            chamber,
            of,
            Course(temperature_degC),
            Course(co2_percent),
            temperature_degC,
            co2_percent,
            lag_s,
            co2_lag_s,
        )
        for place in places:
            if place in self.places:
                self.places[place].chamber = chamber
            else:
                self.add_place(place, of=of, chamber=chamber)

    def add_station(
        self,
        station: str = "station",
        *,
        pump: str = "P1",
        valves: str = "V1",
        channels: Mapping[int, str] | None = None,
        balances: Mapping[str, str] | None = None,
    ) -> None:
        """Make a transfer station, its place, and a place for each balance that has one.

        ``balances`` says what each balance carries: a place, or ``vessel`` for the docked kit's.
        """
        wired = channels or {
            **{n: f"p{n + 1}" for n in range(6)},
            6: "vessel",
            7: "flush",
        }
        carried = dict(balances or {"W1": "hook", "W2": "vessel"})
        self.stations[station] = Station(station, station, pump, valves, dict(wired), carried)
        self.add_place(station, of=pump)
        for balance, place in carried.items():
            if place != "vessel" and place not in self.places:
                self.add_place(place, of=balance)

    def _new(self, thing: str) -> None:
        if thing in self.containers or thing in self.kits:
            raise ImpossibleError(f"there is a {thing} already")

    def _make(
        self,
        container: str,
        kind: ContainerKind,
        capacity_mL: float,
        tare_g: float,
        label: str | None,
        contents: Mixture,
        area_cm2: float,
        tubing_mm: float,
        part_of: str | None,
    ) -> None:
        self.containers[container] = Container(
            container=container,
            kind=kind,
            capacity_mL=capacity_mL,
            tare_g=tare_g,
            label=label,
            contents=contents,
            area_cm2=area_cm2,
            tubing_mm=tubing_mm,
            part_of=part_of,
            temperature_degC=self.chambers[ROOM].temperature.at(self.now()),
            co2_percent=5.0,
            aged_to_s=self.now(),
        )
        self.brought_in_g += contents.mass_g
        self.touch(container)

    # ---------------------------------------------------------------- seen; changes nothing

    def at(self, place: str) -> str | None:
        """Return the thing at ``place`` (the first, where it holds several)."""
        things = self._place(place).things
        return things[0] if things else None

    def things_at(self, place: str) -> tuple[str, ...]:
        """Return everything at ``place``, what came first at the head."""
        return tuple(self._place(place).things)

    def holds_one(self, place: str) -> bool:
        """Return whether ``place`` has room for one thing only."""
        return self._place(place).holds == 1

    def label_at(self, place: str) -> str | None:
        """Return what a scanner reads at ``place``; nothing if it is empty or has no label."""
        thing = self.at(place)
        return self.label_of(thing) if thing is not None else None

    def label_of(self, thing: str) -> str | None:
        """Return the label that was stuck last on a container or a kit's tray."""
        labels = self.labels_on(thing)
        return labels[-1] if labels else None

    def labels_on(self, thing: str) -> tuple[str, ...]:
        """Return all labels that can be read on a thing, the newest last."""
        held = self.kits[thing] if thing in self.kits else self.container(thing)
        return (*held.older_labels, *([held.label] if held.label is not None else []))

    def labelled(self, label: str) -> list[str]:
        """Return every thing that carries ``label``."""
        return [name for name in (*self.kits, *self.containers) if label in self.labels_on(name)]

    def where(self, thing: str) -> str:
        """Return the place of a thing, ``hands``, or ``gripper:<arm>``.

        What is fixed to a kit is where the kit is.
        """
        if thing in self.containers:
            part_of = self.containers[thing].part_of
            if part_of is not None:
                return self.where(part_of)
        try:
            return self._where[thing]
        except KeyError:
            raise ImpossibleError(f"there is no {thing}") from None

    def joints(self) -> list[Joint]:
        """Return every joint, oldest first."""
        return list(self._joints.values())

    def joint_of(self, container: str) -> Joint | None:
        """Return where ``container`` is joined, if it is."""
        return self._joints.get(container)

    def open_path(self, station: str = "station") -> Path | None:
        """Return the open way through the kit docked at ``station``, if there is one."""
        return self.flow.open_path(self.station(station))

    def is_open(self, station: str, channel: int) -> bool:
        """Return whether the pinch valve of ``channel`` is open."""
        at = self.station(station)
        return at.channels[channel] in at.opened

    def mass_on(self, balance: str) -> float:
        """Return the grams that ``balance`` carries, without its own error."""
        self.catch_up()
        for station in self.stations.values():
            if balance not in station.balances:
                continue
            carried = station.balances[balance]
            if carried == "vessel":
                docked = self.kit_at(station.place)
                return self.containers[docked.vessel].gross_g() if docked else 0.0
            thing = self.at(carried)
            return self.mass_of(thing) if thing is not None else 0.0
        raise ImpossibleError(f"there is no balance {balance}")

    def mass_of(self, thing: str) -> float:
        """Return the grams of a container, or of a kit with all that is fixed to it."""
        if thing not in self.kits:
            return self.container(thing).gross_g()
        kit = self.kits[thing]
        tubes_g = sum(line.contents().mass_g for line in kit.lines())
        return kit.tare_g + tubes_g + sum(self.containers[c].gross_g() for c in kit.parts())

    def chamber_temperature(self, chamber: str) -> float:
        """Return the temperature of a chamber's air, degC."""
        return self._chamber(chamber).temperature.at(self.now())

    def chamber_co2(self, chamber: str) -> float:
        """Return the carbon dioxide of a chamber's air, percent."""
        return self._chamber(chamber).co2.at(self.now())

    def chamber_of(self, place: str) -> str:
        """Return the chamber that ``place`` lies in."""
        return self._place(place).chamber

    def temperature_of(self, container: str) -> float:
        """Return the temperature of what a container holds, degC."""
        self.catch_up()
        held = self.container(container)
        self._age(held)
        course = self.chambers[self._chamber_around(held)].temperature
        lag_s = THERMAL_LAG_S[held.kind]
        return course.follow(held.aged_to_s, held.temperature_degC, self.now(), lag_s)

    def contents(self, container: str) -> Contents:
        """Return what a container holds.

        A culture is seen as it stood at the end of its last step: at most ten minutes ago, or one
        minute while enzyme, DMSO or freezing act on it.
        """
        self.catch_up()
        held = self.container(container)
        self._age(held)
        return contents_of(held.contents)

    def donors_in(self, container: str) -> dict[str, float]:
        """Return, for each donor, how many of their cells (viable and dead) are in a container."""
        self.catch_up()
        held = self.container(container)
        self._age(held)
        return held.contents.donors()

    def donors_in_tubing(self, kit: str) -> dict[str, float]:
        """Return, for each donor, how many of their cells stand in a kit's tubing."""
        self.catch_up()
        pooled = Mixture()
        for line in self.kits[kit].lines():
            pooled.add(line.contents())
        return pooled.donors()

    def is_tight(self, container: str) -> bool:
        """Return whether a container's joint holds pressure: what a leak test shows."""
        joint = self._joints.get(container)
        if joint is None:
            raise ImpossibleError(f"{container} isn't joined")
        return joint.tight

    def confluence(self, vessel: str) -> float:
        """Return the covered share of an adherent vessel's surface, 0 to 1."""
        held = self.container(vessel)
        self._age(held)
        if held.area_cm2 <= 0.0:
            return 0.0
        attached = sum(population.attached for population in held.contents.cells.values())
        return min(attached / (held.area_cm2 * p.MSC_SATURATION), 1.0)

    def count(self, container: str, *, drawn_uL: float = 20.0, counter: str = "counter") -> Counted:
        """Return what counting ``drawn_uL`` of a container's liquid would show, with its error.

        Nothing is drawn. Each call is a new draw from the counter's own stream of chance.
        """
        return counted(self.contents(container), drawn_uL, self.noise, counter)

    def touched(self, container: str) -> tuple[str, ...]:
        """Return the donors whose cells were ever in a container."""
        self.catch_up()
        return tuple(sorted(self._touched.get(container, set())))

    def ownership(self) -> list[Stay]:
        """Return every stay of a thing at a place, ended ones first, with whose cells it held."""
        self.catch_up()
        running = [
            Stay(place, thing, self._donors_of(thing), since_s, None)
            for thing, (place, since_s) in self._open_stays.items()
        ]
        return [*self._stays, *running]

    def total_mass_g(self) -> float:
        """Return the grams of all liquid: in containers, in tubing, used up or thrown away.

        It equals ``brought_in_g``, whatever was done.
        """
        self.catch_up()
        held = sum(container.contents.mass_g for container in self.containers.values())
        tubes = sum(line.contents().mass_g for kit in self.kits.values() for line in kit.lines())
        return held + tubes + self.consumed.mass_g

    # ---------------------------------------------------------------- done by equipment

    def motor_start(self, station: str, flow_uL_per_s: float, by: str) -> None:
        """Turn a station's pump head; forward (above 0) is from side A to side B."""
        self.flow.start(self.station(station), flow_uL_per_s, by)

    def motor_stop(self, station: str, by: str) -> None:
        """Stop a station's pump head."""
        self.flow.stop(self.station(station), by)

    def set_valve(self, station: str, channel: int, is_open: bool, by: str) -> None:
        """Open or close the pinch valve of a channel; to do what is so already is no effect."""
        at = self.station(station)
        branch = at.channels[channel]
        if (branch in at.opened) == is_open:
            return
        self.catch_up()
        (at.opened.add if is_open else at.opened.discard)(branch)
        self.flow.way_changed(at)
        self.write(by, "valve", places=(f"{station}/{branch}",), amount=float(is_open), unit="open")

    def set_climate(
        self,
        chamber: str,
        *,
        by: str,
        temperature_degC: float | None = None,
        co2_percent: float | None = None,
    ) -> None:
        """Give a chamber's control new set points; its air follows with the chamber's lag."""
        held = self._chamber(chamber)
        self._end_ramp(held)
        if temperature_degC is not None and temperature_degC != held.target_degC:
            held.target_degC = temperature_degC
            if not held.door_open:
                held.temperature.approach(self.now(), temperature_degC, held.lag_s)
            self.write(
                by, "set_temperature", places=(chamber,), amount=temperature_degC, unit="degC"
            )
        if co2_percent is not None and co2_percent != held.target_co2_percent:
            held.target_co2_percent = co2_percent
            if not held.door_open:
                held.co2.approach(self.now(), co2_percent, held.co2_lag_s)
            self.write(by, "set_co2", places=(chamber,), amount=co2_percent, unit="percent")

    def chamber_door(self, chamber: str, is_open: bool, by: str) -> None:
        """Open or close a chamber; open, its air goes to the room's."""
        held = self._chamber(chamber)
        if held.door_open == is_open:
            return
        held.door_open = is_open
        now = self.now()
        if is_open:
            held.temperature.approach(now, self.chamber_temperature(ROOM), 5.0 * DOOR_LAG_S)
            held.co2.approach(now, AIR_CO2_PERCENT, DOOR_LAG_S)
        else:
            held.temperature.approach(now, held.target_degC, held.lag_s)
            held.co2.approach(now, held.target_co2_percent, held.co2_lag_s)
        self.write(by, "door", places=(chamber,), amount=float(is_open), unit="open")

    def ramp(
        self, chamber: str, *, rate_kelvin_per_min: float, limit_degC: float, by: str
    ) -> float:
        """Drive a chamber straight from its present temperature to ``limit_degC``, then hold.

        Returns:
            When the limit will be reached, in World seconds. Nothing is written for a chamber that
            stands there already.
        """
        self.catch_up()
        held = self._chamber(chamber)
        now = self.now()
        self._end_ramp(held)
        start = held.temperature.at(now)
        held.target_degC = limit_degC
        if abs(start - limit_degC) < 1e-9:
            return now
        ends_s = held.temperature.ramp(now, rate_kelvin_per_min / 60.0, limit_degC)
        held.ramping = Ramping(by, now, start, limit_degC, ends_s, abs(rate_kelvin_per_min))
        return ends_s

    def hold_temperature(self, chamber: str, by: str) -> None:
        """Stop a ramp where it is; a chamber that isn't ramping stays as it is."""
        self.catch_up()
        held = self._chamber(chamber)
        if held.ramping is None:
            return
        self._end_ramp(held)
        here = held.temperature.at(self.now())
        held.target_degC = here
        held.temperature.approach(self.now(), here, held.lag_s)
        self.write(by, "set_temperature", places=(chamber,), amount=here, unit="degC")

    def spin_start(
        self, rotor: str, *, rcf_g: float, by: str, seconds: float | None = None
    ) -> None:
        """Turn a rotor; it stops by itself after ``seconds``, or when ``spin_stop`` is called."""
        self.catch_up()
        self._place(rotor)
        if rotor in self._spinning:
            raise ImpossibleError(f"{rotor} turns already")
        now = self.now()
        ends_s = now + seconds if seconds is not None else None
        self._spinning[rotor] = Spinning(by, rcf_g, now, ends_s)

    def spin_stop(self, rotor: str, by: str) -> None:
        """Stop a rotor, early or not; one that stands stays as it is."""
        self.catch_up()
        spinning = self._spinning.get(rotor)
        if spinning is not None:
            self._end_spin(rotor, spinning, self.now(), by)

    def is_spinning(self, rotor: str) -> bool:
        """Return whether a rotor turns."""
        self.catch_up()
        return rotor in self._spinning

    def grip(self, arm: str, place: str, by: str) -> str | None:
        """Close ``arm``'s gripper at ``place``; return what it now holds, or nothing.

        A gripper planned to slip lets the thing fall when it is next released or moved off.
        """
        self.catch_up()
        gripper = f"gripper:{arm}"
        if place in self._spinning:
            raise ImpossibleError(f"{place} turns")
        if self.held_by(arm) is not None:
            raise ImpossibleError(f"{gripper} holds something already")
        thing = self.at(place)
        if thing is None:
            return None
        if arm in self._slips:
            self._slips.discard(arm)
            self.relocate(thing, FLOOR, by, kind="dropped")
            return None
        self.relocate(thing, gripper, by)
        return thing

    def release(self, arm: str, place: str, by: str) -> str | None:
        """Open ``arm``'s gripper at ``place``; return what now stands there.

        Where there is no room, the thing collides and falls to the floor; nothing is returned.
        """
        self.catch_up()
        thing = self.held_by(arm)
        if thing is None:
            return None
        target = self._place(place)
        if len(target.things) >= target.holds or place in self._spinning:
            self.write(by, "collided", things=(thing, *target.things), places=(place,))
            self.relocate(thing, FLOOR, by, kind="dropped")
            return None
        self.relocate(thing, place, by)
        return thing

    def held_by(self, arm: str) -> str | None:
        """Return what ``arm``'s gripper holds."""
        gripper = f"gripper:{arm}"
        for thing, place in self._where.items():
            if place == gripper:
                return thing
        return None

    def plan_slip(self, arm: str) -> None:
        """Let the next grip of ``arm`` slip: a fault for tests."""
        self._slips.add(arm)

    def plan_leak(self) -> None:
        """Let the next joint made leak: a fault for tests."""
        self._leaks_planned += 1

    def analyse(self, counter: str, tube: str, *, drawn_uL: float, by: str) -> Counted:
        """Draw ``drawn_uL`` from a tube into a counter, count it, and use it up."""
        self.catch_up()
        held = self.settle(tube)
        if held.contents.volume_mL * 1000.0 + 1e-6 < drawn_uL:
            raise ImpossibleError(f"{tube} holds {held.contents.volume_mL * 1000.0:.0f} uL")
        counted = self.count(tube, drawn_uL=drawn_uL, counter=counter)
        self.consumed.add(held.contents.take(drawn_uL / 1000.0))
        self.write(
            by,
            "counted",
            things=(tube,),
            amount=drawn_uL,
            unit="uL",
            detail={
                "viable_per_mL": counted.viable_per_mL,
                "viability": counted.viability,
                "cd3_share": counted.cd3_share,
                "car_share": counted.car_share,
            },
        )
        return counted

    def perfuse(self, vessel: str, on: bool, by: str) -> None:
        """Renew a vessel's medium without limit, keeping its cells (a perfused bioreactor)."""
        held = self.settle(vessel)
        if held.perfused == on:
            return
        held.perfused = on
        self.write(by, "perfused", things=(vessel,), amount=float(on), unit="on")

    # ---------------------------------------------------------------- keeping up

    def catch_up(self) -> None:
        """Bring pumps, rotors and ramps up to now. Cultures catch up when looked at or changed."""
        now = self.now()
        for station in self.stations.values():
            if station.turning is not None:
                self.flow.integrate(station, now)
        for rotor, spinning in list(self._spinning.items()):
            if spinning.ends_s is not None and spinning.ends_s <= now:
                self._end_spin(rotor, spinning, spinning.ends_s, spinning.by)
        for chamber in self.chambers.values():
            if chamber.ramping is not None and chamber.ramping.ends_s <= now:
                self._end_ramp(chamber)

    def settle(self, container: str) -> Container:
        """Bring one container exactly up to now and return it: before anything changes it."""
        held = self.container(container)
        self._age(held, exactly=True)
        return held

    def _age(self, held: Container, *, exactly: bool = False) -> None:
        """Let a container's contents warm, cool and live up to now, or to the last whole step."""
        now = self.now()
        if held.aged_to_s < now:
            chamber = self.chambers[self._chamber_around(held)]
            for happened in age(held, chamber, now, self.donors, exactly=exactly):
                self._consequence(held, happened)

    def _consequence(self, held: Container, happened: Happened) -> None:
        chamber = self._chamber_around(held)
        self.write(
            self.chambers[chamber].of or chamber,
            happened.kind,
            things=(held.container,),
            places=(self.where(held.container),),
            amount=happened.amount,
            unit=happened.unit,
            detail=happened.detail,
            from_s=happened.from_s,
            to_s=happened.to_s,
            consequence=True,
        )

    def _end_ramp(self, chamber: Chamber) -> None:
        """Write the ramp under way as far as it has come."""
        ramping = chamber.ramping
        if ramping is None:
            return
        chamber.ramping = None
        to_s = min(self.now(), ramping.ends_s)
        reached = chamber.temperature.at(to_s) if to_s < ramping.ends_s else ramping.limit_degC
        self.write(
            ramping.by,
            "ramped",
            places=(chamber.chamber,),
            amount=reached - ramping.start_degC,
            unit="K",
            detail={
                "rate_kelvin_per_min": ramping.rate_kelvin_per_min,
                "start_degC": ramping.start_degC,
                "limit_degC": ramping.limit_degC,
                "reached_degC": reached,
            },
            from_s=ramping.from_s,
            to_s=to_s,
        )

    def _end_spin(self, rotor: str, spinning: Spinning, ended_s: float, by: str) -> None:
        del self._spinning[rotor]
        seconds = ended_s - spinning.from_s
        thing = self.at(rotor)
        swimming = exp(-spinning.rcf_g * seconds / p.PELLETING)
        if thing is not None:
            for container in self._containers_of(thing):
                held = self.containers[container]
                held.pelleted = 1.0 - (1.0 - held.pelleted) * swimming
        self.write(
            by,
            "spun",
            things=(thing,) if thing is not None else (),
            places=(rotor,),
            amount=seconds,
            unit="s",
            detail={"rcf_g": spinning.rcf_g},
            from_s=spinning.from_s,
            to_s=ended_s,
        )

    # ---------------------------------------------------------------- for flow and hands

    def write(
        self,
        by: str,
        kind: EffectKind,
        *,
        things: Sequence[str] = (),
        places: Sequence[str] = (),
        amount: float = 0.0,
        unit: str = "1",
        detail: Detail | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        consequence: bool = False,
    ) -> None:
        """Write one effect into the ledger."""
        now = self.now()
        self.ledger.append(
            Effect(
                n=len(self.ledger) + 1,
                at_from_s=now if from_s is None else from_s,
                at_to_s=now if to_s is None else to_s,
                by=by,
                kind=kind,
                things=tuple(things),
                places=tuple(places),
                amount=amount,
                unit=unit,
                detail=dict(detail or {}),
                consequence=consequence,
            )
        )

    def container(self, container: str) -> Container:
        """Return a container's state, as it was when last brought up to date."""
        try:
            return self.containers[container]
        except KeyError:
            raise ImpossibleError(f"there is no container {container}") from None

    def kit_at(self, place: str) -> Kit | None:
        """Return the kit at ``place``."""
        thing = self.at(place)
        return self.kits.get(thing) if thing is not None else None

    def station(self, station: str) -> Station:
        """Return a station's state."""
        try:
            return self.stations[station]
        except KeyError:
            raise ImpossibleError(f"there is no station {station}") from None

    def pour_in(self, container: str, liquid: Mixture, *, at_degC: float | None = None) -> None:
        """Let liquid into a settled container; it stirs up what lay at the bottom."""
        held = self.containers[container]
        if liquid.volume_mL <= 0.0:
            return
        if at_degC is not None:
            total = held.contents.volume_mL + liquid.volume_mL
            warm = held.contents.volume_mL * held.temperature_degC + liquid.volume_mL * at_degC
            held.temperature_degC = warm / total
        held.contents.add(liquid)
        held.pelleted = 0.0
        self.touch(container)

    def draw_from(self, container: str, volume_mL: float) -> Mixture:
        """Draw from a settled container: the mixture, or the top of what was spun."""
        held = self.containers[container]
        liquid = held.contents
        drawn = Mixture()
        wanted = min(volume_mL, liquid.volume_mL)
        if held.pelleted > 0.0:
            above = min(wanted, max(liquid.volume_mL - p.PELLET_HEEL, 0.0))
            lost = 1.0 - held.pelleted * (1.0 - p.SUPERNATANT_CELLS)
            drawn.add(liquid.take(above, cells_per_share=lost))
            wanted -= above
        drawn.add(liquid.take(wanted))
        return drawn

    def touch(self, container: str) -> None:
        """Remember whose cells are in a container now."""
        donors = self.containers[container].contents.donors()
        if donors:
            self._touched.setdefault(container, set()).update(donors)

    def join(self, container: str, kit: str, port: str, how: str, by: str) -> None:
        """Join a container to a port."""
        self.catch_up()
        tight = not self._leaks_planned
        self._leaks_planned = max(self._leaks_planned - 1, 0)
        self._joints[container] = Joint(container, kit, port, how, by, self.now(), tight)
        self._way_changed_at(kit)

    def part(self, container: str) -> Joint:
        """Part a container from its port."""
        self.catch_up()
        joint = self._joints.pop(container, None)
        if joint is None:
            raise ImpossibleError(f"{container} isn't joined")
        self._way_changed_at(joint.kit)
        return joint

    def port_joint(self, kit: str, port: str) -> Joint | None:
        """Return what is joined to a port."""
        for joint in self._joints.values():
            if joint.kit == kit and joint.port == port:
                return joint
        return None

    def relocate(
        self, thing: str, place: str, by: str, *, kind: EffectKind = "moved_thing"
    ) -> None:
        """Move a thing to a place, a gripper or hands.

        Bags that are still joined to a kit are torn from their hooks and hang to the floor.
        """
        self.catch_up()
        came_from = self.where(thing)
        for container in self._containers_of(thing):
            self.settle(container)
        joined = [
            joint.container
            for joint in self._joints.values()
            if joint.kit == thing and self.containers[joint.container].part_of is None
        ]
        for container in joined:
            self.settle(container)
        self._leave(thing)
        self._arrive(thing, place)
        self.write(by, kind, things=(thing,), places=(came_from, place))
        for container in joined:
            hung_at = self._where[container]
            if hung_at in (HANDS, place):
                continue
            self._leave(container)
            self._arrive(container, FLOOR)
            self.write(
                by, "dragged", things=(container, thing), places=(hung_at, FLOOR), consequence=True
            )
        for station in self.stations.values():
            if station.place in (came_from, place):
                self.flow.way_changed(station)

    def room_at(self, place: str) -> bool:
        """Return whether one more thing fits at ``place``."""
        target = self._place(place)
        return len(target.things) < target.holds

    def _settle_in(self, thing: str, place: str) -> None:
        """Put a new thing at its first place; that is no effect, it was always there."""
        if not self.room_at(place):
            raise ImpossibleError(f"{place} is taken by {self.at(place)}")
        self._arrive(thing, place)
        for container in self._containers_of(thing):
            held = self.containers[container]
            chamber = self.chambers[self._place(place).chamber]
            held.temperature_degC = chamber.temperature.at(self.now())

    def _leave(self, thing: str) -> None:
        place = self._where[thing]
        if place in self.places:
            self.places[place].things.remove(thing)
        since = self._open_stays.pop(thing, None)
        if since is not None:
            stay = Stay(since[0], thing, self._donors_of(thing), since[1], self.now())
            self._stays.append(stay)

    def _arrive(self, thing: str, place: str) -> None:
        self._where[thing] = place
        if place in self.places:
            self.places[place].things.append(thing)
        if place != HANDS:
            self._open_stays[thing] = (place, self.now())

    def _containers_of(self, thing: str) -> tuple[str, ...]:
        return self.kits[thing].parts() if thing in self.kits else (thing,)

    def _donors_of(self, thing: str) -> tuple[str, ...]:
        found: set[str] = set()
        for container in self._containers_of(thing):
            found.update(self._touched.get(container, set()))
        return tuple(sorted(found))

    def _way_changed_at(self, kit: str) -> None:
        for station in self.stations.values():
            if self._where.get(kit) == station.place:
                self.flow.way_changed(station)

    def _chamber_around(self, held: Container) -> str:
        place = self.places.get(self._where[held.part_of or held.container])
        return place.chamber if place is not None else ROOM

    def _place(self, place: str) -> Place:
        try:
            return self.places[place]
        except KeyError:
            raise ImpossibleError(f"there is no place {place}") from None

    def _chamber(self, chamber: str) -> Chamber:
        try:
            return self.chambers[chamber]
        except KeyError:
            raise ImpossibleError(f"there is no chamber {chamber}") from None

    # ---------------------------------------------------------------- the same again

    def snapshot(self) -> dict[str, Any]:
        """Return the whole physical state as plain values; two equal Worlds give equal ones."""
        self.catch_up()
        return {
            "at_s": self.now(),
            "containers": plain(self.containers),
            "kits": plain(self.kits),
            "places": plain(self.places),
            "chambers": plain(self.chambers),
            "stations": plain(self.stations),
            "where": plain(self._where),
            "joints": plain(self._joints),
            "spinning": plain(self._spinning),
            "touched": plain(self._touched),
            "ledger": [plain(effect) for effect in self.ledger],
            "consumed": plain(self.consumed),
            "drawn": plain(self.noise.drawn),
        }

    def digest(self) -> str:
        """Return the SHA-256 of the snapshot."""
        return sha256(json.dumps(self.snapshot(), sort_keys=True).encode()).hexdigest()
