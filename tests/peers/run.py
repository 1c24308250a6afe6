"""Kill cellwright and its peers at the same job, and print who repeated and who lost.

    python -m tests.peers.run [--peers NAME ...] [--jobs N] [--kills N] [--seed S] [--folder DIR]

The peers get an environment of their own, made from ``requirements.lock`` in the folder; the
product's isn't touched. Each peer does the job once undisturbed, for its speed, and then
``--jobs`` times, killed ``--kills`` times in each: SIGKILL to the process that drives the pump,
some doses after it began and then somewhere in the cycle of one, both by the seed and both the
same for all. It is started again by the command that started it. The pump is another process
that lives on, and its ledger of turns is the only judge.

The table goes to the terminal, to ``peers.md`` and, with all figures, to ``peers.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import queue
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.peers.job import ACTS, PULSES_PER_REVOLUTION, doses
from tests.peers.judge import Turn, judged
from tests.peers.park import PARKED

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
LOCK: Final = HERE / "requirements.lock"
LIFE_S_MOST: Final = 180.0
"""A process that is neither killed nor done by then stands still, or is held."""

SERVER_WITHIN_S: Final = 90.0
DOSES_BEFORE_A_KILL_MOST: Final = 10


@dataclass(frozen=True)
class Peer:
    """One orchestrator: where its version stands, how it resumes, what it wasn't built for."""

    name: str
    package: str
    resumes: str
    not_built_for: str
    server: str = ""
    parks: str = ""
    """Why it has no figure for parked batches; empty where it has one."""


PEERS: Final = {
    "cellwright": Peer(
        "cellwright",
        "cellwright",
        "by itself, from its journal: quiets the pump, reads its count, doses the rest",
        "general workflows, many hosts, services that have no read-back",
    ),
    "dbos": Peer(
        "DBOS on SQLite",
        "dbos",
        "by itself, from the last finished step; the open step is run again",
        "instruments: steps are to be idempotent, and a dose isn't",
    ),
    "temporal": Peer(
        "Temporal, development server",
        "temporalio",
        "the server hands the open activity to the new worker when its heartbeat has run out (2 s)",
        "instruments: activities are to be idempotent, and a dose isn't",
        server="temporal",
    ),
    "prefect": Peer(
        "Prefect",
        "prefect",
        "the flow is run again; finished tasks come from the cache",
        "resuming a process that was killed: it retries and caches data pipelines",
        server="prefect",
        parks="a suspended run needs a deployment, and each is resumed as a process of its own",
    ),
    "pylabrobot": Peer(
        "PyLabRobot",
        "pylabrobot",
        "not at all: the script is run again",
        "durability: it is a library of drivers, and leaves the run to its caller",
        parks="it keeps no runs",
    ),
    "bluesky": Peer(
        "Bluesky",
        "bluesky",
        "within its process only; after it the plan is run again",
        "durability: it records experiments, which may be repeated",
        parks="its plans live in the memory of one process, one at a time",
    ),
}


@dataclass
class Outcome:
    """What was measured of one peer. None is what it doesn't have."""

    peer: str
    version: str
    acts_per_s: float | None = None
    own_ms_per_act: float | None = None
    kills: int = 0
    acts: int = 0
    repeated: int = 0
    lost: int = 0
    kills_that_repeated: int = 0
    surplus_percent: float = 0.0
    stray: int = 0
    load: float = 0.0
    """Of the host while the speed was measured: processes that wanted one of its cores."""
    unfinished: list[str] = field(default_factory=list[str])
    resume_s: float | None = None
    why_not: str = ""


# The bench ----------------------------------------------------------------------------------


