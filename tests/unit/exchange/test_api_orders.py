"""Requests into the engine's terms, orders into JSON, reasons into refusals."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.core.ids import Kind, to_uuid
from madang.edge import ApiError
from madang.exchange.api import schemas
from madang.exchange.api.order_request import (
    NewOrder,
    OrderBody,
    ReplaceBody,
    read_order,
    read_replacement,
)
from madang.exchange.api.refusals import Asked, refusal
from madang.exchange.api.render import order_json, update_text
from madang.exchange.directory import Directory
from madang.wire.codes import (
    CloseReason,
    OrderEvent,
    OrderType,
    Reason,
    SelfTrade,
    Side,
    Status,
    TimeInForce,
)
from madang.wire.commands import ReplaceTerms
from madang.wire.events import (
    INSTRUMENT_BODY,
    RECORD_HEADER,
    EventKind,
    Order,
    OrderUpdate,
    Result,
)
from tests.support.alpaca import Order as AlpacaOrder

UNITS = st.integers(1, 10**15)
TIMES = st.integers(10**18, 2 * 10**18)


def directory() -> Directory:
    found = Directory()
    body = INSTRUMENT_BODY.pack(7, 0, 4, 6, 5, 100, 1, 1_000_000, 0, 0, 0, 500)
    body += b"AAPLNASDAQApple"
    body += bytes(-len(body) % 8)
    found.apply(RECORD_HEADER.pack(8 + len(body), EventKind.INSTRUMENT, 0, 0) + body)
    return found


DIRECTORY = directory()


def read(**fields: object) -> NewOrder:
    asked = {
        "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
        "qty": "1", "limit_price": "90", **fields,
    }  # fmt: skip
    given_fields = {name: value for name, value in asked.items() if value is not None}
    return read_order(msgspec.json.decode(json.dumps(given_fields), type=OrderBody), DIRECTORY)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    quantity = draw(UNITS)
    filled = draw(st.integers(0, quantity))
    status = draw(st.sampled_from(Status))
    price = draw(st.integers(1, 10**9))
    return Order(
        order_id=draw(st.integers(1, 2**64 - 1)),
        account=draw(st.integers(1, 2**32 - 1)),
        instrument=7,
        side=draw(st.sampled_from(Side)),
        type=draw(st.sampled_from(OrderType)),
        time_in_force=draw(st.sampled_from(TimeInForce)),
        status=status,
        self_trade=draw(st.sampled_from(SelfTrade)),
        flags=draw(st.integers(0, 3)),
        close_reason=draw(st.sampled_from(CloseReason)),
        quantity=quantity,
        notional=draw(st.just(0) | UNITS),
        limit_price=draw(st.just(0) | st.just(price)),
        stop_price=draw(st.just(0) | st.just(price)),
        filled_quantity=filled,
        filled_value=filled * price,
        fee=draw(UNITS),
        created_ns=draw(TIMES),
        updated_ns=draw(TIMES),
        closed_ns=draw(TIMES) if status >= Status.FILLED else 0,
        replaces=draw(st.just(0) | UNITS),
        replaced_by=draw(st.just(0) | UNITS),
        client_order_id=draw(st.text(min_size=1, max_size=30)).encode(errors="replace"),
    )


@given(orders())
def test_every_order_is_what_the_schema_and_alpaca_say(order: Order) -> None:
    data = order_json(order, DIRECTORY)
    entity = msgspec.json.decode(data, type=schemas.Order, strict=True)
    assert set(json.loads(data)) == set(schemas.Order.__struct_fields__)
    assert entity.client_order_id == order.client_order_id.decode()
    assert entity.id == to_uuid(Kind.ORDER, order.order_id)
    parsed = AlpacaOrder(**json.loads(data))
    assert parsed.status.value == Status(order.status).name.lower()
    assert (parsed.filled_at is not None) == (order.status == Status.FILLED)
    assert (parsed.canceled_at is not None) == (order.status == Status.CANCELED)


@given(orders(), st.sampled_from(OrderEvent), UNITS)
def test_every_event_is_json_with_its_order(order: Order, event: OrderEvent, number: int) -> None:
    update = OrderUpdate(event, 5, 10**18, number, 1_000_000, 10**9, 3, 10**9, order)
    said = json.loads(update_text(update, DIRECTORY.instruments[7]))
    assert said["order"] == json.loads(order_json(order, DIRECTORY))
    assert (said["event"], said["price"], said["qty"]) == (event.name.lower(), "100", "1")
    assert said["execution_id"] == to_uuid(Kind.EXECUTION, number)


@given(st.integers(1, 10**9 - 1))
def test_a_price_sent_as_a_number_arrives_as_it_was_written(cents: int) -> None:
    whole, part = divmod(cents, 100)
    text = f"{whole}.{part:02d}"
    body = b'{"symbol":"AAPL","qty":1,"side":"buy","type":"limit","time_in_force":"day",'
    body += f'"limit_price":{text}}}'.encode()
    order = read_order(msgspec.json.decode(body, type=OrderBody), DIRECTORY)
    assert order.terms.limit_price == cents * 100


def test_what_is_not_said_is_not_given() -> None:
    order = read()
    terms = order.terms
    assert (terms.instrument, terms.side, terms.type) == (7, Side.BUY, OrderType.LIMIT)
    assert (terms.quantity, terms.limit_price) == (10**9, 900_000)
    assert (terms.notional, terms.stop_price, terms.flags, terms.self_trade) == (0, 0, 0, 0)
    assert len(order.client_order_id) == 36
    assert read().client_order_id != order.client_order_id


def test_an_asset_id_names_the_instrument_as_well_as_its_symbol() -> None:
    assert read(symbol=to_uuid(Kind.ASSET, 7)).terms.instrument == 7


@pytest.mark.parametrize("mode", SelfTrade)
def test_the_self_trade_mode_is_the_one_asked_for(mode: SelfTrade) -> None:
    assert read(self_trade_prevention=mode.name.lower()).terms.self_trade == mode


def test_the_longest_client_order_id_is_taken_and_one_more_is_not() -> None:
    assert read(client_order_id="é" * 64).client_order_id == ("é" * 64).encode()
    with pytest.raises(ApiError) as refused:
        read(client_order_id="é" * 64 + "x")
    assert (refused.value.status, refused.value.code) == (422, 40010001)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"order_class": "bracket"}, 422, 42210000),
        ({"order_class": "mleg"}, 422, 42210000),
        ({"type": "trailing_stop", "limit_price": None, "trail_percent": 5}, 422, 42210000),
        ({"legs": []}, 422, 42210000),
        ({"time_in_force": "opg"}, 422, 42210000),
        ({"position_intent": "sell_to_open", "side": "sell"}, 403, 40310000),
        ({"type": "stop", "limit_price": None, "stop_price": 5, "qty": None, "notional": 5},
         422, 42210000),
        ({"type": "stop", "limit_price": None, "stop_price": 5, "time_in_force": "ioc"},
         422, 42210000),
        ({"qty": None, "notional": "0.999999"}, 403, 40310000),
        ({"extended_hours": True, "time_in_force": "ioc"}, 422, 42210000),
    ],
)  # fmt: skip
def test_what_is_not_offered_says_so(fields: dict[str, object], status: int, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_a_replacement_must_change_something_that_can_change() -> None:
    def replace(text: str) -> ReplaceTerms:
        return read_replacement(9, msgspec.json.decode(text, type=ReplaceBody)).terms

    terms = replace('{"qty": 2.5, "limit_price": "3.50", "time_in_force": "gtc"}')
    assert (terms.order_id, terms.quantity, terms.limit_price) == (9, 25 * 10**8, 35_000)
    assert (terms.time_in_force, terms.stop_price) == (TimeInForce.GTC, 0)
    for text in ("{}", '{"trail": "1"}', '{"time_in_force": "ioc"}', '{"qty": null}'):
        with pytest.raises(ApiError) as refused:
            replace(text)
        assert refused.value.status == 422


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_every_reason_of_the_engine_has_its_words(reason: Reason) -> None:
    result = Result(1, 1, 1, bytes(16), reason, False, 1, 0, 5 * 10**9, 2 * 10**9, None)
    error = refusal(result, Asked("AAPL", "7", 123_456, 0))
    assert error.status in (403, 404, 422, 503)
    assert 40_000_000 < error.code < 60_000_000
    assert error.message
    json.dumps(error.data)
