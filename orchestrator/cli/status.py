"""``cellwright status``: one page per patient, from the journal alone.

Works while the daemon is down and without the cell: it folds the journal, read-only, and
says where the cells are, in which state, which limits run, which alarms stand, and what
to do by hand. What is damaged in the journal ends the reading; the pages then show what
was sound before that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from orchestrator.cli.options import AsJson, DataFolder, journal_in
from orchestrator.cli.printing import in_columns, say, say_json, tell
from orchestrator.engine.fold import fold
from orchestrator.engine.limits import Limits
from orchestrator.engine.phase_state import PhaseState, state_of_parent
from orchestrator.engine.replay import collector_resting
from orchestrator.engine.state import BatchState, ContainerState, HostState, LimitState
from orchestrator.journal.events import EVENTS
from orchestrator.journal.journal import has_writer, read_events
from orchestrator.kernel.acts import Claims
from orchestrator.kernel.errors import BrokenChainError, ProcessError, RefusedError
from orchestrator.kernel.instants import Clock, Instant, SystemClock
from orchestrator.kernel.quantities import Volume

if TYPE_CHECKING:
    from orchestrator.engine.alarms import Alarms
    from orchestrator.engine.core import Core

ENDED: Final = ("complete", "stopped", "aborted")
RUNS: Final = "runs"
HAND_WORK: Final = "hand work"

_QUIETED: Final = {
    "halt": "Bring {equipment} to rest at its own panel.",
    "hold present value": "Leave {equipment} at the value it has.",
    "leave running": "Leave {equipment} running.",
}


def run(
    data: DataFolder = None,
    patient: Annotated[
        str | None,
        typer.Option(metavar="COI", help="Only this chain of identity"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print one page per patient: where the cells are, their state, and what to do by hand.

    It is made from the journal alone, so the daemon may be down. Exit status 1 if the
    journal is damaged; the pages show what was recorded before that. With --json one object
    with as_of, events, daemon, cell, patients and everybody (what belongs to no patient).
    """
    known = read_known(journal_in(data))
    pages = page_of_all(known, SystemClock())
    if patient is not None:
        if patient not in {page["coi"] for page in pages["patients"]}:
            if known.damage is not None:
                raise known.damage
            raise RefusedError(
                f"print the page of {patient}",
                why="the journal knows no such chain of identity",
                do_next="Leave --patient out to see all",
            )
        pages["patients"] = [page for page in pages["patients"] if page["coi"] == patient]
    if as_json:
        say_json(pages)
    else:
        say("\n".join(_in_words(pages)))
    if known.damage is None:
        return 0
    tell(str(known.damage))
    return 1


@dataclass
class Known:
    """What a journal says, up to its end or its first damage."""

    state: HostState
    recipes: dict[str, str]
    last_at: Instant | None
    daemon: str
    damage: BrokenChainError | None


def read_known(journal: Path) -> Known:
    """Fold a journal, without changing anything."""
    known = Known(HostState(), {}, None, "", None)
    try:
        with collector_resting():
            for recorded in read_events(journal, EVENTS):
                fold(known.state, recorded)
                known.last_at = recorded.at
                if recorded.event.kind == "recipe_submitted":
                    known.recipes[recorded.event.recipe] = recorded.event.content
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
    left = _Left(clock)
    coi_of = {name: batch.coi for name, batch in state.batches.items()}
    cois = sorted({*coi_of.values(), *(one.coi for one in state.containers.values() if one.coi)})
    return {
        "as_of": str(clock.utc()),
        "last_event_at": None if known.last_at is None else str(known.last_at),
        "events": state.seq,
        "unreadable_from": None if known.damage is None else state.seq + 1,
        "daemon": known.daemon,
        "cell": state.cell,
        "patients": [_patient(coi, known, left) for coi in cois],
        "everybody": {
            "limits": _limits(state, {""}, left),
            "alarms": _alarms(state, {""}),
            "tasks": _tasks(state, {""}),
        },
    }


