"""Questions and answers on one line: framing, matching, silence, late answers, halts.

Method: the far end of a wire in memory is played by the test, on virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from devices.transport.conversation import (
    Conversation,
    Greeting,
    NoReplyError,
    OvertakenError,
    StrangerError,
    conversing,
)
from devices.transport.framing import Framer, frames, lines
from devices.transport.memory import MemoryLine, memory_wire
from devices.transport.transport import LineClosedError
from orchestrator.kernel.errors import OutcomeUnknownError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import ms, second
from orchestrator.virtual_time import run_in_virtual_time

Play = Callable[[Conversation, MemoryLine], Coroutine[Any, Any, None]]


def now_s() -> float:
    return asyncio.get_running_loop().time()


def converse(
    play: Play,
    *,
    framer: Framer | None = None,
    is_unasked: Callable[[bytes], bool] = lambda frame: frame.startswith(b"!"),
) -> None:
    async def main() -> None:
        software, instrument = memory_wire("P1")
        framer_used = framer or lines(b"\r")
        async with conversing(software, framer_used, is_unasked=is_unasked) as conversation:
            await play(conversation, instrument)

    run_in_virtual_time(main())


def cut_all(framer: Framer, stream: bytes) -> tuple[list[bytes], int, bytes]:
    """Feed ``stream`` byte by byte; return frames, garbage, and what is left."""
    buffer = bytearray()
    found: list[bytes] = []
    garbage = 0
    for byte in stream:
        buffer.append(byte)
        while buffer and (piece := framer(buffer)) is not None:
            del buffer[: piece.used]
            garbage += piece.garbage
            if piece.frame is not None:
                found.append(piece.frame)
    return found, garbage, bytes(buffer)


# Framing


def test_lines_are_cut_at_their_terminator_and_empty_ones_skipped() -> None:
    assert cut_all(lines(b"\r\n"), b"a\r\n\r\nbc\rd\r\ne") == ([b"a", b"bc\rd"], 0, b"e")


def test_a_line_without_end_is_garbage() -> None:
    found, garbage, left = cut_all(lines(b"\r", longest=10), b"x" * 25 + b"\rok\r")
    assert found[-1] == b"ok"
    assert garbage >= 11
    assert left == b""


def test_frames_are_cut_with_their_checksum_and_garbage_is_counted() -> None:
    framer = frames(b"\x02", b"\x03", trailer=2)
    stream = b"zz\x02one\x0311\x02bro\x02two\x0322\x03x"
    assert cut_all(framer, stream) == ([b"\x02one\x0311", b"\x02two\x0322"], 2 + 4 + 2, b"")


def test_a_frame_that_never_ends_is_garbage() -> None:
    found, garbage, _ = cut_all(frames(b"<", b">", longest=8), b"<" + b"x" * 20 + b"<ok>")
    assert found == [b"<ok>"]
    assert garbage == 21


def test_frames_may_begin_and_end_alike() -> None:
    assert cut_all(frames(b"|", b"|"), b"|a||b|")[0] == [b"|a|", b"|b|"]


# Questions and answers


def test_an_answer_in_pieces_reaches_its_question() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            assert await instrument.receive() == b"RS\r"
            await instrument.send(b"sta")
            await asyncio.sleep(0.1)
            await instrument.send(b"tus\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            assert await talk.ask(b"RS\r", within=1 * second) == b"status"

    converse(play)


def test_exchanges_go_one_at_a_time() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        heard: list[bytes] = []

        async def answer() -> None:
            for _ in range(2):
                heard.append(await instrument.receive())
                await asyncio.sleep(0.5)
                await instrument.send(b"A" + heard[-1])

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            one = group.create_task(talk.ask(b"1\r", within=1 * second))
            two = group.create_task(talk.ask(b"2\r", within=1 * second))
        assert heard == [b"1\r", b"2\r"]
        assert (one.result(), two.result()) == (b"A1", b"A2")

    converse(play)


def test_what_comes_unasked_is_routed_and_never_taken_for_an_answer() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            await instrument.receive()
            await instrument.send(b"!scan 1\r!scan 2\ranswer\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            assert await talk.ask(b"?\r", within=1 * second) == b"answer"
        assert await talk.unasked() == b"!scan 1"
        assert await talk.unasked() == b"!scan 2"
        await talk.close()
        for _ in range(2):
            with pytest.raises(LineClosedError):
                await talk.unasked()

    converse(play)


def test_an_answer_to_another_question_is_dropped_and_counted() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        await instrument.send(b"B stray before\r")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        async def answer() -> None:
            await instrument.receive()
            await instrument.send(b"B wrong\rA right\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            reply = await talk.ask(
                b"A?\r", within=1 * second, fits=lambda frame: frame.startswith(b"A")
            )
        assert reply == b"A right"
        assert talk.counts.strays == 2

    converse(play)


def test_silence_ends_at_its_limit_and_is_an_unknown_outcome() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        with pytest.raises(NoReplyError, match=r"P1: wait for an answer: no answer within 2 s"):
            await talk.ask(b"GO\r", within=2 * second, trigger=CommandId("CMD-000001"))
        assert now_s() == 2
        assert issubclass(NoReplyError, OutcomeUnknownError)
        assert talk.is_quarantined
        assert await instrument.receive() == b"GO\r", "and it was sent once"

    converse(play)


def test_a_late_answer_is_never_taken_for_the_next_answer() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            assert await instrument.receive() == b"1\r"
            await asyncio.sleep(2.7)
            await instrument.send(b"late\r")
            assert await instrument.receive() == b"2\r"
            await instrument.send(b"prompt\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            with pytest.raises(NoReplyError):
                await talk.ask(b"1\r", within=2 * second)
            assert await talk.ask(b"2\r", within=2 * second) == b"prompt"
        assert now_s() == pytest.approx(4.7), "two seconds of silence after the late answer"
        assert talk.counts.late == 1
        assert not talk.is_quarantined

    converse(play)


def test_an_answer_even_later_is_found_out_by_the_one_behind_it() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            await instrument.receive()
            await instrument.receive()
            await instrument.send(b"of 1\r")
            await instrument.send(b"of 2\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            with pytest.raises(NoReplyError):
                await talk.ask(b"1\r", within=100 * ms)
            await talk.ask(b"2\r", within=100 * ms)
            await asyncio.sleep(0)
        assert talk.counts.out_of_step == 1
        assert talk.is_quarantined

    converse(play)


def test_a_line_that_never_falls_silent_is_given_up() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def chatter() -> None:
            while True:
                await asyncio.sleep(0.3)
                await instrument.send(b"noise\r")

        async with asyncio.TaskGroup() as group:
            chattering = group.create_task(chatter())
            with pytest.raises(NoReplyError):
                await talk.ask(b"1\r", within=500 * ms, fits=lambda frame: frame == b"1")
            with pytest.raises(NoReplyError, match="doesn't fall silent"):
                await talk.ask(b"2\r", within=500 * ms, fits=lambda frame: frame == b"2")
            chattering.cancel()

    converse(play)


def test_a_closed_line_ends_the_question_at_once() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def hang_up() -> None:
            await asyncio.sleep(1)
            await instrument.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(hang_up())
            with pytest.raises(NoReplyError, match="the line closed"):
                await talk.ask(b"1\r", within=60 * second)
        assert now_s() == 1
        assert talk.closed
        with pytest.raises(LineClosedError):
            await talk.ask(b"2\r", within=60 * second)

    converse(play)


def test_a_request_without_answer_is_sent_and_forgotten() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        await talk.tell(b"1GO\r", trigger=CommandId("CMD-000001"))
        assert await instrument.receive() == b"1GO\r"
        assert now_s() == 0

    converse(play)


# Recognised again


async def answers_by_name(instrument: MemoryLine, who: list[bytes], lost: set[bytes]) -> None:
    """Answer each request once with what it asks; ``WHO`` with the next of its names."""
    while True:
        for request in (await instrument.receive()).split(b"\r")[:-1]:
            if request in lost:
                lost.discard(request)
            elif request == b"WHO":
                await instrument.send(b"is " + (who.pop(0) if len(who) > 1 else who[0]) + b"\r")
            else:
                await instrument.send(b"of " + request + b"\r")


def is_name(frame: bytes) -> bool:
    return frame.startswith(b"is ")


def with_a_greeting(play: Play) -> None:
    async def main() -> None:
        software, instrument = memory_wire("P1")

        async def who() -> str:
            return (await talk.ask(b"WHO\r", within=1 * second, fits=is_name)).decode()

        talk = Conversation(software, lines(b"\r"), greeting=Greeting(who, quiet=1 * second))
        async with asyncio.TaskGroup() as group:
            group.create_task(talk.run())
            await play(talk, instrument)
            await talk.close()

    run_in_virtual_time(main())


def test_after_a_lost_answer_it_says_who_it_is_before_anything_else() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        seen: list[bytes] = []
        send = instrument.send

        async def noted(data: bytes, **how: Any) -> None:
            seen.append(data)
            await send(data, **how)

        instrument.send = noted  # type: ignore[method-assign]
        answering = asyncio.ensure_future(answers_by_name(instrument, [b"B1"], {b"1"}))
        with pytest.raises(NoReplyError):
            await talk.ask(b"1\r", within=1 * second)
        assert await talk.ask(b"2\r", within=1 * second) == b"of 2"
        assert await talk.ask(b"3\r", within=1 * second) == b"of 3"
        assert seen == [b"is B1\r", b"of 2\r", b"of 3\r"]
        answering.cancel()
        await asyncio.wait({answering})

    with_a_greeting(play)


def test_another_instrument_isnt_asked_on() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        answering = asyncio.ensure_future(answers_by_name(instrument, [b"B2"], {b"1"}))
        talk.knows("is B1")
        with pytest.raises(NoReplyError):
            await talk.ask(b"1\r", within=1 * second)
        with pytest.raises(StrangerError, match="'is B2' answers; it was 'is B1'"):
            await talk.ask(b"2\r", within=1 * second)
        answering.cancel()
        await asyncio.wait({answering})

    with_a_greeting(play)


def test_one_behind_is_found_by_the_answer_that_came_too_many() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        answering = asyncio.ensure_future(answers_by_name(instrument, [b"B1"], set()))
        await asyncio.sleep(0)
        await instrument.send(b"of an earlier question\r")
        assert talk.is_quarantined
        assert talk.troubles() == 1
        assert await talk.ask(b"1\r", within=1 * second) == b"of 1"
        assert now_s() == pytest.approx(1), "it was silent for as long first"
        assert not talk.is_quarantined
        answering.cancel()
        await asyncio.wait({answering})

    with_a_greeting(play)


def test_an_answer_without_its_echo_isnt_taken() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            await instrument.receive()
            await instrument.send(b"late\r1RS\rnow\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            echo = b"1RS".__eq__
            assert await talk.ask(b"1RS\r", within=1 * second, echo=echo) == b"now"

    converse(play)


# Halts


def test_a_halt_overtakes_and_its_answer_is_its_own() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            assert await instrument.receive() == b"MOVE\r"
            assert await instrument.receive() == b"HALT\r"
            await instrument.send(b"OK moved\r")  # FIFO: the move's answer comes first
            await asyncio.sleep(0.1)
            await instrument.send(b"OK halted\r")

        async with asyncio.TaskGroup() as group:
            group.create_task(answer())
            moving = group.create_task(talk.ask(b"MOVE\r", within=60 * second))
            moving.add_done_callback(lambda done: done.exception())
            waiting = group.create_task(talk.ask(b"NEXT\r", within=60 * second))
            await asyncio.sleep(1)
            halted = asyncio.ensure_future(talk.halt(b"HALT\r", within=2 * second))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert isinstance(moving.exception(), OvertakenError)
            assert await halted == b"OK halted"
            assert now_s() == pytest.approx(1.1)
            waiting.cancel()

    with pytest.raises(ExceptionGroup) as caught:
        converse(play)
    assert caught.group_contains(OvertakenError), "the overtaken one's caller is told"


def test_a_halt_is_repeated_where_the_overtaken_command_never_answers() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def answer() -> None:
            while True:
                for request in (await instrument.receive()).split(b"\r"):
                    if request == b"HALT":
                        await instrument.send(b"OK\r")

        async def move() -> None:
            with pytest.raises(OvertakenError):
                await talk.ask(b"MOVE\r", within=60 * second)

        async with asyncio.TaskGroup() as group:
            answering = group.create_task(answer())
            group.create_task(move())
            await asyncio.sleep(1)
            with pytest.raises(NoReplyError):
                await talk.halt(b"HALT\r", within=1 * second)
            assert await talk.halt(b"HALT\r", within=1 * second) == b"OK"
            answering.cancel()

    converse(play)


def test_a_halt_without_answer_goes_out_at_once() -> None:
    async def play(talk: Conversation, instrument: MemoryLine) -> None:
        async def move() -> None:
            with pytest.raises(OvertakenError):
                await talk.ask(b"MOVE\r", within=60 * second)

        async with asyncio.TaskGroup() as group:
            group.create_task(move())
            await asyncio.sleep(1)
            assert await talk.halt(b"1ST\r", within=1 * second, fits=None) is None
        assert await instrument.receive() == b"MOVE\r1ST\r"
        assert now_s() == 1

    converse(play)


def test_a_mistake_in_a_framer_ends_the_reading_and_not_the_sender() -> None:
    def broken(buffer: bytearray) -> None:
        raise ZeroDivisionError(bytes(buffer))

    async def play(_: Conversation, instrument: MemoryLine) -> None:
        await instrument.send(b"?")
        await asyncio.sleep(1)

    with pytest.raises(ExceptionGroup) as caught:
        converse(play, framer=broken)
    assert caught.group_contains(ZeroDivisionError)


def test_the_limit_of_an_answered_question_ends_with_it() -> None:
    async def play(conversation: Conversation, instrument: MemoryLine) -> None:
        answer = asyncio.ensure_future(conversation.ask(b"1\r", within=1 * second))
        await asyncio.sleep(0)
        await instrument.send(b"yes\r")
        assert await answer == b"yes"
        await asyncio.sleep(2)
        assert not conversation.is_quarantined, "the limit of an answered question ran on"

    converse(play)


def test_a_second_conversation_goes_on_where_the_first_was_left() -> None:
    """A daemon greets what is on a line before the engine's own driver takes it over."""

    async def main() -> None:
        software, instrument = memory_wire("P1")
        first = Conversation(software, lines(b"\r"))
        reading = asyncio.ensure_future(first.run())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        await instrument.send(b"!late\r")
        second = Conversation(software, lines(b"\r"), is_unasked=lambda frame: frame[:1] == b"!")
        reading = asyncio.ensure_future(second.run())
        assert await second.unasked() == b"!late"
        await second.close()
        await reading

    run_in_virtual_time(main())
