"""The writer of events: numbers them and packs them as `madang.wire.events` lays them out.

An event's number never skips and never repeats; the writer owns the next one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from madang.wire import events as wire
from madang.wire.codes import VALUE_PER_CASH, Side
from madang.wire.events import EventKind

if TYPE_CHECKING:
    from madang.exchange.engine.state import Account, Credential, Instrument, Order, Position

_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
_PPM_VALUE_PER_CASH = VALUE_PER_CASH * 1_000_000
_ORDER_EVENT = struct.Struct(
    wire.HEADER.format + wire.ORDER_EXTRA.format[1:] + wire.ORDER_BODY.format[1:]
)
_TRADE_EVENT = struct.Struct(wire.HEADER.format + wire.TRADE_BODY.format[1:])
_RESULT_EVENT = struct.Struct(wire.HEADER.format + wire.RESULT_BODY.format[1:])
assert _ORDER_EVENT.size == wire.HEADER_BYTES + wire.ORDER_EXTRA.size + wire.ORDER_BODY_BYTES
assert _RESULT_EVENT.size == wire.HEADER_BYTES + wire.RESULT_BODY_BYTES


class Fill(NamedTuple):
    """One side's part in a trade, as its ORDER event tells it."""

    price: int
    quantity: int
    trade_id: int


NO_FILL = Fill(0, 0, 0)


class Answer(NamedTuple):
    """What a command came to: the fields of its RESULT."""

    reason: int
    number: int = 0
    a: int = 0
    b: int = 0
    order: Order | None = None


def padded(text: bytes) -> bytes:
    """Return a text with zeros up to a multiple of 8."""
    return text + bytes(-len(text) % 8)


