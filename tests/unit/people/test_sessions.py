"""A session is its token's hash, and ends: by use, by idleness, with the host's boot.

Method: entropy from a counter; sessions folded from their events by the engine's fold.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import EVENTS, AnyEvent, CommandAnswered, PersonAdded
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.errors import NotAuthorisedError
from orchestrator.kernel.identifiers import BootId, UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, hour, minute
from orchestrator.people.sessions import (
    IDLE,
    LIFETIME,
    NoSessionError,
    Opened,
    close_session,
    holder_of,
    open_session,
    token_sha256,
)
from tests.unit.people.builders import present, staff

BOOT, LATER_BOOT = BootId("boot-1"), BootId("boot-2")
START = 3 * hour
"""What the boot-time clock shows when a session is opened."""


def counting() -> Callable[[int], bytes]:
    asked = 0

    def entropy(size: int) -> bytes:
        nonlocal asked
        asked += 1
        return asked.to_bytes(size, "big")

    return entropy


class Host:
    """A host's fold, and its boot-time clock."""

    def __init__(self) -> None:
        self.state = HostState()
        self.entropy = counting()
        for user, one in staff().items():
            added = PersonAdded(
                user=UserId(user), login=one.login, printed_name=one.printed_name,
                roles=tuple(one.roles), secret=one.secret, by=None,
            )  # fmt: skip
            self.record(added, START)

    def record(self, event: AnyEvent, now: Duration, boot: BootId = BOOT) -> None:
        read_back = EVENTS.validate_json(event.model_dump_json())
        at = Instant.read("2026-01-05T08:00:00.000000Z")
        seq = self.state.seq + 1
        fold(self.state, Recorded(seq, at, boot, now, "host", read_back))

    def opened(self, login: str, now: Duration = START, boot: BootId = BOOT) -> Opened:
        person = present(staff(), login)
        opened = open_session(person, terminal="desk", entropy=self.entropy)
        self.record(opened.event, now, boot)
        return opened

    def uses(self, opened: Opened, now: Duration, request: str = "r-1") -> None:
        session, by = opened.event.token_sha256, opened.event.user
        answered = CommandAnswered(
            command="hold", by=by, session=session, request=request, arguments="0" * 64
        )
        self.record(answered, now)

    def holder(self, opened: Opened, now: Duration, boot: BootId = BOOT) -> str:
        return holder_of(self.state.sessions, opened.token, boot=boot, now=now)


def test_a_token_opens_its_own_session_and_no_other() -> None:
    host = Host()
    tina, tom = host.opened("tina"), host.opened("tom")
    assert host.holder(tina, START) == "U-0002"
    assert host.holder(tom, START) == "U-0003"
    for other in ("", tina.token.upper() + "0", tina.event.token_sha256, "\ud800", "0" * 64):
        with pytest.raises(NotAuthorisedError, match="Log in"):
            holder_of(host.state.sessions, other, boot=BOOT, now=START)


def test_the_record_holds_no_token() -> None:
    opened = open_session(present(staff(), "tina"), terminal="desk", entropy=secrets.token_bytes)
    assert len(bytes.fromhex(opened.token)) == 32
    assert opened.token not in opened.event.model_dump_json()
    assert opened.token not in repr(opened)
    assert opened.event.token_sha256 == token_sha256(opened.token)


@pytest.mark.requirement("SIG-06")
def test_a_session_that_nobody_uses_is_over_and_use_keeps_it_open() -> None:
    host = Host()
    used, idle = host.opened("tina"), host.opened("tom")
    soon = START + 14 * minute
    host.uses(used, soon)
    assert host.holder(idle, soon) == "U-0003"
    for session, over in ((idle, START + IDLE), (used, soon + IDLE)):
        assert host.holder(session, Duration.of_base(over.base - 1))
        with pytest.raises(NoSessionError, match="no command was given in it for 15 min"):
            host.holder(session, over)


def test_a_session_ends_however_busy_it_is() -> None:
    host = Host()
    opened = host.opened("tina")
    for minutes in range(10, 12 * 60, 10):
        assert host.holder(opened, START + minutes * minute) == "U-0002"
        host.uses(opened, START + minutes * minute, f"r-{minutes}")
    with pytest.raises(NoSessionError, match="it was open for 12 h"):
        host.holder(opened, START + LIFETIME)


def test_a_session_outlives_the_daemon_and_not_the_host() -> None:
    host = Host()
    opened = host.opened("tina")
    assert host.holder(opened, START + 1 * minute) == "U-0002", "as folded at each start"
    with pytest.raises(NoSessionError, match="the host was started anew"):
        host.holder(opened, START + 1 * minute, LATER_BOOT)


def test_sessions_that_are_over_are_forgotten_and_not_what_was_answered() -> None:
    """A command whose answer was lost is given again in the next session."""
    host = Host()
    over, closed = host.opened("tina"), host.opened("tom")
    host.uses(over, START)
    host.uses(closed, START)
    assert len(host.state.answered) == 2
    host.record(close_session(host.state.sessions, closed.token, why="logged out"), START)
    kept = host.opened("tom", START + IDLE)
    assert set(host.state.sessions) == {kept.event.token_sha256}
    assert len(host.state.answered) == 2


def test_a_closed_session_opens_nothing_and_closes_once() -> None:
    host = Host()
    opened = host.opened("tina")
    closed = close_session(host.state.sessions, opened.token, why="logged out")
    host.record(closed, START)
    with pytest.raises(NotAuthorisedError):
        host.holder(opened, START)
    with pytest.raises(NotAuthorisedError):
        close_session(host.state.sessions, opened.token, why="logged out")


def test_too_little_entropy_opens_no_session() -> None:
    with pytest.raises(ValueError, match="not 32"):
        open_session(present(staff(), "tina"), terminal="desk", entropy=lambda size: bytes(8))
