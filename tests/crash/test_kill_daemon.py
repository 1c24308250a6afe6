"""The daemon is killed over real wires, at moments of its instruments, and started again.

Method: the room kills the process (SIGKILL, no `finally` runs) at a moment of an acting
request, time passes or not while it is dead, and a new one goes on from the journal to the
end. Then the World is the judge: its ledger beside the journal shows nothing done twice and
nothing lost, and the bags hold what they hold without a kill.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.journal.events import HostStarted
from orchestrator.kernel.quantities import mL
from tests.simulation.thin import BAG, KIT, TRANSFERRED
from tests.simulation.wires import (
    a_daemon,
    a_room,
    journal_of,
    judged,
    put_on_file,
    stop,
    wait_for_the_end,
)

NONE, MID_MOTION, BEYOND = 0.0, 20.0, 3600.0
"""How long the daemon is dead: a dose of 60 mL takes 90 s, so 20 s end in its middle."""

KILLS = (
    ("P1", "arriving", 2, NONE),
    ("P1", "arriving", 1, BEYOND),
    ("P1", "arrived", 2, MID_MOTION),
    ("P1", "arrived", 2, BEYOND),
    ("P1", "moving", 2, MID_MOTION),
    ("P1", "ended", 2, NONE),
    ("V1", "arriving", 2, MID_MOTION),
    ("V1", "arrived", 3, NONE),
    ("V1", "moving", 1, BEYOND),
    ("V1", "ended", 4, MID_MOTION),
)
"""Instrument, moment, which passing of it, seconds dead. The first dose is the reagent's."""


@pytest.mark.requirement("PRC-09")
@pytest.mark.emulation_cannot_show("what an instrument of the site does when its host dies")
@pytest.mark.parametrize(("equipment", "moment", "count", "dead_s"), KILLS)
def test_killed_and_started_again_it_does_nothing_twice_and_loses_nothing(
    tmp_path: Path, equipment: str, moment: str, count: int, dead_s: float
) -> None:
    data = tmp_path / "data"
    put_on_file(data)
    with a_room(tmp_path / "room") as room:
        with a_daemon(data, room.folder) as first:
            pid = first.pid
            armed = room.ask("kill_at", equipment=equipment, moment=moment, count=count, pid=pid)
            assert armed.get("pid") == pid, armed
            assert not wait_for_the_end(data, first)
            assert (first.communicate()[1], first.returncode) == ("", -9)
        dead_from_s = room.ask("look")["at_s"]
        assert room.ask("advance", seconds=dead_s)["at_s"] == pytest.approx(dead_from_s + dead_s)

        with a_daemon(data, room.folder) as second:
            assert wait_for_the_end(data, second), second.communicate()
            assert stop(second) == ""
        kills = room.ask("look")["kills"]
        vessel = room.ask("contents", container=f"{KIT}/vessel")["volume_mL"]
        bag = room.ask("contents", container=BAG)["volume_mL"]
        ledger = room.ask("ledger")["ledger"]

    assert [(kill["equipment"], kill["moment"]) for kill in kills] == [(equipment, moment)]
    assert sum(isinstance(one.event, HostStarted) for one in journal_of(data)) == 2
    comparison = judged(data / "journal.sqlite", ledger)
    assert comparison.agrees, comparison.findings
    assert vessel == pytest.approx(TRANSFERRED.to(mL), abs=0.5)
    assert bag == pytest.approx(100 + 1 - TRANSFERRED.to(mL), abs=0.5)
    print(f"killed at {equipment} {moment} {count}, dead {dead_s:g} s: held {comparison.held}")
