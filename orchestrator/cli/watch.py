"""``cellwright watch``: alarms of its own, also while the daemon is down.

A process of its own, with a unit of its own. It reads the journal and asks the daemon whether
it is there; it knows no instrument, changes nothing, and what it has seen is in memory alone.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder, journal_in
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.console.client import ConsoleClient
from orchestrator.kernel.errors import ProcessError
from orchestrator.kernel.instants import Clock, Instant, SystemClock
from orchestrator.kernel.quantities import Duration, second
from orchestrator.records.watching import DAMAGED_LOOKS, Follower, StandingAlarm

ANSWERS_WITHIN_S: Final = 5.0
"""How long the daemon may take to say that it is there. Set by site."""

SILENT_FOR: Final = 10 * second
"""How long it may be silent before that is an alarm: a restart takes less. Set by site."""

LOOK_EVERY_S: Final = 1.0
ASK_EVERY_S: Final = 2.0

RUN_WITHIN_S: Final = 10.0
"""How long the command that is told of alarms may take. Set by site."""


def run(
    data: DataFolder = None,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, print what stands, and end")
    ] = False,
    command: Annotated[
        str,
        typer.Option(
            "--run",
            metavar="COMMAND",
            help="Run this for each alarm, which it gets as one JSON object on standard input",
        ),
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Print an alarm, one a line, when the daemon is silent, the journal is damaged, time is up.

    It goes on until it is stopped (Ctrl-C or SIGTERM), over each start and end of the daemon.
    With --once the exit status is 0 if no alarm stands. With --json each line is an object with
    at, state (raised or over), alarm, code, what, batches, since and do_next.
    """
    journal = journal_in(data)
    words = shlex.split(command)
    if words and shutil.which(words[0]) is None:
        raise CallRefusedError(
            f"run {words[0]} for each alarm",
            why="there is no such command",
            do_next="Give its path with --run",
        )
    clock = SystemClock()
    watch = Watch(Follower(journal, clock), clock, Teller(as_json=as_json, command=words))
    socket = journal.parent / "console.sock"
    return asyncio.run(_once(watch, socket) if once else _until_told(watch, socket))


async def _once(watch: Watch, socket: Path) -> int:
    from orchestrator.cli.main import status_of_code

    for _ in range(DAMAGED_LOOKS):
        watch.follower.look()
    silent_since = None if await answers(socket) else watch.clock.utc()
    async with asyncio.TaskGroup() as tasks:
        standing = watch.tell(silent_since, tasks)
    if not standing and not watch.teller.as_json:
        say(f"no alarm stands; {_in_sight(watch.follower)}, the daemon answers or isn't needed")
    return max((status_of_code(one.code) for one in standing), default=0)


async def _until_told(watch: Watch, socket: Path) -> int:
    loop = asyncio.get_running_loop()
    ends = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, ends.set)
    async with asyncio.TaskGroup() as tasks:
        working = [
            tasks.create_task(watch.ask_on(lambda: answers(socket))),
            tasks.create_task(watch.look_on(tasks)),
        ]
        await ends.wait()
        for one in working:
            one.cancel()
    return 0


