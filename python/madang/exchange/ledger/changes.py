"""What the log did since the last write to SQL, and the recent order events of every account.

Pure: takes event records, keeps bytes, parses only what is written or asked for. `Changes` holds
one record per order (the newest wins) however often it changed; `RecentEvents` keeps the last
RECENT_EVENTS_MAX ORDER events of all accounts and knows, per account, from where it is complete.

Every order of the venue passes `collect` and `rows`, so they read the records with one struct each
and skip what they do not need; `wire.events` says what the fields are.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from typing import Final

from madang.exchange.ledger.market_changes import MarketRows
from madang.wire.events import (
    HEADER,
    HEADER_BYTES,
    ORDER_BODY_BYTES,
    ORDER_EXTRA,
    RECORD_HEADER_BYTES,
    TRADE_BODY,
    TRANSFER_BODY,
    EventKind,
    Order,
    parse_order,
)

RECENT_EVENTS_MAX: Final = 300_000
CHANGES_MAX: Final = 200_000
"""Rows that wait for SQL; following pauses there."""

Row = tuple[int | str, ...]

_ORDER: Final = int(EventKind.ORDER)
_TRADE: Final = int(EventKind.TRADE)
_TRANSFER: Final = int(EventKind.TRANSFER)
_ORDER_AT: Final = HEADER_BYTES + ORDER_EXTRA.size
_CLIENT_ORDER_ID_AT: Final = _ORDER_AT + ORDER_BODY_BYTES
_CLIENT_ORDER_ID_LENGTH_AT: Final = _ORDER_AT + 22

# length kind account
_RECORD: Final = struct.Struct("<HBxI")
# fill_quantity order_id
_KEYS: Final = struct.Struct("<40xq16xQ")
# order_id account instrument side type tif status stp flags reason, qty … replaced_by
_ORDER_ROW: Final = struct.Struct("<64xQIIBBBBBBxBqqqqqQqqqqqQQ")
# sequence now_ns event_id price quantity trade_id position order_id account instrument side status
# cumulative_quantity
_FILL_ROW: Final = struct.Struct("<8xQqQqqQqQIIBxxB36xq")
assert _ORDER_ROW.size == _CLIENT_ORDER_ID_AT

ORDER_COLUMNS: Final = (
    *(name for name in Order._fields if name not in ("filled_value", "client_order_id")),
    "filled_value",
    "client_order_id",
)
FILL_COLUMNS: Final = (
    "sequence", "now_ns", "event_id", "price", "quantity", "trade_id", "position_quantity",
    "order_id", "account", "instrument", "side", "order_status", "cumulative_quantity",
    "liquidity",
)  # fmt: skip
TRANSFER_COLUMNS: Final = (
    "account", "sequence", "now_ns", "event_id", "instrument", "amount", "balance",
)  # fmt: skip
_FILL_SIDE: Final = FILL_COLUMNS.index("side")


class Liquidity(IntEnum):
    """Which side of a trade a fill was."""

    MAKER = 1
    TAKER = 2


class Changes:
    """Rows waiting to be written, up to command `sequence` and its time `now_ns`."""

    def __init__(self, sequence: int, now_ns: int = 0) -> None:
        self.sequence = sequence
        self.now_ns = now_ns
        self.orders: dict[int, dict[int, bytes]] = {}  # by account, then order
        self.fills: list[tuple[bytes, int]] = []  # with the side that took
        self.transfers: list[bytes] = []
        self.market = MarketRows()
        self.equity: list[tuple[int, int, int]] = []
        self.flows: list[tuple[int, int, int, int, int]] = []
        self.order_count = 0

    def __len__(self) -> int:
        moved = len(self.fills) + len(self.transfers) + len(self.flows)
        return self.order_count + moved + len(self.equity) + len(self.market)

    def reach(self, sequence: int, now_ns: int) -> None:
        """Note that everything up to this command is in."""
        self.sequence, self.now_ns = sequence, now_ns

    def following(self) -> Changes:
        """Return an empty set that goes on where this one ends."""
        return Changes(self.sequence, self.now_ns)

    def order(self, account: int, order_id: int) -> Order | None:
        """Return an order that changed, as it last stood."""
        record = self.orders.get(account, {}).get(order_id)
        return None if record is None else parse_order(record, _ORDER_AT)

    def orders_of(self, account: int) -> dict[int, Order]:
        """Return the orders of one account that changed, as they last stood."""
        found = self.orders.get(account, {})
        return {order_id: parse_order(record, _ORDER_AT) for order_id, record in found.items()}

    def order_rows(self) -> Iterator[Row]:
        """Yield a row for every order, in the order of ORDER_COLUMNS."""
        unpack = _ORDER_ROW.unpack_from
        for records in self.orders.values():
            for record in records.values():
                fields = unpack(record)
                end = _CLIENT_ORDER_ID_AT + record[_CLIENT_ORDER_ID_LENGTH_AT]
                yield (
                    *fields[:15],
                    *fields[17:],
                    str(fields[16] << 64 | fields[15]),
                    record[_CLIENT_ORDER_ID_AT:end].decode(),
                )

    def fill_rows(self) -> Iterator[Row]:
        """Yield a row for every fill, in the order of FILL_COLUMNS."""
        unpack = _FILL_ROW.unpack_from
        maker, taker = int(Liquidity.MAKER), int(Liquidity.TAKER)
        for record, aggressor in self.fills:
            fields = unpack(record)
            yield (*fields, taker if fields[_FILL_SIDE] == aggressor else maker)

    def equity_rows(self) -> Iterator[Row]:
        """Yield what accounts were worth: account, step, equity."""
        return iter(self.equity)

    def flow_rows(self) -> Iterator[Row]:
        """Yield what came in and went out: event, account, time, instrument, worth."""
        return iter(self.flows)

    def transfer_rows(self) -> Iterator[Row]:
        """Yield a row for every transfer, in the order of TRANSFER_COLUMNS."""
        for record in self.transfers:
            _, _, _, account, sequence, now_ns, event_id = HEADER.unpack_from(record)
            instrument, _, amount, balance = TRANSFER_BODY.unpack_from(record, HEADER_BYTES)
            yield account, sequence, now_ns, event_id, instrument, amount, balance


def fill_fields(record: bytes) -> tuple[int, ...]:
    """Return a fill's fields in the order of FILL_COLUMNS, but for the liquidity."""
    return _FILL_ROW.unpack_from(record)


