"""The tests of the tests: left tasks are found, requirement ids exist, the trace counts right.

Method: small test files run in a pytest of their own, below a copy of this project's conftest.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests import trace
from tests.trace import Declared, report, titles

pytest_plugins = ["pytester"]

LEAVES_ONE_IN_A_RUNNER = """
    import asyncio

    async def leave():
        asyncio.get_running_loop().left = asyncio.create_task(asyncio.sleep(3600))

    def test_it():
        asyncio.run(leave())
"""

LEAVES_ONE_IN_A_LOOP = """
    import asyncio

    async def leave():
        asyncio.get_running_loop().left = asyncio.create_task(asyncio.Event().wait())

    def test_it():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(leave())
        loop.left.cancel()
        loop.close()
"""

LEAVES_ONE_IN_PYTEST_ASYNCIO = """
    import asyncio

    async def test_it():
        asyncio.get_running_loop().left = asyncio.create_task(asyncio.sleep(3600))
"""

LEAVES_NONE = """
    import asyncio

    async def test_it():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))

    def test_it_too():
        asyncio.run(asyncio.sleep(0))
"""


@pytest.fixture
def house(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project of one test file, under this project's conftest."""
    pytester.makeconftest(Path(trace.__file__).with_name("conftest.py").read_text("utf-8"))
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "markers =\n  leaves_tasks(why): .\n  requirement(*ids): .\n"
    )
    return pytester


@pytest.mark.leaves_tasks("the inner tests share this process")
@pytest.mark.parametrize(
    "text",
    [LEAVES_ONE_IN_A_RUNNER, LEAVES_ONE_IN_A_LOOP, LEAVES_ONE_IN_PYTEST_ASYNCIO],
    ids=["runner", "loop", "pytest-asyncio"],
)
def test_a_test_that_leaves_a_task_fails(house: pytest.Pytester, text: str) -> None:
    house.makepyfile(text)
    result = house.runpytest_inprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*tasks left behind:*"])


def test_a_test_that_ends_its_tasks_passes(house: pytest.Pytester) -> None:
    house.makepyfile(LEAVES_NONE)
    house.runpytest_inprocess().assert_outcomes(passed=2)


@pytest.mark.leaves_tasks("the inner test shares this process")
def test_a_test_may_drop_its_tasks_if_it_says_why(house: pytest.Pytester) -> None:
    saying_why = 'import pytest\npytestmark = pytest.mark.leaves_tasks("a crash")\n'
    house.makepyfile(saying_why + dedent(LEAVES_ONE_IN_A_RUNNER))
    house.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.requirement("VAL-02")
def test_an_unknown_requirement_stops_the_run(house: pytest.Pytester) -> None:
    house.makepyfile(
        """
        import pytest

        @pytest.mark.requirement("IDC-05", "IDC-99")
        def test_it():
            pass
        """
    )
    result = house.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*IDC-99 is not in tests/requirements.txt*"])


def test_the_seed_is_printed_and_can_be_given(house: pytest.Pytester) -> None:
    house.makepyfile("def test_it(seed):\n    assert seed == 7")
    result = house.runpytest_inprocess("--seed", "7")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["seed: 7 *"])


@pytest.mark.requirement("VAL-02", "VAL-07")
def test_the_trace_lists_what_no_test_names_and_what_emulation_cannot_show() -> None:
    known = {"IDC-01": "one", "IDC-02": "two"}
    tests = [Declared("a.py::t", ("IDC-02",), ("the tube's wear",))]
    text = report(known, tests)
    assert "tests name: 1 of 2" in text
    assert "without a test: 1\n  IDC-01  one" in text
    assert "to prove: 1\n  the tube's wear\n            a.py::t" in text


def test_every_shipped_requirement_has_one_id_and_a_title() -> None:
    assert len(titles()) == 161


@pytest.mark.parametrize("line", ["IDC-1  short", "IDC-01 one space", "IDC-01  a\nIDC-01  b"])
def test_a_broken_requirement_list_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=r"requirements\.txt:[12]"):
        titles(path)
