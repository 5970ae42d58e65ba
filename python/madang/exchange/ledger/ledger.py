"""The ledger itself: follows the log, answers as of what is committed, writes SQL, takes snapshots.

Live state comes from the replica of the engine, what is over from SQL, what is over but not yet
written from memory: so an answer never misses what was acknowledged. A snapshot is kept only once
SQL has all up to its sequence, so SQL can always be continued from a snapshot without a hole. What
waits for SQL is bounded: at CHANGES_MAX rows following pauses until a write has made room.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from madang.core import log
from madang.core.errors import MadangError
from madang.exchange.engine.port import Engine
from madang.exchange.feed.days import Days
from madang.exchange.ledger.activities import ActivityFilter
from madang.exchange.ledger.changes import CHANGES_MAX, Changes, RecentEvents, collect
from madang.exchange.ledger.equity import Curve, CurveQuery, EquityRecorder
from madang.exchange.ledger.history import MICROSECOND_NS, History, OrderFilter
from madang.exchange.ledger.market_changes import MarketRows, MarketTracker
from madang.exchange.ledger.today import Day, DayBook, Sessions
from madang.exchange.venue import snapshot as snapshots
from madang.wire.batch import HEADER as BATCH_HEADER
from madang.wire.events import (
    RECORD_HEADER_BYTES,
    Order,
    encode_order,
    parse_order,
    split_records,
)

WRITE_INTERVAL_S: Final = 0.2
WRITE_INTERVAL_BUSY_S: Final = 1.0
"""Under load: an order that changes again within it is written once."""
BUSY_ROWS: Final = 500
"""A write of so many rows makes the next interval the longer one."""
WRITE_RETRY_S: Final = 1.0


class HistoryForkedError(MadangError):
    """The history holds a command that the log lost and has since given to another."""


class Flow(Protocol):
    """What the ledger may hold up: a `Follower`."""

    def pause(self) -> None:
        """Apply nothing more after the chunk that is being applied."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...


class _Snapshot(NamedTuple):
    sequence: int
    data: bytes