class Bench:
    """The pump's process, and the ledger that it says aloud."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.peers.pump", str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._begun: queue.Queue[float] = queue.Queue()
        self._ready = threading.Event()
        self.turns: list[Turn] = []
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._ready.wait(30):
            raise RuntimeError("the pump didn't come up")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                self._ready.set()
                continue
            said = json.loads(line)
            begins = said.pop("begins")
            if not self._ready.is_set():
                continue
            if begins:
                self._begun.put(said["at_s"])
            else:
                self.turns.append(Turn(**said))

    def forget(self) -> None:
        """Begin a new page for a new job, once the pump stands."""
        time.sleep(0.3)
        self.turns.clear()
        self.skip()

    def skip(self) -> None:
        """Forget the beginnings that nobody has waited for."""
        while not self._begun.empty():
            self._begun.get_nowait()

    def next_begun(self, within_s: float) -> bool:
        """Wait until the head begins to turn; return whether it did."""
        try:
            self._begun.get(timeout=within_s)
        except queue.Empty:
            return False
        return True

    def close(self) -> None:
        """End the pump."""
        self._process.terminate()
        self._process.wait(10)


# Processes ----------------------------------------------------------------------------------


class Runner:
    """Starts the processes of one peer, the same way each time."""

    def __init__(self, key: str, folder: Path, ports: Path, python: Path) -> None:
        self._key, self._ports, self._python = key, ports, python
        self.folder = folder
        self._extra: list[str] = []
        self._env = dict(os.environ)

    @contextmanager
    def server(self) -> Generator[None]:
        """Have the peer's server run, if it has one, while the block does."""
        kind = PEERS[self._key].server
        if not kind:
            yield
            return
        port = _free_port()
        binaries = self._python.parent
        if kind == "temporal":
            at = f"127.0.0.1:{port}"
            self._extra = [at]
            command = [binaries / "temporal", "server", "start-dev", "--headless"]
            command += ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
            command += ["--db-filename", self.folder / "temporal.sqlite"]
        else:
            home = {"PREFECT_HOME": str(self.folder / "prefect")}
            quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
            self._env |= home | quiet | {"PREFECT_LOGGING_LEVEL": "ERROR"}
            self._env |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
            command = [binaries / "prefect", "server", "start", "--host", "127.0.0.1"]
            command += ["--port", str(port)]
        with (self.folder / "server.log").open("ab") as log:
            served = subprocess.Popen(
                [str(one) for one in command],
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            _await_port(port)
            yield
        finally:
            os.killpg(served.pid, signal.SIGKILL)
            served.wait()

    def start(self, what: str, folder: Path) -> subprocess.Popen[str]:
        """Start the peer's process."""
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    str(self._python),
                    "-m",
                    f"tests.peers.{self._key}_peer",
                    what,
                    str(folder),
                    str(self._ports),
                    *self._extra,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=self._env,
                start_new_session=True,
            )


def _killed(process: subprocess.Popen[str]) -> None:
    """Kill a process with all that it started, and return when it is dead."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _await_port(port: int) -> None:
    deadline_s = time.monotonic() + SERVER_WITHIN_S
    while time.monotonic() < deadline_s:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(2.0)  # it answers a little after it listens
                return
        time.sleep(0.2)
    raise RuntimeError("the peer's server didn't come up")


def _ended_well(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a job; return what went wrong, or nothing."""
    try:
        status = process.wait(LIFE_S_MOST)
    except subprocess.TimeoutExpired:
        _killed(process)
        return f"stood still for {LIFE_S_MOST:g} s"
    assert process.stdout is not None
    process.stdout.close()
    return "" if status == 0 else f"ended with status {status}"


# Measuring ----------------------------------------------------------------------------------


def _undisturbed(runner: Runner, bench: Bench, outcome: Outcome) -> float:
    """Do the job once; note its speed, and return the time from dose to dose."""
    bench.forget()
    wrong = _ended_well(runner.start("dose", runner.folder / "undisturbed"))
    verdict = judged(doses(), bench.turns)
    if wrong or verdict.repeated or verdict.lost or len(bench.turns) != ACTS:
        raise RuntimeError(f"{outcome.peer}, undisturbed: {wrong or verdict}")
    at = sorted(turn.at_s for turn in bench.turns)
    cycle_s = (at[-1] - at[0]) / (ACTS - 1)
    turning_s = statistics.mean(
        turn.pulses / (turn.speed_tenths / 600 * PULSES_PER_REVOLUTION) for turn in bench.turns
    )
    outcome.acts_per_s = round(1 / cycle_s, 2)
    outcome.load = round(os.getloadavg()[0], 1)
    outcome.own_ms_per_act = round(1000 * (cycle_s - turning_s), 1)
    return statistics.median(later - earlier for earlier, later in pairwise(at))


