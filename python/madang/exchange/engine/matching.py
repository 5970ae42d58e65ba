"""Matching: price first, then time; the resting order's price is the price of the trade.

`submit` is the way into an open instrument. It lets one order act and then every stop that its
trades set off, until nothing more happens; afterwards the book is not crossed.
"""

from __future__ import annotations

from collections import deque

from madang.exchange.engine.events import Fill
from madang.exchange.engine.levels import PriceLevels
from madang.exchange.engine.lifecycle import (
    announce,
    assert_not_crossed,
    cancel,
    end,
    opposite,
    put,
    shrink,
    take_out,
)
from madang.exchange.engine.money import settle_trade
from madang.exchange.engine.state import Instrument, Order, Place, State
from madang.wire.codes import (
    VALUE_PER_CASH,
    CloseReason,
    OrderEvent,
    OrderFlag,
    OrderType,
    SelfTrade,
    Side,
    Status,
    TimeInForce,
)


class _Traded:
    """The prices one order traded at: what decides which stops trigger."""

    __slots__ = ("high", "low")

    def __init__(self) -> None:
        self.low = 0
        self.high = 0  # 0: nothing traded

    def include(self, price: int) -> None:
        self.low = min(self.low, price) if self.high else price
        self.high = max(self.high, price)


def submit(state: State, order: Order) -> None:
    """Let an order act on its open instrument, and all stops that follow from it."""
    instrument = state.instruments[order.instrument]
    triggered: deque[Order] = deque()
    traded = _enter(state, instrument, order)
    _collect_stops(instrument, traded, triggered)
    while triggered:
        stop = triggered.popleft()
        _trigger(state, stop)
        _collect_stops(instrument, _act(state, instrument, stop), triggered)
    assert_not_crossed(instrument)


def _enter(state: State, instrument: Instrument, order: Order) -> _Traded:
    """Let an order act, or wait for its stop price."""
    waits = order.type in (OrderType.STOP, OrderType.STOP_LIMIT)
    if waits and not order.flags & OrderFlag.TRIGGERED:
        if not _stop_reached(instrument, order):
            put(state, instrument, order, Place.STOPS)
            return _Traded()
        _trigger(state, order)
    return _act(state, instrument, order)


def _stop_reached(instrument: Instrument, order: Order) -> bool:
    last = instrument.last_price
    if last == 0:
        return False
    return last >= order.stop_price if order.side == Side.BUY else last <= order.stop_price


def _trigger(state: State, order: Order) -> None:
    order.flags |= OrderFlag.TRIGGERED
    announce(state, order, OrderEvent.RESTATED)


def _collect_stops(instrument: Instrument, traded: _Traded, triggered: deque[Order]) -> None:
    """Move the stops that trades set off from their place to the end of `triggered`."""
    if traded.high == 0:
        return
    for stops, price in (
        (instrument.buy_stops, traded.high),
        (instrument.sell_stops, traded.low),
    ):
        # The stop nearest to the market is the best of its side: the lowest buy stop.
        while (stop_price := stops.best_price()) is not None and stops.reaches(stop_price, price):
            order = stops.best_level().head()
            take_out(instrument, order)
            triggered.append(order)


def _act(state: State, instrument: Instrument, order: Order) -> _Traded:
    """Match an order and let the rest of it rest or end."""
    traded = _Traded()
    if order.time_in_force == TimeInForce.FOK and not _fills_in_full(instrument, order):
        cancel(state, order, CloseReason.UNFILLED)
        return traded
    _match(state, instrument, order, traded)
    if order.status >= Status.FILLED:
        return traded
    limited = order.type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    if limited and order.time_in_force in (TimeInForce.DAY, TimeInForce.GTC):
        put(state, instrument, order, Place.BOOK)
    else:
        cancel(state, order, CloseReason.UNFILLED)
    return traded


def _fills_in_full(instrument: Instrument, order: Order) -> bool:
    """Tell whether the book can fill all of an order within its protection price."""
    wanted = order.leaves
    side = instrument.book_side(opposite(order.side))
    for price, resting in side.walk():
        if not side.reaches(price, order.protection_price):
            return False
        if resting.account == order.account:
            if order.self_trade != SelfTrade.CANCEL_OLDEST:
                return False
            continue
        wanted -= resting.leaves
        if wanted <= 0:
            return True
    return False


def _match(state: State, instrument: Instrument, order: Order, traded: _Traded) -> None:
    """Trade with the best opposite orders until one side is done."""
    side = instrument.book_side(opposite(order.side))
    while order.status < Status.FILLED:
        price = side.best_price()
        if price is None or not side.reaches(price, order.protection_price):
            return
        resting = side.best_level().head()
        if resting.account == order.account:
            _prevent_self_trade(state, order, resting)
            continue
        quantity = min(resting.leaves, _wanted(instrument, order, price))
        if quantity == 0:
            return
        traded.include(price)
        _trade(state, side, order, resting, quantity)


def _wanted(instrument: Instrument, order: Order, price: int) -> int:
    """Return the most an order takes at a price: for an amount of money, whole lots of it."""
    if not order.by_notional:
        return order.leaves
    quantity = (order.notional * VALUE_PER_CASH - order.filled_value) // price
    return quantity - quantity % instrument.lot


def _trade(
    state: State, side: PriceLevels[Order], taker: Order, maker: Order, quantity: int
) -> None:
    """Make one trade at the resting order's price."""
    instrument = state.instruments[taker.instrument]
    price = maker.limit_price
    assert 0 < quantity <= maker.leaves, "a fill is not more than an order has left"
    assert side.reaches(price, taker.protection_price), "a fill is within the protection price"
    fill = Fill(price, quantity, state.next_trade_id)
    state.next_trade_id += 1
    instrument.last_price = price
    instrument.last_ns = state.now_ns
    # The level counts what its orders have left.
    side.swap(price, maker.priority, maker, -quantity)
    settle_trade(state, taker, maker, price, quantity)
    state.events.trade(taker, maker, fill)
    _announce_fill(state, maker, fill, done=maker.leaves == 0)
    _announce_fill(state, taker, fill, done=_wanted(instrument, taker, price) == 0)


def _announce_fill(state: State, order: Order, fill: Fill, *, done: bool) -> None:
    if done:
        end(state, order, Status.FILLED, CloseReason.NONE)
        announce(state, order, OrderEvent.FILL, fill)
    else:
        order.status = Status.PARTIALLY_FILLED
        announce(state, order, OrderEvent.PARTIAL_FILL, fill)


def _prevent_self_trade(state: State, order: Order, resting: Order) -> None:
    """Keep an account from trading with itself, as its incoming order asks."""
    mode = order.self_trade
    if mode == SelfTrade.DECREMENT and not order.by_notional:
        smaller = min(order.leaves, resting.leaves)
        for one in (resting, order):
            if one.leaves == smaller:
                cancel(state, one, CloseReason.SELF_TRADE)
            else:
                shrink(state, one, smaller)
        return
    if mode in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
        cancel(state, resting, CloseReason.SELF_TRADE)
    if mode != SelfTrade.CANCEL_OLDEST:
        cancel(state, order, CloseReason.SELF_TRADE)
