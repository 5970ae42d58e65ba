"""Every method of alpaca-py's TradingClient, with every field of every request it takes.

Two workers serve, and every client here talks over several connections, so what one worker did is
asked of another all the time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.support.alpaca import (
    ClosePositionRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OptionLegRequest,
    Order,
    OrderClass,
    OrderRequest,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionIntent,
    QueryOrderStatus,
    ReplaceOrderRequest,
    Sort,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TimeInForce,
    TradingClient,
    TrailingStopOrderRequest,
)
from tests.support.covers import offers, refuses
from tests.support.trading_clients import MakeClient, refused, trading_clients
from tests.support.venue_fixture import Venue, running_venue

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
ALL = QueryOrderStatus.ALL
NOTHING_SUCH = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob", "cas", "dan") as running:
        yield running


@pytest.fixture
def make(venue: Venue) -> Iterator[MakeClient]:
    with trading_clients(venue) as made:
        yield made


@pytest.fixture
def ann(make: MakeClient) -> Iterator[TradingClient]:
    client = make("ann")
    yield client
    client.cancel_orders()


@pytest.fixture
def bob(make: MakeClient) -> Iterator[TradingClient]:
    client = make("bob")
    yield client
    client.cancel_orders()


def limit(side: OrderSide, qty: float, price: float, symbol: str = "AAPL") -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol=symbol, side=side, qty=qty, limit_price=price, time_in_force=DAY
    )


def place(client: TradingClient, request: OrderRequest) -> Order:
    order = client.submit_order(request)
    assert isinstance(order, Order)
    return order


@offers(
    "TradingClient.submit_order", "OrderRequest.symbol", "OrderRequest.qty", "OrderRequest.side",
    "OrderRequest.type", "OrderRequest.time_in_force", "OrderRequest.order_class",
    "OrderRequest.extended_hours", "OrderRequest.client_order_id", "OrderRequest.position_intent",
    "LimitOrderRequest.limit_price",
)  # fmt: skip
def test_an_order_keeps_every_field_it_was_placed_with(ann: TradingClient) -> None:
    name = f"whole-{uuid.uuid4()}"
    order = place(ann, LimitOrderRequest(
        symbol="AAPL", qty=2, side=BUY, time_in_force=GTC, order_class=OrderClass.SIMPLE,
        extended_hours=True, client_order_id=name, position_intent=PositionIntent.BUY_TO_OPEN,
        limit_price=90.1,
    ))  # fmt: skip
    assert (order.symbol, order.qty, order.side, order.type) == ("AAPL", "2", BUY, OrderType.LIMIT)
    assert (order.time_in_force, order.order_class) == (GTC, OrderClass.SIMPLE)
    assert (order.extended_hours, order.client_order_id) == (True, name)
    assert (order.position_intent, order.limit_price) == (PositionIntent.BUY_TO_OPEN, "90.1")


@offers("OrderRequest.notional", "StopOrderRequest.stop_price",
        "StopLimitOrderRequest.stop_price", "StopLimitOrderRequest.limit_price")  # fmt: skip
def test_every_kind_of_order_is_taken(ann: TradingClient, bob: TradingClient) -> None:
    place(ann, limit(SELL, 5, 100))
    bought = place(bob, MarketOrderRequest(
        symbol="AAPL", notional=150, side=BUY, time_in_force=DAY
    ))  # fmt: skip
    assert (bought.status, bought.notional, bought.filled_qty) == (
        OrderStatus.FILLED, "150", "1.5",
    )  # fmt: skip
    stop = place(bob, StopOrderRequest(
        symbol="AAPL", qty=1, side=SELL, time_in_force=GTC, stop_price=60.5
    ))  # fmt: skip
    assert (stop.type, stop.stop_price, stop.limit_price) == (OrderType.STOP, "60.5", None)
    both = place(bob, StopLimitOrderRequest(
        symbol="AAPL", qty=1, side=SELL, time_in_force=GTC, stop_price=60.5, limit_price=60
    ))  # fmt: skip
    assert (both.type, both.stop_price, both.limit_price) == (OrderType.STOP_LIMIT, "60.5", "60")
    plain = place(bob, OrderRequest(
        symbol="AAPL", qty=1, side=SELL, time_in_force=DAY, type=OrderType.MARKET
    ))  # fmt: skip
    assert plain.type is OrderType.MARKET


BOUGHT: dict[str, Any] = {
    "symbol": "AAPL", "qty": 1, "side": BUY, "time_in_force": DAY, "limit_price": 90,
}  # fmt: skip


@refuses(
    "TradingClient.submit_order", "OrderRequest.legs", "OrderRequest.take_profit",
    "OrderRequest.stop_loss", "TrailingStopOrderRequest.trail_price",
    "TrailingStopOrderRequest.trail_percent",
)  # fmt: skip
def test_orders_of_other_kinds_are_refused_by_name(ann: TradingClient) -> None:
    up, down = TakeProfitRequest(limit_price=120), StopLossRequest(stop_price=80, limit_price=79)
    trailing = {name: value for name, value in BOUGHT.items() if name != "limit_price"}
    legs = [OptionLegRequest(symbol=f"AAPL{n}", ratio_qty=1, side=BUY) for n in range(2)]
    cases: list[tuple[str, OrderRequest]] = [
        ("bracket", LimitOrderRequest(
            **BOUGHT, order_class=OrderClass.BRACKET, take_profit=up, stop_loss=down
        )),
        ("oco", LimitOrderRequest(
            **BOUGHT, order_class=OrderClass.OCO, take_profit=up, stop_loss=down
        )),
        ("oto", LimitOrderRequest(**BOUGHT, order_class=OrderClass.OTO, take_profit=up)),
        ("mleg", MarketOrderRequest(
            qty=1, time_in_force=DAY, order_class=OrderClass.MLEG, legs=legs
        )),
        ("trailing_stop", TrailingStopOrderRequest(**trailing, trail_price=1)),
        ("trailing_stop", TrailingStopOrderRequest(**trailing, trail_percent=1)),
    ]  # fmt: skip
    for word, request in cases:
        refused(partial(ann.submit_order, request), 422, word, "not offered")
    for tif in (TimeInForce.OPG, TimeInForce.CLS):
        fields = {**BOUGHT, "time_in_force": tif}
        request = LimitOrderRequest(**fields)
        refused(partial(ann.submit_order, request), 422, tif.value, "not offered")
    refused(
        lambda: ann.submit_order(
            LimitOrderRequest(**BOUGHT, position_intent=PositionIntent.BUY_TO_CLOSE)
        ),
        403, "short",
    )  # fmt: skip
    assert ann.get_orders() == []


@offers(
    "TradingClient.get_orders", "GetOrdersRequest.status", "GetOrdersRequest.limit",
    "GetOrdersRequest.after", "GetOrdersRequest.until", "GetOrdersRequest.direction",
    "GetOrdersRequest.nested", "GetOrdersRequest.side", "GetOrdersRequest.symbols",
)  # fmt: skip
def test_orders_are_listed_by_every_filter(ann: TradingClient) -> None:
    before = datetime.now(UTC)
    orders = [
        place(ann, limit(BUY, 1, 90)),
        place(ann, limit(SELL, 1, 110)),
        place(ann, limit(BUY, 1, 45, "MSFT")),
        place(ann, limit(BUY, 1, 91)),
    ]
    ann.cancel_order_by_id(orders[0].id)

    def listed(**fields: object) -> list[int]:
        asked: dict[str, Any] = {"after": before, "status": ALL, **fields}
        found = ann.get_orders(GetOrdersRequest(**asked))
        ids = [order.id for order in orders]
        return [ids.index(order.id) for order in found if isinstance(order, Order)]

    assert listed() == [3, 2, 1, 0]
    assert listed(direction=Sort.ASC) == [0, 1, 2, 3]
    assert listed(status=QueryOrderStatus.OPEN) == [3, 2, 1]
    assert listed(status=QueryOrderStatus.CLOSED) == [0]
    assert listed(side=SELL) == [1]
    assert listed(symbols=["AAPL"]) == [3, 1, 0]
    assert listed(symbols=["MSFT", "AAPL"], side=BUY, direction=Sort.ASC, limit=2) == [0, 2]
    assert listed(symbols=["NOPE"]) == []
    assert listed(nested=True) == [3, 2, 1, 0]
    second = orders[1].submitted_at
    assert listed(after=second) == [3, 2], "a bound is not included"
    assert listed(until=orders[2].submitted_at) == [1, 0]
    assert listed(after=datetime.now(UTC) + timedelta(hours=1)) == []


def test_paging_with_a_bound_meets_every_order_once(ann: TradingClient) -> None:
    """As bots do it: the last order's time is the bound of the next question."""
    begin = datetime.now(UTC)
    placed = [place(ann, limit(BUY, 1, 50 + n)).id for n in range(23)]
    found: list[uuid.UUID] = []
    after = begin
    while True:
        page = ann.get_orders(
            GetOrdersRequest(status=ALL, after=after, direction=Sort.ASC, limit=5)
        )
        rows = [order for order in page if isinstance(order, Order)]
        if not rows:
            break
        found += [order.id for order in rows]
        after = rows[-1].submitted_at
    assert found == placed


