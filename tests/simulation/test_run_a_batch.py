"""People run a batch by commands: room and daemon as two processes, the console's real socket.

Method: ``docs/how-to/run-a-batch.md`` is followed from its first command to its last, and each
prints what the page says; instants and counts of events are masked, since the room keeps pace
with a clock. Where the engine has to come to something first, the command is given again after
each event until it has. What then stands in the room is asked of the room. Passwords come
where a keyboard would give them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from chain_of_identity.pre_printed import read_applied, roll
from hw_mocks.seeds import seeded_bytes
from orchestrator.cli.recipes import written_recipe
from tests.simulation.people import Commands, a_cell_at_work
from tests.simulation.wires import RoomProcess

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "run-a-batch.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
(PROTOCOL,) = [text for language, text in BLOCKS if language == "python"]
CONSOLE = [text for language, text in BLOCKS if language == "console"]
ASKING = PROTOCOL.replace(", longest_since_collection=72 * hour", "")
"""The same, but `check` asks for a reason."""

SHOWN_AGAIN = ("answer", "status", "report")
"""Calls that only look: given again until they print what is waited for."""

PACE = 120
"""Twice the page's: what takes time is the room's, and people here are quick."""


def steps() -> Iterator[tuple[list[str], str]]:
    """Yield each call of the page, and what the page says that it prints."""
    for text in CONSOLE:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            call, _, printed = part.partition("\n")
            yield shlex.split(call)[1:], printed


def masked(text: str) -> str:
    """Leave out what differs from run to run: instants, counts of events, where lines break."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)?", "<when>", text)
    text = re.sub(r"\b\d+ events", "<n> events", text)
    return text.strip()


def is_as_said(printed: str, said: str) -> bool:
    """Return whether it was printed; where the page ends with dots, whether it begins so."""
    beginning, dots, _ = said.rpartition("...\n")
    if dots:
        return masked(printed).startswith(masked(beginning))
    return masked(printed) == masked(said)


