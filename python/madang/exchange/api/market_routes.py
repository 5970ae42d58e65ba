"""The routes of market data, as Alpaca's clients call them."""

from __future__ import annotations

from madang.edge import Operation, Role, Route
from madang.exchange.api import market_schemas as schemas
from madang.exchange.api.market import BARS, QUOTES, TRADES, MarketDataMethods
from madang.exchange.api.market_screener import ScreenerMethods

STOCKS = "/v2/stocks"
SCREENER = "/v1beta1/screener/stocks"
TAGS = ("market data",)


def market_routes(data: MarketDataMethods, screener: ScreenerMethods) -> tuple[Route, ...]:
    """Return every route of market data."""
    return (*_series_routes(data), *_latest_routes(data), *_screener_routes(screener))


def _series_routes(data: MarketDataMethods) -> tuple[Route, ...]:
    table = (
        (BARS, schemas.BarsQuery, schemas.SymbolBarsQuery, schemas.Bars, schemas.SymbolBars),
        (QUOTES, schemas.RangeQuery, schemas.SymbolRangeQuery, schemas.Quotes,
            schemas.SymbolQuotes),
        (TRADES, schemas.RangeQuery, schemas.SymbolRangeQuery, schemas.Trades,
            schemas.SymbolTrades),
    )  # fmt: skip
    routes: list[Route] = []
    for series, query, symbol_query, many, single in table:
        routes += (
            Route("GET", f"{STOCKS}/{series.many}", data.many(series), Role.VIEWER, Operation(
                f"Return {series.many} of several symbols", TAGS, query=query,
                responses={200: many},
            )),
            Route("GET", f"{STOCKS}/{{symbol}}/{series.many}", data.single(series), Role.VIEWER,
                Operation(
                    f"Return {series.many} of one symbol", TAGS, query=symbol_query,
                    responses={200: single, 404: None},
                )),
        )  # fmt: skip
    return tuple(routes)


def _latest_routes(data: MarketDataMethods) -> tuple[Route, ...]:
    table = (
        (BARS, schemas.LatestBars, schemas.LatestBar),
        (QUOTES, schemas.LatestQuotes, schemas.LatestQuote),
        (TRADES, schemas.LatestTrades, schemas.LatestTrade),
    )
    routes = [
        Route("GET", f"{STOCKS}/snapshots", data.snapshots, Role.VIEWER, Operation(
            "Return the newest of everything of several symbols", TAGS, query=schemas.LatestQuery,
            responses={200: dict[str, schemas.Snapshot]},
        )),
        Route("GET", f"{STOCKS}/{{symbol}}/snapshot", data.snapshot, Role.VIEWER, Operation(
            "Return the newest of everything of one symbol", TAGS,
            query=schemas.SymbolLatestQuery, responses={200: schemas.SymbolSnapshot, 404: None},
        )),
    ]  # fmt: skip
    for series, many, single in table:
        path = f"{series.many}/latest"
        routes += (
            Route("GET", f"{STOCKS}/{path}", data.latest(series), Role.VIEWER, Operation(
                f"Return the newest {series.one} of several symbols", TAGS,
                query=schemas.LatestQuery, responses={200: many},
            )),
            Route("GET", f"{STOCKS}/{{symbol}}/{path}", data.single_latest(series), Role.VIEWER,
                Operation(
                    f"Return the newest {series.one} of one symbol", TAGS,
                    query=schemas.SymbolLatestQuery, responses={200: single, 404: None},
                )),
        )  # fmt: skip
    return tuple(routes)


def _screener_routes(screener: ScreenerMethods) -> tuple[Route, ...]:
    return (
        Route("GET", f"{SCREENER}/most-actives", screener.most_actives, Role.VIEWER, Operation(
            "Return the symbols most traded", TAGS, query=schemas.MostActivesQuery,
            responses={200: schemas.MostActives},
        )),
        Route("GET", f"{SCREENER}/movers", screener.movers, Role.VIEWER, Operation(
            "Return the symbols that moved most", TAGS, query=schemas.MoversQuery,
            responses={200: schemas.Movers},
        )),
    )  # fmt: skip
