"""Time: instants for records, a boot-time clock for durations, both injected.

Wall time and boot time never mix: an ``Instant`` is UTC and may jump when the host's
clock is set; boot time only moves on, also while the host is suspended, and starts anew
with each boot, which ``BootId`` names. Only ``SystemClock`` asks the host.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self, cast, final, overload

from pydantic_core import core_schema

from orchestrator.kernel.identifiers import BootId
from orchestrator.kernel.quantities import Duration

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NAIVE: Final = _EPOCH.replace(tzinfo=None)
_MICROSECOND: Final = timedelta(microseconds=1)
_FORM: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII
)


@final
class Instant:
    """A moment in UTC, in whole microseconds.

    Written as ``2026-11-23T10:07:13.123456Z`` and in no other way, so that texts sort
    as moments do. Years 1 to 9999.
    """

    __slots__ = ("micros",)

    micros: int
    """Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted."""

    def __new__(cls) -> Self:
        """Refuse: instants come from a clock, from text or from another instant."""
        raise TypeError("ask a clock for an Instant, or use Instant.read")

    @classmethod
    def of_micros(cls, micros: int) -> Instant:
        """Return the instant so many microseconds after 1970-01-01T00:00:00Z."""
        if type(micros) is not int:
            raise TypeError(f"{micros!r}: microseconds are a whole number")
        if not _FIRST <= micros <= _LAST:
            raise ValueError(f"{micros} microseconds lie outside the years 1 to 9999")
        made = object.__new__(Instant)
        _set_micros(made, micros)
        return made

    @classmethod
    def of_datetime(cls, moment: datetime) -> Instant:
        """Return the instant of an aware ``moment``.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        if moment.utcoffset() is None:
            raise ValueError(f"{moment} has no time zone")
        return cls.of_micros((moment - _EPOCH) // _MICROSECOND)

    @classmethod
    def read(cls, text: str) -> Instant:
        """Return the instant written as ``text``.

        Raises:
            ValueError: It isn't of the form ``2026-11-23T10:07:13.123456Z``, or no such
                day or time exists.
        """
        if _FORM.fullmatch(text) is None:
            raise ValueError(f"{text!r} isn't of the form '2026-11-23T10:07:13.123456Z'")
        return cls.of_micros((datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND)

    def as_datetime(self) -> datetime:
        """Return it as an aware datetime in UTC, for display."""
        return _EPOCH + timedelta(microseconds=self.micros)

    def __add__(self, duration: Duration) -> Instant:
        if duration.__class__ is not Duration:
            return NotImplemented
        return Instant.of_micros(self.micros + duration.base * 1_000)

    @overload
    def __sub__(self, other: Duration) -> Instant: ...
    @overload
    def __sub__(self, other: Instant) -> Duration: ...
    def __sub__(self, other: Duration | Instant) -> Instant | Duration:
        """Return the instant so much earlier, or the whole milliseconds since ``other``.

        Milliseconds are rounded down, so no time is counted that hasn't passed.
        """
        if isinstance(other, Duration):
            return Instant.of_micros(self.micros - other.base * 1_000)
        if isinstance(cast("object", other), Instant):
            return Duration.of_base((self.micros - other.micros) // 1_000)
        return NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Instant):
            return NotImplemented
        return self.micros == other.micros

    def __lt__(self, other: Instant) -> bool:
        if other.__class__ is not Instant:
            return NotImplemented
        return self.micros < other.micros

    def __le__(self, other: Instant) -> bool:
        if other.__class__ is not Instant:
            return NotImplemented
        return self.micros <= other.micros

    def __gt__(self, other: Instant) -> bool:
        if other.__class__ is not Instant:
            return NotImplemented
        return self.micros > other.micros

    def __ge__(self, other: Instant) -> bool:
        if other.__class__ is not Instant:
            return NotImplemented
        return self.micros >= other.micros

    def __hash__(self) -> int:
        return hash(self.micros)

    def __str__(self) -> str:
        moment = _EPOCH_NAIVE + timedelta(microseconds=self.micros)  # "+00:00" would take as long
        return moment.isoformat(timespec="microseconds") + "Z"

    def __repr__(self) -> str:
        return f"Instant.read({str(self)!r})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("an Instant can't be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("an Instant can't be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[int], Instant], tuple[int]]:
        return Instant.of_micros, (self.micros,)

    @classmethod
    def _validated(cls, value: object) -> Instant:
        if isinstance(value, Instant):
            return value
        if isinstance(value, str):
            return cls.read(value)
        raise ValueError(f"{value!r} isn't an instant: write it as text")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validate an instance or its text; serialise as its text."""
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.to_string_ser_schema(when_used="always")
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe it as text with an example."""
        return {
            "type": "string",
            "title": "Instant",
            "examples": ["2026-11-23T10:07:13.123456Z"],
        }


_set_micros: Final[Any] = Instant.__dict__["micros"].__set__  # past __setattr__
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class Clock(Protocol):
    """What a host, a virtual loop or a room says of the time."""

    def utc(self) -> Instant:
        """Return the present moment, for records. It may jump."""
        ...

    def boottime(self) -> Duration:
        """Return the time since this boot, suspended time included. It never goes back."""
        ...

    def boot(self) -> BootId:
        """Return which boot ``boottime`` counts from."""
        ...

    def offset(self) -> Duration | None:
        """Return the most that ``utc`` may be off, either way, as who keeps it states it.

        None where it isn't kept to a reference, or nobody knows whether it is.
        """
        ...


class _Timex(ctypes.Structure):
    """The kernel's ``struct timex``: the fields up to ``status``, then room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_STA_UNSYNC: Final = 0x0040  # adjtimex(2), status bits
_TIME_ERROR: Final = 5  # adjtimex(2), return values


@cache
def _adjtimex() -> Callable[[Any], int] | None:
    try:
        return ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None


@final
class SystemClock:
    """The clock of the Linux host this runs on. Implements ``Clock``."""

    def __init__(self) -> None:
        """Read the boot id once: it can't change while this process lives."""
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        self._boot = BootId(text.strip())

    def utc(self) -> Instant:
        """Return the host's wall time."""
        return Instant.of_micros(time.time_ns() // 1_000)

    def boottime(self) -> Duration:
        """Return whole milliseconds of CLOCK_BOOTTIME."""
        return Duration.of_base(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)

    def boot(self) -> BootId:
        """Return the kernel's boot id."""
        return self._boot

    def offset(self) -> Duration | None:
        """Return the kernel's maximum error, by adjtimex(2) without changing it.

        It is what chrony (with ``rtcsync``) or ntpd told the kernel, and the kernel adds 0.5 ms
        for each second since; here it is rounded up, with two milliseconds more, since two
        clocks are read and each to a millisecond. None where the kernel says unsynchronised,
        where it can't be asked (a sandbox without the call) and where it is in error: an
        unknown clock is treated as a wrong one.
        """
        adjtimex = _adjtimex()
        if adjtimex is None:
            return None
        timex = _Timex(modes=0)
        state = adjtimex(ctypes.byref(timex))
        if not 0 <= state != _TIME_ERROR or timex.status & _STA_UNSYNC:
            return None
        return Duration.of_base(-(-timex.maxerror // 1_000) + 2)
