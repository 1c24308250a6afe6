"""A simulation ends once a scan of its batch was awaited longer than its people ever take."""

from __future__ import annotations

from orchestrator.engine.state import AwaitedScan, HostState
from orchestrator.kernel.identifiers import BatchId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import second
from orchestrator.process_cell.simulation import NOBODY_SCANS_AFTER, waits_in_vain

BEGAN = Instant.read("2026-01-05T08:00:00.000000Z")
SCAN = AwaitedScan(
    batch="B-001",
    path="count/count/01-sample-and-count",
    container="K-001",
    place="station",
    scanner="S1",
    since=BEGAN,
)


def test_it_waits_as_long_as_people_may_take_and_no_longer() -> None:
    state = HostState(scans={"count": SCAN})
    assert waits_in_vain(state, BatchId("B-001"), BEGAN + NOBODY_SCANS_AFTER) is None
    later = BEGAN + NOBODY_SCANS_AFTER + 1 * second
    assert waits_in_vain(state, BatchId("B-001"), later) is SCAN


def test_another_batchs_scan_ends_nothing() -> None:
    later = BEGAN + NOBODY_SCANS_AFTER + 1 * second
    assert waits_in_vain(HostState(scans={"count": SCAN}), BatchId("B-002"), later) is None
