"""The market calendar: one row a day on which the market opens, from the venue's hours. Pure core.

Invariant: it agrees with the clock. On a day with several spans of hours, `open` is the first
opening and `close` the last close; a market without hours is open all day, from 00:00 to 23:59,
since a day's row has no way to say 24:00.
"""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Final

import msgspec

from madang.edge import Request, Response
from madang.exchange.api.clock import MarketHours
from madang.exchange.api.refusals import echo, invalid
from madang.exchange.api.schemas_account import CalendarDay, CalendarQuery

FIRST_DAY: Final = datetime.date(1970, 1, 1)
LAST_DAY: Final = datetime.date(2029, 12, 31)
"""What Alpaca's calendar covers, and what is told where no bound is given."""
DATE_CHARACTERS: Final = 10
CACHED_ANSWERS_MAX: Final = 16
_FIRST_MINUTE: Final = datetime.time(0, 0)
_LAST_MINUTE: Final = datetime.time(23, 59)


def calendar_days(
    hours: MarketHours, first: datetime.date, last: datetime.date
) -> list[CalendarDay]:
    """Return the trading days from `first` to `last`, both included, in order."""
    week = [_hours_of(hours, weekday) for weekday in range(7)]
    days = []
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = datetime.date.fromordinal(ordinal)
        found = week[day.weekday()]
        if found is not None:
            days.append(_row(day.isoformat(), *found))
    return days


def _row(day: str, opening: str, close: str) -> CalendarDay:
    without_colon = (opening.replace(":", ""), close.replace(":", ""))
    return CalendarDay(day, opening, close, *without_colon, settlement_date=day)


def _hours_of(hours: MarketHours, weekday: int) -> tuple[str, str] | None:
    """Return the first opening and the last close of a weekday, None where it never opens."""
    if not hours.hours:
        return _text(_FIRST_MINUTE), _text(_LAST_MINUTE)
    spans = [span for span in hours.hours if weekday in span.weekdays]
    if not spans:
        return None
    return _text(min(span.open for span in spans)), _text(max(span.close for span in spans))


def _text(time: datetime.time) -> str:
    return time.strftime("%H:%M")


@lru_cache(maxsize=CACHED_ANSWERS_MAX)
def _answer(hours: MarketHours, first: datetime.date, last: datetime.date) -> bytes:
    return msgspec.json.encode(calendar_days(hours, first, last))


class CalendarMethods:
    """Handler of /v2/calendar."""

    def __init__(self, hours: MarketHours) -> None:
        self._hours = hours

    def get(self, request: Request) -> Response:
        """GET /v2/calendar."""
        query = request.query_as(CalendarQuery)
        first = max(read_date("start", query.start, FIRST_DAY), FIRST_DAY)
        last = min(read_date("end", query.end, LAST_DAY), LAST_DAY)
        return Response(200, _answer(self._hours, first, last))


def read_date(name: str, text: str | msgspec.UnsetType, default: datetime.date) -> datetime.date:
    """Read a date, or the date of a time."""
    if isinstance(text, msgspec.UnsetType) or not text:
        return default
    day, rest = text[:DATE_CHARACTERS], text[DATE_CHARACTERS:]
    try:
        if "W" in day or (rest and rest[0] not in "Tt "):
            raise ValueError
        return datetime.date.fromisoformat(day)
    except ValueError:
        raise invalid(f"invalid {name} {echo(text)}: use YYYY-MM-DD") from None
