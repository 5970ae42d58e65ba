"""Trades, bars and statuses: told completely, in order, each once, and to be resumed by position.

The position of a trade is its id, which rises over all symbols; a `Feeder` keeps its channel
without a hole from the ledger, which also has what is older than the channel's ring, so that a
client resumes on any worker. Positions of bars and statuses are the times they carry; these are
resumed as far as this worker has listened without a loss. Invariant: a recovery is complete or it
is refused.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from madang.bus import Gap
from madang.core import log
from madang.core.closecodes import CloseCode
from madang.exchange.api.ledger_client import LedgerUnavailable
from madang.exchange.api.market_render import BarRow, TradeRow
from madang.exchange.feed.days import MINUTE_NS
from madang.exchange.stream import market_messages as say
from madang.exchange.stream.moving import stands_at
from madang.exchange.stream.positions import position
from madang.exchange.stream.topic import (
    EVERY,
    FLUSH_WINDOW_MS,
    RETRY_S,
    Leave,
    LoadedTopic,
    Sources,
    Topic,
    say_recovery,
)
from madang.hub import (
    Channel,
    ChannelSettings,
    Connection,
    Feeder,
    FeederSettings,
    HistoryMissing,
    Item,
    Page,
    Position,
    resume_channel,
)

FIRST_LOOK_BACK: Final = 10_000
"""So many trades before the newest are looked through for the first that must be told."""
MISSED_AT_ONCE: Final = 1_000
RESUME_MAX: Final = 10_000
"""So many missed trades are sent to a client that resumes; where there are more it is refused."""
RESUME_DRAIN_S: Final = 10.0
"""How long a client that resumes may take to read a page of what it missed."""
RESUME_POLL_S: Final = 0.005
BARS: Final = ChannelSettings(history_count_max=2_000, flush_window_ms=FLUSH_WINDOW_MS)
TRADES: Final = ChannelSettings(history_count_max=4_000, flush_window_ms=FLUSH_WINDOW_MS)
FEEDER: Final = FeederSettings(interrupt_after_ms=60_000)


class _EventTopic(Topic):
    """A topic over an event channel."""

    channel: Channel
    settings = BARS

    def open(self) -> None:
        """Make the channel."""
        self.channel = self.sources.hub.channel(self.name, self.settings)
        self.channel.on_last = lambda _: self.leave_if_idle()

    def join(self, connection: Connection, since: int | None) -> None:
        """Send everything from here on, or after a position that the ring still knows."""
        if since is None:
            connection.subscribe(self.channel)
            return
        after = position(since)
        recovered = self.channel.recover(after).recovered
        say_recovery(self, connection, recovered=recovered)
        connection.subscribe(self.channel, after if recovered else None)

    def stands_at(self, connection: Connection) -> int | None:
        """Return up to where a connection has everything."""
        return stands_at(self.channel, connection)

    def resume(self, connection: Connection, last: int | None) -> None:
        """Go on with a connection of another worker; raises HistoryMissing."""
        if last is None or not self.live:
            raise HistoryMissing(f"{self.name} is not here yet")
        resume_channel(connection, self.channel, position(last))


class _TimedTopic(_EventTopic, LoadedTopic):
    """Messages with a time; those that share one get positions that follow it."""

    async def load(self) -> bool:
        """Begin once the feed publishes to us: nothing after this moment is missing."""
        await self.sources.feed.sync()
        self.channel.begin(position(self.sources.clock.now_ns()))
        return True

    def tell(self, time_ns: int, message: say.Message) -> None:
        """Publish one message."""
        last = self.channel.position
        offset = time_ns if last is None else max(time_ns, last.offset + 1)
        self.channel.publish(position(offset), say.encoder([message]))


class BarsTopic(_TimedTopic):
    """Minutes that are over; the position is the minute's end, a client gives its beginning."""

    def join(self, connection: Connection, since: int | None) -> None:
        """Send every bar from here on, or after one."""
        super().join(connection, None if since is None else since + MINUTE_NS)

    def take(self, found: list[dict[str, Any]]) -> None:
        """Publish complete minutes."""
        for data in found:
            if data["kind"] == "b":
                bar = BarRow(*data["bar"])
                self.tell(bar.start_ns + MINUTE_NS, say.bar_message(data["symbol"], "b", bar))


class StatusesTopic(_TimedTopic):
    """Changes of the session."""

    def take(self, found: list[dict[str, Any]]) -> None:
        """Publish each."""
        for data in found:
            symbol, now_ns = data["symbol"], data["now_ns"]
            tape = self.sources.tape(symbol)
            self.tell(now_ns, say.status_message(symbol, tape, data["session"], now_ns))


