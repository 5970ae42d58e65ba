"""Sessions, the queue, the end of a day, keys and repeats."""

from __future__ import annotations

import struct

import pytest

from madang.wire import commands as wire
from madang.wire.codes import (
    AccountState,
    CloseReason,
    OrderEvent,
    Reason,
    Session,
    Side,
    Status,
    TimeInForce,
)
from tests.support.market import ENGINES, Market, price, shares


@pytest.fixture(params=ENGINES)
def market(request: pytest.FixtureRequest) -> Market:
    return Market(request.param)


@pytest.mark.parametrize("state", [Session.HALTED, Session.CLOSED])
@pytest.mark.parametrize("whole_market", [True, False])
def test_orders_wait_until_the_instrument_opens(
    market: Market, state: Session, whole_market: bool
) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    where = 0 if whole_market else market.instrument
    market.session(state, where)
    first = market.sell(bob, 5, "100.00")
    assert (first.order.status, first.updates[0].event) == (Status.ACCEPTED, OrderEvent.ACCEPTED)
    second = market.buy(anna, 5, "101.00").number
    assert market.book() == ""
    assert market.buy(anna, 1, "101.00", tif="ioc").reason == Reason.SESSION_CLOSED
    opened = market.session(Session.OPEN, where)
    assert opened.fills() == [(first.number, 5, "100.00")]
    assert opened.events_of(second) == [OrderEvent.NEW, OrderEvent.FILL]


def test_the_stricter_state_holds(market: Market) -> None:
    anna = market.account("anna")
    market.session(Session.HALTED)
    market.session(Session.CLOSED, 0)
    market.session(Session.OPEN)
    assert market.buy(anna, 1, "90.00").order.status == Status.ACCEPTED
    market.session(Session.OPEN, 0)
    assert market.buy(anna, 1, "90.00").order.status == Status.NEW
    assert market.session(3).reason == Reason.BAD_FIELDS
    assert market.session(Session.OPEN, 9).reason == Reason.UNKNOWN_INSTRUMENT


