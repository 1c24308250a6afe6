"""``cellwright answer``: what people owe, and their answers to it.

Without a name it lists open tasks, awaited scans, holds, deviations and alarms. With one it
shows it whole, and takes, reports, decides, verifies or signs it. At a keyboard it asks for
what is missing; in a script everything stands in options.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from chain_of_identity.pre_printed import read_applied
from orchestrator.cli.at_console import As, AtConsole, at_console, names_of, pairs
from orchestrator.cli.hands import read_in, scan_in, work_in
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder
from orchestrator.cli.passwords import PasswordFile
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.console.text_gate import admitted
from orchestrator.kernel.desks import Given
from orchestrator.kernel.errors import IdentityRefusedError, RefusedError
from orchestrator.kernel.tasks import CLEARANCE, DOUBT, LATE
from orchestrator.people.roles import MAY, Role

WIDTH_MAX: Final = 100
_TWO_SIGN: Final = (DOUBT, LATE)
"""How the names of tasks end that two people answer by what they found."""
LABEL: Final = "label"
"""What is reported of a label that hands stuck on."""
LISTS: Final = ("tasks", "scans", "holds", "deviations", "alarms")


class Move(StrEnum):
    """What a person may command a batch to do."""

    HOLD = "hold"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ABORT = "abort"


class Found(StrEnum):
    """How much of an act in doubt was done; of a late report, what it means."""

    ALL = "all"
    PART = "part"
    NOTHING = "nothing"
    SAME = "same"
    TWICE = "twice"
    MISTAKEN = "mistaken"


@dataclass(slots=True)
class Asked:
    """What a call asks for beside the thing that it names."""

    take: bool = False
    done: bool = False
    verify: bool = False
    read: list[str] = field(default_factory=list[str])
    reject: str = ""
    enter: dict[str, str] = field(default_factory=dict[str, str])
    label: str = ""
    choose: str = ""
    decline: str = ""
    take_back: str = ""
    found: Found | None = None
    amount: str = ""
    move: Move | None = None
    part: str = ""
    why: str = ""
    acknowledge: bool = False
    close: bool = False
    deviation: str = ""
    carried: str = ""
    sealed_off: bool = False
    left: str = ""
    at: str = ""
    room: Path | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing is asked for but to look."""
        asked = (self.take, self.done, self.verify, self.enter, self.label, self.choose)
        cleared = (self.carried, self.sealed_off, self.left)
        return not any((*asked, *cleared, self.read, self.reject, self.decline, self.take_back,
                        self.found, self.move,
                        self.acknowledge, self.close, self.deviation))  # fmt: skip