def _one_job(
    runner: Runner, bench: Bench, number: int, chance: random.Random, kills: int, cycle_s: float
) -> tuple[list[float], str]:
    """Do the job once, killed again and again; return when each life began, and what went wrong."""
    bench.forget()
    folder = runner.folder / f"job-{number}"
    lives: list[float] = []
    for _ in range(kills):
        after = chance.randint(1, DOSES_BEFORE_A_KILL_MOST)
        later_s = chance.uniform(0, 1.2 * cycle_s)
        bench.skip()
        lives.append(time.monotonic())
        process = runner.start("dose", folder)
        for _ in range(after):
            if not bench.next_begun(LIFE_S_MOST):
                _killed(process)
                return lives, f"stood still for {LIFE_S_MOST:g} s"
        time.sleep(later_s)
        if process.poll() is not None:
            return lives, f"ended by itself with status {process.returncode}"
        _killed(process)
    lives.append(time.monotonic())
    return lives, _ended_well(runner.start("dose", folder))


def _disturbed(
    runner: Runner,
    bench: Bench,
    outcome: Outcome,
    *,
    jobs: int,
    kills: int,
    seed: int,
    cycle_s: float,
) -> None:
    chance = random.Random(seed)
    surplus = 0
    for number in range(1, jobs + 1):
        lives, wrong = _one_job(runner, bench, number, chance, kills, cycle_s)
        time.sleep(0.3)
        turns = list(bench.turns)
        verdict = judged(doses(), turns)
        outcome.kills += len(lives) - 1
        outcome.acts += ACTS
        outcome.repeated += len(verdict.repeated)
        outcome.lost += len(verdict.lost)
        outcome.stray += verdict.stray
        if wrong:
            outcome.unfinished.append(f"job {number}: {wrong}")
        surplus += verdict.surplus_pulses
        outcome.kills_that_repeated += _kills_that_repeated(turns, lives)
        print(
            f"  {outcome.peer}: job {number} of {jobs}, repeated {len(verdict.repeated)}, "
            f"lost {len(verdict.lost)} {wrong}",
            flush=True,
        )
    if outcome.acts:
        asked = doses()[0].pulses * outcome.acts
        outcome.surplus_percent = round(100 * surplus / asked, 1)


def _kills_that_repeated(turns: Sequence[Turn], lives: Sequence[float]) -> int:
    """Return after how many kills the next life turned the pump for more than was asked."""
    before = [
        judged(doses(), [turn for turn in turns if turn.at_s < began_s]).surplus_pulses
        for began_s in (*lives[1:], float("inf"))
    ]
    return sum(later > earlier for earlier, later in pairwise(before))


def _resumed(runner: Runner) -> float:
    """Park batches, kill, start again: seconds until each has had its word and gone on."""
    folder = runner.folder / "parked"
    process = runner.start("park", folder)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "parked":
        raise RuntimeError(f"it parked nothing: see {folder / 'log'}")
    time.sleep(1.0)
    _killed(process)
    began_s = time.perf_counter()
    process = runner.start("go-on", folder)
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    took_s = time.perf_counter() - began_s
    _killed(process)
    if said != "gone on":
        raise RuntimeError(f"they didn't go on: see {folder / 'log'}")
    return round(took_s, 2)


def _measured(key: str, options: argparse.Namespace, python: Path) -> Outcome:
    peer = PEERS[key]
    outcome = Outcome(peer.name, _version(python, peer.package))
    folder = options.folder / key
    folder.mkdir()
    bench = Bench(folder / "bench")
    runner = Runner(key, folder, bench.folder, python)
    with ExitStack() as ends:
        ends.callback(bench.close)
        ends.enter_context(runner.server())
        cycle_s = _undisturbed(runner, bench, outcome)
        print(f"{peer.name} {outcome.version}: {outcome.acts_per_s} acts/s", flush=True)
        if not peer.parks:
            outcome.resume_s = _resumed(runner)
            print(f"  {peer.name}: {PARKED} batches in {outcome.resume_s} s", flush=True)
        _disturbed(
            runner,
            bench,
            outcome,
            jobs=options.jobs,
            kills=options.kills,
            seed=options.seed,
            cycle_s=cycle_s,
        )
    return outcome


