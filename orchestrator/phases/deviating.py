"""Ask two people what becomes of a result that isn't as expected.

Raising an error would leave no way on, since the record repeats it. So people decide:
accept it as a deviation, measure again where that is possible, or stop here.
"""

from __future__ import annotations

from typing import Final

from orchestrator.kernel.errors import ResultOutOfRangeError
from orchestrator.kernel.quantities import hour
from orchestrator.kernel.tasks import Choice, Question, TaskKind
from orchestrator.phases.outside import Outside

ACCEPT: Final = "accept"
REPEAT: Final = "repeat"
STOP: Final = "stop"

DECIDE_WITHIN: Final = 1 * hour
"""Set by site: by when people should have decided."""


async def accepted(
    outside: Outside, what: str, why: str, *, evidence: dict[str, str], may_repeat: bool = False
) -> bool:
    """Return True where people accept the result as a deviation, False where they repeat it.

    Raises:
        ResultOutOfRangeError: They stop here. The material is where it was; the unit
            procedure is held.
    """
    choices = [Choice(name=ACCEPT, leads_to="the batch goes on under a deviation")]
    if may_repeat:
        choices.append(Choice(name=REPEAT, leads_to="it is measured once more"))
    choices.append(Choice(name=STOP, leads_to="the batch is held here"))
    answer = await outside.ask(
        Question(
            kind=TaskKind.DECIDE,
            text=f"{what}: {why}",
            choices=tuple(choices),
            evidence=evidence,
            second_person=True,
            respond_within=DECIDE_WITHIN,
        )
    )
    if answer.choice == ACCEPT:
        return True
    if answer.choice == REPEAT and may_repeat:
        return False
    raise ResultOutOfRangeError(
        what, why=why, do_next="Have quality assurance decide what becomes of the batch"
    )