def fee_shown(order: Order) -> int:
    """Return the fees of an order so far in cash units, rounded up."""
    return -(-order.fee_value // _PPM_VALUE_PER_CASH)


def order_fields(order: Order) -> tuple[int, ...]:
    """Return the fields of ORDER_BODY."""
    value = order.filled_value
    return (
        order.order_id, order.account, order.instrument, order.side, order.type,
        order.time_in_force, order.status, order.self_trade, order.flags,
        len(order.client_order_id), order.close_reason, order.quantity, order.notional,
        order.limit_price, order.stop_price, order.filled_quantity, value & _MASK64, value >> 64,
        fee_shown(order), order.created_ns, order.updated_ns, order.closed_ns, order.replaces,
        order.replaced_by,
    )  # fmt: skip


def order_body(order: Order) -> bytes:
    """Return the body of an ORDER record."""
    return wire.ORDER_BODY.pack(*order_fields(order)) + padded(order.client_order_id)


def account_body(account: Account) -> bytes:
    """Return the body of an ACCOUNT record."""
    fields = wire.ACCOUNT_BODY.pack(
        account.number, account.state, len(account.name), 0, account.cash, account.held,
        account.created_ns,
    )  # fmt: skip
    return fields + padded(account.name)


def position_body(position: Position) -> bytes:
    """Return the body of a POSITION record."""
    return wire.POSITION_BODY.pack(
        position.account, position.instrument, position.quantity, position.held,
        position.cost_basis,
    )  # fmt: skip


def instrument_body(instrument: Instrument) -> bytes:
    """Return the body of an INSTRUMENT record."""
    fields = wire.INSTRUMENT_BODY.pack(
        instrument.number, instrument.session, len(instrument.symbol), len(instrument.exchange),
        len(instrument.name), instrument.tick, instrument.lot, instrument.reference_price,
        instrument.last_price, instrument.last_ns, instrument.shares_total, instrument.collar_bps,
    )  # fmt: skip
    return fields + padded(instrument.symbol + instrument.exchange + instrument.name)


def credential_body(credential: Credential) -> bytes:
    """Return the body of a CREDENTIAL record."""
    fields = wire.CREDENTIAL_BODY.pack(
        credential.number, credential.account, credential.kind, len(credential.name),
        len(credential.value), 0,
    )  # fmt: skip
    return fields + padded(credential.name + credential.value)


class EventWriter:
    """Collects the events of a batch; `sequence` and `now_ns` are those of the running command."""

    __slots__ = ("_records", "next_event_id", "now_ns", "sequence")

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self.next_event_id = 1
        self.sequence = 0
        self.now_ns = 0

    def take(self) -> bytes:
        """Return what was written since the last call."""
        events = b"".join(self._records)
        self._records.clear()
        return events

    def _take_id(self) -> int:
        event_id = self.next_event_id
        self.next_event_id = event_id + 1
        return event_id

    def order(self, event: int, order: Order, position: int, fill: Fill = NO_FILL) -> None:
        """Write an ORDER event; `position` is the account's quantity in the instrument."""
        text = padded(order.client_order_id)
        record = _ORDER_EVENT.pack(
            _ORDER_EVENT.size + len(text), EventKind.ORDER, event, order.account,
            self.sequence, self.now_ns, self._take_id(),
            fill.price, fill.quantity, fill.trade_id, position, *order_fields(order),
        )  # fmt: skip
        self._records.append(record + text)

    def trade(self, aggressor: Order, resting: Order, fill: Fill) -> None:
        """Write a TRADE event."""
        buy, sell = (aggressor, resting) if aggressor.side == Side.BUY else (resting, aggressor)
        record = _TRADE_EVENT.pack(
            _TRADE_EVENT.size, EventKind.TRADE, 0, 0, self.sequence, self.now_ns, self._take_id(),
            aggressor.instrument, aggressor.side, 0, 0, fill.price, fill.quantity,
            fill.trade_id, buy.order_id, sell.order_id, buy.account, sell.account,
        )  # fmt: skip
        self._records.append(record)

    def result(
        self, account: int, request_id: bytes, kind: int, answer: Answer, *, repeat: bool
    ) -> None:
        """Write the RESULT event that ends a command."""
        order = answer.order
        body = order_body(order) if order is not None else b""
        record = _RESULT_EVENT.pack(
            _RESULT_EVENT.size + len(body), EventKind.RESULT, 0, account,
            self.sequence, self.now_ns, self._take_id(),
            request_id, answer.reason, repeat, order is not None, kind,
            answer.number, answer.a, answer.b,
        )  # fmt: skip
        self._records.append(record + body)

    def transfer(self, account: int, instrument: int, amount: int, balance: int) -> None:
        """Write a TRANSFER event; `balance` is that after the transfer."""
        body = wire.TRANSFER_BODY.pack(instrument, 0, amount, balance)
        self._write(EventKind.TRANSFER, account, body)

    def account(self, account: Account) -> None:
        """Write an ACCOUNT event."""
        self._write(EventKind.ACCOUNT, account.number, account_body(account))

    def credential(self, credential: Credential) -> None:
        """Write a CREDENTIAL event."""
        self._write(EventKind.CREDENTIAL, credential.account, credential_body(credential))

    def instrument(self, instrument: Instrument) -> None:
        """Write an INSTRUMENT event."""
        self._write(EventKind.INSTRUMENT, 0, instrument_body(instrument))

    def session(self, instrument: int, state: int) -> None:
        """Write a SESSION event."""
        self._write(EventKind.SESSION, 0, wire.SESSION_BODY.pack(instrument, state, 0, 0))

    def fees(self, maker_ppm: int, taker_ppm: int) -> None:
        """Write a FEES event."""
        self._write(EventKind.FEES, 0, wire.FEES_BODY.pack(maker_ppm, taker_ppm))

    def day(self, session_number: int) -> None:
        """Write a DAY event."""
        self._write(EventKind.DAY, 0, wire.DAY_BODY.pack(session_number, 0))

    def _write(self, kind: int, account: int, body: bytes) -> None:
        header = wire.HEADER.pack(
            wire.HEADER_BYTES + len(body), kind, 0, account,
            self.sequence, self.now_ns, self._take_id(),
        )  # fmt: skip
        self._records.append(header + body)
