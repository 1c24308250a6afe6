"""``cellwright amend``: change what a running batch is bound to, between its acts, by two people.

One person proposes, after all of the batch that runs was held; another, of quality, verifies or
rejects. What would be different is printed first, checked as a whole. Restarting is a word of
its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.at_console import As, AtConsole, at_console, names_of, pairs
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder
from orchestrator.cli.passwords import PasswordFile
from orchestrator.cli.printing import say, say_json
from orchestrator.cli.recipes import written_recipe
from orchestrator.kernel.errors import ProcessError, RefusedError
from orchestrator.kernel.quantities import Duration

Batch = Annotated[str, typer.Argument(metavar="BATCH", help="The batch, as `order` named it")]
After = Annotated[str, typer.Option(help="Behind which operation, as `amend show` names it")]
Reason = Annotated[str, typer.Option(help="Why, in one line; it is signed with the amendment")]
Check = Annotated[
    bool, typer.Option("--check", help="Say what would be different, and change nothing")
]
Amendment = Annotated[
    str, typer.Argument(metavar="AMENDMENT", help="Its name in the batch, e.g. amendment-1")
]


def show(
    batch: Batch,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the steps of a batch with how far it has come, and its amendments.

    With --json the view as it is.
    """
    with at_console(data, login, password_file) as console:
        shown = console.look("amendments", batch=batch)
        if as_json:
            say_json(shown)
            return
        say(f"{batch}: {shown['document']}")
        for why in shown["strange"]:
            say(f"  {why}")
        for one in shown["elements"]:
            say(f"  {one['stands']:8} {one['path']}")
        names = names_of(console)
        for one in shown["amendments"]:
            _say_amendment(one, names)


def _say_amendment(one: Mapping[str, Any], names: Mapping[str, str]) -> None:
    who = names.get(one["proposed_by"], one["proposed_by"])
    say(f"{one['amendment']}: {one['status']}; proposed by {who} at {one['proposed_at']}")
    say(f"  because: {one['reason']}")
    for change in one["changes"]:
        say(f"  {change}")
    if one["decided_by"]:
        decider = names.get(one["decided_by"], one["decided_by"])
        why = f": {one['why_not']}" if one["why_not"] else ""
        say(f"  {'rejected' if why else 'verified'} by {decider}{why}")


