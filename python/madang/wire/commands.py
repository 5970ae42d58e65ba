"""Command records: what the venue's log holds and the engine applies.

Every record, little-endian, padded with zeros to a multiple of 8:

    length u16 | kind u8 | flags u8 (0) | account u32 | request_id 16 bytes | body | texts | padding

`length` counts the whole record. `request_id` names the command for ever: a repeat gets the first
outcome; sixteen zero bytes mean "never repeated" (the venue's own commands). Texts are UTF-8, their
lengths stand in the body. A new or replacing order carries its client_order_id and `key`, the first
16 bytes of SHA-256(account as u32 little-endian + client_order_id), by which it is told unique.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from enum import IntEnum

HEADER = struct.Struct("<HBBI16s")
HEADER_BYTES = 24
# instrument side type tif stp qty notional limit stop flags cid_length - - key
NEW_ORDER_BODY = struct.Struct("<IBBBBqqqqBBHI16s")
# order_id qty limit stop tif cid_length - - key; 0 = unchanged
REPLACE_BODY = struct.Struct("<QqqqBBHI16s")
CANCEL_BODY = struct.Struct("<Q")
# instrument (0 = cash), -, amount (signed)
TRANSFER_BODY = struct.Struct("<IIq")
# name_length - - -
CREATE_ACCOUNT_BODY = struct.Struct("<BBHI")
# state - - -
SET_ACCOUNT_BODY = struct.Struct("<BBHI")
# kind name_length value_length -
SET_CREDENTIAL_BODY = struct.Struct("<BBHI")
# tick lot reference_price collar_bps symbol_length exchange_length name_length -
SET_INSTRUMENT_BODY = struct.Struct("<qqqIBBBB")
# instrument (0 = market) state - -
SET_SESSION_BODY = struct.Struct("<IBBH")
# maker_ppm taker_ppm
SET_FEES_BODY = struct.Struct("<II")
# keep
EXPIRE_KEYS_BODY = struct.Struct("<Q")
# version -
SET_RULES_BODY = struct.Struct("<II")
# keys_max open_orders_max (of one account)
SET_LIMITS_BODY = struct.Struct("<QQ")

NO_REQUEST = bytes(16)
TEXT_BYTES_MAX = 128
VALUE_BYTES_MAX = 512
COMMAND_BYTES_MAX = 1024
assert HEADER.size == HEADER_BYTES
assert NEW_ORDER_BODY.size == 64
assert REPLACE_BODY.size == 56


class CommandKind(IntEnum):
    """What a command asks for."""

    NEW_ORDER = 1
    REPLACE_ORDER = 2
    CANCEL_ORDER = 3
    CANCEL_ALL = 4  # every live order of the account
    TRANSFER = 5
    CREATE_ACCOUNT = 6  # the engine numbers it; RESULT.number tells
    SET_ACCOUNT = 7
    SET_CREDENTIAL = 8  # empty value removes
    SET_INSTRUMENT = 9  # creates or changes by symbol; RESULT.number tells
    SET_SESSION = 10
    SET_FEES = 11  # for orders that come later
    END_DAY = 12
    EXPIRE_KEYS = 13
    SET_RULES = 14
    SET_LIMITS = 15


def client_order_key(account: int, client_order_id: bytes) -> bytes:
    """Return the 16 bytes by which (account, client_order_id) is told unique."""
    return hashlib.sha256(account.to_bytes(4, "little") + client_order_id).digest()[:16]


def _record(kind: CommandKind, account: int, request_id: bytes, body: bytes) -> bytes:
    length = HEADER_BYTES + len(body)
    padding = -length % 8
    assert length + padding <= COMMAND_BYTES_MAX
    return HEADER.pack(length + padding, kind, 0, account, request_id) + body + bytes(padding)


def encode_new_order(
    account: int,
    request_id: bytes,
    terms: OrderTerms,
    client_order_id: bytes,
) -> bytes:
    """Return a NEW_ORDER record; `client_order_id` is 1 to 128 bytes of UTF-8."""
    body = NEW_ORDER_BODY.pack(
        terms.instrument,
        terms.side,
        terms.type,
        terms.time_in_force,
        terms.self_trade,
        terms.quantity,
        terms.notional,
        terms.limit_price,
        terms.stop_price,
        terms.flags,
        len(client_order_id),
        0,
        0,
        client_order_key(account, client_order_id),
    )
    return _record(CommandKind.NEW_ORDER, account, request_id, body + client_order_id)


class OrderTerms:
    """What is asked of the market; a zero quantity, notional or price means "not given"."""

    __slots__ = (
        "flags", "instrument", "limit_price", "notional", "quantity",
        "self_trade", "side", "stop_price", "time_in_force", "type",
    )  # fmt: skip

    def __init__(
        self,
        *,
        instrument: int,
        side: int,
        type: int,
        time_in_force: int,
        quantity: int = 0,
        notional: int = 0,
        limit_price: int = 0,
        stop_price: int = 0,
        self_trade: int = 0,
        flags: int = 0,
    ) -> None:
        self.instrument = instrument
        self.side = side
        self.type = type
        self.time_in_force = time_in_force
        self.quantity = quantity
        self.notional = notional
        self.limit_price = limit_price
        self.stop_price = stop_price
        self.self_trade = self_trade
        self.flags = flags


class ReplaceTerms:
    """What a replacement changes; 0 leaves the value as it is."""

    __slots__ = ("limit_price", "order_id", "quantity", "stop_price", "time_in_force")

    def __init__(
        self,
        order_id: int,
        *,
        quantity: int = 0,
        limit_price: int = 0,
        stop_price: int = 0,
        time_in_force: int = 0,
    ) -> None:
        self.order_id = order_id
        self.quantity = quantity
        self.limit_price = limit_price
        self.stop_price = stop_price
        self.time_in_force = time_in_force


def encode_replace(
    account: int, request_id: bytes, terms: ReplaceTerms, client_order_id: bytes
) -> bytes:
    """Return a REPLACE_ORDER record; the new order has its own `client_order_id`."""
    body = REPLACE_BODY.pack(
        terms.order_id,
        terms.quantity,
        terms.limit_price,
        terms.stop_price,
        terms.time_in_force,
        len(client_order_id),
        0,
        0,
        client_order_key(account, client_order_id),
    )
    return _record(CommandKind.REPLACE_ORDER, account, request_id, body + client_order_id)


def encode_cancel(account: int, request_id: bytes, order_id: int) -> bytes:
    """Return a CANCEL_ORDER record."""
    return _record(CommandKind.CANCEL_ORDER, account, request_id, CANCEL_BODY.pack(order_id))


def encode_cancel_all(account: int, request_id: bytes) -> bytes:
    """Return a CANCEL_ALL record."""
    return _record(CommandKind.CANCEL_ALL, account, request_id, b"")


def encode_transfer(account: int, request_id: bytes, instrument: int, amount: int) -> bytes:
    """Return a TRANSFER record: cash (instrument 0) or shares, in (positive) or out (negative)."""
    return _record(
        CommandKind.TRANSFER, account, request_id, TRANSFER_BODY.pack(instrument, 0, amount)
    )


def encode_create_account(request_id: bytes, name: bytes) -> bytes:
    """Return a CREATE_ACCOUNT record; names are unique and 1 to 64 bytes."""
    body = CREATE_ACCOUNT_BODY.pack(len(name), 0, 0, 0) + name
    return _record(CommandKind.CREATE_ACCOUNT, 0, request_id, body)


def encode_set_account(account: int, request_id: bytes, state: int) -> bytes:
    """Return a SET_ACCOUNT record; disabling cancels the account's orders."""
    return _record(
        CommandKind.SET_ACCOUNT, account, request_id, SET_ACCOUNT_BODY.pack(state, 0, 0, 0)
    )


