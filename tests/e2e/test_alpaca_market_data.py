"""Bars, quotes, trades, snapshots and the screener as the unmodified alpaca-py reads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.alpaca import (
    APIError,
    BarSet,
    MarketMoversRequest,
    MostActives,
    MostActivesBy,
    MostActivesRequest,
    Movers,
    QuoteSet,
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
    TimeFrame,
    TimeFrameUnit,
    TradeSet,
)
from tests.support.venue_fixture import Venue, running_venue

DEALS = [
    ("AAPL", "101.5", "3"), ("MSFT", "49.25", "2"), ("AAPL", "99", "1"), ("AAPL", "102.01", "4"),
    ("MSFT", "48", "10"),
]  # fmt: skip
BOTH = ["MSFT", "AAPL"]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        for symbol, price, qty in DEALS:
            deal(running, symbol, price, qty)
        quote(running, "AAPL", "98.5", "7", "buy")
        quote(running, "AAPL", "103.25", "9", "sell")
        yield running


def quote(venue: Venue, symbol: str, price: str, qty: str, side: str) -> None:
    venue.order(
        "ann", symbol=symbol, side=side, type="limit", time_in_force="gtc", qty=qty,
        limit_price=price,
    )  # fmt: skip


def deal(venue: Venue, symbol: str, price: str, qty: str) -> None:
    quote(venue, symbol, price, qty, "sell")
    answer = venue.order(
        "bob", symbol=symbol, side="buy", type="limit", time_in_force="day", qty=qty,
        limit_price=price,
    )  # fmt: skip
    assert answer["status"] == "filled"


@pytest.fixture
def client(venue: Venue) -> Iterator[StockHistoricalDataClient]:
    ann = venue.people["ann"]
    made = StockHistoricalDataClient(ann.key_id, ann.secret, url_override=venue.url)
    yield made
    made._session.close()


def prices(symbol: str) -> list[float]:
    return [float(price) for name, price, _ in DEALS if name == symbol]


def test_trades_come_back_as_they_were_made(client: StockHistoricalDataClient) -> None:
    found = client.get_stock_trades(StockTradesRequest(symbol_or_symbols=BOTH))
    assert isinstance(found, TradeSet)
    assert {symbol: [t.price for t in rows] for symbol, rows in found.data.items()} == {
        symbol: prices(symbol) for symbol in BOTH
    }
    rows = found.data["AAPL"]
    assert [t.id for t in rows] == [1, 3, 4]
    assert [t.size for t in rows] == [3, 1, 4]
    assert (rows[0].exchange, rows[0].conditions) == ("Q", [])
    assert abs(rows[0].timestamp - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_read_sees_the_trade_that_was_just_acknowledged(
    venue: Venue, client: StockHistoricalDataClient
) -> None:
    for number in range(10):
        price = f"{40 + number}.5"
        deal(venue, "ZZZZ", price, "1")
        newest = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="ZZZZ"))
        assert newest["ZZZZ"].price == float(price)
    request = StockTradesRequest(symbol_or_symbols="ZZZZ", sort=Sort.DESC, limit=3)
    found = client.get_stock_trades(request)
    assert isinstance(found, TradeSet)
    assert [t.price for t in found.data["ZZZZ"]] == [49.5, 48.5, 47.5]


def test_pages_join_to_the_whole(venue: Venue) -> None:
    path = "/v2/stocks/trades?symbols=MSFT,AAPL&limit=2&feed=sip&currency=USD&asof=2026-01-01"
    rows: list[tuple[str, int]] = []
    token = ""
    pages = 0
    while True:
        answer = venue.call("ann", "GET", f"{path}{token}").json()
        page = [(symbol, t["i"]) for symbol, group in answer["trades"].items() for t in group]
        assert 0 < len(page) <= 2
        rows += page
        pages += 1
        if answer["next_page_token"] is None:
            break
        token = f"&page_token={answer['next_page_token']}"
    assert rows == [("AAPL", 1), ("AAPL", 3), ("AAPL", 4), ("MSFT", 2), ("MSFT", 5)]
    assert pages == 3


@pytest.mark.parametrize(
    "timeframe",
    [
        TimeFrame.Minute, TimeFrame(7, TimeFrameUnit.Minute), TimeFrame.Hour, TimeFrame.Day,
        TimeFrame.Week, TimeFrame(3, TimeFrameUnit.Month),
    ],
    ids=str,
)  # fmt: skip
def test_bars_equal_the_trades(client: StockHistoricalDataClient, timeframe: TimeFrame) -> None:
    start = datetime.now(UTC) - timedelta(days=400)
    request = StockBarsRequest(symbol_or_symbols=BOTH, timeframe=timeframe, start=start)
    found = client.get_stock_bars(request)
    assert isinstance(found, BarSet)
    for symbol in BOTH:
        bars, traded = found.data[symbol], prices(symbol)
        assert (bars[0].open, bars[-1].close) == (traded[0], traded[-1])
        assert max(bar.high for bar in bars) == max(traded)
        assert min(bar.low for bar in bars) == min(traded)
        sizes = [int(qty) for name, _, qty in DEALS if name == symbol]
        assert sum(bar.volume for bar in bars) == sum(sizes)
        assert sum(bar.trade_count or 0 for bar in bars) == len(traded)
        if len(bars) == 1:
            value = sum(p * s for p, s in zip(traded, sizes, strict=True))
            assert bars[0].vwap == pytest.approx(value / sum(sizes), abs=1e-6)


def test_the_newest_of_everything(client: StockHistoricalDataClient) -> None:
    quotes = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))
    found = quotes["AAPL"]
    assert (found.bid_price, found.bid_size) == (98.5, 7)
    assert (found.ask_price, found.ask_size) == (103.25, 9)
    bars = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=BOTH))
    assert {symbol: bar.close for symbol, bar in bars.items()} == {"AAPL": 102.01, "MSFT": 48}
    snapshots = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=BOTH))
    snapshot = snapshots["AAPL"]
    assert snapshot.latest_trade
    assert snapshot.latest_trade.price == 102.01
    assert snapshot.latest_quote
    assert snapshot.latest_quote.ask_price == 103.25
    assert snapshot.daily_bar
    assert (snapshot.daily_bar.open, snapshot.daily_bar.volume) == (101.5, 8)
    assert snapshot.minute_bar
    assert snapshot.minute_bar.close == 102.01
    assert snapshot.previous_daily_bar is None


def test_quotes_end_with_the_newest(client: StockHistoricalDataClient) -> None:
    found = client.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="AAPL"))
    assert isinstance(found, QuoteSet)
    last = found.data["AAPL"][-1]
    assert (last.bid_price, last.ask_price, last.bid_exchange) == (98.5, 103.25, "Q")
    times = [q.timestamp for q in found.data["AAPL"]]
    assert times == sorted(times)


def test_symbols_without_data_are_left_out(client: StockHistoricalDataClient) -> None:
    request = StockTradesRequest(symbol_or_symbols=["NONE", "MSFT"])
    found = client.get_stock_trades(request)
    assert isinstance(found, TradeSet)
    assert list(found.data) == ["MSFT"]


def test_a_time_in_the_past_has_nothing(client: StockHistoricalDataClient) -> None:
    request = StockTradesRequest(
        symbol_or_symbols="AAPL",
        start=datetime(2020, 1, 1, tzinfo=UTC),
        end=datetime(2020, 1, 2, tzinfo=UTC),
    )
    found = client.get_stock_trades(request)
    assert isinstance(found, TradeSet)
    assert found.data == {}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/stocks/bars?symbols=AAPL&timeframe=2Day",
        "/v2/stocks/bars?symbols=AAPL",
        "/v2/stocks/trades?symbols=AAPL&limit=10001",
        "/v2/stocks/trades?symbols=AAPL&start=yesterday",
        "/v2/stocks/trades?symbols=AAPL&page_token=AAAA",
        "/v2/stocks/trades",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(venue: Venue, path: str) -> None:
    answer = venue.call("ann", "GET", path)
    assert answer.status == 422
    assert {"code", "message"} <= answer.json().keys()


def test_one_symbol_in_the_path(venue: Venue) -> None:
    def get(path: str) -> dict[str, Any]:
        answer = venue.call("ann", "GET", f"/v2/stocks/AAPL/{path}")
        assert answer.status == 200, answer.body
        return answer.json()

    trades = get("trades?limit=2")
    assert (trades["symbol"], [t["p"] for t in trades["trades"]]) == ("AAPL", [101.5, 99])
    assert trades["next_page_token"]
    assert [b["v"] for b in get("bars?timeframe=1Day")["bars"]] == [8]
    assert get("quotes/latest")["quote"]["ap"] == 103.25
    assert get("trades/latest")["trade"]["i"] == 4
    assert get("bars/latest")["bar"]["c"] == 102.01
    assert get("snapshot")["dailyBar"]["h"] == 102.01
    assert venue.call("ann", "GET", "/v2/stocks/NONE/trades/latest").status == 404
    assert venue.call(None, "GET", "/v2/stocks/AAPL/trades").status == 401


def test_who_is_traded_most_and_who_moves(venue: Venue) -> None:
    ann = venue.people["ann"]
    screener = ScreenerClient(ann.key_id, ann.secret, url_override=venue.url)
    try:
        actives = screener.get_most_actives(MostActivesRequest(by=MostActivesBy.VOLUME, top=2))
        assert isinstance(actives, MostActives)
        assert [a.volume for a in actives.most_actives][-1] <= actives.most_actives[0].volume
        by_trades = screener.get_most_actives(MostActivesRequest(by=MostActivesBy.TRADES, top=5))
        assert isinstance(by_trades, MostActives)
        counts = {a.symbol: (a.volume, a.trade_count) for a in by_trades.most_actives}
        assert (counts["AAPL"], counts["MSFT"]) == ((8, 3), (12, 2))
        movers = screener.get_market_movers(MarketMoversRequest(top=5))
        assert isinstance(movers, Movers)
        gained = {m.symbol: (m.change, m.percent_change, m.price) for m in movers.gainers}
        assert gained["AAPL"] == (2.01, 2.01, 102.01)
        assert [(m.symbol, m.change, m.percent_change) for m in movers.losers] == [
            ("MSFT", -2.0, -4.0)
        ]
        with pytest.raises(APIError):
            screener.get_market_movers(MarketMoversRequest(top=51))
    finally:
        screener._session.close()


def test_history_survives_the_ledger(venue: Venue, client: StockHistoricalDataClient) -> None:
    request = StockBarsRequest(symbol_or_symbols=BOTH, timeframe=TimeFrame.Day)
    before = client.get_stock_bars(request)
    venue.kill("ledger")
    after = client.get_stock_bars(request)
    assert isinstance(before, BarSet)
    assert isinstance(after, BarSet)
    assert after.data == before.data
