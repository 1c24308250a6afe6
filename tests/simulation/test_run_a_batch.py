"""People run a batch by commands: room and daemon as two processes, the console's real socket.

Method: ``docs/how-to/run-a-batch.md`` is followed from its first command to its last, and each
prints what the page says; instants and counts of events are masked, since the room keeps pace
with a clock. Where the engine has to come to something first, the command is given again until
it has. What then stands in the room is asked of the room. Passwords come where a keyboard
would give them.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.simulation.people import Commands, a_cell_at_work

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "run-a-batch.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
(PROTOCOL,) = [text for language, text in BLOCKS if language == "python"]
CONSOLE = [text for language, text in BLOCKS if language == "console"]

SHOWN_AGAIN = ("answer", "status", "report")
"""Calls that only look: given again until they print what is waited for."""

WITHIN_S = 40.0


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


@pytest.fixture
def folder() -> Generator[Path]:
    """A folder with a short path, as a socket's has to be."""
    made = Path(tempfile.mkdtemp(prefix="cw-"))
    yield made
    shutil.rmtree(made)


@pytest.mark.timeout(240)
@pytest.mark.requirement("SIG-12", "IDC-05")
def test_the_page_leads_from_nothing_to_a_batch_record(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(folder, monkeypatch, capsys)
    (folder / "dilute.py").write_text(PROTOCOL, "utf-8")
    every = list(steps())
    first, said = every.pop(0)
    assert is_as_said(commands.printed(*first), said)
    with a_cell_at_work(folder, protocol=folder / "dilute.py", pace=60) as room:
        for call, said in every:
            looks = call[0] in SHOWN_AGAIN and not any(one.startswith("--") for one in call)
            until_s = time.monotonic() + WITHIN_S
            printed = commands.printed(*call)
            while not is_as_said(printed, said) and time.monotonic() < until_s:
                due = "no open task is called so" in printed or "no scan" in printed
                if not looks and not due:
                    break
                time.sleep(0.1)
                printed = commands.printed(*call)
            assert is_as_said(printed, said), f"{' '.join(call)} printed\n{printed}"
        kit = room.ask("contents", container="KW9AM23GNE4KDZ4/vessel")
        assert kit["volume_mL"] == pytest.approx(120, abs=1)
        assert room.ask("contents", container="CVWUWCHYQKZ33BU")["volume_mL"] == pytest.approx(
            130, abs=1
        )


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


@pytest.mark.timeout(240)
@pytest.mark.requirement("SIG-08", "SIG-12")
def test_what_is_wrong_is_told_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = Commands(folder, monkeypatch, capsys)
    (folder / "dilute.py").write_text(PROTOCOL, "utf-8")
    for call in (
        ("approve", "dilute.py", "--as", "otto"),
        ("answer",),
        ("receive", "show"),
        ("order", "dilute.py", "--patient", "COI-1"),
        ("user", "login", "otto"),
    ):
        refused(commands, 3, *call, says="Start the daemon (cellwright serve)")
    commands.add("ada", "Ada Minster", "administrator", by="")
    with a_cell_at_work(folder, protocol=folder / "dilute.py", pace=60):
        commands.add("otto", "Otto Thorn", "protocol_author", "quality_reviewer")
        commands.add("rhea", "Rhea Vale", "quality_reviewer")
        commands.add("quinn", "Quinn Alder", "qualified_person")
        commands.add("sam", "Sam Pryce", "supervisor", "verifier")
        commands.add("dana", "Dana Yates", "technician", "verifier")
        commands.add("nico", "Nico Hale", "technician")
        _wrong_people(commands)
        _wrong_recipe(commands)
        _wrong_receipt(commands, folder)
        _wrong_order(commands)
        _wrong_answer(commands)


def _wrong_people(commands: Commands) -> None:
    refused(commands, 1, "user", "add", "x.y", "--name", "X Y", "--role", "technician",
            says="Give --by LOGIN")  # fmt: skip
    refused(commands, 1, "user", "login", "nobody", says="they don't belong together")
    commands.wrong.add("nico")
    for _ in range(5):
        refused(commands, 1, "user", "login", "nico", says="they don't belong together")
    commands.wrong.clear()
    refused(commands, 1, "user", "login", "nico", says="locked after wrong tries")


def _wrong_recipe(commands: Commands) -> None:
    sign = ("approve", "dilute.py", "--as")
    refused(commands, 1, "order", "dilute.py", "--patient", "COI-7", says="isn't on file")
    refused(commands, 1, *sign, "dana", says="it needs the role protocol_author")
    commands.printed(*sign, "otto")
    assert commands.status == 0
    refused(commands, 1, *sign, "otto", says="authored it, and another person")
    refused(commands, 1, "order", "TRY-2", "--patient", "COI-7", says="isn't approved")
    for login in ("rhea", "quinn"):
        commands.printed(*sign, login)
        assert commands.status == 0
    refused(commands, 1, *sign, "quinn", says="takes no more signatures")


def _wrong_receipt(commands: Commands, folder: Path) -> None:
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
    refused(commands, 1, "receive", "bag", "--capacity", "1 L", "--material", "\x1b[31m",
            says="U+001B")  # fmt: skip


def _wrong_order(commands: Commands) -> None:
    order = ("order", "dilute.py", "--patient", "COI-7", "--as", "sam", "--value")
    refused(commands, 1, *order, "medium to give=900 mL", says="900 mL lies outside")
    refused(commands, 1, *order, "medium to give=9 kg", says="isn't a Volume")
    refused(commands, 1, *order, "speed=9 mL", says="no value 'speed' is ordered")
    refused(commands, 2, *order, "medium to give", says="isn't of the form NAME=VALUE")
    other = ("order", "dilute.py", "--patient", "COI-8", "--value", "medium to give=90 mL")
    refused(commands, 1, *other, says="material of COI-8 isn't on file")
    fine = (*order[:-2], "dana", "--value", "medium to give=120 mL")
    refused(commands, 1, *fine, says="it needs the role supervisor; Dana Yates has technician")
    refused(commands, 1, "order", "--start", "B-9", "--as", "sam", says="there is none")
    commands.printed(*order, "medium to give=120 mL")
    assert commands.status == 0
    again = commands.printed(*order, "medium to give=120 mL")
    assert "was bound to another batch" in again


def _wrong_answer(commands: Commands) -> None:
    refused(commands, 1, "report", "B-9", says="B-9")
    refused(commands, 1, "answer", "B-9", "--command", "hold", "--as", "sam",
            says="there is no such batch")  # fmt: skip
    refused(commands, 1, "answer", "B-001/nothing", "--take", says="no open task is called so")
    scan = ("answer", "CQENVPBWXEHSFW7", "--room", "room", "--as", "dana")
    _until(commands, *scan[:2], ends=2)
    refused(commands, 2, *scan[:2], says="a scan comes from the scanner")
    _until(commands, *scan)
    _until(commands, "answer", "01-receive#2", "--take", "--as", "dana")
    refused(commands, 1, "answer", "01-receive#2", "--done", "--as", "sam",
            says="another person has taken it")  # fmt: skip
    refused(commands, 1, "answer", "01-receive#2", "--done", "--as", "dana", says="it lacks volume")
    seen = commands.printed("answer", "--json")
    version = re.search(r'"version": (\d+)', seen)
    assert version is not None
    commands.printed("answer", "01-receive#2", "--done", "--room", "room")
    assert commands.status == 0
    _until(commands, "answer", "02-confirm", "--take", "--as", "dana")
    refused(commands, 1, "answer", "02-confirm", "--done", "--seen", version[1],
            says="it has changed since the view that this rests on")  # fmt: skip
    commands.printed("answer", "02-confirm", "--done", "--as", "dana")
    assert commands.status == 0
    refused(commands, 1, "answer", "02-confirm", "--verify", says="another person verifies")


def _until(commands: Commands, *call: object, ends: int = 0) -> None:
    """Give a command again until what it is about is there, and it ends so."""
    until_s = time.monotonic() + WITHIN_S
    printed = commands.printed(*call)
    while commands.status != ends and time.monotonic() < until_s:
        time.sleep(0.1)
        printed = commands.printed(*call)
    assert commands.status == ends, printed
