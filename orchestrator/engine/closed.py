"""Batches that are over, put away: a start reads them only when somebody asks for one.

A batch is closed once it has ended as its recipe asks and nothing of it is open: no task, no
lease, no limit, no alarm that stands. Its part of the state is then kept packed beside the
rest, which holds a line about it and the digest of what was packed. It is found by its name
and by the names of its tasks and containers as before, and is unpacked then; whoever goes
through all batches or tasks goes through those that aren't put away. So what a start reads
grows with the open batches.

With it go its containers that were thrown away; their labels stay taken. What else it left
behind stays in the state: containers that still are somewhere, labels, lots, deviations.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from orchestrator.engine.materials import DISCARDED
from orchestrator.engine.phase_state import PhaseState
from orchestrator.engine.state import (
    BatchState,
    ClosedBatch,
    ContainerState,
    HostState,
    TaskState,
)
from orchestrator.kernel.tasks import LABEL, OVER

if TYPE_CHECKING:
    from _collections_abc import dict_items, dict_keys, dict_values  # the types of dict's own

V = TypeVar("V")
D = TypeVar("D")

_PACKED_HARD: Final = 6
"""zlib's own default: a tenth of the size, in a few milliseconds for each batch."""


@dataclass
class _Packed:
    batch: BatchState
    tasks: dict[str, TaskState]
    containers: dict[str, ContainerState]


_PACKED: Final = TypeAdapter(_Packed)


class Found(dict[str, V], Generic[V]):
    """A dictionary of what isn't put away, in which a name finds the rest as well.

    Going through it goes through what it showed at the beginning, so that whoever does may
    find by name meanwhile what is put away.
    """

    def __init__(
        self, shown: Mapping[str, V], closed: ClosedBatches, take_out: Callable[[str], bool]
    ) -> None:
        """Show ``shown``; ``take_out`` of a name brings back what ``closed`` has of that name."""
        super().__init__(shown)
        self.closed = closed
        self._take_out = take_out

    def __missing__(self, name: str) -> V:
        if self._take_out(name):
            return super().__getitem__(name)
        raise KeyError(name)

    def __setitem__(self, name: str, value: V) -> None:
        self._take_out(name)
        super().__setitem__(name, value)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (
            self._take_out(cast("str", name)) and super().__contains__(name)
        )

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(super().__iter__()))

    def keys(self) -> dict_keys[str, V]:
        """Return the names shown now."""
        return dict(super().items()).keys()

    def values(self) -> dict_values[str, V]:
        """Return what is shown now."""
        return dict(super().items()).values()

    def items(self) -> dict_items[str, V]:
        """Return what is shown now, with its names."""
        return dict(super().items()).items()

    @overload
    def get(self, name: str, default: None = None, /) -> V | None: ...
    @overload
    def get(self, name: str, default: V, /) -> V: ...
    @overload
    def get(self, name: str, default: D, /) -> V | D: ...
    def get(self, name: str, default: Any = None, /) -> Any:
        """Return what has that name, or ``default``."""
        try:
            return self[name]
        except KeyError:
            return default


