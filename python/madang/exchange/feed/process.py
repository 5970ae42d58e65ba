"""The feed's process: trades and quotes at once, books every BOOK_INTERVAL_S, bars when they end.

Subjects `market.trades|quotes|bars|status|depth|book.<symbol>`; only what somebody listens to is
made. Bars begin with what the ledger knows, so that a feed that starts again has the whole day.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import msgspec

from madang.bus import Bus, BusError, BusSettings, Request, open_unix_bus
from madang.cluster.process import Process
from madang.core.clock import Clock, SystemClock
from madang.edge.gathering import Teller
from madang.exchange import engine as engines
from madang.exchange.engine.port import Engine
from madang.exchange.feed.bars import Bar, BarBook, BarEvent, SymbolBars
from madang.exchange.feed.days import MINUTE_NS, Days
from madang.exchange.feed.depth import DEPTH_LEVELS, DepthState, best, state_of
from madang.exchange.feed.market import TRADES_KEPT, Market, TradeTick
from madang.exchange.feed.settings import FeedOptions
from madang.exchange.listing import subject_token
from madang.exchange.venue.follower import Follower
from madang.wire.codes import Side

BOOK_INTERVAL_S = 0.02
QUOTES_PAGE: Final = 2_000
"""Quotes in one answer, so that it fits into a message of the bus."""
BAR_DELAY_NS: Final = 100_000_000
"""A minute is told this long after its end, since its last trades may be under way."""
LEDGER: Final = "ledger.query"
LEDGER_TIMEOUT_MS: Final = 5_000
LEDGER_RETRY_S: Final = 0.5
HELD_TRADES_MAX: Final = 100_000


class Feed:
    """Publishes what `Market` makes and answers `feed.query`."""

    def __init__(self, bus: Bus, market: Market, days: Days, clock: Clock) -> None:
        self._bus = bus
        self._market = market
        self._clock = clock
        self._bars = BarBook(days)
        self._bars_known = False
        self._held: list[tuple[int, TradeTick]] = []
        self._live = False
        self._quotes: dict[int, bytes] = {}
        self._depths: dict[int, DepthState] = {}
        self._moved: set[int] = set()

    def on_events(self, engine: Engine, events: bytes) -> None:
        """Take one batch; what comes of it goes out at once, but not in the catch-up at start."""
        self._market.on_events(events)
        trades = self._market.take_trades()
        touched = self._market.take_touched()
        if not self._live:
            return
        for number, ticks in trades:
            if subject := self._wanted("trades", number):
                self._publish(subject, number, {"trades": ticks})
            self._count(number, ticks)
        for number in touched:
            self._quote(engine, number)
        self._moved |= touched & self._depths.keys()
        for number, session in self._market.take_sessions(engine).items():
            if subject := self._wanted("status", number):
                self._publish(subject, number, {"session": session, "now_ns": engine.now_ns})

    def go_live(self, engine: Engine) -> None:
        """Begin to publish."""
        self._market.learn_symbols(engine)
        self._market.take_sessions(engine)
        self._live = True

    def _wanted(self, what: str, number: int) -> str | None:
        """Return the subject if anybody listens."""
        subject = f"market.{what}.{subject_token(self._market.symbols[number])}"
        return subject if self._bus.interested(subject) else None

    def _publish(self, subject: str, number: int, fields: dict[str, object]) -> None:
        message = {"symbol": self._market.symbols[number], **fields}
        self._bus.publish(subject, msgspec.msgpack.encode(message))

    def _quote(self, engine: Engine, number: int) -> None:
        subject = self._wanted("quotes", number)
        if subject is None:
            self._quotes.pop(number, None)
            return
        levels = engine.depth(number, 1)
        if self._quotes.get(number) == levels:
            return
        self._quotes[number] = levels
        self._publish(subject, number, {"quote": _quote_of(engine, levels)})

    def quotes(self, engine: Engine, symbols: list[str] | None, after: int) -> dict[str, object]:
        """Return quotes as they stand of instruments after a number, and where to go on."""
        known = self._market.symbols
        numbers = sorted(
            n for n, symbol in known.items() if n > after and (not symbols or symbol in symbols)
        )
        page = numbers[:QUOTES_PAGE]
        return {
            "quotes": {known[n]: _quote_of(engine, engine.depth(n, 1)) for n in page},
            "next": page[-1] if len(numbers) > len(page) else None,
        }

    def _count(self, number: int, ticks: list[TradeTick]) -> None:
        """Put trades into bars, or hold them until the bars' beginning is known."""
        if self._bars_known:
            for tick in ticks:
                self._tell_bars(self._bars.add(number, tick))
        elif len(self._held) <= HELD_TRADES_MAX:  # one more says that some are missing
            self._held.extend((number, tick) for tick in ticks)

    async def load_bars(self) -> None:
        """Ask the ledger for the newest bars until it answers, then go on from there."""
        question = msgspec.msgpack.encode({"kind": "market_latest", "instruments": None})
        while True:
            self._held.clear()  # the answer will be as of now at least
            with contextlib.suppress(BusError):
                answer = await self._bus.request(LEDGER, question, LEDGER_TIMEOUT_MS)
                found = msgspec.msgpack.decode(answer, strict=False)
                if "latest" in found and len(self._held) <= HELD_TRADES_MAX:
                    break
            await asyncio.sleep(LEDGER_RETRY_S)
        now_ns = self._clock.now_ns()
        for number, (last, _, minute, day, former) in found["latest"].items():
            if last is not None:
                known = SymbolBars(TradeTick(*last), *map(_bar, (minute, day, former)))
                self._bars.load(number, known, now_ns - MINUTE_NS)
        self._bars_known = True
        held, self._held = self._held, []
        for number, tick in held:
            self._count(number, [tick])

    def _tell_bars(self, events: list[BarEvent]) -> None:
        for number, kind, bar in events:
            if subject := self._wanted("bars", number):
                fields = (*bar[:5], str(bar.volume), bar.trades, str(bar.value))
                self._publish(subject, number, {"kind": kind.value, "bar": fields})

    async def publish_books(self, follower: Follower) -> None:
        """Publish changed books, and bars that are over, for ever."""
        while True:
            for book in self._market.take_books(follower.engine):
                subject = f"market.book.{subject_token(str(book['symbol']))}"
                self._bus.publish(subject, msgspec.msgpack.encode(book))
            self.publish_depths(follower.engine)
            self.tell_bars()
            await asyncio.sleep(BOOK_INTERVAL_S)

    def tell_bars(self) -> None:
        """Publish bars that are over, and those that were corrected."""
        self._tell_bars(self._bars.due(self._clock.now_ns() - BAR_DELAY_NS))

    def publish_depths(self, engine: Engine) -> None:
        """Publish what changed in books that somebody follows."""
        moved, self._moved = self._moved, set()
        for number in sorted(moved):
            self._publish_depth(engine, number)

    def _publish_depth(self, engine: Engine, number: int) -> None:
        subject = self._wanted("depth", number)
        if subject is None:
            self._depths.pop(number, None)
            return
        levels = engine.depth(number, DEPTH_LEVELS)
        delta = self._depths[number].move(levels, engine.sequence, engine.now_ns)
        if delta is not None:
            self._publish(subject, number, {"delta": delta})

    def depth(self, engine: Engine, symbol: str) -> dict[str, object] | None:
        """Return the state that the next delta leads on from; None for an unknown symbol."""
        number = self._market.number_of(symbol)
        if number is None:
            return None
        if number in self._depths:
            self._publish_depth(engine, number)
        state = self._depths.get(number)
        if state is None:
            state = state_of(engine.depth(number, DEPTH_LEVELS), engine.sequence)
            self._depths[number] = state
        self._moved.discard(number)
        return {
            "sequence": state.sequence,
            "now_ns": engine.now_ns,
            "bids": list(state.bids.items()),
            "asks": list(state.asks.items()),
        }

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
        if kind == "sync":
            return {"sequence": follower.engine.sequence}
        if kind == "depth":
            return self.depth(follower.engine, str(query["symbol"]))
        if kind == "quotes":
            return self.quotes(follower.engine, query["symbols"], int(query["after"]))
        if kind == "trades":
            number = self._market.number_of(str(query["symbol"]))
            limit = max(1, min(int(query["limit"]), TRADES_KEPT))
            return list(self._market.trades.get(number or 0, ()))[-limit:]
        return {"error": "unknown kind of query"}


