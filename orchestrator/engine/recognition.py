"""Is it still the instrument that the cell file and the record say?

Each instrument is asked who it is before its first use, whether for an act or only to be
read, and again after each time that it didn't answer: on the same line another one may
answer by then. An exchanged instrument counts as an act from outside: nothing is done
with it, and nothing it says is used, until a person has looked (hazards H6).
"""

from __future__ import annotations

from devices.interfaces.driver import DeviceIdentity, Standing
from orchestrator.engine.alarms import Alarms
from orchestrator.engine.core import Core
from orchestrator.journal.events import EquipmentSeen, OutsideActSeen
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import BatchId, CommandId, EquipmentId

WHO_IT_IS = ("serial", "model")
"""What an exchanged instrument shows otherwise."""


class ExchangedError(RefusedError):
    """Another instrument answers. Nothing that it says was used."""

    code = "refused.exchanged"


def equipment_seen(
    equipment: EquipmentId,
    identity: DeviceIdentity,
    standing: Standing,
    explained_by: CommandId | None = None,
) -> EquipmentSeen:
    """Return the record of who an instrument is and what it shows.

    Args:
        equipment: Its name in the cell file.
        identity: Who it says it is.
        standing: What it shows.
        explained_by: The open attempt that explains what it shows, if one does.
    """
    return EquipmentSeen(
        equipment=equipment,
        model=identity.model,
        serial=identity.serial,
        firmware=identity.firmware,
        values=standing.values,
        witness=standing.witness,
        explained_by=explained_by,
    )


class Recognition:
    """Which instruments of one cell were recognised since they last fell silent."""

    def __init__(self, core: Core, alarms: Alarms) -> None:
        self._core = core
        self._alarms = alarms
        self._recognised: set[str] = set()

    def lost(self, equipment: str) -> None:
        """Ask it again who it is before it is used: it didn't answer."""
        self._recognised.discard(equipment)

    async def ask(self, equipment: EquipmentId, batch: BatchId | None = None) -> None:
        """Ask an instrument who it is, unless it was asked since it last fell silent.

        Raises:
            ProcessError: It doesn't answer.
        """
        if equipment in self._recognised:
            return
        await self.compare(equipment, await self._core.drivers[equipment].identify(), batch)

    async def compare(
        self, equipment: EquipmentId, identity: DeviceIdentity, batch: BatchId | None = None
    ) -> None:
        """Compare who an instrument says it is with the cell file and the record."""
        self._recognised.add(equipment)
        await self._alarms.clear(f"silent {equipment}")
        known = self._core.state.equipment.get(equipment)
        if known is None:
            return
        bound = self._core.cell.config.by_equipment[equipment]
        for name, expected, shown in (
            ("serial", bound.serial, identity.serial),
            ("serial", known.serial, identity.serial),
            ("model", known.model, identity.model),
        ):
            if not expected or not shown or expected == shown:
                continue
            await self._core.record_for_host(
                OutsideActSeen(equipment=equipment, value=name, was=expected, seen=shown)
            )
            await self._alarms.raise_alarm(
                f"exchanged {equipment}",
                tier="block",
                cause=f"{equipment} shows the {name} {shown}; {expected} is expected",
                consequence="Nothing is done with it, and nothing that it says is used",
                action="Check which instrument is on which line, and look at it",
                batch=batch,
            )
            return
        await self._alarms.clear(f"exchanged {equipment}")

    async def require(self, equipment: EquipmentId, batch: BatchId) -> None:
        """Go on only with the instrument that the cell file and the record say.

        Raises:
            ExchangedError: It is another one, or was until nobody looked.
            ProcessError: It doesn't answer.
        """
        await self.ask(equipment, batch)
        why = self.why_not(equipment)
        if why:
            raise ExchangedError(
                f"read {equipment}",
                why=why,
                do_next="Check which instrument is on which line, look at it, and restart",
            )

    async def looked_at(self, equipment: str) -> None:
        """Clear what was said of an instrument: a person has taken it as it is."""
        for what in ("silent", "exchanged"):
            await self._alarms.clear(f"{what} {equipment}")

    def why_not(self, equipment: str) -> str:
        """Return why nothing that an instrument says may be used; empty if it may."""
        known = self._core.state.equipment.get(equipment)
        if known is None:
            return ""
        strange = [
            f"its {name} was {known.outside[name]}" for name in WHO_IT_IS if name in known.outside
        ]
        return f"{equipment} was exchanged: {'; '.join(strange)}" if strange else ""
