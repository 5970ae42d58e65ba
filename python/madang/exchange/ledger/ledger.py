"""The ledger itself: follows the log, answers as of what is committed, writes SQL, takes snapshots.

Live state comes from the replica of the engine, what is over from SQL, what is over but not yet
written from memory: so an answer never misses what was acknowledged. Snapshots are taken only of a
sequence that SQL has, so SQL can always be continued from a snapshot without a hole.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from madang.core import log
from madang.exchange.engine.port import Engine
from madang.exchange.ledger.changes import CHANGES_MAX, Changes, RecentEvents, collect
from madang.exchange.ledger.history import History, OrderFilter
from madang.exchange.venue import snapshot as snapshots
from madang.wire.batch import HEADER as BATCH_HEADER
from madang.wire.events import (
    RECORD_HEADER_BYTES,
    Order,
    encode_order,
    parse_order,
    split_records,
)

WRITE_INTERVAL_S = 0.2
WRITE_RETRY_S = 1.0


class Ledger:
    """State and writer of one ledger process."""

    def __init__(self, history: History, state_dir: Path, snapshot_every: int) -> None:
        self._history = history
        self._state_dir = state_dir
        self._snapshot_every = snapshot_every
        self._written = 0
        self._snapshot_at = 0
        self._changes = Changes(0)
        self._writing = Changes(0)
        self._recent: RecentEvents | None = None
        self._room = asyncio.Event()
        self._log = log.get("ledger")

    async def open(self) -> int:
        """Read how far SQL is; returns that sequence."""
        self._written = await self._history.sequence()
        self._changes.sequence = self._writing.sequence = self._written
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
        """Take the events of one applied batch."""
        _, _, _, _, _, sequence, _, count, _ = BATCH_HEADER.unpack_from(batch)
        last = sequence + count - 1
        if self._recent is None:
            self._recent = RecentEvents(int.from_bytes(events[24:32], "little"))
            if sequence > self._written + 1:
                self._log.error("history has a hole", after=self._written, before=sequence)
        collect(events, self._changes if last > self._written else None, self._recent)
        self._changes.sequence = max(self._changes.sequence, last)

    def full(self) -> bool:
        """Tell whether SQL is so far behind that following must pause."""
        return self.waiting >= CHANGES_MAX

    async def write(self) -> None:
        """Write what waits; an error leaves it waiting for the next call."""
        if not len(self._writing):
            self._writing, self._changes = self._changes, Changes(self._changes.sequence)
        if self._writing.sequence > self._written:
            await self._history.write(self._writing, self._written)
            self._written = self._writing.sequence
        self._writing = Changes(self._written)

    async def take_snapshot(self, engine: Engine) -> None:
        """Write a snapshot if enough was applied since the last one and SQL has it all."""
        sequence = engine.sequence
        if sequence - self._snapshot_at < self._snapshot_every or sequence != self._written:
            return
        data = engine.snapshot()
        self._snapshot_at = sequence
        await asyncio.to_thread(
            snapshots.write_snapshot_bytes, self._state_dir, sequence, data, engine.state_hash()
        )
        self._log.info("snapshot", sequence=sequence, bytes=len(data))

    def events_after(
        self, engine: Engine, account: int, event_id: int, limit: int
    ) -> tuple[bool, list[bytes]]:
        """Return (complete, ORDER events of an account after `event_id`)."""
        if self._recent is None:
            return event_id >= engine.statistics()["events"], []
        return self._recent.after(account, event_id, limit)

    def _unwritten(self, order_id: int) -> Order | None:
        return self._changes.order(order_id) or self._writing.order(order_id)

    async def order(self, engine: Engine, account: int, order_id: int) -> Order | None:
        """Return an order of the account, live or over."""
        record = engine.order(order_id)
        if record is not None:
            order: Order | None = parse_order(record, RECORD_HEADER_BYTES)
        else:
            order = self._unwritten(order_id) or await self._history.order(account, order_id)
        return order if order is not None and order.account == account else None

    async def order_by_client_id(self, engine: Engine, account: int, text: str) -> Order | None:
        """Return the newest order of the account with that client_order_id."""
        wanted = text.encode()
        unwritten = [*self._unwritten_orders(account), *live_orders(engine, account)]
        found = [order for order in unwritten if order.client_order_id == wanted]
        if found:
            return max(found, key=lambda order: order.order_id)
        return await self._history.order_by_client_id(account, text)

    async def orders(self, engine: Engine, wanted: OrderFilter, status: str) -> list[Order]:
        """Return the account's orders with `status` open, closed or all."""
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
        return ordered[: wanted.limit]

    def _unwritten_orders(self, account: int) -> list[Order]:
        found = self._writing.orders_of(account)
        found.update(self._changes.orders_of(account))
        return list(found.values())


def live_orders(engine: Engine, account: int) -> list[Order]:
    """Return the account's live orders, ascending id."""
    data = engine.orders(account)
    return [parse_order(data, at + RECORD_HEADER_BYTES) for _, at, _ in split_records(data)]


def bodies(orders: list[Order]) -> list[bytes]:
    """Return order bodies as queries answer them."""
    return [encode_order(order) for order in orders]
