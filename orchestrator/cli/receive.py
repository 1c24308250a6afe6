"""``cellwright receive``: put on file what has arrived: lots, a patient's material, kits, bags.

Everything bears an opaque label, printed beforehand or minted here, and is known by it. A
label that was typed wrongly is found by its check character before anything is sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from chain_of_identity.labels import Entry, LabelRead, key_of
from chain_of_identity.schemes.opaque import OpaqueScheme
from chain_of_identity.schemes.scheme import LabelKind
from orchestrator.cli.at_console import As, AtConsole, at_console
from orchestrator.cli.options import AsJson, CallRefusedError, DataFolder, readable
from orchestrator.cli.passwords import PasswordFile
from orchestrator.cli.printing import in_columns, say, say_json
from orchestrator.kernel.errors import IdentityRefusedError, RefusedError
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, Volume

KIND_OF: Final[Mapping[str, LabelKind]] = {
    "patient_material": LabelKind.CONTAINER,
    "reagent": LabelKind.CONTAINER,
    "empty": LabelKind.CONTAINER,
    "kit": LabelKind.KIT,
    "sample_tube": LabelKind.SAMPLE,
}
"""Which kind of label each kind of thing bears."""

POSITIONS: Final = ("vessel", "flush", "waste")
"""What is preattached in every kit."""

LIST_BYTES_MAX: Final = 4 * 1024 * 1024

Label = Annotated[
    str | None,
    typer.Argument(
        metavar="LABEL", help="The opaque label on it; left out: one is minted, to be stuck on"
    ),
]
Held = Annotated[str, typer.Option("--volume", metavar="VOLUME", help='What it holds: "185 mL"')]
Lot = Annotated[str, typer.Option("--lot", metavar="LOT", help="Its lot, which was received")]
Catalogue = Annotated[
    str, typer.Option("--catalogue", metavar="NAME", help="What the site's catalogue calls it")
]


def lot(
    lot: Annotated[str, typer.Argument(metavar="LOT", help="The maker's lot number")],
    catalogue: Catalogue,
    expires: Annotated[
        str,
        typer.Option(metavar="DATE", help="2027-03-31 (its whole day, UTC), or an instant in UTC"),
    ],
    in_use: Annotated[
        str, typer.Option(metavar="TIME", help='How long it may be used once opened: "8 h"')
    ] = "",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Put a lot of a reagent or of kits on file, with its expiry.

    With --json one object with lot, material and expires.
    """
    told = {"lot": lot, "material": catalogue, "expires": _expiry(expires), "in_use": in_use}
    _readable_as(Duration, in_use, "--in-use")
    with at_console(data, login, password_file) as console:
        _give_lot(console, told, seen=console.look("materials")["version"])
    if as_json:
        say_json({"lot": lot, "material": catalogue, "expires": told["expires"]})
    else:
        say(f"Lot {lot} of {catalogue} is on file until {told['expires']}.")


