"""Scripted technicians: people of the room, given a Console like any person.

They do with their hands what a task says, and scan what is physically there: the label
that the World has on the thing they hold or on the joint they look at, not the one that
was expected. What they get wrong is planted by a test in ``Slips``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, cast

from hw_mocks.emulator import Moment, OnMoment
from hw_mocks.serial_scanner import SerialScanner
from hw_mocks.world.ledger import ImpossibleError
from hw_mocks.world.world import World
from orchestrator.kernel.desks import Command, Console
from orchestrator.kernel.errors import (
    FailedError,
    IdentityRefusedError,
    IntegrityError,
    NotAuthorisedError,
    RefusedError,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Temperature, Volume, degC, mL, second, uL
from orchestrator.kernel.tasks import CLEARANCE, DOUBT, LATE

_TERMINAL_CHARACTERS: Final = 8

HANDS_IN_A_PHASE_MOST: Final = 2
"""So many people share a phase's hand work. Assumed."""

HAND_WORK_S: Final[Mapping[str, float]] = {
    "receive": 300,
    "install_kit": 600,
    "weld": 240,
    "connect_aseptically": 120,
    "seal_off": 120,
    "hang": 30,
    "unhang": 30,
    "test_leak": 60,
    "draw_sample": 120,
    "load_counter": 60,
    "unload_counter": 60,
    "select_magnetically": 1800,
    "apply_label": 60,
    "load": 120,
    "store": 180,
    "inspect_confluence": 300,
    "mix": 60,
    "discard": 60,
    "clear_line": 900,
}
"""How long hand work takes. Assumed."""

BOX_RUNS_S: Final[Mapping[str, float]] = {"select_magnetically": 3.5 * 3600}
"""How long a closed box then runs by itself. A selection is 4 to 6 h in all (S29)."""

OFF_DUTY_LOOK_S: Final = 600.0
"""How late a person's shift may begin. Assumed."""

GRIPPER: Final = "gripper"
"""Where the record has what an arm holds: ``gripper/R1``."""
GONE: Final = (OSError, IntegrityError, FailedError)
"""What a console raises when its daemon isn't there any more."""

SESSION_OVER: Final = "refused.not-authorised.no-session"
"""The code of what a console raises when a session is over."""

LOOK_AGAIN_S: Final = 5.0
"""How often a person looks whether a dark screen has come back. Assumed."""

CARRY_S: Final = 60.0
"""How long a person takes to carry one thing away from a line, and to read its label. Assumed."""

WASTE_BIN: Final = "waste bin"
QUALITY_CONTROL: Final = "quality control"
QUARANTINE: Final = "quarantine"
"""Where people carry what a line is cleared of."""

LOOK_S: Final = 60.0
"""How long a person takes to look at something and decide. Assumed."""

NEXT_LABEL_S: Final = 5.0
"""How long a person takes from one label to the other beside it. Assumed."""

SCAN_S: Final = 15.0
"""How long a person takes to find and scan a label. Assumed."""


HANDS: Final = "hands"
"""What people's hands are called where an instrument is named."""

STAY: Final = re.compile(r"\bfor the next (?P<hours>\d+) h\b")
"""How a question asks people whether they stay."""


@dataclass(slots=True)
class Slips:
    """What technicians get wrong: a thing or a port taken for another. Shared by all."""

    brings: dict[str, str] = field(default_factory=dict[str, str])
    """Fetched instead: scanned and worked on, until a refusal is shown; then put back."""
    joins: dict[str, str] = field(default_factory=dict[str, str])
    """Worked on instead, after the right one was scanned."""
    ports: dict[str, str] = field(default_factory=dict[str, str])
    """Where the hands go instead."""
    looks: dict[str, str] = field(default_factory=dict[str, str])
    """Where the eyes go instead, when what hangs at a port is scanned."""
    mislabels: dict[str, str] = field(default_factory=dict[str, str])
    """What the new label is stuck on instead, because it lies there too."""
    nods: bool = False
    """Whether the second person reads each of two labels where it is, on two things."""
    reads_across: bool = False
    """Whether who scans two labels does so."""
    presented: set[str] = field(default_factory=set[str])
    """The scans for which something wrong was presented."""


