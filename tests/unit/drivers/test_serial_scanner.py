"""The scanner driver: labels that come unasked, triggers, and what is no label."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from devices.drivers.serial_scanner import SCAN, STOP_SCANNING, SerialScanner, Settings
from devices.interfaces.scanning import LabelRead
from devices.interfaces.valves import ValvesOpen
from devices.transport.transport import Transport
from orchestrator.kernel.errors import OutcomeUnknownError, RefusedError
from orchestrator.kernel.identifiers import EquipmentId
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import Paper, at_the_wire, until

LABEL = LabelRead(unit="transfer station")


def with_scanner(
    story: Callable[[SerialScanner, Paper], Awaitable[None]],
    *,
    triggered: bool = False,
    answer: Callable[[bytes], bytes | None] = lambda _request: None,
) -> None:
    paper = Paper(answer, split=until(b"\r"))

    def make(line: Transport) -> SerialScanner:
        settings = Settings(triggered=triggered, label_length_max=40)
        return SerialScanner(line, equipment=EquipmentId("S1"), settings=settings)

    async def main() -> None:
        async with at_the_wire(paper, make) as scanner:
            await story(scanner, paper)

    run_in_virtual_time(main())


async def scanned(scanner: SerialScanner, paper: Paper, data: bytes) -> str:
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(scanner.read(LABEL))
        await asyncio.sleep(3600)
        await paper.say(data)
    return reading.result()


@pytest.mark.parametrize("ending", [b"\r", b"\r\n"])
def test_a_hand_scanner_is_waited_for(ending: bytes) -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        for _ in range(2):
            assert await scanned(scanner, paper, b"C-000231" + ending) == "C-000231"
        assert paper.written == []

    with_scanner(story)


def test_a_label_read_before_the_question_does_not_count() -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        await paper.say(b"C-000999\r\n")
        assert await scanned(scanner, paper, b"C-000231\r\n") == "C-000231"

    with_scanner(story)


@pytest.mark.parametrize(
    "data",
    [b"C-\x1b]52;c;AAAA\x07\r", b"C-\xc2\xb5\r", b"C" * 41 + b"\r", b"C-\x00\r", b"   \r"],
)
def test_what_is_no_label_is_refused_and_never_shown(data: bytes) -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        with pytest.raises(ExceptionGroup) as refused:
            await scanned(scanner, paper, data)
        error = refused.value.exceptions[0]
        assert isinstance(error, RefusedError)
        assert str(error).isprintable()
        assert "C-" not in str(error)

    with_scanner(story)


def test_a_fixed_scanner_is_triggered() -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        assert await scanner.read(LABEL) == "K-000052"
        assert paper.written == [SCAN] * 3

    with_scanner(story, triggered=True, answer=lambda _request: b"K-000052\r\n")


def test_a_fixed_scanner_that_sees_nothing_says_so() -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        with pytest.raises(OutcomeUnknownError):
            await scanner.read(LABEL)
        assert asyncio.get_running_loop().time() == pytest.approx(9)
        await asyncio.sleep(0.001)
        assert paper.written == [SCAN, STOP_SCANNING] * 3

    with_scanner(story, triggered=True)


def test_a_question_given_up_leaves_the_scanner_ready_for_the_next() -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await scanner.read(LABEL)
        assert await scanned(scanner, paper, b"C-000231\r") == "C-000231"

    with_scanner(story)


@pytest.mark.parametrize("triggered", [False, True])
def test_a_closed_line_ends_the_waiting(triggered: bool) -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        async def cut() -> None:
            await asyncio.sleep(1)
            assert paper.line is not None
            await paper.line.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            with pytest.raises(OutcomeUnknownError):
                await scanner.read(LABEL)
        with pytest.raises(OutcomeUnknownError):
            await scanner.read(LABEL)

    with_scanner(story, triggered=triggered)


def test_it_shows_nothing_that_acts_change_and_refuses_other_readings() -> None:
    async def story(scanner: SerialScanner, paper: Paper) -> None:
        standing = await scanner.standing()
        assert standing.values == dict(scanner.only_acts_change) == {}
        assert (await scanner.identify()).model == "serial_scanner"
        with pytest.raises(RefusedError):
            await scanner.read(ValvesOpen(unit="transfer station"))
        assert paper.written == []

    with_scanner(story)
