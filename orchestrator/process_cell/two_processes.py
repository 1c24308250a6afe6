"""Room and daemon as two processes of ours that only bytes connect: start, ask and end them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from orchestrator.kernel.errors import FailedError
from orchestrator.records.comparison import LedgerEffect

CLI: Final = "orchestrator.cli.main"
"""The module that is ``cellwright``."""

ENDS_WITHIN_S: Final = 30.0
"""A process that was told to end and hasn't by then is killed."""

_HUNG_UP: Final = b'{"error": {"why": "it hung up, or gave no answer in time"}}'


class PartEndedError(FailedError):
    """The daemon or the room ended, or fell silent, before the batch had."""

    code = "failed.part-ended"


class Part:
    """One process of ours, known by its handle."""

    def __init__(
        self, name: str, process: subprocess.Popen[str], complaints: Path, *, leads: bool
    ) -> None:
        """Know ``process``, whose standard error is the file ``complaints``.

        Args:
            name: What it is to people.
            process: Its handle.
            complaints: The file that its standard error goes to.
            leads: Whether it has a process group of its own.
        """
        self._name = name
        self._process = process
        self._complaints = complaints
        self._leads = leads

    @property
    def pid(self) -> int:
        """Return its number."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Return whether the process is over."""
        return self._process.poll() is not None

    @property
    def was_killed(self) -> bool:
        """Return whether it was ended by SIGKILL, and had complained of nothing."""
        return self._process.poll() == -signal.SIGKILL and not self.complaints

    @property
    def complaints(self) -> str:
        """Return what it said on its standard error."""
        return self._complaints.read_text("utf-8", errors="replace").strip()

    def wait_until_it_serves(self) -> None:
        """Return when it has said its one line.

        Raises:
            PartEndedError: It ended instead.
        """
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self._process.wait(ENDS_WITHIN_S)
            raise self.ended_early()

    def kill(self) -> None:
        """End it and all that it started by SIGKILL; none of it can tidy up."""
        if self._leads:
            with suppress(ProcessLookupError):  # all of its group are dead
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Have it end in good order.

        Raises:
            PartEndedError: It couldn't.
        """
        self._process.terminate()
        try:
            status = self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            raise self.ended_early()

    def leave(self) -> None:
        """Have it end if it still runs, as when something else failed; kill it if it doesn't."""
        if self.has_ended:
            return
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def ended_early(self) -> PartEndedError:
        """Return the error that says how it ended."""
        said = self.complaints.splitlines()
        status = self._process.poll()
        how = "it doesn't end" if status is None else f"it ended with status {status}"
        return PartEndedError(
            f"run `cellwright {self._name}`",
            why=f"{how}: {said[-1]}" if said else how,
            do_next=f"Look into {self._complaints}, and run it again in another folder",
        )


@contextmanager
def started(name: str, *command: str, log: Path, leads: bool = False) -> Generator[Part]:
    """Run the interpreter with ``command`` while the block runs.

    Args:
        name: What it is to people, and to the file in ``log`` that its complaints go to.
        command: Arguments of the interpreter.
        log: A folder.
        leads: Whether it gets a process group of its own, to be killed as one.
    """
    complaints = log / f"{name}.log"
    with complaints.open("w", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            process_group=0 if leads else None,
        )
    assert process.stdout is not None
    part = Part(name, process, complaints, leads=leads)
    with process.stdout:
        try:
            yield part
        finally:
            part.leave()


@contextmanager
def serving(name: str, *arguments: str, log: Path) -> Generator[Part]:
    """Run a command of ours while the block runs; yield it when it serves."""
    with started(name, "-m", CLI, name, *arguments, "--json", log=log) as part:
        part.wait_until_it_serves()
        yield part


class Control:
    """What can be asked of the room."""

    def __init__(self, end: socket.socket) -> None:
        """Ask through ``end``."""
        self._end = end
        self._lines = end.makefile("rb")

    def ask(self, do: str, **request: Any) -> Mapping[str, Any]:
        """Return the room's answer.

        Raises:
            PartEndedError: It hung up, or refused.
        """
        try:
            self._end.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
            line = self._lines.readline()
        except OSError:
            line = b""
        answer: dict[str, Any] = json.loads(line or _HUNG_UP)
        if "error" in answer:
            raise PartEndedError(
                f"ask the room for {do}",
                why=str(answer["error"]["why"]),
                do_next="Look into room.log, and run it again in another folder",
            )
        return answer

    def look(self, container: str) -> tuple[str, float]:
        """Return where a container is, and how many cells of patients it holds."""
        answer = self.ask("contents", container=container)
        return str(answer["place"]), float(answer["viable"])

    def ledger(self) -> list[LedgerEffect]:
        """Return all physical effects until now."""
        return [_effect(one) for one in self.ask("ledger")["ledger"]]


@contextmanager
def control_of(path: Path) -> Generator[Control]:
    """Yield what asks the room whose socket is at ``path``."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(ENDS_WITHIN_S)
        end.connect(str(path))
        yield Control(end)


def _effect(told: Mapping[str, Any]) -> LedgerEffect:
    """Return an effect as it was before JSON made lists of its tuples."""
    read: dict[str, Any] = {
        **told,
        "things": tuple(told["things"]),
        "places": tuple(told["places"]),
    }
    return LedgerEffect(**read)
