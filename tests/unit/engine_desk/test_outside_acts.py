"""One act from outside is one event: what strays together, and not what goes on by itself.

Method: a pump's values as its driver shows them, one look after another, each folded as recorded.
"""

from __future__ import annotations

from devices.interfaces.driver import Standing
from orchestrator.engine.outside_acts import outside_act_seen
from orchestrator.engine.state import EquipmentState
from orchestrator.kernel.identifiers import EquipmentId

ONLY_ACTS_CHANGE = {"count": "11", "running": "equal"}


def looks(*shown: tuple[int, int]) -> list[list[str]]:
    """Return what is recorded of each look at (count, running), after 0 and 0."""
    known = EquipmentState("530Du", "", "", {"count": "0", "running": "0"}, "")
    found: list[list[str]] = []
    for count, is_running in shown:
        standing = Standing(values={"count": str(count), "running": str(is_running)})
        event = outside_act_seen(EquipmentId("P1"), known, standing, ONLY_ACTS_CHANGE)
        strayed = event.strayed if event is not None else ()
        found.append([one.value for one in strayed])
        for one in strayed:
            known.values = {**known.values, one.value: one.seen}
            known.outside.setdefault(one.value, one.was)
    return found


def test_what_strays_together_is_one_act() -> None:
    assert looks((5000, 1)) == [["count", "running"]]


def test_within_its_tolerance_nothing_was_done() -> None:
    assert looks((11, 0), (11, 0)) == [[], []]


def test_what_goes_on_by_itself_is_no_act() -> None:
    assert looks((5000, 1), (9000, 1), (13_000, 1)) == [["count", "running"], [], []]


def test_each_short_turn_is_an_act() -> None:
    assert looks((5000, 0), (5000, 0), (9000, 0)) == [["count"], [], ["count"]]


def test_stopping_what_was_started_is_an_act_and_so_is_what_comes_after_it() -> None:
    assert looks((5000, 1), (7000, 0), (7000, 0), (9000, 0)) == [
        ["count", "running"],
        ["count", "running"],
        [],
        ["count"],
    ]


def test_a_device_that_never_showed_itself_can_not_stray() -> None:
    standing = Standing(values={"count": "5", "running": "1"})
    assert outside_act_seen(EquipmentId("P1"), None, standing, ONLY_ACTS_CHANGE) is None
