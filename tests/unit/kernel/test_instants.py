"""Instants are exact to the microsecond, and the host's clock keeps its promises.

Method: text both ways, arithmetic by hand, and one look at the real clock.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel, ValidationError

from orchestrator.kernel import instants
from orchestrator.kernel.instants import Clock, Instant, SystemClock
from orchestrator.kernel.quantities import Duration, day, mL, ms, second

NOON = Instant.read("2026-11-23T12:00:00.000000Z")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T10:07:13.123456Z",
        "0001-01-01T00:00:00.000000Z",
        "1969-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59.999999Z",
        "2028-02-29T00:00:00.000001Z",
    ],
)
def test_text_is_exact_both_ways(text: str) -> None:
    moment = Instant.read(text)
    assert str(moment) == text
    assert Instant.of_micros(moment.micros) == moment
    assert Instant.of_datetime(moment.as_datetime()) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T10:07:13Z",
        "2026-11-23T10:07:13.123Z",
        "2026-11-23 10:07:13.123456Z",
        "2026-11-23T10:07:13.123456+00:00",
        "2026-11-23T10:07:13.123456",
        "2026-02-30T10:07:13.123456Z",
        "2026-11-23T10:07:60.123456Z",
        "2026-11-23T10:07:13.123456Z\n",
        "",
    ],
)
def test_any_other_form_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|month|second|day"):
        Instant.read(text)


def test_arithmetic_is_in_durations() -> None:
    assert str(NOON + 1 * day) == "2026-11-24T12:00:00.000000Z"
    assert (NOON + 1 * day) - NOON == 1 * day
    assert NOON - 1 * second == Instant.read("2026-11-23T11:59:59.000000Z")
    assert NOON + 1 * ms > NOON
    assert NOON - 1 * ms <= NOON
    assert NOON <= NOON
    assert NOON + 1 * ms > NOON


def test_elapsed_time_never_counts_what_has_not_passed() -> None:
    almost = Instant.of_micros(NOON.micros + 1_999)
    assert almost - NOON == 1 * ms


def test_an_instant_is_no_other_thing() -> None:
    with pytest.raises(TypeError):
        NOON + 1 * mL  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        NOON + NOON  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        NOON - 5  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    with pytest.raises(TypeError):
        sorted([NOON, "2026"])
    with pytest.raises(TypeError):
        Instant()
    with pytest.raises(TypeError):
        Instant.of_micros(1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeError):
        NOON.micros = 0
    with pytest.raises(ValueError, match="years 1 to 9999"):
        Instant.of_micros(10**18)
    assert NOON.micros != NOON


def test_a_datetime_needs_its_zone() -> None:
    east = datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=2)))
    assert Instant.of_datetime(east) == NOON
    assert NOON.as_datetime().tzinfo is UTC
    with pytest.raises(ValueError, match="no time zone"):
        Instant.of_datetime(datetime(2026, 11, 23, 14))  # noqa: DTZ001 - a naive one is the case


def test_copies_pickles_and_hashes_agree() -> None:
    assert copy.deepcopy(NOON) is NOON
    assert pickle.loads(pickle.dumps(NOON)) == NOON
    assert len({NOON, Instant.of_micros(NOON.micros)}) == 1


class Seen(BaseModel):
    at: Instant


@pytest.mark.requirement("REC-13")
def test_a_model_stores_text_and_refuses_numbers() -> None:
    seen = Seen(at=NOON)
    assert seen.model_dump() == {"at": "2026-11-23T12:00:00.000000Z"}
    assert Seen.model_validate_json(seen.model_dump_json()) == seen
    assert Seen.model_json_schema()["properties"]["at"]["type"] == "string"
    for wrong in (1_795_000_000, "2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)):
        with pytest.raises(ValidationError):
            Seen.model_validate({"at": wrong})


def test_the_hosts_clock_moves_on_and_names_its_boot() -> None:
    clock: Clock = SystemClock()
    before, since_boot = clock.utc(), clock.boottime()
    assert Instant.read("2020-01-01T00:00:00.000000Z") < before
    assert Duration.of_base(0) < since_boot <= clock.boottime()
    assert clock.boot() == SystemClock().boot()
    offset = clock.offset()
    assert offset is None or offset > Duration.of_base(0)


class Discipline:
    """Stands for adjtimex(2): answers with one state and one status."""

    def __init__(self, state: int, status: int) -> None:
        self._state = state
        self._status = status

    def __call__(self, reference: object) -> int:
        timex = reference._obj  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        assert timex.modes == 0, "the clock is asked, never set"  # pyright: ignore[reportUnknownMemberType]
        timex.status = self._status
        timex.maxerror = 41_001
        return self._state


@pytest.mark.parametrize(
    ("discipline", "kept"),
    [
        (Discipline(0, 0x0001), True),
        (Discipline(0, 0x2001), True),
        (Discipline(1, 0x0011), True),
        (Discipline(5, 0x0041), False),
        (Discipline(0, 0x0040), False),
        (Discipline(-1, 0), False),
        (None, False),
    ],
    ids=["kept", "kept in ns", "leap second due", "error", "unsynchronised", "not allowed", "none"],
)
def test_an_unknown_clock_counts_as_a_wrong_one(
    discipline: Discipline | None, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instants, "_adjtimex", lambda: discipline)
    assert SystemClock().offset() == (Duration.of_base(42 + 2) if kept else None)