def patient(
    label: Label = None,
    coi: Annotated[
        str, typer.Option("--patient", metavar="COI", help="Whose it is: the chain of identity")
    ] = "",
    material: Annotated[
        str, typer.Option(metavar="NAME", help="What it is: apheresis, marrow")
    ] = "apheresis",
    volume: Held = "",
    capacity: Annotated[str, typer.Option(metavar="VOLUME", help="What its bag has room for")] = "",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Receive a patient's material. With --json one object with label, what and coi."""
    if not coi or not volume:
        raise CallRefusedError(
            "receive a patient's material",
            why="it takes whose it is and what it holds",
            do_next='Give --patient COI and --volume, e.g. --volume "185 mL"',
        )
    told = {"what": "patient_material", "coi": coi, "material": material}
    _one(label, {**told, "volume": volume, "capacity": capacity},
         login, password_file, data, as_json=as_json)  # fmt: skip


def reagent(
    catalogue: Catalogue,
    lot: Lot,
    volume: Held,
    label: Label = None,
    capacity: Annotated[str, typer.Option(metavar="VOLUME", help="What its bag has room for")] = "",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Receive one bag of a reagent's lot. With --json one object with label, what and lot."""
    told = {"what": "reagent", "material": catalogue, "lot": lot, "volume": volume}
    _one(label, {**told, "capacity": capacity}, login, password_file, data, as_json=as_json)


def kit(
    catalogue: Catalogue,
    lot: Lot,
    flush: Annotated[str, typer.Option(metavar="VOLUME", help="What its flush bag holds")],
    capacity: Annotated[str, typer.Option(metavar="VOLUME", help="What its vessel has room for")],
    waste: Annotated[str, typer.Option(metavar="VOLUME", help="What its waste bag has room for")],
    label: Label = None,
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Receive one kit of a lot. With --json one object with label, what and lot."""
    told = {
        "what": "kit",
        "material": catalogue,
        "lot": lot,
        "positions": list(POSITIONS),
        "volumes": ["0 mL", flush, "0 mL"],
        "capacities": [capacity, flush, waste],
    }
    _one(label, told, login, password_file, data, as_json=as_json)


def bag(
    capacity: Annotated[str, typer.Option(metavar="VOLUME", help="What it has room for")],
    label: Label = None,
    material: Annotated[
        str, typer.Option(metavar="NAME", help="As recipes name it, e.g. cryobag")
    ] = "bag",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Receive an empty bag. With --json one object with label and what."""
    told = {"what": "empty", "material": material, "volume": "0 mL", "capacity": capacity}
    _one(label, told, login, password_file, data, as_json=as_json)


def tube(
    capacity: Annotated[str, typer.Option(metavar="VOLUME", help="What it has room for")],
    label: Label = None,
    material: Annotated[str, typer.Option(metavar="NAME", help="As recipes name it")] = "tube",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Receive a tube for samples. With --json one object with label and what."""
    told = {"what": "sample_tube", "material": material, "volume": "0 mL", "capacity": capacity}
    _one(label, told, login, password_file, data, as_json=as_json)


def from_list(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="One JSON object a line, as the reference says"),
    ],
    coi: Annotated[
        str, typer.Option("--patient", metavar="COI", help="Whose the patient's material is")
    ] = "",
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Receive everything on a delivery list. Called again, it goes on where it ended.

    All of it is read before the first is sent. With --json one object a line with lot, or
    with label and what.
    """
    lines = _lines(readable(file, what="read the delivery list"), coi)
    with at_console(data, login, password_file) as console:
        before = console.look("materials")
        fresh = [told for told in lines if not _is_on_file(told, before)]
        for told in fresh:
            if "label" in told:
                _give_thing(console, told, seen=before["version"])
            else:
                _give_lot(console, told, seen=before["version"])
            if as_json:
                shown = ("label", "what", "coi", "lot") if "label" in told else ("lot", "material")
                say_json({name: told[name] for name in shown if name in told})
    things = sum(1 for told in fresh if "label" in told)
    if not as_json:
        known = (
            f" {len(lines) - len(fresh)} were on file before." if len(lines) > len(fresh) else ""
        )
        say(f"Received: {len(fresh) - things} lots, {things} things.{known}")


def on_file(
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the lots, and what was received and isn't bound to a batch.

    With --json one object with lots and containers, those that are bound too.
    """
    with at_console(data) as console:
        view = console.look("materials")
    if as_json:
        say_json({"lots": view["lots"], "containers": view["containers"]})
        return
    rows = [("LOT", "CATALOGUE", "EXPIRES", "")]
    rows += [
        (one["lot"], one["material"], one["expires"][:10], one["unusable"]) for one in view["lots"]
    ]
    say(
        in_columns(rows)
        if view["lots"]
        else "No lot is on file. `cellwright receive lot` puts one there."
    )
    say()
    rows = [("LABEL", "WHAT", "HOLDS", "LOT OR PATIENT", "")]
    rows += [
        (
            one["label"],
            one["material"],
            one["volume"],
            one["coi"] or one["lot"],
            f"QUARANTINED: {one['quarantined']}" if one["quarantined"] else "",
        )
        for one in view["containers"]
        if not one["batch"]
    ]
    if len(rows) > 1:
        say(in_columns(rows))
    else:
        say(
            "Nothing that was received is free. `cellwright receive list FILE` takes all of a "
            "delivery, `cellwright receive --help` says how to receive one thing."
        )


def quarantine(
    lot: Annotated[str, typer.Argument(metavar="LOT", help="The lot")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why nobody may use it")],
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Put a lot in quarantine: nothing of it is used from now on. With --json lot and event."""
    with at_console(data, login, password_file) as console:
        seen = console.look("materials")["version"]
        given = console.give("quarantine_lot", seen=seen, lot=lot, why=why)
    if as_json:
        say_json({"lot": lot, "event": given.seq})
    else:
        say(f"Lot {lot} is in quarantine.")


def release(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="The label that is on it now")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why it may be used again")],
    login: As = None,
    password_file: PasswordFile = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Let a thing out of quarantine, by quality's signature. With --json label and event."""
    with at_console(data, login, password_file) as console:
        view = console.look("materials")
        known = [one["container"] for one in view["containers"] if one["label"] == label]
        if not known:
            raise RefusedError(
                f"release {label}",
                why="nothing on file bears that label",
                do_next="Look at it again, and type all of it",
            )
        given = console.give(
            "release_container", seen=view["version"], container=known[0], reason=why
        )
    if as_json:
        say_json({"label": label, "event": given.seq})
    else:
        say(f"{label} is out of quarantine.")


def labels(
    count: Annotated[int, typer.Argument(metavar="N", min=1, max=1000, help="How many")] = 1,
    kind: Annotated[
        LabelKind, typer.Option(help="What they are for: container, kit or sample")
    ] = LabelKind.CONTAINER,
    as_json: AsJson = False,
) -> None:
    """Mint labels to be printed, one a line; they are on file once something is received.

    With --json one object a line with label and kind.
    """
    for _ in range(count):
        minted = OpaqueScheme().mint(kind, os.urandom)
        if as_json:
            say_json({"label": minted.key, "kind": kind.value})
        else:
            say(minted.key)


SUBCOMMANDS = {
    "lot": lot,
    "patient": patient,
    "reagent": reagent,
    "kit": kit,
    "bag": bag,
    "tube": tube,
    "list": from_list,
    "show": on_file,
    "quarantine": quarantine,
    "release": release,
    "labels": labels,
}


def _one(
    label: str | None,
    told: Mapping[str, Any],
    login: str | None,
    password_file: Path | None,
    data: Path | None,
    *,
    as_json: bool,
) -> None:
    """Receive one thing, and say by which label it is known."""
    kind = KIND_OF[told["what"]]
    minted = label is None
    key = OpaqueScheme().mint(kind, os.urandom).key if label is None else label
    thing = _fit({**told, "label": key})
    with at_console(data, login, password_file) as console:
        _give_thing(console, thing, seen=console.look("materials")["version"])
    if as_json:
        say_json({name: thing[name] for name in ("label", "what", "coi", "lot") if name in thing})
    elif minted:
        say(f"Received. Its label is {key}: print it, stick it on, and scan it back.")
    else:
        say(f"Received as {key}.")


def _fit(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a thing as it is sent, without what is empty.

    Raises:
        IdentityRefusedError: Its label isn't an opaque one of its kind.
        CallRefusedError: A volume can't be read.
    """
    thing = {name: value for name, value in told.items() if value}
    key = key_of(LabelRead(str(thing["label"]), Entry.TYPED), OpaqueScheme())
    kind = KIND_OF.get(str(thing.get("what")))
    if kind is None:
        raise CallRefusedError(
            f"receive {key.key}",
            why=f"it is {thing.get('what')!r}, not one of {', '.join(KIND_OF)}",
            do_next="Correct the list",
        )
    if key.kind is not kind:
        raise IdentityRefusedError(
            f"receive {key.key}",
            why=f"the label is a {key.kind.value}'s, and this needs a {kind.value}'s",
            do_next="Take a label of the right kind, or look what was scanned",
        )
    for name in ("volume", "capacity"):
        _readable_as(Volume, str(thing.get(name, "")), f"--{name}")
    for name in ("volumes", "capacities"):
        for one in thing.get(name, ()):
            _readable_as(Volume, str(one), name)
    return thing


def _give_thing(console: AtConsole, thing: Mapping[str, Any], *, seen: int) -> None:
    console.give("receive_material", seen=seen, container=str(thing["label"]), **thing)


def _give_lot(console: AtConsole, told: Mapping[str, Any], *, seen: int) -> None:
    fit = {name: value for name, value in told.items() if value}
    console.give("receive_lot", seen=seen, **fit)


def _is_on_file(told: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Return whether the same was received before, as a list that is given again says it."""
    key = "label" if "label" in told else "lot"
    for one in seen["containers" if key == "label" else "lots"]:
        if one[key] == told[key]:
            same = ("what", "material", "coi", "lot", "expires")
            return all(one.get(name, "") == told.get(name, "") for name in same if name in one)
    return False


def _lines(file: Path, coi: str) -> list[dict[str, Any]]:
    """Return what a delivery list holds, each line as it is sent.

    Raises:
        CallRefusedError: A line isn't an object, or nobody said whose material is whose.
        IdentityRefusedError: A label is wrong.
    """
    if file.stat().st_size > LIST_BYTES_MAX:
        raise CallRefusedError(
            f"read the delivery list {file}",
            why=f"it has more than {LIST_BYTES_MAX} bytes",
            do_next="Split it",
        )
    found: list[dict[str, Any]] = []
    for number, text in enumerate(file.read_bytes().splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line: object = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise CallRefusedError(
                f"read {file}:{number}",
                why="it isn't one JSON object on a line",
                do_next="Correct that line",
            )
        told = cast("dict[str, Any]", line)
        fit = _fit(told) if "label" in told else told
        if any("label" in one and one["label"] == fit.get("label") for one in found):
            raise IdentityRefusedError(
                f"read {file}:{number}",
                why=f"the label {fit['label']} stands on the list twice",
                do_next="Look which thing bears it, and correct the other line",
            )
        found.append(fit)
    unsaid = [one for one in found if one.get("what") == "patient_material" and not one.get("coi")]
    if coi and len(unsaid) != 1:
        raise CallRefusedError(
            f"receive {file} for {coi}",
            why=f"{len(unsaid)} things on the list are a patient's and don't say whose",
            do_next="Write coi into each line of a patient's material, and leave --patient out",
        )
    for one in unsaid:
        one["coi"] = coi
    return [{name: value for name, value in one.items() if value} for one in found]


def _expiry(text: str) -> str:
    """Return when a lot expires: a date counts to its end."""
    try:
        return str(Instant.read(text if "T" in text else f"{text}T23:59:59.999999Z"))
    except ValueError as unreadable:
        raise CallRefusedError(
            f"take --expires {text!r}",
            why="it isn't a date",
            do_next="Write it as 2027-03-31",
        ) from unreadable


def _readable_as(kind: type[Volume] | type[Duration], text: str, option: str) -> None:
    if not text:
        return
    try:
        kind.read(text)
    except ValueError as unreadable:
        raise CallRefusedError(
            f"take {option}", why=str(unreadable), do_next='Write it as e.g. "185 mL" or "8 h"'
        ) from unreadable
