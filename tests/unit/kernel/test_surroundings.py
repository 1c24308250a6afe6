"""What the kernel says doesn't depend on the host's time zone, language or hash seed.

Each time the kernel's other tests run in a process of their own, at a place whose clocks are
set on and back, half an hour off or beyond the date line, and in a language whose i and I differ.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.kernel.instants import Instant

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SHIPPED = ("chain_of_identity", "devices", "hw_mocks", "orchestrator", "protocols")

LOCAL_TIME = frozenset(
    {"localtime", "mktime", "tzset", "ctime", "asctime", "tzlocal", "ZoneInfo"}
    | {"today", "utcnow", "utcfromtimestamp", "fromtimestamp", "setlocale", "strxfrm"}
)
"""Names by which Python asks for local time or the locale."""

SURROUNDINGS = (
    ("Europe/Berlin", "C", "0"),
    ("America/St_Johns", "tr_TR.UTF-8", "1"),
    ("Pacific/Apia", "C", "2"),
    ("Europe/Berlin", "tr_TR.UTF-8", "3"),
    ("America/St_Johns", "C", "4"),
)


@pytest.mark.release_proof
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("zone", "locale", "seed"), SURROUNDINGS)
def test_the_kernels_tests_pass_in_any_surroundings(zone: str, locale: str, seed: str) -> None:
    around = {**os.environ, "TZ": zone, "LC_ALL": locale, "LANG": locale, "PYTHONHASHSEED": seed}
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-m", "not release_proof", HERE, ROOT / "tests/property/test_elapsed_time.py"),
        ],
        cwd=ROOT,
        env=around,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3_000:]


@pytest.mark.requirement("REC-10")
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Apia"])
def test_an_instant_is_the_same_at_the_hours_when_clocks_are_set(zone: str) -> None:
    """Over the hours that a zone leaves out or counts twice, each instant reads back as itself."""
    script = (
        "from orchestrator.kernel.instants import Instant, SystemClock\n"
        "from orchestrator.kernel.quantities import minute\n"
        "for day in ('2026-03-29', '2026-10-25', '2026-03-08', '2026-11-01', '2011-12-30'):\n"
        "    first = Instant.read(day + 'T00:00:00.000000Z')\n"
        "    for number in range(0, 1440, 15):\n"
        "        one = first + number * minute\n"
        "        assert Instant.read(str(one)) == one == Instant.of_datetime(one.as_datetime())\n"
        "        print(one, one.micros)\n"
        "now = SystemClock().utc()\n"
        "import time\n"
        "assert abs(now.micros / 1e6 - time.time()) < 5\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "TZ": one},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for one in ("UTC", zone)
    ]
    assert told[0] == told[1]
    assert told[0].count("\n") == 5 * 96


def test_nothing_that_ships_asks_for_local_time_or_the_locale() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno} {name}"
        for folder in SHIPPED
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        for name in (_called(node),)
        if name in LOCAL_TIME
    ]
    assert not found


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


@pytest.mark.requirement("DIC-06")
def test_the_sixtieth_second_is_never_written_nor_read() -> None:
    before = Instant.read("2016-12-31T23:59:59.999999Z")
    after = Instant.of_micros(before.micros + 1)
    assert str(after) == "2017-01-01T00:00:00.000000Z"
    with pytest.raises(ValueError, match="second"):
        Instant.read("2016-12-31T23:59:60.000000Z")
