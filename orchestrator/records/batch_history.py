"""One batch's part of a journal, gathered in a single walk.

What belongs to a batch is found by what its events name: the batch itself, its commands,
tasks, clocks, alarms and deviations. Events of the host count where they concern its
recipe, its containers and lots, the people in it, or an instrument that it used. Whatever
names another patient's batch or container stays outside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from orchestrator.engine.fold import fold
from orchestrator.engine.state import HostState
from orchestrator.journal import events as ev
from orchestrator.journal.journal import Recorded, read_events
from orchestrator.kernel.errors import BrokenChainError, RefusedError

At = Recorded[Any]
"""An event of a kind that its list names."""

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

ANOTHER: Final = "another-patient"
"""Stands in a record where a text of the journal names another patient's batch or container."""


class StoredEvents(NamedTuple):
    """What could be read of a journal: all of it, or what lies before its damage."""

    events: list[Recorded[ev.AnyEvent]]
    damage: str
    error: BrokenChainError | None = None
    """What ended the reading, if anything did."""


def read_journal(path: Path) -> StoredEvents:
    """Return the events of a journal that may be in use or damaged; changes nothing."""
    events: list[Recorded[ev.AnyEvent]] = []
    try:
        for recorded in read_events(path, ev.EVENTS):
            events.append(recorded)
    except BrokenChainError as damage:
        return StoredEvents(events, str(damage), damage)
    return StoredEvents(events, "")


@dataclass(slots=True)
class TaskStory:
    """A task, and what became of it."""

    offered: At
    taken: At | None = None
    reports: list[At] = field(default_factory=list[At])
    verified: At | None = None
    withdrawn: At | None = None


@dataclass(slots=True)
class AttemptStory:
    """An attempt: its intent, and all that was said of its end."""

    intended: At
    uncertain: At | None = None
    ended: At | None = None
    overdue: bool = False


@dataclass(slots=True)
class ClockStory:
    """A clock, from its start to its end."""

    started: At
    due: At | None = None
    ended: At | None = None
    amended: ev.AmendedLimit | None = None
    """Its bounds since an amendment, if one changed them while it ran."""


@dataclass(slots=True)
class AmendmentStory:
    """An amendment, from its proposal to what two people made of it."""

    proposed: At
    decided: At | None = None


@dataclass(slots=True)
class AlarmStory:
    """An alarm, from raised to cleared."""

    raised: At
    acknowledged: At | None = None
    cleared: At | None = None


@dataclass(slots=True)
class PhaseStory:
    """A phase with its events, and what was measured and ordered when it began."""

    started: At
    known: dict[str, str]
    events: list[At] = field(default_factory=list[At])
    ended: At | None = None


