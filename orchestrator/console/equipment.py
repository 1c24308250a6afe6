"""Equipment: what a device shows is taken as known, after a person has looked at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from devices.interfaces.driver import DeviceIdentity, Standing
from orchestrator.console.office import Office
from orchestrator.engine.outside_acts import outside_act_seen
from orchestrator.engine.recognition import equipment_seen
from orchestrator.journal.events import EquipmentSeen
from orchestrator.kernel.errors import ProcessError, RefusedError
from orchestrator.kernel.identifiers import CommandId, EquipmentId, UserId
from orchestrator.kernel.quantities import second

LOOK_WITHIN: Final = 20 * second
"""Set by site: how long a person who looks waits for what an instrument shows."""


class Equipment:
    """Records what devices show."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core
        self._engine = office.engine

    async def look_at(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Take what a device shows now as known, after a person has looked at it."""
        del user
        name = str(arguments["equipment"])
        what = f"look at {name}"
        if name not in self._core.drivers:
            raise RefusedError(what, why="the cell has none of that name", do_next="Look again")
        self._refuse_in_use(what, name)
        async with self._alone_with(what, name):
            self._refuse_in_use(what, name)
            identity, standing = await self._read(what, name)
            equipment = EquipmentId(name)
            only_acts_change = self._core.drivers[name].only_acts_change
            known = self._core.state.equipment.get(name)
            outside = outside_act_seen(equipment, known, standing, only_acts_change)
            seq = await self._core.record_for_host(
                *(() if outside is None else (outside,)),
                equipment_seen(equipment, identity, standing),
                answer=arguments["answer"],
            )
        await self._engine.recognition.looked_at(equipment)
        return seq

    def _refuse_in_use(self, what: str, name: str) -> None:
        if self._core.is_in_doubt(name):
            raise RefusedError(
                what,
                why="it is in use, or what it did is in doubt: what it shows is an act's",
                do_next="Wait until it rests, have two people decide what is in doubt, and look",
            )

    @asynccontextmanager
    async def _alone_with(self, what: str, name: str) -> AsyncGenerator[None]:
        """Have a device to oneself: no act begins on it meanwhile."""
        lock = self._core.lock_of(name)
        is_mine = False
        try:
            async with self._soon(what):
                is_mine = await lock.acquire()
            yield
        finally:
            if is_mine:
                lock.release()

    @asynccontextmanager
    async def _soon(self, what: str) -> AsyncGenerator[None]:
        """Wait for a device while other commands are carried out, and not for long.

        Raises:
            RefusedError: It takes too long.
        """
        try:
            async with self._office.turns.aside(), asyncio.timeout(LOOK_WITHIN.to(second)):
                yield
        except TimeoutError:
            raise RefusedError(
                what,
                why=f"it doesn't say within {LOOK_WITHIN} what it shows",
                do_next="Wait until it stands still, check its line, and look again",
            ) from None

    async def shown_after(self, name: str, command: CommandId) -> tuple[EquipmentSeen, ...]:
        """Return what a device shows after an attempt that was in doubt on it; nothing if silent.

        It leaves strangers' acts standing. Nobody else uses what is in doubt.
        """
        try:
            identity, standing = await self._read(f"take {name} as seen", name)
        except ProcessError:  # its next act meets the silent instrument and holds
            return ()
        return (equipment_seen(EquipmentId(name), identity, standing, explained_by=command),)

    async def _read(self, what: str, name: str) -> tuple[DeviceIdentity, Standing]:
        """Return who a device is and what it shows; other commands are carried out meanwhile.

        Raises:
            RefusedError: It is another one than the cell file says, or took too long.
            ProcessError: It doesn't answer.
        """
        driver = self._core.drivers[name]
        async with self._soon(what):
            identity = await driver.identify()
            standing = await driver.standing()
        bound_to = self._core.cell.config.by_equipment[name].serial
        if bound_to and identity.serial and bound_to != identity.serial:
            raise RefusedError(
                what,
                why=f"it shows the serial number {identity.serial}; the cell file has {bound_to}",
                do_next="Plug in the right instrument, or change the cell file",
            )
        return identity, standing
