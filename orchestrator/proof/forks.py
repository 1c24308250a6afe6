"""Processes that split off at a point, and what they tell: one line of JSON for each run.

The parent goes on at once. A child that is killed, ends without a word or exceeds its time
is told as a failure, never dropped. Forking is sound here because there is one thread, and
because a child gives up at once every file that its parent has open in ``folder``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import selectors
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

# What asyncio gives to makers of loops: after a fork no loop counts as running in the child.
from asyncio import _set_running_loop  # pyright: ignore[reportPrivateUsage]  # isort: skip

Told = Mapping[str, Any]
"""What a child says of one run."""

_FILES: Final = Path("/proc/self/fd")
_READ_BYTES: Final = 65_536


@dataclass(slots=True)
class _Child:
    pid: int
    about: str
    heard: bytearray = field(default_factory=bytearray)


class Forks:
    """The children of one process, at most ``workers`` at a time."""

    def __init__(
        self, workers: int, *, folder: Path, wall_s: int, told: Callable[[Told], None]
    ) -> None:
        """Hand what children say to ``told``.

        Args:
            workers: How many children may live at a time.
            folder: Whose open files a child gives up.
            wall_s: How long a child may take.
            told: Takes each line.
        """
        self._workers = workers
        self._folder = str(folder.resolve())
        self._wall_s = wall_s
        self._told = told
        self._children: dict[int, _Child] = {}
        self._out: int | None = None
        self._about = ""

    @property
    def is_child(self) -> bool:
        """Return whether this process split off."""
        return self._out is not None

    def fork(self, about: str) -> bool:
        """Split off a child; return whether this is it. ``about`` names it if it fails."""
        while len(self._children) >= self._workers:
            self._listen()
        hear, tell = os.pipe()
        loop = asyncio.get_running_loop()
        pid = os.fork()
        if pid:
            os.close(tell)
            self._children[hear] = _Child(pid, about)
            return False
        _set_running_loop(loop)
        os.close(hear)
        self._about = about
        self._begin_as_child(tell)
        return True

    def wait(self) -> None:
        """Return when every child has ended."""
        while self._children:
            self._listen()

    def tell(self, line: Told) -> None:
        """Say, in a child, what came of a run."""
        assert self._out is not None, "only a child tells"
        left = memoryview(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        while left:
            left = left[os.write(self._out, left) :]

    def leave(self) -> NoReturn:
        """End a child at once; nothing is tidied up."""
        os._exit(0)

    def leave_failed(self, failed: BaseException) -> NoReturn:
        """End a child that couldn't do what it was to do, and say why."""
        told = "".join(traceback.format_exception(failed))
        self.tell({"points": [self._about], "failed": told})
        os._exit(1)

    def fork_and_wait(self, about: str) -> bool:
        """Split off a child of this child that tells by the same pipe, and wait until it ends.

        Returns whether this is that child.
        """
        loop = asyncio.get_running_loop()
        signal.alarm(0)
        pid = os.fork()
        if pid == 0:
            _set_running_loop(loop)
            self._about = about
            signal.alarm(self._wall_s)
            return True
        _, status = os.waitpid(pid, 0)
        signal.alarm(self._wall_s)
        if status and os.waitstatus_to_exitcode(status) != 1:
            self.tell({"points": [about], "failed": _ended(status, self._wall_s)})
        return False

    def _begin_as_child(self, tell: int) -> None:
        for hear in self._children:
            os.close(hear)
        self._children.clear()
        self._out = tell
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(self._wall_s)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for entry in os.listdir(_FILES):
            file = int(entry)
            try:
                is_parents = os.readlink(_FILES / entry).startswith(self._folder)
            except OSError:
                continue  # the list's own
            if is_parents:
                os.dup2(nowhere, file)
        os.close(nowhere)
        gc.disable()  # it lives for a moment, and looking would copy the parent's memory

    def _listen(self) -> None:
        """Take what children say until one has ended."""
        with selectors.DefaultSelector() as selector:
            for hear in self._children:
                selector.register(hear, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    hear = key.fd
                    heard = os.read(hear, _READ_BYTES)
                    if heard:
                        self._children[hear].heard += heard
                        continue
                    self._end_of(hear)
                    return

    def _end_of(self, hear: int) -> None:
        child = self._children.pop(hear)
        os.close(hear)
        _, status = os.waitpid(child.pid, 0)
        lines = bytes(child.heard).splitlines()
        for line in lines:
            self._told(json.loads(line))
        if status and (not lines or os.waitstatus_to_exitcode(status) != 1):
            self._told({"points": [child.about], "failed": _ended(status, self._wall_s)})
        elif not lines:
            self._told({"points": [child.about], "failed": "it said nothing"})


def _ended(status: int, wall_s: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return f"it took more than {wall_s} s"
    return f"its process ended with {code}"