def run(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="A task, batch, awaited container, deviation or alarm, by its name or a part of "
            "it that fits one only; left out: list what is open",
        ),
    ] = None,
    take: Annotated[bool, typer.Option("--take", help="Take the task: it is yours then")] = False,
    done: Annotated[bool, typer.Option("--done", help="Report it as done, or as so")] = False,
    enter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A value that it asks for; may be repeated"),
    ] = None,
    label: Annotated[
        str,
        typer.Option(metavar="TEXT", help="The label that you stuck on; the task is done with it"),
    ] = "",
    choose: Annotated[str, typer.Option(metavar="NAME", help="Your decision")] = "",
    decline: Annotated[str, typer.Option(metavar="WHY", help="Say why it can't be done")] = "",
    take_back: Annotated[
        str,
        typer.Option(metavar="WHY", help="Take it from who has it and is absent, and say why"),
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Say that it was done as reported, by another person")
    ] = False,
    read: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL", help="With --verify: a label as you read it there; may be repeated"
        ),
    ] = None,
    reject: Annotated[
        str,
        typer.Option(metavar="WHY", help="Say that it isn't as it was reported; nothing goes on"),
    ] = "",
    found: Annotated[
        Found | None,
        typer.Option(help="How much of an act in doubt was done; signed, by two people in turn"),
    ] = None,
    amount: Annotated[
        str, typer.Option(metavar="N", help='With `--found part`: "12.5 mL"; "-38 °C" of freezing')
    ] = "",
    command: Annotated[
        Move | None, typer.Option("--command", help="What the batch is to do")
    ] = None,
    part: Annotated[
        str, typer.Option(metavar="PATH", help="The unit procedure; else all of the batch")
    ] = "",
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", help="Say that you have seen the alarm")
    ] = False,
    deviation: Annotated[
        str, typer.Option(metavar="TEXT", help="Open a deviation of the batch")
    ] = "",
    close: Annotated[
        bool, typer.Option("--close", help="Close the deviation; signed, with --why")
    ] = False,
    carried: Annotated[
        str,
        typer.Option(metavar="LABEL", help="What you carry away from a line, by its label; --at"),
    ] = "",
    sealed_off: Annotated[
        bool,
        typer.Option(
            "--sealed-off", help="With --carried: you sealed it off the kit it was joined to"
        ),
    ] = False,
    left: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="Its label, or what you see: it stands at a line and shouldn't; --at",
        ),
    ] = "",
    at: Annotated[
        str, typer.Option(metavar="PLACE", help="Where it is carried to, or where it stands")
    ] = "",
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why")] = "",
    room: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The emulated room in which your hands do or scan it, if it is one"
        ),
    ] = None,
    seen: Annotated[
        int | None,
        typer.Option(
            metavar="VERSION", help="The version that you decide on; else what was last shown here"
        ),
    ] = None,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """List what people owe, or answer one of it.

    With --json the list is one object with version, tasks, scans, holds, deviations and
    alarms; a thing that is only named, that thing; an answer, one object with answered, command
    and event.
    """
    asked = Asked(
        take=take, done=done, verify=verify, read=read or [], reject=reject,
        enter=pairs(enter, option="--enter"),
        label=read_applied(label) if label else "", choose=choose, decline=decline, found=found,
        amount=amount, move=command, part=part, why=why, acknowledge=acknowledge, close=close,
        deviation=deviation, carried=carried, sealed_off=sealed_off, left=left, at=at, room=room,
        take_back=take_back,
    )  # fmt: skip
    with at_console(data, login, password_file) as console:
        view = {**console.look("deviations"), **console.look("work")}
        if what is None:
            if not asked.is_silent:
                raise CallRefusedError(
                    "call cellwright answer",
                    why="it isn't said what is answered",
                    do_next="Name one of what `cellwright answer` lists",
                )
            _list(console, view, as_json=as_json)
            console.listed(view["version"])
            return
        answering = _Answering(console, view, asked, seen, as_json=as_json)
        answering.answer(admitted(what, what="the name of what is answered"))


# The list ---------------------------------------------------------------------------------


