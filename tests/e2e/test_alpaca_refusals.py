"""Every refusal as alpaca-py sees it: APIError with the status, code and words clients look for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.alpaca import (
    APIError,
    LimitOrderRequest,
    MarketOrderRequest,
    Order,
    OrderClass,
    OrderSide,
    ReplaceOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TimeInForce,
    TradingClient,
    TrailingStopOrderRequest,
)
from tests.support.venue_fixture import Venue, running_venue

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC, IOC = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC
INVALID, UNPROCESSABLE, FORBIDDEN = 40010001, 42210000, 40310000


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob", "poor") as running:
        yield running


@pytest.fixture
def client(venue: Venue) -> Iterator[Callable[[str], TradingClient]]:
    made: list[TradingClient] = []

    def make(name: str) -> TradingClient:
        person = venue.people[name]
        made.append(TradingClient(person.key_id, person.secret, url_override=venue.url))
        made[-1].cancel_orders()
        return made[-1]

    yield make
    for one in made:
        one.cancel_orders()
        one._session.close()


def refused(status: int, code: int, call: Callable[..., Any], *arguments: object) -> str:
    """Return the message of the APIError that `call` must raise."""
    with pytest.raises(APIError) as caught:
        call(*arguments)
    assert (caught.value.status_code, caught.value.code) == (status, code), caught.value
    message = caught.value.message
    assert isinstance(message, str)
    return message


def limit(side: OrderSide = BUY, **fields: object) -> LimitOrderRequest:
    asked = {"symbol": "AAPL", "qty": 1, "limit_price": 90, "time_in_force": DAY, **fields}
    return LimitOrderRequest(side=side, **asked)


def market(side: OrderSide = BUY, **fields: object) -> MarketOrderRequest:
    return MarketOrderRequest(side=side, **{"symbol": "AAPL", "time_in_force": DAY, **fields})


@pytest.mark.parametrize(
    ("order", "code", "words"),
    [
        (limit(symbol="NOPE"), UNPROCESSABLE, 'asset "NOPE" not found'),
        (limit(limit_price=290.123), UNPROCESSABLE,
         "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing "
         "criteria"),
        (limit(limit_price=290.12345), UNPROCESSABLE, "sub-penny increment"),
        (StopOrderRequest(symbol="AAPL", side=SELL, qty=1, stop_price=9.999, time_in_force=DAY),
         UNPROCESSABLE, "invalid stop_price 9.999. sub-penny increment"),
        (limit(qty=1.5, time_in_force=GTC), UNPROCESSABLE, "fractional orders must be DAY orders"),
        (market(notional=100, time_in_force=IOC), UNPROCESSABLE,
         "fractional orders must be DAY orders"),
        (limit(qty=-1), INVALID, "qty must be > 0"),
        (limit(qty=0), INVALID, "qty must be > 0"),
        (limit(qty=1e10), INVALID, "too large"),
        (limit(qty=0.1234567891), INVALID, "at most 9 decimals"),
        (limit(limit_price=0), INVALID, "limit_price must be > 0"),
        (limit(client_order_id="x" * 129), INVALID, "client_order_id must be no more than 128"),
        (limit(time_in_force=TimeInForce.OPG), UNPROCESSABLE, "time_in_force opg is not offered"),
        (market(qty=1, time_in_force=TimeInForce.CLS), UNPROCESSABLE, "cls is not offered"),
        (market(qty=1, extended_hours=True), UNPROCESSABLE, "extended hours order must be"),
        (limit(order_class=OrderClass.BRACKET, take_profit=TakeProfitRequest(limit_price=99),
               stop_loss=StopLossRequest(stop_price=80)), UNPROCESSABLE, "bracket is not offered"),
        (limit(order_class=OrderClass.OTO, take_profit=TakeProfitRequest(limit_price=99)),
         UNPROCESSABLE, "oto is not offered"),
        (TrailingStopOrderRequest(symbol="AAPL", side=SELL, qty=1, trail_price=1,
                                  time_in_force=DAY),
         UNPROCESSABLE, "trailing_stop orders are not offered"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_order_is_422_and_says_why(
    client: Callable[[str], TradingClient], order: object, code: int, words: str
) -> None:
    assert words in refused(422, code, client("ann").submit_order, order)


def test_too_little_money_is_403_with_the_amounts(
    client: Callable[[str], TradingClient], venue: Venue
) -> None:
    poor = client("poor")
    assert "insufficient buying power" in refused(
        403, FORBIDDEN, poor.submit_order, limit(qty=12, limit_price=100)
    )
    answer = venue.call("poor", "POST", "/v2/orders", {
        "symbol": "AAPL", "qty": "12", "side": "buy", "type": "limit",
        "limit_price": "100", "time_in_force": "day",
    })  # fmt: skip
    assert answer.json() == {
        "code": FORBIDDEN, "message": "insufficient buying power",
        "buying_power": "1000", "cost_basis": "1200",
    }  # fmt: skip


def test_too_few_shares_is_403_with_the_amounts(
    client: Callable[[str], TradingClient], venue: Venue
) -> None:
    ann = client("ann")
    ann.submit_order(limit(SELL, qty=9_000, limit_price=150))
    body = {
        "symbol": "AAPL", "qty": "2000", "side": "sell", "type": "limit",
        "limit_price": "150", "time_in_force": "day",
    }  # fmt: skip
    assert venue.call("ann", "POST", "/v2/orders", body).json() == {
        "code": FORBIDDEN, "symbol": "AAPL",
        "available": "1000", "existing_qty": "10000", "held_for_orders": "9000",
        "message": "insufficient qty available for order (requested: 2000, available: 1000)",
    }  # fmt: skip


def test_selling_what_one_does_not_have_is_short_selling(
    client: Callable[[str], TradingClient],
) -> None:
    poor = client("poor")
    assert refused(403, FORBIDDEN, poor.submit_order, limit(SELL)) == (
        "account is not allowed to short"
    )


def test_a_notional_below_one_is_refused(client: Callable[[str], TradingClient]) -> None:
    assert refused(403, FORBIDDEN, client("ann").submit_order, market(notional=0.5)) == (
        "cost basis must be >= minimal amount of order 1"
    )


def test_a_wash_trade_is_refused_where_the_client_asks_for_that(
    client: Callable[[str], TradingClient], venue: Venue
) -> None:
    client("ann").submit_order(limit(SELL, limit_price=95))
    answer = venue.call("ann", "POST", "/v2/orders", {
        "symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "95",
        "time_in_force": "day", "self_trade_prevention": "refuse",
    })  # fmt: skip
    assert (answer.status, answer.json()["code"]) == (403, FORBIDDEN)
    assert answer.json()["message"] == "potential wash trade detected. use complex orders"


def test_a_client_order_id_is_used_once(client: Callable[[str], TradingClient]) -> None:
    ann, name = client("ann"), str(uuid.uuid4())
    order = ann.submit_order(limit(client_order_id=name))
    assert refused(422, INVALID, ann.submit_order, limit(client_order_id=name)) == (
        "client_order_id must be unique"
    )
    assert ann.get_order_by_client_id(name) == order
    client("bob").submit_order(limit(client_order_id=name))


def test_a_market_order_needs_some_price_to_go_by(
    client: Callable[[str], TradingClient],
) -> None:
    message = refused(422, UNPROCESSABLE, client("bob").submit_order, market(symbol="ZZZZ", qty=1))
    assert "no price" in message


def test_orders_of_others_and_of_nobody_are_not_found(
    client: Callable[[str], TradingClient],
) -> None:
    order = client("ann").submit_order(limit())
    assert isinstance(order, Order)
    bob = client("bob")
    for unknown in (order.id, uuid.uuid4()):
        assert refused(404, 40410000, bob.get_order_by_id, unknown) == "order not found"
        assert refused(404, 40410000, bob.cancel_order_by_id, unknown) == "order not found"
        change = ReplaceOrderRequest(qty=2)
        assert refused(404, 40410000, bob.replace_order_by_id, unknown, change) == "order not found"


def test_what_cannot_be_replaced_says_why(client: Callable[[str], TradingClient]) -> None:
    ann, bob = client("ann"), client("bob")
    order = ann.submit_order(limit(qty=5))
    assert isinstance(order, Order)

    def replace(**fields: object) -> str:
        asked: dict[str, Any] = dict(fields)
        change = ReplaceOrderRequest(**asked)
        return refused(422, UNPROCESSABLE, ann.replace_order_by_id, order.id, change)

    assert "not changed" in replace(qty=5)
    assert "sub-penny" in replace(limit_price=90.001)
    bob.submit_order(limit(SELL, qty=2))
    assert "qty must be > filled_qty 2" in replace(qty=2)
    ann.cancel_order_by_id(order.id)
    assert replace(qty=4) == "order is not replaceable"
    empty = ReplaceOrderRequest(client_order_id=str(uuid.uuid4()))
    message = refused(422, INVALID, ann.replace_order_by_id, order.id, empty)
    assert message.startswith("at least one of qty")


def test_a_halted_symbol_takes_orders_but_none_that_must_trade_now(
    client: Callable[[str], TradingClient], venue: Venue
) -> None:
    ann = client("ann")
    venue.madang("venue", "halt", "MSFT")
    try:
        order = limit(symbol="MSFT", limit_price=40)
        queued = ann.submit_order(order)
        assert isinstance(queued, Order)
        assert queued.status.value == "accepted"
        at_once = limit(symbol="MSFT", limit_price=40, time_in_force=IOC)
        assert "open market" in refused(422, UNPROCESSABLE, ann.submit_order, at_once)
    finally:
        venue.madang("venue", "resume", "MSFT")
    found = ann.get_order_by_id(queued.id)
    assert isinstance(found, Order)
    assert found.status.value == "new"


@pytest.mark.parametrize(("key", "secret"), [("wrong", "wrong"), ("known", "wrong")])
def test_a_wrong_key_is_401(venue: Venue, key: str, secret: str) -> None:
    key_id = venue.people["ann"].key_id if key == "known" else key
    stranger = TradingClient(key_id, secret, url_override=venue.url)
    with stranger._session:
        assert refused(401, 40110000, stranger.get_account) == "unauthorized"


def test_methods_not_offered_are_json_errors(client: Callable[[str], TradingClient]) -> None:
    ann = client("ann")
    calls: list[Callable[[], Any]] = [
        lambda: ann.get("/corporate_actions/announcements"),
        lambda: ann.get("/options/contracts"),
    ]  # fmt: skip
    for call in calls:
        assert "is not offered" in refused(404, 40410000, call)
