"""One page per patient, from the journal alone: what a person needs while no daemon runs.

Where the cells are and what they are joined to, how far the batch has come and what its last
act was, which clocks run, and what to do by hand. What to do follows from what each phase
claims of itself: how its instrument is brought to rest, in which state the product is safe,
and for how long. The page holds pseudonyms, and no person's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.engine.fold import fold
from orchestrator.engine.limits import left, note_time, ran_since
from orchestrator.engine.phase_state import PhaseState, state_of_parent
from orchestrator.engine.replay import collector_resting
from orchestrator.engine.state import (
    AttemptState,
    BatchState,
    ContainerState,
    HostState,
    LimitState,
    PhaseRecord,
)
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import has_writer, read_events
from orchestrator.kernel.acts import Claims
from orchestrator.kernel.errors import BrokenChainError, ProcessError
from orchestrator.kernel.instants import Clock, Instant
from orchestrator.kernel.quantities import Duration, Volume
from orchestrator.kernel.tasks import OVER

ENDED: Final = ("complete", "stopped", "aborted")
RUNS: Final = "runs"
HAND_WORK: Final = "hand work"
WRITTEN_DOWN: Final = "Write down what you find and when."
"""How an instruction ends that asks for something to be put on paper."""

LATER: Final = "verify"
"""Work that waits for the daemon without harm."""

_QUIETED: Final = {
    "halt": "Bring {equipment} to rest at its own panel.",
    "hold present value": "Leave {equipment} at the value it has.",
    "leave running": "Leave {equipment} running, and don't touch its panel.",
}

_ASKED: Final = {
    "pump_volume": "pump {volume} from {source} into {target} at {flow}",
    "turn_empty_pump": "turn the empty pump for {volume}",
    "pick_container": "pick {container} up at {place}",
    "place_container": "set {container} down at {place}",
    "spin": "spin {container} at {force} for {at_speed}",
    "ramp_segment": "take the stage to {to} at {rate}",
    "set_climate": "hold {temperature} and {carbon_dioxide} CO2",
    "count_cells": "count the cells of {sample}",
}
"""How an act reads to who stands before the instrument."""

_LOOKED_AT: Final = {
    "pump_volume": "Once the pump stands still, shut the clamps of {source} and {target}; weigh "
    "both, and read the pump's counter.",
    "set_valves": "Look which valves are open; shut all of them only if the pump stands still.",
    "pick_container": "Look where {container} is: still at {place}, or in the gripper. Don't take "
    "it out of the gripper, and keep out of the arm's reach.",
    "place_container": "Look where {container} is: in the gripper, or at {place}. Don't take it "
    "out of the gripper, and keep out of the arm's reach.",
    "spin": "Leave the lid shut until the rotor stands still; look then whether the cells lie "
    "as a pellet, and don't shake {container}.",
    "ramp_segment": "Read the stage's temperature, now and every five minutes. Start no curve "
    "again, and don't warm or open the stage.",
    "set_climate": "Read temperature and CO2 at the panel, now and every half hour. Don't open "
    "the door.",
    "count_cells": "Leave the tube in the counter, and read what it shows.",
}
_LOOKED_AT_ANY: Final = "Look what it shows, and weigh what it may have changed."


@dataclass
class Known:
    """What a journal says, up to its end or its first damage."""

    state: HostState = field(default_factory=HostState)
    recipes: dict[str, str] = field(default_factory=dict[str, str])
    last_at: Instant | None = None
    since: dict[tuple[str, str], Instant] = field(default_factory=dict[tuple[str, str], Instant])
    """When a part of a batch came to the state it is in."""
    acts: dict[str, LastAct] = field(default_factory=dict[str, "LastAct"])
    """The last act of each batch."""
    daemon: str = ""
    damage: BrokenChainError | None = None


@dataclass(frozen=True, slots=True)
class LastAct:
    """The last act that a batch asked for."""

    command: str
    equipment: str
    asked: str
    at: Instant


def read_known(journal: Path) -> Known:
    """Fold a journal, without changing anything."""
    known = Known()
    try:
        with collector_resting():
            for recorded in read_events(journal, EVENTS):
                fold(known.state, recorded)
                known.last_at = recorded.at
                event = recorded.event
                match event.kind:
                    case "recipe_submitted":
                        known.recipes[event.recipe] = event.content
                    case "state_changed" | "phase_started":
                        known.since[event.batch, event.path] = recorded.at
                    case "attempt_intended":
                        act = event.asked if event.act is None else event.act
                        known.acts[event.batch] = LastAct(
                            event.command, event.equipment, act_in_words(act), recorded.at
                        )
                    case _:
                        pass
    except BrokenChainError as damage:
        known.damage = damage
    known.daemon = _daemon(journal, known)
    return known


def _daemon(journal: Path, known: Known) -> str:
    """Say whether a daemon has the journal open, by the lock that it holds."""
    if has_writer(journal):
        return RUNS
    if known.damage is not None:
        return "down, and how it ended can't be read"
    ended_well = known.state.ended_well
    return "down, ended in good order" if ended_well else "down, ended without a word"


def page_of_all(known: Known, clock: Clock) -> dict[str, Any]:
    """Return every patient's page, as programs read it."""
    state = known.state
    note_time(state, clock)
    coi_of = {name: batch.coi for name, batch in state.batches.items()}
    cois = sorted({*coi_of.values(), *(one.coi for one in state.containers.values() if one.coi)})
    return {
        "as_of": str(clock.utc()),
        "last_event_at": None if known.last_at is None else str(known.last_at),
        "events": state.seq,
        "unreadable_from": None if known.damage is None else state.seq + 1,
        "daemon": known.daemon,
        "cell": state.cell,
        "patients": [_patient(coi, known, clock) for coi in cois],
        "everybody": {
            "limits": _limits(state, {""}, clock),
            "alarms": _alarms(state, {""}),
            "tasks": _tasks(state, {""}),
        },
    }


