"""The invariants of the market, checked in full. Each assertion names what does not hold.

The running engine asserts the cheap ones where they could break; this walks the whole state and is
for tests, for `madang venue verify` and for replicas that compare themselves.
"""

from __future__ import annotations

from itertools import pairwise

from madang.exchange.engine.levels import PriceLevels
from madang.exchange.engine.lifecycle import assert_not_crossed
from madang.exchange.engine.money import hold_of
from madang.exchange.engine.state import Account, Instrument, Order, Place, State
from madang.wire.codes import FEE_ACCOUNT, Session, Side, Status


def check_state(state: State) -> None:
    """Check every invariant; AssertionError names the one that does not hold."""
    places = 0
    for instrument in state.instruments.values():
        places += _check_instrument(state, instrument)
    assert places == len(state.orders), "every live order is in exactly one place"
    for order in state.orders.values():
        _check_order(state, order)
    for account in state.accounts:
        _check_account(state, account)
    _check_totals(state)
    _check_numbers(state)


def _check_instrument(state: State, instrument: Instrument) -> int:
    """Check book, stops and queue of an instrument and return how many orders they have."""
    count = 0
    for side in (Side.BUY, Side.SELL):
        book, stops = instrument.book_side(side), instrument.stops_side(side)
        for price, order in book.walk():
            assert order.side == side, "an order is on its side of the book"
            assert order.limit_price == price, "an order is at its price"
            _check_place(state, instrument, order, Place.BOOK)
            count += 1
        for price, order in stops.walk():
            assert order.stop_price == price, "a stop waits at its price"
            _check_place(state, instrument, order, Place.STOPS)
            count += 1
        _check_levels(book)
        _check_levels(stops)
    for order in instrument.queue.values():
        _check_place(state, instrument, order, Place.QUEUE)
        count += 1
    assert list(instrument.queue) == sorted(instrument.queue), "the queue is in order"
    if state.effective_session(instrument) == Session.OPEN:
        assert not instrument.queue, "nothing queues in an open instrument"
        assert_not_crossed(instrument)
    return count


def _check_place(state: State, instrument: Instrument, order: Order, place: Place) -> None:
    assert order.place == place, "an order knows its place"
    assert order.instrument == instrument.number, "an order is in its instrument"
    assert state.orders.get(order.order_id) is order, "an order in a place is live"


def _check_levels(levels: PriceLevels[Order]) -> None:
    prices = list(levels.prices())
    assert sorted(prices) == sorted(levels.levels), "every level has its price in line"
    for better, worse in pairwise(prices):
        assert better != worse, "a price has one level"
        assert levels.reaches(better, worse), "prices are sorted, best first"
    for level in levels.levels.values():
        assert level.orders, "no level is empty"
        assert list(level.orders) == sorted(level.orders), "first come, first served"
        for priority, order in level.orders.items():
            assert order.priority == priority, "an order stands under its priority"
        total = sum(order.leaves for order in level.orders.values())
        assert level.quantity == total, "a level's total equals its orders"


def _check_order(state: State, order: Order) -> None:
    assert order.status < Status.FILLED, "a live order is not final"
    assert order.by_notional or order.leaves > 0, "a live order has something left"
    assert order.hold == hold_of(order), "a hold equals its formula"
    assert order.hold >= 0, "a hold is never negative"
    assert state.accounts[order.account].orders.get(order.order_id) is order, (
        "a live order is with its account"
    )


def _check_account(state: State, account: Account) -> None:
    held_cash = 0
    held_shares = dict.fromkeys(account.positions, 0)
    for order in account.orders.values():
        assert state.orders.get(order.order_id) is order, "an account's order is live"
        if order.side == Side.BUY:
            held_cash += order.hold
        else:
            held_shares[order.instrument] += order.hold
    assert account.held == held_cash, "held cash equals the open orders"
    if account.number != FEE_ACCOUNT:
        assert 0 <= account.held <= account.cash, "available cash is not negative"
    for number, position in account.positions.items():
        assert position.quantity > 0, "an empty position is gone"
        assert position.held == held_shares[number], "held shares equal the open orders"
        assert position.held <= position.quantity, "available shares are not negative"
        assert position.cost_basis >= 0, "a cost basis is not negative"


def _check_totals(state: State) -> None:
    assert sum(account.cash for account in state.accounts) == state.cash_total, "cash is conserved"
    shares = dict.fromkeys(state.instruments, 0)
    for account in state.accounts:
        for number, position in account.positions.items():
            shares[number] += position.quantity
    for number, instrument in state.instruments.items():
        assert shares[number] == instrument.shares_total, "shares are conserved"


def _check_numbers(state: State) -> None:
    keyed = {key.order_id for key in state.keys.values()}
    for order in state.orders.values():
        assert order.order_id in keyed, "the key of a live order is kept"
        assert order.order_id < state.next_order_id, "the next order id is above all"
        assert order.priority < state.next_priority, "the next priority is above all"
    for number in state.credentials:
        assert number < state.next_credential, "the next credential number is above all"
    for records in (state.keys.values(), state.outcomes.values()):
        sessions = [record.session for record in records]
        assert sessions == sorted(sessions), "keys and outcomes are in order of their session"
        assert not sessions or sessions[-1] <= state.session_number, "no session is ahead"
