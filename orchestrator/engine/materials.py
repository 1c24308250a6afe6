"""The material ledger: what a settled act did to containers, their contents and places.

Called by the fold only. It believes evidence: an act whose effect is unknown changes
nothing here until people have decided what it did. A report that can't be believed puts
what it was about into quarantine, where people look at it; it never ends a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from chain_of_identity.gate import Break
from orchestrator.engine.state import AttemptState, ContainerState, HostState, Mark
from orchestrator.journal import events as ev
from orchestrator.journal.journal import Recorded
from orchestrator.kernel.quantities import Volume

GRIPPER: Final = "gripper"
"""Where a container is while an arm holds it: ``gripper/<equipment>``."""

DISCARDED: Final = "waste bin"
"""Where a container is that nothing more is done with."""

CARRYING: Final = frozenset({"pick_container", "place_container"})
"""Acts of arms: in doubt, nobody knows what stands where."""

SHARED: Final = frozenset({"reagent", "sample_tube"})
"""What isn't a patient's by being bound to a batch, only by what comes into it."""


def bind_kit_positions(state: HostState, event: ev.ContainerReceived, seq: int) -> None:
    """Make a kit's inner containers known with the kit: ``<kit>/vessel`` and the like."""
    capacities = event.capacities or ("",) * len(event.positions)
    for position, volume, capacity in zip(event.positions, event.volumes, capacities, strict=True):
        inner = f"{event.container}/{position}"
        state.containers[inner] = ContainerState(
            label=f"{event.label}/{position}",
            material=position,
            what="kit",
            coi=event.coi or "",
            lot=event.lot or "",
            volume_nl=Volume.read(volume).base,
            capacity_nl=Volume.read(capacity).base if capacity else 0,
            kit=event.container,
            port=position,
        )
        bind_label(state, f"{event.label}/{position}", inner, seq)


def bind_label(state: HostState, label: str, container: str, seq: int) -> bool:
    """Bind a label to a container, unless it is another's: then both go into quarantine.

    Returns:
        Whether the label is this container's now.
    """
    other = state.labels.setdefault(label, container)
    if other == container:
        return True
    for one, beside in ((container, other), (other, container)):
        quarantine(state, one, f"its label was also reported of {beside}", seq)
    return False


def quarantine(state: HostState, container: str, why: str, seq: int) -> None:
    """Put a container into quarantine for one reason more; a release is for all of them."""
    known = state.containers.get(container)
    if known is None:
        return
    known.changed = seq
    if f"; {why};" not in f"; {known.quarantined};":
        known.quarantined = f"{known.quarantined}; {why}" if known.quarantined else why


def apply_effect(state: HostState, batch: str, attempt: AttemptState, at: Recorded[Any]) -> None:
    """Change the ledger by what one attempt did."""
    act = attempt.act
    apply = _BY_KIND.get(act["kind"])
    if apply is not None:
        apply(state, act, attempt, at)
    for container in act.get("containers", ()):
        known = state.containers.get(container)
        if known is not None and not known.batch:
            known.batch = batch
            if known.what not in SHARED:
                known.coi = known.coi or state.batches[batch].coi


