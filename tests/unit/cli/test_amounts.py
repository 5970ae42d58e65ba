"""Amounts on the command line."""

from __future__ import annotations

import pytest

from madang.cli.amounts import UsageError, cash_units, price_units, quantity_units


def test_amounts_are_exact_and_may_be_zero_or_negative() -> None:
    assert cash_units("100000.00") == 100_000_000_000
    assert cash_units("-0.000001") == -1
    assert cash_units("0.00") == 0
    assert quantity_units("1.000000001") == 1_000_000_001
    assert price_units("227.0001") == 2_270_001


@pytest.mark.parametrize("text", ["", "-", "1.0000001", "NaN", "1e400", "one", "--1", "0x10"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        cash_units(text)
