"""The fills of a replay's accounts, put together to trades as the venue tells them.

Every side of a trade is an order event of its own; two of them with one trade id are a trade
between two orders of the replay. A side whose other does not come belongs to somebody else. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from madang.wire.codes import OrderEvent, Side
from madang.wire.events import EventKind, OrderUpdate, Trade, parse_order_update, split_records

_FILLS = (OrderEvent.FILL, OrderEvent.PARTIAL_FILL)


class Execution(NamedTuple):
    """Who met whom, and at what."""

    buy_order: int
    sell_order: int
    price: int
    quantity: int


class Fills:
    """Hears order events; `pairs` are the trades between two orders of the replay."""

    def __init__(self) -> None:
        self.pairs: Counter[Execution] = Counter()
        self.foreign = 0  # sides whose other belongs to somebody else
        self._halves: dict[int, tuple[OrderUpdate, float]] = {}
        self._watched: list[tuple[OrderUpdate, OrderUpdate | None]] | None = None

    def hear(self, events: bytes, now_s: float) -> None:
        """Take order events of the replay's accounts."""
        for kind, offset, _ in split_records(events):
            if kind == EventKind.ORDER:
                update = parse_order_update(events, offset)
                if update.event in _FILLS:
                    self._take(update, now_s)

    def _take(self, update: OrderUpdate, now_s: float) -> None:
        known = self._halves.pop(update.trade_id, None)
        if known is None:
            self._halves[update.trade_id] = update, now_s
            return
        other = known[0]
        self.pairs[execution(trade_of(update, other))] += 1
        if self._watched is not None:
            self._watched += [(update, other), (other, update)]

    @property
    def open(self) -> int:
        """Return how many sides are alone so far."""
        return len(self._halves)

    def expire(self, before_s: float) -> None:
        """Count sides that were heard before that time and are still alone as others' trades."""
        late = [number for number, (_, at_s) in self._halves.items() if at_s <= before_s]
        self.foreign += len(late)
        for number in late:
            del self._halves[number]

    def watch(self) -> None:
        """Keep the fills that come from here on, for `trades_of`."""
        self._watched = []

    def trades_of(self, order_id: int, quantity: int, *, whole: bool) -> list[Trade] | None:
        """Return the trades that filled so much of an order since `watch`.

        None where `whole` is wanted and a side of them is missing. Otherwise sides that are alone
        are taken as they are.
        """
        assert self._watched is not None
        found = [pair for pair in self._watched if pair[0].order.order_id == order_id]
        if whole and sum(update.fill_quantity for update, _ in found) < quantity:
            return None
        if not whole:
            alone = [
                number
                for number, (update, _) in self._halves.items()
                if update.order.order_id == order_id
            ]
            found += [(self._halves.pop(number)[0], None) for number in alone]
            self.foreign += len(alone)
        return [trade_of(update, other) for update, other in found]


def trade_of(update: OrderUpdate, other: OrderUpdate | None) -> Trade:
    """Return the trade that a side tells of; an unknown other side has order and account 0."""
    order = update.order
    sides = {
        order.side: (order.order_id, order.account),
        3 - order.side: (other.order.order_id, other.order.account) if other else (0, 0),
    }
    buy, sell = sides[Side.BUY], sides[Side.SELL]
    return Trade(
        update.sequence, update.now_ns, update.event_id, order.instrument, order.side,
        update.fill_price, update.fill_quantity, update.trade_id, buy[0], sell[0], buy[1], sell[1],
    )  # fmt: skip


def execution(trade: Trade) -> Execution:
    """Return what counts of a trade when two engines are compared."""
    return Execution(trade.buy_order, trade.sell_order, trade.price, trade.quantity)
