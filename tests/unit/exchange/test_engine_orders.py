"""What is checked of a new order, in which order; cancel, replace."""

from __future__ import annotations

import pytest

from madang.wire import commands as wire
from madang.wire.codes import (
    CASH_MAX,
    PRICE_MAX,
    QUANTITY_MAX,
    CloseReason,
    OrderEvent,
    Reason,
    Side,
    Status,
    TimeInForce,
)
from madang.wire.commands import InstrumentTerms
from tests.support.market import ENGINES, Market, cash, price, shares


@pytest.fixture(params=ENGINES)
def market(request: pytest.FixtureRequest) -> Market:
    return Market(request.param)


WRONG_FIELDS: list[dict[str, int]] = [
    {"side": 0}, {"side": 3}, {"type": 0}, {"type": 5}, {"time_in_force": 0},
    {"time_in_force": 5}, {"self_trade": 5}, {"flags": 2}, {"flags": 128},
    {"limit_price": 0}, {"stop_price": 1}, {"quantity": 0}, {"notional": 1},
    {"type": 1}, {"type": 3}, {"type": 4}, {"type": 3, "limit_price": 0},
    {"type": 4, "stop_price": 1_000_000, "time_in_force": 3},
    {"type": 3, "limit_price": 0, "stop_price": 1_000_000, "time_in_force": 4},
    {"quantity": 0, "notional": 100, "time_in_force": 4},
    {"type": 4, "stop_price": 1_000_000, "quantity": 0, "notional": 100},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_FIELDS)
def test_fields_that_make_no_sense_together_are_refused(
    market: Market, wrong: dict[str, int]
) -> None:
    anna = market.account("anna")
    refused = market.order(anna, market.terms(Side.BUY, 1, "100.00", **wrong))
    assert refused.reason == Reason.BAD_FIELDS
    assert refused.number == 0
    assert refused.result.order is None
    assert not refused.updates


@pytest.mark.parametrize("length", [0, 129, 255])
def test_a_client_order_id_has_a_length(market: Market, length: int) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 1, "100.00")
    record = wire.encode_new_order(anna, market.request(), terms, b"x" * length)
    assert market.send(record).reason == Reason.BAD_FIELDS


@pytest.mark.parametrize("quantity", [-1, QUANTITY_MAX + 1, -(2**63)])
def test_quantities_have_bounds(market: Market, quantity: int) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 0, "100.00", quantity=quantity)
    assert market.order(anna, terms).reason == Reason.BAD_QUANTITY


@pytest.mark.parametrize("notional", [-1, CASH_MAX + 1])
def test_amounts_of_money_have_bounds(market: Market, notional: int) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 0, notional=notional)
    assert market.order(anna, terms).reason == Reason.BAD_NOTIONAL


def test_an_amount_that_buys_nothing_is_refused(market: Market) -> None:
    whole = Market(market.kind, InstrumentTerms(b"LOT", lot=shares(1)))
    anna = whole.account("anna")
    terms = whole.terms(Side.BUY, 0, "30.00", notional=cash(29))
    assert whole.order(anna, terms).reason == Reason.BAD_NOTIONAL
    terms = whole.terms(Side.BUY, 0, notional=CASH_MAX, limit_price=1, type=2)
    assert market.order(market.account("bob"), terms).reason == Reason.VALUE_TOO_LARGE


def test_lots_and_ticks_are_named(market: Market) -> None:
    whole = Market(market.kind, InstrumentTerms(b"LOT", lot=shares(1), tick=500))
    anna = whole.account("anna")
    refused = whole.buy(anna, "1.5", "30.00")
    assert (refused.reason, refused.result.a) == (Reason.BAD_LOT, shares(1))
    refused = whole.buy(anna, 1, "30.01")
    assert (refused.reason, refused.result.a) == (Reason.BAD_TICK, 500)
    refused = whole.buy(anna, 1, "0.4999")
    assert (refused.reason, refused.result.a) == (Reason.BAD_TICK, 500)


