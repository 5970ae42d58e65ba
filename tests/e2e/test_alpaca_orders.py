"""The unmodified alpaca-py places, replaces, cancels and finds orders on the real product."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.alpaca import (
    APIError,
    CancelOrderResponse,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    Order,
    OrderRequest,
    OrderSide,
    OrderStatus,
    OrderType,
    QueryOrderStatus,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
    TimeInForce,
    TradingClient,
)
from tests.support.venue_fixture import Venue, running_venue

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC, IOC, FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        yield running


@pytest.fixture
def ann(venue: Venue) -> Iterator[TradingClient]:
    yield from _client(venue, "ann")


@pytest.fixture
def bob(venue: Venue) -> Iterator[TradingClient]:
    yield from _client(venue, "bob")


def _client(venue: Venue, name: str) -> Iterator[TradingClient]:
    person = venue.people[name]
    client = TradingClient(person.key_id, person.secret, url_override=venue.url)
    client.cancel_orders()
    yield client
    client.cancel_orders()
    client._session.close()


def limit(side: OrderSide, qty: float, price: float, **more: object) -> LimitOrderRequest:
    fields: dict[str, Any] = {"symbol": "AAPL", "time_in_force": DAY, **more}
    return LimitOrderRequest(side=side, qty=qty, limit_price=price, **fields)


def market(side: OrderSide, **more: object) -> MarketOrderRequest:
    fields: dict[str, Any] = {"symbol": "AAPL", "time_in_force": DAY, **more}
    return MarketOrderRequest(side=side, **fields)


def place(client: TradingClient, request: OrderRequest) -> Order:
    order = client.submit_order(request)
    assert isinstance(order, Order)
    return order


def get(client: TradingClient, order: Order) -> Order:
    found = client.get_order_by_id(order.id)
    assert isinstance(found, Order)
    return found


def anchor(ann: TradingClient, bob: TradingClient, price: float) -> None:
    """Trade one share at `price`, so that it is the last price."""
    place(ann, limit(SELL, 1, price))
    assert place(bob, limit(BUY, 1, price)).status is OrderStatus.FILLED


@pytest.mark.parametrize("tif", [DAY, GTC])
def test_a_limit_order_rests_and_says_everything_that_was_asked(
    ann: TradingClient, tif: TimeInForce
) -> None:
    order = place(
        ann, limit(BUY, 2, 90.1, time_in_force=tif, client_order_id=f"mine-{uuid.uuid4()}")
    )
    assert order.status is OrderStatus.NEW
    assert (order.symbol, order.qty, order.limit_price) == ("AAPL", "2", "90.1")
    assert (order.order_type, order.type, order.time_in_force) == (OrderType.LIMIT,) * 2 + (tif,)
    assert order.client_order_id.startswith("mine-")
    assert (order.filled_qty, order.filled_avg_price, order.stop_price) == ("0", None, None)
    assert get(ann, order) == order


def test_an_ioc_order_takes_what_is_there_and_cancels_the_rest(
    ann: TradingClient, bob: TradingClient
) -> None:
    place(ann, limit(SELL, 1, 101))
    order = place(bob, limit(BUY, 3, 101, time_in_force=IOC))
    assert (order.status, order.filled_qty) == (OrderStatus.CANCELED, "1")
    assert order.canceled_at is not None


def test_a_fok_order_is_filled_in_whole_or_not_at_all(
    ann: TradingClient, bob: TradingClient
) -> None:
    place(ann, limit(SELL, 2, 101))
    refused = place(bob, limit(BUY, 3, 101, time_in_force=FOK))
    assert (refused.status, refused.filled_qty) == (OrderStatus.CANCELED, "0")
    filled = place(bob, limit(BUY, 2, 101, time_in_force=FOK))
    assert (filled.status, filled.filled_qty) == (OrderStatus.FILLED, "2")


@pytest.mark.parametrize("tif", [DAY, GTC, IOC, FOK])
def test_a_market_order_trades_at_the_resting_prices(
    ann: TradingClient, bob: TradingClient, tif: TimeInForce
) -> None:
    anchor(ann, bob, 100)
    place(ann, limit(SELL, 1, 100.1))
    place(ann, limit(SELL, 3, 100.3))
    order = place(bob, market(BUY, qty=2, time_in_force=tif))
    assert (order.status, order.filled_qty) == (OrderStatus.FILLED, "2")
    assert order.filled_avg_price == "100.2"
    assert order.filled_at is not None


def test_a_market_order_goes_no_further_than_its_collar(
    ann: TradingClient, bob: TradingClient
) -> None:
    anchor(ann, bob, 100)
    place(ann, limit(SELL, 1, 104))
    place(ann, limit(SELL, 1, 106))
    order = place(bob, market(BUY, qty=2))
    assert (order.status, order.filled_qty) == (OrderStatus.CANCELED, "1")


def test_a_notional_order_buys_for_an_amount(ann: TradingClient, bob: TradingClient) -> None:
    anchor(ann, bob, 100)
    place(ann, limit(SELL, 10, 100))
    order = place(bob, market(BUY, notional=250))
    assert (order.status, order.notional, order.qty) == (OrderStatus.FILLED, "250", None)
    assert order.filled_qty == "2.5"
    priced = place(bob, LimitOrderRequest(
        symbol="AAPL", side=BUY, notional=50, limit_price=100, time_in_force=DAY
    ))  # fmt: skip
    assert (priced.status, priced.filled_qty) == (OrderStatus.FILLED, "0.5")


def test_a_fractional_quantity_is_exact_to_the_ninth_decimal(
    ann: TradingClient, bob: TradingClient
) -> None:
    place(ann, limit(SELL, 5, 100))
    order = place(bob, limit(BUY, 0.123456789, 100))
    assert (order.status, order.filled_qty) == (OrderStatus.FILLED, "0.123456789")


@pytest.mark.parametrize("tif", [DAY, GTC])
def test_a_stop_order_waits_and_then_trades_at_market(
    ann: TradingClient, bob: TradingClient, tif: TimeInForce
) -> None:
    anchor(ann, bob, 100)
    stop = place(ann, StopOrderRequest(
        symbol="AAPL", side=SELL, qty=1, stop_price=99, time_in_force=tif
    ))  # fmt: skip
    assert (stop.status, stop.stop_price) == (OrderStatus.NEW, "99")
    place(bob, limit(BUY, 5, 98.5))
    anchor_price = place(bob, limit(BUY, 1, 99))
    place(ann, limit(SELL, 1, 99))
    assert get(bob, anchor_price).status is OrderStatus.FILLED
    done = get(ann, stop)
    assert (done.status, done.filled_avg_price) == (OrderStatus.FILLED, "98.5")


@pytest.mark.parametrize("tif", [DAY, GTC])
def test_a_stop_limit_order_becomes_a_limit_order_once_triggered(
    ann: TradingClient, bob: TradingClient, tif: TimeInForce
) -> None:
    anchor(ann, bob, 100)
    stop = place(bob, StopLimitOrderRequest(
        symbol="AAPL", side=BUY, qty=1, stop_price=101, limit_price=101.5, time_in_force=tif
    ))  # fmt: skip
    assert (stop.stop_price, stop.limit_price) == ("101", "101.5")
    anchor(ann, bob, 101)
    assert get(bob, stop).status is OrderStatus.NEW
    place(ann, limit(SELL, 1, 101.4))  # the stop rests at its limit by now
    assert get(bob, stop).filled_avg_price == "101.5"


def test_partial_fills_add_up_to_the_average_price(ann: TradingClient, bob: TradingClient) -> None:
    order = place(ann, limit(BUY, 4, 100))
    place(bob, limit(SELL, 1, 100))
    partly = get(ann, order)
    assert (partly.status, partly.filled_qty) == (OrderStatus.PARTIALLY_FILLED, "1")
    place(bob, limit(SELL, 3, 99))
    filled = get(ann, order)
    assert (filled.status, filled.filled_qty, filled.filled_avg_price) == (
        OrderStatus.FILLED, "4", "100",
    )  # fmt: skip


def test_a_replacement_is_a_new_order_that_names_the_old_one(ann: TradingClient) -> None:
    order = place(ann, limit(BUY, 5, 90))
    fresh = ann.replace_order_by_id(order.id, ReplaceOrderRequest(qty=3, limit_price=91.5))
    assert isinstance(fresh, Order)
    assert fresh.id != order.id
    assert (fresh.replaces, fresh.qty, fresh.limit_price) == (order.id, "3", "91.5")
    old = get(ann, order)
    assert (old.status, old.replaced_by) == (OrderStatus.REPLACED, fresh.id)
    assert old.replaced_at is not None


def test_a_replacement_keeps_what_was_filled(ann: TradingClient, bob: TradingClient) -> None:
    order = place(ann, limit(BUY, 5, 100))
    place(bob, limit(SELL, 2, 100))
    fresh = ann.replace_order_by_id(
        order.id, ReplaceOrderRequest(qty=4, time_in_force=GTC, client_order_id=str(uuid.uuid4()))
    )
    assert isinstance(fresh, Order)
    assert (fresh.filled_qty, fresh.qty, fresh.time_in_force) == ("2", "4", GTC)
    assert fresh.status is OrderStatus.PARTIALLY_FILLED


def test_a_canceled_order_is_canceled_once(ann: TradingClient) -> None:
    order = place(ann, limit(BUY, 1, 90))
    ann.cancel_order_by_id(order.id)
    canceled = get(ann, order)
    assert canceled.status is OrderStatus.CANCELED
    assert canceled.canceled_at is not None
    with pytest.raises(APIError) as refused:
        ann.cancel_order_by_id(order.id)
    assert (refused.value.status_code, refused.value.code) == (422, 42210000)


def test_all_open_orders_are_canceled_at_once(ann: TradingClient) -> None:
    orders = [place(ann, limit(BUY, 1, 80 + index)) for index in range(5)]
    outcomes = [one for one in ann.cancel_orders() if isinstance(one, CancelOrderResponse)]
    assert {outcome.id for outcome in outcomes} == {order.id for order in orders}
    assert {outcome.status for outcome in outcomes} == {200}
    assert ann.get_orders() == []
    assert ann.cancel_orders() == []


def test_an_order_is_found_by_its_client_order_id(ann: TradingClient, bob: TradingClient) -> None:
    name = f"mine-{uuid.uuid4()}"
    order = place(ann, limit(BUY, 1, 90, client_order_id=name))
    assert ann.get_order_by_client_id(name) == order
    with pytest.raises(APIError) as missing:
        bob.get_order_by_client_id(name)
    assert (missing.value.status_code, missing.value.code) == (404, 40410000)


def test_lists_are_filtered_as_asked(ann: TradingClient) -> None:
    begin = datetime.now(UTC)
    first = place(ann, limit(BUY, 1, 90))
    second = place(ann, limit(SELL, 1, 110))
    third = place(ann, limit(BUY, 1, 45, symbol="MSFT"))
    ann.cancel_order_by_id(first.id)

    def listed(**fields: object) -> list[uuid.UUID]:
        asked: dict[str, Any] = {"after": begin, **fields}
        orders = ann.get_orders(GetOrdersRequest(**asked))
        return [order.id for order in orders if isinstance(order, Order)]

    every = QueryOrderStatus.ALL
    assert listed() == [third.id, second.id]
    assert listed(status=QueryOrderStatus.CLOSED) == [first.id]
    assert listed(status=every, direction="asc") == [first.id, second.id, third.id]
    assert listed(status=every, direction="asc", limit=2) == [first.id, second.id]
    assert listed(status=every, side=BUY) == [third.id, first.id]
    assert listed(status=every, symbols=["MSFT", "NOPE"], nested=True) == [third.id]
    assert listed(status=every, until=third.submitted_at - timedelta(microseconds=1)) == [
        second.id, first.id,
    ]  # fmt: skip


def test_what_one_worker_accepts_every_worker_knows(venue: Venue) -> None:
    """Connections spread over both workers; each answers about the order another one took."""
    workers: set[str] = set()
    limit_s = time.monotonic() + 20
    while len(workers) < 2:
        assert time.monotonic() < limit_s, f"only {workers} answered"
        placed = venue.call("ann", "POST", "/v2/orders", {
            "symbol": "AAPL", "side": "buy", "qty": "1", "type": "limit",
            "limit_price": "70", "time_in_force": "day",
        })  # fmt: skip
        order_id = placed.json()["id"]
        found = venue.call("ann", "GET", f"/v2/orders/{order_id}")
        assert found.json() == placed.json()
        assert venue.call("ann", "DELETE", f"/v2/orders/{order_id}").status == 204
        for answer in (placed, found):
            workers.add(answer.headers["x-request-id"].split("-")[0])
