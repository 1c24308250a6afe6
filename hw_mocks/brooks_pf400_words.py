"""The words of TCS that every answer of the arm is made of: error codes, numbers, texts.

Source: PyLabRobot 0.2.2, ``arms/precise_flex``. Unconfirmed: the codes for wrong arguments
(-3001, -3002, -707, -717).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ERRORS: Final = {
    -707: "Value out-of-range",
    -717: "Invalid number format",
    -1000: "Invalid robot number",
    -1002: "Invalid axis number",
    -1006: "Robot already attached",
    -1009: "No robot attached",
    -1012: "Joint out-of-range",
    -1021: "Robot not homed",
    -1025: "Timeout enabling power",
    -1028: "Hard E-Stop",
    -1039: "Position too close",
    -1040: "Position too far",
    -1045: "Soft E-STOP",
    -1046: "Power not enabled",
    -1501: "Unknown Data ID code",
    -2805: "Unknown command",
    -2851: "Invalid Station ID",
    -3001: "Too many arguments",
    -3002: "Too few arguments",
    -3100: "Hard envelope error",
}


class TcsRefusedError(Exception):
    """The request is answered by an error code."""

    def __init__(self, code: int) -> None:
        """Refuse with ``code``, one of ``ERRORS``."""
        super().__init__(ERRORS[code])
        self.code = code


def no_arguments(given: list[str], data: str) -> str:
    """Return ``data`` for a request that takes no arguments."""
    if given:
        raise TcsRefusedError(-3001)
    return data


def as_numbers(given: list[str], fewest: int, most: int) -> list[float]:
    """Return the arguments as numbers, as many as may be."""
    if len(given) < fewest:
        raise TcsRefusedError(-3002)
    if len(given) > most:
        raise TcsRefusedError(-3001)
    try:
        found = [float(word) for word in given]
    except ValueError:
        raise TcsRefusedError(-717) from None
    if not all(abs(one) < 1e9 for one in found):  # nan and inf neither
        raise TcsRefusedError(-717)
    return found


def as_number(value: float) -> str:
    """Return a number as TCS writes it, with three decimals at most."""
    written = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def as_text(values: Sequence[float]) -> str:
    """Return numbers as TCS writes them."""
    return " ".join(as_number(value) for value in values)
