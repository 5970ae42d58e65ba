"""One trader's own orders and holdings, as far as it has been told. Pure.

An order has a `tag`, the trader's own number for it, from before it is sent until it is gone; the
venue's id comes with the answer. Invariant: an order that is on its way, or about to be replaced,
is `busy`, and no strategy touches it until the answer is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from madang.wire.codes import Side

MARKET = 0
"""In place of a price."""


class Order(NamedTuple):
    """What a strategy wants sent: `price` in price units, `shares` whole.

    `rests`: what is not filled at once stays in the book, and day after day if it is `long`.
    `replaces` is the tag of an own order in whose place this one comes.
    """

    symbol: str
    side: Side
    shares: int
    price: int
    rests: bool = False
    long: bool = False
    replaces: int = 0


@dataclass(slots=True)
class Resting:
    """An own order in the book; `filled` counts towards the whole order's size."""

    tag: int
    symbol: str
    side: Side
    price: int
    left: int
    filled: int = 0
    order_id: str | int = ""
    busy: bool = True
    replaces: int = 0


class Desk:
    """What one trader has."""

    def __init__(self) -> None:
        self.orders: dict[int, Resting] = {}
        self.held: dict[str, int] = {}
        self.target: dict[str, int] | None = None
        self._by_place: dict[tuple[str, Side], dict[int, Resting]] = {}
        self.last_tag = 0

    def surplus(self, symbol: str) -> int:
        """Return how many shares are held above what is wanted (negative: below)."""
        wanted = self.target or {}
        return self.held.get(symbol, 0) - wanted.get(symbol, 0)

    def resting(self, symbol: str, side: Side) -> dict[int, Resting]:
        """Return the own orders of a symbol's side."""
        return self._by_place.setdefault((symbol, side), {})

    def send(self, order: Order) -> Resting:
        """Note that an order is about to be sent and return how it is known from here on."""
        self.last_tag += 1
        resting = Resting(self.last_tag, order.symbol, order.side, order.price, order.shares)
        resting.replaces = order.replaces
        old = self.orders.get(order.replaces)
        if old is not None:
            old.busy = True
            resting.filled = old.filled
        self._keep(resting)
        return resting

    def _keep(self, resting: Resting) -> None:
        self.orders[resting.tag] = resting
        self.resting(resting.symbol, resting.side)[resting.tag] = resting

    def accepted(self, tag: int, order_id: str | int, left: int) -> None:
        """Note that the venue has the order, with so many shares of it in the book."""
        resting = self.orders.get(tag)
        if resting is None:
            return
        self.gone(resting.replaces)
        resting.order_id = order_id
        resting.busy = False
        self.left(tag, left)

    def refused(self, tag: int, *, unknown: bool) -> None:
        """Note that the venue said no; `unknown`: because the replaced order is not there."""
        resting = self.orders.get(tag)
        if resting is None:
            return
        self.gone(tag)
        old = self.orders.get(resting.replaces)
        if old is not None:
            old.busy = False
            if unknown:
                self.gone(old.tag)

    def left(self, tag: int, left: int) -> None:
        """Note how much of an order is in the book; none ends it."""
        resting = self.orders.get(tag)
        if resting is None:
            return
        if left < resting.left:
            resting.filled += resting.left - left
            resting.left = left
        if resting.left <= 0:
            self.gone(tag)

    def gone(self, tag: int) -> None:
        """Note that an order is no more."""
        resting = self.orders.pop(tag, None)
        if resting is not None:
            del self.resting(resting.symbol, resting.side)[tag]

    def restart(self, held: dict[str, int]) -> None:
        """Forget the orders: they are about to be told anew with `adopt`."""
        self.orders.clear()
        self._by_place.clear()
        self.held = held
        if self.target is None:
            self.target = dict(held)

    def adopt(self, resting: Resting) -> None:
        """Take over an order that the venue has; its tag is given here."""
        self.last_tag += 1
        resting.tag = self.last_tag
        resting.busy = False
        self._keep(resting)
