"""What the log did since the last write to SQL, and the recent order events of every account.

Pure: takes event records, keeps bytes, parses only what is written or asked for. `Changes` holds
one record per order (the newest wins) however often it changed; `RecentEvents` keeps the last
RECENT_EVENTS_MAX ORDER events of all accounts and knows, per account, from where it is complete.
"""

from __future__ import annotations

from collections import defaultdict, deque
from enum import IntEnum

from madang.wire.events import (
    HEADER,
    HEADER_BYTES,
    ORDER_EXTRA,
    TRADE_BODY,
    TRANSFER_BODY,
    EventKind,
    Order,
    parse_order,
    parse_order_update,
    split_records,
)

RECENT_EVENTS_MAX = 300_000
CHANGES_MAX = 200_000

_ORDER_AT = HEADER_BYTES + ORDER_EXTRA.size


class Liquidity(IntEnum):
    """Which side of a trade a fill was."""

    MAKER = 1
    TAKER = 2


class Changes:
    """Rows waiting to be written, up to log sequence `sequence`."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.orders: dict[int, bytes] = {}
        self.fills: list[tuple[bytes, int]] = []
        self.transfers: list[bytes] = []

    def __len__(self) -> int:
        return len(self.orders) + len(self.fills) + len(self.transfers)

    def order(self, order_id: int) -> Order | None:
        """Return an order that changed, as it last stood."""
        record = self.orders.get(order_id)
        return None if record is None else parse_order(record, _ORDER_AT)

    def orders_of(self, account: int) -> dict[int, Order]:
        """Return the orders of one account that changed, as they last stood."""
        wanted = account.to_bytes(4, "little")
        return {
            order_id: parse_order(record, _ORDER_AT)
            for order_id, record in self.orders.items()
            if record[4:8] == wanted
        }

    def add_order(self, order_id: int, record: bytes) -> None:
        """Note an ORDER event."""
        self.orders[order_id] = record

    def add_fill(self, record: bytes, aggressor: int) -> None:
        """Note the fill of an ORDER event; `aggressor` is the side that took."""
        self.fills.append((record, aggressor))

    def fill_rows(self) -> list[dict[str, object]]:
        """Return a row for every fill."""
        rows: list[dict[str, object]] = []
        for record, aggressor in self.fills:
            update = parse_order_update(record)
            order = update.order
            rows.append(
                {
                    "event_id": update.event_id,
                    "sequence": update.sequence,
                    "now_ns": update.now_ns,
                    "trade_id": update.trade_id,
                    "account": order.account,
                    "order_id": order.order_id,
                    "instrument": order.instrument,
                    "side": order.side,
                    "liquidity": Liquidity.TAKER if order.side == aggressor else Liquidity.MAKER,
                    "order_status": order.status,
                    "price": update.fill_price,
                    "quantity": update.fill_quantity,
                    "position_quantity": update.position_quantity,
                    "cumulative_quantity": order.filled_quantity,
                }
            )
        return rows

    def transfer_rows(self) -> list[dict[str, object]]:
        """Return a row for every transfer."""
        rows: list[dict[str, object]] = []
        for record in self.transfers:
            _, _, _, account, sequence, now_ns, event_id = HEADER.unpack_from(record)
            instrument, _, amount, balance = TRANSFER_BODY.unpack_from(record, HEADER_BYTES)
            rows.append(
                {
                    "event_id": event_id,
                    "sequence": sequence,
                    "now_ns": now_ns,
                    "account": account,
                    "instrument": instrument,
                    "amount": amount,
                    "balance": balance,
                }
            )
        return rows


class RecentEvents:
    """The newest ORDER events, per account and in order."""

    def __init__(self, first_event_id: int, events_max: int = RECENT_EVENTS_MAX) -> None:
        """Start complete from event `first_event_id` on."""
        self._start = first_event_id - 1
        self._events_max = events_max
        self._all: deque[tuple[int, int]] = deque()
        self._accounts: dict[int, deque[tuple[int, bytes]]] = defaultdict(deque)
        self._dropped: dict[int, int] = {}

    def add(self, account: int, event_id: int, record: bytes) -> None:
        """Append an event, dropping the oldest of all where the limit is reached."""
        if len(self._all) >= self._events_max:
            old_account, old_id = self._all.popleft()
            events = self._accounts[old_account]
            events.popleft()
            if not events:
                del self._accounts[old_account]
            self._dropped[old_account] = old_id
        self._all.append((account, event_id))
        self._accounts[account].append((event_id, record))

    def after(self, account: int, event_id: int, limit: int) -> tuple[bool, list[bytes]]:
        """Return (complete, the account's events after `event_id`); incomplete returns none."""
        if event_id < max(self._start, self._dropped.get(account, 0)):
            return False, []
        records = [r for i, r in self._accounts.get(account, ()) if i > event_id]
        return (True, records) if len(records) <= limit else (False, [])


def collect(events: bytes, changes: Changes | None, recent: RecentEvents) -> None:
    """Sort one batch's events into `changes` (None: SQL has them already) and `recent`."""
    aggressor = 0
    for kind, offset, length in split_records(events):
        if kind == EventKind.ORDER:
            record = events[offset : offset + length]
            account = int.from_bytes(record[4:8], "little")
            recent.add(account, int.from_bytes(record[24:32], "little"), record)
            if changes is not None:
                order_id = int.from_bytes(record[_ORDER_AT : _ORDER_AT + 8], "little")
                changes.add_order(order_id, record)
                if record[HEADER_BYTES + 8 : HEADER_BYTES + 16] != _NOTHING:
                    changes.add_fill(record, aggressor)
        elif kind == EventKind.TRADE:
            aggressor = TRADE_BODY.unpack_from(events, offset + HEADER_BYTES)[1]
        elif kind == EventKind.TRANSFER and changes is not None:
            changes.transfers.append(events[offset : offset + length])


_NOTHING = bytes(8)