def _patient(coi: str, known: Known, clock: Clock) -> dict[str, Any]:
    state = known.state
    batches = {name: batch for name, batch in state.batches.items() if batch.coi == coi}
    names = set(batches)
    doubtful = _in_doubt(state, names, runs=known.daemon == RUNS)
    limits = _limits(state, names, clock)
    holds = [one for name, batch in batches.items() for one in _holds(name, batch, known)]
    return {
        "coi": coi,
        "batches": [_batch(name, batch, known, doubtful) for name, batch in batches.items()],
        "cells": [
            _container(name, one, state)
            for name, one in state.containers.items()
            if one.what != "reagent" and (one.coi == coi or one.batch in names)
        ],
        "in_doubt": doubtful,
        "holds": holds,
        "limits": limits,
        "alarms": _alarms(state, names),
        "tasks": _tasks(state, names),
        "scans": [
            {"container": one.container, "place": one.place, "scanner": one.scanner,
             "since": str(one.since)}
            for one in state.scans.values() if one.batch in names
        ],
        "deviations": [
            {"deviation": name, "path": one.path, "text": one.text, "opened_at": str(one.opened_at)}
            for name, one in state.deviations.items()
            if one.batch in names and not one.closed_by
        ],
        "by_hand": list(_by_hand(known, names, doubtful, holds, limits, clock)),
    }  # fmt: skip


