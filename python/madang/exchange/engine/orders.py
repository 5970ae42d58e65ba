"""The commands of traders: new, cancel, cancel all.

Checks come first, in the order of docs/rules.md, and change nothing; the first that fails is the
answer. What passes them all is accepted, and from there on events tell what becomes of it.
"""

from __future__ import annotations

from madang.exchange.engine import checks
from madang.exchange.engine.checks import NewTerms
from madang.exchange.engine.commands import Command
from madang.exchange.engine.events import Answer
from madang.exchange.engine.lifecycle import add_live, announce, cancel, cancel_all, put
from madang.exchange.engine.matching import submit
from madang.exchange.engine.money import hold_of, set_hold
from madang.exchange.engine.state import Instrument, Key, Order, Place, State
from madang.wire.codes import CloseReason, OrderEvent, OrderType, Reason, Session, Status

_TERMS = len(NewTerms._fields)


def new_order(state: State, command: Command) -> Answer:
    """Check a new order, accept it, and let it act where the instrument is open."""
    terms = NewTerms._make(command.fields[:_TERMS])
    refusal = checks.check_account(state, command.account)
    if refusal:
        return refusal
    instrument = state.instruments.get(terms.instrument)
    if instrument is None:
        return Answer(Reason.UNKNOWN_INSTRUMENT)
    refusal = (
        checks.check_new_fields(terms)
        or checks.check_quantity(instrument, terms.quantity)
        or checks.check_notional(terms.notional)
        or checks.check_price(instrument, terms.limit_price)
        or checks.check_price(instrument, terms.stop_price)
        or checks.check_room(state, command.account, command.key)
        or checks.check_session(state, instrument, terms.time_in_force)
    )
    if refusal:
        return refusal
    price = checks.protection_price(instrument, terms)
    if price == 0:
        return Answer(Reason.NO_REFERENCE_PRICE)
    order = _build(state, command, terms, price)
    if terms.notional and terms.type == OrderType.LIMIT:
        order.quantity = checks.shares_for(instrument, terms.notional, price)
        refusal = checks.check_shares(order.quantity)
    refusal = refusal or checks.check_wash_trade(state, order) or checks.check_hold(state, order)
    if refusal:
        return refusal
    state.keys[command.key] = Key(order.order_id, state.session_number)
    _accept(state, instrument, order)
    return Answer(Reason.OK, order.order_id, order=order)


def _build(state: State, command: Command, terms: NewTerms, price: int) -> Order:
    return Order(
        order_id=state.next_order_id,
        account=command.account,
        instrument=terms.instrument,
        side=terms.side,
        type=terms.type,
        time_in_force=terms.time_in_force,
        self_trade=terms.self_trade,
        flags=terms.flags,
        quantity=terms.quantity,
        notional=terms.notional,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        client_order_id=command.texts,
        protection_price=price,
        maker_ppm=state.maker_ppm,
        taker_ppm=state.taker_ppm,
        created_ns=state.now_ns,
        updated_ns=state.now_ns,
    )


def _accept(state: State, instrument: Instrument, order: Order) -> None:
    state.next_order_id += 1
    set_hold(state, order, hold_of(order))
    add_live(state, order)
    if state.effective_session(instrument) == Session.OPEN:
        order.status = Status.NEW
        announce(state, order, OrderEvent.NEW)
        submit(state, order)
    else:
        order.status = Status.ACCEPTED
        announce(state, order, OrderEvent.ACCEPTED)
        put(state, instrument, order, Place.QUEUE)


def cancel_order(state: State, command: Command) -> Answer:
    """Cancel one live order of the account."""
    order_id = command.fields[0]
    account = state.trading_account(command.account)
    if account is None:
        return Answer(Reason.UNKNOWN_ACCOUNT, order_id)
    order = account.orders.get(order_id)
    if order is None:
        return Answer(Reason.UNKNOWN_ORDER, order_id)
    cancel(state, order, CloseReason.REQUESTED)
    return Answer(Reason.OK, order_id, order=order)


def cancel_all_orders(state: State, command: Command) -> Answer:
    """Cancel every live order of the account; `a` tells how many."""
    account = state.trading_account(command.account)
    if account is None:
        return Answer(Reason.UNKNOWN_ACCOUNT)
    orders = list(account.orders.values())
    cancel_all(state, orders, CloseReason.REQUESTED)
    return Answer(Reason.OK, account.number, a=len(orders))
