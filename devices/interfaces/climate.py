"""Keep a chamber at temperature and gas: what every incubator promises."""

from __future__ import annotations

from typing import ClassVar, Literal

from orchestrator.kernel.acts import Act, Reading
from orchestrator.kernel.quantities import Fraction, Temperature


class SetClimate(Act):
    """Set the chamber's temperature and carbon dioxide. Twice equals once: REPEAT.

    Effect: changes set points; the chamber follows in its own time. ``Effect.done`` is ``"1"``.
    """

    capability: ClassVar[str] = "climate"
    kind: Literal["set_climate"] = "set_climate"
    temperature: Temperature
    carbon_dioxide: Fraction


class ChamberTemperature(Reading):
    """The chamber's temperature as text, e.g. ``"37 °C"``."""

    capability: ClassVar[str] = "climate"
    kind: Literal["chamber_temperature"] = "chamber_temperature"


class ChamberCarbonDioxide(Reading):
    """The chamber's carbon dioxide as text, e.g. ``"5 %"``."""

    capability: ClassVar[str] = "climate"
    kind: Literal["chamber_carbon_dioxide"] = "chamber_carbon_dioxide"


class ClimateEvents(Reading):
    """What the chamber's own logger holds since it was last read: door and power events.

    Text of the form ``"power_reset 2026-11-23T10:00 | door_open ..."``; empty if none.
    """

    capability: ClassVar[str] = "climate"
    kind: Literal["climate_events"] = "climate_events"