NOT_YET = ("no open task is called so", "no scan is awaited now", "isn't the one that is awaited")
"""What is said of work that the batch hasn't come to."""


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder with a short path, as a socket's has to be."""
    made = Path(tempfile.mkdtemp(prefix="cw-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(120)
@pytest.mark.requirement("SIG-12", "IDC-05")
def test_the_page_leads_from_nothing_to_a_batch_record(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(folder, monkeypatch, capsys)
    (folder / "dilute.py").write_text(PROTOCOL, "utf-8")
    every = list(steps())
    first, said = every.pop(0)
    assert is_as_said(commands.printed(*first), said)
    with a_cell_at_work(folder, protocol=folder / "dilute.py", pace=PACE) as room:
        for call, said in every:
            looks = call[0] in SHOWN_AGAIN and not any(one.startswith("--") for one in call)

            def holds(printed: str, said: str = said, looks: bool = looks) -> bool:
                comes = looks or any(one in printed for one in NOT_YET)
                return is_as_said(printed, said) or not comes

            printed = commands.printed_once(holds, *call)
            assert is_as_said(printed, said), f"{' '.join(call)} printed\n{printed}"
        kit = room.ask("contents", container="KW9AM23GNE4KDZ4/vessel")
        assert kit["volume_mL"] == pytest.approx(120, abs=1)
        medium = room.ask("contents", container="CVWUWCHYQKZ33BU")
        assert medium["volume_mL"] == pytest.approx(250 - 120 + 1, abs=0.5), "1 mL proved its joint"
        bag = room.ask("contents", container="CQENVPBWXEHSFW7")
        assert read_applied(bag["label"]) != "CQENVPBWXEHSFW7"


CAUSE = re.compile(r"(?P<what>[^:]+): (?P<why>.+)\. (?P<do_next>[^.]+)\.\n", re.DOTALL)


def refused(commands: Commands, status: int, *call: object, says: str) -> None:
    """The call ends with one line that says what, why and what to do, and with this status."""
    printed = commands.printed(*call)
    told = printed.splitlines()[-1] + "\n" if printed else ""
    assert commands.status == status, f"{call} ended with {commands.status}: {printed}"
    assert CAUSE.fullmatch(told), f"{call} printed {printed!r}"
    assert says in told, f"{call} printed {told!r}"
    assert "Traceback" not in printed
    assert "mistake" not in printed


@pytest.mark.timeout(120)
@pytest.mark.requirement("SIG-08", "SIG-12")
def test_what_is_wrong_is_told_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(folder, monkeypatch, capsys)
    written = folder / "dilute.py"
    written.write_text(ASKING, "utf-8")
    recipe = folder / "dilute.json"
    recipe.write_bytes(written_recipe(written).content)
    for call in (
        ("approve", "dilute.json", "--as", "otto"),
        ("answer",),
        ("receive", "show"),
        ("order", "dilute.json", "--patient", "COI-1"),
        ("user", "login", "otto"),
    ):
        refused(commands, 3, *call, says="Start the daemon (cellwright serve)")
    commands.add("ada", "Ada Minster", "administrator", by="")
    with a_cell_at_work(folder, protocol=recipe, pace=PACE) as room:
        commands.add("otto", "Otto Thorn", "protocol_author", "quality_reviewer")
        commands.add("rhea", "Rhea Vale", "quality_reviewer")
        commands.add("quinn", "Quinn Alder", "qualified_person")
        commands.add("sam", "Sam Pryce", "supervisor", "verifier")
        commands.add("dana", "Dana Yates", "technician", "verifier")
        commands.add("nico", "Nico Hale", "technician")
        _wrong_people(commands)
        _wrong_time(commands)
        _wrong_recipe(commands)
        _wrong_receipt(commands, folder)
        _wrong_order(commands)
        _wrong_answer(commands, room)


def _wrong_people(commands: Commands) -> None:
    refused(commands, 1, "user", "add", "x.y", "--name", "X Y", "--role", "technician",
            says="Give --by LOGIN")  # fmt: skip
    refused(commands, 1, "user", "login", "nobody", says="they don't belong together")
    refused(commands, 1, "user", "login", "nobody", says="ask an administrator whether the name")
    commands.wrong.add("nico")
    for _ in range(5):
        refused(commands, 1, "user", "login", "nico", says="they don't belong together")
    commands.wrong.clear()
    refused(commands, 1, "user", "login", "nico", says="locked after wrong tries")


def _wrong_time(commands: Commands) -> None:
    shown = commands.printed("time")
    assert "The host's clock shows 2026-01-05T" in shown
    assert "It is synchronised, and off by 0 s at most." in shown
    sign = ("time", "2026-01-05T08:00:00Z", "--as")
    refused(commands, 1, *sign, "dana", says="the host's clock was synchronised then")
    refused(commands, 1, *sign, "rhea", says="it needs the role technician")
    refused(commands, 2, "time", "8 o'clock", says="isn't of the form 2026-11-23T10:07:13Z")


def _wrong_recipe(commands: Commands) -> None:
    sign = ("approve", "dilute.json", "--as")
    refused(commands, 1, "order", "dilute.json", "--patient", "COI-7", says="isn't on file")
    refused(commands, 1, *sign, "dana", says="it needs the role protocol_author")
    commands.printed(*sign, "otto")
    assert commands.status == 0
    refused(commands, 1, *sign, "otto", says="authored it, and another person")
    refused(commands, 1, "order", "TRY-2", "--patient", "COI-7", says="isn't approved")
    refused(commands, 2, *sign, "rhea", "--reason", "It is", says="a reason goes with the approval")
    commands.printed(*sign, "rhea")
    assert commands.status == 0
    refused(commands, 1, *sign, "quinn", says="H060 asks for a reason")
    commands.printed(*sign, "quinn", "--reason", "The apheresis unit keeps its own limit")
    assert commands.status == 0
    refused(commands, 1, *sign, "quinn", says="takes no more signatures")


def _wrong_receipt(commands: Commands, folder: Path) -> None:
    empty = commands.printed("receive", "show")
    assert "No lot is on file. `cellwright receive lot`" in empty
    assert "Nothing that was received is free. `cellwright receive list FILE`" in empty
    receive = ("receive", "reagent", "--catalogue", "t-cell-medium", "--volume", "250 mL",
               "--as", "dana", "--lot")  # fmt: skip
    refused(commands, 1, *receive, "LOT-9", says="lot LOT-9 was never received")
    lot = ("receive", "lot", "LOT-9", "--catalogue", "t-cell-medium", "--expires")
    refused(commands, 1, *lot, "2025-12-31", says="it expired at 2025-12-31")
    refused(commands, 2, *lot, "tomorrow", says="it isn't a date")
    commands.printed(*lot, "2026-12-31")
    patient = ("receive", "patient", "--patient", "COI-7", "--volume", "185 mL")
    refused(commands, 1, *patient, "CQENVPBWXEHSFW8", says="its check character is wrong")
    refused(commands, 1, *patient, "KW9AM23GNE4KDZ4", says="the label is a kit's")
    refused(commands, 2, *patient[:-1], "185", "CQENVPBWXEHSFW7", says="isn't a Volume")
    commands.printed("receive", "list", folder / "delivery.jsonl", "--patient", "COI-7")
    assert commands.status == 0
    said = commands.printed("receive", "list", folder / "delivery.jsonl", "--patient", "COI-7")
    assert "Received: 0 lots, 0 things. 5 were on file before." in said
    refused(commands, 1, *patient, "CQENVPBWXEHSFW7", says="was received before")
    commands.printed("receive", "quarantine", "LOT-9", "--why", "its box was torn")
    assert "is in quarantine" in commands.printed("receive", "show")
    refused(commands, 1, *receive, "LOT-9", says="lot LOT-9 is in quarantine")
    release = ("receive", "release", "CQENVPBWXEHSFW7", "--why", "It was found to be right")
    refused(commands, 1, *release, "--as", "quinn", says="it isn't in quarantine")
    refused(commands, 1, *release, "--as", "dana", says="it needs the role quality_reviewer")
    refused(commands, 1, "receive", "bag", "--capacity", "1 L", "--material", "\x1b[31m",
            says="U+001B")  # fmt: skip


def _wrong_order(commands: Commands) -> None:
    order = ("order", "dilute.json", "--patient", "COI-7", "--as", "sam", "--value")
    refused(commands, 1, *order, "medium to give=900 mL", says="900 mL lies outside")
    refused(commands, 1, *order, "medium to give=9 kg", says="isn't a Volume")
    refused(commands, 1, *order, "speed=9 mL", says="no value 'speed' is ordered")
    refused(commands, 2, *order, "medium to give", says="isn't of the form NAME=VALUE")
    other = ("order", "dilute.json", "--patient", "COI-8", "--value", "medium to give=90 mL")
    refused(commands, 1, *other, says="material of COI-8 isn't on file")
    fine = (*order[:-2], "dana", "--value", "medium to give=120 mL")
    refused(commands, 1, *fine, says="it needs the role supervisor; Dana Yates has technician")
    refused(commands, 1, "order", "--start", "B-9", "--as", "sam", says="there is none")
    commands.printed(*order, "medium to give=120 mL")
    assert commands.status == 0
    again = commands.printed(*order, "medium to give=120 mL")
    assert "was bound to another batch" in again


APPLIED = next(roll(seeded_bytes(9)))
"""A label of a roll that is nowhere in the room."""


def _wrong_answer(commands: Commands, room: RoomProcess) -> None:
    refused(commands, 1, "report", "B-9", says="B-9")
    refused(commands, 1, "answer", "B-9", "--command", "hold", "--as", "sam",
            says="there is no such batch")  # fmt: skip
    refused(commands, 1, "answer", "B-001/nothing", "--take", says="no open task is called so")
    shown = commands.printed("answer", "B-001")
    assert commands.status == 0
    assert shown.startswith("B-001: running")
    assert "--command restart: what was held goes on; supervisor may." in shown
    scan = ("answer", "CQENVPBWXEHSFW7", "--room", "room", "--as", "dana")
    _until(commands, *scan[:2], ends=2)
    refused(commands, 2, *scan[:2], says="a scan comes from the scanner")
    refused(commands, 1, "answer", "CVWUWCHYQKZ33BU", "--room", "room", "--as", "dana",
            says="it isn't the one that is awaited. Scan CQENVPBWXEHSFW7 at dock")  # fmt: skip
    refused(commands, 1, "answer", "CQENVPBWXEHSFW7", "--room", "room", "--as", "ada",
            says="it needs the role technician or verifier or supervisor")  # fmt: skip
    _until(commands, *scan)
    _until(commands, "answer", "01-receive#2")
    _until(commands, "answer", "01-receive#2", "--take", "--as", "dana")
    commands.printed("answer", "01-receive#2")
    refused(commands, 1, "answer", "01-receive#2", "--done", "--as", "sam",
            says="another person has taken it")  # fmt: skip
    refused(commands, 1, "answer", "01-receive#2", "--done", "--as", "dana", says="it lacks volume")
    seen = commands.printed("answer", "--json")
    version = re.search(r'"version": (\d+)', seen)
    assert version is not None
    refused(commands, 2, "answer", "01-receive#2", "--label", APPLIED, says="no label is stuck on")
    commands.printed("answer", "01-receive#2", "--done", "--room", "room")
    assert commands.status == 0
    _until(commands, *scan)
    _until(commands, "answer", "01-receive#4")
    _until(commands, "answer", "01-receive#4", "--take")
    for label, why in (
        (f"{APPLIED[:-1]}2", "its check character is wrong"),
        ("KW9AM23GNE4KDZ4", "a container's is needed"),
        ("CVWUWCHYQKZ33BU", "CVWUWCHYQKZ33BU has this label already"),
    ):
        refused(commands, 1, "answer", "01-receive#4", "--label", label, says=why)
        entered = ("--done", "--enter", f"label={label}")
        refused(commands, 1, "answer", "01-receive#4", *entered, says=why)
    refused(commands, 1, "answer", "01-receive#4", "--done", says="it lacks label")
    tasks = json.loads(commands.printed("answer", "--json"))["tasks"]
    (task,) = [one for one in tasks if "01-receive#4" in one["task"]]
    label = room.ask("work", act=task["ask"], by="U-0006")["values"]["label"]
    said = commands.typed(["y", f"{APPLIED[:-1]}2", label], "answer", "01-receive#4")
    assert "its check character is wrong" in said
    assert "Reported: B-001/receive/look/01-receive#4.1" in said
    refused(commands, 1, "answer", "01-receive#4", "--verify", "--as", "sam",
            says="it has changed since the view that this rests on")  # fmt: skip
    commands.printed("answer", "01-receive#4")
    commands.wrong.add("sam")
    refused(commands, 1, "answer", "01-receive#4", "--verify", "--room", "room",
            says="they don't belong together")  # fmt: skip
    commands.wrong.clear()
    refused(commands, 1, "answer", "01-receive#4", "--verify", "--as", "sam",
            says="it isn't said which labels are there")  # fmt: skip
    refused(commands, 1, "answer", "01-receive#4", "--verify", "--read", label,
            says="not all of these were read there")  # fmt: skip
    commands.printed("answer", "01-receive#4", "--verify", "--room", "room")
    assert commands.status == 0
    _until(commands, *scan)
    refused(commands, 1, "answer", "B-001", "--command", "stop", "--as", "sam", "--seen", "-1",
            says="this terminal has shown nothing")  # fmt: skip
    _until(commands, "answer", "02-confirm")
    _until(commands, "answer", "02-confirm", "--take", "--as", "dana")
    refused(commands, 1, "answer", "02-confirm", "--done", "--seen", version[1],
            says="it has changed since the view that this rests on")  # fmt: skip
    commands.printed("answer", "02-confirm", "--done", "--as", "dana")
    assert commands.status == 0
    commands.printed("answer", "02-confirm")
    refused(commands, 1, "answer", "02-confirm", "--verify", says="another person verifies")


def _until(commands: Commands, *call: object, ends: int = 0) -> None:
    """Give a command again until what it is about is there, and it ends so."""
    printed = commands.printed_once(lambda _: commands.status == ends, *call)
    assert commands.status == ends, printed