def test_while_halted_the_book_stays_and_cancels_work(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    resting = market.sell(bob, 5, "100.00").number
    gone = market.sell(bob, 5, "101.00").number
    market.session(Session.HALTED)
    assert not market.buy(anna, 5, "100.00").trades
    assert market.cancel(bob, gone).reason == Reason.OK
    smaller = market.replace(bob, resting, quantity=shares(4))
    assert smaller.updates[-1].event == OrderEvent.NEW
    assert market.book() == "ask 100.00 x 4 (1)"
    moved = market.replace(bob, smaller.number, limit_price=price("100.50"))
    assert moved.order.status == Status.ACCEPTED
    assert market.book() == ""
    assert market.session(Session.OPEN).fills() == []
    assert market.book() == "ask 100.50 x 4 (1)\nbid 100.00 x 5 (1)"


def test_a_queued_replacement_keeps_or_loses_its_place_in_the_queue(market: Market) -> None:
    anna, bob, carl = (market.account(name) for name in ("anna", "bob", "carl"))
    market.session(Session.CLOSED)
    first = market.sell(anna, 5, "100.00").number
    second = market.sell(bob, 5, "100.00").number
    first = market.replace(anna, first, quantity=shares(4)).number
    market.session(Session.OPEN)
    assert [fill[0] for fill in market.buy(carl, 5, "100.00").fills()] == [first, second]


def test_day_orders_end_with_the_day_and_gtc_orders_stay(market: Market) -> None:
    anna = market.account("anna")
    day = market.buy(anna, 1, "90.00").number
    stop = market.buy(anna, 1, stop="150.00").number
    gtc = market.buy(anna, 1, "90.00", tif="gtc").number
    ended = market.end_day()
    assert [update.order.order_id for update in ended.updates] == [day, stop]
    assert {update.order.status for update in ended.updates} == {Status.EXPIRED}
    assert {update.order.close_reason for update in ended.updates} == {CloseReason.END_OF_DAY}
    left = market.live(gtc)
    assert left is not None
    assert market.money(anna)[1] == left.limit_price * 100


def test_disabling_an_account_cancels_its_orders(market: Market) -> None:
    anna = market.account("anna")
    order_id = market.buy(anna, 1, "90.00").number
    disabled = market.send(wire.encode_set_account(anna, market.request(), AccountState.DISABLED))
    assert disabled.updates[0].order.close_reason == CloseReason.ACCOUNT_DISABLED
    assert market.live(order_id) is None
    assert market.buy(anna, 1, "90.00").reason == Reason.ACCOUNT_DISABLED
    assert market.transfer(anna, 0, 5).reason == Reason.OK
    market.send(wire.encode_set_account(anna, market.request(), AccountState.ACTIVE))
    assert market.buy(anna, 1, "90.00").reason == Reason.OK


def test_a_repeated_request_gets_the_first_outcome_and_changes_nothing(market: Market) -> None:
    anna = market.account("anna")
    record = wire.encode_new_order(
        anna, market.request(), market.terms(Side.BUY, 1, "90.00"), b"mine"
    )
    first, again = market.send_all([record, record])
    assert (first.number, first.result.repeat) == (again.number, False)
    assert again.result.repeat
    assert again.order.order_id == first.number
    assert not again.updates
    market.cancel(anna, first.number)
    late = market.send(record)
    assert (late.reason, late.number, late.result.order) == (Reason.OK, first.number, None)


def test_a_refusal_is_repeated_too(market: Market) -> None:
    anna = market.account("anna", money="10")
    terms = market.terms(Side.BUY, 1, "90.00")
    record = wire.encode_new_order(anna, market.request(), terms, b"mine")
    first = market.send(record)
    market.transfer(anna, 0, 10**12)
    again = market.send(record)
    assert again.result[4:10:2] == first.result[4:10:2]
    assert (again.reason, again.result.a) == (Reason.INSUFFICIENT_CASH, first.result.a)


def test_a_client_order_id_is_used_once_in_an_account(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    terms = market.terms(Side.BUY, 1, "90.00")

    def send(account: int) -> Reason:
        record = wire.encode_new_order(account, market.request(), terms, b"mine")
        return market.send(record).reason

    assert [send(anna), send(anna), send(bob)] == [
        Reason.OK, Reason.DUPLICATE_CLIENT_ORDER_ID, Reason.OK,
    ]  # fmt: skip


def test_keys_of_two_sessions_and_of_live_orders_are_kept(market: Market) -> None:
    anna = market.account("anna")
    done = market.terms(Side.BUY, 1, "90.00")
    live = market.terms(Side.BUY, 1, "90.00", tif="gtc")

    def send(name: bytes) -> Reason:
        terms = live if name == b"live" else done
        return market.send(wire.encode_new_order(anna, market.request(), terms, name)).reason

    assert [send(b"done"), send(b"live")] == [Reason.OK, Reason.OK]
    market.end_day()
    market.end_day()
    assert send(b"done") == Reason.DUPLICATE_CLIENT_ORDER_ID
    market.end_day()
    assert send(b"done") == Reason.OK
    for _ in range(5):
        market.end_day()
    assert send(b"live") == Reason.DUPLICATE_CLIENT_ORDER_ID


def test_too_many_keys_stop_orders_and_nothing_else(market: Market) -> None:
    anna = market.account("anna")
    order_id = market.buy(anna, 2, "90.00").number
    market.send(wire.encode_set_limits(market.request(), 1, 10))
    refused = market.buy(anna, 1, "90.00")
    assert (refused.reason, refused.result.a, refused.number) == (Reason.TOO_MANY_KEYS, 1, 0)
    refused = market.replace(anna, order_id, quantity=shares(1))
    assert (refused.reason, refused.number) == (Reason.TOO_MANY_KEYS, order_id)
    assert market.cancel(anna, order_id).reason == Reason.OK
    expired = market.send(wire.encode_expire_keys(wire.NO_REQUEST, 0))
    assert (expired.result.a, expired.result.b) == (0, 0)
    assert market.buy(anna, 1, "90.00").reason == Reason.OK


def test_expiring_keeps_the_newest_and_the_live(market: Market) -> None:
    anna = market.account("anna")
    live = market.buy(anna, 1, "90.00").number
    for _ in range(5):
        market.cancel(anna, market.buy(anna, 1, "90.00").number)
    expired = market.send(wire.encode_expire_keys(market.request(), 3))
    assert (expired.result.a, expired.result.b) == (3, 3)
    assert market.live(live) is not None
    expired = market.send(wire.encode_expire_keys(market.request(), 0))
    assert (expired.result.a, expired.result.b) == (1, 0)


def test_malformed_records_are_answered(market: Market) -> None:
    anna = market.account("anna")
    good = wire.encode_cancel(anna, market.request(), 1)
    longer = struct.pack("<H", len(good) + 8) + good[2:] + bytes(8)
    shorter = struct.pack("<H", 24) + good[2:24]
    for record in (longer, shorter, good[:2] + b"\x63" + good[3:]):
        refused = market.send(record[:8] + market.request() + record[24:])
        assert (refused.reason, refused.number) == (Reason.BAD_COMMAND, 0)
        assert refused.result.command_kind == record[2]
    again = market.send(longer[:8] + market.request() + longer[24:])
    assert not again.result.repeat


def test_rules_have_one_version(market: Market) -> None:
    assert market.send(wire.encode_set_rules(market.request(), 1)).reason == Reason.OK
    assert market.send(wire.encode_set_rules(market.request(), 2)).reason == Reason.UNKNOWN_RULES


def test_a_halted_stop_keeps_its_place_among_the_stops(market: Market) -> None:
    anna = market.account("anna")
    stop = market.buy(anna, 2, stop="150.00").number
    market.session(Session.HALTED)
    new = market.replace(anna, stop, quantity=shares(1), time_in_force=TimeInForce.GTC)
    assert (new.order.status, new.updates[-1].event) == (Status.NEW, OrderEvent.NEW)
    market.same_after_restore()
    assert market.cancel(anna, new.number).reason == Reason.OK
