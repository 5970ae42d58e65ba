"""Books and trades of symbols that pages of this worker look at: from the feed, once per worker.

One `SymbolMarket` per symbol somebody looks at; it holds the newest book and the last trades, so
that a page that comes later begins with them. Invariant: books of a symbol go out with rising
sequence, trades with rising id; after a gap or a restart of the feed both are loaded anew and said
in full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

from madang.bus import Bus, Gap, Message
from madang.exchange.api.decimals import price_text, quantity_text
from madang.exchange.api.feed_client import Book, FeedClient, FeedUnavailable, Tick, Ticks
from madang.exchange.api.render import SIDES
from madang.exchange.api.times import time_text
from madang.hub import Channel, ChannelSettings, Connection, Hub, Position

TRADES_KEPT: Final = 50
RETRY_S: Final = 0.5
EPOCH: Final = 1
CHANNEL: Final = ChannelSettings(history_count_max=0, history_bytes_max=0, flush_window_ms=10)


class SymbolMarket:
    """One symbol's channel with what a newcomer gets first."""

    def __init__(self, symbol: str, owner: MarketData) -> None:
        self.symbol = symbol
        self.channel: Channel = owner.hub.channel(f"market.{symbol}", CHANNEL)
        self.channel.on_last = lambda _: owner.leave(self)
        self._owner = owner
        self._book: Book | None = None
        self._trades: deque[Tick] = deque(maxlen=TRADES_KEPT)
        self._loaded = False
        self._published = 0
        bus = owner.bus
        self._subscriptions = (
            bus.subscribe(f"market.book.{symbol}", self._on_books, self._on_gap),
            bus.subscribe(f"market.trades.{symbol}", self._on_trades, self._on_gap),
        )
        self._task = asyncio.create_task(self._load())

    def join(self, connection: Connection) -> None:
        """Send what is known, then everything that follows."""
        if self._loaded:
            for message in self._snapshot():
                connection.send(message)
        connection.subscribe(self.channel)

    def close(self) -> None:
        """Stop following."""
        for subscription in self._subscriptions:
            subscription.close()
        self._task.cancel()

    def _snapshot(self) -> list[bytes]:
        messages = [trades_message(self.symbol, list(self._trades))]
        if self._book is not None:
            messages.append(status_message(self.symbol, self._book.session))
            messages.append(book_message(self._book))
        return messages

    def _on_gap(self, _gap: Gap) -> None:
        if self._task.done():
            self._task = asyncio.create_task(self._load())

    async def _ask(self) -> tuple[Book | None, list[Tick]]:
        """Return book and trades; asks until the feed is there."""
        feed = self._owner.feed
        while True:
            try:
                book = await feed.book(self.symbol)
                return book, await feed.trades(self.symbol, TRADES_KEPT)
            except FeedUnavailable:
                await asyncio.sleep(RETRY_S)

    async def _load(self) -> None:
        """Load book and trades and say them in full."""
        book, trades = await self._ask()
        newer = [tick for tick in self._trades if not trades or tick.trade_id > trades[-1].trade_id]
        self._trades.clear()
        self._trades.extend([*trades, *newer])
        if book is not None and (self._book is None or book.sequence >= self._book.sequence):
            self._book = book
        self._loaded = True
        for message in self._snapshot():
            self._publish(message)

    def _on_books(self, messages: list[Message]) -> None:
        """Take the newest book of a batch: those before it are over."""
        book = msgspec.msgpack.decode(messages[-1].payload, type=Book)
        if self._book is not None and book.sequence <= self._book.sequence:
            return
        former, self._book = self._book, book
        if not self._loaded:
            return
        if former is None or former.session != book.session:
            self._publish(status_message(self.symbol, book.session))
        self._publish(book_message(book))

    def _on_trades(self, messages: list[Message]) -> None:
        for message in messages:
            for tick in msgspec.msgpack.decode(message.payload, type=Ticks).trades:
                if self._trades and tick.trade_id <= self._trades[-1].trade_id:
                    continue
                self._trades.append(tick)
                if self._loaded:
                    self._publish(trade_message(self.symbol, tick))

    def _publish(self, message: bytes) -> None:
        self._published += 1
        self.channel.publish(Position(EPOCH, self._published), lambda _: (message, False))


class MarketData:
    """The symbols that pages of this worker look at."""

    def __init__(self, bus: Bus, hub: Hub) -> None:
        self.bus = bus
        self.hub = hub
        self.feed = FeedClient(bus)
        self._symbols: dict[str, SymbolMarket] = {}

    def join(self, symbol: str, connection: Connection) -> None:
        """Send a known symbol's market to a connection."""
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = SymbolMarket(symbol, self)
        found.join(connection)

    def part(self, symbol: str, connection: Connection) -> None:
        """Stop sending a symbol's market."""
        found = self._symbols.get(symbol)
        if found is not None:
            connection.unsubscribe(found.channel)

    def leave(self, market: SymbolMarket) -> None:
        """Let a symbol go that nobody looks at."""
        if self._symbols.get(market.symbol) is market:
            del self._symbols[market.symbol]
            market.close()
            self.hub.drop(market.channel.name)

    def close(self) -> None:
        """Let every symbol go."""
        for market in list(self._symbols.values()):
            market.close()
        self._symbols.clear()


def book_message(book: Book) -> bytes:
    """Return a book as pages read it."""
    return msgspec.json.encode(
        {
            "type": "book",
            "symbol": book.symbol,
            "sequence": book.sequence,
            "bids": [(price_text(price), quantity_text(qty)) for price, qty in book.bids],
            "asks": [(price_text(price), quantity_text(qty)) for price, qty in book.asks],
        }
    )


def trade_message(symbol: str, tick: Tick) -> bytes:
    """Return one trade as pages read it."""
    return msgspec.json.encode({"type": "trade", "symbol": symbol, **_trade(tick)})


def trades_message(symbol: str, ticks: list[Tick]) -> bytes:
    """Return the last trades, oldest first."""
    return msgspec.json.encode(
        {"type": "trades", "symbol": symbol, "trades": [_trade(tick) for tick in ticks]}
    )


def status_message(symbol: str, session: str) -> bytes:
    """Return a symbol's session as pages read it."""
    return msgspec.json.encode({"type": "status", "symbol": symbol, "session": session})


def _trade(tick: Tick) -> dict[str, object]:
    return {
        "id": tick.trade_id,
        "price": price_text(tick.price),
        "qty": quantity_text(tick.quantity),
        "side": SIDES[tick.aggressor],
        "t": time_text(tick.now_ns),
    }
