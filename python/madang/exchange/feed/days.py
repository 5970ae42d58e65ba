"""Days of the venue's time zone and the intervals that bars are made for. Pure.

A bar never crosses the midnight of the venue: minutes and hours are counted from it, weeks begin on
Monday, months and their multiples in January. All times are nanoseconds since the epoch.
"""

from __future__ import annotations

import datetime
import re
from enum import StrEnum
from typing import Final, NamedTuple

from madang.exchange.venue.schedule import zone_of

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 60 * MINUTE_NS
_FIRST_NS: Final = 366 * 24 * HOUR_NS
_LAST_NS: Final = 9_180_000_000 * SECOND_NS  # in the year 2260
_TIMEFRAME: Final = re.compile(r"([1-9][0-9]?)(Min|T|Hour|H|Day|D|Week|W|Month|M)")


class Days:
    """Where the days of one time zone begin; the last one asked for is remembered."""

    def __init__(self, timezone: str) -> None:
        """Raises SettingsError for a time zone that is not known."""
        self.timezone = timezone
        self._zone = zone_of(timezone)
        self._start = self._end = 0

    def start(self, now_ns: int) -> int:
        """Return when the day that `now_ns` is in began; far times count as 1971 or 2260."""
        if not self._start <= now_ns < self._end:
            day = self.date(now_ns)
            self._start = self.midnight(day)
            self._end = self.midnight(day + datetime.timedelta(1))
        return self._start

    def end(self, now_ns: int) -> int:
        """Return when the day that `now_ns` is in ends."""
        self.start(now_ns)
        return self._end

    def date(self, now_ns: int) -> datetime.date:
        """Return the date of the venue at `now_ns`, within the years that 64 bits hold."""
        bounded = max(_FIRST_NS, min(now_ns, _LAST_NS))
        return datetime.datetime.fromtimestamp(bounded // SECOND_NS, self._zone).date()

    def midnight(self, day: datetime.date) -> int:
        """Return when a date begins."""
        moment = datetime.datetime.combine(day, datetime.time(), self._zone)
        return int(moment.timestamp()) * SECOND_NS


class Unit(StrEnum):
    """What an interval is counted in."""

    MINUTE = "Min"
    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


_UNITS: Final = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_AMOUNTS: Final = {
    Unit.MINUTE: range(1, 60),
    Unit.HOUR: range(1, 24),
    Unit.DAY: (1,),
    Unit.WEEK: (1,),
    Unit.MONTH: (1, 2, 3, 4, 6, 12),
}


class Timeframe(NamedTuple):
    """The interval of a bar."""

    amount: int
    unit: Unit

    @property
    def daily(self) -> bool:
        """Tell whether bars of this interval are made from days rather than minutes."""
        return self.unit in (Unit.DAY, Unit.WEEK, Unit.MONTH)

    def begin(self, days: Days, now_ns: int) -> int:
        """Return when the interval that `now_ns` is in began."""
        start = days.start(now_ns)
        if not self.daily:
            span_ns = self.amount * (MINUTE_NS if self.unit == Unit.MINUTE else HOUR_NS)
            return start + (now_ns - start) // span_ns * span_ns
        return start if self.unit == Unit.DAY else days.midnight(self._first_day(days, now_ns))

    def end(self, days: Days, begin_ns: int) -> int:
        """Return when the interval that began at `begin_ns` ends."""
        if not self.daily:
            span_ns = self.amount * (MINUTE_NS if self.unit == Unit.MINUTE else HOUR_NS)
            return min(begin_ns + span_ns, days.end(begin_ns))
        if self.unit == Unit.DAY:
            return days.end(begin_ns)
        first = self._first_day(days, begin_ns)
        if self.unit == Unit.WEEK:
            return days.midnight(first + datetime.timedelta(7))
        months = first.month - 1 + self.amount
        return days.midnight(datetime.date(first.year + months // 12, months % 12 + 1, 1))

    def _first_day(self, days: Days, now_ns: int) -> datetime.date:
        day = days.date(now_ns)
        if self.unit == Unit.WEEK:
            return day - datetime.timedelta(day.weekday())
        month = (day.month - 1) // self.amount * self.amount + 1
        return datetime.date(day.year, month, 1)


def parse_timeframe(text: str) -> Timeframe | None:
    """Return what `1Min` to `59Min`, `1Hour` to `23Hour`, `1Day`, `1Week`, `12Month` say."""
    matched = _TIMEFRAME.fullmatch(text)
    if matched is None:
        return None
    amount, unit = int(matched[1]), Unit(_UNITS.get(matched[2], matched[2]))
    return Timeframe(amount, unit) if amount in _AMOUNTS[unit] else None