class _Left:
    """What is left of limits, by the engine's own arithmetic on a clock of ours."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        core = cast("Core", self)  # of a core, this arithmetic takes the clock alone
        self._limits = Limits(core, cast("Alarms", None))

    def of(self, limit: LimitState) -> str:
        """Return it in words."""
        if not limit.maximum:
            return "no end"
        if self._limits.elapsed(limit) is None:
            return "unknown: a clock wasn't synchronised"
        left = self._limits.left(limit)
        return str(left) if left.base > 0 else "run out"


def _patient(coi: str, known: Known, left: _Left) -> dict[str, Any]:
    state = known.state
    batches = {name: batch for name, batch in state.batches.items() if batch.coi == coi}
    names = set(batches)
    claims = {name: _claims(batch, known.recipes) for name, batch in batches.items()}
    doubtful = _in_doubt(state, names, runs=known.daemon == RUNS)
    return {
        "coi": coi,
        "batches": [_batch(name, batch, state) for name, batch in batches.items()],
        "cells": [
            _container(name, one, state)
            for name, one in state.containers.items()
            if one.what != "reagent" and (one.coi == coi or one.batch in names)
        ],
        "in_doubt": doubtful,
        "limits": _limits(state, names, left),
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
        "by_hand": list(_by_hand(state, batches, claims, doubtful)),
    }  # fmt: skip


def _batch(name: str, batch: BatchState, state: HostState) -> dict[str, Any]:
    recipe = state.recipes.get(batch.recipe)
    running = {path: one for path, one in batch.phases.items() if one.ended_at is None}
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
             "since": str(one.started_at)}
            for path, one in running.items()
        ],
        "measured": dict(batch.measured),
    }  # fmt: skip


def _container(name: str, one: ContainerState, state: HostState) -> dict[str, Any]:
    kit = state.containers.get(one.kit)
    return {
        "container": name,
        "label": one.label,
        "material": one.material,
        "what": one.what,
        "volume": str(Volume.of_base(one.volume_nl)),
        "place": one.place or ("" if kit is None else kit.place),
        "kit": one.kit,
        "port": one.port,
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
                "act": _called(attempt.act),
                "asked": _act_in_words(attempt.act),
                "quieten": str(attempt.act.get("quieten", "")),
                "why": attempt.why,
            }
        )
    return doubtful


def _called(act: Mapping[str, Any]) -> str:
    return HAND_WORK if "instruction" in act else str(act.get("kind", "")).replace("_", " ")


def _act_in_words(act: Mapping[str, Any]) -> str:
    """Return an act's own parameters, those that a person can compare with what is there."""
    if "instruction" in act:
        return str(act["instruction"])
    unsaid = ("kind", "unit", "part", "longest", "on_interruption", "quieten", "weighed")
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in act.items()
        if name not in unsaid and isinstance(value, str | int) and value != ""
    )


def _limits(state: HostState, batches: set[str], left: _Left) -> list[dict[str, str]]:
    return [
        {
            "limit": name,
            "left": "run out" if one.due else left.of(one),
            "minimum": one.minimum,
            "maximum": one.maximum,
            "tier": one.tier,
            "started_at": str(one.started_at),
            "source": one.source,
        }
        for name, one in state.limits.items()
        if one.batch in batches
    ]


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
        if one.batch in batches and one.status not in ("done", "withdrawn")
    ]


def _by_hand(
    state: HostState,
    batches: Mapping[str, BatchState],
    claims: Mapping[str, Mapping[str, Claims]],
    doubtful: list[dict[str, str]],
) -> Iterator[str]:
    """Yield what people can do without the software, the most pressing first."""
    for one in doubtful:
        if one["act"] == HAND_WORK:
            yield (
                f"Don't do this again by hand ({one['asked']}): nobody knows yet how much of it "
                "was done. Look, and write down what you find and when."
            )
            continue
        yield _QUIETED.get(one["quieten"], "Look at {equipment}.").format_map(one)
        yield (
            f"Don't repeat {one['act']} on {one['equipment']} ({one['asked']}): nobody knows yet "
            "how much of it was done. Weigh or look, and write down what you find and when."
        )
    for name, batch in batches.items():
        if batch.status in ENDED:
            continue
        for path, phase in batch.phases.items():
            claimed = claims[name].get(path)
            if phase.ended_at is None and claimed is not None:
                yield (
                    f"{path} ({phase.state.value}): keep the material safe as "
                    f"{claimed.product_safe_state}; at most {claimed.longest_safe_hold} from "
                    f"{phase.started_at}."
                )
    for scan in state.scans.values():
        if scan.batch in batches:
            yield f"Have {scan.container} ready at {scan.place}: it is scanned before it moves."
    for task in _tasks(state, set(batches)):
        yield f"{task['work'].capitalize()}: {task['text']}"
    for alarm in _alarms(state, set(batches)):
        if not alarm["cleared"]:
            yield f"{alarm['action']} ({alarm['cause']})"