def _pumped(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    moved = Volume.read(attempt.done).base
    source = state.containers[act["source"]]
    target = state.containers[act["target"]]
    source.volume_nl -= moved
    target.volume_nl += moved
    if source.port != "flush":  # buffer carries nobody's cells
        target.coi = target.coi or source.coi
    if source.opened_at is None:
        source.opened_at = at.at
        source.opened = Mark(at.boot, at.boottime.base)
    lot = state.lots.get(source.lot)
    if lot is not None and lot.opened_at is None:
        lot.opened_at = at.at


def _picked(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    del at
    state.containers[act["container"]].place = f"{GRIPPER}/{attempt.equipment}"


def _placed(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    del attempt, at
    state.containers[act["container"]].place = act["place"]


def _by_hand(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    apply = _BY_WORK.get(act["work"])
    if apply is not None:
        apply(state, act, attempt, at)


def _moved_by_hand(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    del attempt
    for name, place in zip(act["containers"], act["at"], strict=False):
        container = state.containers[name]
        container.place = place
        container.breaks[Break.MOVED_UNSCANNED] = at.seq


def _joined(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    _moved_by_hand(state, act, attempt, at)
    container = state.containers[act["containers"][0]]
    container.kit = act["kit"]
    container.port = act["port"]


def _parted(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    _moved_by_hand(state, act, attempt, at)
    container = state.containers[act["containers"][0]]
    container.kit = ""
    container.port = ""
    container.breaks[Break.DISCONNECTED] = at.seq


def _shared_out(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    """Sampling and selection: from the first container into the second."""
    source, target = (state.containers[name] for name in act["containers"][:2])
    target.coi = target.coi or source.coi
    reported = _reported_volume(state, act, attempt, at.seq)
    if reported is None:
        return
    moved = reported.base
    target.volume_nl += moved
    if act["work"] == "select_magnetically":
        source.volume_nl = 0
    else:
        source.volume_nl -= moved


def _selected(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    """Select on a stand-alone box: both bags are opened onto it."""
    _shared_out(state, act, attempt, at)
    for name in act["containers"][:2]:
        state.containers[name].breaks[Break.OPENED] = at.seq


def _discarded(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    del attempt, at
    for name in act["containers"]:
        state.containers[name].place = DISCARDED


def _received(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    _moved_by_hand(state, act, attempt, at)
    volume = _reported_volume(state, act, attempt, at.seq)
    if volume is not None:
        state.containers[act["containers"][0]].volume_nl = volume.base


def _reported_volume(
    state: HostState, act: dict[str, Any], attempt: AttemptState, seq: int
) -> Volume | None:
    """Return how much hands moved, as reported or else as asked; None if neither says it.

    What was owed and can't be read leaves the contents of both bags unknown.
    """
    is_owed = "volume" in act.get("report", ())
    text = attempt.detail.get("volume") or act.get("parameters", {}).get("volume", "")
    if not text and not is_owed:
        return None
    try:
        volume = Volume.read(text)
        if volume.base < 0:
            raise ValueError(f"{volume} is less than nothing")
    except ValueError:
        for name in act["containers"][:2]:
            why = f"no volume that can be read was reported of {act['work']}"
            quarantine(state, name, why, seq)
        return None
    return volume


def _labelled(
    state: HostState, act: dict[str, Any], attempt: AttemptState, at: Recorded[Any]
) -> None:
    name = act["containers"][0]  # the label that it had stays its own until both were scanned
    label = attempt.detail.get("label", "")
    if not label:
        quarantine(state, name, "nobody reported which label was stuck on it", at.seq)
    elif bind_label(state, label, name, at.seq):
        state.containers[name].beside = label
        state.containers[name].beside_task = str(attempt.command)


def label_shown_beside(state: HostState, container: str, label: str) -> None:
    """Let a label count that was scanned together with the one which the container had."""
    known = state.containers[container]
    known.label = label
    known.beside = known.beside_task = ""


_Apply = Callable[[HostState, dict[str, Any], AttemptState, Recorded[Any]], None]

_BY_KIND: Final[dict[str, _Apply]] = {
    "pump_volume": _pumped,
    "pick_container": _picked,
    "place_container": _placed,
    "hand_act": _by_hand,
}

_BY_WORK: Final[dict[str, _Apply]] = {
    "receive": _received,
    "install_kit": _moved_by_hand,
    "weld": _joined,
    "connect_aseptically": _joined,
    "seal_off": _parted,
    "hang": _moved_by_hand,
    "unhang": _moved_by_hand,
    "load": _moved_by_hand,
    "store": _moved_by_hand,
    "load_counter": _moved_by_hand,
    "unload_counter": _moved_by_hand,
    "discard": _discarded,
    "draw_sample": _shared_out,
    "select_magnetically": _selected,
    "apply_label": _labelled,
}
