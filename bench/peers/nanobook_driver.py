"""nanobook: a Rust book behind PyO3. No accounts, no money, no keys.

Version 0.19.2 never returns from a crossing order some hundred commands into this flow, through
`submit_limit` as through `modify`. So it is measured over the first 500; a move is a cancel
and a new order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

sys.path.insert(0, sys.argv[2])

import nanobook

from bench.order_flow import Action, Operation
from bench.peers import Apply, measure
from madang.wire.codes import Side

FIRST = 500


def make_book() -> tuple[Apply, Callable[[], int]]:
    """Return a book whose orders are known by the flow's numbers."""
    exchange = nanobook.Exchange()
    ids: dict[int, int] = {}
    count = 0

    def apply(action: Action) -> None:
        nonlocal count
        operation, number = action.operation, action.order
        if operation in (Operation.MOVE, Operation.CANCEL):
            exchange.cancel(ids.pop(number))
        if operation != Operation.CANCEL:
            side = "buy" if action.side == Side.BUY else "sell"
            tif = "ioc" if operation == Operation.PLACE_IOC else "gtc"
            result = exchange.submit_limit(side, action.price, action.quantity, tif)
            ids[number] = result.order_id
            count += len(result.trades)

    return apply, lambda: count


if __name__ == "__main__":
    measure(make_book, first=FIRST)