class RecentEvents:
    """The newest ORDER events, per account and in order."""

    def __init__(self, first_event_id: int, events_max: int = RECENT_EVENTS_MAX) -> None:
        """Start complete from event `first_event_id` on."""
        self._start = first_event_id - 1
        self._events_max = events_max
        self._all: deque[int] = deque()  # whose events, oldest first
        self._accounts: dict[int, deque[bytes]] = {}
        self._dropped: dict[int, int] = {}

    def add(self, account: int, record: bytes) -> None:
        """Append an event, dropping the oldest of all where the limit is reached."""
        if len(self._all) >= self._events_max:
            self._drop()
        self._all.append(account)
        events = self._accounts.get(account)
        if events is None:
            self._accounts[account] = deque((record,))
        else:
            events.append(record)

    def _drop(self) -> None:
        account = self._all.popleft()
        events = self._accounts[account]
        self._dropped[account] = _event_id(events.popleft())
        if not events:
            del self._accounts[account]

    def after(self, account: int, event_id: int, limit: int) -> tuple[bool, list[bytes]]:
        """Return (complete, the oldest `limit` of the account's events after `event_id`).

        Incomplete means that events right after `event_id` are no longer kept; none are returned.
        """
        if event_id < max(self._start, self._dropped.get(account, 0)):
            return False, []
        events = self._accounts.get(account, ())
        start = len(events)
        for record in reversed(events):
            if _event_id(record) <= event_id:
                break
            start -= 1
        return True, list(islice(events, start, start + limit))


def _event_id(record: bytes) -> int:
    return int.from_bytes(record[24:32], "little")


def collect(events: bytes, changes: Changes | None, recent: RecentEvents) -> None:
    """Sort one batch's events into `changes` (None: SQL has them already) and `recent`."""
    aggressor = offset = 0
    end = len(events)
    while offset < end:
        length, kind, account = _RECORD.unpack_from(events, offset)
        assert length >= RECORD_HEADER_BYTES
        if kind == _ORDER:
            record = events[offset : offset + length]
            recent.add(account, record)
            if changes is not None:
                _collect_order(changes, account, record, aggressor)
        elif kind == _TRADE:
            aggressor = TRADE_BODY.unpack_from(events, offset + HEADER_BYTES)[1]
        elif kind == _TRANSFER and changes is not None:
            changes.transfers.append(events[offset : offset + length])
        offset += length
    assert offset == end


def _collect_order(changes: Changes, account: int, record: bytes, aggressor: int) -> None:
    filled, order_id = _KEYS.unpack_from(record)
    orders = changes.orders.get(account)
    if orders is None:
        orders = changes.orders[account] = {}
    if order_id not in orders:
        changes.order_count += 1
    orders[order_id] = record
    if filled:
        changes.fills.append((record, aggressor))
