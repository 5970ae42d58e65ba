"""Liquibook: a C++ book with five levels of depth, behind SWIG. No accounts, money or keys."""

from __future__ import annotations

import sys
from collections.abc import Callable

sys.path.insert(0, sys.argv[2])

import liquibook

from bench.order_flow import Action, Operation
from bench.peers import Apply, measure
from madang.wire.codes import Side

UNCHANGED = 0


class Fills(liquibook.OrderListener):
    """Counts the trades."""

    def __init__(self) -> None:
        super().__init__()
        self.trades = 0

    def on_fill(self, *_: object) -> None:
        self.trades += 1

    def on_accept(self, *_: object) -> None:
        """Nothing to do."""

    on_reject = on_cancel = on_cancel_reject = on_replace = on_replace_reject = on_accept


def make_book() -> tuple[Apply, Callable[[], int]]:
    """Return a book whose orders are known by the flow's numbers."""
    book = liquibook.DepthOrderBook()
    fills = Fills()
    book.set_order_listener(fills)
    orders: dict[int, object] = {}

    def apply(action: Action) -> None:
        operation, number = action.operation, action.order
        if operation == Operation.MOVE:
            book.replace(orders[number], UNCHANGED, action.price)
        elif operation == Operation.CANCEL:
            book.cancel(orders.pop(number))
        else:
            conditions = (
                liquibook.oc_immediate_or_cancel
                if operation == Operation.PLACE_IOC
                else liquibook.oc_no_conditions
            )
            order = liquibook.SimpleOrder(
                action.side == Side.BUY, action.price, action.quantity, 0, conditions
            )
            orders[number] = order
            book.add(order, conditions)

    return apply, lambda: fills.trades


if __name__ == "__main__":
    measure(make_book)