def wait(
    batch: Batch,
    lasting: Annotated[str, typer.Argument(metavar="DURATION", help="How much longer, e.g. '1 d'")],
    after: After,
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Leave the kit in its incubator for so much longer, behind an operation of culture.

    Each limit that spans it and doesn't block gets as much more; what blocks stays as it is.
    """
    addendum = {"do": "wait", "after": after, "lasting": _duration(lasting)}
    asked = {"batch": batch, "binding": "recipe", "addendum": addendum}
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def repeat(
    batch: Batch,
    again: Annotated[str, typer.Argument(metavar="STEP", help="The step or operation, by path")],
    after: Annotated[
        str, typer.Option(help="Behind which step or operation; else behind itself")
    ] = "",
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Do a step or an operation once more that has run."""
    addendum = {"do": "repeat", "again": again, "after": after}
    asked = {"batch": batch, "binding": "recipe", "addendum": addendum}
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def skip(
    batch: Batch,
    out: Annotated[str, typer.Argument(metavar="STEP", help="The step or operation, by path")],
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Leave out a step or an operation that hasn't begun. Limits that name it fall away."""
    asked = {"batch": batch, "binding": "recipe", "addendum": {"do": "skip", "out": out}}
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def add(
    batch: Batch,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A protocol file with what is to be done")
    ],
    after: After,
    use: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LABEL", help="The thing for a new word; may be repeated"),
    ] = None,
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Put the operations of a small protocol in: an extra feed, a sample, a wash.

    It states kit, units and materials of the batch in the batch's own words; new materials are
    taken from what was received. It is checked within the whole, not by itself.
    """
    asked = {
        "batch": batch,
        "binding": "recipe",
        "addendum": {"do": "add", "after": after},
        "content": written_recipe(file).content.decode(),
        "use": pairs(use, option="--use"),
    }
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def engine(
    batch: Batch,
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Bind a batch to the version of the software that runs now.

    Each open phase of it is gone through on its recorded answers first.
    """
    asked = {"batch": batch, "binding": "engine"}
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def cell(
    batch: Batch,
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Bind a batch to the process cell file that runs now.

    Its recipe is checked on it, and each open phase is gone through.
    """
    asked = {"batch": batch, "binding": "cell"}
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def equipment(
    batch: Batch,
    instrument: Annotated[
        str, typer.Argument(metavar="INSTRUMENT", help="Its name in the process cell file")
    ],
    reason: Reason = "",
    check: Check = False,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Bind a batch to the instrument that answers now, where it was exchanged."""
    asked = {"batch": batch, "binding": "equipment", "equipment": instrument}
    _propose(data, login, password_file, asked, reason, check=check, as_json=as_json)


def verify(
    batch: Batch,
    amendment: Amendment,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Sign a proposed amendment as the second person; it holds from then on.

    What it changes is printed before the password is asked for.
    """
    with at_console(data, login, password_file) as console:
        seen = _shown(console, batch, amendment)
        console.require("verify_amendment")
        if not as_json:
            _say_amendment(seen[1], names_of(console))
        console.give("verify_amendment", seen=seen[0], batch=batch, amendment=amendment)
        if as_json:
            say_json(_shown(console, batch, amendment)[1])
        else:
            say(f"{amendment} holds. `cellwright answer {batch} --command restart` lets it go on.")


def reject(
    batch: Batch,
    amendment: Amendment,
    why: Annotated[str, typer.Option(help="Why not, in one line")],
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a proposed amendment, or withdraw one's own. The batch is as it was."""
    with at_console(data, login, password_file) as console:
        seen = _shown(console, batch, amendment)
        console.give("reject_amendment", seen=seen[0], batch=batch, amendment=amendment, why=why)
        if as_json:
            say_json(_shown(console, batch, amendment)[1])
        else:
            say(f"{amendment} is rejected; {batch} is bound as it was.")


SUBCOMMANDS: Final = {
    "show": show,
    "add": add,
    "wait": wait,
    "repeat": repeat,
    "skip": skip,
    "engine": engine,
    "cell": cell,
    "equipment": equipment,
    "verify": verify,
    "reject": reject,
}


def _shown(console: AtConsole, batch: str, amendment: str) -> tuple[int, Mapping[str, Any]]:
    view = console.look("amendments", batch=batch)
    for one in view["amendments"]:
        if one["amendment"] == amendment:
            return view["version"], one
    raise RefusedError(
        f"decide on {amendment} of batch {batch}",
        why="nobody proposed it",
        do_next=f"`cellwright amend show {batch}` lists them",
    )


def _duration(text: str) -> str:
    try:
        return str(Duration.read(text))
    except ProcessError as wrong:
        raise CallRefusedError(
            f"wait {text!r} more", why=wrong.why, do_next="Write it as '1 d' or '12 h'"
        ) from wrong


def _propose(
    data: Path | None,
    login: str | None,
    password_file: Path | None,
    asked: Mapping[str, Any],
    reason: str,
    *,
    check: bool,
    as_json: bool,
) -> None:
    """Print what would be different; propose it unless it is only to be checked."""
    batch = asked["batch"]
    if not check and not reason:
        raise CallRefusedError(
            f"amend batch {batch}", why="an amendment says why", do_next="Give --reason"
        )
    told = {name: one if isinstance(one, str) else json.dumps(one) for name, one in asked.items()}
    with at_console(data, login, password_file) as console:
        if not check:
            console.require("propose_amendment")
        draft = console.look("amendment", **told)
        if not as_json:
            _say_draft(batch, draft)
        if draft["against"]:
            against = [str(one) for one in draft["against"]]
            more = f"; and {len(against) - 5} more" if len(against) > 5 else ""
            raise RefusedError(
                f"amend batch {batch}",
                why="; ".join(against[:5]) + more,
                do_next="Correct what it says, and look again with --check",
            )
        if check:
            if as_json:
                say_json(draft)
            else:
                say("Nothing was changed.")
            return
        console.give("propose_amendment", seen=draft["version"], **asked, reason=reason)
        if as_json:
            say_json(_shown(console, batch, draft["amendment"])[1])
        else:
            say(
                f"{draft['amendment']} is proposed. Next, a person of quality verifies it: "
                f"cellwright amend verify {batch} {draft['amendment']}"
            )


def _say_draft(batch: str, draft: Mapping[str, Any]) -> None:
    say(f"{batch}, {draft['amendment']}: the {draft['binding']}")
    for one in draft["changes"]:
        say(f"  {one}")
    for name, thing in draft["containers"].items():
        say(f"  {name} is {thing}.")
    for one in draft["findings"]:
        says = "refuses" if one["severity"] == "refuse" else "asks for the reason"
        say(f"  {one['rule']} {says}: {one['text']}")
    if draft["waits"]:
        say(f"  Not yet: {draft['waits']}.")
