"""Decimal text to integer units and back; the only place where a number's point is seen.

Invariant: nothing is rounded on the way in. Text finer than the unit is refused, as is text larger
than the bound, so a number that was accepted is exactly the number that was sent.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from madang.core.errors import MadangError

PRICE_DECIMALS: Final = 4
QUANTITY_DECIMALS: Final = 9
CASH_DECIMALS: Final = 6
TEXT_CHARACTERS_MAX: Final = 40
_EXPONENT_MAX: Final = 30
_PLAIN: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_FULL: Final = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,3}))?")
_POWERS: Final[tuple[int, ...]] = tuple(10**digits for digits in range(_EXPONENT_MAX + 1))


class Fault(StrEnum):
    """Why text is not taken."""

    SYNTAX = "is not a decimal number"
    SIGN = "must be positive"
    PRECISION = "has too many decimals"
    SIZE = "is too large"


class DecimalRefused(MadangError):
    """Text that is no amount; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def parse_units(text: str, decimals: int, units_max: int) -> int:
    """Return `text` in units of 10**-decimals, more than 0 and at most `units_max`.

    Raises DecimalRefused. Exponents (`1e-05`, as JSON encoders write floats) are understood.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        raise DecimalRefused(Fault.SIZE if _FULL.fullmatch(text) else Fault.SYNTAX)
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        units = _parse_full(text, decimals)
    else:
        whole, part = plain.groups()
        units = _combine(whole, part or "", decimals)
    if units <= 0:
        raise DecimalRefused(Fault.SIGN)
    if units > units_max:
        raise DecimalRefused(Fault.SIZE)
    return units


def _combine(whole: str, part: str, decimals: int) -> int:
    if len(part) > decimals:
        if part[decimals:].strip("0"):
            raise DecimalRefused(Fault.PRECISION)
        part = part[:decimals]
    return int(whole + part) * _POWERS[decimals - len(part)]


def _parse_full(text: str, decimals: int) -> int:
    matched = _FULL.fullmatch(text)
    if matched is None:
        raise DecimalRefused(Fault.SYNTAX)
    sign, whole, part, exponent = matched.groups()
    part = part or ""
    if sign == "-":
        raise DecimalRefused(Fault.SIGN)
    shift = int(exponent or "0")
    if not (whole + part).strip("0"):
        raise DecimalRefused(Fault.SIGN)
    if abs(shift) > _EXPONENT_MAX:
        raise DecimalRefused(Fault.SIZE if shift > 0 else Fault.PRECISION)
    digits = whole + part
    places = len(part) - shift
    if places <= 0:
        return _combine(digits + "0" * -places, "", decimals)
    digits = digits.rjust(places + 1, "0")
    return _combine(digits[:-places], digits[-places:], decimals)


def units_text(units: int, decimals: int) -> str:
    """Return units of 10**-decimals as decimal text without needless zeros."""
    if units < 0:
        return "-" + units_text(-units, decimals)
    whole, part = divmod(units, _POWERS[decimals])
    if not part:
        return str(whole)
    return f"{whole}.{part:0{decimals}d}".rstrip("0")


def price_text(units: int) -> str:
    """Return a price (1/10,000) as text."""
    whole, part = divmod(units, 10_000)
    return f"{whole}.{part:04d}".rstrip("0") if part else str(whole)


def quantity_text(units: int) -> str:
    """Return a quantity (1/1,000,000,000 share) as text."""
    whole, part = divmod(units, 1_000_000_000)
    return f"{whole}.{part:09d}".rstrip("0") if part else str(whole)


def cash_text(units: int) -> str:
    """Return an amount of cash (1/1,000,000), which may be negative, as text."""
    return units_text(units, CASH_DECIMALS)


def ratio_text(numerator: int, denominator: int, decimals: int) -> str:
    """Return numerator / denominator (> 0) rounded half away from zero."""
    scaled = abs(numerator) * _POWERS[decimals]
    units = (2 * scaled + denominator) // (2 * denominator)
    return units_text(-units if numerator < 0 else units, decimals)
