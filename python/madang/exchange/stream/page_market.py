"""Symbols that pages of this worker look at: book, trades and day, made once for all of them.

One `SymbolMarket` per symbol somebody looks at. It begins with what feed and ledger know, holds
back what the bus brings meanwhile, and starts over after any loss. Invariants: trades go out with
rising ids and none is left out between two messages that are not `whole`; a `change` leads from the
sequence that was said last; the day is that of the trades up to the one it names.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, NamedTuple

import msgspec

from madang.bus import Bus, Gap, Message
from madang.core import log
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable, Tick
from madang.exchange.api.ledger_client import LedgerClient, LedgerUnavailable
from madang.exchange.directory import DirectoryReplica, Instrument
from madang.exchange.feed.bars import Bar, BarBook, SymbolBars
from madang.exchange.feed.days import Days
from madang.exchange.feed.depth import Delta, DepthState
from madang.exchange.feed.market import TradeTick
from madang.exchange.listing import subject_token
from madang.exchange.stream import page_messages as say
from madang.exchange.stream.positions import position
from madang.hub import Channel, ChannelSettings, Connection, Hub
from madang.wire.codes import Session

TRADES_KEPT: Final = 200
HELD_MAX: Final = 10_000
"""Messages of the bus that may wait while a symbol is loaded; beyond it loading begins anew."""
RETRY_S: Final = 0.25
DAY_INTERVAL_S: Final = 0.25
"""The day is said at most so often."""
CHANNEL: Final = ChannelSettings(history_count_max=0, history_bytes_max=0, flush_window_ms=10)
SUBJECTS: Final = ("depth", "trades", "status")


class Loaded(NamedTuple):
    """What a symbol begins with."""

    depth: DepthState
    session: str
    trades: list[Tick]
    known: SymbolBars


class SymbolMarket:
    """One symbol's channel with what a newcomer gets first."""

    def __init__(self, instrument: Instrument, owner: PageMarket) -> None:
        self.symbol = instrument.symbol
        self.channel: Channel = owner.hub.channel(f"page.{self.symbol}", CHANNEL)
        self.channel.on_last = lambda _: owner.leave(self)
        self._instrument = instrument
        self._owner = owner
        self._depth = DepthState(0, {}, {})
        self._session = ""
        self._trades: deque[Tick] = deque(maxlen=TRADES_KEPT)
        self._bars = BarBook(owner.days)
        self._held: list[dict[str, Any]] = []
        self._snapshot: list[bytes] | None = None
        self._published = 0
        self._day_timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        token = subject_token(self.symbol)
        self._subscriptions = [
            owner.bus.subscribe(f"market.{what}.{token}", self._on_messages, self._on_gap)
            for what in SUBJECTS
        ]
        self._reload()

    def join(self, connection: Connection) -> None:
        """Send what is known, then everything that follows."""
        if self._task is None:
            for message in self._whole():
                connection.send(message)
        connection.subscribe(self.channel)

    def close(self) -> None:
        """Stop following."""
        for subscription in self._subscriptions:
            subscription.close()
        for waiting in (self._task, self._day_timer):
            if waiting is not None:
                waiting.cancel()

    def _reload(self) -> None:
        """Begin to load, anew where that is under way."""
        if self._task is not None:
            self._task.cancel()
        self._held.clear()
        self._task = asyncio.create_task(self._load())

    def _on_gap(self, _gap: Gap) -> None:
        self._reload()

    def _on_messages(self, messages: list[Message]) -> None:
        found = [msgspec.msgpack.decode(message.payload) for message in messages]
        if self._task is None:
            self._take(found)
            return
        self._held += found
        if len(self._held) > HELD_MAX:
            self._reload()

    async def _load(self) -> None:
        """Load everything, say it in full, then take what came meanwhile."""
        loaded = await self._ask_at_last()
        self._depth, self._session = loaded.depth, loaded.session
        self._trades = deque(loaded.trades, TRADES_KEPT)
        self._bars = BarBook(self._owner.days)
        self._bars.symbols[self._instrument.number] = loaded.known
        self._snapshot = None
        self._task = None
        for message in self._whole():
            self._publish(message)
        held, self._held = self._held, []
        self._take(held)

    async def _ask_at_last(self) -> Loaded:
        """Ask until there is an answer."""
        said = False
        while True:
            try:
                loaded = await self._ask()
                why = "the feed does not know the symbol yet"
            except (FeedUnavailable, LedgerUnavailable) as error:
                loaded, why = None, error.message
            if loaded is not None:
                return loaded
            if not said:
                log.get("stream").info("loading waits", symbol=self.symbol, why=why)
                said = True
            await asyncio.sleep(RETRY_S)

    async def _ask(self) -> Loaded | None:
        """Return what feed and ledger know, in the order that leaves nothing out.

        What the feed published before the first answer is committed, so the ledger tells it; what
        it publishes later is held. None where the feed does not know the symbol yet.
        """
        number, owner = self._instrument.number, self._owner
        await owner.feed.sync()
        page = await owner.ledger.ask(
            {
                "kind": "market_trades",
                "instruments": [number],
                "first_ns": 0,
                "last_ns": 2**63 - 1,
                "descending": True,
                "after": None,
                "limit": TRADES_KEPT,
            }
        )
        latest = await owner.ledger.ask({"kind": "market_latest", "instruments": [number]})
        book = await owner.feed.book(self.symbol)
        depth = await owner.feed.depth(self.symbol)
        if book is None or depth is None:
            return None
        trades = [Tick(*fields) for _, *fields in reversed(page["rows"])]
        last, _, minute, day, former = latest["latest"][number]
        known = SymbolBars(last and TradeTick(*last), *map(_bar, (minute, day, former)))
        state = DepthState(depth.sequence, dict(depth.bids), dict(depth.asks))
        return Loaded(state, book.session, trades, known)

    def _take(self, found: list[dict[str, Any]]) -> None:
        """Pass on what follows what was said; trades of one call go out as one message."""
        ticks: list[Tick] = []
        for data in found:
            if "trades" in data:
                ticks += [Tick(*fields) for fields in data["trades"]]
            elif "session" in data:
                self._take_session(Session(data["session"]).name.lower())
            elif not self._take_delta(data["delta"]):
                self._take_trades(ticks)
                self._reload()
                return
        self._take_trades(ticks)

    def _take_session(self, session: str) -> None:
        if session != self._session:
            self._session = session
            self._say(say.status_message(self.symbol, session))

    def _take_delta(self, fields: list[Any]) -> bool:
        """Follow a change of the book; False where it does not lead on."""
        previous, sequence, now_ns, bids, asks, checksum = fields
        if sequence <= self._depth.sequence:
            return True
        bids, asks = [(p, q) for p, q in bids], [(p, q) for p, q in asks]
        if not self._depth.apply(Delta(previous, sequence, now_ns, bids, asks, checksum)):
            return False
        self._say(say.change_message(self.symbol, previous, sequence, bids, asks))
        return True

    def _take_trades(self, ticks: list[Tick]) -> None:
        fresh: list[Tick] = []
        for tick in ticks:
            if self._trades and tick.trade_id <= self._trades[-1].trade_id:
                continue
            self._trades.append(tick)
            fresh.append(tick)
            self._bars.add(self._instrument.number, TradeTick(*msgspec.structs.astuple(tick)))
        if fresh:
            self._say(say.trades_message(self.symbol, fresh, whole=False))
            if self._day_timer is None:
                loop = asyncio.get_running_loop()
                self._day_timer = loop.call_later(DAY_INTERVAL_S, self._say_day)

    def _say_day(self) -> None:
        self._day_timer = None
        if self._task is None and (message := self._day()):
            self._say(message)

    def _day(self) -> bytes | None:
        known = self._bars.symbols.get(self._instrument.number)
        if known is None or known.day is None or known.last is None:
            return None
        former = known.previous_day
        base = former.close if former else self._instrument.reference_price or known.day.open
        return say.day_message(self.symbol, known.day, base, known.last.trade_id)

    def _whole(self) -> list[bytes]:
        """Return all that is known; the same bytes for everybody who comes before it changes."""
        if self._snapshot is None:
            self._snapshot = [
                say.trades_message(self.symbol, list(self._trades), whole=True),
                say.status_message(self.symbol, self._session),
                *([day] if (day := self._day()) else []),
                say.book_message(self.symbol, self._depth),
            ]
        return self._snapshot

    def _say(self, message: bytes) -> None:
        self._snapshot = None
        self._publish(message)

    def _publish(self, message: bytes) -> None:
        self._published += 1
        self.channel.publish(position(self._published), lambda _: (message, False))


class PageMarket:
    """The symbols that pages of this worker look at."""

    def __init__(
        self, bus: Bus, hub: Hub, ledger: LedgerClient, replica: DirectoryReplica, days: Days
    ) -> None:
        self.bus = bus
        self.hub = hub
        self.ledger = ledger
        self.days = days
        self.feed = FeedClient(bus)
        self._replica = replica
        self._symbols: dict[str, SymbolMarket] = {}

    def join(self, symbol: str, connection: Connection) -> bool:
        """Send a symbol's market to a connection; False where there is no such symbol."""
        found = self._symbols.get(symbol)
        if found is None:
            instrument = self._replica.directory.instrument(symbol)
            if instrument is None or instrument.symbol != symbol:
                return False
            found = self._symbols[symbol] = SymbolMarket(instrument, self)
        found.join(connection)
        return True

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


def _bar(fields: list[Any] | None) -> Bar | None:
    """Return a bar from the ledger's answer, where sums are text."""
    if fields is None:
        return None
    *numbers, volume, trades, value = fields
    return Bar._make([*numbers, int(volume), trades, int(value)])
