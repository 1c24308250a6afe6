"""What every driver offers to the engine, whatever its capability.

A capability is a file beside this one: its *acts* (commands: they have a
``CommandId``, may leave doubt and are never resent), its *readings* (read-backs:
they change nothing and may be repeated) and how its instruments are quieted. A
driver is one model's language: it carries out the acts of its capability and
answers the readings. It repeats a request only where the request is a read or a
quieten.

Follows design sections 6 and 9.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.kernel.acts import Act, EffectReport, Facts, Quieten, Reading
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import CommandId, EquipmentId


class DeviceIdentity(Frozen):
    """What a device says it is. ``serial`` is empty where the wire can't tell."""

    model: str
    serial: str = ""
    firmware: str = ""


class Standing(Frozen):
    """What a device shows of itself, read at one moment.

    ``values`` are those that only an act can change (count, position, set point, run
    state, tare); each name has a tolerance in the driver's ``only_acts_change``.
    ``witness`` shows that the device hasn't restarted since: equal or not before the
    earlier one. It is empty where the device has none.
    """

    values: dict[str, str]
    witness: str = ""


class Settled(Frozen):
    """What an attempt did, and what the device shows after it."""

    report: EffectReport
    standing: Standing


class MadeReadyError(RefusedError):
    """The instrument was made ready, which hides what it showed before. Nothing was begun.

    The next attempt begins from what it shows now.
    """

    code = "refused.made-ready"


class Driver(Protocol):
    """One instrument on one line."""

    @property
    def equipment(self) -> EquipmentId:
        """Return the name under which the process cell knows the instrument."""
        ...

    @property
    def model(self) -> str:
        """Return the model's name as in its sheet, e.g. ``watson_marlow_530du``."""
        ...

    @property
    def only_acts_change(self) -> Facts:
        """Return, for each name in a standing's values, how far it may stray without an act.

        A number as text is an absolute tolerance in the value's own unit; ``"equal"``
        means that the text must be the same.
        """
        ...

    async def run(self) -> None:
        """Read the line until it closes; started once, beside everything else."""
        ...

    async def identify(self) -> DeviceIdentity:
        """Ask the device what it is. Reading; may be repeated."""
        ...

    async def standing(self) -> Standing:
        """Read what only acts change, and the power-cycle witness. May be repeated.

        Raises:
            OutcomeUnknownError: No answer. Nothing moved by asking.
        """
        ...

    async def prepare(self, act: Act) -> None:
        """Do what the act needs and what may be done twice (set a speed, load a location).

        Raises:
            LimitRefusedError: The device can't or may not do this. Nothing moved.
            MadeReadyError: It had to be made ready first, after which what it showed before
                tells nothing. It is ready for the next attempt.
            OutcomeUnknownError: No answer. Nothing of the material moved.
        """
        ...

    async def trigger(self, act: Act, command: CommandId) -> None:
        """Write the one message that starts the act: once, whatever the reply.

        Raises:
            FailedError: The device refused it. Nothing moved.
            OutcomeUnknownError: No reply, or a damaged one: it may have started.
        """
        ...

    async def settle(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Wait until the device is idle and say what the attempt did.

        Waits as long as the device is busy: the engine watches the time.

        Raises:
            OutcomeUnknownError: The device stopped answering while it was awaited.
        """
        ...

    async def effect_of(self, act: Act, command: CommandId, before: Standing) -> Settled:
        """Ask, after an interruption, what an attempt did; waits until the device is idle.

        ``before`` is what the intent recorded. Where the witness shows a restart, or the
        device has no memory of it, the report is ``CannotTell``.
        """
        ...

    async def quieten(self, how: Quieten) -> None:
        """Bring the device to rest in the way its phase claims. May be repeated."""
        ...

    async def read(self, reading: Reading) -> str:
        """Return the value of a reading as text in the reading's own form.

        Raises:
            OutcomeUnknownError: No answer, or a damaged one after the allowed repeats.
        """
        ...

    async def close(self) -> None:
        """Let the line go. Stops nothing that moves."""
        ...
