"""``cellwright time``: what the host's clock shows, and a person's word on it.

Without a time it says whether the clock is kept to a reference, and what is owed where it
isn't. With one it is signed: what the time is now, or what it was at an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli.at_console import As, AtConsole, at_console
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder
from orchestrator.cli.passwords import PasswordFile
from orchestrator.cli.printing import say, say_json
from orchestrator.kernel.instants import Instant


def run(
    time: Annotated[
        str | None,
        typer.Argument(
            metavar="TIME",
            help="In UTC, as another clock shows it: 2026-11-23T10:07:13Z; left out: look",
        ),
    ] = None,
    within: Annotated[
        str, typer.Option(metavar="DURATION", help="The most that it is off, either way")
    ] = "2 min",
    of: Annotated[
        int, typer.Option(metavar="EVENT", help="The event at which it was so; else it is now")
    ] = 0,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Look at the host's clock, or sign what time it is where nobody vouches for the clock.

    With --json one object: of a look shown, offset, known, signed, jumped and starts_unknown; of
    a signature time, within, of and event.
    """
    with at_console(data, login, password_file) as console:
        if time is None:
            _look(console, as_json=as_json)
        else:
            _sign(console, _read(time), within, of, as_json=as_json)


def _look(console: AtConsole, *, as_json: bool) -> None:
    view = console.look("time")
    if as_json:
        say_json({name: one for name, one in view.items() if name != "version"})
        return
    say("\n".join(_told(view)))


def _told(view: Mapping[str, Any]) -> Iterator[str]:
    yield f"The host's clock shows {view['shown']}."
    if view["offset"]:
        yield f"It is synchronised, and off by {view['offset']} at most."
    elif view["signed"]:
        yield "It isn't synchronised. A person signed the time since the host was started."
    elif view["known"]:
        yield "It isn't synchronised now. It was since the host was started, and that counts."
    else:
        yield "It isn't synchronised. After a restart of the host a person must sign the time."
    if view["jumped"]:
        yield f"It jumped (event {view['jumped']}). Nobody signs until that is acknowledged:"
        yield '  cellwright answer "clock jumped" --acknowledge'
    if view["starts_unknown"]:
        yield f"Starts of the host whose time nobody knows: {view['starts_unknown']}."


def _sign(console: AtConsole, time: Instant, within: str, of: int, *, as_json: bool) -> None:
    console.require("sign_time")
    seen = console.look("time")["version"]
    given = console.give("sign_time", seen=seen, time=str(time), within=within, of=of)
    if as_json:
        say_json({"time": str(time), "within": within, "of": of, "event": given.seq})
        return
    when = f"was {time} at event {of}" if of else f"is {time}"
    say(f"Signed: it {when}, within {within} (event {given.seq}).")


def _read(text: str) -> Instant:
    """Return the instant that a person writes, with or without parts of a second."""
    whole, point, part = text.removesuffix("Z").partition(".")
    written = f"{whole}.{part:0<6}Z" if text.endswith("Z") and bool(point) == bool(part) else text
    try:
        return Instant.read(written)
    except ValueError:
        raise CallRefusedError(
            f"sign the time {text!r}",
            why="it isn't of the form 2026-11-23T10:07:13Z, in UTC",
            do_next="Write it so",
        ) from None
