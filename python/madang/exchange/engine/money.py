"""Money: what an order has paid or received, what is held for it, how fills move cash and shares.

A value is price x quantity with 13 decimals, cash has 6. Buyers round up, sellers down, and account
0 takes the difference, so that no unit of cash is ever made or lost.
"""

from __future__ import annotations

from madang.exchange.engine.state import Account, Instrument, Order, Position, State
from madang.wire.codes import CASH_MAX, FEE_ACCOUNT, PPM, PRICE_MAX, VALUE_PER_CASH, Side

_FEE_VALUE_PER_CASH = VALUE_PER_CASH * PPM
_BPS = 10_000


def paid(value: int, fee_value: int) -> int:
    """Return the cash a buyer has paid for fills of `value` and their fees, rounded up."""
    return -(-(value * PPM + fee_value) // _FEE_VALUE_PER_CASH)


def received(value: int, fee_value: int) -> int:
    """Return the cash a seller has received for fills of `value` less fees, rounded down."""
    return (value * PPM - fee_value) // _FEE_VALUE_PER_CASH


def collar(side: int, base_price: int, collar_bps: int) -> int:
    """Return the worst price an order without a limit may trade at, seen from `base_price`."""
    margin = base_price * collar_bps // _BPS
    if side == Side.BUY:
        return min(base_price + margin, PRICE_MAX)
    return max(base_price - margin, 1)


def exposure(order: Order) -> int:
    """Return R: the value that the rest of an order may still come to."""
    if order.by_notional:
        return order.notional * VALUE_PER_CASH - order.filled_value
    return order.leaves * order.protection_price


def hold_of(order: Order) -> int:
    """Return what must be held for a live order: cash for a buy, shares for a sell."""
    if order.side == Side.SELL:
        if order.by_notional:
            needed = -(-order.notional * VALUE_PER_CASH // order.protection_price)
            return needed - order.filled_quantity
        return order.leaves
    rest = exposure(order)
    most_ppm = max(order.maker_ppm, order.taker_ppm)
    total = (order.filled_value + rest) * PPM + order.fee_value + rest * most_ppm
    return -(-total // _FEE_VALUE_PER_CASH) - paid(order.filled_value, order.fee_value)


def cash_exposure(order: Order) -> int:
    """Return the cash an order may come to, for the bound: a buy's hold, a sell's exposure."""
    if order.side == Side.BUY:
        return hold_of(order)
    return -(-exposure(order) // VALUE_PER_CASH)


def set_hold(state: State, order: Order, hold: int) -> None:
    """Hold `hold` for an order instead of what is held so far."""
    assert hold >= 0, "a hold is never negative"
    change = hold - order.hold
    if change == 0:
        return
    account = state.accounts[order.account]
    order.hold = hold
    if order.side == Side.BUY:
        account.held += change
        assert account.held <= account.cash, "held cash exists"
    else:
        position = account.positions[order.instrument]
        position.held += change
        assert position.held <= position.quantity, "held shares exist"


def add_shares(account: Account, instrument: int, quantity: int, cost: int) -> Position:
    """Add shares that cost `cost` to an account's position."""
    position = account.positions.get(instrument)
    if position is None:
        position = account.positions[instrument] = Position(account.number, instrument)
    position.quantity += quantity
    position.cost_basis = min(position.cost_basis + cost, CASH_MAX)
    return position


def remove_shares(account: Account, instrument: int, quantity: int) -> int:
    """Take shares out of an account's position and return what is left; none left ends it."""
    position = account.positions[instrument]
    assert 0 < quantity <= position.quantity, "shares that move exist"
    position.cost_basis -= position.cost_basis * quantity // position.quantity
    position.quantity -= quantity
    if position.quantity == 0:
        assert position.held == 0, "an empty position holds nothing"
        del account.positions[instrument]
    return position.quantity


def settle(state: State, order: Order, price: int, quantity: int, ppm: int) -> int:
    """Book one side's fill: shares, cash, hold. Return what it paid (negative: received)."""
    account = state.accounts[order.account]
    value = price * quantity
    old_value, old_fee = order.filled_value, order.fee_value
    order.filled_quantity += quantity
    order.filled_value = new_value = old_value + value
    order.fee_value = new_fee = old_fee + value * ppm
    if order.side == Side.BUY:
        cost = paid(new_value, new_fee) - paid(old_value, old_fee)
        # The hold shrinks by at least what is paid, so cash and hold move together.
        set_hold(state, order, 0)
        account.cash -= cost
        set_hold(state, order, hold_of(order))
        add_shares(account, order.instrument, quantity, value // VALUE_PER_CASH)
        return cost
    proceeds = received(new_value, new_fee) - received(old_value, old_fee)
    set_hold(state, order, hold_of(order))
    account.cash += proceeds
    remove_shares(account, order.instrument, quantity)
    return -proceeds


def settle_trade(state: State, taker: Order, maker: Order, price: int, quantity: int) -> None:
    """Move money and shares of a trade; account 0 takes fees and what rounding leaves."""
    cost = settle(state, maker, price, quantity, maker.maker_ppm)
    cost += settle(state, taker, price, quantity, taker.taker_ppm)
    state.accounts[FEE_ACCOUNT].cash += cost


def valuation_price(instrument: Instrument) -> int:
    """Return the price at which shares that come in are valued, 0 if there is none."""
    return instrument.last_price or instrument.reference_price
