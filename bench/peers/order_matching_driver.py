"""order-matching: a book in Python with float prices. No accounts; a move is cancel and place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timedelta

sys.path.insert(0, sys.argv[2])

from loguru import logger
from order_matching.enums import Side as PeerSide
from order_matching.matching_engine import MatchingEngine
from order_matching.order import LimitOrder
from order_matching.orders import Orders

from bench.order_flow import Action, Operation
from bench.peers import Apply, measure
from madang.wire.codes import Side

LIMIT_S = 4.0
STEP = timedelta(microseconds=1)


def make_book() -> tuple[Apply, Callable[[], int]]:
    """Return a book whose orders are known by the flow's numbers; it is spared its logging."""
    logger.remove()
    engine = MatchingEngine(seed=1)
    now = datetime(2025, 1, 2, 9, 30)  # noqa: DTZ001  (the peer wants it naive)
    count = 0

    def place(action: Action) -> None:
        nonlocal now, count
        now += STEP
        order = LimitOrder(
            side=PeerSide.BUY if action.side == Side.BUY else PeerSide.SELL,
            price=action.price,
            size=action.quantity,
            timestamp=now,
            order_id=str(action.order),
            trader_id=str(action.account),
        )
        engine.place(Orders([order]))
        count += len(engine.match(timestamp=now).trades)

    def apply(action: Action) -> None:
        if action.operation in (Operation.MOVE, Operation.CANCEL):
            engine.cancel_order(str(action.order))
        if action.operation != Operation.CANCEL:
            place(action)
        if action.operation == Operation.PLACE_IOC:
            number = str(action.order)
            if engine.unprocessed_orders.find_order_by_id(number) is not None:
                engine.cancel_order(number)

    return apply, lambda: count


if __name__ == "__main__":
    measure(make_book, limit_s=LIMIT_S, metric="python_commands_per_s")
