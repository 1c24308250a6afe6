"""Quarantine of a line: no answer is taken for another's, whatever the line does to frames.

Method: see ``frames.py`` and ``paper_instruments.py``. Here is a sample; the million frames are
``release_proof_frames.py``. Planted faults show that each of them would be found.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from devices.drivers import (
    brooks_pf400,
    linkam_t95,
    mettler_mt_sics,
    moxa_iologik_e1213,
    thermo_vios_160i,
    watson_marlow_530du,
)
from devices.drivers.thermo_vios_160i import ThermoVios160i
from devices.transport.conversation import Conversation, NoReplyError
from orchestrator.kernel.identifiers import CommandId
from tests.property.frames import run_frames
from tests.property.paper_instruments import INSTRUMENTS

A_SAMPLE = 800
TILL_FOUND = 3_000
SEED = 1
CHECKED = "_checked"

Plant = Callable[[pytest.MonkeyPatch], None]

pytestmark = pytest.mark.requirement("REC-14")


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_no_answer_is_taken_for_anothers(name: str, request: pytest.FixtureRequest) -> None:
    seed = int(str(request.config.getoption("seed")))
    found = run_frames(INSTRUMENTS[name](), seed, A_SAMPLE)
    assert found.is_well, found.told()
    assert found.total >= A_SAMPLE


def without_quarantine(patch: pytest.MonkeyPatch) -> None:
    """Ask on at once after a lost answer."""

    async def at_once(talk: Conversation) -> None:
        del talk

    patch.setattr(Conversation, "_until_clear", at_once)


def read_once(patch: pytest.MonkeyPatch) -> None:
    """Believe the first answer."""

    async def first(
        line: Conversation, read: Callable[[], Awaitable[object]], **_: object
    ) -> object:
        del line
        return await read()

    for driver in (
        brooks_pf400,
        linkam_t95,
        mettler_mt_sics,
        moxa_iologik_e1213,
        thermo_vios_160i,
        watson_marlow_530du,
    ):
        patch.setattr(driver, "read_alike", first)


def sent_again(patch: pytest.MonkeyPatch) -> None:
    """Send again what wasn't answered, triggers too."""
    ask = Conversation.ask

    async def again(
        talk: Conversation, request: bytes, *, trigger: CommandId | None = None, **how: Any
    ) -> bytes:
        try:
            return await ask(talk, request, trigger=trigger, **how)
        except NoReplyError:
            return await ask(talk, request, **how)

    patch.setattr(Conversation, "ask", again)


def any_address(patch: pytest.MonkeyPatch) -> None:
    """Take an answer that bears another parameter's address."""
    checked: Callable[..., re.Match[bytes] | None] = getattr(ThermoVios160i, CHECKED)

    def takes(incubator: ThermoVios160i, frame: bytes, address: bytes) -> re.Match[bytes] | None:
        del address
        return checked(incubator, frame, frame[2:6])

    patch.setattr(ThermoVios160i, CHECKED, takes)


def checksum_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Take an answer whatever its checksum."""

    def takes(incubator: ThermoVios160i, frame: bytes, address: bytes) -> re.Match[bytes] | None:
        del incubator
        found = re.fullmatch(rb"!:([0-9a-f]{4}):([0-9a-f]{2}):(.*):([0-9a-f]{2})", frame, re.DOTALL)
        return found if found is not None and found[1] == address else None

    patch.setattr(ThermoVios160i, CHECKED, takes)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (without_quarantine, "mettler_mt_sics"),
        (without_quarantine, "linkam_t95"),
        (without_quarantine, "watson_marlow_530du"),
        (without_quarantine, "brooks_pf400"),
        (without_quarantine, "moxa_iologik_e1213"),
        (read_once, "mettler_mt_sics"),
        (read_once, "linkam_t95"),
        (read_once, "watson_marlow_530du"),
        (read_once, "brooks_pf400"),
        (read_once, "moxa_iologik_e1213"),
        (sent_again, "mettler_mt_sics"),
        (sent_again, "linkam_t95"),
        (sent_again, "moxa_iologik_e1213"),
        (any_address, "thermo_vios_160i"),
        (checksum_unchecked, "thermo_vios_160i"),
    ],
)
def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch, plant: Plant, name: str) -> None:
    plant(monkeypatch)
    assert not run_frames(INSTRUMENTS[name](), SEED, TILL_FOUND).is_well
