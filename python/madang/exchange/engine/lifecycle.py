"""The life of a live order between trades: where it waits, how it changes, how it ends.

An order is in one place at a time; `priority` says who came first there. Every step that a client
can see writes one ORDER event, after the state has changed.
"""

from __future__ import annotations

from madang.exchange.engine.events import NO_FILL, Fill
from madang.exchange.engine.money import hold_of, set_hold
from madang.exchange.engine.state import Instrument, Order, Place, State, position_quantity
from madang.wire.codes import CloseReason, OrderEvent, Side, Status


def announce(state: State, order: Order, event: OrderEvent, fill: Fill = NO_FILL) -> None:
    """Write an ORDER event that shows the order and its account's position as they stand."""
    order.updated_ns = state.now_ns
    position = position_quantity(state.accounts[order.account], order.instrument)
    state.events.order(event, order, position, fill)


def open_status(order: Order) -> Status:
    """Return the status of an order that works in an open instrument."""
    return Status.PARTIALLY_FILLED if order.filled_quantity else Status.NEW


def put(state: State, instrument: Instrument, order: Order, place: Place) -> None:
    """Put an order at the tail of a place."""
    order.priority = state.take_priority()
    put_back(instrument, order, place)


def put_back(instrument: Instrument, order: Order, place: Place) -> None:
    """Put an order, which has its priority, at the tail of a place."""
    order.place = place
    if place == Place.BOOK:
        side = instrument.book_side(order.side)
        side.add(order.limit_price, order.priority, order, order.leaves)
    elif place == Place.STOPS:
        stops = instrument.stops_side(order.side)
        stops.add(order.stop_price, order.priority, order, order.leaves)
    else:
        instrument.queue[order.priority] = order


def take_out(instrument: Instrument, order: Order) -> None:
    """Take an order out of its place, if it is in one."""
    if order.place == Place.BOOK:
        side = instrument.book_side(order.side)
        side.remove(order.limit_price, order.priority, order.leaves)
    elif order.place == Place.STOPS:
        stops = instrument.stops_side(order.side)
        stops.remove(order.stop_price, order.priority, order.leaves)
    elif order.place == Place.QUEUE:
        del instrument.queue[order.priority]
    order.place = Place.NONE


def swap(instrument: Instrument, old: Order, new: Order) -> None:
    """Give a replacement the place and the priority of the order it replaces."""
    new.priority = old.priority
    new.place = old.place
    old.place = Place.NONE
    change = new.leaves - old.leaves
    if new.place == Place.BOOK:
        instrument.book_side(new.side).swap(new.limit_price, new.priority, new, change)
    elif new.place == Place.STOPS:
        instrument.stops_side(new.side).swap(new.stop_price, new.priority, new, change)
    else:
        instrument.queue[new.priority] = new


def add_live(state: State, order: Order) -> None:
    """Count an order among the live ones."""
    state.orders[order.order_id] = order
    state.accounts[order.account].orders[order.order_id] = order


def end(state: State, order: Order, status: Status, reason: CloseReason) -> None:
    """End an order without announcing it: out of its place, its hold released, no longer live."""
    take_out(state.instruments[order.instrument], order)
    set_hold(state, order, 0)
    order.status = status
    order.close_reason = reason
    order.closed_ns = order.updated_ns = state.now_ns
    del state.orders[order.order_id]
    del state.accounts[order.account].orders[order.order_id]


def cancel(state: State, order: Order, reason: CloseReason) -> None:
    """Cancel a live order."""
    end(state, order, Status.CANCELED, reason)
    announce(state, order, OrderEvent.CANCELED)


def cancel_all(state: State, orders: list[Order], reason: CloseReason) -> None:
    """Cancel live orders in the order of their ids."""
    for order in sorted(orders, key=lambda order: order.order_id):
        cancel(state, order, reason)


def shrink(state: State, order: Order, quantity: int) -> None:
    """Take `quantity` off what an order still wants; it keeps its place."""
    assert 0 < quantity < order.leaves, "a restated order still wants something"
    order.quantity -= quantity
    if order.place == Place.BOOK:
        side = state.instruments[order.instrument].book_side(order.side)
        side.swap(order.limit_price, order.priority, order, -quantity)
    set_hold(state, order, hold_of(order))
    announce(state, order, OrderEvent.RESTATED)


def assert_not_crossed(instrument: Instrument) -> None:
    """Assert that buyers and sellers in the book do not meet."""
    bid = instrument.bids.best_price()
    ask = instrument.asks.best_price()
    if bid is not None and ask is not None:
        assert bid < ask, "the book is not crossed"


def opposite(side: int) -> Side:
    """Return the other side."""
    return Side.SELL if side == Side.BUY else Side.BUY
