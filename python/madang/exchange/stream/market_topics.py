"""The channels of the data stream in one worker: from the bus to the hub, once for all listeners.

One topic per channel and symbol (`*`: every symbol) that somebody listens to. Trades are complete
and in order: their ids rise over all symbols, and after a loss on the bus (or of the feed) those
that are missing are read from the ledger while new ones wait. Quotes, bars and statuses after a
loss are simply the next ones. Books are loaded anew whenever a delta does not lead on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from madang.bus import Bus, Gap, Message
from madang.core import log
from madang.core.clock import Clock
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.api.ledger_client import LedgerClient, LedgerUnavailable
from madang.exchange.api.market_render import BarRow, QuoteRow, Tape, TradeRow, tape_of
from madang.exchange.directory import DirectoryReplica
from madang.exchange.feed.depth import Delta, DepthState
from madang.exchange.stream import market_messages as say
from madang.hub import Channel, ChannelSettings, Connection, Hub, Position

EVERY: Final = "*"
RETRY_S: Final = 0.25
MISSED_AT_ONCE: Final = 1_000
HELD_MAX: Final = 10_000
"""Messages of the bus that may wait while something is loaded; beyond it loading begins anew."""
FIRST_LOOK_BACK: Final = 10_000
"""So many trades before the newest are looked through for the first that must be told."""
EPOCH: Final = 1
SETTINGS: Final = ChannelSettings(history_count_max=0, history_bytes_max=0, flush_window_ms=5)
SUBJECTS: Final = {
    "trades": "trades",
    "quotes": "quotes",
    "bars": "bars",
    "updatedBars": "bars",
    "dailyBars": "bars",
    "statuses": "status",
    "orderbooks": "depth",
}
BAR_KINDS: Final = {"bars": "b", "updatedBars": "u", "dailyBars": "d"}

Leave = Callable[["Topic"], None]


class Sources:
    """What topics are made from."""

    def __init__(
        self,
        bus: Bus,
        hub: Hub,
        ledger: LedgerClient,
        replica: DirectoryReplica,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self.bus = bus
        self.hub = hub
        self.ledger = ledger
        self.replica = replica
        self.feed = FeedClient(bus)

    def tape(self, symbol: str) -> Tape:
        """Return the letters of a symbol."""
        found = self.replica.directory.instrument(symbol)
        return Tape("V", "B") if found is None else tape_of(found)


class Topic:
    """A channel of one kind and symbol: decodes what the bus brings and publishes it."""

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self.kind = kind
        self.symbol = symbol
        self.sources = sources
        self.channel: Channel = sources.hub.channel(f"data.{kind}.{symbol}", SETTINGS)
        self.channel.on_last = lambda _: leave(self)
        self._published = 0
        pattern = ">" if symbol == EVERY else symbol
        subject = f"market.{SUBJECTS[kind]}.{pattern}"
        self._subscription = sources.bus.subscribe(subject, self._on_messages, self._on_gap)

    def join(self, connection: Connection) -> None:
        """Send what is known, then everything that follows."""
        connection.subscribe(self.channel)

    def close(self) -> None:
        """Stop following."""
        self._subscription.close()

    def _on_messages(self, messages: list[Message]) -> None:
        found: list[say.Message] = []
        for message in messages:
            found += self.read(msgspec.msgpack.decode(message.payload))
        self.publish(found)

    def _on_gap(self, gap: Gap) -> None:
        """Nothing is made good: what comes next says how it stands."""

    def read(self, data: dict[str, Any]) -> list[say.Message]:
        """Return what one message of the bus says to listeners."""
        symbol = data["symbol"]
        if self.kind == "quotes":
            quote = QuoteRow(*data["quote"])
            return [say.quote_message(symbol, self.sources.tape(symbol), quote)]
        if self.kind == "statuses":
            tape = self.sources.tape(symbol)
            return [say.status_message(symbol, tape, data["session"], data["now_ns"])]
        if data["kind"] != BAR_KINDS[self.kind]:
            return []
        return [say.bar_message(symbol, data["kind"], BarRow(*data["bar"]))]

    def publish(self, messages: list[say.Message]) -> None:
        """Send messages to every listener in one frame."""
        if messages:
            self._published += 1
            self.channel.publish(Position(EPOCH, self._published), say.encoder(messages))


class LoadedTopic(Topic):
    """A topic that loads something at its beginning and after a loss, while messages wait."""

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self._held: list[dict[str, Any]] = []
        self._task: asyncio.Task[None] | None = None
        super().__init__(kind, symbol, sources, leave)
        self.reload()

    def close(self) -> None:
        """Stop following."""
        super().close()
        if self._task is not None:
            self._task.cancel()

    def reload(self) -> None:
        """Begin to load, anew where that is under way."""
        if self._task is not None:
            self._task.cancel()
        self._held.clear()
        self._task = asyncio.create_task(self._load_at_last())

    def _on_gap(self, gap: Gap) -> None:
        self.reload()

    def _on_messages(self, messages: list[Message]) -> None:
        found = [msgspec.msgpack.decode(message.payload) for message in messages]
        if self._task is None:
            self.take(found)
            return
        self._held += found
        if len(self._held) > HELD_MAX:
            self.reload()

    async def _load_at_last(self) -> None:
        waiting = False
        while True:
            try:
                if await self.load():
                    break
                why = "the feed does not know the symbol yet"
            except (FeedUnavailable, LedgerUnavailable) as error:
                why = error.message
            if not waiting:
                log.get("stream").info("loading waits", topic=self.channel.name, why=why)
                waiting = True
            await asyncio.sleep(RETRY_S)
        self._task = None
        held, self._held = self._held, []
        self.take(held)

    async def load(self) -> bool:
        """Load what is needed before messages may go on; False to try again."""
        raise NotImplementedError

    def take(self, found: list[dict[str, Any]]) -> None:
        """Take messages that follow what was loaded."""
        raise NotImplementedError


class TradesTopic(LoadedTopic):
    """Trades of one symbol or all: each once, ids rising, none left out while anybody listens."""

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self._last: int | None = None
        self._since_ns = sources.clock.now_ns()  # what is traded from here on must be told
        super().__init__(kind, symbol, sources, leave)

    async def load(self) -> bool:
        """Find where to begin, or publish what was missed."""
        await self.sources.feed.sync()
        instruments = self._instruments()
        since_ns = 0
        if self._last is None:
            latest = (await self._ask("market_latest", instruments))["latest"]
            newest = max((row[0][0] for row in latest.values() if row[0]), default=0)
            if all(row[0][-1] < self._since_ns for row in latest.values() if row[0]):
                self._last = newest
                return True
            since_ns, self._last = self._since_ns, max(0, newest - FIRST_LOOK_BACK)
        while True:
            missed = await self._ask("market_trades_after", instruments, since_ns)
            by_number = self.sources.replica.directory.instruments
            self._tell([(by_number[n].symbol, fields) for n, fields in missed["trades"]])
            if missed["complete"]:
                return True

    async def _ask(
        self, kind: str, instruments: list[int] | None, since_ns: int = 0
    ) -> dict[str, Any]:
        question = {"kind": kind, "instruments": instruments, "limit": MISSED_AT_ONCE}
        return await self.sources.ledger.ask(
            {**question, "after": self._last or 0, "since_ns": since_ns}
        )

    def _instruments(self) -> list[int] | None:
        if self.symbol == EVERY:
            return None
        found = self.sources.replica.directory.instrument(self.symbol)
        return [] if found is None else [found.number]

    def take(self, found: list[dict[str, Any]]) -> None:
        """Publish trades that were not published."""
        self._tell([(data["symbol"], fields) for data in found for fields in data["trades"]])

    def _tell(self, trades: list[tuple[str, list[int]]]) -> None:
        messages: list[say.Message] = []
        for symbol, fields in trades:
            row = TradeRow(*fields)
            assert self._last is not None
            if row.trade_id > self._last:
                self._last = row.trade_id
                messages.append(say.trade_message(symbol, self.sources.tape(symbol), row))
        self.publish(messages)


class BookTopic(LoadedTopic):
    """The book of one symbol, kept here so that whoever comes later begins with all of it."""

    _state: DepthState | None = None
    _now_ns = 0

    def join(self, connection: Connection) -> None:
        """Send the book as it stands, then its deltas; where it is not loaded it comes to all."""
        if self._task is None and self._state is not None:
            connection.send(*say.encode([self._whole(self._state)], connection.dialect))
        connection.subscribe(self.channel)

    async def load(self) -> bool:
        """Load the book and say all of it."""
        depth = await self.sources.feed.depth(self.symbol)
        if depth is None:
            return False
        self._state = DepthState(depth.sequence, dict(depth.bids), dict(depth.asks))
        self._now_ns = depth.now_ns
        self.publish([self._whole(self._state)])
        return True

    def _whole(self, state: DepthState) -> say.Message:
        delta = Delta(state.sequence, state.sequence, self._now_ns, *state.best(), state.checksum())
        return say.book_message(self.symbol, delta, whole=True)

    def take(self, found: list[dict[str, Any]]) -> None:
        """Apply deltas and pass them on; one that does not lead on means loading anew."""
        messages: list[say.Message] = []
        for data in found:
            previous, sequence, now_ns, bids, asks, checksum = data["delta"]
            state = self._state
            assert state is not None
            if sequence <= state.sequence:
                continue
            delta = Delta(
                previous, sequence, now_ns, [(p, q) for p, q in bids], [(p, q) for p, q in asks],
                checksum,
            )  # fmt: skip
            if not state.apply(delta):
                self.publish(messages)
                self.reload()
                return
            self._now_ns = now_ns
            messages.append(say.book_message(self.symbol, delta, whole=False))
        self.publish(messages)


class MarketTopics:
    """The topics that connections of this worker listen to."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._topics: dict[tuple[str, str], Topic] = {}

    @property
    def count(self) -> int:
        """How many topics somebody listens to."""
        return len(self._topics)

    def find(self, kind: str, symbol: str) -> Topic | None:
        """Return a topic that somebody listens to."""
        return self._topics.get((kind, symbol))

    def join(self, kind: str, symbol: str, connection: Connection) -> None:
        """Send a channel of a symbol to a connection."""
        topic = self._topics.get((kind, symbol))
        if topic is None:
            make = {"trades": TradesTopic, "orderbooks": BookTopic}.get(kind, Topic)
            topic = self._topics[kind, symbol] = make(kind, symbol, self.sources, self._leave)
        topic.join(connection)

    def part(self, kind: str, symbol: str, connection: Connection) -> None:
        """Stop sending it."""
        topic = self._topics.get((kind, symbol))
        if topic is not None:
            connection.unsubscribe(topic.channel)

    def _leave(self, topic: Topic) -> None:
        if self._topics.get((topic.kind, topic.symbol)) is topic:
            del self._topics[topic.kind, topic.symbol]
            topic.close()
            self.sources.hub.drop(topic.channel.name)

    def close(self) -> None:
        """Let every topic go."""
        for topic in list(self._topics.values()):
            topic.close()
        self._topics.clear()
