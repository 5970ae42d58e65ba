"""Price levels: orders sorted by price, and first come first served within a price.

The invariant: `prices` is sorted, the best price last, and every level in it has at least one
order. Orders stand in a level under their priority, so a replacement that keeps the priority keeps
the place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Level(Generic[Item]):
    """The orders at one price, oldest first, and the sum of what they have left."""

    __slots__ = ("orders", "quantity")

    def __init__(self) -> None:
        # Its head is found at once, where a plain dict walks over what was taken out before.
        self.orders: OrderedDict[int, Item] = OrderedDict()
        self.quantity = 0

    def head(self) -> Item:
        """Return the order that is served first."""
        return next(iter(self.orders.values()))


class PriceLevels(Generic[Item]):
    """One side of a book, or the stops of one side."""

    __slots__ = ("_ranks", "_sign", "levels")

    def __init__(self, *, highest_first: bool) -> None:
        self._sign = 1 if highest_first else -1
        self._ranks: list[int] = []  # price x sign, ascending: the best is last
        self.levels: dict[int, Level[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._ranks)

    def best_price(self) -> int | None:
        """Return the price that is served first, None when empty."""
        return self._ranks[-1] * self._sign if self._ranks else None

    def best_level(self) -> Level[Item]:
        """Return the level of the best price; there must be one."""
        return self.levels[self._ranks[-1] * self._sign]

    def reaches(self, price: int, limit: int) -> bool:
        """Tell whether `price` is at `limit` or better (as seen from this side's order)."""
        return price * self._sign >= limit * self._sign

    def add(self, price: int, priority: int, item: Item, quantity: int) -> None:
        """Put an order at the tail of a price."""
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = Level()
            rank = price * self._sign
            self._ranks.insert(bisect_left(self._ranks, rank), rank)
        level.orders[priority] = item
        level.quantity += quantity

    def remove(self, price: int, priority: int, quantity: int) -> None:
        """Take an order out, and its level when it was the last."""
        level = self.levels[price]
        del level.orders[priority]
        level.quantity -= quantity
        if not level.orders:
            del self.levels[price]
            del self._ranks[bisect_left(self._ranks, price * self._sign)]

    def swap(self, price: int, priority: int, item: Item, quantity_change: int) -> None:
        """Put another order in the place of one, with the same priority."""
        level = self.levels[price]
        assert priority in level.orders
        level.orders[priority] = item
        level.quantity += quantity_change

    def prices(self) -> Iterator[int]:
        """Yield the prices, best first."""
        sign = self._sign
        for rank in reversed(self._ranks):
            yield rank * sign

    def walk(self) -> Iterator[tuple[int, Item]]:
        """Yield (price, order) in the order in which they are served."""
        for price in self.prices():
            for item in self.levels[price].orders.values():
                yield price, item
