"""A session is its token's hash: the record gives nobody a session, and a restart keeps all.

Method: entropy from a counter; sessions folded from the events as the engine folds them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from orchestrator.journal.events import EVENTS, SessionOpened
from orchestrator.kernel.errors import NotAuthorisedError
from orchestrator.people.sessions import (
    close_session,
    holder_of,
    open_session,
    token_sha256,
)
from tests.unit.people.builders import present, staff


def counting() -> Callable[[int], bytes]:
    asked = 0

    def entropy(size: int) -> bytes:
        nonlocal asked
        asked += 1
        return asked.to_bytes(size, "big")

    return entropy


def test_a_token_opens_its_own_session_and_no_other() -> None:
    people, entropy = staff(), counting()
    tina = open_session(present(people, "tina"), terminal="desk", entropy=entropy)
    tom = open_session(present(people, "tom"), terminal="door", entropy=entropy)
    sessions: dict[str, str] = {one.event.token_sha256: one.event.user for one in (tina, tom)}
    assert holder_of(sessions, tina.token) == "U-0002"
    assert holder_of(sessions, tom.token) == "U-0003"
    for other in ("", tina.token.upper() + "0", tina.event.token_sha256, "\ud800", "0" * 64):
        with pytest.raises(NotAuthorisedError, match="Log in"):
            holder_of(sessions, other)


def test_the_record_holds_no_token() -> None:
    opened = open_session(present(staff(), "tina"), terminal="desk", entropy=secrets.token_bytes)
    assert len(bytes.fromhex(opened.token)) == 32
    assert opened.token not in opened.event.model_dump_json()
    assert opened.token not in repr(opened)
    assert opened.event.token_sha256 == token_sha256(opened.token)


def test_a_session_outlives_a_restart_of_the_daemon() -> None:
    opened = open_session(present(staff(), "tina"), terminal="desk", entropy=counting())
    read_back = EVENTS.validate_json(opened.event.model_dump_json())
    assert isinstance(read_back, SessionOpened)
    folded = {read_back.token_sha256: str(read_back.user)}
    assert holder_of(folded, opened.token) == "U-0002"


def test_a_closed_session_opens_nothing_and_closes_once() -> None:
    opened = open_session(present(staff(), "tina"), terminal="desk", entropy=counting())
    sessions: dict[str, str] = {opened.event.token_sha256: opened.event.user}
    closed = close_session(sessions, opened.token, why="logged out")
    del sessions[closed.token_sha256]
    with pytest.raises(NotAuthorisedError):
        holder_of(sessions, opened.token)
    with pytest.raises(NotAuthorisedError):
        close_session(sessions, opened.token, why="logged out")


def test_too_little_entropy_opens_no_session() -> None:
    with pytest.raises(ValueError, match="not 32"):
        open_session(present(staff(), "tina"), terminal="desk", entropy=lambda size: bytes(8))
