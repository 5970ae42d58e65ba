"""Command records as maps of names and plain values, for people. Secrets' digests are left out."""

from __future__ import annotations

import struct
from collections.abc import Callable

from madang.wire import commands as wire
from madang.wire.codes import (
    AccountState,
    CredentialKind,
    OrderType,
    SelfTrade,
    Session,
    Side,
    TimeInForce,
)
from madang.wire.commands import HEADER, HEADER_BYTES, CommandKind

Readable = dict[str, object]


def readable_command(record: bytes) -> Readable:
    """Return what a command says; what cannot be read is given in hex."""
    _, kind, _, account, request_id = HEADER.unpack_from(record)
    shown: Readable = {"kind": _name(CommandKind, kind), "account": account}
    if any(request_id):
        shown["request_id"] = request_id.hex()
    read = _READERS.get(kind)
    try:
        shown.update(read(record) if read else {})
    except (struct.error, UnicodeDecodeError, IndexError):
        shown["malformed"] = record.hex()
    return shown


def _name(kind: type[CommandKind] | Callable[[int], object], number: int) -> object:
    try:
        value = kind(number)
    except ValueError:
        return number
    return str(getattr(value, "name", value)).lower()


def _text(record: bytes, start: int, length: int) -> str:
    return record[start : start + length].decode()


def _new_order(record: bytes) -> Readable:
    (
        instrument, side, kind, tif, stp, quantity, notional, limit, stop, flags, length, _, _, _,
    ) = wire.NEW_ORDER_BODY.unpack_from(record, HEADER_BYTES)  # fmt: skip
    return {
        "instrument": instrument,
        "side": _name(Side, side),
        "type": _name(OrderType, kind),
        "time_in_force": _name(TimeInForce, tif),
        "self_trade": _name(SelfTrade, stp),
        **_given(quantity=quantity, notional=notional, limit_price=limit, stop_price=stop),
        **_given(flags=flags),
        "client_order_id": _text(record, HEADER_BYTES + wire.NEW_ORDER_BODY.size, length),
    }


def _replace(record: bytes) -> Readable:
    order_id, quantity, limit, stop, tif, length, _, _, _ = wire.REPLACE_BODY.unpack_from(
        record, HEADER_BYTES
    )
    return {
        "order_id": order_id,
        **_given(quantity=quantity, limit_price=limit, stop_price=stop, time_in_force=tif),
        "client_order_id": _text(record, HEADER_BYTES + wire.REPLACE_BODY.size, length),
    }


def _given(**values: int) -> Readable:
    return {name: value for name, value in values.items() if value}


def _cancel(record: bytes) -> Readable:
    return {"order_id": wire.CANCEL_BODY.unpack_from(record, HEADER_BYTES)[0]}


def _transfer(record: bytes) -> Readable:
    instrument, _, amount = wire.TRANSFER_BODY.unpack_from(record, HEADER_BYTES)
    return {"instrument": instrument or "cash", "amount": amount}


def _create_account(record: bytes) -> Readable:
    length = wire.CREATE_ACCOUNT_BODY.unpack_from(record, HEADER_BYTES)[0]
    return {"name": _text(record, HEADER_BYTES + wire.CREATE_ACCOUNT_BODY.size, length)}


def _set_account(record: bytes) -> Readable:
    return {
        "state": _name(AccountState, wire.SET_ACCOUNT_BODY.unpack_from(record, HEADER_BYTES)[0])
    }


def _set_credential(record: bytes) -> Readable:
    kind, length, value, _ = wire.SET_CREDENTIAL_BODY.unpack_from(record, HEADER_BYTES)
    return {
        "credential": _name(CredentialKind, kind),
        "name": _text(record, HEADER_BYTES + wire.SET_CREDENTIAL_BODY.size, length),
        "removes": value == 0,
    }


def _set_instrument(record: bytes) -> Readable:
    body = wire.SET_INSTRUMENT_BODY
    tick, lot, reference, collar, symbol, exchange, name, _ = body.unpack_from(record, HEADER_BYTES)
    start = HEADER_BYTES + body.size
    return {
        "symbol": _text(record, start, symbol),
        "exchange": _text(record, start + symbol, exchange),
        "name": _text(record, start + symbol + exchange, name),
        "tick": tick,
        "lot": lot,
        "reference_price": reference,
        "collar_bps": collar,
    }


def _set_session(record: bytes) -> Readable:
    instrument, state, _, _ = wire.SET_SESSION_BODY.unpack_from(record, HEADER_BYTES)
    return {"instrument": instrument or "market", "state": _name(Session, state)}


def _set_fees(record: bytes) -> Readable:
    maker, taker = wire.SET_FEES_BODY.unpack_from(record, HEADER_BYTES)
    return {"maker_ppm": maker, "taker_ppm": taker}


def _expire_keys(record: bytes) -> Readable:
    return {"keep": wire.EXPIRE_KEYS_BODY.unpack_from(record, HEADER_BYTES)[0]}


def _set_rules(record: bytes) -> Readable:
    return {"version": wire.SET_RULES_BODY.unpack_from(record, HEADER_BYTES)[0]}


def _set_limits(record: bytes) -> Readable:
    keys, orders = wire.SET_LIMITS_BODY.unpack_from(record, HEADER_BYTES)
    return {"keys_max": keys, "open_orders_max": orders}


_READERS: dict[int, Callable[[bytes], Readable]] = {
    CommandKind.NEW_ORDER: _new_order,
    CommandKind.REPLACE_ORDER: _replace,
    CommandKind.CANCEL_ORDER: _cancel,
    CommandKind.TRANSFER: _transfer,
    CommandKind.CREATE_ACCOUNT: _create_account,
    CommandKind.SET_ACCOUNT: _set_account,
    CommandKind.SET_CREDENTIAL: _set_credential,
    CommandKind.SET_INSTRUMENT: _set_instrument,
    CommandKind.SET_SESSION: _set_session,
    CommandKind.SET_FEES: _set_fees,
    CommandKind.EXPIRE_KEYS: _expire_keys,
    CommandKind.SET_RULES: _set_rules,
    CommandKind.SET_LIMITS: _set_limits,
}