@dataclass(slots=True)
class BatchHistory:
    """Everything that the journal holds of one batch."""

    batch: str
    damage: str
    state: HostState
    made: At
    last_seq: int = 0
    events: list[At] = field(default_factory=list[At])
    recipe: At | None = None
    recipe_signed: list[At] = field(default_factory=list[At])
    bound_recipe: At | None = None
    """The recipe that the batch is bound to: the ordered one, or as it was amended last."""
    submitted: dict[str, At] = field(default_factory=dict[str, At])
    """By digest, what put each recipe on file."""
    amendments: dict[str, AmendmentStory] = field(default_factory=dict[str, AmendmentStory])
    start_asked: At | None = None
    started: At | None = None
    ended: At | None = None
    phases: dict[str, PhaseStory] = field(default_factory=dict[str, PhaseStory])
    attempts: dict[str, AttemptStory] = field(default_factory=dict[str, AttemptStory])
    tasks: dict[str, TaskStory] = field(default_factory=dict[str, TaskStory])
    clocks: list[ClockStory] = field(default_factory=list[ClockStory])
    alarms: list[AlarmStory] = field(default_factory=list[AlarmStory])
    people: dict[str, ev.PersonAdded] = field(default_factory=dict[str, ev.PersonAdded])
    shown: dict[str, list[At]] = field(default_factory=lambda: defaultdict[str, list[At]](list))
    outside: list[At] = field(default_factory=list[At])
    starts: list[tuple[At, At]] = field(default_factory=list[tuple[At, At]])
    received: dict[str, At] = field(default_factory=dict[str, At])
    lots: dict[str, At] = field(default_factory=dict[str, At])
    closed: dict[str, At] = field(default_factory=dict[str, At])
    traces: list[At] = field(default_factory=list[At])
    volumes: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])
    """By the number of an event that ended an attempt: nanolitres in its containers then."""

    def of_kind(self, *kinds: type[Any]) -> list[At]:
        """Return the batch's own events of these kinds, in order."""
        return [one for one in self.events if isinstance(one.event, kinds)]

    def containers(self) -> dict[str, str]:
        """Return the batch's containers, each with the recipe's name for it."""
        made: ev.BatchMade = self.made.event
        amended = [one.event for one in self.of_kind(ev.BatchAmended)]
        besides = [one for event in amended for one in event.containers]
        every = (*made.containers, *made.kits, *besides)
        named: dict[str, str] = {one.is_: one.name for one in every}
        for name, container in self.state.containers.items():
            if container.batch == self.batch:
                named.setdefault(name, "")
        return named

    def name_of(self, user: str) -> str:
        """Return a person's printed name, or the identifier where nobody was added under it."""
        person = self.people.get(user)
        return user if person is None else person.printed_name

    def without_others(self, value: Any) -> Any:
        """Return a value of the record with other patients' identifiers covered."""
        return _covered(value, self._others())

    def _others(self) -> frozenset[str]:
        state = self.state
        own = {self.batch, self.made.event.coi, *(name.split("/")[0] for name in self.containers())}
        own |= {
            state.containers[name].label for name in self.containers() if name in state.containers
        }
        others = {name for name in state.batches if name != self.batch}
        others |= {one.coi for one in state.batches.values()}
        for name, one in state.containers.items():
            if one.coi and one.coi != self.made.event.coi:
                others |= {one.coi, name.split("/")[0], one.label}
        return frozenset(others - own - {""})


def history_of(stored: StoredEvents, batch: str) -> BatchHistory:
    """Return one batch's part of a journal.

    Raises:
        RefusedError: The journal knows no such batch.
        BrokenChainError: What could be read of the journal knows no such batch.
    """
    made = next(
        (
            one
            for one in stored.events
            if isinstance(one.event, ev.BatchMade) and one.event.batch == batch
        ),
        None,
    )
    if made is None and stored.error is not None:
        read = stored.events[-1].seq if stored.events else 0
        raise BrokenChainError(
            f"report batch {batch}",
            why=f"the journal can't be read from event {read + 1} on, and what lies before "
            "names no such batch",
            do_next="Run `cellwright verify` on it; work on a copy, or take the backup",
        ) from stored.error
    if made is None:
        raise RefusedError(
            f"report batch {batch}",
            why="the journal knows no batch of that name",
            do_next="List the batches with `cellwright status`",
        )
    history = BatchHistory(batch, stored.damage, HostState(), made)
    walk = _Walk(history)
    for recorded in stored.events:
        fold(history.state, recorded)
        walk.take(recorded)
    return history


