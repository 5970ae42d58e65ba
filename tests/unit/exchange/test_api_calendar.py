"""The calendar says what the clock says."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from madang.edge import ApiError
from madang.edge.request import Headers, Request
from madang.exchange.api.calendar import CalendarMethods, calendar_days
from madang.exchange.api.clock import MarketHours, changes
from madang.exchange.venue.schedule import OpenHours, zone_of

WEEKDAYS = frozenset(range(5))
NEW_YORK = MarketHours(
    "America/New_York",
    (
        OpenHours(WEEKDAYS, datetime.time(9, 30), datetime.time(12)),
        OpenHours(WEEKDAYS - {4}, datetime.time(13), datetime.time(16)),
    ),
)


def rows(hours: MarketHours, query: str = "") -> list[tuple[str, str, str]]:
    request = Request("GET", "/v2/calendar", query.encode(), Headers({}))
    answer = msgspec.json.decode(CalendarMethods(hours).get(request).body)
    return [(row["date"], row["open"], row["close"]) for row in answer]


def test_days_have_their_first_opening_and_last_close() -> None:
    assert rows(NEW_YORK, "start=2026-11-19&end=2026-11-23T00:00:00Z") == [
        ("2026-11-19", "09:30", "16:00"),
        ("2026-11-20", "09:30", "12:00"),
        ("2026-11-23", "09:30", "16:00"),
    ]


def test_a_market_without_hours_is_open_every_day() -> None:
    found = rows(MarketHours(), "start=2028-02-28&end=2028-03-01")
    assert found == [(f"2028-{day}", "00:00", "23:59") for day in ("02-28", "02-29", "03-01")]


def test_without_bounds_everything_from_1970_to_2029_is_told() -> None:
    found = rows(NEW_YORK)
    assert (found[0][0], found[-1][0]) == ("1970-01-01", "2029-12-31")
    assert rows(NEW_YORK, "start=0001-01-01&end=1970-01-02") == found[:2]
    assert rows(NEW_YORK, "start=2026-11-20&end=2026-11-19") == []


def test_the_clock_agrees_with_every_day_of_a_year() -> None:
    zone = zone_of(NEW_YORK.timezone)
    first = datetime.date(2026, 1, 1)
    days = {day.date: day for day in calendar_days(NEW_YORK, first, first.replace(year=2027))}
    for ahead in range(365):
        day = first + datetime.timedelta(ahead)
        midnight = datetime.datetime.combine(day, datetime.time(), zone)
        opens = changes(NEW_YORK, midnight).next_open
        found = days.get(day.isoformat())
        assert (found is not None) == (opens.date() == day)
        if found is not None:
            assert opens.strftime("%H:%M") == found.open
            hour, minute = map(int, found.close.split(":"))
            close = datetime.datetime.combine(day, datetime.time(hour, minute), zone)
            assert not changes(NEW_YORK, close).is_open
            assert changes(NEW_YORK, close - datetime.timedelta(minutes=1)).is_open


@pytest.mark.parametrize("query", ["start=yesterday", "end=2026-02-30", "end=2026-02-20-x"])
def test_what_is_no_date_is_refused(query: str) -> None:
    with pytest.raises(ApiError) as refused:
        rows(NEW_YORK, query)
    assert refused.value.status == 422