@offers("TradingClient.get_order_by_id", "TradingClient.get_order_by_client_id",
        "GetOrderByIdRequest.nested")  # fmt: skip
def test_an_order_is_found_by_either_id(ann: TradingClient) -> None:
    order = place(ann, limit(BUY, 1, 90))
    assert ann.get_order_by_id(order.id) == order
    assert ann.get_order_by_id(str(order.id), GetOrderByIdRequest(nested=True)) == order
    assert ann.get_order_by_client_id(order.client_order_id) == order
    refused(lambda: ann.get_order_by_id(NOTHING_SUCH), 404, "order not found")
    refused(lambda: ann.get_order_by_client_id("nobody's"), 404, "order not found")


@offers(
    "TradingClient.replace_order_by_id", "ReplaceOrderRequest.qty",
    "ReplaceOrderRequest.time_in_force", "ReplaceOrderRequest.limit_price",
    "ReplaceOrderRequest.stop_price", "ReplaceOrderRequest.client_order_id",
)  # fmt: skip
def test_every_field_of_an_order_can_be_replaced(ann: TradingClient) -> None:
    order = place(ann, StopLimitOrderRequest(
        symbol="AAPL", qty=5, side=SELL, time_in_force=DAY, stop_price=60, limit_price=59
    ))  # fmt: skip
    name = f"fresh-{uuid.uuid4()}"
    fresh = ann.replace_order_by_id(order.id, ReplaceOrderRequest(
        qty=4, time_in_force=GTC, limit_price=58.5, stop_price=61.25, client_order_id=name
    ))  # fmt: skip
    assert isinstance(fresh, Order)
    assert (fresh.replaces, fresh.client_order_id, fresh.status) == (
        order.id, name, OrderStatus.NEW,
    )  # fmt: skip
    assert (fresh.qty, fresh.time_in_force, fresh.limit_price, fresh.stop_price) == (
        "4", GTC, "58.5", "61.25",
    )  # fmt: skip
    old = ann.get_order_by_id(order.id)
    assert isinstance(old, Order)
    assert (old.status, old.replaced_by) == (OrderStatus.REPLACED, fresh.id)


