"""What every emulator is: one instrument's wire interface, acting on the shared World.

An emulator is written from the instrument's manual alone and shares no code with its
driver. Its motion belongs to it: a line that drops or a program that dies stops
nothing. It asks the loop it runs on for time, so it lives on virtual time as well as
on the real clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar, Protocol

from devices.transport.transport import Transport
from hw_mocks.world.world import World


class Moment(StrEnum):
    """Where in an exchange or a motion something can go wrong, or a test can strike."""

    ARRIVING = "arriving"  # the first byte of an acting request is in
    ARRIVED = "arrived"  # the acting request is complete and will be obeyed now
    MOVING = "moving"  # halfway through the motion
    ENDED = "ended"  # the motion is over, nothing was said of it
    REPLYING = "replying"  # just before a reply leaves
    HEARD = (
        "heard"  # bytes of the host came, whatever they ask; noted by the wire, not by emulators
    )


class OnMoment(Protocol):
    """What is told of each moment: the equipment, the moment, the acting request's name."""

    def __call__(self, equipment: str, moment: Moment, request: str) -> None:
        """Take note; may end this process."""
        ...


class Planted(StrEnum):
    """A fault in how the next acting request is obeyed. The reply stays as if it were well."""

    SWALLOWED = "swallowed"  # nothing is done
    DOUBLED = "doubled"  # done twice
    HALF = "half"  # half of it is done


class Emulator:
    """One instrument on one line, or on several."""

    model: ClassVar[str]

    def __init__(self, world: World, equipment: str) -> None:
        self.world = world
        self.equipment = equipment
        self.on_moment: OnMoment | None = None
        self._planted: list[Planted] = []

    async def serve(self, line: Transport) -> None:
        """Speak on ``line`` until it closes. May be called again after a reconnect."""
        raise AssertionError(f"{type(self).__name__} must say how it speaks")

    def press(self, key: str) -> None:
        """Press a key of the instrument's own panel, as a person in the room would.

        Raises:
            ValueError: The panel has no such key; the message names the ones it has.
        """
        raise ValueError(f"{self.equipment}: the panel of {self.model} has no key {key!r}")

    def power_cycle(self) -> None:
        """Lose and regain power: memory, motion and alarms as the real one would."""
        raise AssertionError(f"{type(self).__name__} must say what a power cycle does")

    def plant(self, fault: Planted) -> None:
        """Obey the next acting request in a faulty way."""
        self._planted.append(fault)

    def _next_fault(self) -> Planted | None:
        """Return how the acting request now arriving is to be obeyed; None is well."""
        return self._planted.pop(0) if self._planted else None

    def _moment(self, moment: Moment, request: str) -> None:
        if self.on_moment is not None:
            self.on_moment(self.equipment, moment, request)

    def _after(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``call`` in ``seconds`` of the room's time, whatever becomes of the line."""
        return asyncio.get_running_loop().call_later(seconds, call)

    def _now(self) -> float:
        """Return the room's time in seconds."""
        return asyncio.get_running_loop().time()
