"""Decimal text and units: exact in both directions, and every kind of refusal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.exchange.api.decimals import (
    DecimalRefused,
    Fault,
    cash_text,
    parse_units,
    price_text,
    quantity_text,
    ratio_text,
    units_text,
)

MAX = 10**18


@given(st.integers(1, MAX), st.sampled_from([4, 6, 9]))
def test_units_survive_the_way_through_text(units: int, decimals: int) -> None:
    text = units_text(units, decimals)
    assert parse_units(text, decimals, MAX) == units
    assert Decimal(text) == Decimal(units).scaleb(-decimals)
    assert not text.endswith((".", "0")) or "." not in text


@given(st.integers(1, MAX))
def test_the_fast_texts_agree_with_the_general_one(units: int) -> None:
    assert price_text(units) == units_text(units, 4)
    assert quantity_text(units) == units_text(units, 9)
    assert cash_text(-units) == "-" + cash_text(units)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**9, places=9))
def test_exponents_mean_what_they_say(value: Decimal) -> None:
    for text in (f"{value:e}", f"{value:E}", f"{value:f}"):
        if len(text) > 40:
            continue
        if value == 0:
            with pytest.raises(DecimalRefused):
                parse_units(text, 9, MAX)
        else:
            assert Decimal(parse_units(text, 9, MAX)).scaleb(-9) == value


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("290.1", 2_901_000),
        ("1e-04", 1),
        ("1E2", 1_000_000),
        ("0.00010000", 1),
        ("007", 70_000),
        ("+5", 50_000),
        ("12.5e1", 1_250_000),
    ],
)
def test_what_is_written_is_what_arrives(text: str, units: int) -> None:
    assert parse_units(text, 4, MAX) == units


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.SYNTAX),
        ("NaN", Fault.SYNTAX),
        ("1,5", Fault.SYNTAX),
        ("1.", Fault.SYNTAX),
        (".5", Fault.SYNTAX),
        ("\u0661", Fault.SYNTAX),
        ("1_0", Fault.SYNTAX),
        ("-1", Fault.SIGN),
        ("0", Fault.SIGN),
        ("0e999", Fault.SIGN),
        ("0.00001", Fault.PRECISION),
        ("1e-5", Fault.PRECISION),
        ("1e-999", Fault.PRECISION),
        ("1e999", Fault.SIZE),
        ("9" * 20, Fault.SIZE),
        ("9" * 41, Fault.SIZE),
        ("x" * 41, Fault.SYNTAX),
    ],
)
def test_what_is_no_amount_is_refused_with_its_reason(text: str, fault: Fault) -> None:
    with pytest.raises(DecimalRefused) as refused:
        parse_units(text, 4, MAX)
    assert refused.value.fault is fault


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**12))
def test_a_ratio_is_rounded_to_the_nearest(numerator: int, denominator: int) -> None:
    exact = Decimal(numerator) / Decimal(denominator)
    assert abs(Decimal(ratio_text(numerator, denominator, 6)) - exact) <= Decimal("0.00000051")
