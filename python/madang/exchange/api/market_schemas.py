"""The types of the market-data API: what /openapi.json says. Prices and sizes are JSON numbers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from madang.exchange.api.schemas import Time

LIMIT_MAX = 10_000
Symbols = Annotated[str, Meta(description="symbols, separated by commas", max_length=4_000)]
Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="over all symbols; default 1,000")]
Sort = Literal["asc", "desc"]
Accepted = Annotated[str, Meta(description="accepted; there is one market and one currency")]
PageToken = Annotated[str, Meta(max_length=200)]


class Bar(msgspec.Struct):
    """Open, high, low, close, volume, number of trades, volume-weighted price from `t` on."""

    t: Time
    o: float
    h: float
    l: float  # noqa: E741 - its name in the interface
    c: float
    v: float
    n: int
    vw: float


class Quote(msgspec.Struct, rename={"asize": "as"}):
    """Best ask and bid: exchange, price, size; 0 where there is none."""

    t: Time
    ax: str
    ap: float
    asize: float
    bx: str
    bp: float
    bs: float
    c: list[str]
    z: str


class Trade(msgspec.Struct):
    """A trade: exchange, price, size, conditions, number, tape."""

    t: Time
    x: str
    p: float
    s: float
    c: list[str]
    i: int
    z: str


class Snapshot(msgspec.Struct):
    """The newest of everything about one symbol; null where there is none yet."""

    latestTrade: Trade | None  # noqa: N815 - its name in the interface
    latestQuote: Quote | None  # noqa: N815
    minuteBar: Bar | None  # noqa: N815
    dailyBar: Bar | None  # noqa: N815
    prevDailyBar: Bar | None  # noqa: N815


class SymbolSnapshot(Snapshot):
    """The snapshot of the symbol in the path."""

    symbol: str


class Bars(msgspec.Struct):
    """A page of bars by symbol."""

    bars: dict[str, list[Bar]]
    next_page_token: str | None


class Quotes(msgspec.Struct):
    """A page of quotes by symbol."""

    quotes: dict[str, list[Quote]]
    next_page_token: str | None


class Trades(msgspec.Struct):
    """A page of trades by symbol."""

    trades: dict[str, list[Trade]]
    next_page_token: str | None


class SymbolBars(msgspec.Struct):
    """A page of the bars of one symbol."""

    symbol: str
    bars: list[Bar]
    next_page_token: str | None


class SymbolQuotes(msgspec.Struct):
    """A page of the quotes of one symbol."""

    symbol: str
    quotes: list[Quote]
    next_page_token: str | None


class SymbolTrades(msgspec.Struct):
    """A page of the trades of one symbol."""

    symbol: str
    trades: list[Trade]
    next_page_token: str | None


class LatestBars(msgspec.Struct):
    """The newest minute of each symbol that has one."""

    bars: dict[str, Bar]


class LatestQuotes(msgspec.Struct):
    """The quote of each symbol that has one."""

    quotes: dict[str, Quote]


class LatestTrades(msgspec.Struct):
    """The newest trade of each symbol that has one."""

    trades: dict[str, Trade]


class LatestBar(msgspec.Struct):
    """The newest minute of one symbol."""

    symbol: str
    bar: Bar


class LatestQuote(msgspec.Struct):
    """The quote of one symbol."""

    symbol: str
    quote: Quote


class LatestTrade(msgspec.Struct):
    """The newest trade of one symbol."""

    symbol: str
    trade: Trade


class ActiveStock(msgspec.Struct):
    """What was traded of a symbol on the newest day."""

    symbol: str
    volume: float
    trade_count: int


class MostActives(msgspec.Struct):
    """The symbols most traded."""

    most_actives: list[ActiveStock]
    last_updated: Time


class Mover(msgspec.Struct):
    """How far a symbol moved from the close of the day before (else its reference price)."""

    symbol: str
    percent_change: float
    change: float
    price: float


class Movers(msgspec.Struct):
    """The symbols that moved most."""

    gainers: list[Mover]
    losers: list[Mover]
    market_type: Literal["stocks"]
    last_updated: Time


class SymbolRangeQuery(msgspec.Struct):
    """Which rows of the symbol in the path: from `start` to `end`, both included."""

    start: str | UnsetType = UNSET
    end: str | UnsetType = UNSET
    limit: Limit | UnsetType = UNSET
    sort: Sort | UnsetType = UNSET
    page_token: PageToken | UnsetType = UNSET
    feed: Accepted | UnsetType = UNSET
    asof: Accepted | UnsetType = UNSET
    currency: Accepted | UnsetType = UNSET


class RangeQuery(SymbolRangeQuery, kw_only=True):
    """Which rows of which symbols."""

    symbols: Symbols


class SymbolBarsQuery(SymbolRangeQuery, kw_only=True):
    """Which bars of the symbol in the path."""

    timeframe: Annotated[str, Meta(description="1Min-59Min 1Hour-23Hour 1Day 1Week 1-12Month")]
    adjustment: Accepted | UnsetType = UNSET


class BarsQuery(SymbolBarsQuery, kw_only=True):
    """Which bars of which symbols."""

    symbols: Symbols


class SymbolLatestQuery(msgspec.Struct):
    """Parameters that do not change the answer."""

    feed: Accepted | UnsetType = UNSET
    currency: Accepted | UnsetType = UNSET


class LatestQuery(SymbolLatestQuery, kw_only=True):
    """Which symbols."""

    symbols: Symbols


class MostActivesQuery(msgspec.Struct):
    """How many, by what."""

    by: Literal["volume", "trades"] | UnsetType = UNSET
    top: Annotated[int, Meta(ge=1, le=100)] | UnsetType = UNSET


class MoversQuery(msgspec.Struct):
    """How many of each."""

    top: Annotated[int, Meta(ge=1, le=50)] | UnsetType = UNSET
