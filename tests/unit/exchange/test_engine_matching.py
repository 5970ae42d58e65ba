"""Price first, then time; times in force; orders for an amount of money; stops; self-trades."""

from __future__ import annotations

import pytest

from madang.wire.codes import CloseReason, OrderEvent, OrderFlag, Reason, SelfTrade, Side, Status
from madang.wire.commands import InstrumentTerms
from tests.support.market import ENGINES, Market, cash, price, shares


@pytest.fixture(params=ENGINES)
def market(request: pytest.FixtureRequest) -> Market:
    return Market(request.param)


def test_better_prices_come_first_and_older_orders_within_a_price(market: Market) -> None:
    anna, bob, carl = market.account("anna"), market.account("bob"), market.account("carl")
    second = market.sell(bob, 5, "100.02").number
    third = market.sell(carl, 5, "100.02").number
    first = market.sell(bob, 5, "100.01").number
    assert market.book() == "ask 100.02 x 10 (2)\nask 100.01 x 5 (1)"
    bought = market.buy(anna, 12, "100.05")
    assert bought.fills() == [(first, 5, "100.01"), (second, 5, "100.02"), (third, 2, "100.02")]
    assert bought.order.status == Status.FILLED
    assert market.book() == "ask 100.02 x 3 (1)"


def test_the_rest_of_a_limit_order_rests(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 3, "100.00")
    bought = market.buy(anna, 10, "100.00")
    assert bought.order.status == Status.PARTIALLY_FILLED
    assert market.book() == "bid 100.00 x 7 (1)"


def test_a_fill_is_told_to_both_sides_after_the_trade(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    resting = market.sell(bob, 5, "100.00").number
    bought = market.buy(anna, 5, "100.00")
    assert [
        (update.order.order_id, update.event, update.position_quantity) for update in bought.updates
    ] == [
        (bought.number, OrderEvent.NEW, shares(1_000)),
        (resting, OrderEvent.FILL, shares(995)),
        (bought.number, OrderEvent.FILL, shares(1_005)),
    ]
    assert {update.trade_id for update in bought.updates[1:]} == {1}


def test_ioc_takes_what_there_is_and_the_rest_is_canceled(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 3, "100.00")
    bought = market.buy(anna, 10, "100.00", tif="ioc")
    assert bought.order.status == Status.CANCELED
    assert bought.order.close_reason == CloseReason.UNFILLED
    assert bought.order.filled_quantity == shares(3)
    assert market.money(anna)[1] == 0


@pytest.mark.parametrize(("wanted", "status"), [(8, Status.FILLED), (9, Status.CANCELED)])
def test_fok_takes_all_or_nothing(market: Market, wanted: int, status: Status) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 3, "100.00")
    market.sell(bob, 5, "100.01")
    market.sell(bob, 5, "100.02")
    bought = market.buy(anna, wanted, "100.01", tif="fok")
    assert bought.order.status == status
    assert sum(trade.quantity for trade in bought.trades) in (0, shares(8))


def test_fok_counts_past_its_own_orders_only_where_it_cancels_them(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(anna, 5, "100.00")
    market.sell(bob, 5, "100.00")
    refused = market.buy(anna, 5, "100.00", tif="fok")
    assert refused.order.status == Status.CANCELED
    assert not refused.trades
    filled = market.buy(anna, 5, "100.00", tif="fok", self_trade=SelfTrade.CANCEL_OLDEST)
    assert filled.order.status == Status.FILLED


def test_a_market_order_stops_at_its_collar(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 5, "105.00")
    market.sell(bob, 5, "105.01")
    bought = market.buy(anna, 10)
    assert [fill[2] for fill in bought.fills()] == ["105.00"]
    assert bought.order.status == Status.CANCELED


def test_a_market_order_needs_a_price_from_somewhere(market: Market) -> None:
    bare = Market(market.kind, InstrumentTerms(b"NEW"))
    anna, bob = bare.account("anna"), bare.account("bob")
    assert bare.buy(anna, 1).reason == Reason.NO_REFERENCE_PRICE
    bare.sell(bob, 1, "7.00")
    assert bare.buy(anna, 1).fills() == [(1, 1, "7.00")]


def test_an_amount_of_money_buys_whole_lots(market: Market) -> None:
    whole = Market(
        market.kind, InstrumentTerms(b"LOT", lot=shares(1), reference_price=price("30.00"))
    )
    anna, bob = whole.account("anna"), whole.account("bob")
    whole.sell(bob, 2, "30.00")
    whole.sell(bob, 9, "31.00")
    bought = whole.order(anna, whole.terms(Side.BUY, 0, notional=cash(100)))
    assert bought.fills() == [(1, 2, "30.00"), (2, 1, "31.00")]
    assert bought.order.status == Status.FILLED
    assert bought.updates[-1].event == OrderEvent.FILL
    assert bought.order.notional == cash(100)
    assert whole.money(anna) == (cash(1_000_000) - cash(91), 0)


def test_an_amount_that_no_longer_buys_a_lot_at_the_next_price_is_canceled(market: Market) -> None:
    whole = Market(
        market.kind, InstrumentTerms(b"LOT", lot=shares(1), reference_price=price("30.00"))
    )
    anna, bob = whole.account("anna"), whole.account("bob")
    whole.sell(bob, 2, "30.00")
    whole.sell(bob, 9, "31.00")
    bought = whole.order(anna, whole.terms(Side.BUY, 0, notional=cash("90.50")))
    assert bought.fills() == [(1, 2, "30.00")]
    assert bought.order.status == Status.CANCELED
    assert bought.order.close_reason == CloseReason.UNFILLED


def test_a_limit_order_for_an_amount_becomes_a_quantity(market: Market) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 0, "100.00", notional=cash(250))
    assert market.order(anna, terms).order.quantity == shares("2.5")
    terms = market.terms(Side.BUY, 0, "100.00", notional=1)
    assert market.order(anna, terms).order.quantity == 10