class TradesTopic(_EventTopic):
    """Trades of one symbol or all: each once, ids rising, none left out while anybody listens."""

    settings = TRADES

    def __init__(self, kind: str, symbol: str, sources: Sources, leave: Leave) -> None:
        self._since_ns = sources.clock.now_ns()  # what is traded from here on must be told
        self._resuming: dict[Connection, asyncio.Task[None]] = {}
        super().__init__(kind, symbol, sources, leave)
        self._feeder = Feeder(self.channel, self._query, FEEDER)

    @property
    def idle(self) -> bool:
        """Tell whether nobody listens or is about to."""
        return super().idle and not self._resuming

    @property
    def live(self) -> bool:
        """Tell whether trades are passed on as they come."""
        return self._feeder.live

    def settled(self, connection: Connection) -> bool:
        """Tell whether it is not being told what it missed."""
        return connection not in self._resuming and self.live

    def join(self, connection: Connection, since: int | None) -> None:
        """Send every trade from here on, or after the one with id `since`."""
        if since is None or self._reaches(since):
            super().join(connection, since)
        else:
            task = asyncio.create_task(self._resume(connection, since))
            self._resuming[connection] = task
            task.add_done_callback(lambda ended: self._resumed(connection, ended))

    def part(self, connection: Connection) -> None:
        """Stop sending."""
        task = self._resuming.get(connection)
        if task is not None:
            task.cancel()
        super().part(connection)

    def close(self) -> None:
        """Stop following."""
        super().close()
        self._feeder.close()
        for task in self._resuming.values():
            task.cancel()

    def take(self, found: list[dict[str, Any]]) -> None:
        """Pass trades on, or let them wait while something is missing before them."""
        for data in found:
            for fields in data["trades"]:
                self._feeder.offer(self._item(data["symbol"], TradeRow(*fields)))

    def _on_gap(self, gap: Gap) -> None:
        self._feeder.gap()

    def _reaches(self, since: int) -> bool:
        """Tell whether the ring, and what comes, hold everything after a trade."""
        return self._feeder.live and self.channel.recover(position(since)).recovered

    def _item(self, symbol: str, row: TradeRow) -> Item:
        message = say.trade_message(symbol, self.sources.tape(symbol), row)
        return Item(position(row.trade_id), say.encoder([message]))

    async def _query(self, since: Position | None) -> Page:
        """Find where to begin, or what was missed (for the feeder)."""
        await self.sources.feed.sync()
        if since is None:
            # The feed may have heard of us later than that: what it told nobody is asked for next.
            return Page(True, (), position(await self._beginning()), more=True)
        rows, complete = await self._missed(since.offset, MISSED_AT_ONCE)
        items = [self._item(symbol, row) for symbol, row in rows]
        return Page(True, items, items[-1].position if items else since, more=not complete)

    async def _beginning(self) -> int:
        """Return the trade after which everything must be told."""
        question = {"kind": "market_latest", "instruments": self._instruments()}
        latest = (await self.sources.ledger.ask(question))["latest"]
        newest: int = max((row[0][0] for row in latest.values() if row[0]), default=0)
        if all(row[0][-1] < self._since_ns for row in latest.values() if row[0]):
            return newest
        rows, _ = await self._missed(max(0, newest - FIRST_LOOK_BACK), 1, self._since_ns)
        return rows[0][1].trade_id - 1 if rows else newest

    async def _missed(
        self, after: int, limit: int, since_ns: int = 0
    ) -> tuple[list[tuple[str, TradeRow]], bool]:
        """Return the oldest trades after one, and whether these are all."""
        found = await self.sources.ledger.ask(
            {
                "kind": "market_trades_after",
                "instruments": self._instruments(),
                "after": after,
                "since_ns": since_ns,
                "limit": limit,
            }
        )
        by_number = self.sources.replica.directory.instruments
        rows = [(by_number[n].symbol, TradeRow(*fields)) for n, fields in found["trades"]]
        return rows, found["complete"]

    def _instruments(self) -> list[int] | None:
        if self.symbol == EVERY:
            return None
        found = self.sources.replica.directory.instrument(self.symbol)
        return [] if found is None else [found.number]

    async def _resume(self, connection: Connection, since: int) -> None:
        """Send what the ledger has after a trade, up to where the ring goes on."""
        missed: list[tuple[str, TradeRow]] = []
        last = since
        recovered = True
        try:
            while recovered and not self._reaches(last):
                rows, complete = await self._missed(last, MISSED_AT_ONCE)
                missed += rows
                recovered = len(missed) <= RESUME_MAX
                if rows:
                    last = rows[-1][1].trade_id
                elif complete:
                    await asyncio.sleep(RETRY_S)  # until the feeder is live
        except LedgerUnavailable as error:
            log.get("stream").info("a recovery is refused", topic=self.name, why=error.message)
            recovered = False
        say_recovery(self, connection, recovered=recovered)
        if recovered and not await self._send(connection, missed):
            connection.close(CloseCode.SLOW_CONSUMER, "what was missed is not read")
        since_last = position(last) if recovered else None
        if not connection.closed and not connection.subscribe(self.channel, since_last).recovered:
            connection.close(CloseCode.RECOVERY_REFUSED, "the market was quicker")

    async def _send(self, connection: Connection, missed: list[tuple[str, TradeRow]]) -> bool:
        """Send missed trades a page at a time, the next when the former has left."""
        limit_s = asyncio.get_running_loop().time() + RESUME_DRAIN_S
        for at in range(0, len(missed), MISSED_AT_ONCE):
            while connection.outbox_bytes and not connection.closed:
                if asyncio.get_running_loop().time() > limit_s:
                    return False
                await asyncio.sleep(RESUME_POLL_S)
            page = [
                say.trade_message(symbol, self.sources.tape(symbol), row)
                for symbol, row in missed[at : at + MISSED_AT_ONCE]
            ]
            connection.send(*say.encode(page, connection.dialect))
        return True

    def _resumed(self, connection: Connection, ended: asyncio.Task[None]) -> None:
        if self._resuming.get(connection) is ended:  # else it parted and resumes again
            del self._resuming[connection]
        self.leave_if_idle()