def _batch(
    name: str, batch: BatchState, known: Known, doubtful: list[dict[str, str]]
) -> dict[str, Any]:
    recipe = known.state.recipes.get(batch.recipe)
    running = {path: one for path, one in batch.phases.items() if one.ended_at is None}
    last = known.acts.get(name)
    return {
        "batch": name,
        "status": "broken" if batch.broken else batch.status,
        "broken": batch.broken,
        "state": state_of_parent(one.state for one in batch.phases.values()).value,
        "document": "" if recipe is None else f"{recipe.document} version {recipe.version}",
        "title": "" if recipe is None else recipe.title,
        "made_at": str(batch.made_at),
        "phases_done": len(batch.phases) - len(running),
        "phases_open": [
            {"path": path, "phase": one.phase, "state": one.state.value, "why": one.why,
             "since": str(known.since.get((name, path), one.started_at))}
            for path, one in running.items()
        ],
        "last_act": None if last is None else {
            "equipment": last.equipment,
            "asked": last.asked,
            "at": str(last.at),
            "outcome": _outcome(last, known, doubtful),
        },
        "measured": dict(batch.measured),
    }  # fmt: skip


def _outcome(last: LastAct, known: Known, doubtful: list[dict[str, str]]) -> str:
    if last.command in {one["command"] for one in doubtful}:
        return "in doubt"
    return "under way" if last.command in known.state.attempts else "settled"


def _container(name: str, one: ContainerState, state: HostState) -> dict[str, Any]:
    kit = state.containers.get(one.kit)
    batch = state.batches.get(one.batch)
    named = {} if batch is None else {**batch.containers, **batch.kits}
    return {
        "container": name,
        "name": next((said for said, thing in named.items() if thing == name), ""),
        "label": one.label,
        "material": one.material,
        "what": one.what,
        "volume": str(Volume.of_base(one.volume_nl)),
        "place": one.place or ("" if kit is None else kit.place),
        "kit": one.kit,
        "port": one.port,
        "joined": [
            {"container": other, "port": found.port, "material": found.material}
            for other, found in state.containers.items()
            if one.kit and found.kit == one.kit and other != name
        ],
        "quarantined": one.quarantined,
    }


def _in_doubt(state: HostState, batches: set[str], *, runs: bool) -> list[dict[str, str]]:
    """Return the attempts of which nobody knows what they did; one that a daemon awaits is none."""
    doubtful: list[dict[str, str]] = []
    for command, (batch, path, number) in state.attempts.items():
        if batch not in batches:
            continue
        attempt = state.batches[batch].phases[path].words[number].attempts[-1]
        if runs and attempt.verdict == "open":
            continue
        doubtful.append(
            {
                "command": command,
                "batch": batch,
                "path": path,
                "equipment": attempt.equipment,
                "act": HAND_WORK if _is_by_hand(attempt) else _kind(attempt.act),
                "asked": act_in_words(attempt.act),
                "look": _looked_at(attempt.act),
                "quieten": str(attempt.act.get("quieten", "")),
                "at": str(attempt.intended_at),
                "why": attempt.why,
            }
        )
    return doubtful


def _is_by_hand(attempt: AttemptState) -> bool:
    return "instruction" in attempt.act


def _kind(act: Mapping[str, Any]) -> str:
    return str(act.get("kind", "")).replace("_", " ")


def act_in_words(act: Mapping[str, Any]) -> str:
    """Return what an act asks for, so that a person can compare it with what is there."""
    if "instruction" in act:
        return str(act["instruction"])
    if act.get("kind") == "set_valves":
        opened = ", ".join(act.get("open", ()))
        return f"open {opened} of {act.get('kit')}" if opened else f"shut all of {act.get('kit')}"
    told = _ASKED.get(str(act.get("kind")))
    if told is not None:
        try:
            return told.format_map(act)
        except KeyError:
            pass  # an act of another version: its own words, below, are true as well
    unsaid = ("kind", "unit", "part", "longest", "on_interruption", "quieten", "weighed")
    said = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in act.items()
        if name not in unsaid and isinstance(value, str | int) and value != ""
    )
    return f"{_kind(act)} ({said})" if said else _kind(act)


def _looked_at(act: Mapping[str, Any]) -> str:
    try:
        return _LOOKED_AT.get(str(act.get("kind")), _LOOKED_AT_ANY).format_map(act)
    except KeyError:
        return _LOOKED_AT_ANY


