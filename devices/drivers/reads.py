"""Ask for a value: the one place where drivers repeat a request, since it only reads.

A damaged answer is silence. A trigger never comes here. No wire here can show by itself
that a value came whole and is of now: checksums have eight bits or are missing, and only
two instruments number their answers. So a value that decides is asked for until two
answers in a row agree (``read_alike``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from devices.transport.conversation import NoReplyError, OvertakenError
from devices.transport.transport import LineClosedError
from orchestrator.kernel.errors import OutcomeUnknownError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from devices.transport.conversation import Conversation
    from orchestrator.kernel.identifiers import EquipmentId
    from orchestrator.kernel.quantities import Duration

READ_ATTEMPTS_MAX: Final = 3
ALIKE_ATTEMPTS_MAX: Final = 6

T = TypeVar("T")


async def read_frame(
    line: Conversation,
    request: bytes,
    *,
    within: Duration,
    fits: Callable[[bytes], bool],
    echo: Callable[[bytes], bool] | None = None,
    what: str,
) -> bytes:
    """Return the answer to a request that changes nothing.

    Args:
        line: The instrument's conversation.
        request: The whole frame.
        within: How long each answer may take.
        fits: Tells whether a frame is a whole answer to this request.
        echo: Tells whether a frame is the request's echo, if the instrument sends one.
        what: What is read, of which equipment, for the message.

    Raises:
        OutcomeUnknownError: No whole answer in ``READ_ATTEMPTS_MAX`` attempts, or the
            line is closed. Asking moved nothing; what moves by itself is unknown.
    """
    why = f"no whole answer in {READ_ATTEMPTS_MAX} attempts of {within}"
    for _ in range(READ_ATTEMPTS_MAX):
        try:
            return await line.ask(request, within=within, fits=fits, echo=echo)
        except (NoReplyError, OvertakenError):
            continue
        except LineClosedError:
            why = "the line is closed"
            break
    raise OutcomeUnknownError(what, why=why, do_next="Check cable and power, then resume")


async def read_alike(
    line: Conversation,
    read: Callable[[], Awaitable[T]],
    *,
    alike: Callable[[T, T], bool] | None = None,
    what: str,
) -> T:
    """Return the last of two readings in a row that agree, of more where there is trouble.

    Where two don't agree, one was damaged or of another time: the line is quarantined. For
    each answer that was lost or came unwanted lately, one reading more has to agree: so
    many late ones may still be under way.

    Args:
        line: The instrument's conversation.
        read: Asks once.
        alike: Whether an earlier reading and a later one agree; None: they are equal.
        what: What is read, of which equipment, for the message.

    Raises:
        OutcomeUnknownError: As ``read`` raises it, or no two in a row agree.
    """
    earlier = await read()
    agree, differed = 1, 0
    while differed < ALIKE_ATTEMPTS_MAX:
        later = await read()
        if earlier == later if alike is None else alike(earlier, later):
            agree += 1
            if agree >= 2 + line.troubles():
                return later
        else:
            line.mistrust()
            agree, differed = 1, differed + 1
        earlier = later
    raise OutcomeUnknownError(
        what,
        why=f"{ALIKE_ATTEMPTS_MAX} times two answers in a row didn't agree",
        do_next="Check cable and power, then resume",
    )


def not_offered(equipment: EquipmentId, kind: str) -> RefusedError:
    """Return the refusal of an act or a reading that the instrument doesn't offer."""
    return RefusedError(
        f"{equipment}: {kind}",
        why="this instrument doesn't offer it",
        do_next="Correct the process cell file: another instrument provides it",
    )
