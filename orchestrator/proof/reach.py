"""What a proof must have reached, and whether it did.

Each act is to be cut at each of its stages: before its intent was durable, between intent
and trigger, within the trigger's bytes, after them and before the instrument had ended, and
after that and before its settlement was durable. So are the stages of hand work, of
questions to people and of scans. A stage counts as reached only by a run whose journal, as
it was found at the restart, shows it there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hw_mocks.emulator import Moment
from orchestrator.journal.events import (
    AnyEvent,
    AttemptIntended,
    AttemptSettled,
    IdentityProven,
    ScanAwaited,
    Seen,
    TaskOffered,
    TaskReported,
    TaskTaken,
    TaskVerified,
)
from orchestrator.journal.journal import Recorded
from orchestrator.proof.points import Course, Kind, Point

HANDS: Final = "hands"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one subject: the points in it, and how many events are found there."""

    subject: str
    name: str
    points: tuple[str, ...]
    least: int
    below: int

    def is_reached_by(self, told: Mapping[str, Any]) -> bool:
        """Return whether a run died in this stage."""
        head = told.get("head", -1)
        return self.least <= head < self.below and any(p in self.points for p in told["points"])

    def __str__(self) -> str:
        return f"{self.subject}: {self.name}"


def stages(course: Course, events: Sequence[Recorded[AnyEvent]]) -> list[Stage]:
    """Return every stage of the uninterrupted run, as it went."""
    return list(_Stages(course, events).all())


def classes(
    wanted: Iterable[Stage], phase_kinds: Mapping[str, str]
) -> dict[str, list[tuple[str, Stage]]]:
    """Return stages by what they are of: a kind of phase, what is done there, and the stage.

    With each stage the path of its phase. Clearing a line is of no phase; its path is empty.
    """
    found: dict[str, list[tuple[str, Stage]]] = defaultdict(list)
    for stage in wanted:
        subject, _, what = stage.subject.partition(" ")
        path = subject.partition("#")[0].partition("/")[2]
        while path and path not in phase_kinds:
            path = path.rpartition("/")[0]
        done = "identity" if what.startswith("identity ") else what
        found[f"{phase_kinds.get(path, 'no phase')}, {done}: {stage.name}"].append((path, stage))
    return found


def classes_not_reached(
    of_class: Mapping[str, Sequence[tuple[str, Stage]]], runs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return the classes of stages in none of whose stages a run died."""
    return [
        name
        for name, members in of_class.items()
        if len(not_reached((stage for _, stage in members), runs)) == len(members)
    ]


def not_reached(wanted: Iterable[Stage], runs: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """Return the stages in which no run died."""
    by_point: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for told in runs:
        for name in told["points"]:
            by_point[name].append(told)
    return [
        stage
        for stage in wanted
        if not any(stage.is_reached_by(told) for name in stage.points for told in by_point[name])
    ]


class _Stages:
    def __init__(self, course: Course, events: Sequence[Recorded[AnyEvent]]) -> None:
        self._events = events
        self._triggers: dict[str, list[Point]] = defaultdict(list)
        self._moments: dict[str, list[Point]] = defaultdict(list)
        at_journal: dict[str, list[str]] = defaultdict(list)
        for point in course.points:
            if point.kind is Kind.TRIGGER:
                self._triggers[str(point.command)].append(point)
            elif point.kind is Kind.MOMENT:
                self._moments[point.at.split("/")[1]].append(point)
            elif not point.whole:
                at_journal[point.at].append(point.name)
        self._of_event: dict[int, tuple[str, ...]] = {}
        self._order_of: dict[int, int] = {}
        for one in course.transactions:
            for seq in one.events:
                self._of_event[seq] = tuple(at_journal[one.at])
                self._order_of[seq] = one.order

    def all(self) -> Iterator[Stage]:
        settled: dict[str, int] = {}
        of_task: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for seq, event in ((one.seq, one.event) for one in self._events):
            match event:
                case AttemptSettled(command=command):
                    settled[command] = seq
                case TaskTaken(task=task):
                    of_task[task].append(("taken", seq))
                case TaskReported(task=task):
                    of_task[task].append(("reported", seq))
                case TaskVerified(task=task):
                    of_task[task].append(("verified", seq))
                case TaskOffered(task=task):
                    of_task[task].append(("offered", seq))
                case _:
                    pass
        scans: dict[tuple[str, str], tuple[str, int]] = {}
        acts: set[str] = set()
        for seq, event in ((one.seq, one.event) for one in self._events):
            if seq not in self._of_event:
                continue  # before the batch was ordered to start
            match event:
                case AttemptIntended(command=command, equipment=by, asked=asked):
                    acts.add(command)
                    done = settled.get(command)
                    kind = asked.get("work") or asked["kind"]
                    subject = f"{command} {by} {kind}"
                    if by == HANDS:
                        ends = [("settled", done)] if done else []
                        steps = [("intended", seq), *of_task[command], *ends]
                        yield from self._steps(subject, steps)
                    elif done is not None:
                        yield from self._act(subject, command, by, seq, done)
                case TaskOffered(task=task, work=work) if task not in acts:
                    yield from self._steps(f"{task} {work}", of_task[task])
                case ScanAwaited(batch=batch, path=path, container=container):
                    scans[f"{batch}/{path}", container] = (f"{batch}/{path} scan", seq)
                case IdentityProven(batch=batch, path=path, container=container):
                    awaited = scans.pop((f"{batch}/{path}", container), None)
                    subject = f"{batch}/{path} identity of {container}"
                    steps = [] if awaited is None else [("scan awaited", awaited[1])]
                    yield from self._steps(subject, [*steps, ("proven", seq)])
                case Seen(batch=batch, path=path, word=word):
                    yield from self._steps(f"{batch}/{path}#{word} reading", [("recorded", seq)])
                case _:
                    pass

    def _steps(self, subject: str, steps: Sequence[tuple[str, int]]) -> Iterator[Stage]:
        """Yield the stage before each step was durable; those of one transaction are one."""
        before = 0
        for name, seq in steps:
            points = self._of_event.get(seq)
            if points is None:
                continue  # it came when nobody died any more
            if before and self._of_event.get(before) == points:
                before = seq
                continue
            yield Stage(subject, f"before it was {name} on the record", points, before, seq)
            before = seq

    def _act(self, subject: str, command: str, by: str, intent: int, done: int) -> Iterator[Stage]:
        yield Stage(subject, "before its intent was durable", self._of_event[intent], 0, intent)
        trigger = self._triggers[command]

        def stage(name: str, points: Iterable[str]) -> Stage:
            return Stage(subject, name, tuple(points), intent, done)

        if not trigger:
            yield stage("before it was settled without a trigger", self._of_event.get(done, ()))
            return

        yield stage("between intent and trigger", [trigger[0].name])
        if len(trigger) > 2:
            yield stage("within the trigger's bytes", [p.name for p in trigger[1:-1]])
        after = [
            p
            for p in self._moments[by]
            if trigger[-1].order < p.order < self._order_of.get(done, p.order + 1)
        ]
        ended = [p for p in after if f": {Moment.ENDED} " in p.what][:1]
        until = ended[0].order if ended else trigger[-1].order
        acting = [p.name for p in after if p.order < until]
        yield stage("after the trigger, before it ended", [trigger[-1].name, *acting])
        yield stage(
            "after it ended, before its settlement was durable",
            [*(p.name for p in ended), *self._of_event.get(done, ())],
        )