def _claims(batch: BatchState, recipes: Mapping[str, str]) -> dict[str, Claims]:
    """Return what the open phases claim; nothing where this version can't read the recipe."""
    running = [path for path, one in batch.phases.items() if one.state is not PhaseState.COMPLETE]
    content = recipes.get(batch.recipe)
    if not running or content is None or batch.status in ENDED:
        return {}
    from orchestrator.recipe.model import Recipe, Step, load_phase_kinds

    load_phase_kinds()
    claims: dict[str, Claims] = {}
    try:
        recipe = Recipe.read(content.encode())
        for path in running:
            node = recipe.at(path)
            if isinstance(node, Step):
                claims[path] = node.phase.claims()
    except (ProcessError, ValueError, LookupError):
        return claims  # the page is worth printing without them
    return claims


def _in_words(pages: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"As of {pages['as_of']} by this host's clock. The daemon: {pages['daemon']}. "
        f"{pages['events']} events."
    )
    if pages["unreadable_from"] is not None:
        yield (
            f"The journal can't be read from event {pages['unreadable_from']} on. "
            + ("This is what lies before." if pages["events"] else "Nothing lies before it.")
        )
    if pages["last_event_at"]:
        yield (
            f"The last was recorded at {pages['last_event_at']} by the daemon's clock, "
            "in an emulated room the room's."
        )
    for page in pages["patients"]:
        yield from _page_in_words(page)
    everybody = pages["everybody"]
    if any(everybody.values()):
        yield ""
        yield "== Whole cell ".ljust(80, "=")
        yield from _lists_in_words(everybody)


def _page_in_words(page: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"== Patient {page['coi']} ".ljust(80, "=")
    for batch in page["batches"]:
        yield ""
        yield f"Batch {batch['batch']}: {batch['status']}, {batch['state']}"
        if batch["title"]:
            yield f"  {batch['document']}: {batch['title']}"
        yield f"  {batch['phases_done']} phases done"
        if batch["broken"]:
            yield f"  stands still: {batch['broken']}"
        for phase in batch["phases_open"]:
            why = f": {phase['why']}" if phase["why"] else ""
            yield f"  {phase['path']} ({phase['phase']}) {phase['state']}{why}"
    yield from _listed("Where the cells are", [
        (one["container"], one["volume"], one["material"],
         f"at {one['place']}" if one["place"] else "no place recorded",
         _joined(one),
         f"QUARANTINED: {one['quarantined']}" if one["quarantined"] else "")
        for one in page["cells"]
    ])  # fmt: skip
    yield from _listed("In doubt", [
        (one["equipment"], one["act"], one["asked"], one["why"]) for one in page["in_doubt"]
    ])  # fmt: skip
    yield from _lists_in_words(page)
    yield from _listed("Deviations that are open", [
        (one["deviation"], one["path"], one["text"]) for one in page["deviations"]
    ])  # fmt: skip
    yield ""
    yield "What to do by hand"
    yield from (f"  - {line}" for line in page["by_hand"] or ["nothing now"])


def _joined(container: Mapping[str, Any]) -> str:
    if container["port"]:
        return f"joined at {container['port']} of {container['kit']}"
    return f"in {container['kit']}" if container["kit"] else ""


def _lists_in_words(page: Mapping[str, Any]) -> Iterator[str]:
    yield from _listed("Limits that run", [
        (one["limit"], f"left: {one['left']}", f"of {one['maximum'] or one['minimum']}",
         one["tier"])
        for one in page["limits"]
    ])  # fmt: skip
    yield from _listed("Alarms", [
        (one["tier"], one["alarm"], one["cause"],
         f"seen by {one['acknowledged_by']}" if one["acknowledged_by"] else "not acknowledged")
        for one in page["alarms"]
    ])  # fmt: skip
    yield from _listed("Work for people", [
        (one["task"], one["work"], one["status"], one["text"]) for one in page["tasks"]
    ])  # fmt: skip


def _listed(heading: str, rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield ""
        yield heading
        yield from (f"  {line}" for line in in_columns(rows).splitlines())