@refuses("TradingClient.replace_order_by_id", "ReplaceOrderRequest.trail")
def test_a_replacement_without_sense_is_refused(ann: TradingClient) -> None:
    order = place(ann, limit(BUY, 5, 90))
    refused(lambda: ann.replace_order_by_id(order.id, ReplaceOrderRequest(trail=1)), 422, "trail")
    refused(lambda: ann.replace_order_by_id(order.id), 422)
    refused(lambda: ann.replace_order_by_id(NOTHING_SUCH, ReplaceOrderRequest(qty=1)), 404, "order")
    ann.cancel_order_by_id(order.id)
    refused(
        lambda: ann.replace_order_by_id(order.id, ReplaceOrderRequest(qty=1)), 422, "replaceable"
    )


@offers("TradingClient.cancel_order_by_id", "TradingClient.cancel_orders")
def test_orders_are_canceled(ann: TradingClient) -> None:
    orders = [place(ann, limit(BUY, 1, 80 + n)) for n in range(3)]
    ann.cancel_order_by_id(orders[0].id)
    assert ann.get_orders() == [orders[2], orders[1]]
    ann.cancel_orders()
    assert ann.get_orders() == []
    refused(lambda: ann.cancel_order_by_id(orders[0].id), 422, "cancelable")
    refused(lambda: ann.cancel_order_by_id(NOTHING_SUCH), 404, "order not found")


@offers(
    "TradingClient.close_position", "ClosePositionRequest.qty", "ClosePositionRequest.percentage",
    "TradingClient.get_open_position", "TradingClient.get_all_positions",
    "TradingClient.close_all_positions",
)  # fmt: skip
def test_positions_are_closed_in_part_and_in_whole(make: MakeClient, ann: TradingClient) -> None:
    cas = make("cas")
    place(ann, limit(BUY, 10_000, 49, "MSFT"))

    def held() -> str | None:
        found = {p.symbol: p.qty for p in cas.get_all_positions() if not isinstance(p, str)}
        return found.get("MSFT")

    position: Any = cas.get_open_position("MSFT")
    assert cas.get_open_position(position.asset_id) == position
    cas.close_position("MSFT", ClosePositionRequest(qty="0.5"))
    assert held() == "9999.5"
    cas.close_position("MSFT", ClosePositionRequest(percentage="33.3333333"))
    assert held() == "6666.333336667", "a third less, down to the lot"
    asset = cas.get_asset("MSFT")
    assert not isinstance(asset, dict)
    sold = cas.close_position(asset.id, ClosePositionRequest(percentage="100"))
    assert isinstance(sold, Order)
    assert (sold.status, sold.filled_qty) == (OrderStatus.FILLED, "6666.333336667")
    assert held() is None
    refused(lambda: cas.get_open_position("MSFT"), 404, "position does not exist")
    refused(lambda: cas.close_position("MSFT"), 404, "position does not exist")
    for options in ({"qty": "0"}, {"percentage": "101"}, {"percentage": "x"}, {"qty": "-1"}):
        request = ClosePositionRequest(**options)
        refused(partial(cas.close_position, "AAPL", request), 422)
    refused(
        lambda: cas.close_position("AAPL", ClosePositionRequest(qty="10001")), 403, "insufficient"
    )
    cas.submit_order(limit(SELL, 1_000, 150))
    place(ann, limit(BUY, 9_500, 40))
    outcomes = {one.symbol: one.status for one in cas.close_all_positions(cancel_orders=False)}  # type: ignore[union-attr]
    assert outcomes["AAPL"] == 403, "a thousand are held by an open order"
    outcomes = {one.symbol: one.status for one in cas.close_all_positions(cancel_orders=True)}  # type: ignore[union-attr]
    assert outcomes["AAPL"] == 200
    assert cas.get_orders() == []
