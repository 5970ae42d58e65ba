"""The data stream: unmodified alpaca-py, raw clients of both codecs, errors, and what dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.alpaca import Quote, StockDataStream, Trade
from tests.support.data_stream import Book, DataClient, Message, data_client
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        yield running


def url(venue: Venue, feed: str = "iex") -> str:
    return f"ws://127.0.0.1:{venue.port}/v2/{feed}"


def order(venue: Venue, who: str, side: str, price: str, qty: str, symbol: str = "AAPL") -> str:
    fields = {
        "symbol": symbol, "side": side, "type": "limit", "time_in_force": "day", "qty": qty,
        "limit_price": price,
    }  # fmt: skip
    limit_s = time.monotonic() + LIMIT_S
    while True:  # a worker may be away
        with contextlib.suppress(OSError):
            answer = venue.call(who, "POST", "/v2/orders", fields)
            if answer.status == 200:
                return str(answer.json()["id"])
            assert answer.status == 503, answer.body
        assert time.monotonic() < limit_s
        time.sleep(0.02)


def deal(venue: Venue, price: str, qty: str = "1", symbol: str = "AAPL") -> None:
    order(venue, "ann", "sell", price, qty, symbol)
    order(venue, "bob", "buy", price, qty, symbol)


@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
@pytest.mark.parametrize("feed", ["iex", "sip", "test"])
def test_what_is_traded_and_offered_arrives_in_both_codecs(
    venue: Venue, feed: str, packed: bool
) -> None:
    ann = venue.people["ann"]
    with data_client(url(venue, feed), packed=packed) as client:
        client.send(action="auth", key=ann.key_id, secret=ann.secret)
        assert client.read() == [{"T": "success", "msg": "authenticated"}]
        answer = client.subscribe(trades=["AAPL"], quotes=["*"], bars=["AAPL"], lulds=["MSFT"])
        assert answer == {
            "T": "subscription", "trades": ["AAPL"], "quotes": ["*"], "bars": ["AAPL"],
            "updatedBars": [], "dailyBars": [], "statuses": [], "lulds": ["MSFT"], "imbalances": [],
            "orderbooks": [], "corrections": ["AAPL"], "cancelErrors": ["AAPL"],
        }  # fmt: skip
        deal(venue, "99.25", "1.5")
        trade = client.until(lambda m: m["T"] == "t")
        assert (trade["S"], trade["p"], trade["s"]) == ("AAPL", 99.25, 1.5)
        assert (trade["x"], trade["c"], trade["z"]) == ("Q", [], "C")
        if packed:
            assert isinstance(trade["t"], msgpack.Timestamp)
            assert abs(trade["t"].to_unix() - time.time()) < 60
        else:
            assert trade["t"].endswith("Z")
        order(venue, "ann", "sell", "120", "3")
        quote = client.until(lambda m: m["T"] == "q" and m["as"] and m["ap"] == 120)
        assert quote["S"] == "AAPL"
        assert {"bx", "bp", "bs", "ax", "c", "t", "z"} <= quote.keys()
        venue.call("ann", "DELETE", "/v2/orders")


def test_no_trade_after_the_answer_is_missed(venue: Venue) -> None:
    for _ in range(5):  # each time the first listener of its worker
        with data_client(url(venue), venue.people["ann"].headers) as client:
            client.subscribe(trades=["*"])
            deal(venue, "33.5", symbol="ZZZZ")
            trade = client.until(lambda m: m["T"] == "t")
            assert (trade["S"], trade["p"]) == ("ZZZZ", 33.5)


def test_unsubscribing_ends_it(venue: Venue) -> None:
    with data_client(url(venue), venue.people["ann"].headers) as client:
        client.subscribe(trades=["AAPL", "MSFT"])
        client.send(action="unsubscribe", trades=["AAPL"])
        assert client.until(lambda m: m["T"] == "subscription")["trades"] == ["MSFT"]
        deal(venue, "98")
        deal(venue, "51", symbol="MSFT")
        assert client.until(lambda m: m["T"] == "t")["S"] == "MSFT"
        assert [m["S"] for m in client.received if m["T"] == "t"] == ["MSFT"]


def test_a_subscription_in_fragments_is_one_message(venue: Venue) -> None:
    with data_client(url(venue), venue.people["ann"].headers) as client:
        text = json.dumps({"action": "subscribe", "trades": ["AAPL"]})
        client.connection.send(iter([text[:9], text[9:20], text[20:]]))
        assert client.until(lambda m: m["T"] == "subscription")["trades"] == ["AAPL"]


def code_of(client: DataClient) -> int:
    return int(client.until(lambda m: m["T"] == "error")["code"])


def test_errors_have_their_codes(venue: Venue) -> None:
    ann = venue.people["ann"]
    with data_client(url(venue)) as client:
        client.connection.send("garbage")
        assert code_of(client) == 400
        client.send(action="subscribe", trades=["AAPL"])
        assert code_of(client) == 401
        client.send(action="auth", key=ann.key_id, secret="wrong")
        assert code_of(client) == 402
        client.send(action="auth", key=ann.key_id, secret=ann.secret)
        client.until(lambda m: m.get("msg") == "authenticated")
        client.send(action="auth", key=ann.key_id, secret=ann.secret)
        assert code_of(client) == 403
        for bad in ({"trades": "AAPL"}, {"trades": [1]}, {"trades": [""]}, {"orderbooks": ["*"]}):
            client.send(action="subscribe", **bad)
            assert code_of(client) == 400
        client.send(action="dance")
        assert code_of(client) == 400
        client.send(action="subscribe", trades=[f"S{number}" for number in range(1_001)])
        assert code_of(client) == 405
        assert client.subscribe(trades=["AAPL"])["trades"] == ["AAPL"], "still at work"


def test_a_silent_client_is_told_and_closed(venue: Venue) -> None:
    with data_client(url(venue)) as client:
        assert code_of(client) == 404
        with pytest.raises(ConnectionClosed) as closed:
            client.read()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 4500


def test_a_halt_is_told(venue: Venue) -> None:
    with data_client(url(venue), venue.people["ann"].headers) as client:
        client.subscribe(statuses=["MSFT"])
        venue.madang("venue", "halt", "MSFT")
        halt = client.until(lambda m: m["T"] == "s")
        assert (halt["S"], halt["sc"], halt["sm"]) == ("MSFT", "H", "Trading Halt")
        venue.madang("venue", "open", "MSFT")
        assert client.until(lambda m: m["T"] == "s")["sc"] == "T"


def books(client: DataClient, book: Book, want_sequence: int | None, want: Book) -> None:
    """Read until the book stands as wanted."""
    limit_s = time.monotonic() + LIMIT_S
    while (book.bids, book.asks) != (want.bids, want.asks):
        assert time.monotonic() < limit_s, (book.bids, want.bids, book.asks, want.asks)
        take_books(client.read(), book)
    assert want_sequence is None or book.sequence >= want_sequence


def take_books(messages: list[Message], book: Book) -> None:
    for message in messages:
        if message["T"] == "o":
            book.take(message)


def open_book(venue: Venue) -> Book:
    """Return the book that the open orders of everybody make."""
    book = Book()
    for name in venue.people:
        for found in venue.call(name, "GET", "/v2/orders?limit=500").rows():
            if found["symbol"] == "AAPL":
                levels = book.bids if found["side"] == "buy" else book.asks
                price = round(float(found["limit_price"]) * 10_000)
                left = round((float(found["qty"]) - float(found["filled_qty"])) * 10**9)
                levels[price] = levels.get(price, 0) + left
    return book


def test_a_book_from_snapshot_and_deltas_equals_the_open_orders(venue: Venue) -> None:
    headers = venue.people["ann"].headers
    with (
        data_client(url(venue), headers) as client,
        data_client(url(venue), headers, packed=True) as late,
    ):
        book, later = Book(), Book()
        client.subscribe(orderbooks=["AAPL"])
        take_books([client.until(lambda m: m["T"] == "o" and bool(m.get("r")))], book)
        for number in range(12):
            order(venue, "bob", "buy", f"{80 + number}", f"{number + 1}")
            order(venue, "ann", "sell", f"{130 - number}", "2.25")
        late.subscribe(orderbooks=["AAPL"])
        deal(venue, "110", "1")
        order(venue, "bob", "buy", "119", "1.25")
        wanted = open_book(venue)
        assert len(wanted.bids) == 12
        books(client, book, None, wanted)
        books(late, later, None, wanted)
        venue.kill("feed")
        order(venue, "ann", "sell", "140.5", "7")
        books(client, book, None, open_book(venue))
        for name in venue.people:
            venue.call(name, "DELETE", "/v2/orders")
        books(client, book, None, open_book(venue))
        assert (book.bids, book.asks) == ({}, {})


def test_trades_are_complete_and_in_order_though_the_feed_dies(venue: Venue) -> None:
    with data_client(url(venue), venue.people["ann"].headers) as client:
        client.subscribe(trades=["*"])
        deal(venue, "60")
        first = client.until(lambda m: m["T"] == "t")["i"]
        killer = threading.Thread(target=venue.kill, args=("feed",))
        killer.start()
        count = 0
        while killer.is_alive():
            deal(venue, f"{61 + count % 9}", symbol=("AAPL", "MSFT")[count % 2])
            count += 1
        killer.join()
        deal(venue, "77")
        count += 1
        client.until(lambda m: m["T"] == "t" and m["i"] == first + count)
        ids = [m["i"] for m in client.received if m["T"] == "t"]
        assert ids == list(range(first, first + count + 1))


class Sdk:
    """alpaca-py's StockDataStream in a thread of its own."""

    def __init__(self, venue: Venue) -> None:
        ann = venue.people["ann"]
        self.trades: list[Trade] = []
        self.quotes: list[Quote] = []
        self.bars: list[object] = []
        self.stream = StockDataStream(ann.key_id, ann.secret, url_override=url(venue))
        self.stream._reconnect_min_backoff = 0.05
        self.stream.subscribe_trades(self._trade, "AAPL", "MSFT")
        self.stream.subscribe_quotes(self._quote, "*")
        for subscribe in (
            self.stream.subscribe_bars, self.stream.subscribe_updated_bars,
            self.stream.subscribe_daily_bars,
        ):  # fmt: skip
            subscribe(self._bar, "AAPL")
        self.stream.subscribe_trading_statuses(self._bar, "AAPL")
        self._thread = threading.Thread(target=self.stream.run)
        self._thread.start()

    async def _trade(self, trade: object) -> None:
        assert isinstance(trade, Trade)
        self.trades.append(trade)

    async def _quote(self, quote: object) -> None:
        assert isinstance(quote, Quote)
        self.quotes.append(quote)

    async def _bar(self, bar: object) -> None:
        self.bars.append(bar)

    def close(self) -> None:
        """Stop; the client looks whether it should every five seconds at the latest."""
        self.stream.stop()
        loop = self.stream._loop
        assert loop is None or isinstance(loop, asyncio.AbstractEventLoop)
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


def test_alpaca_py_streams_and_comes_back_after_a_worker_dies(venue: Venue) -> None:
    sdk = Sdk(venue)
    try:
        until_heard(venue, sdk)
        trade = sdk.trades[-1]
        assert (trade.symbol, trade.size, trade.exchange) == ("AAPL", 1, "Q")
        assert trade.timestamp.tzinfo is not None
        order(venue, "ann", "sell", "150.5", "4")
        wait_for(lambda: any(q.ask_price == 150.5 for q in sdk.quotes), LIMIT_S, "the quote")
        venue.kill("worker")
        until_heard(venue, sdk)
    finally:
        deal(venue, "45")  # it looks whether it should stop after each message
        sdk.close()
        venue.call("ann", "DELETE", "/v2/orders")


def until_heard(venue: Venue, sdk: Sdk) -> None:
    """Trade until the client hears of it."""
    before = len(sdk.trades)
    limit_s = time.monotonic() + LIMIT_S
    while len(sdk.trades) == before:
        assert time.monotonic() < limit_s, "the stream stays silent"
        deal(venue, "90")
        time.sleep(0.05)
