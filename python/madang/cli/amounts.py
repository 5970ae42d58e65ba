"""Amounts on the command line: decimal text, zero and minus allowed."""

from __future__ import annotations

from madang.core.errors import MadangError
from madang.exchange.api.decimals import (
    CASH_DECIMALS,
    PRICE_DECIMALS,
    QUANTITY_DECIMALS,
    DecimalRefused,
    parse_units,
)
from madang.wire.codes import CASH_MAX, PRICE_MAX, QUANTITY_MAX


class UsageError(MadangError):
    """A command that cannot be meant."""


def _signed(text: str, decimals: int, units_max: int) -> int:
    negative = text.startswith("-")
    digits = text.removeprefix("-")
    if digits and not digits.strip("0."):
        return 0
    try:
        units = parse_units(digits, decimals, units_max)
    except DecimalRefused as error:
        raise UsageError(f"{text}: {error}", text=text) from error
    return -units if negative else units


def cash_units(text: str) -> int:
    """Return an amount of cash in units."""
    return _signed(text, CASH_DECIMALS, CASH_MAX)


def quantity_units(text: str) -> int:
    """Return an amount of shares in units."""
    return _signed(text, QUANTITY_DECIMALS, QUANTITY_MAX)


def price_units(text: str) -> int:
    """Return a price in units."""
    return _signed(text, PRICE_DECIMALS, PRICE_MAX)