class Ledger:
    """State and writer of one ledger process; `flow` is paused while SQL is far behind."""

    def __init__(
        self,
        history: History,
        state_dir: Path,
        snapshot_every: int,
        changes_max: int = CHANGES_MAX,
    ) -> None:
        self.flow: Flow | None = None
        self.market = MarketTracker(Days("UTC"))
        self.days = DayBook(Sessions(Days("UTC"), ()))
        self.replica: Callable[[], Engine] | None = None
        """Who has just applied the batch; without it no worth of accounts is recorded."""
        self._equity = EquityRecorder()
        self._history = history
        self._state_dir = state_dir
        self._snapshot_every = snapshot_every
        self._changes_max = changes_max
        self._written = 0
        self._opened = (0, 0)
        self._snapshot_at = 0
        self._changes = Changes(0)
        self._writing = Changes(0)
        self._snapshot: _Snapshot | None = None
        self._recent: RecentEvents | None = None
        self._paused = False
        self._crowded = asyncio.Event()
        self._last_rows = 0
        self._log = log.get("ledger")

    async def open(self) -> int:
        """Read how far SQL is; returns that sequence."""
        self._opened = await self._history.position()
        self._written = self._opened[0]
        await self._history.market.load(self.market)
        self._changes.reach(*self._opened)
        self._writing.reach(*self._opened)
        return self._written

    @property
    def written(self) -> int:
        """The last sequence that SQL has."""
        return self._written

    @property
    def waiting(self) -> int:
        """Rows not yet written."""
        return len(self._changes) + len(self._writing)

    def on_events(self, batch: bytes, events: bytes) -> None:
        """Take the events of one applied batch; raises HistoryForkedError."""
        _, _, _, _, _, sequence, now_ns, count, _ = BATCH_HEADER.unpack_from(batch)
        last = sequence + count - 1
        opened, opened_ns = self._opened
        if sequence <= opened <= last and now_ns + opened - sequence != opened_ns:
            raise HistoryForkedError(f"the log's command {opened} is not the history's")
        if self._recent is None:
            self._recent = RecentEvents(int.from_bytes(events[24:32], "little"))
            if sequence > self._written + 1:
                self._log.error("history has a hole", after=self._written, before=sequence)
        fresh = last > self._written
        changes = self._changes if fresh else None
        transfers, fills = len(self._changes.transfers), len(self._changes.fills)
        collect(events, changes, self._recent)
        if fresh:
            self.market.collect(events, self._changes.market)
            self.days.collect(islice(self._changes.fills, fills, None))
        if self.replica is not None:
            self._equity.record(now_ns, self.replica(), changes, transfers)
        if last > self._changes.sequence:
            self._changes.reach(last, now_ns + count - 1)
        if len(self._changes) * 2 >= self._changes_max:
            self._crowded.set()
        if self.full() and not self._paused and self.flow is not None:
            self._paused = True
            self.flow.pause()
            self._log.warning("following pauses, SQL is behind", rows=self.waiting)

    def full(self) -> bool:
        """Tell whether SQL is so far behind that following must pause."""
        return self.waiting >= self._changes_max

    async def write_due(self) -> None:
        """Return when the next write should begin: after an interval, or when rows pile up."""
        busy = self._last_rows >= BUSY_ROWS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WRITE_INTERVAL_BUSY_S if busy else WRITE_INTERVAL_S):
                await self._crowded.wait()

    async def write(self, engine: Engine) -> None:
        """Write what waits, and a snapshot of it when one is due.

        An error leaves both waiting for the next call.
        """
        if not len(self._writing):
            self._writing, self._changes = self._changes, self._changes.following()
            self._crowded.clear()
            self._take_snapshot(engine)
        self._last_rows = len(self._writing)
        if self._writing.sequence > self._written:
            await self._history.write(self._writing, self._written)
            self._written = self._writing.sequence
        self._writing = self._writing.following()
        if self._paused and not self.full() and self.flow is not None:
            self._paused = False
            self.flow.resume()
        await self._keep_snapshot()

    def _take_snapshot(self, engine: Engine) -> None:
        """Copy the engine's state as of exactly what is about to be written, when it is due."""
        sequence = engine.sequence
        if (
            sequence == self._writing.sequence
            and sequence - self._snapshot_at >= self._snapshot_every
        ):
            self._snapshot = _Snapshot(sequence, engine.snapshot())

    async def _keep_snapshot(self) -> None:
        taken = self._snapshot
        if taken is None or taken.sequence > self._written:
            return
        digest = hashlib.sha256(taken.data).digest()  # the engine's state_hash(), made once
        await asyncio.to_thread(
            snapshots.write_snapshot_bytes, self._state_dir, taken.sequence, taken.data, digest
        )
        self._snapshot, self._snapshot_at = None, taken.sequence
        self._log.info("snapshot", sequence=taken.sequence, bytes=len(taken.data))

    def events_after(
        self, engine: Engine, account: int, event_id: int, limit: int
    ) -> tuple[bool, list[bytes]]:
        """Return (complete, ORDER events of an account after `event_id`)."""
        if self._recent is None:
            return event_id >= engine.statistics()["events"], []
        return self._recent.after(account, event_id, limit)

    def unwritten_market(self) -> tuple[MarketRows, MarketRows]:
        """Return the market's rows that SQL may not have yet, older ones first."""
        return self._writing.market, self._changes.market

    def _unwritten(self, account: int, order_id: int) -> Order | None:
        return self._changes.order(account, order_id) or self._writing.order(account, order_id)

    async def order(self, engine: Engine, account: int, order_id: int) -> Order | None:
        """Return an order of the account, live or over."""
        record = engine.order(order_id)
        if record is not None:
            order: Order | None = parse_order(record, RECORD_HEADER_BYTES)
        else:
            order = self._unwritten(account, order_id)
            if order is None:
                order = await self._history.order(account, order_id)
        return order if order is not None and order.account == account else None

    async def order_by_client_id(self, engine: Engine, account: int, text: str) -> Order | None:
        """Return the newest order of the account with that client_order_id."""
        wanted = text.encode()
        unwritten = [*self._unwritten_orders(account), *live_orders(engine, account)]
        found = [order for order in unwritten if order.client_order_id == wanted]
        if found:
            return max(found, key=lambda order: order.order_id)
        return await self._history.order_by_client_id(account, text)

    async def activities(self, wanted: ActivityFilter) -> list[dict[str, Any]]:
        """Return fills and transfers of an account, written or not."""
        return await self._history.activities(wanted, (self._writing, self._changes))

    async def curve(self, query: CurveQuery) -> Curve:
        """Return what an account was worth, written or not."""
        return await self._history.curve(query, (self._writing, self._changes))

    async def day(self, engine: Engine, account: int) -> Day:
        """Return what an account's day is measured by; SQL is read once a day for each."""
        known = self.days.known(account, engine.now_ns)
        if known is not None:
            return known
        unwritten = (self._writing, self._changes)
        return await self._history.day(self.days, account, engine.now_ns, unwritten)

    async def orders(self, engine: Engine, wanted: OrderFilter, status: str) -> list[Order]:
        """Return the account's orders with `status` open, closed or all.

        After `limit` of them come those of the last one's microsecond, for clients that page by
        time and keep no nanoseconds.
        """
        found: dict[int, Order] = {}
        live = {order.order_id: order for order in live_orders(engine, wanted.account)}
        if status != "open":
            waiting = self._unwritten_orders(wanted.account)
            for order in await self._history.orders(wanted, closed=status == "closed"):
                found[order.order_id] = order
            for order in waiting:
                if order.closed_ns and wanted.matches(order):
                    found[order.order_id] = order
            found = {i: order for i, order in found.items() if i not in live}
        if status != "closed":
            found.update((i, order) for i, order in live.items() if wanted.matches(order))
        ordered = sorted(
            found.values(), key=lambda o: (o.created_ns, o.order_id), reverse=wanted.descending
        )
        return _page(ordered, wanted.limit)

    def _unwritten_orders(self, account: int) -> list[Order]:
        found = self._writing.orders_of(account)
        found.update(self._changes.orders_of(account))
        return list(found.values())


def live_orders(engine: Engine, account: int) -> list[Order]:
    """Return the account's live orders, ascending id."""
    data = engine.orders(account)
    return [parse_order(data, at + RECORD_HEADER_BYTES) for _, at, _ in split_records(data)]


def _page(ordered: list[Order], limit: int) -> list[Order]:
    end = limit
    while end < len(ordered) and _microsecond(ordered[end]) == _microsecond(ordered[limit - 1]):
        end += 1
    return ordered[:end]


def _microsecond(order: Order) -> int:
    return order.created_ns // MICROSECOND_NS


def bodies(orders: list[Order]) -> list[bytes]:
    """Return order bodies as queries answer them."""
    return [encode_order(order) for order in orders]
