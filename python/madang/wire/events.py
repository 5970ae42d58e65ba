"""Event and state records: what the engine answers.

Every event, little-endian, padded with zeros to a multiple of 8:

    length u16 | kind u8 | flags u8 | account u32 | sequence u64 | now_ns i64 | event_id u64 | body

`sequence` is that of the command that caused it, `event_id` counts all events for ever. The last
event of a command is its RESULT. Bodies of ORDER, ACCOUNT, POSITION, INSTRUMENT, CREDENTIAL and
LEVEL are also the records that an engine's queries return, concatenated, each then beginning with
`length u16 | kind u8 | flags u8 (0) | reserved u32 (0)` (8 bytes) before the body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct("<HBBIQqQ")
HEADER_BYTES = 32
RECORD_HEADER = struct.Struct("<HBBI")
RECORD_HEADER_BYTES = 8
# order_id account instrument side type tif status stp flags cid_length close_reason
# qty notional limit stop filled value_low value_high fee created updated closed replaces
# replaced_by
ORDER_BODY = struct.Struct("<QIIBBBBBBBBqqqqqQqqqqqQQ")
ORDER_BODY_BYTES = 128
# fill_price fill_qty trade_id position_qty; then an order body
ORDER_EXTRA = struct.Struct("<qqQq")
# request_id reason repeat has_order command_kind number a b; then an order body if has_order
RESULT_BODY = struct.Struct("<16sHBBIQqq")
RESULT_BODY_BYTES = 48
# instrument aggressor - - price qty trade_id buy_order sell_order buy_account sell_account
TRADE_BODY = struct.Struct("<IBBHqqQQQII")
# instrument - amount balance
TRANSFER_BODY = struct.Struct("<IIqq")
# number state name_length - cash held created_ns; then name
ACCOUNT_BODY = struct.Struct("<IBBHqqq")
# account instrument qty held cost_basis
POSITION_BODY = struct.Struct("<IIqqq")
# number session symbol_length exchange_length name_length tick lot reference last_price last_ns
# shares_total collar_bps; then symbol exchange name
INSTRUMENT_BODY = struct.Struct("<IBBBBqqqqqqI4x")
# number account kind name_length value_length -; then name value
CREDENTIAL_BODY = struct.Struct("<IIBBHI")
# side - - orders price qty
LEVEL_BODY = struct.Struct("<BBHIqq")
# instrument (0 = market) state - -
SESSION_BODY = struct.Struct("<IBBH")
FEES_BODY = struct.Struct("<II")
# session number, -
DAY_BODY = struct.Struct("<II")
assert HEADER.size == HEADER_BYTES
assert ORDER_BODY.size == ORDER_BODY_BYTES
assert RESULT_BODY.size == RESULT_BODY_BYTES


class EventKind(IntEnum):
    """What a record tells."""

    ORDER = 1  # flags = OrderEvent; ORDER_EXTRA + order body
    TRADE = 2
    RESULT = 3
    TRANSFER = 4
    ACCOUNT = 5  # created or changed
    CREDENTIAL = 6  # set, or removed (empty value)
    INSTRUMENT = 7  # created or changed
    SESSION = 8
    FEES = 9
    DAY = 10
    POSITION = 11  # query records only
    LEVEL = 12  # query records only


class Order(NamedTuple):
    """An order as it stood after an event. `filled_value` is the exact sum of price x quantity."""

    order_id: int
    account: int
    instrument: int
    side: int
    type: int
    time_in_force: int
    status: int
    self_trade: int
    flags: int
    close_reason: int
    quantity: int
    notional: int
    limit_price: int
    stop_price: int
    filled_quantity: int
    filled_value: int
    fee: int
    created_ns: int
    updated_ns: int
    closed_ns: int
    replaces: int
    replaced_by: int
    client_order_id: bytes


def parse_order(data: bytes, offset: int) -> Order:
    """Return the order whose body begins at `offset`."""
    (
        order_id, account, instrument, side, kind, tif, status, stp, flags, cid_length, reason,
        qty, notional, limit, stop, filled, low, high, fee, created, updated, closed, old, new,
    ) = ORDER_BODY.unpack_from(data, offset)  # fmt: skip
    start = offset + ORDER_BODY_BYTES
    return Order(
        order_id, account, instrument, side, kind, tif, status, stp, flags, reason,
        qty, notional, limit, stop, filled, high << 64 | low, fee, created, updated, closed,
        old, new, bytes(data[start : start + cid_length]),
    )  # fmt: skip


def encode_order(order: Order) -> bytes:
    """Return the body of an order, padded."""
    cid = order.client_order_id
    body = ORDER_BODY.pack(
        order.order_id, order.account, order.instrument, order.side, order.type,
        order.time_in_force, order.status, order.self_trade, order.flags, len(cid),
        order.close_reason, order.quantity, order.notional, order.limit_price, order.stop_price,
        order.filled_quantity, order.filled_value & 0xFFFFFFFFFFFFFFFF, order.filled_value >> 64,
        order.fee, order.created_ns, order.updated_ns, order.closed_ns, order.replaces,
        order.replaced_by,
    )  # fmt: skip
    return body + cid + bytes(-len(cid) % 8)


class OrderUpdate(NamedTuple):
    """One ORDER event. The fill fields are 0 where nothing was filled."""

    event: int
    sequence: int
    now_ns: int
    event_id: int
    fill_price: int
    fill_quantity: int
    trade_id: int
    position_quantity: int
    order: Order


class Result(NamedTuple):
    """The outcome of one command; `number` is the order, account … it is about."""

    account: int
    sequence: int
    now_ns: int
    request_id: bytes
    reason: int
    repeat: bool
    command_kind: int
    number: int
    a: int
    b: int
    order: Order | None


def parse_order_update(record: bytes, offset: int = 0) -> OrderUpdate:
    """Return the ORDER event at `offset`."""
    _, _, event, _, sequence, now_ns, event_id = HEADER.unpack_from(record, offset)
    price, qty, trade, position = ORDER_EXTRA.unpack_from(record, offset + HEADER_BYTES)
    order = parse_order(record, offset + HEADER_BYTES + ORDER_EXTRA.size)
    return OrderUpdate(event, sequence, now_ns, event_id, price, qty, trade, position, order)


def parse_result(record: bytes, offset: int = 0) -> Result:
    """Return the RESULT event at `offset`."""
    _, _, _, account, sequence, now_ns, _ = HEADER.unpack_from(record, offset)
    request_id, reason, repeat, has_order, kind, number, a, b = RESULT_BODY.unpack_from(
        record, offset + HEADER_BYTES
    )
    order = parse_order(record, offset + HEADER_BYTES + RESULT_BODY_BYTES) if has_order else None
    return Result(
        account, sequence, now_ns, request_id, reason, bool(repeat), kind, number, a, b, order
    )


def split_records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (kind, offset, length) of each concatenated event or query record."""
    offset = 0
    end = len(data)
    while offset < end:
        length = data[offset] | data[offset + 1] << 8
        assert length >= RECORD_HEADER_BYTES
        assert offset + length <= end
        yield data[offset + 2], offset, length
        offset += length


class Trade(NamedTuple):
    """One TRADE event: `price` and `quantity` in units, `aggressor` a Side."""

    sequence: int
    now_ns: int
    event_id: int
    instrument: int
    aggressor: int
    price: int
    quantity: int
    trade_id: int
    buy_order: int
    sell_order: int
    buy_account: int
    sell_account: int


def parse_trade(record: bytes, offset: int = 0) -> Trade:
    """Return the TRADE event at `offset`."""
    _, _, _, _, sequence, now_ns, event_id = HEADER.unpack_from(record, offset)
    instrument, aggressor, _, _, price, qty, trade, buy, sell, buyer, seller = (
        TRADE_BODY.unpack_from(record, offset + HEADER_BYTES)
    )
    return Trade(
        sequence, now_ns, event_id, instrument, aggressor, price, qty, trade, buy, sell, buyer,
        seller,
    )  # fmt: skip
