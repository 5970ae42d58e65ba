"""Market data over REST: bars, quotes, trades, what is newest, and who moves most.

Everything is asked of the ledger, so an answer is as of what the venue had committed when the
question came. Pages go by symbol in alphabetical order, then by time; a page's token says where the
next one begins and nothing else, so any worker takes it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from madang.core.clock import Clock
from madang.edge import Request, Response
from madang.exchange.api import market_schemas as schemas
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.market_render import (
    BarRow,
    QuoteRow,
    Tape,
    TradeRow,
    bar_json,
    quote_json,
    tape_of,
    trade_json,
)
from madang.exchange.api.refusals import echo, invalid, not_found
from madang.exchange.api.times import parse_time
from madang.exchange.directory import DirectoryReplica, Instrument
from madang.exchange.feed.days import Days, parse_timeframe

LIMIT_DEFAULT: Final = 1_000
SYMBOLS_MAX: Final = 500
LAST_NS: Final = 2**63 - 1
JSON: Final = "application/json"


class Series(NamedTuple):
    """One kind of rows: its question, its names in answers, how a row becomes JSON."""

    kind: str
    many: str
    one: str
    place: int  # in an answer of market_latest
    text: Callable[[list[Any], Tape], str]


def _trade(fields: list[Any], tape: Tape) -> str:
    return trade_json(TradeRow(*fields), tape)


def _quote(fields: list[Any], tape: Tape) -> str:
    return quote_json(QuoteRow(*fields), tape)


def _bar(fields: list[Any], tape: Tape) -> str:
    return bar_json(BarRow(*fields), tape)


TRADES: Final = Series("market_trades", "trades", "trade", 0, _trade)
QUOTES: Final = Series("market_quotes", "quotes", "quote", 1, _quote)
BARS: Final = Series("market_bars", "bars", "bar", 2, _bar)
_SNAPSHOT: Final = (
    ("latestTrade", _trade), ("latestQuote", _quote), ("minuteBar", _bar), ("dailyBar", _bar),
    ("prevDailyBar", _bar),
)  # fmt: skip


class MarketDataMethods:
    """Handlers of /v2/stocks."""

    def __init__(
        self, ledger: LedgerClient, replica: DirectoryReplica, days: Days, clock: Clock
    ) -> None:
        self._ledger = ledger
        self._replica = replica
        self._days = days
        self._clock = clock

    def many(self, series: Series) -> Callable[[Request], Any]:
        """Return the handler of GET /v2/stocks/bars and its like."""
        return partial(self._many, series)

    def single(self, series: Series) -> Callable[[Request], Any]:
        """Return the handler of GET /v2/stocks/{symbol}/bars and its like."""
        return partial(self._single, series)

    def latest(self, series: Series) -> Callable[[Request], Any]:
        """Return the handler of GET /v2/stocks/bars/latest and its like."""
        return partial(self._latest, series)

    def single_latest(self, series: Series) -> Callable[[Request], Any]:
        """Return the handler of GET /v2/stocks/{symbol}/bars/latest and its like."""
        return partial(self._single_latest, series)

    async def _many(self, series: Series, request: Request) -> Response:
        query: schemas.BarsQuery | schemas.RangeQuery = (
            request.query_as(schemas.BarsQuery)
            if series is BARS
            else request.query_as(schemas.RangeQuery)
        )
        found, token = await self._page(series, query, self._instruments(query.symbols))
        groups = ",".join(f'"{i.symbol}":[{",".join(rows)}]' for i, rows in found)
        return _json(f'{{"{series.many}":{{{groups}}},"next_page_token":{token}}}')

    async def _single(self, series: Series, request: Request) -> Response:
        kind = schemas.SymbolBarsQuery if series is BARS else schemas.SymbolRangeQuery
        symbol = request.parameters["symbol"].strip().upper()
        instrument = self._find(symbol)
        instruments = [] if instrument is None else [instrument]
        found, token = await self._page(series, request.query_as(kind), instruments)
        rows = ",".join(row for _, group in found for row in group)
        name = msgspec.json.encode(symbol).decode()
        return _json(f'{{"symbol":{name},"{series.many}":[{rows}],"next_page_token":{token}}}')

    async def _latest(self, series: Series, request: Request) -> Response:
        instruments = self._instruments(request.query_as(schemas.LatestQuery).symbols)
        newest = await self._newest(instruments)
        rows = ",".join(
            f'"{i.symbol}":{series.text(newest[i.number][series.place], tape_of(i))}'
            for i in instruments
            if newest[i.number][series.place] is not None
        )
        return _json(f'{{"{series.many}":{{{rows}}}}}')

    async def _single_latest(self, series: Series, request: Request) -> Response:
        request.query_as(schemas.SymbolLatestQuery)
        instrument = self._instrument(request)
        row = (await self._newest([instrument]))[instrument.number][series.place]
        if row is None:
            raise not_found(f"no {series.one} found for {instrument.symbol}")
        text = series.text(row, tape_of(instrument))
        return _json(f'{{"symbol":"{instrument.symbol}","{series.one}":{text}}}')

    async def snapshots(self, request: Request) -> Response:
        """GET /v2/stocks/snapshots."""
        instruments = self._instruments(request.query_as(schemas.LatestQuery).symbols)
        newest = await self._newest(instruments)
        rows = ",".join(
            f'"{i.symbol}":{{{_snapshot(newest[i.number], tape_of(i))}}}'
            for i in instruments
            if any(part is not None for part in newest[i.number])
        )
        return _json(f"{{{rows}}}")

    async def snapshot(self, request: Request) -> Response:
        """GET /v2/stocks/{symbol}/snapshot."""
        request.query_as(schemas.SymbolLatestQuery)
        instrument = self._instrument(request)
        row = (await self._newest([instrument]))[instrument.number]
        return _json(f'{{"symbol":"{instrument.symbol}",{_snapshot(row, tape_of(instrument))}}}')

    def _instrument(self, request: Request) -> Instrument:
        found = self._find(request.parameters["symbol"])
        if found is None:
            raise not_found("asset not found")
        return found

    def _find(self, symbol: str) -> Instrument | None:
        found = self._replica.directory.instrument(symbol.strip().upper())
        return found if found is not None and found.symbol == symbol.strip().upper() else None

    def _instruments(self, symbols: str) -> list[Instrument]:
        """Return the instruments named, by symbol; unknown ones have no data."""
        texts = symbols.split(",")
        if len(texts) > SYMBOLS_MAX:
            raise invalid(f"at most {SYMBOLS_MAX} symbols")
        found = {i.symbol: i for i in map(self._find, texts) if i is not None}
        return [found[symbol] for symbol in sorted(found)]

    async def _newest(self, instruments: list[Instrument]) -> dict[int, list[Any]]:
        numbers = [instrument.number for instrument in instruments]
        answer = await self._ledger.ask({"kind": "market_latest", "instruments": numbers})
        newest: dict[int, list[Any]] = answer["latest"]
        return newest

    async def _page(
        self, series: Series, query: schemas.SymbolRangeQuery, instruments: list[Instrument]
    ) -> tuple[list[tuple[Instrument, list[str]]], str]:
        """Return rows by instrument and the next page's token, as JSON."""
        question = self._question(series, query)
        after = _read_token(query.page_token, instruments) if query.page_token else None
        limit = LIMIT_DEFAULT if query.limit is UNSET else query.limit
        by_number = {instrument.number: instrument for instrument in instruments}
        groups: dict[int, list[str]] = {}
        count = 0
        while instruments and count < limit:
            asked = {**question, "instruments": list(by_number), "limit": limit - count}
            answer = await self._ledger.ask({**asked, "after": after})
            for number, *fields in answer["rows"]:
                text = series.text(fields, tape_of(by_number[number]))
                groups.setdefault(number, []).append(text)
            count += len(answer["rows"])
            after = answer["next"]
            if after is None:
                break
        token = "null" if after is None else f'"{_token(by_number[after[0]], after[1])}"'
        return [(by_number[number], rows) for number, rows in groups.items()], token

    def _question(self, series: Series, query: schemas.SymbolRangeQuery) -> dict[str, Any]:
        first_ns = self._days.start(self._clock.now_ns())
        question = {
            "kind": series.kind,
            "first_ns": _time(query.start, "start", first_ns),
            "last_ns": _time(query.end, "end", LAST_NS),
            "descending": query.sort == "desc",
        }
        if isinstance(query, schemas.SymbolBarsQuery):
            if parse_timeframe(query.timeframe) is None:
                raise invalid(f"invalid timeframe {echo(query.timeframe)}")
            question["timeframe"] = query.timeframe
        return question


