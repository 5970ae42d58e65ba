"""A book kept from our stream equals the engine's, whatever happens to readers and workers.

Readers come and go, stop reading for a while, and lose their worker to kill -9, while a seeded
crowd trades. At every checkpoint each reader's book must be the book that the open orders make. The
reader itself refuses a change that does not lead on from what it holds, or to its checksum.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from websockets.sync.client import connect

from tests.support.crowd import Crowd, crowd, kill_one, wait_until_replaced
from tests.support.data_stream import Book, DataClient
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue
from tests.support.watchers import LIMIT_S, Progress, Watcher

NAMES = ["ann", "bob", "cas", "dan"]
SYMBOLS = {"AAPL": 10_000, "MSFT": 5_000}
CHECKPOINTS = 4
ROUND_S = 1.5
ORDERS_A_ROUND = 100
SLEEP_S = 5.0
LEVELS = 50
CLOSE_S = 0.1
NARROW_BYTES = 4_096
"""What the socket of a reader takes that sleeps: its worker is soon behind with it."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), *NAMES) as running:
        yield running


class Reader(Watcher):
    """Keeps the books of all symbols, over as many connections as it takes."""

    def __init__(self, venue: Venue, seed: str, *, packed: bool, sleeps: bool) -> None:
        super().__init__()
        self.books: dict[str, Book] = {}
        self.renewed = 0
        self._venue = venue
        self._packed = packed
        self.sleeps = sleeps
        self._chooser = random.Random(seed)
        self.calm = threading.Event()
        self.asleep = threading.Event()
        self.start()

    def turn(self) -> None:
        """Read over one connection: for a while, with pauses, or until all is calm."""
        headers = dict(self._venue.people["ann"].headers)
        if self._packed:
            headers["Content-Type"] = "application/msgpack"
        raw = socket.socket()
        if self.sleeps:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
        raw.settimeout(LIMIT_S)
        raw.connect(("127.0.0.1", self._venue.port))
        raw.settimeout(None)
        url = f"ws://127.0.0.1:{self._venue.port}/v2/sip"
        options = {"additional_headers": headers, "compression": None, "close_timeout": CLOSE_S}
        with connect(url, sock=raw, max_size=None, **options) as connection:  # type: ignore[arg-type]
            client = DataClient(connection, self._packed)
            self.books = {}
            client.send(action="subscribe", orderbooks=list(SYMBOLS))
            self.steps += 1
            if self.sleeps and self.steps == 1:
                self._take(client)
                self.asleep.set()
                self.calm.wait()
            until_s = time.monotonic() + self._chooser.uniform(0.3, 1.5)
            while not self.over.is_set():
                if not self.calm.is_set():
                    if time.monotonic() > until_s:
                        return
                    if self._chooser.random() < 0.02:
                        time.sleep(self._chooser.uniform(0.2, 0.8))
                self._take(client)

    def _take(self, client: DataClient) -> None:
        try:
            messages = client.read(0.1)
        except TimeoutError:
            return
        client.received.clear()
        for message in messages:
            assert message["T"] not in ("error",), message
            if message["T"] == "o":
                if message.get("r") and self.asleep.is_set() and self.steps == 1:
                    self.renewed += 1
                self.books.setdefault(message["S"], Book()).take(message)


def engine_books(venue: Venue) -> dict[str, Book]:
    """Return the books that everybody's open orders make, the best levels of each side."""
    found = {symbol: Book() for symbol in SYMBOLS}
    for name in venue.people:
        rows = venue.call(name, "GET", "/v2/orders?limit=500&direction=asc").rows()
        assert len(rows) < 500, "the crowd is too large for one answer"
        for row in rows:
            book = found[row["symbol"]]
            levels = book.bids if row["side"] == "buy" else book.asks
            price = round(float(row["limit_price"]) * 10_000)
            left = round((float(row["qty"]) - float(row["filled_qty"])) * 10**9)
            levels[price] = levels.get(price, 0) + left
    for book in found.values():
        book.bids = dict(sorted(book.bids.items(), reverse=True)[:LEVELS])
        book.asks = dict(sorted(book.asks.items())[:LEVELS])
    return found


def agrees(reader: Reader, wanted: dict[str, Book]) -> bool:
    if reader.faults:
        raise reader.faults[0]
    return all(
        symbol in reader.books
        and (reader.books[symbol].bids, reader.books[symbol].asks) == (book.bids, book.asks)
        for symbol, book in wanted.items()
    )


def all_agree(readers: list[Reader], wanted: dict[str, Book]) -> bool:
    return all(agrees(reader, wanted) for reader in readers)


def has_traded(trading: Crowd, orders: int) -> bool:
    return trading.acknowledged > orders


def test_books_equal_the_engine_after_reconnects_kills_and_slow_phases(venue: Venue) -> None:
    seed = int(os.environ.get("MADANG_SEED") or random.SystemRandom().randrange(1, 10**6))
    rounds = int(os.environ.get("MADANG_CHECKPOINTS", CHECKPOINTS))
    print(f"MADANG_SEED={seed}")
    chooser = random.Random(seed)
    readers = [Reader(venue, f"{seed} {n}", packed=n % 2 == 1, sleeps=n == 3) for n in range(4)]
    try:
        with crowd(venue, NAMES, SYMBOLS, seed) as trading:
            for number in range(rounds):
                for reader in readers:
                    reader.calm.clear()
                resumed = Progress(one for one in readers if number or not one.sleeps)
                trading.start()
                end_s = time.monotonic() + (ROUND_S if number else SLEEP_S)
                application = ("venue", "worker", "feed", "worker")[number % 4]
                count = len(venue.pids(application))
                pid = kill_one(venue, application, chooser)
                wait_until_replaced(venue, application, pid, count)
                time.sleep(max(0.0, end_s - time.monotonic()))
                resumed.wait()
                wait_for(
                    partial(has_traded, trading, (number + 1) * ORDERS_A_ROUND),
                    LIMIT_S, "a market that moved",
                )  # fmt: skip
                trading.pause()
                for reader in readers:
                    reader.calm.set()
                wanted = engine_books(venue)
                assert all(book.bids and book.asks for book in wanted.values())
                wait_for(
                    partial(all_agree, readers, wanted),
                    LIMIT_S, f"books as the engine's, checkpoint {number}",
                )  # fmt: skip
    finally:
        for reader in readers:
            reader.close()
    assert readers[-1].renewed, "the worker was never behind with the one that slept"