# The table ----------------------------------------------------------------------------------


def table(outcomes: dict[str, Outcome]) -> str:
    """Return the table as markdown."""
    head = (
        "after SIGKILL it resumes",
        "acts/s",
        "own ms per act",
        "SIGKILLs",
        "acts repeated",
        "acts lost",
        "kills that led to a repeat",
        "dosed too much",
        f"s to resume {PARKED} parked",
        "not built for",
    )
    lines = [f"| | {' | '.join(head)} |", f"|---{'|---' * len(head)}|"]
    for key, one in outcomes.items():
        peer = PEERS[key]
        name = f"{one.peer} {one.version}"
        if one.why_not:
            lines.append(f"| {name} | not measured: {one.why_not} {'| ' * len(head)}|")
            continue
        cells = (
            peer.resumes,
            f"{one.acts_per_s}",
            f"{one.own_ms_per_act}",
            *_killing(one),
            f"{one.resume_s}" if one.resume_s is not None else f"none: {peer.parks}",
            peer.not_built_for,
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.extend(f"| | {one.peer}, {what} {'| ' * (len(head) - 1)}|" for what in one.unfinished)
    return "\n".join(lines) + "\n"


def _killing(one: Outcome) -> tuple[str, ...]:
    if not one.acts:
        return ("-",) * 5
    return (
        f"{one.kills}",
        f"{one.repeated} of {one.acts}",
        f"{one.lost} of {one.acts}",
        f"{one.kills_that_repeated}",
        f"{one.surplus_percent} %",
    )


def _version(python: Path, package: str) -> str:
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.check_output([str(python), "-c", asked], text=True).strip()


def _environment(folder: Path) -> Path:
    """Return the Python of the peers' environment, made if it isn't there as pinned."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    mark = folder / "made-from"
    python = folder / "bin" / "python"
    if not mark.exists() or mark.read_text("ascii") != digest:
        print(f"Installing the peers into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--require-hashes", "-r", str(LOCK)], check=True)
        mark.write_text(digest, "ascii")
    return python


def main() -> int:
    """Measure, and write the table; exit status 1 if cellwright repeated, lost or stood still."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--jobs", type=int, default=10, help="0: speed and resumption alone")
    parser.add_argument("--kills", type=int, default=5, help="in each job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "peers")
    options = parser.parse_args()
    made = options.folder.resolve()
    python = _environment(made / "environment")
    options.folder = made / time.strftime("run-%Y%m%dT%H%M%S", time.gmtime())
    options.folder.mkdir()
    outcomes: dict[str, Outcome] = {}
    for key in options.peers:
        whose = Path(sys.executable) if key == "cellwright" else python
        try:
            outcomes[key] = _measured(key, options, whose)
        except (RuntimeError, OSError, subprocess.SubprocessError) as failed:
            outcomes[key] = Outcome(
                PEERS[key].name, _version(whose, PEERS[key].package), why_not=str(failed)
            )
            print(f"{PEERS[key].name}: {failed}", flush=True)
        said: dict[str, Any] = {
            "seed": options.seed,
            "acts_in_a_job": ACTS,
            "python": platform.python_version(),
            "peers": {one: asdict(of) for one, of in outcomes.items()},
        }
        (made / "peers.md").write_text(table(outcomes), "utf-8")
        (made / "peers.json").write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    print(f"seed {options.seed}\n\n{table(outcomes)}", end="")
    own = outcomes.get("cellwright")
    if own is None:
        return 0
    return int(bool(own.repeated or own.lost or own.unfinished or own.why_not))


if __name__ == "__main__":
    sys.exit(main())
