"""Every method of alpaca-py's StockHistoricalDataClient and ScreenerClient, with every field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.alpaca import (
    Adjustment,
    APIError,
    Bar,
    DataFeed,
    MarketMoversRequest,
    MarketType,
    MostActivesBy,
    MostActivesRequest,
    ScreenerClient,
    Sort,
    StockBarsRequest,
    StockHistoricalDataClient,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
    SupportedCurrencies,
    TimeFrame,
    TimeFrameUnit,
)
from tests.support.covers import offers, refuses
from tests.support.venue_fixture import Venue, running_venue

USD = SupportedCurrencies.USD
BOTH = ["AAPL", "MSFT"]
DEALS = 12
MINUTE = TimeFrame(1, TimeFrameUnit.Minute)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        for number in range(DEALS):
            for symbol, base in (("AAPL", 100), ("MSFT", 50)):
                for who, side in (("ann", "sell"), ("bob", "buy")):
                    running.order(
                        who, symbol=symbol, side=side, type="limit", time_in_force="day",
                        qty=str(number + 1), limit_price=f"{base + number % 5}.25",
                    )  # fmt: skip
        yield running


@pytest.fixture
def client(venue: Venue) -> Iterator[StockHistoricalDataClient]:
    yield from _client(venue, raw=False)


@pytest.fixture
def raw(venue: Venue) -> Iterator[StockHistoricalDataClient]:
    yield from _client(venue, raw=True)


def _client(venue: Venue, *, raw: bool) -> Iterator[StockHistoricalDataClient]:
    ann = venue.people["ann"]
    made = StockHistoricalDataClient(ann.key_id, ann.secret, url_override=venue.url, raw_data=raw)
    yield made
    made._session.close()


@pytest.fixture
def screener(venue: Venue) -> Iterator[ScreenerClient]:
    ann = venue.people["ann"]
    made = ScreenerClient(ann.key_id, ann.secret, url_override=venue.url)
    yield made
    made._session.close()


def a_span() -> dict[str, Any]:
    return {
        "start": datetime.now(UTC) - timedelta(minutes=30),
        "end": datetime.now(UTC) + timedelta(minutes=1),
        "currency": USD,
    }


@offers(
    "StockHistoricalDataClient.get_stock_trades", "StockTradesRequest.symbol_or_symbols",
    "StockTradesRequest.start", "StockTradesRequest.end", "StockTradesRequest.limit",
    "StockTradesRequest.currency", "StockTradesRequest.sort", "StockTradesRequest.feed",
    "StockTradesRequest.asof",
)  # fmt: skip
def test_trades_by_every_field(client: StockHistoricalDataClient) -> None:
    def trades(**fields: object) -> dict[str, list[Any]]:
        asked: dict[str, Any] = {"symbol_or_symbols": BOTH, **a_span(), **fields}
        found: Any = client.get_stock_trades(StockTradesRequest(**asked))
        rows: dict[str, list[Any]] = found.data
        return rows

    whole = trades()
    assert {symbol: len(rows) for symbol, rows in whole.items()} == dict.fromkeys(BOTH, DEALS)
    for feed in (DataFeed.IEX, DataFeed.SIP, DataFeed.DELAYED_SIP):
        assert trades(feed=feed, asof="2026-01-31") == whole, "there is one market"
    newest = trades(sort=Sort.DESC, limit=15)
    assert newest["AAPL"] == whole["AAPL"][::-1]
    assert newest["MSFT"] == whole["MSFT"][:-4:-1], "the limit counts over all symbols"
    third = whole["AAPL"][2]
    assert trades(symbol_or_symbols="AAPL", end=third.timestamp + timedelta(microseconds=1)) == {
        "AAPL": whole["AAPL"][:3]
    }
    assert trades(start=datetime.now(UTC)) == {}


@offers(
    "StockHistoricalDataClient.get_stock_quotes", "StockQuotesRequest.symbol_or_symbols",
    "StockQuotesRequest.start", "StockQuotesRequest.end", "StockQuotesRequest.limit",
    "StockQuotesRequest.currency", "StockQuotesRequest.sort", "StockQuotesRequest.feed",
    "StockQuotesRequest.asof",
)  # fmt: skip
def test_quotes_by_every_field(client: StockHistoricalDataClient) -> None:
    def quotes(**fields: object) -> list[Any]:
        asked: dict[str, Any] = {"symbol_or_symbols": "AAPL", **a_span(), **fields}
        found: Any = client.get_stock_quotes(StockQuotesRequest(**asked))
        rows: list[Any] = found.data.get("AAPL", [])
        return rows

    whole = quotes()
    assert len(whole) > 1
    assert quotes(sort=Sort.DESC, limit=2) == whole[:-3:-1]
    assert quotes(feed=DataFeed.SIP, asof="2026-01-31") == whole
    assert quotes(end=whole[0].timestamp - timedelta(seconds=1)) == []


@offers(
    "StockHistoricalDataClient.get_stock_bars", "StockBarsRequest.symbol_or_symbols",
    "StockBarsRequest.start", "StockBarsRequest.end", "StockBarsRequest.limit",
    "StockBarsRequest.currency", "StockBarsRequest.sort", "StockBarsRequest.timeframe",
    "StockBarsRequest.adjustment", "StockBarsRequest.feed", "StockBarsRequest.asof",
)  # fmt: skip
def test_bars_by_every_field(client: StockHistoricalDataClient) -> None:
    def bars(**fields: object) -> dict[str, list[Bar]]:
        asked: dict[str, Any] = {
            "symbol_or_symbols": BOTH, "timeframe": TimeFrame.Day, **a_span(), "start": None,
            **fields,
        }  # fmt: skip
        found: Any = client.get_stock_bars(StockBarsRequest(**asked))
        rows: dict[str, list[Bar]] = found.data
        return rows

    days = bars()
    assert {symbol: len(rows) for symbol, rows in days.items()} == dict.fromkeys(BOTH, 1)
    assert (days["AAPL"][0].volume, days["AAPL"][0].trade_count) == (78, DEALS)
    for adjustment in Adjustment:
        assert bars(adjustment=adjustment, feed=DataFeed.SIP, asof="2026-01-31") == days
    assert list(bars(limit=1)) == ["AAPL"]
    minutes = bars(timeframe=MINUTE)
    assert sum(bar.volume for bar in minutes["MSFT"]) == 78
    back = bars(timeframe=MINUTE, sort=Sort.DESC)
    assert {symbol: rows[::-1] for symbol, rows in back.items()} == minutes
    for unit, amounts in (
        (TimeFrameUnit.Minute, (2, 59)), (TimeFrameUnit.Hour, (1, 23)), (TimeFrameUnit.Day, (1,)),
        (TimeFrameUnit.Week, (1,)), (TimeFrameUnit.Month, (1, 2, 3, 6, 12)),
    ):  # fmt: skip
        for amount in amounts:
            start = datetime.now(UTC) - timedelta(days=400)
            found = bars(timeframe=TimeFrame(amount, unit), start=start)
            assert sum(bar.trade_count or 0 for bar in found["AAPL"]) == DEALS
    assert bars(end=datetime(2026, 1, 1, tzinfo=UTC), start=datetime(2025, 1, 1, tzinfo=UTC)) == {}


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_the_data_frame_that_users_plot(client: StockHistoricalDataClient) -> None:
    found: Any = client.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=BOTH, timeframe=TimeFrame.Day)
    )
    frame = found.df
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "trade_count", "vwap"]
    assert frame.loc["AAPL"]["high"].max() == 104.25


@offers(
    "StockHistoricalDataClient.get_stock_latest_trade",
    "StockHistoricalDataClient.get_stock_latest_quote",
    "StockHistoricalDataClient.get_stock_latest_bar",
    "StockHistoricalDataClient.get_stock_snapshot",
    "StockLatestTradeRequest.symbol_or_symbols", "StockLatestTradeRequest.feed",
    "StockLatestTradeRequest.currency", "StockLatestQuoteRequest.symbol_or_symbols",
    "StockLatestQuoteRequest.feed", "StockLatestQuoteRequest.currency",
    "StockLatestBarRequest.symbol_or_symbols", "StockLatestBarRequest.feed",
    "StockLatestBarRequest.currency", "StockSnapshotRequest.symbol_or_symbols",
    "StockSnapshotRequest.feed", "StockSnapshotRequest.currency",
)  # fmt: skip
def test_the_newest_by_every_field(client: StockHistoricalDataClient) -> None:
    for feed in (DataFeed.IEX, DataFeed.SIP, None):
        trades = client.get_stock_latest_trade(
            StockLatestTradeRequest(symbol_or_symbols=[*BOTH, "NOPE"], feed=feed, currency=USD)
        )
        assert {symbol: trade.price for symbol, trade in trades.items()} == {
            "AAPL": 101.25, "MSFT": 51.25,
        }  # fmt: skip
        quotes = client.get_stock_latest_quote(
            StockLatestQuoteRequest(symbol_or_symbols="AAPL", feed=feed, currency=USD)
        )
        assert quotes["AAPL"].ask_price == 0, "nothing is offered"
        bars = client.get_stock_latest_bar(
            StockLatestBarRequest(symbol_or_symbols=BOTH, feed=feed, currency=USD)
        )
        assert bars["AAPL"].close == 101.25
        snapshots = client.get_stock_snapshot(
            StockSnapshotRequest(symbol_or_symbols=[*BOTH, "ZZZZ"], feed=feed, currency=USD)
        )
        assert snapshots["MSFT"].daily_bar
        assert snapshots["MSFT"].daily_bar.volume == 78
        assert "ZZZZ" not in snapshots


@offers("StockHistoricalDataClient.get", "StockHistoricalDataClient.response_wrapper")
def test_raw_data_is_what_was_sent(raw: StockHistoricalDataClient) -> None:
    bars: Any = raw.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=BOTH, timeframe=TimeFrame.Day)
    )
    assert bars["AAPL"][0].keys() == {"t", "o", "h", "l", "c", "v", "n", "vw"}
    trades: Any = raw.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAPL", limit=3))
    assert [trade["s"] for trade in trades["AAPL"]] == [1, 2, 3]
    assert trades["AAPL"][0].keys() == {"t", "x", "p", "s", "c", "i", "z"}
    quotes: Any = raw.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))
    assert quotes["AAPL"].keys() == {"t", "ax", "ap", "as", "bx", "bp", "bs", "c", "z"}
    single: Any = raw.get("/stocks/AAPL/bars/latest")
    assert single["bar"]["c"] == 101.25
    assert raw.response_wrapper(Bar, single["bar"], symbol="AAPL") == single["bar"]


@refuses("StockHistoricalDataClient.post", "StockHistoricalDataClient.put",
         "StockHistoricalDataClient.patch", "StockHistoricalDataClient.delete",
         "ScreenerClient.post", "ScreenerClient.put", "ScreenerClient.patch",
         "ScreenerClient.delete")  # fmt: skip
def test_market_data_cannot_be_changed(
    client: StockHistoricalDataClient, screener: ScreenerClient
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.post("/stocks/bars", {}), lambda: client.put("/stocks/bars", {}),
        lambda: client.patch("/stocks/bars", {}), lambda: client.delete("/stocks/bars"),
        lambda: screener.post("/screener/stocks/movers", {}),
        lambda: screener.put("/screener/stocks/movers", {}),
        lambda: screener.patch("/screener/stocks/movers", {}),
        lambda: screener.delete("/screener/stocks/movers"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(APIError) as caught:
            call()
        assert caught.value.status_code == 405
        assert caught.value.code


@offers(
    "ScreenerClient.get_most_actives", "ScreenerClient.get_market_movers",
    "ScreenerClient.get", "ScreenerClient.response_wrapper", "MostActivesRequest.top",
    "MostActivesRequest.by", "MarketMoversRequest.top", "MarketMoversRequest.market_type",
)  # fmt: skip
def test_the_screener(screener: ScreenerClient) -> None:
    for by in MostActivesBy:
        found: Any = screener.get_most_actives(MostActivesRequest(top=1, by=by))
        assert [(row.symbol, row.volume) for row in found.most_actives] == [("AAPL", 78)]
    movers: Any = screener.get_market_movers(
        MarketMoversRequest(top=2, market_type=MarketType.STOCKS)
    )
    assert [(row.symbol, row.percent_change) for row in movers.gainers] == [
        ("MSFT", 2.5), ("AAPL", 1.25),
    ]  # fmt: skip
    plain: Any = screener.get("/screener/stocks/movers", {"top": 2})
    assert plain["gainers"][0]["price"] == 51.25
    screener._use_raw_data = True
    assert screener.response_wrapper(type(movers), plain) == plain


@refuses("ScreenerClient.get_market_movers", "ScreenerClient.get_most_actives")
def test_what_the_screener_has_not(screener: ScreenerClient) -> None:
    with pytest.raises(APIError) as caught:
        screener.get_market_movers(MarketMoversRequest(top=2, market_type=MarketType.CRYPTO))
    assert caught.value.status_code == 404
    with pytest.raises(APIError) as caught:
        screener.get_most_actives(MostActivesRequest(top=101, by=MostActivesBy.TRADES))
    assert caught.value.status_code == 422


@pytest.mark.parametrize("kind", [StockHistoricalDataClient, ScreenerClient])
def test_every_way_to_sign_in(venue: Venue, kind: type[Any]) -> None:
    ann = venue.people["ann"]
    path = "/stocks/AAPL/trades/latest" if kind is StockHistoricalDataClient else (
        "/screener/stocks/movers"
    )  # fmt: skip
    for options in ({}, {"use_basic_auth": True}) if kind is StockHistoricalDataClient else ({},):
        client = kind(ann.key_id, ann.secret, url_override=venue.url, **options)
        assert client.get(path)
        client._session.close()
    for key, secret in ((ann.key_id, "wrong"), ("nobody", ann.secret)):
        client = kind(key, secret, url_override=venue.url)
        with pytest.raises(APIError) as caught:
            client.get(path)
        assert (caught.value.status_code, caught.value.code) == (401, 40110000)
        client._session.close()
    client = kind(oauth_token="a token", url_override=venue.url)
    with pytest.raises(APIError) as caught:
        client.get(path)
    assert caught.value.status_code == 401
    client._session.close()
