"""What the device shows must be what it showed when an act of ours was last settled."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from orchestrator.engine.interlocks.permit import Permit
from orchestrator.engine.state import RESTORED
from orchestrator.kernel.acts import Facts


def outside_act(permit: Permit) -> str | None:
    """Refuse after somebody acted at a panel of the unit, until a person has looked."""
    own = {str(permit.module.equipment): (permit.standing, permit.only_acts_change)}
    for equipment, (standing, only_acts_change) in {**own, **permit.around}.items():
        known = permit.state.equipment.get(equipment)
        if known is None:
            return f"{equipment} hasn't shown itself since the start"
        bound = permit.batch.serials.get(equipment, "")
        if bound and known.serial and bound != known.serial:
            return (
                f"the batch is bound to {equipment} with the serial number {bound}, and "
                f"{known.serial} stands there (`cellwright amend {permit.batch_name} equipment`)"
            )
        if RESTORED in known.outside:
            return f"{equipment} wasn't looked at since the journal was restored from a backup"
        if known.outside:
            seen = "; ".join(
                f"{name} was {was}, seen {known.values.get(name, 'nothing')}"
                for name, was in sorted(known.outside.items())
            )
            return f"{equipment} was acted on from outside: {seen}"
        strayed = differences(known.values, standing.values, only_acts_change)
        if strayed:
            name, was, seen = strayed[0]
            return f"{equipment} shows {name} {seen}; no act explains it (was {was})"
    return None


def differences(was: Facts, seen: Facts, tolerances: Facts) -> list[tuple[str, str, str]]:
    """Return each value that strayed beyond its tolerance: name, what it was, what is seen."""
    strayed: list[tuple[str, str, str]] = []
    for name, tolerance in tolerances.items():
        before, now = was.get(name), seen.get(name)
        if before is None or now is None or before == now:
            continue
        if tolerance == "equal" or not _within(before, now, tolerance):
            strayed.append((name, before, now))
    return strayed


def _within(before: str, now: str, tolerance: str) -> bool:
    try:
        return abs(Decimal(now) - Decimal(before)) <= Decimal(tolerance)
    except InvalidOperation:
        return False
