"""The time of a boot whose clock nobody vouches for: a person signs what it was.

They read it off another clock. It makes known when that boot was, so that what is held goes on
with the time that it really had; it sets no clock.
"""

from __future__ import annotations

from typing import Any, Final

from orchestrator.console.office import Office
from orchestrator.engine.state import HostState, Mark
from orchestrator.journal.events import Signed, TimeSigned
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Range, day, minute

WITHIN: Final = Range(lowest=1 * minute, highest=1 * day)
"""How exactly a person may say a time. A minute goes by from reading a clock to signing what it
showed; who isn't sure of the day asks somebody. Set by us."""


class Timekeeping:
    """Has people sign a time."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core

    async def sign_time(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Record what a person says the time is, or was at an earlier event."""
        time, of = Instant.read(str(arguments["time"])), int(arguments.get("of", 0))
        within = Duration.read(str(arguments["within"]))
        what = f"sign the time of event {of}" if of else "sign the time"
        if within not in WITHIN:
            raise RefusedError(
                what,
                why=f"it is said within {within}; a person's word is good within {WITHIN.lowest} "
                f"to {WITHIN.highest}",
                do_next="Say how far off it may be, with what passed since you looked",
            )
        mark = self._moment(what, of)
        self._refuse_known(what, mark.boot)
        event = await self._office.signed(
            user,
            arguments,
            lambda by: _signed(time, within, mark, of, by),
            "performed",
            of_time=True,
        )
        self._refuse_known(what, mark.boot)  # the password took a while
        return await self._core.record_for_host(event, answer=arguments["answer"])

    def _moment(self, what: str, of: int) -> Mark:
        """Return the moment of which the time is said: now, or that of an event on record."""
        if not of:
            return Mark(str(self._core.clock.boot()), self._core.clock.boottime().base)
        if not 0 < of <= self._core.state.seq:
            raise RefusedError(
                what,
                why=f"there is no event {of}",
                do_next="Give the number that the alarm says",
            )
        event = next(self._core.journal.events(of))
        return Mark(str(event.boot), event.boottime.base)

    def _refuse_known(self, what: str, boot: str) -> None:
        """Refuse a person's word where the clock's own is known, which is better."""
        known = self._core.state.known_times.get(boot)
        if known is not None and not known.signed:
            raise RefusedError(
                what,
                why="the host's clock was synchronised then, and its time is on record",
                do_next="Do nothing: nobody needs it",
            )


def _signed(time: Instant, within: Duration, mark: Mark, of: int, by: Signed) -> TimeSigned:
    return TimeSigned(
        time=time, within=str(within), boot=mark.boot, boottime=mark.ms, of=of, signature=by
    )


def time_view(
    state: HostState, boot: str, shown: Instant, offset: Duration | None
) -> dict[str, Any]:
    """Return what the host's clock shows, and how far it may be believed."""
    known = state.known_times.get(boot)
    return {
        "shown": str(shown),
        "offset": "" if offset is None else str(offset),
        "known": known is not None,
        "signed": known is not None and known.signed,
        "jumped": state.jumped,
        "starts_unknown": sum(1 for one in state.boots if one not in state.known_times),
    }
