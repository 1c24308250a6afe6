"""What passed on the wires: kept in a file, read back after a kill, played back."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.transport.conversation import conversing
from devices.transport.framing import lines
from devices.transport.memory import memory_wire
from devices.transport.recording import (
    PlayedLine,
    Traffic,
    WireLog,
    WireLogFile,
    read_recording,
)
from orchestrator.kernel.errors import ConfigurationRefusedError
from orchestrator.kernel.identifiers import CommandId
from orchestrator.kernel.quantities import second
from orchestrator.virtual_time import run_in_virtual_time, virtual_clock


async def record(path: Path) -> None:
    with WireLogFile(path) as file:
        log = WireLog(virtual_clock(), file.keep)
        software, instrument = memory_wire("P1", recorder=log.record)
        await instrument.send(b"hello\r")
        await software.send(b"RS\r")
        await instrument.send(b"idle\r")
        await software.send(b"GO\r", trigger=CommandId("CMD-000001"))
        await instrument.send(b"done\r")


def test_a_file_gives_back_what_passed_and_leaves_out_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "wires.tsv"
    run_in_virtual_time(record(path))
    whole = list(read_recording(path))
    assert [traffic.data for traffic in whole] == [
        b"hello\r",
        b"RS\r",
        b"idle\r",
        b"GO\r",
        b"done\r",
    ]
    assert whole[3].trigger == "CMD-000001"
    with path.open("a", encoding="utf-8") as file:
        file.write("2026-11-23T08:00:00.000000Z\tP1\t>\t02")
    assert list(read_recording(path)) == whole
    assert [Traffic.read(str(traffic)) for traffic in whole] == whole


def test_a_line_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="isn't a line of a recording"):
        Traffic.read("P1 > 00")


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationRefusedError, match="folder that exists"):
        WireLogFile(tmp_path / "nowhere" / "wires.tsv")


def test_a_recording_is_played_back_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "wires.tsv"
    run_in_virtual_time(record(path))

    async def same() -> None:
        line = PlayedLine("P1", read_recording(path))
        greeted: list[bytes] = []
        async with conversing(
            line,
            lines(b"\r"),
            is_unasked=lambda frame: frame == b"hello",
            on_unasked=greeted.append,
        ) as talk:
            assert await talk.ask(b"RS\r", within=1 * second) == b"idle"
            assert await talk.ask(b"GO\r", within=1 * second) == b"done"
            assert greeted == [b"hello"]
            assert line.is_played_out

    async def other() -> None:
        line = PlayedLine("P1", read_recording(path))
        with pytest.raises(AssertionError, match=r"sent b'XX\\r', recorded b'RS\\r'"):
            await line.send(b"XX\r")

    run_in_virtual_time(same())
    run_in_virtual_time(other())
