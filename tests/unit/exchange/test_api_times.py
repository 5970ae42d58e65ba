"""RFC 3339 text and nanoseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.exchange.api.times import parse_time, time_text


@given(st.integers(0, 4_102_444_800 * 10**9))
def test_a_time_survives_the_way_through_text(time_ns: int) -> None:
    assert parse_time(time_text(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T00:01Z", 60),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:00:00 01:00", 0),  # a plus sign that was not percent-encoded
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01 00:00:05z", 5),
        ("1969-12-31T23:59:59Z", -1),
    ],
)
def test_the_forms_clients_use_are_read(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds * 10**9


@pytest.mark.parametrize(
    "text", ["", "now", "2026", "2026-13-01", "2026-01-32", "2026-01-01T25:00Z", "1e9",
             "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+99:99"],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None
