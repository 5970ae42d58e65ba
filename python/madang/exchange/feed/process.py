"""The feed's process: publishes trades at once, changed books every BOOK_INTERVAL_S."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from madang.bus import Bus, BusError, BusSettings, Request, open_unix_bus
from madang.cluster.process import Process
from madang.exchange import engine as engines
from madang.exchange.feed.market import TRADES_KEPT, Market
from madang.exchange.feed.settings import FeedOptions
from madang.exchange.venue.follower import Follower

BOOK_INTERVAL_S = 0.05


class Feed:
    """Publishes what `Market` makes and answers `feed.query`."""

    def __init__(self, bus: Bus, market: Market) -> None:
        self._bus = bus
        self._market = market
        self._live = False

    def on_events(self, _batch: bytes, events: bytes) -> None:
        """Take one batch; trades go out at once, but not those of the catch-up at start."""
        self._market.on_events(events)
        trades = self._market.take_trades()
        if not self._live:
            return
        for number, ticks in trades.items():
            symbol = self._market.symbols[number]
            subject = f"market.trades.{symbol}"
            if self._bus.interested(subject):
                self._bus.publish(
                    subject, msgspec.msgpack.encode({"symbol": symbol, "trades": ticks})
                )

    def go_live(self) -> None:
        """Begin to publish."""
        self._live = True

    async def publish_books(self, follower: Follower) -> None:
        """Publish changed books for ever."""
        while True:
            for book in self._market.take_books(follower.engine):
                self._bus.publish(f"market.book.{book['symbol']}", msgspec.msgpack.encode(book))
            await asyncio.sleep(BOOK_INTERVAL_S)

    def on_requests(self, follower: Follower, requests: list[Request]) -> None:
        """Answer questions from the replica."""
        for request in requests:
            try:
                query = msgspec.msgpack.decode(request.payload, type=dict[str, Any])
                answer = self._answer(follower, query)
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                answer = {"error": f"malformed query: {error}"}
            with contextlib.suppress(BusError):
                request.respond(msgspec.msgpack.encode(answer))

    def _answer(self, follower: Follower, query: dict[str, Any]) -> object:
        kind = query["kind"]
        if kind == "symbols":
            return self._market.overview(follower.engine)
        if kind == "book":
            return self._market.book(follower.engine, str(query["symbol"]))
        if kind == "trades":
            number = self._market.number_of(str(query["symbol"]))
            limit = max(1, min(int(query["limit"]), TRADES_KEPT))
            return list(self._market.trades.get(number or 0, ()))[-limit:]
        return {"error": "unknown kind of query"}


async def main(process: Process) -> None:
    """Run the feed until the cluster stops it."""
    options = msgspec.convert(dict(process.options), FeedOptions)
    bus = await open_unix_bus(BusSettings(process.name, process.runtime_dir / "bus"))
    market = Market()
    feed = Feed(bus, market)
    follower = Follower(
        process.name,
        lambda: engines.create(options.engine),
        process.state_dir,
        bus,
        feed.on_events,
    )
    await follower.start()
    market.learn_symbols(follower.engine)
    feed.go_live()
    books = asyncio.create_task(feed.publish_books(follower))
    stopping = asyncio.create_task(process.wait_stop())
    server = bus.serve("feed.query", lambda requests: feed.on_requests(follower, requests))
    process.ready()
    tasks = [books, stopping, follower.failed]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (books, follower.failed):
        if task.done():
            task.result()
    server.close()
    books.cancel()
    await follower.close()
    await bus.close()
