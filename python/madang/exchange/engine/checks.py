"""What must be true of an order before it is accepted. Every check returns a refusal, or None.

Checks read the state and change nothing. Their order is part of the rules: the first refusal
counts.
"""

from __future__ import annotations

from typing import NamedTuple

from madang.exchange.engine.events import Answer
from madang.exchange.engine.lifecycle import opposite
from madang.exchange.engine.money import cash_exposure, collar, hold_of
from madang.exchange.engine.state import Instrument, Order, Place, State
from madang.wire.codes import (
    CASH_MAX,
    PRICE_MAX,
    PRICE_SCALE,
    QUANTITY_MAX,
    VALUE_PER_CASH,
    AccountState,
    OrderFlag,
    OrderType,
    Reason,
    SelfTrade,
    Session,
    Side,
    TimeInForce,
)
from madang.wire.commands import TEXT_BYTES_MAX

_FINE_TICK_MAX = 100  # instruments with such a tick have a tick of 1 below one unit of currency
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_LIMITS = (OrderType.LIMIT, OrderType.STOP_LIMIT)


class NewTerms(NamedTuple):
    """The fields of NEW_ORDER_BODY."""

    instrument: int
    side: int
    type: int
    time_in_force: int
    self_trade: int
    quantity: int
    notional: int
    limit_price: int
    stop_price: int
    flags: int
    id_length: int


class ReplaceTerms(NamedTuple):
    """The fields of REPLACE_BODY; 0 leaves a value as it is."""

    order_id: int
    quantity: int
    limit_price: int
    stop_price: int
    time_in_force: int
    id_length: int


def check_account(state: State, number: int) -> Answer | None:
    """Check that an account may trade."""
    account = state.trading_account(number)
    if account is None:
        return Answer(Reason.UNKNOWN_ACCOUNT)
    if account.state == AccountState.DISABLED:
        return Answer(Reason.ACCOUNT_DISABLED)
    return None


def check_new_fields(terms: NewTerms) -> Answer | None:
    """Check that the fields of a new order make sense together."""
    stop = terms.type in _STOPS
    good = (
        Side.BUY <= terms.side <= Side.SELL
        and OrderType.MARKET <= terms.type <= OrderType.STOP_LIMIT
        and TimeInForce.DAY <= terms.time_in_force <= TimeInForce.FOK
        and terms.self_trade <= SelfTrade.REFUSE
        and terms.flags & ~OrderFlag.EXTENDED_HOURS == 0
        and 1 <= terms.id_length <= TEXT_BYTES_MAX
        and (terms.limit_price != 0) == (terms.type in _LIMITS)
        and (terms.stop_price != 0) == stop
        and (terms.quantity != 0) != (terms.notional != 0)
        and not (stop and terms.time_in_force >= TimeInForce.IOC)
    )
    if good and terms.notional:
        good = not stop and terms.time_in_force != TimeInForce.FOK
    return None if good else Answer(Reason.BAD_FIELDS)


def check_replace_fields(order: Order, terms: ReplaceTerms) -> Answer | None:
    """Check that a replacement changes only what its order has."""
    if order.notional or (terms.stop_price and order.flags & OrderFlag.TRIGGERED):
        return Answer(Reason.NOT_REPLACEABLE, order.order_id)
    good = (
        (terms.limit_price == 0 or order.type in _LIMITS)
        and (terms.stop_price == 0 or order.type in _STOPS)
        and terms.time_in_force <= TimeInForce.GTC
        and 1 <= terms.id_length <= TEXT_BYTES_MAX
    )
    return None if good else Answer(Reason.BAD_FIELDS)


def check_quantity(instrument: Instrument, quantity: int) -> Answer | None:
    """Check a given quantity; 0 is not given."""
    if quantity == 0:
        return None
    if not 1 <= quantity <= QUANTITY_MAX:
        return Answer(Reason.BAD_QUANTITY)
    if quantity % instrument.lot:
        return Answer(Reason.BAD_LOT, a=instrument.lot)
    return None