def _quote_of(engine: Engine, levels: bytes) -> tuple[int, ...]:
    """Return (time, bid, its quantity, ask, its quantity) from the best levels; 0 for none."""
    state = state_of(levels, engine.sequence)
    (bid,) = best(state.bids, Side.BUY) or [(0, 0)]
    (ask,) = best(state.asks, Side.SELL) or [(0, 0)]
    return engine.now_ns, *bid, *ask


def _bar(fields: list[Any] | None) -> Bar | None:
    """Return a bar from the ledger's answer, where sums are text."""
    if fields is None:
        return None
    *numbers, volume, trades, value = fields
    return Bar._make([*numbers, int(volume), trades, int(value)])


async def main(process: Process) -> None:
    """Run the feed until the cluster stops it."""
    options = msgspec.convert(dict(process.options), FeedOptions)
    bus = await open_unix_bus(BusSettings(process.name, process.runtime_dir / "bus"))
    teller = Teller(bus, process)
    feed = Feed(bus, Market(), Days(options.timezone), SystemClock())
    follower = Follower(
        process.name,
        lambda: engines.create(options.engine),
        process.state_dir,
        bus,
        lambda _, events: feed.on_events(follower.engine, events),
    )
    await follower.start()
    feed.go_live(follower.engine)
    books = asyncio.create_task(feed.publish_books(follower))
    bars = asyncio.create_task(feed.load_bars())
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
    bars.cancel()
    await follower.close()
    teller.close()
    await bus.close()
