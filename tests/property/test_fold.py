"""Whatever the journal holds, in whatever order, the state can be told: the fold is total."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.interfaces.container_transport import PickContainer
from devices.interfaces.fluid_transfer import PumpVolume
from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal.events import AnyEvent
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.acts import OnInterruption, Quieten
from orchestrator.kernel.frozen import Frozen
from orchestrator.kernel.identifiers import BootId, ContainerId, PlaceId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import minute, mL, mL_per_min

NOW = Instant.read("2026-01-05T08:00:00.000000Z")
DIGEST = "ab" * 32

TEXTS = ["", "60 mL", "100 g", "about 20", "-5 mL", "1", "weld", "scanned", "hold", "K-1"]

ACTS: list[dict[str, Any]] = [
    PumpVolume(
        unit="station",
        longest=5 * minute,
        on_interruption=OnInterruption.CONTINUE,
        quieten=Quieten.HALT,
        volume=60 * mL,
        flow=40 * mL_per_min,
        forward=True,
        source=ContainerId("C-1"),
        target=ContainerId("K-1/vessel"),
    ).model_dump(mode="json"),
    PickContainer(
        unit="arm",
        longest=5 * minute,
        on_interruption=OnInterruption.HOLD,
        quieten=Quieten.HALT,
        container=ContainerId("K-1"),
        place=PlaceId("station"),
    ).model_dump(mode="json"),
    {"kind": "hand_act", "work": "weld", "containers": ["C-1"], "at": ["hook"]},
    {"kind": "hand_act", "work": "draw_sample", "containers": ["C-1"], "parameters": {}},
    {},
]

OF_TYPE: dict[str, list[Any]] = {
    "BatchId": ["B-1", "B-2"],
    "CoiId": ["COI-A", "COI-B"],
    "CommandId": ["B-1/a/b#1.1", "B-1/a/b#1.2"],
    "ContainerId": ["C-1", "K-1", "K-1/vessel"],
    "EquipmentId": ["P1", "R1"],
    "KitId": ["K-1"],
    "LotId": ["LOT-1"],
    "PhasePath": ["a/b", "a"],
    "PlaceId": ["station", "hook"],
    "PortId": ["p1"],
    "RecipeDigest": [DIGEST],
    "TaskId": ["B-1/a/b#1.1", "B-1/a/b#1.1/doubt"],
    "UserId": ["U-0001", "U-0002"],
    "Instant": [str(NOW)],
    "str": TEXTS,
    "int": [1, 2],
    "bool": [True, False],
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of one annotation, from pools so small that events meet each other."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return of(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        return st.one_of([of(one) for one in arguments])
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        texts = st.dictionaries(st.sampled_from(["count", "volume"]), st.sampled_from(TEXTS))
        return texts if arguments[1] is str else st.sampled_from(ACTS)
    if kind is NoneType:
        return st.none()
    if isinstance(kind, type) and issubclass(kind, Frozen):
        return event_of(kind)
    return st.sampled_from(OF_TYPE[kind.__name__])


def event_of(kind: type[Frozen]) -> st.SearchStrategy[Frozen]:
    """Return instances of one model."""
    fields = {name: of(field.annotation) for name, field in kind.model_fields.items()}
    return st.fixed_dictionaries(fields).map(kind.model_validate)


KINDS = cast("tuple[type[Frozen], ...]", get_args(get_args(AnyEvent)[0]))
EVENTS = st.one_of([event_of(kind) for kind in KINDS])


@settings(max_examples=300, deadline=None)
@given(happened=st.lists(EVENTS, max_size=30))
def test_no_order_of_events_stops_the_fold(happened: list[Any]) -> None:
    states = (HostState(), HostState())
    for state in states:
        for seq, event in enumerate(happened, start=1):
            stream = getattr(event, "batch", None) or "host"
            fold(state, Recorded(seq, NOW, BootId("boot-1"), 1 * minute, stream, event))
    assert states[0] == states[1]
    assert states[0].seq == len(happened)
