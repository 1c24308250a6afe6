"""Calls of the command, in this process and as one of its own, and journals to read."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from orchestrator.cli import main as command
from orchestrator.engine.engine import VERSION
from orchestrator.journal.checkpoints import Signer
from orchestrator.journal.events import (
    EVENTS,
    HOST,
    AlarmRaised,
    AnyEvent,
    AttemptIntended,
    BatchMade,
    BatchStarted,
    ContainerReceived,
    HostStarted,
    LimitStarted,
    Named,
    PhaseEnded,
    PhaseStarted,
    RecipeSubmitted,
    Signed,
    TaskOffered,
)
from orchestrator.journal.journal import Journal
from orchestrator.kernel.identifiers import (
    BatchId,
    CoiId,
    CommandId,
    ContainerId,
    EquipmentId,
    HostId,
    PhasePath,
    RecipeDigest,
    TaskId,
    UserId,
)
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import hour
from orchestrator.phases.verify_identity import VerifyIdentity
from orchestrator.recipe.model import Operation, Recipe, Step, UnitProcedure
from tests.unit.journal.builders import SteppingClock, entropy

ROOT = Path(__file__).parents[3]
PROTOCOL = ROOT / "tests" / "unit" / "recipe" / "wash_and_seed.py"
CELL = ROOT / "protocols" / "cells" / "reference.toml"
OTHER = "COI-B"


@dataclass(frozen=True)
class Called:
    """How a call ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as objects, one a line; fails if anything else stands there."""
        return [json.loads(line) for line in self.out.splitlines()]


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Called:
    """Call the command in this process."""
    capsys.readouterr()
    status = command.main([str(one) for one in arguments])
    printed = capsys.readouterr()
    return Called(status, printed.out, printed.err)


def run(
    *arguments: object, python: tuple[str, ...] = (), output: int | IO[str] | None = None
) -> Called:
    """Call the command as a process of its own."""
    ended = subprocess.run(
        [sys.executable, *python, "-m", "orchestrator.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    return Called(ended.returncode, ended.stdout or "", ended.stderr)


def assert_one_message(called: Called, *parts: str) -> None:
    """Standard error holds one line that says what, why and what to do, and no traceback."""
    assert called.err.count("\n") == 1, called.err
    assert "Traceback" not in called.err
    what, _, rest = called.err.partition(": ")
    assert what
    assert ". " in rest
    for part in parts:
        assert part in called.err


def a_recipe() -> Recipe:
    steps = tuple(
        Step(
            slug=f"{number:02}-verify",
            name=f"Verify {number}",
            phase=VerifyIdentity(container="bag", at="station", longest_hold=2 * hour),
        )
        for number in (1, 2)
    )
    body = UnitProcedure(
        slug="move", name="Move", body=(Operation(slug="once", name="Once", body=steps),)
    )
    return Recipe.written(
        Recipe(title="Verify twice", document="T-1", version="2", author="test", body=(body,))
    )


def a_story() -> list[AnyEvent]:
    """A batch whose daemon died while the pump turned, and another patient's bag."""
    recipe, user, batch = a_recipe(), UserId("U-0001"), BatchId("B-1")
    path = PhasePath("move/once/02-verify")
    signed = Signed(
        signer=user,
        printed_name="A",
        meaning="authored",
        signed_digest=recipe.digest,
        signed_at=Instant.read("2026-11-23T10:00:00.000000Z"),
    )
    return [
        HostStarted(version="0.1.0", cell="0" * 64, synchronised=True),
        RecipeSubmitted(
            recipe=RecipeDigest(recipe.digest),
            title=recipe.title,
            document=recipe.document,
            version=recipe.version,
            content=recipe.content.decode(),
            signature=signed,
        ),
        *(
            ContainerReceived(
                container=ContainerId(name),
                label=f"L-{name}",
                material="selected cells",
                what="patient_material",
                coi=CoiId(coi),
                volume="100 mL",
                capacity="300 mL",
                by=user,
            )
            for name, coi in (("C-1", "COI-A"), ("C-2", OTHER))
        ),
        BatchMade(
            batch=batch,
            coi=CoiId("COI-A"),
            recipe=RecipeDigest(recipe.digest),
            cell="0" * 64,
            engine=VERSION,
            containers=(Named(name="bag", is_="C-1"),),
            kits=(),
            units=(),
            places=(),
            ordered=(),
            signature=signed,
        ),
        BatchStarted(batch=batch),
        PhaseStarted(
            batch=batch,
            path=PhasePath("move/once/01-verify"),
            recipe=RecipeDigest(recipe.digest),
            phase="verify_identity/1",
        ),
        PhaseEnded(batch=batch, path=PhasePath("move/once/01-verify"), report={}),
        PhaseStarted(
            batch=batch, path=path, recipe=RecipeDigest(recipe.digest), phase="verify_identity/1"
        ),
        LimitStarted(
            limit="medium out of the fridge",
            owner="recipe",
            batch=batch,
            maximum="30 min",
            tier="block",
            source="DR-031",
        ),
        TaskOffered(
            task=TaskId("T-1"),
            batch=batch,
            path=path,
            word=3,
            work="do",
            text="Hang the bag on the hook.",
            ask={},
        ),
        AlarmRaised(
            alarm="P1 overdue",
            tier="alarm",
            cause="the pump is late",
            consequence="cells settle",
            action="Look at the pump",
            batch=batch,
        ),
        AttemptIntended(
            batch=batch,
            path=path,
            word=1,
            attempt=1,
            command=CommandId("B-1/move#1.1"),
            equipment=EquipmentId("P1"),
            asked={"kind": "pump_volume", "unit": "station", "volume": "60 mL", "quieten": "halt"},
            before={"count": "0"},
            witness="",
            evidence={},
        ),
    ]


def a_data_folder(folder: Path, events: list[AnyEvent] | None = None) -> Path:
    """Write a journal with its key; the second half lies beyond the one checkpoint."""
    story = a_story() if events is None else events

    async def write() -> None:
        host = HostId("cell-a")
        with Journal(
            folder / "journal.sqlite",
            EVENTS,
            clock=SteppingClock(),
            host=host,
            signer=Signer.stored(folder, host, entropy()),
            reserve_bytes=4096,
        ) as journal:
            await journal.append_all(HOST, story[:-1])
            await journal.checkpoint()
            await journal.append_all(HOST, story[-1:])

    asyncio.run(write())
    return folder