def encode_set_credential(
    account: int, request_id: bytes, kind: int, name: bytes, value: bytes
) -> bytes:
    """Return a SET_CREDENTIAL record; an empty value removes the credential."""
    body = SET_CREDENTIAL_BODY.pack(kind, len(name), len(value), 0) + name + value
    return _record(CommandKind.SET_CREDENTIAL, account, request_id, body)


class InstrumentTerms:
    """An instrument's rules; tick and reference price in price units, lot in quantity units."""

    __slots__ = ("collar_bps", "exchange", "lot", "name", "reference_price", "symbol", "tick")

    def __init__(
        self,
        symbol: bytes,
        *,
        name: bytes = b"",
        exchange: bytes = b"NASDAQ",
        tick: int = 100,
        lot: int = 1,
        reference_price: int = 0,
        collar_bps: int = 500,
    ) -> None:
        self.symbol = symbol
        self.name = name
        self.exchange = exchange
        self.tick = tick
        self.lot = lot
        self.reference_price = reference_price
        self.collar_bps = collar_bps


def encode_set_instrument(request_id: bytes, terms: InstrumentTerms) -> bytes:
    """Return a SET_INSTRUMENT record (symbol 1-16 bytes, exchange 1-8, name at most 64)."""
    body = SET_INSTRUMENT_BODY.pack(
        terms.tick,
        terms.lot,
        terms.reference_price,
        terms.collar_bps,
        len(terms.symbol),
        len(terms.exchange),
        len(terms.name),
        0,
    )
    texts = terms.symbol + terms.exchange + terms.name
    return _record(CommandKind.SET_INSTRUMENT, 0, request_id, body + texts)


