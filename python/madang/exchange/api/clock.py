"""The market clock: open as the feed says, next changes from the venue's hours."""

from __future__ import annotations

import datetime
from typing import Final, NamedTuple

from madang.core.clock import Clock
from madang.edge import Request, Response, json_response
from madang.exchange.api import schemas
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.venue.schedule import OpenHours, zone_of

DAYS_AHEAD: Final = 8
SECOND_NS: Final = 1_000_000_000


class MarketHours(NamedTuple):
    """When the market is open; empty `hours`: always, with days ending at 00:00."""

    timezone: str = "UTC"
    hours: tuple[OpenHours, ...] = ()


class Changes(NamedTuple):
    """What the hours say of a moment."""

    is_open: bool
    next_open: datetime.datetime
    next_close: datetime.datetime


def changes(hours: MarketHours, now: datetime.datetime) -> Changes:
    """Return whether it is open at `now` (in the venue's zone), and the next opening and close.

    A market that is always open closes and opens at 00:00, where its day orders end.
    """
    zone = zone_of(hours.timezone)
    if not hours.hours:
        midnight = datetime.datetime.combine(
            now.date() + datetime.timedelta(1), datetime.time(), zone
        )
        return Changes(True, midnight, midnight)
    opens: list[datetime.datetime] = []
    closes: list[datetime.datetime] = []
    is_open = False
    for ahead in range(DAYS_AHEAD):
        day = now.date() + datetime.timedelta(ahead)
        for span in hours.hours:
            if day.weekday() in span.weekdays:
                begin = datetime.datetime.combine(day, span.open, zone)
                end = datetime.datetime.combine(day, span.close, zone)
                is_open = is_open or begin <= now < end
                opens.append(begin)
                closes.append(end)
    return Changes(is_open, min(t for t in opens if t > now), min(t for t in closes if t > now))


class ClockMethods:
    """Handler of /v2/clock."""

    def __init__(self, feed: FeedClient, hours: MarketHours, clock: Clock) -> None:
        self._feed = feed
        self._hours = hours
        self._clock = clock

    async def get(self, _request: Request) -> Response:
        """GET /v2/clock."""
        second, rest = divmod(self._clock.now_ns(), SECOND_NS)
        now = datetime.datetime.fromtimestamp(second, zone_of(self._hours.timezone))
        found = changes(self._hours, now)
        try:
            is_open = any(state.session == "open" for state in await self._feed.symbols())
        except FeedUnavailable:
            is_open = found.is_open
        stamp = now.replace(microsecond=rest // 1_000).isoformat(timespec="microseconds")
        return json_response(
            schemas.MarketClock(
                stamp, is_open, found.next_open.isoformat(), found.next_close.isoformat()
            )
        )