@dataclass(slots=True)
class Technician:
    """One person at work, logged in under ``session``."""

    name: str
    session: str
    console: Console | None
    world: World
    room_began: Instant
    scanners: Mapping[str, SerialScanner]
    secret: str = ""
    log_in: Callable[[], Awaitable[str]] | None = None
    """Gives the password at the terminal, and returns a new session."""
    slips: Slips = field(default_factory=Slips)
    crew: set[str] = field(default_factory=set[str])
    """What somebody scans just now, and who has a hand in which phase; shared by all."""
    is_on_duty: Callable[[float], bool] = lambda _: True
    on_moment: OnMoment | None = None
    _requests: int = 0
    _version: int = -1
    _at_a_box: set[str] = field(default_factory=set[str])
    _seen: dict[str, int] = field(default_factory=dict[str, int])
    """The event after which a task was last seen, where that is newer than the screen."""

    async def work(self) -> None:
        """Do what is to be done, for ever."""
        async with asyncio.TaskGroup() as boxes:
            while True:
                shown = await self._look()
                if self.is_on_duty(asyncio.get_running_loop().time()):
                    await self._one_round(shown, boxes)
                else:
                    await asyncio.sleep(OFF_DUTY_LOOK_S)
                    self._version = -1

    def work_by_hand(self, act: Mapping[str, Any]) -> dict[str, str]:
        """Do a task's hand work at once; return what it asks to be reported.

        Raises:
            ImpossibleError: It can't be done with what stands in the room.
        """
        return self._by_hand(act)

    async def present(self, scan: Mapping[str, Any]) -> bool:
        """Hold what is there before the scanner that awaits it; return whether there was a label.

        Of two labels that are asked for one after the other, both.

        Raises:
            ImpossibleError: A person holds nothing before this scanner.
        """
        scanner = self.scanners.get(str(scan["scanner"]))
        if scanner is None or scanner.is_fixed:
            raise ImpossibleError(f"{scan['scanner']} isn't a scanner that a person holds")
        label = self._label_there(scan)
        if label is not None and scan["which"]:
            return await self._present_both(scan, scanner, label)
        if label is not None:
            scanner.present(label)
        return label is not None

    async def _look(self) -> Mapping[str, Any]:
        """Return what is to be done, as soon as something is new on the screen."""
        while True:
            console = self.console
            if console is not None:
                try:
                    shown = await console.view("work", newer_than=self._version)
                except GONE:
                    await self._screen_goes_dark(console)
                else:
                    self._version = cast("int", shown["version"])
                    self._seen.clear()
                    return shown
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _screen_goes_dark(self, console: Console) -> None:
        """Forget a console whose daemon died; another one comes with its restart."""
        if self.console is console:
            self.console = None
            self._version = -1

    async def _one_round(self, shown: Mapping[str, Any], boxes: asyncio.TaskGroup) -> None:
        """Scan what is asked for, do one thing, and look again: the screen has changed by then."""
        for scan in shown["scans"]:
            await self._scan(scan)
        for task in sorted(shown["tasks"], key=_urgency):
            try:
                did = await self._task(task, boxes)
            except RefusedError:
                continue  # somebody else was quicker
            if did:
                self._version = -1
                return

    async def _task(self, task: Mapping[str, Any], boxes: asyncio.TaskGroup) -> bool:
        """Return whether there was something for this person to do."""
        if not self._can_stay(str(task["text"])):
            return False
        if task["status"] == "reported" and task["second_person"]:
            if task["reported_by"] == self.name:
                return False
            return await self._verify(task)
        if task["status"] == "taken" and task["taken_by"] != self.name:
            return False
        if task["status"] not in ("offered", "taken"):
            return False
        match task["work"]:
            case "do":
                return await self._do(task, boxes)
            case "verify":
                await self._give("verify_task", task=task["task"])
            case "enter" | "decide":
                return await self._answer(task)
            case other:
                raise AssertionError(f"no technician knows the work {other!r}")
        return True

    def _can_stay(self, asked: str) -> bool:
        """Return whether this person's shift lasts as long as a question asks people to stay."""
        stay = STAY.search(asked)
        now_s = asyncio.get_running_loop().time()
        return stay is None or all(
            self.is_on_duty(now_s + hour * 3600) for hour in range(int(stay["hours"]) + 1)
        )

    async def _verify(self, task: Mapping[str, Any]) -> bool:
        await asyncio.sleep(LOOK_S)
        if _is_doubt(task):
            await self._reconcile(task)
        elif _is_clearance(task):
            return await self._sign_if_clear(task)
        else:
            await self._verify_hand_work(task)
        return True

    async def _verify_hand_work(self, task: Mapping[str, Any]) -> None:
        """Say which labels are there, and say no where they aren't the right ones."""
        name = str(task["task"])
        read = self.read_off(task["ask"]) if task["to_read"] else []
        try:
            await self._give("verify_task", task=name, read=read)
        except IdentityRefusedError as unlike:
            await self._give("reject_task", task=name, why=unlike.why)

    def read_off(self, act: Mapping[str, Any]) -> list[str]:
        """Return the labels that can be read on what hand work was done on."""
        newest = 2 if act["work"] == "apply_label" else 1
        found = [
            label
            for thing in self._worked_on(act)
            for label in self.world.labels_on(thing)[-newest:]
        ]
        if self.slips.nods and act["work"] == "apply_label":
            found += self._newest_of_mislabelled(act["containers"][0])
        return found

    def _newest_of_mislabelled(self, thing: str) -> tuple[str, ...]:
        stuck_on = self.slips.mislabels.get(thing)
        return () if stuck_on is None else self.world.labels_on(stuck_on)[-1:]

    def _worked_on(self, act: Mapping[str, Any]) -> list[str]:
        """Return the things that a second person finds where hand work was done."""
        kit = str(act["kit"] or "")
        if kit:
            kit = self._kit_in_hand(kit) if act["port"] else self._in_hand(kit)
        if act["work"] in ("weld", "connect_aseptically"):
            asked_port = str(act["port"])
            port = self.slips.looks.get(asked_port, asked_port)
            joint = self.world.port_joint(kit, port) if kit in self.world.kits else None
            found = [joint.container] if joint is not None else []
        else:
            found = [self._in_hand(str(one).partition("/")[0]) for one in act["containers"]]
        return [*dict.fromkeys([*found, *([kit] if kit else [])])]

    async def _clear(self, task: Mapping[str, Any]) -> bool:
        """Carry away what nobody needs, look at each place, and sign if that is asked for."""
        name = str(task["task"])
        if name in self.crew:
            return False  # somebody is at it
        self.crew.add(name)
        try:
            needed = {str(one["container"]) for one in task["left"] if one["needed"]}
            did = await self._tell_what_is_missing(task)
            did = await self._carry_all_away(task, needed) or did
            if did or needed or task["left"] or not task["second_person"]:
                return did
            if task["status"] == "offered":
                await self._give("take_task", task=task["task"])
            await asyncio.sleep(HAND_WORK_S["clear_line"])
            return await self._sign_if_clear(task)
        finally:
            self.crew.discard(name)

    async def _carry_all_away(self, task: Mapping[str, Any], needed: set[str]) -> bool:
        """Carry away what stands there and isn't needed, kits last; return whether anything did."""
        known = {(str(one["container"]), str(one["place"])) for one in task["left"]}
        joined = {str(one["container"]) for one in task["left"] if one["joined"]}
        held_back = {str(one["container"]) for one in task["left"] if one["quarantined"]}
        is_looked_at = bool(task["second_person"])  # else only what is listed is fetched
        away = [
            one
            for one in self._standing_at(task)
            if one[0] not in needed and (is_looked_at or one in known)
        ]
        for thing, place in sorted(away, key=lambda one: one[0] in self.world.kits):
            await asyncio.sleep(CARRY_S)
            hangs = self.world.joint_of(thing) is not None
            if (thing, place) not in known or hangs is not (thing in joined):
                await self._report_found(task, thing, place)
                held_back.add(thing)
                joined.discard(thing)
            to = QUARANTINE if thing in held_back else self._where_to(thing)
            await self._carry_away(task, thing, to, sealed_off=thing in joined)
        return bool(away)

    async def _tell_what_is_missing(self, task: Mapping[str, Any]) -> bool:
        """Say once what isn't where the record has it; return whether there was any."""
        standing = self._standing_at(task)
        missing = [
            f"{one['container']} isn't there"
            for one in task["left"]
            if (one["container"], one["place"]) not in standing
        ]
        told = [one for one in missing if f"{task['task']} {one}" not in self.crew]
        for one in told:
            self.crew.add(f"{task['task']} {one}")
            place = next(at["place"] for at in task["left"] if one.startswith(at["container"]))
            await self._give("report_found", task=task["task"], what=one, place=place)
        return bool(told)

    def _standing_at(self, task: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what really stands at the places that a line's clearance names.

        That is also what an arm really holds from whose gripper something is to be taken.
        """
        grippers = {str(one["place"]) for one in task["left"]}
        held = [
            (self.world.held_by(place.removeprefix(f"{GRIPPER}/")), place)
            for place in sorted(grippers)
            if place.startswith(f"{GRIPPER}/")
        ]
        return [
            *((thing, place) for thing, place in held if thing is not None),
            *(
                (thing, place)
                for place in task["ask"]["resources"]
                if place in self.world.places
                for thing in self.world.things_at(place)
            ),
        ]

    async def _sign_if_clear(self, task: Mapping[str, Any]) -> bool:
        """Sign that nothing is left, or say what is; return whether anything was done."""
        here = self._standing_at(task)
        for thing, place in here:
            await self._report_found(task, thing, place)
        if here or task["left"]:
            return bool(here)
        await self._give("clear_line", task=task["task"])
        return True

    async def _carry_away(
        self, task: Mapping[str, Any], thing: str, to: str, *, sealed_off: bool
    ) -> None:
        """Say where a thing is carried, by the label that is on it, and carry it there.

        What is still joined is sealed off first; that they do so they say with it, where the
        record has the joint.
        """
        label = self._label(thing)
        if label is not None:
            await self._give(
                "carry_away", task=task["task"], label=label, to=to, sealed_off=sealed_off
            )
        if self.world.joint_of(thing) is not None:
            self.world.hands.seal_off(thing, by=self.name)
        self.world.hands.carry_out(thing, to, by=self.name)

    def _where_to(self, thing: str) -> str:
        """Return where a thing is carried: what holds or held cells isn't simply thrown away."""
        kit = self.world.kits.get(thing)
        parts = (thing,) if kit is None else kit.parts()
        return QUALITY_CONTROL if any(map(self.world.touched, parts)) else WASTE_BIN

    async def _report_found(self, task: Mapping[str, Any], thing: str, place: str) -> None:
        what = self._label(thing) or "something without a label"
        await self._give("report_found", task=task["task"], what=what, place=place)

    async def _reconcile(self, task: Mapping[str, Any]) -> None:
        """State what the World shows of an act in doubt, whoever stated something before."""
        question = task["ask"]
        since = Instant.read(question["intended_at"]) - self.room_began
        if str(task["task"]).endswith(LATE):
            verdict = times_done(self.world, question["act"], since.to(second))
            await self._give("reconcile", task=task["task"], verdict=verdict)
            return
        verdict, done = what_was_done(
            self.world, question["act"], question["equipment"], since.to(second)
        )
        offered = [choice["name"] for choice in question["choices"]]
        if verdict not in offered:  # a freezer that stopped: they take out what is in it
            verdict, done = offered[-1], f"{self._stage(question['act']['place']):.1f} °C"
        act, values = question["act"], dict[str, str]()
        if verdict == "all" and act["kind"] == "hand_act":
            values = self._what_it_shows(act, act["containers"], str(act["port"]))
        await self._give("reconcile", task=task["task"], verdict=verdict, done=done, values=values)

    def _stage(self, place: str) -> float:
        return self.world.chamber_temperature(self.world.chamber_of(place))

    async def _do(self, task: Mapping[str, Any], boxes: asyncio.TaskGroup) -> bool:
        name = str(task["task"])
        if name in self._at_a_box or not self._may_join_in(f"{task['batch']}/{task['path']}"):
            return False
        if task["status"] == "offered":
            await self._give("take_task", task=name)
        act = task["ask"]
        work_s = HAND_WORK_S[act["work"]] + BOX_RUNS_S.get(act["work"], 0.0)
        self._moment(Moment.ARRIVED, act)
        asyncio.get_running_loop().call_later(work_s / 2, self._moment, Moment.MOVING, act)
        await asyncio.sleep(HAND_WORK_S[act["work"]])
        if act["work"] in BOX_RUNS_S:
            self._at_a_box.add(name)
            boxes.create_task(self._come_back(name, act))
        else:
            await self._finish(name, act)
        return True

    async def _come_back(self, name: str, act: Mapping[str, Any]) -> None:
        """Let a box run by itself, and be there at its end, whoever's shift it is."""
        await asyncio.sleep(BOX_RUNS_S[act["work"]])
        try:
            await self._finish(name, act)
        except RefusedError:
            return  # it was withdrawn
        finally:
            self._at_a_box.discard(name)

    async def _finish(self, name: str, act: Mapping[str, Any]) -> None:
        try:
            values = self._by_hand(act)
        except ImpossibleError as cannot:
            await self._give("report_task", task=name, declined=str(cannot))
            return
        self._moment(Moment.ENDED, act)
        await self._give("report_task", task=name, values=values)

    def _moment(self, moment: Moment, act: Mapping[str, Any]) -> None:
        if self.on_moment is not None:
            self.on_moment(HANDS, moment, str(act["work"]))

    async def _answer(self, task: Mapping[str, Any]) -> bool:
        """Return whether this person may: who answers for a phase doesn't verify it either."""
        if _is_clearance(task):
            return await self._clear(task)
        if not self._may_join_in(f"{task['batch']}/{task['path']}"):
            return False
        if task["status"] == "offered":
            await self._give("take_task", task=task["task"])
        await asyncio.sleep(LOOK_S)
        question = task["ask"]
        if _is_doubt(task):
            await self._reconcile(task)
            return True
        choices = [choice["name"] for choice in question.get("choices", [])]
        values = {entry["name"]: _usual(entry) for entry in question.get("entries", [])}
        await self._give(
            "answer_task",
            task=task["task"],
            choice=choices[0] if choices else "",
            values=values,
        )
        return True

    def _may_join_in(self, phase: str) -> bool:
        """Leave a phase's hand work to two people, so that another one can verify it."""
        mine = f"{phase} by {self.name}"
        others = [one for one in self.crew if one.startswith(f"{phase} by ") and one != mine]
        if len(others) >= HANDS_IN_A_PHASE_MOST:
            return False
        self.crew.add(mine)
        return True

    def _by_hand(self, act: Mapping[str, Any]) -> dict[str, str]:
        """Do the work in the World; return what the task asks to be reported."""
        hands = self.world.hands
        asked = cast("list[str]", act["containers"])
        things = [self._in_hand(one) for one in asked]
        asked_port = str(act["port"])
        port = self.slips.ports.get(asked_port, asked_port)
        kit = self._kit_in_hand(str(act["kit"])) if act["kit"] else ""
        match act["work"]:
            case "weld":
                hands.weld(things[0], kit, port, by=self.name)
                self._put(things, act["at"])
            case "connect_aseptically":
                hands.aseptic_connect(things[0], kit, port, by=self.name)
                self._put(things, act["at"])
            case "test_leak" | "inspect_confluence" | "clear_line":
                pass  # they look
            case "receive" | "install_kit" | "hang" | "unhang" | "load" | "store":
                self._put(things, act["at"])
            case "load_counter" | "unload_counter":
                self._put(things, act["at"])
            case "seal_off":
                hands.seal_off(things[0], by=self.name)
                self._put(things, act["at"])
            case "draw_sample":
                volume = Volume.read(act["parameters"]["volume"])
                hands.draw_sample(things[0], things[1], volume.to(uL), by=self.name)
            case "select_magnetically":
                marker = str(act["parameters"].get("marker", "CD4/CD8"))
                hands.select_magnetic(things[0], things[1], by=self.name, marker=marker)
            case "apply_label":
                hands.stick_next_label(self.slips.mislabels.get(asked[0], things[0]), by=self.name)
            case "mix":
                hands.mix(things[0], by=self.name)
            case "discard":
                hands.discard(things[0], by=self.name)
            case other:
                raise AssertionError(f"no technician knows the work {other!r}")
        return self._what_it_shows(act, things, port)

    def _what_it_shows(
        self, act: Mapping[str, Any], things: list[str], port: str
    ) -> dict[str, str]:
        """Return what the World shows of each value that hand work asks to be reported."""
        shown: dict[str, str] = {}
        for name in act["report"]:
            match name:
                case "weld":
                    shown[name] = act["words"][name][0]
                case "leak":
                    tight, leaky = act["words"][name]
                    shown[name] = tight if self._is_tight(port) else leaky
                case "volume":
                    digits = 0 if act["work"] == "receive" else 1
                    volume_mL = self.world.contents(things[:2][-1]).volume_mL
                    shown[name] = f"{volume_mL:.{digits}f} mL"
                case "label":
                    labelled = self.slips.mislabels.get(act["containers"][0], things[0])
                    shown[name] = self.world.label_of(labelled) or ""
                case "confluence":
                    percent = 100 * self.world.hands.inspect_confluence(things[0])
                    shown[name] = f"{percent:.0f} %"
                case other:
                    raise AssertionError(f"no technician can tell the {other!r} of a thing")
        return shown

    def _in_hand(self, thing: str) -> str:
        """Return what the hands work on where ``thing`` is asked for."""
        kit, _, part = thing.partition("/")
        if part:
            return f"{self._kit_in_hand(kit)}/{part}"
        brought = self.slips.brings.get(thing, thing)
        return self.slips.joins.get(thing, brought)

    def _kit_in_hand(self, kit: str) -> str:
        """Return the kit that the hands work on: the docked one, whichever that is."""
        asked = self._in_hand(kit)
        docked = [self.world.at(station) for station in self.world.stations]
        here = [one for one in docked if one in self.world.kits]
        return asked if kit in self.slips.joins or not here else str(here[0])

    def _put(self, things: list[str], places: list[str]) -> None:
        """Put each thing at its place; what hangs on a hook that is needed goes to the rack."""
        for thing, place in zip(things, places, strict=False):
            self.world.hands.put(thing, place, by=self.name)

    def _is_tight(self, port: str) -> bool:
        return all(
            self.world.is_tight(joint.container)
            for joint in self.world.joints()
            if joint.port == port
        )

    async def _scan(self, scan: Mapping[str, Any]) -> None:
        scanner = self.scanners.get(scan["scanner"])
        name = f"{scan['batch']}/{scan['path']}"
        if scanner is None or scanner.is_fixed or name in self.crew:
            return
        self.crew.add(name)
        try:
            await asyncio.sleep(SCAN_S)
            self._look_again(scan)
            label = self._label_there(scan)
            if scan["which"]:
                await self._scan_both(scan, scanner, label)
            elif label is not None and await self._is_awaited(scan):
                scanner.present(label)
        finally:
            self.crew.discard(name)

    async def _scan_both(
        self, scan: Mapping[str, Any], scanner: SerialScanner, there: str | None
    ) -> None:
        """Read two labels off what is there; say no where the new one isn't on it."""
        if scan["which"] != "old" or there is None or not await self._is_awaited(scan):
            return
        if not await self._present_both(scan, scanner, there):
            with suppress(RefusedError):  # somebody else was quicker
                why = "the new label isn't on it"
                await self._give("reject_task", task=str(scan["labelling"]), why=why)

    async def _present_both(
        self, scan: Mapping[str, Any], scanner: SerialScanner, there: str
    ) -> bool:
        """Hold the label that is asked for and the new one before a scanner; False if it lacks."""
        labels = self.world.labels_on(self.world.labelled(there)[0])
        if self.slips.reads_across:
            labels += self._newest_of_mislabelled(str(scan["container"]))
        own = str(scan["label"]) if scan["label"] in labels else labels[-2:][0]
        scanner.present(own)
        await asyncio.sleep(NEXT_LABEL_S)
        if scan["beside"] in labels:
            scanner.present(str(scan["beside"]))
            return True
        return own != scan["label"]  # it is another thing, and the gate has said so

    async def _is_awaited(self, scan: Mapping[str, Any]) -> bool:
        """Return whether the screen still asks for this scan: the scanner is everybody's."""
        if self.console is None:
            return False
        try:
            shown = await self.console.view("work")
        except GONE:
            return False
        return scan in shown["scans"]

    def _look_again(self, scan: Mapping[str, Any]) -> None:
        """Fetch the right thing if what was presented for this very scan was refused."""
        thing = str(scan["container"])
        if thing not in self.slips.brings:
            return
        asked = f"{scan['batch']}/{scan['path']} {thing} {scan['since']}"
        if asked in self.slips.presented:
            del self.slips.brings[thing]
        self.slips.presented.add(asked)

    def _label_there(self, scan: Mapping[str, Any]) -> str | None:
        """Return the label that is presented: of what was fetched, or of what is there.

        What the record has at the place already is looked at where it is. Anything else is
        fetched from where the record has it, or from the store, and held before the scanner.
        """
        place = str(scan["place"])
        thing = str(scan["container"])
        if thing in self.slips.brings:
            return self._label(self.slips.brings[thing])
        station, _, port = place.rpartition("/")
        if station in self.world.stations:
            kit = self.world.at(station)
            looked_at = self.slips.looks.get(port, port)
            for joint in self.world.joints():
                if joint.kit == kit and joint.port == looked_at:
                    return self._label(joint.container)
            return None
        at, _, arm = place.partition("/")
        if at == GRIPPER:
            return self._label(self.world.held_by(arm))
        stands_at = str(scan["stands_at"])
        if stands_at == place:
            return self._label(self.seen_at(place, thing))
        if stands_at in self.world.places:
            return self._label(self.seen_at(stands_at, thing))
        return self._label(thing)

    def seen_at(self, place: str, thing: str) -> str | None:
        """Return what is taken for ``thing`` at a place: it, the other one, or what is there."""
        things = self.world.things_at(place)
        other = self.slips.joins.get(thing, thing)
        if other in things:
            return other
        if thing in things:
            return thing
        return self.world.at(place) if self.world.holds_one(place) else None

    def _label(self, thing: str | None) -> str | None:
        return None if thing is None else self.world.label_of(thing)

    async def _give(self, name: str, task: str, **arguments: Any) -> None:
        """Give a command; if the daemon dies over it, give the same again when it is back."""
        self._requests += 1
        command = Command(
            request=f"{self.name}-{_terminal(self.session)}-{self._requests}",
            seen=self._seen.get(task, self._version),
            session=self.session,
            name=name,
            arguments={"task": task, **arguments},
            secret=self.secret,
        )
        while True:
            console = self.console
            if console is not None:
                try:
                    self._seen[task] = (await console.give(command)).seq
                except GONE:
                    await self._screen_goes_dark(console)
                except NotAuthorisedError as refused:
                    command = await self._logged_in_again(command, refused, console)
                else:
                    return
            await asyncio.sleep(LOOK_AGAIN_S)

    async def _logged_in_again(
        self, command: Command, refused: NotAuthorisedError, console: Console
    ) -> Command:
        """Return a command in a new session, if it was refused because the session is over."""
        if self.log_in is None or refused.code != SESSION_OVER:
            raise refused
        try:
            self.session = await self.log_in()
        except GONE:
            await self._screen_goes_dark(console)
        return command.model_copy(update={"session": self.session})


def _terminal(session: str) -> str:
    """Return what tells requests given here from what this person asked another day."""
    return sha256(session.encode()).hexdigest()[:_TERMINAL_CHARACTERS]


def _urgency(task: Mapping[str, Any]) -> tuple[bool, str]:
    """Return what to sort by: work that somebody waits for comes before what is owed later."""
    return (task["work"] == "verify", str(task["due"]))


_SHOWS_AS: Final[Mapping[str, str]] = {
    "weld": "joined",
    "connect_aseptically": "joined",
    "seal_off": "parted",
    "draw_sample": "moved_liquid",
    "select_magnetically": "selected",
    "mix": "mixed",
    "apply_label": "labelled",
}
"""What hand work that isn't carrying leaves in the room each time that it is done."""


def _is_doubt(task: Mapping[str, Any]) -> bool:
    return str(task["task"]).endswith((DOUBT, LATE))


def _is_clearance(task: Mapping[str, Any]) -> bool:
    return str(task["task"]).endswith(CLEARANCE)


def _usual(entry: Mapping[str, Any]) -> str:
    """Return what a person enters where nothing is wrong: the middle of what is allowed."""
    choices = entry.get("choices", [])
    if choices:
        return str(choices[0])
    return str(entry.get("lowest") or "as expected")


def times_done(world: World, act: Mapping[str, Any], since_s: float) -> str:
    """Return what two people find when they look at hand work that was reported late."""
    world.catch_up()
    things, shows = set(act["containers"]), _SHOWS_AS.get(act["work"])
    times = sum(
        effect.kind == shows and effect.at_to_s >= since_s and things <= set(effect.things)
        for effect in world.ledger
    )
    return "twice" if times > 1 else "same"


def what_was_done(
    world: World, act: Mapping[str, Any], equipment: str, since_s: float
) -> tuple[str, str]:
    """Return what two people find when they look at an act in doubt: verdict and amount."""
    world.catch_up()
    wanted = str(act.get("target", ""))
    found = [
        effect
        for effect in world.ledger
        if effect.by == equipment and effect.at_to_s >= since_s and not effect.consequence
    ]
    match act["kind"]:
        case "pump_volume":
            asked = Volume.read(act["volume"])
            moved_mL = sum(
                one.amount for one in found if one.kind == "moved_liquid" and wanted in one.things
            )
            if moved_mL < 0.01:
                return ("nothing", "")
            if moved_mL > 0.98 * asked.to(mL):
                return ("all", str(asked))
            return ("part", f"{moved_mL:.3f} mL")
        case "pick_container":
            held = world.held_by(equipment) == act["container"]
            return ("all", "1") if held else ("nothing", "")
        case "place_container":
            there = world.at(act["place"]) == act["container"]
            return ("all", "1") if there else ("nothing", "")
        case "spin":
            asked_s = Duration.read(act["at_speed"]).to(second)
            spun_s = sum(one.amount for one in found if one.kind == "spun")
            return ("all", act["at_speed"]) if spun_s >= 0.98 * asked_s else ("nothing", "")
        case "set_valves":
            opened = [one.opened for one in world.stations.values() if one.valves == equipment]
            return ("all", "1") if opened == [set(act["open"])] else ("nothing", "")
        case "ramp_segment":
            to_degC = Temperature.read(act["to"]).to(degC)
            reached = [float(one.detail["reached_degC"]) for one in found if one.kind == "ramped"]
            return ("all", "1") if reached and abs(reached[-1] - to_degC) < 0.1 else ("nothing", "")
        case "hand_act":
            thing = act["containers"][0] if act["containers"] else ""
            by_hand = any(
                one.at_to_s >= since_s and not one.consequence and thing in one.things
                for one in world.ledger
            )
            return ("all", "1") if by_hand else ("nothing", "")
        case _:
            return ("all", "1") if found else ("nothing", "")