def test_prices_below_one_have_a_finer_tick(market: Market) -> None:
    anna = market.account("anna")
    assert market.buy(anna, 1, "0.9999").reason == Reason.OK
    refused = market.buy(anna, 1, "1.0001")
    assert (refused.reason, refused.result.a) == (Reason.BAD_TICK, 100)
    refused = market.buy(anna, 1, "2.00", stop="1.0001")
    assert (refused.reason, refused.result.a) == (Reason.BAD_TICK, 100)


@pytest.mark.parametrize("limit", [-1, PRICE_MAX + 1])
def test_prices_have_bounds(market: Market, limit: int) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 1, "1.00")
    terms.limit_price = limit
    assert market.order(anna, terms).reason == Reason.BAD_PRICE


def test_the_first_check_that_fails_is_the_reason(market: Market) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 0, "100.001", quantity=-5)
    terms.instrument = 9
    terms.side = 7
    assert market.order(99, terms).reason == Reason.UNKNOWN_ACCOUNT
    assert market.order(anna, terms).reason == Reason.UNKNOWN_INSTRUMENT
    terms.instrument = market.instrument
    assert market.order(anna, terms).reason == Reason.BAD_FIELDS
    terms.side = Side.BUY
    assert market.order(anna, terms).reason == Reason.BAD_QUANTITY
    terms.quantity = shares(10**6)
    assert market.order(anna, terms).reason == Reason.BAD_TICK
    terms.limit_price = price("100.00")
    assert market.order(anna, terms).reason == Reason.INSUFFICIENT_CASH


def test_an_account_has_so_many_orders_and_no_more(market: Market) -> None:
    anna = market.account("anna")
    market.send(wire.encode_set_limits(market.request(), 1_000, 2))
    first = market.buy(anna, 1, "90.00").number
    market.buy(anna, 1, "90.00")
    refused = market.buy(anna, 1, "90.00")
    assert (refused.reason, refused.result.a) == (Reason.TOO_MANY_ORDERS, 2)
    market.cancel(anna, first)
    assert market.buy(anna, 1, "90.00").reason == Reason.OK


