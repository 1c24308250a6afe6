"""A closed deviation waives a limit's one run, for which it was opened, and no later one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from orchestrator.engine.fold import fold
from orchestrator.engine.interlocks.limits import limits
from orchestrator.engine.state import HostState
from orchestrator.journal.events import (
    DeviationClosed,
    DeviationOpened,
    LimitEnded,
    LimitStarted,
    Signed,
)
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.identifiers import BatchId, BootId, UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, minute

BATCH = BatchId("B-1")
LIMIT = "B-1/out of the cold"
BOOT = BootId("00000000-0000-4000-8000-000000000001")
NOW = Instant.read("2026-01-01T00:00:00.000000Z")
STARTED = LimitStarted(
    limit=LIMIT,
    owner="out of the cold",
    batch=BATCH,
    minimum="",
    maximum=str(2 * minute),
    tier="block",
    source="set by site",
)
SIGNED = Signed(
    signer=UserId("U-0001"),
    printed_name="Quality",
    meaning="approved",
    signed_digest="0" * 64,
    signed_at=NOW,
)


def test_a_deviation_waives_only_the_run_for_which_it_was_opened() -> None:
    state = HostState()

    def happens(*events: Any) -> None:
        for event in events:
            seq = state.seq + 1
            fold(state, Recorded(seq, NOW, BOOT, Duration.of_base(0), BATCH, event))
        assert not state.unfolded

    permit = cast(
        "Any",
        SimpleNamespace(
            state=state,
            batch_name=BATCH,
            act=SimpleNamespace(makes_safe=lambda: False),
            clock=SimpleNamespace(boot=lambda: BOOT, boottime=lambda: 10 * minute),
        ),
    )
    opened = DeviationOpened(deviation="D-1", batch=BATCH, path=None, text="late", limit=LIMIT)
    closed = DeviationClosed(deviation="D-1", signature=SIGNED)
    happens(STARTED)
    assert limits(permit)
    happens(opened)
    assert limits(permit)
    happens(closed)
    assert limits(permit) is None
    happens(LimitEnded(limit=LIMIT, used="10 min"), STARTED)
    assert limits(permit), "the next run of the limit is waived by the deviation of an earlier one"