def _list(console: AtConsole, view: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        say_json({"version": view["version"], **{name: view[name] for name in LISTS}})
        return
    names = names_of(console)
    lines = [*_tasks(view, names), *_scans(view), *_holds(view), *_others(view, names)]
    if not lines:
        say("Nothing is open.")
        return
    say("\n".join(lines).strip("\n"))


def _tasks(view: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    now = [one for one in view["tasks"] if one["work"] != "verify"]
    owed = [one for one in view["tasks"] if one["work"] == "verify"]
    for heading, tasks in (("To be done", now), ("To be verified, by when it says", owed)):
        if tasks:
            yield f"\n{heading}"
        for one in sorted(tasks, key=lambda task: str(task["due"])):
            yield f"  {one['task']}"
            yield from _wrapped(one["text"], 4)
            for thing, name in one["things"].items():
                yield f"    {thing} is the {name}"
            yield from _wrapped(_standing(one, names), 4)


def _standing(task: Mapping[str, Any], names: Mapping[str, str]) -> str:
    told = {
        "offered": "free to be taken",
        "taken": f"taken by {names.get(task['taken_by'], task['taken_by'])}",
        "reported": f"reported by {names.get(task['reported_by'], task['reported_by'])}, "
        "and another person verifies",
    }.get(task["status"], task["status"])
    due = f"; due {_when(task['due'])}" if task["due"] else ""
    return f"[{told}{due}]"


def _scans(view: Mapping[str, Any]) -> Iterator[str]:
    if view["scans"]:
        yield "\nTo be scanned"
    for one in view["scans"]:
        yield f"  {one['container']} at {one['place']} with {one['scanner']}"
        if one["which"]:
            yield f"    {one['label']} first, then {one['beside']}, which was stuck on beside it"
        if one["name"]:
            yield f"    the {one['name']}"
        yield f"    [for {one['batch']}, since {_when(one['since'])}]"


def _holds(view: Mapping[str, Any]) -> Iterator[str]:
    if view["holds"]:
        yield "\nHeld or paused"
    for one in view["holds"]:
        yield f"  {one['batch']} {one['path']}: {one['state']}"
        yield from _wrapped(one["why"] or "no reason was given", 4)


def _others(view: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    if view["deviations"]:
        yield "\nDeviations that are open"
    for one in view["deviations"]:
        who = names.get(one["opened_by"], one["opened_by"])
        yield f"  {one['deviation']} of {one['batch']}"
        yield from _wrapped(f"{one['text']} [opened by {who}]", 4)
    open_alarms = [one for one in view["alarms"] if not one["acknowledged_by"]]
    if open_alarms:
        yield "\nAlarms that nobody has acknowledged"
    for one in open_alarms:
        yield f"  {one['alarm']} ({one['tier']}{', over' if one['cleared'] else ''})"
        yield from _wrapped(f"{one['cause'].rstrip('.')}. {one['action'].rstrip('.')}.", 4)


def _when(instant: str) -> str:
    """Return an instant to the minute, as people at the cell read it."""
    return f"{instant[:10]} {instant[11:16]} UTC"


def _wrapped(text: str, indent: int) -> list[str]:
    width = min(shutil.get_terminal_size((80, 24)).columns, WIDTH_MAX)
    blank = " " * indent
    return textwrap.wrap(
        text,
        width,
        initial_indent=blank,
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    )


# One answer -------------------------------------------------------------------------------


class _Answering:
    """One thing that a person answers."""

    def __init__(
        self,
        console: AtConsole,
        view: Mapping[str, Any],
        asked: Asked,
        seen: int | None,
        *,
        as_json: bool,
    ) -> None:
        self._console = console
        self._view = view
        self._asked = asked
        self._seen = seen
        self._as_json = as_json

    def answer(self, what: str) -> None:
        """Show or answer what is named."""
        asked = self._asked
        if asked.is_silent and asked.room is None and (batch := self._batch(what)):
            self._show_batch(batch)
        elif asked.move is not None or asked.deviation:
            self._command_batch(what)
        elif asked.acknowledge:
            name = self._one_of("alarms", "alarm", what)["alarm"]
            self._give("acknowledge_alarm", name, seen=self._seen_of(name), alarm=name)
        elif asked.close:
            self._close(self._one_of("deviations", "deviation", what))
        elif asked.reject and (label := self._labelling(what)):
            self._give(
                "reject_task", label, seen=self._rests_on(label), task=label, why=asked.reject
            )
        elif scans := [one for one in self._view["scans"] if one["container"] == what]:
            self._scan(scans[0])
        else:
            if not any(what in one["task"] for one in self._view["tasks"]):
                self._refuse_unawaited(what)
            self._task(self._one_of("tasks", "task", what))

    def _one_of(self, kind: str, key: str, what: str) -> Mapping[str, Any]:
        """Return the thing that is named, or that a part of a name fits alone."""
        every: list[Mapping[str, Any]] = self._view[kind]
        fitting = [one for one in every if one[key] == what] or [
            one for one in every if what in one[key]
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            some = ", ".join(str(one[key]) for one in fitting[:3])
            why = f"it fits {len(fitting)} that are open: {some}"
        else:
            why = f"no open {key} is called so; it may be answered already"
        raise RefusedError(
            f"answer {what}",
            why=why,
            do_next="Look at what is open now: `cellwright answer`",
        )

    def _batch(self, what: str) -> Mapping[str, Any] | None:
        """Return the batch of this very name, if there is one."""
        batches = self._console.look("batches")["batches"]
        return next((one for one in batches if one["batch"] == what), None)

    def _show_batch(self, batch: Mapping[str, Any]) -> None:
        """Show where a batch is, what holds it, and what it may be commanded by whom."""
        name = str(batch["batch"])
        self._console.showed(name, self._view["version"])
        if self._as_json:
            say_json(dict(batch))
            return
        say(f"{name}: {batch['status']}, {batch['state']}")
        for one in batch["phases"]:
            say(f"  {one['path']}: {one['state']}")
            if one["why"]:
                say("\n".join(_wrapped(one["why"], 4)))
        for one in self._view["holds"]:
            if one["batch"] == name and one["path"] not in {at["path"] for at in batch["phases"]}:
                say(f"  {one['path']}: {one['state']}")
                say("\n".join(_wrapped(one["why"] or "no reason was given", 4)))
        for move in Move:
            say(f"  Command --command {move}: {_LEADS_TO[move]}; {_who_may(str(move))} may.")
        say(f'  Open a deviation with --deviation "TEXT"; {_who_may("open_deviation")} may.')

    def _refuse_unawaited(self, what: str) -> None:
        """Refuse to scan what no scanner awaits.

        Raises:
            RefusedError: It is a thing on file, and another one is awaited, or none.
        """
        things = self._console.look("materials")["containers"]
        if not any(what in (one["container"], one["label"]) for one in things):
            return
        awaited = [f"{one['container']} at {one['place']}" for one in self._view["scans"]]
        raise RefusedError(
            f"scan {what}",
            why="it isn't the one that is awaited" if awaited else "no scan is awaited now",
            do_next=f"Scan {' or '.join(awaited)}"
            if awaited
            else "Look what is due: `cellwright answer`",
        )

    def _give_on_task(self, command: str, name: str, **arguments: Any) -> None:
        given = self._give(command, name, seen=self._rests_on(name), task=name, **arguments)
        self._console.did(name, given.seq)

    def _labelling(self, what: str) -> str:
        """Return the labelling that two scans of a container are to prove, if they are awaited."""
        scans = [one for one in self._view["scans"] if one["container"] == what and one["which"]]
        return str(scans[0]["labelling"]) if scans else ""

    def _give(self, command: str, told: str, *, seen: int, **arguments: Any) -> Given:
        given = self._console.give(command, seen=seen, **arguments)
        if self._as_json:
            say_json({"answered": told, "command": command, "event": given.seq})
        else:
            say(f"{_DID[command]} {told}")
        return given

    def _seen_of(self, name: str) -> int:
        """Return the version of a thing that was shown here, or that is said to be decided on."""
        return self._console.seen(name) if self._seen is None else self._seen

    def _rests_on(self, name: str) -> int:
        """Return the version of a thing that this person decides on.

        Raises:
            RefusedError: None was shown at this terminal. Nothing happened.
        """
        seen = self._seen_of(name)
        if seen < 0:
            raise RefusedError(
                f"answer {name}",
                why="this terminal has shown nothing that it could rest on",
                do_next="Look at what is so now (cellwright answer), and decide on that",
            )
        return seen

    def _command_batch(self, batch: str) -> None:
        asked = self._asked
        if asked.deviation:
            self._open_deviation(batch)
            return
        is_safe = asked.move in (Move.HOLD, Move.PAUSE)
        seen = self._seen_of(batch) if is_safe else self._rests_on(batch)
        part, why = asked.part, asked.why
        self._give(str(asked.move), batch, seen=seen, batch=batch, unit_procedure=part, why=why)

    def _open_deviation(self, batch: str) -> None:
        text = self._asked.deviation
        given = self._console.give(
            "open_deviation", seen=self._seen_of(batch), batch=batch, text=text
        )
        known = {one["deviation"] for one in self._view["deviations"]}
        name = next(
            str(one["deviation"])
            for one in self._console.look("deviations")["deviations"]
            if one["deviation"] not in known and one["batch"] == batch
        )
        if self._as_json:
            did = {"answered": batch, "command": "open_deviation", "event": given.seq}
            say_json({**did, "deviation": name})
        else:
            say(f"{name} is open, a deviation of {batch}")

    def _close(self, deviation: Mapping[str, Any]) -> None:
        if not self._asked.why:
            raise CallRefusedError(
                f"close deviation {deviation['deviation']}",
                why="a deviation is closed with a reason",
                do_next="Give --why",
            )
        name = deviation["deviation"]
        seen, why = self._rests_on(name), self._asked.why
        self._give("close_deviation", name, seen=seen, deviation=name, reason=why)

    def _scan(self, scan: Mapping[str, Any]) -> None:
        if self._asked.room is None:
            raise CallRefusedError(
                f"scan {scan['container']}",
                why="a scan comes from the scanner, never from the keyboard",
                do_next=f"Hold its label before {scan['scanner']}; in an emulated room give --room",
            )
        self._console.require("report_task")  # who scans works at the cell
        scan_in(self._asked.room, scan, by=self._me())
        if self._as_json:
            told = {"answered": scan["container"], "command": "scan"}
            say_json({**told, "event": self._view["version"]})
        else:
            say(f"Scanned at {scan['place']}: what is there.")

    def _me(self) -> str:
        """Return the user id of who is logged in."""
        login = self._console.login
        people = self._console.look("people")["people"]
        return next(str(one["user"]) for one in people if one["login"] == login)

    # Tasks

    def _task(self, task: Mapping[str, Any]) -> None:
        asked, name = self._asked, str(task["task"])
        is_asking = asked.is_silent and sys.stdin.isatty() and not self._as_json
        if asked.is_silent:
            self._show(task)
            if not is_asking or not self._fill_in(task):
                return
        if name.endswith(CLEARANCE) and not asked.take:
            self._clear(name)
        elif asked.found is not None:
            self._reconcile(name)
        elif asked.reject:
            self._give_on_task("reject_task", name, why=asked.reject)
        elif asked.verify or asked.read:
            self._verify(task)
        elif asked.take_back:
            self._give_on_task("take_back_task", name, why=asked.take_back)
        elif asked.decline:
            command = "report_task" if task["work"] == "do" else "answer_task"
            self._give_on_task(command, name, declined=asked.decline)
        elif asked.done or asked.label:
            self._report(task)
        elif asked.choose or asked.enter:
            self._give_on_task("answer_task", name, choice=asked.choose, values=asked.enter)
        else:
            self._give_on_task("take_task", name)

    def _clear(self, name: str) -> None:
        asked = self._asked
        if asked.carried:
            seen = self._rests_on(name)
            told = f"{asked.carried}{', sealed off first' if asked.sealed_off else ''}"
            self._give("carry_away", told, seen=seen, label=asked.carried, to=asked.at,
                       sealed_off=asked.sealed_off)  # fmt: skip
        elif asked.left:
            self._give_on_task("report_found", name, what=asked.left, place=asked.at)
        else:
            self._give_on_task("clear_line", name)

    def _verify(self, task: Mapping[str, Any]) -> None:
        asked, name = self._asked, str(task["task"])
        read = asked.read
        if not read and asked.room is not None and task["to_read"]:
            self._console.require("verify_task")
            read = read_in(asked.room, task["ask"], by=self._me())
        self._give_on_task("verify_task", name, read=read)

    def _reconcile(self, name: str) -> None:
        asked = self._asked
        values = {**asked.enter, **({LABEL: asked.label} if asked.label else {})}
        self._give_on_task(
            "reconcile",
            name,
            verdict=str(asked.found),
            done=asked.amount,
            values=values,
        )

    def _report(self, task: Mapping[str, Any]) -> None:
        name, asked = str(task["task"]), self._asked
        if task["status"] == "reported":
            names = names_of(self._console)
            raise RefusedError(
                f"answer {name} with --done",
                why=f"{names.get(task['reported_by'], task['reported_by'])} reported it already",
                do_next="Have another person go, look, and say --verify or --reject"
                if not name.endswith(_TWO_SIGN)
                else "Have another person go, look, and say --found",
            )
        if _asks_for_more(task):
            raise CallRefusedError(
                f"answer {name} with --done",
                why="it asks for more than that",
                do_next="Give --enter, --choose, --found or --verify, as it asks",
            )
        if asked.label and LABEL not in task["ask"].get("report", []):
            raise CallRefusedError(
                f"answer {name} with --label",
                why="no label is stuck on in it",
                do_next="Leave --label out, or name the task that asks for one",
            )
        if task["work"] != "do":
            self._give_on_task("answer_task", name, choice="", values={})
            return
        values = dict(asked.enter)
        if asked.label:
            values[LABEL] = asked.label
        if asked.room is not None:
            self._console.require("report_task")
            if task["status"] == "offered":
                taken = self._console.give("take_task", seen=self._rests_on(name), task=name)
                self._seen = taken.seq  # what this person has just done to it is known to them
            values = {**work_in(asked.room, task["ask"], by=self._me()), **values}
        self._give_on_task("report_task", name, values=values)

    def _show(self, task: Mapping[str, Any]) -> None:
        self._console.showed(str(task["task"]), self._view["version"])
        if self._as_json:
            say_json(dict(task))
            return
        names = names_of(self._console)
        say(f"{task['task']}")
        say("\n".join([*_wrapped(task["text"], 2), *_wrapped(_standing(task, names), 2)]))
        for thing, named in task["things"].items():
            say(f"  {thing} is the {named}")
        for one in task.get("left", ()):
            if one["joined"]:
                say(f"  {one['label']} is joined to {one['joined']}: with --carried, --sealed-off")
        for heading, told in (("Evidence", task["evidence"]), ("Reported", task["reported"])):
            if told:
                say(heading)
            for key, value in told.items():
                say(f"  {_words(key)}: {value}")
        for line in _how(task):
            say(line)

    def _fill_in(self, task: Mapping[str, Any]) -> bool:
        """Ask at the keyboard for what the task wants; return whether there is an answer."""
        asked = self._asked
        if task["status"] == "reported" or task["work"] == "verify":
            if task["task"].endswith(_TWO_SIGN):
                self._ask_found(task)
            else:
                asked.read = [_typed(_first_up(one)) for one in task["to_read"]]
                asked.verify = _yes("Was it done so?")
                if not asked.verify:
                    asked.reject = _typed("What is there instead")
            return asked.verify or bool(asked.reject) or asked.found is not None
        if task["task"].endswith(_TWO_SIGN):
            self._ask_found(task)
            return asked.found is not None
        if task["work"] == "do":
            if task["status"] == "offered":
                asked.take = _yes("Take it?")
                return asked.take
            asked.done = _yes("Is it done?")
            if asked.done and asked.room is None:
                asked.enter = _typed_values(_owed(task))
            return asked.done
        for entry in task["ask"].get("entries", []):
            asked.enter[entry["name"]] = _typed(f"{_words(entry['name'])}{_between(entry)}")
        choices = [str(one["name"]) for one in task["ask"].get("choices", [])]
        if choices:
            asked.choose = _typed(f"Choose {' or '.join(choices)}")
        if not _asks_for_more(task):
            asked.done = _yes("Is it so?")
        return bool(asked.choose or asked.enter or asked.done)

    def _ask_found(self, task: Mapping[str, Any]) -> None:
        if task["task"].endswith(LATE):
            text = _typed("What does it mean: same, twice or mistaken")
        else:
            text = _typed("How much was done: all, part or nothing")
        if text in list(Found):
            self._asked.found = Found(text)
            if text == Found.ALL:
                self._asked.enter = _typed_values(_owed(task))
            if text == Found.PART:
                self._asked.amount = _typed("How much, with its unit")


_DID: Final[Mapping[str, str]] = {
    "take_task": "Taken:",
    "take_back_task": "Taken back:",
    "report_task": "Reported:",
    "answer_task": "Answered:",
    "verify_task": "Verified:",
    "reject_task": "Rejected:",
    "reconcile": "Signed:",
    "clear_line": "Signed:",
    "carry_away": "Carried away:",
    "report_found": "Reported of",
    "acknowledge_alarm": "Acknowledged:",
    "close_deviation": "Closed:",
    "hold": "To be held:",
    "restart": "To go on:",
    "pause": "To pause:",
    "resume": "To go on:",
    "stop": "To be stopped:",
    "abort": "To be aborted:",
}


_LEADS_TO: Final[Mapping[Move, str]] = {
    Move.HOLD: "it comes to rest where that is safe",
    Move.RESTART: "what was held goes on",
    Move.PAUSE: "it waits before its next act",
    Move.RESUME: "what was paused goes on",
    Move.STOP: "it ends in good order",
    Move.ABORT: "it ends at once",
}


def _who_may(command: str) -> str:
    """Return the roles that may give a command, as people say them."""
    *others, last = [role.replace("_", " ") for role in Role if role in MAY[command]]
    return f"{', '.join(others)} or {last}" if others else last


def _how(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the task is answered, in options."""
    ask = task["ask"]
    if task["task"].endswith(_TWO_SIGN) and task["status"] == "reported":
        yield "  What the first person stated isn't shown, on purpose: both state what they found."
    if task["task"].endswith(DOUBT):
        yield "  Answer with --found all, part (and --amount) or nothing; two people sign it."
        if names := _options(_owed(task)):
            yield f"  With --found all give what the work shows:{names}."
    elif task["task"].endswith(LATE):
        for choice in ask["choices"]:
            yield f"  Answer with --found {choice['name']}: {choice['leads_to']}."
        yield "  Two people sign it."
    elif task["status"] == "reported" or task["work"] == "verify":
        if task["to_read"]:
            yield f"  Read there: {', '.join(task['to_read'])}."
        read = " --read LABEL" * len(task["to_read"])
        yield f"  Answer with --verify{read}, if you are another person than who did it."
        yield "  If it isn't so, say --reject and why: nothing goes on by it."
    elif task["work"] == "do":
        take = "Take it with --take; report" if task["status"] == "offered" else "Report"
        yield f"  {take} it with --done{_options(_owed(task))}."
    else:
        for entry in ask.get("entries", []):
            yield f'  Enter --enter "{entry["name"]}=..."{_between(entry)}.'
        for choice in ask.get("choices", []):
            yield f"  Choose --choose {choice['name']}: {choice['leads_to']}."
        if not _asks_for_more(task):
            yield "  Answer with --done if it is so, else with --decline and why."


def _owed(task: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what a report of a task's hand work owes, or of the hand work that it doubts.

    Each with the words that it may be, where it is one of some.
    """
    work: Mapping[str, Any] = task["ask"]["act"] if task["task"].endswith(DOUBT) else task["ask"]
    words = work.get("words", {})
    return {str(name): tuple(words.get(name, ())) for name in work.get("report", ())}


def _options(owed: Mapping[str, tuple[str, ...]]) -> str:
    return "".join(
        " --label TEXT" if name == LABEL else f' --enter "{name}={"|".join(words) or "..."}"'
        for name, words in owed.items()
    )


def _asks_for_more(task: Mapping[str, Any]) -> bool:
    """Return whether a plain "done" doesn't answer it."""
    if task["status"] == "reported" or task["work"] == "verify":
        return True
    asked = task["ask"].get("entries") or task["ask"].get("choices")
    return task["work"] != "do" and bool(asked or task["task"].endswith(_TWO_SIGN))


def _between(entry: Mapping[str, Any]) -> str:
    if entry.get("choices"):
        return f" ({' or '.join(entry['choices'])})"
    return f" ({entry['lowest']} to {entry['highest']})" if entry.get("lowest") else ""


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _typed(prompt: str) -> str:
    print(f"{prompt}: ", end="", file=sys.stderr, flush=True)
    return admitted(input().strip(), what="what was typed")


def _typed_values(owed: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {
        name: _typed_label() if name == LABEL else _typed(_words(name) + _one_of(words))
        for name, words in owed.items()
    }


def _one_of(words: tuple[str, ...]) -> str:
    return f" ({' or '.join(words)})" if words else ""


def _typed_label() -> str:
    """Ask for a label until one is typed that a roll can have."""
    while True:
        try:
            return read_applied(_typed("The label that is on it now"))
        except IdentityRefusedError as wrong:
            tell(str(wrong))


def _yes(question: str) -> bool:
    return _typed(f"{question} y or n").lower() in ("y", "yes")