def check_notional(notional: int) -> Answer | None:
    """Check a given amount of money; 0 is not given."""
    if notional == 0 or 1 <= notional <= CASH_MAX:
        return None
    return Answer(Reason.BAD_NOTIONAL)


def check_price(instrument: Instrument, price: int) -> Answer | None:
    """Check a given price; 0 is not given."""
    if price == 0:
        return None
    if not 1 <= price <= PRICE_MAX:
        return Answer(Reason.BAD_PRICE)
    tick = instrument.tick
    if price < PRICE_SCALE and tick <= _FINE_TICK_MAX:
        tick = 1
    if price % tick:
        return Answer(Reason.BAD_TICK, a=tick)
    return None


def check_room(state: State, account: int, key: bytes) -> Answer | None:
    """Check that the client_order_id is new and the account may have one more order."""
    if key in state.keys:
        return Answer(Reason.DUPLICATE_CLIENT_ORDER_ID)
    if len(state.accounts[account].orders) >= state.open_orders_max:
        return Answer(Reason.TOO_MANY_ORDERS, a=state.open_orders_max)
    return None


def check_session(state: State, instrument: Instrument, time_in_force: int) -> Answer | None:
    """Check that an order that cannot wait need not."""
    is_open = state.effective_session(instrument) == Session.OPEN
    if time_in_force >= TimeInForce.IOC and not is_open:
        return Answer(Reason.SESSION_CLOSED)
    return None


def protection_price(instrument: Instrument, terms: NewTerms) -> int:
    """Return P, the worst price an order may trade at; 0 where nothing tells it."""
    if terms.type in _LIMITS:
        return terms.limit_price
    base = terms.stop_price
    if terms.type == OrderType.MARKET:
        opposite_price = instrument.book_side(opposite(terms.side)).best_price()
        base = instrument.last_price or instrument.reference_price or opposite_price or 0
    return collar(terms.side, base, instrument.collar_bps) if base else 0


def shares_for(instrument: Instrument, notional: int, price: int) -> int:
    """Return how many shares, in whole lots, an amount of money buys at a price."""
    quantity = notional * VALUE_PER_CASH // price
    return quantity - quantity % instrument.lot


def check_shares(quantity: int) -> Answer | None:
    """Check the quantity that an amount of money came to."""
    if quantity == 0:
        return Answer(Reason.BAD_NOTIONAL)
    if quantity > QUANTITY_MAX:
        return Answer(Reason.VALUE_TOO_LARGE)
    return None


def check_wash_trade(state: State, order: Order) -> Answer | None:
    """Check, where the order asks for it, that it cannot meet one of its own account."""
    if order.self_trade != SelfTrade.REFUSE:
        return None
    side = state.instruments[order.instrument].book_side(opposite(order.side))
    for other in state.accounts[order.account].orders.values():
        if (
            other.place == Place.BOOK
            and other.instrument == order.instrument
            and other.side != order.side
            and side.reaches(other.limit_price, order.protection_price)
        ):
            return Answer(Reason.WASH_TRADE)
    return None


def check_hold(state: State, order: Order, released: int = 0) -> Answer | None:
    """Check that what the order needs is there, counting what its predecessor releases."""
    if cash_exposure(order) > CASH_MAX:
        return Answer(Reason.VALUE_TOO_LARGE)
    account = state.accounts[order.account]
    hold = hold_of(order)
    if order.side == Side.BUY:
        available = account.cash - account.held + released
        if available < hold:
            return Answer(Reason.INSUFFICIENT_CASH, a=available, b=hold)
        return None
    position = account.positions.get(order.instrument)
    if position is None:
        return Answer(Reason.SHORT_NOT_ALLOWED)
    held = position.held - released
    if position.quantity - held < hold:
        return Answer(Reason.INSUFFICIENT_SHARES, a=position.quantity, b=held)
    return None