def test_cancel_ends_an_order_of_the_same_account_once(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    order_id = market.buy(anna, 1, "90.00").number
    refused = market.cancel(bob, order_id)
    assert (refused.reason, refused.number) == (Reason.UNKNOWN_ORDER, order_id)
    canceled = market.cancel(anna, order_id)
    assert canceled.order.status == Status.CANCELED
    assert canceled.order.close_reason == CloseReason.REQUESTED
    assert canceled.order.closed_ns == canceled.result.now_ns
    assert market.cancel(anna, order_id).reason == Reason.UNKNOWN_ORDER
    assert market.cancel(77, order_id).reason == Reason.UNKNOWN_ACCOUNT


def test_cancel_all_goes_by_id_and_counts(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    orders = [market.buy(anna, 1, text).number for text in ("90.00", "95.00", "91.00")]
    other = market.buy(bob, 1, "90.00").number
    done = market.send(wire.encode_cancel_all(anna, market.request()))
    assert [update.order.order_id for update in done.updates] == orders
    assert (done.number, done.result.a) == (anna, 3)
    assert market.live(other) is not None


def test_a_smaller_replacement_keeps_its_place(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    old = market.sell(anna, 5, "100.00").number
    market.sell(bob, 5, "100.00")
    new = market.replace(anna, old, quantity=shares(3))
    assert [update.event for update in new.updates] == [OrderEvent.REPLACED, OrderEvent.NEW]
    ended = new.updates[0].order
    assert (ended.status, ended.replaced_by) == (Status.REPLACED, new.number)
    assert (new.order.replaces, new.order.quantity) == (old, shares(3))
    assert market.buy(bob, 3, "100.00").fills() == [(new.number, 3, "100.00")]


@pytest.mark.parametrize("change", [{"quantity": shares(6)}, {"limit_price": price("100.00")}])
def test_a_larger_or_repriced_replacement_goes_to_the_tail(
    market: Market, change: dict[str, int]
) -> None:
    anna, bob, carl = (market.account(name) for name in ("anna", "bob", "carl"))
    old = market.sell(anna, 5, "100.00" if "quantity" in change else "100.01").number
    first = market.sell(bob, 5, "100.00").number
    new = market.replace(anna, old, **change).number
    assert [fill[0] for fill in market.buy(carl, 10, "100.00").fills()] == [first, new]


def test_a_replacement_carries_what_was_filled(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.fees(1_000, 1_000)
    old = market.buy(anna, 10, "100.00").number
    market.sell(bob, 4, "100.00")
    refused = market.replace(anna, old, quantity=shares(4))
    assert (refused.reason, refused.result.a) == (Reason.QUANTITY_BELOW_FILLED, shares(4))
    new = market.replace(anna, old, quantity=shares(7), time_in_force=TimeInForce.GTC)
    assert new.order.status == Status.PARTIALLY_FILLED
    assert new.order.filled_quantity == shares(4)
    assert new.order.filled_value == shares(4) * price("100.00")
    assert new.order.fee == cash("0.40")
    assert market.money(anna)[1] == cash("300.30")
    assert market.book() == "bid 100.00 x 3 (1)"


def test_a_replacement_may_trade_at_once(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    ask = market.sell(bob, 5, "100.00").number
    old = market.buy(anna, 5, "99.00").number
    new = market.replace(anna, old, limit_price=price("100.00"))
    assert new.fills() == [(ask, 5, "100.00")]
    assert new.order.status == Status.FILLED


def test_what_cannot_be_replaced_is_said(market: Market) -> None:
    anna = market.account("anna")
    order_id = market.buy(anna, 5, "90.00").number
    stop = market.buy(anna, 5, stop="120.00").number
    by_amount = market.order(anna, market.terms(Side.BUY, 0, "90.00", notional=cash(90))).number
    for changes, target, reason in (
        ({"quantity": shares(5)}, order_id, Reason.NOTHING_CHANGED),
        ({}, order_id, Reason.NOTHING_CHANGED),
        ({"quantity": shares(4)}, by_amount, Reason.NOT_REPLACEABLE),
        ({"stop_price": price("95.00")}, order_id, Reason.BAD_FIELDS),
        ({"limit_price": price("95.00")}, stop, Reason.BAD_FIELDS),
        ({"time_in_force": 3}, order_id, Reason.BAD_FIELDS),
        ({"quantity": -1}, order_id, Reason.BAD_QUANTITY),
        ({"limit_price": -1}, order_id, Reason.BAD_PRICE),
        ({"limit_price": 1_000_001}, order_id, Reason.BAD_TICK),
        ({"quantity": shares(10**5)}, order_id, Reason.INSUFFICIENT_CASH),
        ({"quantity": shares(4)}, 4_711, Reason.UNKNOWN_ORDER),
    ):
        refused = market.replace(anna, target, **changes)
        assert (refused.reason, refused.number) == (reason, target), changes


def test_a_replacement_needs_only_the_difference(market: Market) -> None:
    anna = market.account("anna", money="1000")
    order_id = market.buy(anna, 9, "100.00").number
    refused = market.replace(anna, order_id, quantity=shares(11))
    assert (refused.result.a, refused.result.b) == (cash(1000), cash(1100))
    assert market.replace(anna, order_id, quantity=shares(10)).reason == Reason.OK
    selling = market.sell(anna, 900, "200.00").number
    refused = market.replace(anna, selling, quantity=shares(1_001))
    assert refused.reason == Reason.INSUFFICIENT_SHARES
    assert (refused.result.a, refused.result.b) == (shares(1_000), 0)
    assert market.replace(anna, selling, quantity=shares(1_000)).reason == Reason.OK


def test_a_stop_moves_with_its_collar(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    stop = market.buy(anna, 1, stop="110.00").number
    assert market.money(anna)[1] == cash("115.50")
    new = market.replace(anna, stop, stop_price=price("120.00")).number
    assert market.money(anna)[1] == cash("126.00")
    market.sell(bob, 1, "120.00")
    market.sell(bob, 1, "120.00")
    assert market.buy(market.account("carl"), 1, "120.00").events_of(new)[-1] == OrderEvent.FILL