async def answers(socket: Path) -> bool:
    """Return whether the daemon says in time that it is there."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S), ConsoleClient(socket) as console:
            await console.health()
    except (ProcessError, TimeoutError):
        return False
    return True


@dataclass
class Watch:
    """What is known, and what was said of it."""

    follower: Follower
    clock: Clock
    teller: Teller

    def __post_init__(self) -> None:
        """Begin with nothing said, and a daemon that counts as there."""
        self._said: dict[str, StandingAlarm] = {}
        self._silent: tuple[Duration, Instant] | None = None
        self._has_noted_clock = False

    async def ask_on(self, is_there: Callable[[], Any]) -> None:
        """Ask the daemon again and again whether it is there."""
        while True:
            if await is_there():
                self._silent = None
            elif self._silent is None:
                self._silent = (self.clock.boottime(), self.clock.utc())
            await asyncio.sleep(ASK_EVERY_S)

    async def look_on(self, tasks: asyncio.TaskGroup) -> None:
        """Read the journal again and again, and say what changes."""
        self.follower.look()
        tell(f"watching: {_in_sight(self.follower)}")
        while True:
            self.follower.look()
            self.tell(self.silent_since(), tasks)
            await asyncio.sleep(LOOK_EVERY_S)

    def silent_since(self) -> Instant | None:
        """Return since when the daemon is silent, once it is for too long."""
        if self._silent is None:
            return None
        asked, since = self._silent
        return since if self.clock.boottime().base - asked.base >= SILENT_FOR.base else None

    def tell(
        self, silent_since: Instant | None, tasks: asyncio.TaskGroup
    ) -> Iterable[StandingAlarm]:
        """Say what was not said yet, and what is over; return what stands."""
        if self.follower.has_another_clock() and not self._has_noted_clock:
            self._has_noted_clock = True
            tell(
                "watch the limits: the daemon's clock isn't this host's, as in an emulated room. "
                "Only what the daemon itself records as due is told."
            )
        now = self.follower.standing(silent_since)
        for name, one in now.items():
            if name not in self._said:
                self.teller.tell("raised", one, self, tasks)
        for name, one in self._said.items():
            if name not in now:
                self.teller.tell("over", one, self, tasks)
        self._said = now
        return now.values()


@dataclass
class Teller:
    """Prints alarms, and runs a command for each."""

    as_json: bool
    command: list[str]

    def tell(
        self, state: str, alarm: StandingAlarm, watch: Watch, tasks: asyncio.TaskGroup
    ) -> None:
        """Say that an alarm is raised, or over."""
        batches = watch.follower.state.batches
        coi_of = {name: batches[name].coi for name in alarm.batches if name in batches}
        said: dict[str, Any] = {
            "at": str(watch.clock.utc()),
            "state": state,
            "alarm": alarm.name,
            "code": alarm.code,
            "what": alarm.what,
            "batches": [{"batch": one, "coi": coi_of.get(one, "")} for one in alarm.batches],
            "since": None if alarm.since is None else str(alarm.since),
            "do_next": alarm.do_next,
        }
        if self.as_json:
            say_json(said)
        else:
            say(in_words(said))
        sys.stdout.flush()
        if self.command:
            tasks.create_task(_run_for(self.command, json.dumps(said, ensure_ascii=False)))


def in_words(said: dict[str, Any]) -> str:
    """Return an alarm in one line."""
    if said["state"] == "over":
        return f"{said['at']} OVER: {said['what']}"
    whose = ", ".join(f"{one['batch']} of {one['coi']}" for one in said["batches"])
    parts = [f"{said['at']} ALARM: {said['what']}"]
    if whose:
        parts.append(f"batch {whose}" if len(said["batches"]) == 1 else f"batches {whose}")
    if said["since"] is not None:
        parts.append(f"since {said['since']}")
    return f"{'; '.join(parts)}. {said['do_next']}."


async def _run_for(command: list[str], said: str) -> None:
    """Run the command with an alarm on its input; where that fails, say so and go on."""
    why = ""
    try:
        ran = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(RUN_WITHIN_S):
                await ran.communicate(said.encode() + b"\n")
            why = f"it ended with {ran.returncode}" if ran.returncode else ""
        finally:
            if ran.returncode is None:
                ran.kill()
                await ran.wait()
    except TimeoutError:
        why = f"it took longer than {RUN_WITHIN_S:g} s"
    except OSError as failed:
        why = failed.strerror or str(failed)
    if why:
        tell(f"run {command[0]} for an alarm: {why}. Look at it: nobody may have been told.")


def _in_sight(follower: Follower) -> str:
    clocks = sum(1 for one in follower.state.limits.values() if one.maximum)
    return f"{follower.state.seq} events, {clocks} limits run"
