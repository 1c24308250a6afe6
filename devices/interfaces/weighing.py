"""Weigh what hangs or stands on a balance: what every balance promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Act, Reading


class Weight(Reading):
    """The stable weight on one balance, as a mass in text, e.g. ``"812.41 g"``.

    ``part`` says which balance of the unit: at a transfer station ``hook`` or ``vessel``.
    """

    capability: ClassVar[str] = "weighing"
    kind: Literal["weight"] = "weight"


class Tare(Act):
    """Set the balance to read zero with what it carries now.

    Effect: changes readings, moves nothing. ``Effect.done`` is ``"1"``.
    """

    capability: ClassVar[str] = "weighing"
    kind: Literal["tare"] = "tare"