def _holds(name: str, batch: BatchState, known: Known) -> Iterator[dict[str, str]]:
    """Yield, of each open phase, in which state the product is safe in it, and until when."""
    for path, (phase, claims, sentence) in _claims(batch, known.recipes).items():
        rests_from = _rests_from(name, path, phase, known)
        yield {
            "batch": name,
            "path": path,
            "sentence": sentence,
            "state": phase.state.value,
            "product_safe_state": claims.product_safe_state,
            "quieten": claims.quieten.value,
            "longest_safe_hold": str(claims.longest_safe_hold),
            "safe_until": str(rests_from + claims.longest_safe_hold),
            "waits_until": "" if rests_from != _waits_until(phase) else str(rests_from),
        }


def _rests_from(name: str, path: str, phase: PhaseRecord, known: Known) -> Instant:
    """Return from when a phase counts as held: its rest, its planned end, or the last sign.

    A phase that was at work when the daemon fell silent may have rested since the last event.
    """
    waits_until = _waits_until(phase)
    last = known.last_at or phase.started_at
    if phase.state in (PhaseState.HELD, PhaseState.PAUSED):
        return known.since.get((name, path), phase.started_at)
    return last if waits_until is None else max(last, waits_until)


def _waits_until(phase: PhaseRecord) -> Instant | None:
    """Return the instant that a phase's open word waits for, if it does."""
    for word in phase.words.values():
        instant = word.asked.get("instant") or word.asked.get("latest")
        if word.answer is None and instant:
            return Instant.read(str(instant))
    return None


def _claims(
    batch: BatchState, recipes: Mapping[str, str]
) -> dict[str, tuple[PhaseRecord, Claims, str]]:
    """Return what the open phases claim; nothing where this version can't read the recipe."""
    running = {path: one for path, one in batch.phases.items() if one.ended_at is None}
    content = recipes.get(batch.recipe)
    if not running or content is None or batch.status in ENDED:
        return {}
    from orchestrator.recipe.model import Recipe, Step, load_phase_kinds

    load_phase_kinds()
    claims: dict[str, tuple[PhaseRecord, Claims, str]] = {}
    try:
        recipe = Recipe.read(content.encode())
        for path, phase in running.items():
            node = recipe.at(path)
            if isinstance(node, Step):
                claims[path] = (phase, node.phase.claims(), node.name)
    except (ProcessError, ValueError, LookupError):
        return claims  # the page is worth printing without them
    return claims


def _limits(state: HostState, batches: set[str], clock: Clock) -> list[dict[str, str]]:
    return [
        {
            "limit": name,
            "left": "run out" if one.due else _left(one, state, clock),
            "minimum": one.minimum,
            "maximum": one.maximum,
            "due": str(one.started_at + Duration.read(one.maximum)) if one.maximum else "",
            "tier": one.tier,
            "started_at": str(one.started_at),
            "source": one.source,
        }
        for name, one in state.limits.items()
        if one.batch in batches
    ]


def _left(limit: LimitState, state: HostState, clock: Clock) -> str:
    """Return what is left of a limit, by the engine's own arithmetic."""
    if not limit.maximum:
        return "no end"
    if ran_since(limit.mark, state, clock) is None:
        return "unknown: a clock wasn't synchronised"
    rest = left(limit, state, clock)
    return str(rest) if rest.base > 0 else "run out"


def _alarms(state: HostState, batches: set[str]) -> list[dict[str, Any]]:
    return [
        {
            "alarm": name,
            "tier": one.tier,
            "cause": one.cause,
            "consequence": one.consequence,
            "action": one.action,
            "raised_at": str(one.raised_at),
            "acknowledged_by": one.acknowledged_by,
            "cleared": one.cleared,
        }
        for name, one in state.alarms.items()
        if one.batch in batches
    ]


