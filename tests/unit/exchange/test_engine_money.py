"""Holds, fees, rounding, cost basis, transfers: cash and shares are never made or lost."""

from __future__ import annotations

import pytest

from madang.wire import commands as wire
from madang.wire.codes import CASH_MAX, FEE_ACCOUNT, PRICE_MAX, QUANTITY_MAX, Reason, Side
from madang.wire.commands import InstrumentTerms
from tests.support.market import ENGINES, Market, cash, price, shares


@pytest.fixture(params=ENGINES)
def market(request: pytest.FixtureRequest) -> Market:
    return Market(request.param)


def test_a_buy_holds_its_cost_with_the_higher_fee_and_gives_back_what_it_did_not_need(
    market: Market,
) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.fees(1_000, 2_500)
    market.sell(bob, 4, "99.00")
    bought = market.buy(anna, 10, "100.00")
    assert bought.order.fee == cash("0.99")
    spent = cash("396.99")
    assert market.money(anna) == (cash(1_000_000) - spent, cash("601.50"))
    market.cancel(anna, bought.number)
    assert market.money(anna) == (cash(1_000_000) - spent, 0)
    assert market.money(bob) == (cash(1_000_000) + cash(396) - cash("0.396"), 0)
    assert market.money(FEE_ACCOUNT)[0] == cash("0.99") + cash("0.396")


def test_orders_keep_the_fees_of_their_acceptance(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.sell(bob, 1, "100.00")
    market.fees(100_000, 100_000)
    market.buy(anna, 1, "100.00")
    assert market.money(bob)[0] == cash(1_000_100)
    assert market.money(anna)[0] == cash(1_000_000) - cash(110)


def test_rounding_goes_to_the_fee_account_and_nothing_is_lost(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    before = market.money(anna)[0] + market.money(bob)[0]
    for _ in range(7):
        market.order(bob, market.terms(Side.SELL, 0, "0.3333", quantity=7))
        market.order(anna, market.terms(Side.BUY, 0, "0.3333", quantity=7))
    fees = market.money(FEE_ACCOUNT)[0]
    assert fees == 7  # each trade is worth far less than a unit: the buyer pays one, nobody gets it
    assert market.money(anna)[0] + market.money(bob)[0] + fees == before


def test_what_an_order_needs_must_be_there(market: Market) -> None:
    anna = market.account("anna", money="100", quantity=2)
    refused = market.buy(anna, 2, "50.01")
    assert refused.reason == Reason.INSUFFICIENT_CASH
    assert (refused.result.a, refused.result.b) == (cash(100), cash("100.02"))
    assert market.buy(anna, 2, "50.00").reason == Reason.OK
    refused = market.sell(anna, 3, "60.00")
    assert refused.reason == Reason.INSUFFICIENT_SHARES
    assert (refused.result.a, refused.result.b) == (shares(2), 0)
    assert market.sell(anna, 2, "60.00").reason == Reason.OK
    refused = market.sell(anna, 1, "60.00")
    assert (refused.result.a, refused.result.b) == (shares(2), shares(2))
    poor = market.account("poor", quantity=0)
    assert market.sell(poor, 1, "60.00").reason == Reason.SHORT_NOT_ALLOWED


def test_exposure_is_bounded(market: Market) -> None:
    anna = market.account("anna")
    terms = market.terms(Side.BUY, 0, "1.00", quantity=QUANTITY_MAX)
    terms.limit_price = PRICE_MAX
    assert market.order(anna, terms).reason == Reason.VALUE_TOO_LARGE
    terms.side = Side.SELL
    assert market.order(anna, terms).reason == Reason.VALUE_TOO_LARGE


def test_cost_basis_follows_buys_sales_and_transfers(market: Market) -> None:
    anna, bob = market.account("anna", quantity=0), market.account("bob")
    market.sell(bob, 3, "10.00")
    market.sell(bob, 1, "20.00")
    market.buy(anna, 4, "20.00")
    assert market.position(anna) == (shares(4), 0, cash(50))
    market.buy(bob, 1, "20.00")
    market.sell(anna, 1, "20.00")
    assert market.position(anna) == (shares(3), 0, cash("37.50"))
    market.transfer(anna, market.instrument, shares(1))
    assert market.position(anna) == (shares(4), 0, cash("57.50"))
    market.transfer(anna, market.instrument, -shares(4))
    assert market.position(anna) == (0, 0, 0)


def test_held_money_and_shares_cannot_leave(market: Market) -> None:
    anna = market.account("anna", money="100", quantity=5)
    market.buy(anna, 1, "60.00")
    market.sell(anna, 5, "70.00")
    refused = market.transfer(anna, 0, -cash(41))
    assert refused.reason == Reason.INSUFFICIENT_CASH
    assert (refused.result.a, refused.result.b) == (cash(40), cash(41))
    refused = market.transfer(anna, market.instrument, -1)
    assert refused.reason == Reason.INSUFFICIENT_SHARES
    assert (refused.result.a, refused.result.b) == (shares(5), shares(5))
    assert market.transfer(anna, 0, -cash(40)).reason == Reason.OK


@pytest.mark.parametrize("amount", [0, -(2**63), CASH_MAX + 1, -CASH_MAX - 1])
def test_transfers_have_bounds(market: Market, amount: int) -> None:
    anna = market.account("anna")
    assert market.transfer(anna, 0, amount).reason == Reason.BAD_QUANTITY


def test_deposits_are_bounded_over_all_accounts(market: Market) -> None:
    anna, bob = market.account("anna", "0", 0), market.account("bob", "0", 0)
    assert market.transfer(anna, 0, CASH_MAX - 5).reason == Reason.OK
    assert market.transfer(bob, 0, 6).reason == Reason.BALANCE_OUT_OF_RANGE
    assert market.transfer(bob, 0, 5).reason == Reason.OK
    assert market.transfer(anna, market.instrument, QUANTITY_MAX).reason == Reason.OK
    assert market.transfer(bob, market.instrument, 1).reason == Reason.BALANCE_OUT_OF_RANGE


def test_a_cost_basis_stops_at_the_bound(market: Market) -> None:
    dear = Market(market.kind, InstrumentTerms(b"DEAR", reference_price=PRICE_MAX, tick=1))
    anna = dear.account("anna", quantity=0)
    dear.transfer(anna, dear.instrument, QUANTITY_MAX)
    assert dear.position(anna) == (QUANTITY_MAX, 0, CASH_MAX)


def test_the_fee_account_only_pays_out(market: Market) -> None:
    anna, bob = market.account("anna"), market.account("bob")
    market.fees(0, 10_000)
    market.sell(bob, 1, "100.00")
    market.buy(anna, 1, "100.00")
    assert market.transfer(FEE_ACCOUNT, 0, 1).reason == Reason.UNKNOWN_ACCOUNT
    assert market.transfer(FEE_ACCOUNT, market.instrument, -1).reason == Reason.UNKNOWN_ACCOUNT
    assert market.transfer(FEE_ACCOUNT, 0, -cash(2)).reason == Reason.INSUFFICIENT_CASH
    assert market.transfer(FEE_ACCOUNT, 0, -cash(1)).reason == Reason.OK
    assert market.buy(FEE_ACCOUNT, 1, "1.00").reason == Reason.UNKNOWN_ACCOUNT
    refused = market.send(wire.encode_set_account(FEE_ACCOUNT, market.request(), 1))
    assert refused.reason == Reason.UNKNOWN_ACCOUNT
    assert price("100.00") == 1_000_000
