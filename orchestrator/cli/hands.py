"""A person's hands in an emulated room: what they do and scan there, asked of the room.

Beside a real cell nobody needs this: people do the work with their own hands, and report it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from orchestrator.cli.options import FileRefusedError
from orchestrator.kernel.errors import FailedError, ProcessError, RefusedError, error_from_record

ROOM: Final = "room.sock"
ANSWERS_WITHIN_S: Final = 30.0


class RoomSilentError(FailedError):
    """The emulated room ended, or gave no answer. What hands did there is unknown to us."""

    code = "failed.room-silent"


def work_in(room: Path, act: Mapping[str, Any], *, by: str) -> dict[str, str]:
    """Do a task's hand work in the room; return what there is to report.

    Raises:
        RefusedError: It can't be done there. Nothing moved.
        RoomSilentError: The room gave no answer.
    """
    return cast("dict[str, str]", _asked(room, {"do": "work", "act": act, "by": by})["values"])


def read_in(room: Path, act: Mapping[str, Any], *, by: str) -> list[str]:
    """Read the labels off what a task was done on, as a second person; return them.

    Raises:
        RoomSilentError: The room gave no answer.
    """
    return cast("list[str]", _asked(room, {"do": "read", "act": act, "by": by})["labels"])


def scan_in(room: Path, scan: Mapping[str, Any], *, by: str) -> None:
    """Hold what is there before the scanner that awaits it.

    Raises:
        RefusedError: There is nothing to scan, or nobody holds that scanner.
        RoomSilentError: The room gave no answer.
    """
    if not _asked(room, {"do": "scan", "scan": scan, "by": by})["scanned"]:
        raise RefusedError(
            f"scan {scan['container']} at {scan['place']}",
            why="nothing with a label is there",
            do_next="Bring it there first",
        )


def _asked(room: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    what = f"ask the room at {room}"
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWERS_WITHIN_S)
            line.connect(str(room / ROOM))
            line.sendall(json.dumps(request).encode() + b"\n")
            answer = line.makefile("rb").readline()
    except (FileNotFoundError, ConnectionRefusedError, PermissionError) as absent:
        raise FileRefusedError(
            what,
            why="no room listens there",
            do_next="Start it with `cellwright room`, or name its folder",
        ) from absent
    except OSError as failed:
        raise RoomSilentError(
            what, why=failed.strerror or str(failed), do_next="Look whether the room still runs"
        ) from failed
    if not answer:
        raise RoomSilentError(what, why="it hung up", do_next="Look whether it still runs")
    told = cast("dict[str, Any]", json.loads(answer))
    if "error" in told:
        raise _error(told["error"])
    return told


def _error(record: Mapping[str, str]) -> ProcessError:
    known = record["code"] if record["code"] in ProcessError.by_code else RefusedError.code
    return error_from_record({**record, "code": known})