def _tasks(state: HostState, batches: set[str]) -> list[dict[str, Any]]:
    return [
        {
            "task": name,
            "work": one.work,
            "status": one.status,
            "text": one.text,
            "taken_by": one.taken_by,
            "due": None if one.due is None else str(one.due),
        }
        for name, one in state.tasks.items()
        if one.batch in batches and one.status not in OVER
    ]


def _by_hand(
    known: Known,
    batches: set[str],
    doubtful: list[dict[str, str]],
    holds: list[dict[str, str]],
    limits: list[dict[str, str]],
    clock: Clock,
) -> Iterator[str]:
    """Yield what people can do without the software, the most pressing first."""
    state = known.state
    for one in doubtful:
        if one["act"] == HAND_WORK:
            yield (
                f"Don't do this again by hand ({one['asked']}): nobody knows yet how much of it "
                f"was done. Ask who was at it and look. {WRITTEN_DOWN}"
            )
            continue
        unit = state.equipment.get(one["equipment"])
        model = "" if unit is None else f" ({unit.model.replace('_', ' ')})"
        rest = _QUIETED.get(one["quieten"], "Look at {equipment}.").format_map(one)
        yield (
            f"{one['equipment']}{model} was told to {one['asked']}, and nobody knows how much of "
            f"it was done. {rest} Don't repeat it. {one['look']} {WRITTEN_DOWN}"
        )
    for one in holds:
        if known.daemon != RUNS or one["state"] != PhaseState.RUNNING:
            yield _kept_safe(one, clock.utc())
    due = sorted((one["due"], one["limit"]) for one in limits if one["due"])
    if due and known.daemon != RUNS:
        first, limit = due[0]
        yield f"The first limit to run out: {limit}, {_when(first, clock.utc())}."
    awaited = [one for one in state.scans.values() if one.batch in batches]
    for scan in awaited:
        yield f"Have {scan.container} ready at {scan.place}: it is scanned before it moves."
    yield from _owed(known, batches, {one["command"] for one in doubtful})
    for alarm in _alarms(state, batches):
        if not alarm["cleared"]:
            yield f"{alarm['action']} ({alarm['cause']})"


def _kept_safe(hold: Mapping[str, str], now: Instant) -> str:
    safe_until = _when(hold["safe_until"], now)
    if hold["waits_until"]:
        return (
            f"{hold['sentence']}: leave it alone, it goes on by itself until "
            f"{_to_the_minute(hold['waits_until'])}. Safe as long as "
            f"{hold['product_safe_state']}, {safe_until}. If no daemon runs by then, call quality."
        )
    return (
        f"{hold['sentence']}: the cells are safe like this: {hold['product_safe_state']}. See that "
        f"it is so, and leave it so. That holds for {hold['longest_safe_hold']} at most, "
        f"{safe_until}; call quality before."
    )


def _when(instant: str, now: Instant) -> str:
    """Return until when, and what is left of that by this host's clock."""
    left_min = (Instant.read(instant) - now).base // 60_000
    hours, minutes = divmod(left_min, 60)
    said = f"{hours} h {minutes} min left" if left_min > 0 else "PASSED"
    return f"until {_to_the_minute(instant)} ({said} by this host's clock)"


def _owed(known: Known, batches: set[str], doubtful: set[str]) -> Iterator[str]:
    """Yield what to do about open tasks: with no daemon nothing new is begun."""
    tasks = [one for one in _tasks(known.state, batches) if one["task"] not in doubtful]
    if known.daemon == RUNS:
        for task in tasks:
            yield f"{task['work'].capitalize()}: {task['text']}"
        return
    offered = [one for one in tasks if one["work"] != LATER]
    for task in offered:
        yield f"Don't begin before the daemon runs: {task['text']}"


def _to_the_minute(instant: str) -> str:
    """Return an instant's text as people write it down."""
    return f"{instant[:10]} {instant[11:16]} UTC"