def test_stops_wait_trigger_and_set_off_each_other(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 1, "100.00")
    market.sell(bob, 1, "101.00")
    market.sell(bob, 1, "102.00")
    last = market.buy(anna, 1, "102.00", stop="101.00").number
    first = market.buy(anna, 1, stop="100.00").number
    assert market.live(first) is not None
    carl = market.account("carl")
    trade = market.buy(carl, 1, "100.00")
    assert [fill[2] for fill in trade.fills()] == ["100.00", "101.00", "102.00"]
    assert trade.events_of(first) == [OrderEvent.RESTATED, OrderEvent.FILL]
    assert trade.events_of(last) == [OrderEvent.RESTATED, OrderEvent.FILL]
    triggered = [update.order for update in trade.updates if update.order.order_id == last]
    assert all(order.flags & OrderFlag.TRIGGERED for order in triggered)


def test_a_stop_that_is_reached_already_triggers_at_once(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 1, "100.00")
    market.buy(anna, 1, "100.00")
    market.sell(bob, 1, "100.50")
    stop = market.buy(anna, 1, stop="99.00")
    assert stop.events_of(stop.number) == [OrderEvent.NEW, OrderEvent.RESTATED, OrderEvent.FILL]


def test_sell_stops_trigger_highest_first_then_oldest(market: Market) -> None:
    anna, bob, carl = market.account("anna"), market.account("bob"), market.account("carl")
    market.buy(anna, 10, "99.00")
    older = market.sell(bob, 1, stop="99.50").number
    younger = market.sell(bob, 1, stop="99.50").number
    nearest = market.sell(bob, 1, stop="100.00").number
    sold = market.sell(carl, 1, "99.00")
    triggered = [u.order.order_id for u in sold.updates if u.event == OrderEvent.RESTATED]
    assert triggered == [nearest, older, younger]


@pytest.mark.parametrize(
    ("mode", "resting", "incoming"),
    [
        (SelfTrade.CANCEL_NEWEST, Status.NEW, Status.CANCELED),
        (SelfTrade.CANCEL_OLDEST, Status.CANCELED, Status.NEW),
        (SelfTrade.CANCEL_BOTH, Status.CANCELED, Status.CANCELED),
        (SelfTrade.DECREMENT, Status.CANCELED, Status.NEW),
    ],
)
def test_an_account_never_trades_with_itself(
    market: Market, mode: SelfTrade, resting: Status, incoming: Status
) -> None:
    anna = market.account("anna")
    old = market.sell(anna, 5, "100.00").number
    new = market.buy(anna, 8, "100.00", self_trade=mode)
    assert not new.trades
    live = market.live(old)
    assert (Status.CANCELED if live is None else live.status) == resting
    assert new.order.status == incoming
    if mode == SelfTrade.DECREMENT:
        assert new.order.quantity == shares(3)
        assert market.book() == "bid 100.00 x 3 (1)"


def test_decrement_leaves_the_rest_of_the_resting_order_in_its_place(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    own = market.sell(anna, 5, "100.00").number
    market.sell(bob, 5, "100.00")
    new = market.buy(anna, 2, "100.00", self_trade=SelfTrade.DECREMENT)
    assert new.order.status == Status.CANCELED
    assert new.order.quantity == shares(2)
    assert market.position(anna)[1] == shares(3)
    assert market.buy(bob, 3, "100.00").fills() == [(own, 3, "100.00")]


def test_refuse_looks_for_own_orders_at_entry(market: Market) -> None:
    anna = market.account("anna")
    market.sell(anna, 5, "100.00")
    reached = market.buy(anna, 1, "100.00", self_trade=SelfTrade.REFUSE)
    assert reached.reason == Reason.WASH_TRADE
    assert reached.number == 0
    assert market.buy(anna, 1, "99.99", self_trade=SelfTrade.REFUSE).reason == Reason.OK
