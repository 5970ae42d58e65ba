"""Orders as JSON, built straight from the engine's record: a worker's one hot rendering. Pure.

Invariant: every order looks the same wherever it is told: in an answer, in a list, in both streams.
"""

from __future__ import annotations

from typing import Final

import msgspec

from madang.core.ids import Kind, to_uuid
from madang.exchange.api.decimals import cash_text, price_text, quantity_text, ratio_text
from madang.exchange.api.times import time_text
from madang.exchange.directory import Directory, Instrument
from madang.wire.codes import (
    OrderEvent,
    OrderFlag,
    OrderType,
    SelfTrade,
    Side,
    Status,
    TimeInForce,
)
from madang.wire.events import Order, OrderUpdate

SIDES: Final = {int(side): side.name.lower() for side in Side}
TYPES: Final = {int(kind): kind.name.lower() for kind in OrderType}
TIMES_IN_FORCE: Final = {int(tif): tif.name.lower() for tif in TimeInForce}
STATUSES: Final = {int(status): status.name.lower() for status in Status}
SELF_TRADES: Final = {int(mode): mode.name.lower() for mode in SelfTrade}
EVENTS: Final = {int(event): event.name.lower() for event in OrderEvent}
_INTENTS: Final = {int(Side.BUY): "buy_to_open", int(Side.SELL): "sell_to_close"}
_CLOSED_FIELDS: Final = {
    int(Status.FILLED): "filled_at",
    int(Status.EXPIRED): "expired_at",
    int(Status.CANCELED): "canceled_at",
    int(Status.REPLACED): "replaced_at",
}
_CLOSED_NAMES: Final = ("filled_at", "expired_at", "canceled_at", "replaced_at")
_NOT_CLOSED: Final = "".join(f'"{name}":null,' for name in _CLOSED_NAMES)
_AVERAGE_DECIMALS: Final = 6
_VALUE_PER_AVERAGE: Final = 10_000
_TAIL: Final = (
    '"expires_at":null,"failed_at":null,"order_class":"simple","legs":null,'
    '"trail_percent":null,"trail_price":null,"hwm":null,"ratio_qty":null,'
)


def order_json(order: Order, directory: Directory) -> bytes:
    """Return the Alpaca Order entity."""
    return order_text(order, directory.instruments[order.instrument]).encode()


def order_text(order: Order, instrument: Instrument) -> str:
    """Return the Alpaca Order entity as text."""
    o = order
    created = time_text(o.created_ns)
    kind = TYPES[o.type]
    filled = o.filled_quantity
    client_order_id = msgspec.json.encode(o.client_order_id.decode()).decode()
    return (
        f'{{"id":"{to_uuid(Kind.ORDER, o.order_id)}","client_order_id":{client_order_id},'
        f'"created_at":"{created}","updated_at":"{time_text(o.updated_ns)}",'
        f'"submitted_at":"{created}",{_closed_fields(o)}'
        f'"replaced_by":{_order_id(o.replaced_by)},"replaces":{_order_id(o.replaces)},'
        f'"asset_id":"{instrument.asset_id}","symbol":"{instrument.symbol}",'
        f'"asset_class":"us_equity",{_size_fields(o)}"filled_qty":"{quantity_text(filled)}",'
        f'"filled_avg_price":{_average(o) if filled else "null"},'
        f'"order_type":"{kind}","type":"{kind}","side":"{SIDES[o.side]}",'
        f'"time_in_force":"{TIMES_IN_FORCE[o.time_in_force]}",'
        f'"limit_price":{_price(o.limit_price)},"stop_price":{_price(o.stop_price)},'
        f'"status":"{STATUSES[o.status]}",'
        f'"extended_hours":{"true" if o.flags & OrderFlag.EXTENDED_HOURS else "false"},'
        f'{_TAIL}"position_intent":"{_INTENTS[o.side]}","commission":"{cash_text(o.fee)}",'
        f'"self_trade_prevention":"{SELF_TRADES[o.self_trade]}"}}'
    )


def update_text(update: OrderUpdate, instrument: Instrument) -> str:
    """Return what a trading stream says of one event: the object under `data`."""
    fill = ""
    if update.fill_quantity:
        fill = (
            f',"price":"{price_text(update.fill_price)}"'
            f',"qty":"{quantity_text(update.fill_quantity)}"'
        )
    return (
        f'{{"event":"{EVENTS[update.event]}",'
        f'"execution_id":"{to_uuid(Kind.EXECUTION, update.event_id)}",'
        f'"event_id":{update.event_id},"timestamp":"{time_text(update.now_ns)}"{fill},'
        f'"position_qty":"{quantity_text(update.position_quantity)}",'
        f'"order":{order_text(update.order, instrument)}}}'
    )


def _closed_fields(order: Order) -> str:
    closed = _CLOSED_FIELDS.get(order.status)
    if closed is None:
        return _NOT_CLOSED
    time = time_text(order.closed_ns)
    return "".join(
        f'"{name}":"{time}",' if name == closed else f'"{name}":null,' for name in _CLOSED_NAMES
    )


def _size_fields(order: Order) -> str:
    if order.notional:
        return f'"notional":"{cash_text(order.notional)}","qty":null,'
    return f'"notional":null,"qty":"{quantity_text(order.quantity)}",'


def _average(order: Order) -> str:
    quantity = order.filled_quantity * _VALUE_PER_AVERAGE
    return f'"{ratio_text(order.filled_value, quantity, _AVERAGE_DECIMALS)}"'


def _price(units: int) -> str:
    return f'"{price_text(units)}"' if units else "null"


def _order_id(number: int) -> str:
    return f'"{to_uuid(Kind.ORDER, number)}"' if number else "null"
