"""Ask for a value: the one place where drivers repeat a request, since it only reads.

A damaged answer is silence. A trigger never comes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from devices.transport.conversation import NoReplyError, OvertakenError
from devices.transport.transport import LineClosedError
from orchestrator.kernel.errors import OutcomeUnknownError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from devices.transport.conversation import Conversation
    from orchestrator.kernel.identifiers import EquipmentId
    from orchestrator.kernel.quantities import Duration

READ_ATTEMPTS_MAX: Final = 3


async def read_frame(
    line: Conversation,
    request: bytes,
    *,
    within: Duration,
    fits: Callable[[bytes], bool],
    what: str,
) -> bytes:
    """Return the answer to a request that changes nothing.

    Args:
        line: The instrument's conversation.
        request: The whole frame.
        within: How long each answer may take.
        fits: Tells whether a frame is a whole answer to this request.
        what: What is read, of which equipment, for the message.

    Raises:
        OutcomeUnknownError: No whole answer in ``READ_ATTEMPTS_MAX`` attempts, or the
            line is closed. Asking moved nothing; what moves by itself is unknown.
    """
    why = f"no whole answer in {READ_ATTEMPTS_MAX} attempts of {within}"
    for _ in range(READ_ATTEMPTS_MAX):
        try:
            return await line.ask(request, within=within, fits=fits)
        except (NoReplyError, OvertakenError):
            continue
        except LineClosedError:
            why = "the line is closed"
            break
    raise OutcomeUnknownError(what, why=why, do_next="Check cable and power, then resume")


def not_offered(equipment: EquipmentId, kind: str) -> RefusedError:
    """Return the refusal of an act or a reading that the instrument doesn't offer."""
    return RefusedError(
        f"{equipment}: {kind}",
        why="this instrument doesn't offer it",
        do_next="Correct the process cell file: another instrument provides it",
    )
