"""The pump as a careful script drives it: what the peers are given to call.

Basic protocol of the 530Du (manual m-530dun-gb-01, page 40), 9600 8N2, a little
more than the 10 ms between commands. Speed and direction are read back, the pump is waited for
before and after, and the count has to have risen by the dose. What it can't do is know of a
life before its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import serial

from tests.peers.job import PUMP_NUMBER, Dose

GAP_S: Final = 0.015
REPLY_WITHIN_S: Final = 0.2
PLAY_PULSES: Final = 11
ATTEMPTS_MAX: Final = 5
SECOND_LOOK_S: Final = 0.5
WORDS: Final = 11
"""Of a status: ``530Du 4.00 520R 9.6MM 43.0 CCW P/N 1 2025 0 !``."""


class Status(NamedTuple):
    """What the pump shows."""

    speed_tenths: int
    clockwise: bool
    tacho: int
    running: bool


class PumpClient:
    """One pump on a serial line."""

    def __init__(self, port: str) -> None:
        self._line = serial.Serial(
            port, 9600, stopbits=serial.STOPBITS_TWO, timeout=REPLY_WITHIN_S, exclusive=True
        )
        self._line.reset_input_buffer()
        self._next_s = 0.0

    def dose(self, dose: Dose, looked: Callable[[], None] = lambda: None) -> int:
        """Turn by one dose, backward; return the pulses. ``looked`` is told of each look."""
        self.begin(dose.pulses, dose.speed_tenths)
        return self.end(looked)

    def begin(self, pulses: int, speed_tenths: int) -> None:
        """Wait for rest, set speed and direction, and start."""
        shown = self._at_rest(lambda: None)
        for _ in range(ATTEMPTS_MAX):
            if (shown.speed_tenths, shown.clockwise) == (speed_tenths, False):
                break
            self._tell(f"SP{speed_tenths // 10}.{speed_tenths % 10}")
            self._tell("RL")
            shown = self.status()
        else:
            raise RuntimeError(f"the pump shows {shown}")
        self._pulses, self._before = pulses, shown.tacho
        self._tell(f"DO{pulses}")

    def end(self, looked: Callable[[], None] = lambda: None) -> int:
        """Wait for rest, and return what was counted since ``begin``.

        Where the count shows that the start command was lost on the line, it is sent again.
        """
        turned = 0
        for _ in range(ATTEMPTS_MAX):
            turned = self._at_rest(looked).tacho - self._before
            if turned >= self._pulses - PLAY_PULSES:
                return turned
            time.sleep(SECOND_LOOK_S)
            if self._at_rest(looked).tacho - self._before <= PLAY_PULSES:
                self._tell(f"DO{self._pulses}")
        raise RuntimeError(f"the pump turned {turned} of {self._pulses} pulses")

    def close(self) -> None:
        """Give the port back."""
        self._line.close()

    def status(self) -> Status:
        """Return what the pump shows now; a read that got no answer is repeated."""
        words: list[str] = []
        for _ in range(ATTEMPTS_MAX):
            self._tell("RS")
            words = self._line.read_until(b"\r").decode("ascii", "replace").split()
            if len(words) == WORDS and words[-1] == "!":
                whole, tenth = words[-7].split(".")
                return Status(
                    speed_tenths=10 * int(whole) + int(tenth),
                    clockwise=words[-6] == "CW",
                    tacho=int(words[-3]),
                    running=words[-2] == "1",
                )
        raise RuntimeError(f"the pump said {words}")

    def _at_rest(self, looked: Callable[[], None]) -> Status:
        while (shown := self.status()).running:
            looked()
        return shown

    def _tell(self, command: str) -> None:
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        self._line.write(f"{PUMP_NUMBER}{command}\r".encode())
        self._next_s = time.monotonic() + GAP_S
