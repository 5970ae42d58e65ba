"""`GET /web/bars`: the candles of a chart, for everybody, exact as of one trade.

The newest interval is still growing, so an answer names the last trade that it counts (`trade`):
whoever adds the trades after that one has the candle that the ledger has. It is made in an order
that makes this exact: first the newest trade with its minute and its day, which the ledger answers
as of one moment; then what lies before that minute, which no trade changes any more.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from madang.edge import ApiError, Operation, Request, Response, Role, Route, json_response
from madang.edge.errors import UNAVAILABLE
from madang.exchange.api.decimals import price_text, quantity_text
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.market import LAST_NS
from madang.exchange.api.market_render import vwap_text
from madang.exchange.api.refusals import echo, invalid, not_found
from madang.exchange.api.schemas import Decimal
from madang.exchange.api.times import SECOND_NS, parse_time
from madang.exchange.directory import DirectoryReplica
from madang.exchange.feed.bars import Bar, aggregate
from madang.exchange.feed.days import MINUTE_NS, Days, Timeframe, parse_timeframe

LIMIT_DEFAULT: Final = 300
LIMIT_MAX: Final = 1_000
MINUTES_MAX: Final = 60
"""Minutes of the longest interval that is made from them."""
UNDER_WAY_MAX: Final = 64
"""Requests of one worker that may wait for the ledger; one more is told to come again."""


class BarsQuery(msgspec.Struct):
    """Which candles: the newest `limit`, or the newest that begin before `end`."""

    symbol: Annotated[str, Meta(min_length=1, max_length=16)]
    timeframe: Literal["1Min", "5Min", "15Min", "1Hour", "1Day"]
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] | UnsetType = UNSET
    end: Annotated[str, Meta(max_length=40, description="RFC 3339")] | UnsetType = UNSET


class WebBar(msgspec.Struct):
    """What was traded from `t` (seconds since the epoch) on, until the next interval."""

    t: int
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - as bars are written everywhere
    c: Decimal
    v: Decimal
    n: int
    vw: Decimal


class WebBars(msgspec.Struct):
    """Candles, oldest first; intervals without a trade are left out."""

    symbol: str
    timeframe: str
    timezone: str
    bars: list[WebBar]
    trade: Annotated[int, Meta(description="the last trade that is counted; 0: there is none")]
    day: Annotated[list[int], Meta(description="beginning and end of that trade's day, seconds")]
    more: Annotated[bool, Meta(description="there are older ones")]


class Newest(NamedTuple):
    """The newest trade of an instrument with the minute and the day it is in."""

    trade_id: int
    minute: Bar
    day: Bar


class BarsMethods:
    """Handler of /web/bars."""

    def __init__(self, ledger: LedgerClient, replica: DirectoryReplica, days: Days) -> None:
        self._ledger = ledger
        self._replica = replica
        self._days = days
        self._under_way = 0

    async def get(self, request: Request) -> Response:
        """GET /web/bars."""
        query = request.query_as(BarsQuery)
        symbol = query.symbol.strip().upper()
        instrument = self._replica.directory.instrument(symbol)
        if instrument is None or instrument.symbol != symbol:
            raise not_found(f"unknown symbol {echo(symbol)}")
        if self._under_way >= UNDER_WAY_MAX:
            busy = ApiError(503, "too many questions at once, ask again", UNAVAILABLE)
            raise busy.with_headers(("retry-after", "1"))
        self._under_way += 1
        try:
            return json_response(await self._answer(query, symbol, instrument.number))
        finally:
            self._under_way -= 1

    async def _answer(self, query: BarsQuery, symbol: str, number: int) -> WebBars:
        end_ns = _end(query.end)
        limit = LIMIT_DEFAULT if query.limit is UNSET else query.limit
        timeframe = parse_timeframe(query.timeframe)
        assert timeframe is not None
        answer = WebBars(symbol, query.timeframe, self._days.timezone, [], 0, [], more=False)
        newest = await self._newest(number)
        if newest is None:
            return answer
        day_ns = newest.day.start_ns
        answer.trade = newest.trade_id
        answer.day = [day_ns // SECOND_NS, self._days.end(day_ns) // SECOND_NS]
        begin_ns = timeframe.begin(self._days, newest.minute.start_ns)
        bars: list[Bar] = []
        if begin_ns < end_ns:
            bars.append(await self._running(number, timeframe, begin_ns, newest))
        over, more = await self._over(number, query.timeframe, min(begin_ns, end_ns), limit)
        bars += over
        answer.bars = [_web_bar(bar) for bar in reversed(bars[:limit])]
        answer.more = more or len(bars) > limit
        return answer

    async def _newest(self, number: int) -> Newest | None:
        answer = await self._ledger.ask({"kind": "market_latest", "instruments": [number]})
        last, _, minute, day, _ = answer["latest"][number]
        if last is None or minute is None or day is None:
            return None
        return Newest(last[0], _bar(minute), _bar(day))

    async def _running(
        self, number: int, timeframe: Timeframe, begin_ns: int, newest: Newest
    ) -> Bar:
        """Return the interval that the newest trade is in."""
        if timeframe.daily:
            return newest.day
        if begin_ns == newest.minute.start_ns:
            return newest.minute
        question = _question(number, "1Min", newest.minute.start_ns, MINUTES_MAX)
        answer = await self._ledger.ask({**question, "first_ns": begin_ns})
        minutes = [_bar(fields) for _, *fields in reversed(answer["rows"])]
        minutes.append(newest.minute)
        (joined,) = aggregate(minutes, [begin_ns] * len(minutes))
        return joined

    async def _over(
        self, number: int, timeframe: str, before_ns: int, limit: int
    ) -> tuple[list[Bar], bool]:
        """Return intervals that are over, newest first, and whether there are older ones."""
        answer = await self._ledger.ask(_question(number, timeframe, before_ns, limit))
        return [_bar(fields) for _, *fields in answer["rows"]], answer["next"] is not None


def web_bars_route(bars: BarsMethods) -> Route:
    """Return the route of /web/bars."""
    return Route("GET", "/web/bars", bars.get, Role.PUBLIC, Operation(
        "Return the candles of a chart", ("pages",), query=BarsQuery,
        responses={200: WebBars, 404: None, 422: None},
    ))  # fmt: skip


def _question(number: int, timeframe: str, before_ns: int, limit: int) -> dict[str, Any]:
    return {
        "kind": "market_bars",
        "timeframe": timeframe,
        "instruments": [number],
        "first_ns": 0,
        "last_ns": before_ns - 1,
        "descending": True,
        "after": None,
        "limit": limit,
    }


def _end(text: str | UnsetType) -> int:
    if text is UNSET:
        return LAST_NS
    found = parse_time(text)
    if found is None:
        raise invalid(f"end must be RFC 3339, not {echo(text)}")
    return max(MINUTE_NS, found)


def _bar(fields: list[Any]) -> Bar:
    """Return a bar from the ledger's answer, where sums are text."""
    *numbers, volume, trades, value = fields
    return Bar._make([*numbers, int(volume), trades, int(value)])


def _web_bar(bar: Bar) -> WebBar:
    return WebBar(
        bar.start_ns // SECOND_NS,
        price_text(bar.open),
        price_text(bar.high),
        price_text(bar.low),
        price_text(bar.close),
        quantity_text(bar.volume),
        bar.trades,
        vwap_text(bar.value, bar.volume),
    )
