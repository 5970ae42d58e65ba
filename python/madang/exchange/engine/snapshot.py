"""Snapshots: the whole state as bytes, and back. Equal states give equal bytes in every engine.

The layout is in docs/rules.md: a header, then sections of `count u64` and records in a fixed order.
What can be derived (levels, holds, indexes) is not stored but built again, so it cannot disagree.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from madang.core.errors import MadangError
from madang.exchange.engine.accounts import credential_slot
from madang.exchange.engine.events import (
    account_body,
    credential_body,
    instrument_body,
    order_body,
    position_body,
)
from madang.exchange.engine.lifecycle import add_live, put_back
from madang.exchange.engine.money import hold_of
from madang.exchange.engine.state import (
    RULES_VERSION,
    Account,
    Credential,
    Instrument,
    Key,
    Order,
    Outcome,
    Place,
    Position,
    State,
)
from madang.wire import events as wire

_MAGIC = b"MDSNAP01"
# rules session | sequence now | next order trade event priority credential | maker taker
# market session | keys_max open_orders_max | cash total low high
_HEADER = struct.Struct("<8sIIQq5QIIB7xQQQq")
_COUNT = struct.Struct("<Q")
_ORDER_TAIL = struct.Struct("<qIIQQqB7x")  # P maker taker priority F low, high place
_KEY = struct.Struct("<16sQII")  # key order_id session -
_OUTCOME = struct.Struct("<16sHBBIQqq")  # request_id reason kind - session number a b
_MASK64 = 0xFFFF_FFFF_FFFF_FFFF


class SnapshotError(MadangError):
    """Bytes are not a snapshot of this format."""


def snapshot(state: State) -> bytes:
    """Return the whole state; equal states give equal bytes."""
    positions = [
        one.positions[number] for one in state.accounts for number in sorted(one.positions)
    ]
    sections = (
        [instrument_body(one) for one in state.instruments.values()],
        [account_body(one) for one in state.accounts],
        [position_body(one) for one in positions],
        [credential_body(one) for one in state.credentials.values()],
        [_order_record(one) for one in state.orders.values()],
        [_KEY.pack(name, key.order_id, key.session, 0) for name, key in state.keys.items()],
        [
            _OUTCOME.pack(request, one.reason, one.kind, 0, one.session, one.number, one.a, one.b)
            for request, one in state.outcomes.items()
        ],
    )
    parts = [_header(state)]
    for records in sections:
        parts.append(_COUNT.pack(len(records)))
        parts.extend(records)
    return b"".join(parts)


def _header(state: State) -> bytes:
    return _HEADER.pack(
        _MAGIC, state.rules_version, state.session_number, state.sequence, state.now_ns,
        state.next_order_id, state.next_trade_id, state.events.next_event_id,
        state.next_priority, state.next_credential, state.maker_ppm, state.taker_ppm,
        state.market_session, state.keys_max, state.open_orders_max,
        state.cash_total & _MASK64, state.cash_total >> 64,
    )  # fmt: skip


def _order_record(order: Order) -> bytes:
    tail = _ORDER_TAIL.pack(
        order.protection_price, order.maker_ppm, order.taker_ppm, order.priority,
        order.fee_value & _MASK64, order.fee_value >> 64, order.place,
    )  # fmt: skip
    return order_body(order) + tail


def restore(data: bytes) -> State:
    """Return the state of a snapshot; SnapshotError when the bytes are not one."""
    try:
        return _Reader(data).read()
    except (struct.error, ArithmeticError, LookupError, ValueError) as error:
        raise SnapshotError("the snapshot is damaged", reason=str(error)) from error


class _Reader:
    """Reads the sections in order; `_offset` is the next byte."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0
        self._state = State()

    def read(self) -> State:
        self._read_header()
        self._read_instruments()
        self._read_accounts()
        self._read_positions()
        self._read_credentials()
        self._read_orders()
        self._read_keys()
        self._read_outcomes()
        if self._offset != len(self._data):
            raise ValueError(f"{len(self._data) - self._offset} bytes too many")
        return self._state

    def _unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        fields = layout.unpack_from(self._data, self._offset)
        self._offset += layout.size
        return fields

    def _records(self, layout: struct.Struct) -> Iterator[tuple[Any, ...]]:
        (count,) = self._unpack(_COUNT)
        for _ in range(count):
            yield self._unpack(layout)

    def _texts(self, *lengths: int) -> list[bytes]:
        """Take texts that stand one after another, and their padding."""
        texts = []
        total = 0
        for length in lengths:
            start = self._offset + total
            texts.append(self._data[start : start + length])
            total += length
        self._offset += total + -total % 8
        if self._offset > len(self._data):
            raise ValueError("a text is cut")
        return texts

    def _read_header(self) -> None:
        state = self._state
        magic = self._data[: len(_MAGIC)]
        if magic != _MAGIC:
            raise ValueError("it does not begin as a snapshot does")
        (
            _, state.rules_version, state.session_number, state.sequence, state.now_ns,
            state.next_order_id, state.next_trade_id, state.events.next_event_id,
            state.next_priority, state.next_credential, state.maker_ppm, state.taker_ppm,
            state.market_session, state.keys_max, state.open_orders_max, low, high,
        ) = self._unpack(_HEADER)  # fmt: skip
        if state.rules_version != RULES_VERSION:
            raise ValueError(f"rules version {state.rules_version} is unknown")
        state.cash_total = high << 64 | low

    def _read_instruments(self) -> None:
        for fields in self._records(wire.INSTRUMENT_BODY):
            (
                number, session, symbol_length, exchange_length, name_length, tick, lot,
                reference, last_price, last_ns, shares_total, collar_bps,
            ) = fields  # fmt: skip
            symbol, exchange, name = self._texts(symbol_length, exchange_length, name_length)
            instrument = Instrument(
                number, symbol, exchange, name, tick, lot, reference, collar_bps, session,
                last_price, last_ns, shares_total,
            )  # fmt: skip
            self._state.instruments[number] = instrument
            self._state.symbols[symbol] = instrument

    def _read_accounts(self) -> None:
        for number, status, name_length, _, cash, held, created in self._records(wire.ACCOUNT_BODY):
            (name,) = self._texts(name_length)
            if number != len(self._state.accounts):
                raise ValueError(f"account {number} is out of order")
            self._state.accounts.append(Account(number, name, created, status, cash, held))
            self._state.account_names.add(name)

    def _read_positions(self) -> None:
        for fields in self._records(wire.POSITION_BODY):
            position = Position(*fields)
            self._state.accounts[position.account].positions[position.instrument] = position

    def _read_credentials(self) -> None:
        for number, account, kind, name_length, value_length, _ in self._records(
            wire.CREDENTIAL_BODY
        ):
            name, value = self._texts(name_length, value_length)
            credential = Credential(number, account, kind, name, value)
            self._state.credentials[number] = credential
            self._state.credential_index[credential_slot(kind, account, name)] = credential

    def _read_orders(self) -> None:
        (count,) = self._unpack(_COUNT)
        orders = [self._read_order() for _ in range(count)]
        for order in orders:
            order.hold = hold_of(order)
            add_live(self._state, order)
        for order in sorted(orders, key=attrgetter("priority")):
            put_back(self._state.instruments[order.instrument], order, Place(order.place))

    def _read_order(self) -> Order:
        seen = wire.parse_order(self._data, self._offset)
        self._offset += wire.ORDER_BODY_BYTES
        self._texts(len(seen.client_order_id))
        price, maker_ppm, taker_ppm, priority, low, high, place = self._unpack(_ORDER_TAIL)
        return Order(
            seen.order_id, seen.account, seen.instrument, seen.side, seen.type,
            seen.time_in_force, seen.self_trade, seen.flags, seen.quantity, seen.notional,
            seen.limit_price, seen.stop_price, seen.client_order_id,
            protection_price=price, maker_ppm=maker_ppm, taker_ppm=taker_ppm,
            created_ns=seen.created_ns, updated_ns=seen.updated_ns, status=seen.status,
            filled_quantity=seen.filled_quantity, filled_value=seen.filled_value,
            fee_value=high << 64 | low, replaces=seen.replaces, priority=priority, place=place,
        )  # fmt: skip

    def _read_keys(self) -> None:
        for key, order_id, session, _ in self._records(_KEY):
            self._state.keys[key] = Key(order_id, session)

    def _read_outcomes(self) -> None:
        for request, reason, kind, _, session, number, a, b in self._records(_OUTCOME):
            outcome = Outcome(reason, kind, session, number, a, b)
            self._state.outcomes[request] = outcome
