"""Equipment: what a device shows is taken as known, after a person has looked at it."""

from __future__ import annotations

from typing import Any

from orchestrator.console.office import Office
from orchestrator.engine.outside_acts import outside_act_seen
from orchestrator.journal.events import AnyEvent, CommandAnswered, EquipmentSeen
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import CommandId, EquipmentId, UserId


class Equipment:
    """Records what devices show."""

    def __init__(self, office: Office) -> None:
        self._core = office.core
        self._engine = office.engine

    async def look_at(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Take what a device shows now as known, after a person has looked at it."""
        del user
        equipment = str(arguments["equipment"])
        if equipment not in self._core.drivers:
            raise RefusedError(
                f"look at {equipment}", why="the cell has none of that name", do_next="Look again"
            )
        return await self.see(equipment, answer=arguments["answer"])

    async def see(
        self,
        name: str,
        *,
        explained_by: CommandId | None = None,
        answer: CommandAnswered | None = None,
    ) -> int:
        """Record what a device shows, and first what nothing explains of it.

        ``explained_by`` names the attempt that does, and leaves strangers' acts standing.
        """
        equipment = EquipmentId(name)
        driver = self._core.drivers[equipment]
        identity = await driver.identify()
        bound_to = self._core.cell.config.by_equipment[name].serial
        if bound_to and identity.serial and bound_to != identity.serial:
            raise RefusedError(
                f"take {name} as seen",
                why=f"it shows the serial number {identity.serial}; the cell file has {bound_to}",
                do_next="Plug in the right instrument, or change the cell file",
            )
        standing = await driver.standing()
        events: list[AnyEvent] = []
        if explained_by is None:
            known = self._core.state.equipment.get(name)
            outside = outside_act_seen(equipment, known, standing, driver.only_acts_change)
            events += [outside] if outside is not None else []
        seq = await self._core.record_for_host(
            *events,
            EquipmentSeen(
                equipment=equipment,
                model=identity.model,
                serial=identity.serial,
                firmware=identity.firmware,
                values=standing.values,
                witness=standing.witness,
                explained_by=explained_by,
            ),
            answer=answer,
        )
        if explained_by is None:
            await self._engine.recognition.looked_at(equipment)
        return seq
