"""Every method of alpaca-py's TradingStream and StockDataStream, delivered by the real product."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.support.alpaca import (
    Bar,
    DataFeed,
    Quote,
    StockDataStream,
    Trade,
    TradeUpdate,
    TradingStatus,
    TradingStream,
)
from tests.support.covers import offers
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LIMIT_S = 20.0
MINUTE_LIMIT_S = 75.0


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        yield running


class Heard:
    """What the handlers of one stream were called with."""

    def __init__(self, stream: TradingStream | StockDataStream) -> None:
        self.stream = stream
        self.all: list[Any] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=stream.run)
        stream._reconnect_min_backoff = 0.05

    async def take(self, message: object) -> None:
        """Keep what a handler gets."""
        self.all.append(message)

    def of(self, kind: type, symbol: str | None = None) -> list[Any]:
        """Return what came of one kind, of one symbol if named."""
        return [
            one for one in list(self.all)
            if isinstance(one, kind) and symbol in (None, getattr(one, "symbol", None))
        ]  # fmt: skip

    def start(self) -> None:
        """Run the stream in a thread and wait until it is connected."""
        self._thread.start()
        wait_for(lambda: self.stream._running, LIMIT_S, "the stream")

    def wait_for_end(self, venue: Venue) -> None:
        """Wait until the stream has ended; it looks whether it should after each message."""
        limit_s = time.monotonic() + LIMIT_S
        while self._thread.is_alive():
            assert time.monotonic() < limit_s, "the client does not stop"
            deal(venue, "AAPL", "97")
            self._thread.join(0.05)

    def call(self, coroutine: Any) -> None:  # noqa: ANN401 - of the client
        """Run a coroutine of the client on its own loop."""
        loop: Any = self.stream._loop
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(LIMIT_S)


@contextmanager
def data_stream(
    venue: Venue, subscribe: Callable[[StockDataStream, Heard], None], **options: object
) -> Iterator[Heard]:  # fmt: skip
    ann, chosen = venue.people["ann"], dict[str, Any](options)
    url = f"ws://127.0.0.1:{venue.port}/v2/{chosen.get('feed', DataFeed.IEX).value}"
    heard = Heard(StockDataStream(ann.key_id, ann.secret, url_override=url, **chosen))
    stream: Any = heard.stream
    subscribe(stream, heard)
    heard.start()
    try:
        yield heard
    finally:
        stream.stop()
        heard.wait_for_end(venue)


def order(venue: Venue, who: str, side: str, symbol: str, price: str, qty: str) -> dict[str, Any]:
    return venue.order(
        who, symbol=symbol, side=side, type="limit", time_in_force="day", qty=qty,
        limit_price=price,
    )  # fmt: skip


def has_heard(heard: Heard) -> bool:
    return bool(heard.all)


def deal(venue: Venue, symbol: str, price: str, qty: str = "1") -> None:
    order(venue, "ann", "sell", symbol, price, qty)
    order(venue, "bob", "buy", symbol, price, qty)


def until(venue: Venue, condition: Callable[[], bool], symbol: str = "AAPL") -> None:
    """Deal until a condition holds: a subscription is effective a moment after it was sent."""
    limit_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s, "the stream stays silent"
        deal(venue, symbol, "96")
        time.sleep(0.02)


@offers(
    "StockDataStream.subscribe_trades", "StockDataStream.subscribe_quotes",
    "StockDataStream.subscribe_trading_statuses", "StockDataStream.subscribe_updated_bars",
    "StockDataStream.register_trade_corrections", "StockDataStream.register_trade_cancels",
    "StockDataStream.run", "StockDataStream.stop",
)  # fmt: skip
@pytest.mark.parametrize("feed", [DataFeed.IEX, DataFeed.SIP])
def test_several_symbols_and_handlers(venue: Venue, feed: DataFeed) -> None:
    def subscribe(stream: StockDataStream, heard: Heard) -> None:
        stream.subscribe_trades(heard.take, "AAPL", "MSFT")
        stream.subscribe_quotes(heard.take, "*")
        stream.subscribe_updated_bars(heard.take, "AAPL")
        stream.subscribe_trading_statuses(heard.take, "MSFT")
        stream.register_trade_corrections(heard.take)
        stream.register_trade_cancels(heard.take)

    with data_stream(venue, subscribe, feed=feed) as heard:
        until(venue, lambda: bool(heard.of(Trade)))
        deal(venue, "MSFT", "51.25", "2")
        wait_for(lambda: bool(heard.of(Trade, "MSFT")), LIMIT_S, "the second symbol")
        trade = heard.of(Trade, "MSFT")[-1]
        assert (trade.price, trade.size, trade.exchange, trade.tape) == (51.25, 2, "Q", "C")
        deal(venue, "ZZZZ", "3.5")
        order(venue, "ann", "sell", "ZZZZ", "9.5", "4")
        wait_for(
            lambda: any(quote.ask_price == 9.5 for quote in heard.of(Quote, "ZZZZ")), LIMIT_S,
            "the quote of any symbol",
        )  # fmt: skip
        assert heard.of(Trade, "ZZZZ") == [], "not asked for"
        venue.madang("venue", "halt", "MSFT")
        venue.madang("venue", "open", "MSFT")
        wait_for(lambda: len(heard.of(TradingStatus)) == 2, LIMIT_S, "the statuses")
        assert [one.status_code for one in heard.of(TradingStatus)] == ["H", "T"]
    venue.call("ann", "DELETE", "/v2/orders")


@offers(
    "StockDataStream.unsubscribe_trades", "StockDataStream.unsubscribe_quotes",
    "StockDataStream.unsubscribe_bars", "StockDataStream.unsubscribe_updated_bars",
    "StockDataStream.unsubscribe_daily_bars", "StockDataStream.unsubscribe_trading_statuses",
)  # fmt: skip
def test_what_is_unsubscribed_stays_away_and_can_be_had_again(venue: Venue) -> None:
    def subscribe(stream: StockDataStream, heard: Heard) -> None:
        stream.subscribe_trades(heard.take, "AAPL", "MSFT")
        for each in (
            stream.subscribe_quotes, stream.subscribe_bars, stream.subscribe_updated_bars,
            stream.subscribe_daily_bars, stream.subscribe_trading_statuses,
        ):  # fmt: skip
            each(heard.take, "AAPL")

    with data_stream(venue, subscribe) as heard:
        stream: Any = heard.stream
        until(venue, lambda: bool(heard.of(Trade, "AAPL")))
        stream.unsubscribe_trades("AAPL")
        for each in (
            stream.unsubscribe_quotes, stream.unsubscribe_bars, stream.unsubscribe_updated_bars,
            stream.unsubscribe_daily_bars, stream.unsubscribe_trading_statuses,
        ):  # fmt: skip
            each("AAPL")
        until(venue, lambda: len(heard.of(Trade, "MSFT")) > 2, "MSFT")
        before = len(heard.of(Trade, "AAPL"))
        deal(venue, "AAPL", "95.5")
        deal(venue, "MSFT", "52.5")
        wait_for(lambda: heard.of(Trade, "MSFT")[-1].price == 52.5, LIMIT_S, "the other symbol")
        assert len(heard.of(Trade, "AAPL")) == before
        stream.subscribe_trades(heard.take, "AAPL")
        until(venue, lambda: len(heard.of(Trade, "AAPL")) > before)


def test_raw_data_is_the_message_itself(venue: Venue) -> None:
    def subscribe(stream: StockDataStream, heard: Heard) -> None:
        stream.subscribe_trades(heard.take, "*")
        stream.subscribe_quotes(heard.take, "AAPL")

    with data_stream(venue, subscribe, raw_data=True) as heard:
        until(venue, lambda: {"t", "q"} <= {one["T"] for one in heard.all})
        by_kind = {one["T"]: one for one in heard.all}
        assert by_kind["t"].keys() == {"T", "S", "i", "x", "p", "s", "c", "t", "z"}
        assert by_kind["q"].keys() == {
            "T", "S", "bx", "bp", "bs", "ax", "ap", "as", "c", "t", "z",
        }  # fmt: skip
        assert by_kind["t"]["t"].to_unix() > 1_700_000_000


def test_more_symbols_than_fit_one_frame_are_subscribed(venue: Venue) -> None:
    """The client cuts what is longer than 32 KiB into parts; symbols nobody knows are silent."""

    def subscribe(stream: StockDataStream, heard: Heard) -> None:
        stream._max_frame_size = 512
        stream.subscribe_trades(heard.take, "AAPL", *(f"NONE{n}" for n in range(900)))

    with data_stream(venue, subscribe) as heard:
        until(venue, lambda: bool(heard.of(Trade, "AAPL")))


def comes_back_and_ends(venue: Venue, heard: Heard) -> None:
    until(venue, partial(has_heard, heard))
    stream: Any = heard.stream
    former = stream._ws
    heard.call(former.close())
    wait_for(lambda: stream._ws not in (None, former), LIMIT_S, "the stream again")
    count = len(heard.all)
    until(venue, lambda: len(heard.all) > count)
    heard.call(stream.close())
    heard.call(stream.stop_ws())
    heard.wait_for_end(venue)


@offers("StockDataStream.stop_ws", "StockDataStream.close", "TradingStream.run",
        "TradingStream.close", "TradingStream.stop_ws",
        "TradingStream.subscribe_trade_updates")  # fmt: skip
@pytest.mark.parametrize("raw", [False, True])
def test_a_closed_stream_comes_back_and_a_stopped_one_ends(venue: Venue, raw: bool) -> None:
    ann = venue.people["ann"]
    data = f"ws://127.0.0.1:{venue.port}/v2/iex"
    trading = TradingStream(ann.key_id, ann.secret, url_override=venue.stream_url, raw_data=raw)
    market = StockDataStream(ann.key_id, ann.secret, url_override=data, raw_data=raw)
    updates, trades = Heard(trading), Heard(market)
    trading.subscribe_trade_updates(updates.take)
    market.subscribe_trades(trades.take, "AAPL")
    for heard in (updates, trades):
        heard.start()
    for heard in (updates, trades):
        comes_back_and_ends(venue, heard)
    assert isinstance(updates.all[-1], dict if raw else TradeUpdate)
    assert isinstance(trades.all[-1], dict if raw else Trade)


@offers("TradingStream.stop")
def test_a_trading_stream_hears_its_own_account_only(venue: Venue) -> None:
    heard: dict[str, Heard] = {}
    for name in ("ann", "bob"):
        person = venue.people[name]
        stream = TradingStream(person.key_id, person.secret, url_override=venue.stream_url)
        heard[name] = Heard(stream)
        stream.subscribe_trade_updates(heard[name].take)
        heard[name].start()
    for one in heard.values():
        until(venue, partial(has_heard, one))
    placed = order(venue, "ann", "buy", "AAPL", "70", "1")
    venue.call("ann", "DELETE", f"/v2/orders/{placed['id']}")

    def told(name: str) -> list[tuple[str, object]]:
        return [
            (update.event, update.order.side) for update in heard[name].of(TradeUpdate)
            if str(update.order.id) == placed["id"]
        ]  # fmt: skip

    wait_for(lambda: len(told("ann")) == 2, LIMIT_S, "both events")
    assert [event for event, _ in told("ann")] == ["new", "canceled"]
    assert told("bob") == []
    for one in heard.values():
        one.stream.stop()
        one.wait_for_end(venue)


@offers("StockDataStream.subscribe_bars", "StockDataStream.subscribe_daily_bars")
def test_bars_of_the_stream_equal_the_trades_and_the_history(venue: Venue) -> None:
    """Opened here, closed by the minute: the one test that must wait for the clock."""

    days: list[Any] = []

    async def take_day(bar: object) -> None:
        days.append(bar)

    def subscribe(stream: StockDataStream, heard: Heard) -> None:
        stream.subscribe_bars(heard.take, "AAPL", "MSFT")
        stream.subscribe_daily_bars(take_day, "*")

    with data_stream(venue, subscribe) as heard:
        for number in range(20):
            deal(venue, "MSFT", f"{50 + number % 3}.{number:02d}", f"{number + 1}")
        wait_for(
            lambda: bool(heard.of(Bar, "MSFT")) and "MSFT" in {day.symbol for day in days},
            MINUTE_LIMIT_S, "the end of the minute",
        )  # fmt: skip
        minute = heard.of(Bar, "MSFT")[0]
        day = next(day for day in days if day.symbol == "MSFT")
    begin = minute.timestamp.isoformat().replace("+00:00", "Z")
    path = f"/v2/stocks/MSFT/%s&start={begin}&end={begin[:17]}59.999999999Z"
    trades = venue.call("ann", "GET", path % "trades?limit=10000").json()["trades"]
    assert minute.volume == sum(trade["s"] for trade in trades)
    assert minute.trade_count == len(trades)
    bars = venue.call("ann", "GET", path % "bars?timeframe=1Min").json()["bars"]
    told = (
        minute.open, minute.high, minute.low, minute.close, minute.volume, minute.trade_count,
        minute.vwap,
    )  # fmt: skip
    assert [tuple(bar[name] for name in ("o", "h", "l", "c", "v", "n", "vw")) for bar in bars] == [
        told
    ]
    whole = venue.call("ann", "GET", "/v2/stocks/MSFT/bars?timeframe=1Day").json()["bars"][-1]
    assert minute.volume <= day.volume <= whole["v"]
    assert (day.open, day.timestamp.isoformat()[:10]) == (whole["o"], whole["t"][:10])