def _json(text: str) -> Response:
    return Response(200, text.encode(), JSON)


def _snapshot(newest: list[Any], tape: Tape) -> str:
    parts = zip(_SNAPSHOT, newest, strict=True)
    return ",".join(
        f'"{name}":{"null" if row is None else text(row, tape)}' for (name, text), row in parts
    )


def _time(text: str | msgspec.UnsetType, name: str, default_ns: int) -> int:
    if text is UNSET or not text:
        return default_ns
    found = parse_time(text)
    if found is None:
        raise invalid(f"{name} must be RFC 3339 or YYYY-MM-DD, not {echo(text)}")
    return found


def _token(instrument: Instrument, key: int) -> str:
    return base64.urlsafe_b64encode(f"{instrument.symbol}|{key}".encode()).decode()


def _read_token(token: object, instruments: list[Instrument]) -> list[int]:
    try:
        text = base64.b64decode(str(token), altchars=b"-_", validate=True).decode()
        symbol, _, key = text.rpartition("|")
        number = next(i.number for i in instruments if i.symbol == symbol)
        position = int(key)
    except (binascii.Error, ValueError, StopIteration):
        raise invalid("page_token is not of this question") from None
    if not 0 <= position < LAST_NS:
        raise invalid("page_token is not of this question")
    return [number, position]