def encode_set_session(request_id: bytes, instrument: int, state: int) -> bytes:
    """Return a SET_SESSION record for one instrument, or for the market (instrument 0)."""
    return _record(
        CommandKind.SET_SESSION, 0, request_id, SET_SESSION_BODY.pack(instrument, state, 0, 0)
    )


def encode_set_fees(request_id: bytes, maker_ppm: int, taker_ppm: int) -> bytes:
    """Return a SET_FEES record: parts per million of a fill's value."""
    return _record(CommandKind.SET_FEES, 0, request_id, SET_FEES_BODY.pack(maker_ppm, taker_ppm))


def encode_end_day(request_id: bytes) -> bytes:
    """Return an END_DAY record: day orders expire, old keys go."""
    return _record(CommandKind.END_DAY, 0, request_id, b"")


def encode_expire_keys(request_id: bytes, keep: int) -> bytes:
    """Return an EXPIRE_KEYS record: the oldest keys and outcomes go until `keep` of each remain."""
    return _record(CommandKind.EXPIRE_KEYS, 0, request_id, EXPIRE_KEYS_BODY.pack(keep))


def encode_set_rules(request_id: bytes, version: int) -> bytes:
    """Return a SET_RULES record."""
    return _record(CommandKind.SET_RULES, 0, request_id, SET_RULES_BODY.pack(version, 0))


def encode_set_limits(request_id: bytes, keys_max: int, open_orders_max: int) -> bytes:
    """Return a SET_LIMITS record."""
    return _record(
        CommandKind.SET_LIMITS, 0, request_id, SET_LIMITS_BODY.pack(keys_max, open_orders_max)
    )


def split_commands(data: bytes) -> Iterator[bytes]:
    """Yield the records of concatenated commands; ValueError where the framing is broken."""
    offset = 0
    end = len(data)
    while offset < end:
        if end - offset < HEADER_BYTES:
            raise ValueError(f"command header cut at byte {offset}")
        length = data[offset] | data[offset + 1] << 8
        if length < HEADER_BYTES or length % 8 or offset + length > end:
            raise ValueError(f"impossible command length {length} at byte {offset}")
        if length > COMMAND_BYTES_MAX:
            raise ValueError(f"command of {length} bytes at byte {offset}")
        yield data[offset : offset + length]
        offset += length
