"""What holds for every test: seeds are printed, tasks are not left behind, ids exist.

Method: the seed is drawn once by the process that was called and handed to its workers, so a
failure repeats with ``--seed``. Tasks are looked at when a loop closes, because closing cancels
what is left and so would hide it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests import trace

SEED_BITS = 32


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed",
        type=int,
        default=None,
        help="seed of every generator in the tests, Hypothesis included; drawn and printed if none",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    handed: dict[str, Any] = getattr(config, "workerinput", {})
    if "seed" in handed:
        config.option.seed = handed["seed"]
    elif config.option.seed is None:
        config.option.seed = secrets.randbits(SEED_BITS)
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(config.option.seed)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker, before it starts (a hook of pytest-xdist)."""
    node.workerinput["seed"] = node.config.option.seed


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (repeat with --seed {config.option.seed})"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(f"This run's seed: repeat it with --seed {config.option.seed}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = trace.titles()
    wrong = [
        f"{test.name}: {identifier} is not in tests/requirements.txt"
        for test in map(trace.declared_by, items)
        for identifier in test.requirements
        if identifier not in known
    ]
    if wrong:
        raise pytest.UsageError("\n".join(wrong))


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run, for a test's own ``random.Random(seed)``."""
    return pytestconfig.option.seed


@pytest.fixture(autouse=True)
def no_task_left_behind(  # pyright: ignore[reportUnusedFunction]
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail the test if a loop that it used still had tasks when it was closed."""
    left: dict[int, str] = {}

    def look(loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is not None:
            left.update((id(task), repr(task)) for task in asyncio.all_tasks(loop))

    close_runner = asyncio.Runner.close
    close_loop = asyncio.BaseEventLoop.close

    def looking_runner(runner: asyncio.Runner) -> None:
        held: dict[str, Any] = vars(runner)
        look(held["_loop"])
        close_runner(runner)

    def looking_loop(loop: asyncio.BaseEventLoop) -> None:
        look(loop)
        close_loop(loop)

    monkeypatch.setattr(asyncio.Runner, "close", looking_runner)
    monkeypatch.setattr(asyncio.BaseEventLoop, "close", looking_loop)
    yield
    if left and request.node.get_closest_marker("leaves_tasks") is None:
        pytest.fail("tasks left behind:\n" + "\n".join(left.values()), pytrace=False)
