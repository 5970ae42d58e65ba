"""Trades of the stream, history and bars say the same, over kills, reconnects and resumptions.

A client that gives the id of the last trade it took gets every later one once, on whichever worker
it lands; bars are what the trades come to, to the last digit.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any, NamedTuple

import msgspec
import pytest
from websockets.sync.client import connect

from tests.support.crowd import crowd, kill_one, wait_until_replaced
from tests.support.data_stream import DataClient
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue
from tests.support.watchers import LIMIT_S, Progress, Watcher

NAMES = ["ann", "bob", "cas"]
SYMBOLS = {"AAPL": 10_000, "MSFT": 5_000}
LISTENED = {"*": None, "AAPL": "AAPL"}
VICTIMS = ("worker", "feed", "worker", "ledger", "venue", "worker")
ROUND_S = 1.2
CLOSE_S = 0.1
MICROS = Decimal("0.000001")


class Told(NamedTuple):
    """A trade, told by stream or history."""

    number: int
    symbol: str
    price: Decimal
    size: Decimal
    time: str


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), *NAMES) as running:
        yield running


class Listener(Watcher):
    """Takes trades over many connections; each goes on after the last trade of the one before."""

    def __init__(self, venue: Venue, seed: str, wanted: str) -> None:
        super().__init__()
        self.trades: list[Told] = []
        self.listening = threading.Event()
        self._venue = venue
        self._wanted = wanted
        self._chooser = random.Random(seed)
        self.start()

    def has(self, count: int) -> bool:
        """Tell whether so many trades were heard, or nothing more will be."""
        return bool(self.faults) or len(self.trades) >= count

    def turn(self) -> None:
        """Listen over one connection, from the last trade on."""
        headers = self._venue.people["ann"].headers
        url = f"ws://127.0.0.1:{self._venue.port}/v2/sip"
        with connect(url, additional_headers=headers, close_timeout=CLOSE_S) as connection:
            client = DataClient(connection, packed=False)
            resumed = bool(self.trades)
            since = {"since": {"trades": self.trades[-1].number}} if resumed else {}
            client.send(action="subscribe", trades=[self._wanted], **since)
            self.steps += 1
            until_s = time.monotonic() + self._chooser.uniform(0.2, 1.0)
            while not self.over.is_set() and time.monotonic() < until_s:
                if self._chooser.random() < 0.01:
                    time.sleep(self._chooser.uniform(0.1, 0.5))
                self._take(client)

    def _take(self, client: DataClient) -> None:
        try:
            messages = client.read(0.1)
        except TimeoutError:
            return
        for message in messages:
            assert message["T"] != "error", message
            if message["T"] == "recovery":
                assert message["recovered"], "the window is far larger than what was missed"
            if message["T"] == "subscription":
                self.listening.set()
            if message["T"] == "t":
                self.trades.append(told(message["S"], message))


def told(symbol: str, trade: dict[str, Any]) -> Told:
    """Return a trade as stream and history both say it."""
    return Told(trade["i"], symbol, Decimal(trade["p"]), Decimal(trade["s"]), trade["t"])


def rows(venue: Venue, kind: str, query: str) -> dict[str, list[dict[str, Any]]]:
    """Return all pages of a question for both symbols, with exact numbers."""
    found: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in SYMBOLS}
    token = ""
    while True:
        path = f"/v2/stocks/{kind}?symbols={','.join(SYMBOLS)}&limit=5000{query}{token}"
        answer = venue.call("ann", "GET", path)
        assert answer.status == 200, answer.body
        page = exact(answer.body)
        for symbol, group in page[kind].items():
            found[symbol] += group
        if page["next_page_token"] is None:
            return found
        token = f"&page_token={page['next_page_token']}"


def exact(body: bytes) -> Any:  # noqa: ANN401 - JSON
    return msgspec.json.Decoder(float_hook=Decimal).decode(body)


def history(venue: Venue) -> list[Told]:
    """Return every trade of both symbols by its id."""
    found = rows(venue, "trades", "&start=2020-01-01")
    return sorted(told(symbol, trade) for symbol, group in found.items() for trade in group)


def bars_of(trades: list[Told], length: int) -> list[dict[str, object]]:
    """Return the bars that trades come to; `length` characters of a time say which bar it is in."""
    groups: dict[str, list[Told]] = {}
    for trade in trades:
        groups.setdefault(trade.time[:length], []).append(trade)
    found = []
    for begin, group in groups.items():
        prices, volume = (
            [trade.price for trade in group],
            sum((trade.size for trade in group), Decimal(0)),
        )
        value = sum((trade.price * trade.size for trade in group), Decimal(0))
        found.append({
            "t": begin + "YYYY-MM-DDT00:00:00.000000000Z"[length:], "o": prices[0],
            "h": max(prices), "l": min(prices), "c": prices[-1], "v": volume, "n": len(group),
            "vw": (value / volume).quantize(MICROS, ROUND_HALF_UP),
        })  # fmt: skip
    return found


def check_bars(venue: Venue) -> None:
    """Compare minutes, hours and days with the trades, which nobody makes meanwhile."""
    trades = history(venue)
    for timeframe, length in (("1Min", 16), ("1Hour", 13), ("1Day", 10)):
        bars = rows(venue, "bars", f"&start=2020-01-01&timeframe={timeframe}")
        for symbol in SYMBOLS:
            wanted = bars_of([trade for trade in trades if trade.symbol == symbol], length)
            assert bars[symbol] == wanted
    snapshots = exact(venue.call("ann", "GET", "/v2/stocks/snapshots?symbols=AAPL,MSFT").body)
    minutes = rows(venue, "bars", "&start=2020-01-01&timeframe=1Min")
    for symbol, snapshot in snapshots.items():
        assert snapshot["minuteBar"] == minutes[symbol][-1]
        newest = max(trade for trade in trades if trade.symbol == symbol)
        assert told(symbol, snapshot["latestTrade"]) == newest


def test_no_trade_is_missed_or_repeated_and_bars_equal_them(venue: Venue) -> None:
    seed = int(os.environ.get("MADANG_SEED") or random.SystemRandom().randrange(1, 10**6))
    rounds = int(os.environ.get("MADANG_CHECKPOINTS", len(VICTIMS)))
    print(f"MADANG_SEED={seed}")
    chooser = random.Random(seed)
    listeners = {name: Listener(venue, f"{seed} {name}", name) for name in LISTENED}
    for listener in listeners.values():
        assert listener.listening.wait(LIMIT_S)
    try:
        with crowd(venue, NAMES, SYMBOLS, seed) as trading:
            for number in range(rounds):
                application = VICTIMS[number % len(VICTIMS)]
                count = len(venue.pids(application))
                resumed = Progress(listeners.values())
                time.sleep(chooser.uniform(0.1, ROUND_S))
                pid = kill_one(venue, application, chooser)
                wait_until_replaced(venue, application, pid, count)
                resumed.wait()
                trading.pause()
                check_bars(venue)
                trading.start()
        every = history(venue)
        for name, symbol in LISTENED.items():
            heard = [trade for trade in every if symbol in (None, trade.symbol)]
            assert len(heard) > 50
            listener = listeners[name]
            wait_for(
                partial(listener.has, len(heard)),
                LIMIT_S, "the last trade",
            )  # fmt: skip
            assert listener.trades == heard
    finally:
        for listener in listeners.values():
            listener.close()
