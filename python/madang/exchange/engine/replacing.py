"""Replacing an order: the old one ends, a new one takes over what was filled.

The replacement keeps its place in line when it asks for no more at the same prices; otherwise it
acts like an order that has just come in.
"""

from __future__ import annotations

from dataclasses import replace

from madang.exchange.engine import checks
from madang.exchange.engine.checks import ReplaceTerms
from madang.exchange.engine.commands import Command
from madang.exchange.engine.events import Answer
from madang.exchange.engine.lifecycle import (
    add_live,
    announce,
    end,
    open_status,
    put,
    swap,
)
from madang.exchange.engine.matching import submit
from madang.exchange.engine.money import collar, hold_of, set_hold
from madang.exchange.engine.state import Instrument, Key, Order, Place, State
from madang.wire.codes import CloseReason, OrderEvent, OrderType, Reason, Session, Status

_TERMS = len(ReplaceTerms._fields)


def replace_order(state: State, command: Command) -> Answer:
    """Check a replacement, end the old order, and let the new one take its place or act."""
    terms = ReplaceTerms._make(command.fields[:_TERMS])
    refusal = checks.check_account(state, command.account)
    if refusal:
        return refusal._replace(number=terms.order_id)
    old = state.accounts[command.account].orders.get(terms.order_id)
    if old is None:
        return Answer(Reason.UNKNOWN_ORDER, terms.order_id)
    instrument = state.instruments[old.instrument]
    new = _build(state, instrument, command, terms, old)
    refusal = (
        _check_change(state, instrument, terms, (old, new))
        or (Answer(Reason.DUPLICATE_CLIENT_ORDER_ID) if command.key in state.keys else None)
        or checks.check_wash_trade(state, new)
        or checks.check_hold(state, new, old.hold)
    )
    if refusal:
        return refusal._replace(number=terms.order_id)
    state.keys[command.key] = Key(new.order_id, state.session_number)
    _take_over(state, instrument, old, new)
    return Answer(Reason.OK, new.order_id, order=new)


def _check_change(
    state: State, instrument: Instrument, terms: ReplaceTerms, orders: tuple[Order, Order]
) -> Answer | None:
    """Check what is asked against the order as it is."""
    old, new = orders
    refusal = (
        checks.check_replace_fields(old, terms)
        or checks.check_quantity(instrument, terms.quantity)
        or checks.check_price(instrument, terms.limit_price)
        or checks.check_price(instrument, terms.stop_price)
    )
    if refusal:
        return refusal
    if _same_prices(old, new) and (new.quantity, new.time_in_force) == (
        old.quantity,
        old.time_in_force,
    ):
        return Answer(Reason.NOTHING_CHANGED)
    if new.quantity <= old.filled_quantity:
        return Answer(Reason.QUANTITY_BELOW_FILLED, a=old.filled_quantity)
    return None


def _same_prices(old: Order, new: Order) -> bool:
    return (old.limit_price, old.stop_price) == (new.limit_price, new.stop_price)


def _build(
    state: State, instrument: Instrument, command: Command, terms: ReplaceTerms, old: Order
) -> Order:
    """Return the order that would take over; what was filled stays filled."""
    price = old.protection_price
    if terms.limit_price:
        price = terms.limit_price
    elif terms.stop_price and old.type == OrderType.STOP:
        price = collar(old.side, terms.stop_price, instrument.collar_bps)
    return replace(
        old,
        order_id=state.next_order_id,
        client_order_id=command.texts,
        quantity=terms.quantity or old.quantity,
        limit_price=terms.limit_price or old.limit_price,
        stop_price=terms.stop_price or old.stop_price,
        time_in_force=terms.time_in_force or old.time_in_force,
        protection_price=price,
        created_ns=state.now_ns,
        updated_ns=state.now_ns,
        replaces=old.order_id,
        hold=0,
        place=Place.NONE,
    )


def _take_over(state: State, instrument: Instrument, old: Order, new: Order) -> None:
    """End the old order and start the new one."""
    state.next_order_id += 1
    keeps_place = _same_prices(old, new) and new.quantity <= old.quantity
    if keeps_place:
        swap(instrument, old, new)
    old.replaced_by = new.order_id
    end(state, old, Status.REPLACED, CloseReason.REPLACED)
    announce(state, old, OrderEvent.REPLACED)
    set_hold(state, new, hold_of(new))
    add_live(state, new)
    is_open = state.effective_session(instrument) == Session.OPEN
    if new.place == Place.QUEUE or not (is_open or keeps_place):
        new.status = Status.ACCEPTED
        announce(state, new, OrderEvent.ACCEPTED)
    else:
        new.status = open_status(new)
        announce(state, new, OrderEvent.NEW)
    if keeps_place:
        return
    if is_open:
        submit(state, new)
    else:
        put(state, instrument, new, Place.QUEUE)