class _Walk:
    """Sorts events to where they belong."""

    def __init__(self, history: BatchHistory) -> None:
        self._history = history
        self._deviations: set[str] = set()
        self._previous: At | None = None

    def take(self, at: At) -> None:
        """Take the next event; the state was folded with it."""
        history = self._history
        event = at.event
        history.last_seq = at.seq
        if getattr(event, "batch", None) == history.batch:
            history.events.append(at)
            self._own(at)
        else:
            self._of_host(at)
        self._previous = at

    def _own(self, at: At) -> None:
        history = self._history
        match at.event:
            case ev.AmendmentProposed(amendment=amendment):
                history.amendments[amendment] = AmendmentStory(at)
            case ev.BatchAmended() | ev.AmendmentRejected():
                self._decided(at)
            case ev.BatchStartAsked():
                history.start_asked = at
            case ev.BatchStarted():
                history.started = at
            case ev.BatchEnded():
                history.ended = at
            case ev.PhaseStarted(path=path):
                batch = history.state.batches[history.batch]
                history.phases[path] = PhaseStory(at, {**batch.ordered, **batch.measured})
            case ev.PhaseEnded(path=path):
                history.phases[path].ended = at
            case ev.AttemptIntended(command=command):
                history.attempts[command] = AttemptStory(at)
            case ev.AttemptUncertain(command=command):
                history.attempts[command].uncertain = at
            case ev.ActOverdue(command=command):
                history.attempts[command].overdue = True
            case (
                ev.AttemptSettled(command=command)
                | ev.AttemptFailed(command=command)
                | ev.AttemptReconciled(command=command)
            ):
                history.attempts[command].ended = at
                self._note_volumes(at, history.attempts[command].intended.event)
            case ev.TaskOffered(task=task):
                history.tasks[task] = TaskStory(at)
            case ev.LimitStarted():
                history.clocks.append(ClockStory(at))
            case ev.AlarmRaised():
                history.alarms.append(AlarmStory(at))
            case ev.DeviationOpened(deviation=deviation):
                self._deviations.add(deviation)
            case _:
                pass
        path = getattr(at.event, "path", None)
        if path in history.phases:
            history.phases[path].events.append(at)

    def _decided(self, at: At) -> None:
        history, event = self._history, at.event
        history.amendments[event.amendment].decided = at
        if not isinstance(event, ev.BatchAmended):
            return
        if event.binding == "recipe":
            history.bound_recipe = history.submitted[event.new]
        for bounds in event.limits:
            for story in history.clocks:
                if story.started.event.limit == bounds.limit and story.ended is None:
                    story.amended, story.due = bounds, None

    def _note_volumes(self, at: At, intended: ev.AttemptIntended) -> None:
        containers = self._history.state.containers
        act = intended.act or intended.asked
        names = [act.get("source"), act.get("target"), act.get("container"), act.get("tube")]
        names += act.get("containers", [])
        self._history.volumes[at.seq] = {
            name: containers[name].volume_nl for name in names if name in containers
        }

    def _of_host(self, at: At) -> None:
        history = self._history
        event = at.event
        match event:
            case ev.TaskTaken() | ev.TaskReported() | ev.TaskVerified() | ev.TaskWithdrawn():
                self._task(at)
            case ev.LimitDue() | ev.LimitEnded():
                self._clock(at)
            case ev.AlarmRaised(batch=None):
                history.alarms.append(AlarmStory(at))
            case ev.AlarmAcknowledged() | ev.AlarmCleared():
                self._alarm(at)
            case ev.DeviationClosed(deviation=deviation) if deviation in self._deviations:
                history.closed[deviation] = at
                history.events.append(at)
            case ev.RecipeSubmitted(recipe=recipe):
                history.submitted[recipe] = at
                if recipe == history.made.event.recipe:
                    history.recipe = history.bound_recipe = at
                    history.events.append(at)
            case ev.RecipeSigned(recipe=recipe) if recipe == history.made.event.recipe:
                history.recipe_signed.append(at)
                history.events.append(at)
            case ev.PersonAdded(user=user):
                history.people[user] = event
            case ev.EquipmentSeen(equipment=equipment):
                history.shown[equipment].append(at)
            case ev.OutsideActSeen():
                history.outside.append(at)
            case ev.HostStarted() if self._previous is not None:
                history.starts.append((at, self._previous))
            case ev.ContainerReceived(container=container):
                history.received[container] = at
            case ev.LotReceived(lot=lot):
                history.lots[lot] = at
            case ev.TraceSealed():
                history.traces.append(at)
            case _:
                pass

    def _task(self, at: At) -> None:
        story = self._history.tasks.get(at.event.task)
        if story is None:
            return
        self._history.events.append(at)
        match at.event:
            case ev.TaskTaken():
                story.taken = at
            case ev.TaskReported():
                story.reports.append(at)
            case ev.TaskVerified():
                story.verified = at
            case _:
                story.withdrawn = at

    def _clock(self, at: At) -> None:
        for story in reversed(self._history.clocks):
            if story.started.event.limit == at.event.limit and story.ended is None:
                self._history.events.append(at)
                if isinstance(at.event, ev.LimitDue):
                    story.due = at
                else:
                    story.ended = at
                return

    def _alarm(self, at: At) -> None:
        for story in reversed(self._history.alarms):
            if story.raised.event.alarm == at.event.alarm:
                if isinstance(at.event, ev.AlarmCleared):
                    story.cleared = story.cleared or at
                else:
                    story.acknowledged = story.acknowledged or at
                return


def _covered(value: Any, others: frozenset[str]) -> Any:
    if isinstance(value, str):
        return _WORD.sub(lambda word: ANOTHER if word[0] in others else word[0], value)
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: _covered(inner, others) for name, inner in entries.items()}
    if isinstance(value, list):
        return [_covered(inner, others) for inner in cast("list[Any]", value)]
    return value
