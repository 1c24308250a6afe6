"""What a report of hand work, or an answer, may say before it is recorded.

The material ledger believes what is recorded, so a report holds what was asked for, whole
and readable, and nothing else: a name that nobody asked for would change the ledger or
name a person who did nothing. Two people who decide what hand work did owe the same.
Follows design sections 7 and 10.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NoReturn, cast

from chain_of_identity.pre_printed import read_applied
from orchestrator.engine.state import HostState, TaskState
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.quantities import Quantity, Volume, mL
from orchestrator.kernel.tasks import LABEL, NOT_DONE

VOLUME: Final = "volume"
"""What is reported of liquid that hands measured or moved."""

WHY: Final = "why"
"""What is reported of hand work that was not done."""

VOLUME_MOST: Final = 10_000 * mL
"""More than any container holds whose capacity isn't on file. Assumed."""


def values_of(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that a command states.

    Raises:
        ValueError: They aren't texts by name.
    """
    given: object = arguments.get("values", {})
    if not isinstance(given, dict):
        raise ValueError("values: it must hold texts by name")
    values = cast("dict[object, object]", given)
    if not all(isinstance(name, str) and isinstance(one, str) for name, one in values.items()):
        raise ValueError("values: it must hold texts by name")
    return cast("dict[str, str]", values)


def refuse_report(
    state: HostState, name: str, values: Mapping[str, str], *, choice: str, declined: str
) -> None:
    """Refuse a report or an answer that says less than its task asks for, more, or nonsense.

    Raises:
        RefusedError: With what is wrong.
        IdentityRefusedError: Its label is none that a roll has.
    """
    task = state.tasks[name]
    what = f"report task {name}"
    if declined:
        _refuse_names(what, values, asked=())
    elif task.work == "do" and choice == NOT_DONE:
        _refuse_names(what, values, asked=(WHY,))
    elif task.work == "do":
        asked = cast("list[str]", task.ask.get("report", []))
        own = [one for one in of_the_same_work(state, name) if not state.tasks[one].rejected]
        values_owed(state, what, task.ask, asked, values, own=own)
    else:
        _refuse_answer(what, task, values, choice)


def of_the_same_work(state: HostState, name: str) -> list[str]:
    """Return the tasks of all attempts at the same hand work: ``<act>.<number of attempt>``."""
    act = name.rpartition(".")[0]
    return [
        one for one, task in state.tasks.items() if task.work == "do" and one.startswith(f"{act}.")
    ]


def values_owed(
    state: HostState,
    what: str,
    act: Mapping[str, Any],
    asked: Collection[str],
    values: Mapping[str, str],
    *,
    own: Collection[str],
    bound: str = "",
) -> dict[str, str]:
    """Return what is stated of one piece of hand work: what was ``asked``, and readable.

    ``own`` names the tasks in which this very work may have been reported before, ``bound`` the
    label that it was settled with.

    Raises:
        RefusedError: It lacks something, has something nobody asked for, has a volume that
            can't be, or a label that something else has.
        IdentityRefusedError: Its label is none that a roll has.
    """
    _refuse_names(what, values, asked=asked)
    _refuse_missing(what, values, asked=asked)
    stated = dict(values)
    for name, words in act.get("words", {}).items():
        if name in stated and stated[name] not in words:
            raise RefusedError(
                what,
                why=f"{stated[name]!r} isn't a word for {name.replace('_', ' ')}",
                do_next=f"Report {' or '.join(f'{name}={one}' for one in words)}",
            )
    if VOLUME in stated:
        stated[VOLUME] = str(_volume(state, what, act, stated[VOLUME]))
    if LABEL in stated:
        stated[LABEL] = read_applied(stated[LABEL])
        has_it = "" if stated[LABEL] == bound else label_taken_by(state, stated[LABEL], own=own)
        if has_it:
            _refuse_label_of(has_it, state, what, stated[LABEL], str(act["containers"][0]))
    return stated


def _refuse_label_of(
    has_it: str, state: HostState, what: str, label: str, container: str
) -> NoReturn:
    """Refuse a new label that a container has already.

    Raises:
        RefusedError: Always; it says which container.
    """
    known = state.containers.get(container)
    if has_it != container:
        raise RefusedError(
            what,
            why=f"{has_it} has this label already",
            do_next=f"Read again what is on {container}; if it says the same, leave both where "
            "they are and call quality assurance",
        )
    is_old = known is not None and known.label == label
    raise RefusedError(
        what,
        why=f"that is the label that {container} had"
        if is_old
        else f"it was reported of {container} before",
        do_next="Report the new one, which is beside it"
        if is_old
        else "Stick the next label of the roll beside it, and report that one",
    )


def label_taken_by(state: HostState, label: str, *, own: Collection[str] = ()) -> str:
    """Return the container that has a label; empty if it is free.

    A label stays taken when another is stuck beside it, and is taken as soon as a person
    reports it, before anybody verifies that; it stays so when that report is rejected: another
    attempt is made with the next label. ``own`` names tasks that don't count.
    """
    return state.labels.get(label) or next(_reported_of(state, label, own), "")


def _reported_of(state: HostState, label: str, own: Collection[str]) -> Iterator[str]:
    for name, task in state.tasks.items():
        if name not in own and task.values.get(LABEL) == label:
            act = task.ask.get("act", task.ask)
            yield next(iter(act.get("containers", ())), name)


def _refuse_names(what: str, values: Mapping[str, str], *, asked: Collection[str]) -> None:
    unasked = [one for one in values if one not in asked]
    if unasked:
        raise RefusedError(
            what,
            why=f"nobody asked for {', '.join(unasked)}",
            do_next=f"Report {', '.join(asked)} alone" if asked else "Give no values with it",
        )


def _refuse_missing(what: str, values: Mapping[str, str], *, asked: Collection[str]) -> None:
    missing = [one for one in asked if not values.get(one)]
    if missing:
        raise RefusedError(
            what, why=f"it lacks {', '.join(missing)}", do_next="Fill in what is missing"
        )


def _volume(state: HostState, what: str, act: Mapping[str, Any], text: str) -> Volume:
    """Return a stated volume that the container it is in can hold.

    Hand work on two containers goes from the first into the second.
    """
    inside = state.containers.get(next(reversed(act.get("containers", ())[:2]), ""))
    most = VOLUME_MOST
    if inside is not None and inside.capacity_nl:
        most = Volume.of_base(inside.capacity_nl)
    try:
        volume = Volume.read(text)
        if not 0 <= volume.base <= most.base:
            raise ValueError(f"it must be from 0 mL to {most}, and is {volume}")
    except ValueError as unreadable:
        raise _unreadable(what, VOLUME, unreadable) from unreadable
    return volume


def _refuse_answer(what: str, task: TaskState, values: Mapping[str, str], choice: str) -> None:
    entries = {str(entry["name"]): entry for entry in task.ask.get("entries", [])}
    _refuse_names(what, values, asked=entries)
    _refuse_missing(what, values, asked=entries)
    for name, entry in entries.items():
        if entry["lowest"]:
            _refuse_outside(what, name, values[name], entry)
    choices = [str(one["name"]) for one in task.ask.get("choices", [])]
    if choices and choice not in choices:
        raise RefusedError(
            what,
            why=f"{choice!r} isn't one of {', '.join(choices)}",
            do_next="Choose one of them",
        )


def _refuse_outside(what: str, name: str, text: str, entry: Mapping[str, Any]) -> None:
    try:
        value = Quantity.read(text)
        lowest, highest = Quantity.read(entry["lowest"]), Quantity.read(entry["highest"])
        if type(value) is not type(lowest) or not lowest <= value <= highest:
            raise ValueError(f"it must be from {lowest} to {highest}")
    except ValueError as unreadable:
        raise _unreadable(what, name, unreadable) from unreadable


def _unreadable(what: str, name: str, why: ValueError) -> RefusedError:
    return RefusedError(
        what,
        why=f"{name.replace('_', ' ')}: {why}",
        do_next="Enter it as a number with its unit, e.g. 250 mL",
    )
