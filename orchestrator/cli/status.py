"""``cellwright status``: one page per patient, from the journal alone.

Works while the daemon is down and without the cell: it folds the journal, read-only, and
says what to do by hand, where the cells are, in which state, which limits run and which
alarms stand. What is damaged in the journal ends the reading; the pages then show what
was sound before that. A page is 80 columns wide, so that it can be printed and written on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.options import AsJson, DataFolder, journal_in
from orchestrator.cli.printing import say, say_json, tell
from orchestrator.engine.materials import DISCARDED
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.instants import SystemClock
from orchestrator.records.patient_page import RUNS, WRITTEN_DOWN, page_of_all, read_known

WIDTH: Final = 80
FOUND: Final = "     Found: ______________________________  At: ____________  By: ____________"
"""Where a person without a screen writes."""


def run(
    data: DataFolder = None,
    patient: Annotated[
        str | None,
        typer.Option(metavar="COI", help="Only this chain of identity"),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print one page per patient: what to do by hand, where the cells are, and their state.

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


def _in_words(pages: Mapping[str, Any]) -> Iterator[str]:
    yield from _text(
        f"{pages['events']} events. As of {_at(pages['as_of'])} by this host's clock. "
        f"The daemon: {pages['daemon']}."
    )
    if pages["unreadable_from"] is not None:
        yield from _text(
            f"The journal can't be read from event {pages['unreadable_from']} on. "
            + ("This is what lies before." if pages["events"] else "Nothing lies before it.")
        )
    if pages["last_event_at"]:
        yield from _text(
            f"The last was recorded at {_at(pages['last_event_at'])} by the daemon's clock, in an "
            "emulated room the room's. Whatever happened since is on no record."
            if pages["daemon"] != RUNS
            else f"The last was recorded at {_at(pages['last_event_at'])} by the daemon's clock, "
            "in an emulated room the room's."
        )
    for page in pages["patients"]:
        yield from _page_in_words(page)
    everybody = pages["everybody"]
    if any(everybody.values()):
        yield ""
        yield "== Whole cell ".ljust(WIDTH, "=")
        yield from _lists_in_words(everybody)


def _page_in_words(page: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"== Patient {page['coi']} ".ljust(WIDTH, "=")
    yield ""
    yield "What to do by hand"
    for number, line in enumerate(page["by_hand"], start=1):
        yield from _text(line, first=f"  {number}. ", then="     ")
        if line.endswith(WRITTEN_DOWN):
            yield FOUND
    if not page["by_hand"]:
        yield "  nothing now"
    for batch in page["batches"]:
        yield from _batch_in_words(batch)
    yield from _cells_in_words(page["cells"])
    yield from _listed("In doubt", (
        f"{one['equipment']}: {one['asked']}; begun {_at(one['at'])}"
        + (f"; {one['why']}" if one["why"] else "")
        for one in page["in_doubt"]
    ))  # fmt: skip
    yield from _lists_in_words(page)
    yield from _listed("Deviations that are open", (
        f"{one['deviation']}: {one['text']}" for one in page["deviations"]
    ))  # fmt: skip


def _batch_in_words(batch: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"Batch {batch['batch']}: {batch['status']}, {batch['state']}"
    if batch["title"]:
        yield from _text(f"{batch['document']}: {batch['title']}", first="  ", then="  ")
    yield f"  {batch['phases_done']} phases done"
    if batch["broken"]:
        yield from _text(f"stands still: {batch['broken']}", first="  ", then="  ")
    for phase in batch["phases_open"]:
        why = f": {phase['why']}" if phase["why"] else ""
        what = f"{phase['phase']} {phase['state']} since {_at(phase['since'])}{why}"
        yield from _text(what, first="  now: ", then="       ")
        yield from _text(f"at {phase['path'].replace('/', ' / ')}", first="       ", then="       ")
    if batch["last_act"] is not None:
        last = batch["last_act"]
        outcome = last["outcome"].upper() if last["outcome"] == "in doubt" else last["outcome"]
        yield from _text(
            f"{last['equipment']}, {last['asked']}; {_at(last['at'])}; {outcome}",
            first="  last act: ",
            then="       ",
        )


def _cells_in_words(cells: list[Mapping[str, Any]]) -> Iterator[str]:
    """Say where everything of the patient's is that isn't an empty bag in its wrapping."""
    there = [one for one in cells if not _is_of_no_account(one)]
    kits = {one["kit"] for one in cells}
    rows: list[str] = []
    for one in there:
        if one["container"] in kits:
            continue  # a tray: what stands in it says where it is
        said = f"{one['container']}"
        if "/" not in one["container"] and one["label"] != one["container"]:
            said += f", labelled {one['label']}"
        said += f": {one['volume']} of {one['name'] or one['material']}"
        said += f", at {one['place']}" if one["place"] else ", no place recorded"
        if one["port"]:
            said += f", joined at {one['port']} of {one['kit']}"
        elif one["kit"]:
            said += f", in {one['kit']}"
        if one["quarantined"]:
            said += f". QUARANTINED: {one['quarantined']}"
        rows.append(said)
        if one["port"] == "vessel":
            others = [
                f"{other['container']} ({other['material']}) at {other['port']}"
                for other in one["joined"]
                if other["port"]
            ]
            rows[-1] += f", with {', '.join(others)}" if others else ""
    yield from _listed("Where the cells are", rows)
    left_out = len(cells) - len(there)
    if left_out:
        yield f"  and {left_out} that are empty, in their wrapping or thrown away"


def _is_of_no_account(container: Mapping[str, Any]) -> bool:
    is_empty = container["volume"] == "0 mL" and not container["quarantined"]
    return is_empty and container["place"] in ("", DISCARDED)


def _lists_in_words(page: Mapping[str, Any]) -> Iterator[str]:
    yield from _listed("Limits that run", (_limit_in_words(one) for one in page["limits"]))
    yield from _listed("Alarms", (
        f"{one['tier']}, {one['alarm']}: {one['cause']}; since {_at(one['raised_at'])}; "
        + (f"seen by {one['acknowledged_by']}" if one["acknowledged_by"] else "not acknowledged")
        for one in page["alarms"]
    ))  # fmt: skip
    yield from _listed("Work for people", (
        f"{one['work']}, {one['status']}: {one['text']} ({one['task']})" for one in page["tasks"]
    ))  # fmt: skip


def _limit_in_words(limit: Mapping[str, str]) -> str:
    if not limit["maximum"]:
        return f"{limit['limit']}: at least {limit['minimum']} from {_at(limit['started_at'])}"
    least = f"{limit['minimum']} to " if limit["minimum"] else ""
    return (
        f"{limit['limit']}: left {limit['left']}; {least}{limit['maximum']} from "
        f"{_at(limit['started_at'])}, so until {_at(limit['due'])} ({limit['tier']}; "
        f"{limit['source']})"
    )


def _listed(heading: str, rows: Iterable[str]) -> Iterator[str]:
    lines = [line for row in rows for line in _text(row, first="  - ", then="    ")]
    if lines:
        yield ""
        yield heading
        yield from lines


def _text(text: str, *, first: str = "", then: str = "") -> list[str]:
    """Return text in lines that fit; paths and names longer than that are broken."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    )


def _at(instant: str) -> str:
    """Return an instant as people read it, to the second."""
    return f"{instant[:10]} {instant[11:19]} UTC"