class ClosedBatches:
    """Puts away the closed batches of one state, and takes them out again."""

    def __init__(self, state: HostState, contents: Mapping[str, bytes] | None = None) -> None:
        """Have ``state``'s names find what is packed in ``contents``, by batch."""
        self._state = state
        self.contents: dict[str, bytes] = dict(contents or {})
        """What is put away now."""
        self.saved: set[str] = set(self.contents)
        """Those of them that the saved state's file has."""
        self._batch_of = {
            container: name for name, one in state.closed.items() for container in one.containers
        }
        state.batches = Found(state.batches, self, self._take_out)
        state.tasks = Found(state.tasks, self, self._take_out_of_task)
        state.containers = Found(state.containers, self, self._take_out_of_container)

    def put_away(self) -> None:
        """Put away every batch that is closed by now."""
        state = self._state
        for name in list(closable(state)):
            batch = state.batches[name]
            tasks = {task: one for task, one in state.tasks.items() if one.batch == name}
            thrown = dict(_thrown_away(state, name))
            content = _PACKED.dump_json(_Packed(batch, tasks, thrown))
            packed = zlib.compress(content, _PACKED_HARD)
            for task in tasks:
                del state.tasks[task]
            for container in thrown:
                del state.containers[container]
                self._batch_of[container] = name
            del state.batches[name]
            self.contents[name] = packed
            self.saved.discard(name)
            state.closed[name] = ClosedBatch(
                coi=batch.coi,
                recipe=batch.recipe,
                status=batch.status,
                phases=len(batch.phases),
                measured=batch.measured,
                containers=list(thrown),
                sha256=sha256(packed).hexdigest(),
            )

    def _take_out(self, name: str) -> bool:
        """Bring a batch back with its tasks, if it is put away."""
        packed = self.contents.pop(name, None)
        if packed is None:
            return False
        self.saved.discard(name)
        del self._state.closed[name]
        was = _PACKED.validate_json(zlib.decompress(packed))
        self._state.batches[name] = was.batch
        self._state.tasks.update(was.tasks)
        self._state.containers.update(was.containers)
        for container in was.containers:
            del self._batch_of[container]
        return True

    def _take_out_of_task(self, task: str) -> bool:
        return bool(self.contents) and self._take_out(task.partition("/")[0])

    def _take_out_of_container(self, container: str) -> bool:
        batch = self._batch_of.get(container)
        return batch is not None and self._take_out(batch)


def _thrown_away(state: HostState, batch: str) -> Iterator[tuple[str, ContainerState]]:
    """Yield a batch's containers that nobody meets again, where nobody has to decide on them."""
    shown = dict(state.containers)  # in a plain one no name brings another batch back
    for name, one in shown.items():
        if one.batch == batch and not (one.quarantined or one.beside):
            kit = shown.get(one.kit)
            if DISCARDED in (one.place, "" if kit is None else kit.place):
                yield name, one


def closable(state: HostState) -> Iterator[str]:
    """Yield the batches of which nothing is open, and whose tasks bear their names."""
    busy = {one.batch for one in state.leases.values()}
    busy |= {one.batch for one in state.waiters.values()}
    busy |= {one.batch for one in state.limits.values()}
    busy |= {one.batch for one in state.alarms.values() if not one.cleared}
    busy |= {one.batch for one in state.scans.values()}
    busy |= {batch for batch, _, _ in state.attempts.values()}
    for name, task in state.tasks.items():
        if not _is_over(state, name, task):
            busy.add(task.batch)
    for name, batch in state.batches.items():
        if batch.status == "complete" and name not in busy and _is_at_its_end(batch):
            yield name


def _is_over(state: HostState, name: str, task: TaskState) -> bool:
    """Return whether nobody goes on with a task, nor looks for it among all.

    A label that was reported and counts nowhere is looked for among all reports.
    """
    label = task.values.get(LABEL)
    return (
        task.status in OVER
        and name.partition("/")[0] == task.batch
        and (label is None or label in state.labels)
    )


def _is_at_its_end(batch: BatchState) -> bool:
    return not batch.broken and all(
        phase.state is PhaseState.COMPLETE and not phase.words for phase in batch.phases.values()
    )


def closed_batches(state: HostState) -> ClosedBatches:
    """Return who puts away the closed batches of ``state``, from now on if nobody did."""
    found = state.batches
    return found.closed if isinstance(found, Found) else ClosedBatches(state)


def fits(state: HostState, parts: Mapping[str, bytes]) -> bool:
    """Return whether ``parts`` are what a loaded state says is put away."""
    return state.closed.keys() == parts.keys() and all(
        sha256(packed).hexdigest() == state.closed[name].sha256 for name, packed in parts.items()
    )
