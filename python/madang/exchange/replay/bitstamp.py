"""Replaying Bitstamp order events: created, changed and deleted, each naming its order.

The file does not say who traded with whom. A created order is sent as it was, so the engine matches
it by its own rules; what the file says of it later either finds it in the book, or finds that the
engine has filled it already, or names an order from before the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from madang.exchange.replay.client import Client, ReplayAccounts, Steps
from madang.exchange.replay.files import read_lines
from madang.wire.codes import PRICE_SCALE, QUANTITY_SCALE, Reason, Side, TimeInForce

QUANTITY_PER_SATOSHI = QUANTITY_SCALE // 100_000_000
_SIDES = {"bid": Side.BUY, "ask": Side.SELL}


class Action(StrEnum):
    """What happened to an order."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


class BitstampEvent(NamedTuple):
    """One event; `quantity` (what is left) and `price` are in the market's units."""

    order_id: int
    time_ms: int
    price: int
    quantity: int
    action: Action
    side: Side


def read_bitstamp(lines: Iterable[str]) -> Iterator[BitstampEvent]:
    """Yield the events of a file whose first line names the columns.

    Raises ReplayFileError at the first line that is not one.
    """
    rows = iter(lines)
    next(rows, None)
    return read_lines(rows, _event, "Bitstamp order event", first_line=2)


def _event(line: str) -> BitstampEvent:
    order_id, _, time_ms, price, satoshi, action, direction = line.split(",")
    quantity = int(Decimal(satoshi)) * QUANTITY_PER_SATOSHI
    price_units = int(Decimal(price) * PRICE_SCALE)
    side = _SIDES[direction]
    return BitstampEvent(int(order_id), int(time_ms), price_units, quantity, Action(action), side)


@dataclass(slots=True)
class Found:
    """What the changes and deletes of a file found."""

    live: int = 0  # the order, in the book
    filled: int = 0  # an order that the engine has filled in full
    unknown: int = 0  # nothing: it was created before the file

    @property
    def total(self) -> int:
        """How many changes and deletes there were."""
        return self.live + self.filled + self.unknown


@dataclass(slots=True)
class _Order:
    account: int
    side: Side
    price: int
    engine_id: int
    quantity: int
    left: int


class BitstampReplay:
    """Replays order events one by one with `apply`, and counts what they find."""

    def __init__(self, accounts: ReplayAccounts, run: bytes) -> None:
        self.changes = Found()
        self.deletes = Found()
        self.trades = 0
        self.rejected = 0
        self._client = Client(accounts, run)
        self._orders: dict[int, _Order] = {}  # by the file's id; kept when filled
        self._by_engine_id: dict[int, _Order] = {}

    @property
    def introduced(self) -> int:
        """How many orders of the file were placed."""
        return len(self._orders)

    def levels(self) -> dict[Side, dict[int, int]]:
        """Return what should be in the book: by side, the quantity at each price."""
        found: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
        for order in self._orders.values():
            if order.left:
                side = found[order.side]
                side[order.price] = side.get(order.price, 0) + order.left
        return found

    def apply(self, event: BitstampEvent) -> Steps[None]:
        """Replay one event."""
        if event.action == Action.CREATED:
            yield from self._create(event)
        elif event.action == Action.CHANGED:
            yield from self._change(event)
        else:
            yield from self._delete(event)

    def _create(self, event: BitstampEvent) -> Steps[None]:
        account = self._client.maker(event.side, event.order_id)
        reply = yield from self._client.place(
            account, event.side, event.price, event.quantity, TimeInForce.GTC
        )
        if reply.result.reason != Reason.OK:
            self.rejected += 1
            return
        order = _Order(
            account, event.side, event.price, reply.result.number, event.quantity, event.quantity
        )
        self._orders[event.order_id] = order
        self._by_engine_id[order.engine_id] = order
        for trade in reply.trades:
            self.trades += 1
            for engine_id in (trade.buy_order, trade.sell_order):
                filled = self._by_engine_id.get(engine_id)
                if filled is not None:
                    filled.left -= trade.quantity

    def _look_up(self, event: BitstampEvent, found: Found) -> _Order | None:
        order = self._orders.get(event.order_id)
        if order is None:
            found.unknown += 1
            return None
        if order.left == 0:
            found.filled += 1
            return None
        found.live += 1
        return order

    def _change(self, event: BitstampEvent) -> Steps[None]:
        """Make the order as small as the file says; it may be smaller already."""
        order = self._look_up(event, self.changes)
        if order is None or not 0 < event.quantity < order.left:
            return
        order.quantity -= order.left - event.quantity
        order.left = event.quantity
        reply = yield from self._client.reduce(order.account, order.engine_id, order.quantity)
        if reply.result.reason != Reason.OK:
            self.rejected += 1
            return
        order.engine_id = reply.result.number
        self._by_engine_id[order.engine_id] = order

    def _delete(self, event: BitstampEvent) -> Steps[None]:
        order = self._look_up(event, self.deletes)
        if order is not None:
            reply = yield from self._client.cancel(order.account, order.engine_id)
            self.rejected += reply.result.reason != Reason.OK
            order.left = 0
