"""The MT-SICS driver against printed answers and a balance on paper, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from devices.drivers.mettler_mt_sics import MettlerMtSics, Settings
from devices.interfaces.driver import Standing
from devices.interfaces.valves import ValvesOpen
from devices.interfaces.weighing import Tare, Weight
from devices.transport.transport import Transport
from orchestrator.kernel.acts import AllDone, CannotTell, NothingDone, OnInterruption, Quieten
from orchestrator.kernel.errors import (
    DeviceFaultError,
    FailedError,
    OutcomeUnknownError,
    RefusedError,
)
from orchestrator.kernel.identifiers import EquipmentId
from orchestrator.kernel.quantities import minute
from orchestrator.virtual_time import run_in_virtual_time
from tests.unit.drivers.paper import FIRST, Paper, at_the_wire, until

WEIGHT = Weight(unit="transfer station", part="vessel")
TARE = Tare(
    unit="transfer station",
    longest=1 * minute,
    on_interruption=OnInterruption.REPEAT,
    quieten=Quieten.LEAVE_RUNNING,
)


class PaperBalance(Paper):
    """Answers from a table; a list is used up, its last answer stays."""

    def __init__(self, **answers: str | list[str]) -> None:
        super().__init__(self.reply, split=until(b"\r\n"))
        self.answers: dict[str, list[str]] = {
            "S": ["S S     812.41 g"],
            "T": ["T S     812.41 g"],
            "TA": ["TA A      0.00 g"],
            "I2": ['I2 A "MS3002S 3200.00 g"'],
            "I3": ['I3 A "2.10 10.28.0.493.142"'],
            "I4": ['I4 A "B021002593"'],
        }
        for request, answer in answers.items():
            self.answers[request] = [answer] if isinstance(answer, str) else answer

    def reply(self, request: bytes) -> bytes | None:
        left = self.answers[request[:-2].decode()]
        answer = left.pop(0) if len(left) > 1 else left[0]
        return f"{answer}\r\n".encode("latin-1") if answer else None


def with_balance(paper: PaperBalance, story: Callable[[MettlerMtSics], Awaitable[None]]) -> None:
    def make(line: Transport) -> MettlerMtSics:
        return MettlerMtSics(line, equipment=EquipmentId("W2"), settings=Settings())

    async def main() -> None:
        async with at_the_wire(paper, make) as balance:
            await story(balance)

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("S S     100.00 g", "100 g"),
        ("S S     812.41 g", "812.41 g"),
        ("S S      -0.05 g", "-50 mg"),
        ("S S    1.23456 kg", "1.23456 kg"),
        ("S S       0.00 g", "0 g"),
    ],
)
def test_a_stable_weight_is_read_exactly(answer: str, text: str) -> None:
    async def story(balance: MettlerMtSics) -> None:
        from orchestrator.kernel.quantities import Mass

        assert Mass.read(await balance.read(WEIGHT)) == Mass.read(text)

    with_balance(PaperBalance(S=answer), story)


def test_an_unstable_weight_is_asked_again() -> None:
    paper = PaperBalance(S=["S I", "S I", "S S     812.41 g"])

    async def story(balance: MettlerMtSics) -> None:
        assert await balance.read(WEIGHT) == "812.41 g"
        assert paper.written == [b"S\r\n"] * 4

    with_balance(paper, story)


@pytest.mark.parametrize("answers", ["S I", "S D     812.41 g", "S S     812.41 lb", "ES", ""])
def test_no_stable_weight_is_unknown_after_three_attempts(answers: str) -> None:
    paper = PaperBalance(S=answers)

    async def story(balance: MettlerMtSics) -> None:
        with pytest.raises(OutcomeUnknownError):
            await balance.read(WEIGHT)
        assert paper.written.count(b"S\r\n") == 3

    with_balance(paper, story)


@pytest.mark.parametrize("answer", ["S +", "S -", "S S Error 10b", "EL"])
def test_a_fault_of_the_balance_is_told_at_once(answer: str) -> None:
    paper = PaperBalance(S=answer)

    async def story(balance: MettlerMtSics) -> None:
        with pytest.raises(DeviceFaultError):
            await balance.read(WEIGHT)
        assert len(paper.written) == 1

    with_balance(paper, story)


def test_a_lost_answer_is_asked_again() -> None:
    paper = PaperBalance(S=["", "S S     812.41 g"])

    async def story(balance: MettlerMtSics) -> None:
        assert await balance.read(WEIGHT) == "812.41 g"

    with_balance(paper, story)


def test_a_tare_is_one_trigger_and_is_settled_by_the_memory() -> None:
    paper = PaperBalance(TA=["TA A      0.00 g", "TA A      0.00 g", "TA A    812.41 g"])

    async def story(balance: MettlerMtSics) -> None:
        before = await balance.standing()
        assert before == Standing(values={"tare": "0 g"}, witness="")
        await balance.prepare(TARE)
        await balance.trigger(TARE, FIRST)
        settled = await balance.settle(TARE, FIRST, before)
        assert isinstance(settled.report, AllDone)
        assert settled.standing == Standing(values={"tare": "812.41 g"}, witness="tare=812.41 g")
        assert paper.triggers == [b"T\r\n"]

    with_balance(paper, story)


@pytest.mark.parametrize("answer", ["T I", "T +", "T -", "ES", "ET", "EL"])
def test_a_refused_tare_failed_and_changed_nothing(answer: str) -> None:
    paper = PaperBalance(T=answer)

    async def story(balance: MettlerMtSics) -> None:
        with pytest.raises(FailedError):
            await balance.trigger(TARE, FIRST)

    with_balance(paper, story)


@pytest.mark.parametrize("answer", ["", "T S  812.", "S S     812.41 g"])
def test_a_lost_or_damaged_answer_to_a_tare_leaves_doubt(answer: str) -> None:
    paper = PaperBalance(T=answer)

    async def story(balance: MettlerMtSics) -> None:
        with pytest.raises(OutcomeUnknownError):
            await balance.trigger(TARE, FIRST)
        assert paper.triggers == [b"T\r\n"]
        assert paper.written == [b"T\r\n"]

    with_balance(paper, story)


def test_a_restart_within_a_tare_is_seen() -> None:
    paper = PaperBalance()

    async def story(balance: MettlerMtSics) -> None:
        before = await balance.standing()
        await balance.trigger(TARE, FIRST)
        await paper.say(b'I4 A "B021002593"\r\n')
        settled = await balance.settle(TARE, FIRST, before)
        assert isinstance(settled.report, CannotTell)

    with_balance(paper, story)


@pytest.mark.parametrize(
    ("before", "tare", "net", "verdict"),
    [
        ("0 g", "0.00", "812.41", NothingDone),
        ("100 g", "100.00", "50.00", NothingDone),
        ("0 g", "812.41", "0.02", AllDone),
        ("0 g", "0.00", "0.00", AllDone),
        ("100 g", "812.41", "-0.05", AllDone),
        ("100 g", "0.00", "0.00", CannotTell),
        ("100 g", "0.00", "812.41", CannotTell),
        ("100 g", "812.41", "5.00", CannotTell),
    ],
)
def test_what_tare_and_weight_tell_after_a_crash(
    before: str, tare: str, net: str, verdict: type
) -> None:
    paper = PaperBalance(TA=f"TA A {tare:>10} g", S=f"S S {net:>10} g")
    was = Standing(values={"tare": before}, witness="")

    async def story(balance: MettlerMtSics) -> None:
        settled = await balance.effect_of(TARE, FIRST, was)
        assert type(settled.report) is verdict
        assert paper.triggers == []

    with_balance(paper, story)


def test_it_says_what_it_is_and_that_answer_is_no_restart() -> None:
    paper = PaperBalance()

    async def story(balance: MettlerMtSics) -> None:
        identity = await balance.identify()
        assert identity.serial == "B021002593"
        assert identity.model == "MS3002S 3200.00 g"
        assert identity.firmware == "2.10 10.28.0.493.142"
        before = await balance.standing()
        await balance.trigger(TARE, FIRST)
        assert isinstance((await balance.settle(TARE, FIRST, before)).report, AllDone)

    with_balance(paper, story)


def test_what_it_does_not_offer_is_refused_and_rest_costs_nothing() -> None:
    paper = PaperBalance()

    async def story(balance: MettlerMtSics) -> None:
        with pytest.raises(RefusedError):
            await balance.read(ValvesOpen(unit="transfer station"))
        for how in Quieten:
            await balance.quieten(how)
        assert paper.written == []

    with_balance(paper, story)
