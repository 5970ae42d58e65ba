"""What the data stream says, in both of its codecs. Pure.

A message is a plain dict whose amounts are marked: `Price`, `Size`, `Moment`, `Ratio`. JSON gets
them as exact decimals and RFC 3339, msgpack as numbers and msgpack's own timestamp, which is what
Alpaca's clients expect of each. Every frame is an array.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from madang.exchange.api.decimals import price_text, quantity_text
from madang.exchange.api.market_render import BarRow, QuoteRow, Tape, TradeRow, vwap_text
from madang.exchange.api.times import SECOND_NS, time_text
from madang.exchange.feed.depth import Delta
from madang.wire.codes import PRICE_SCALE, QUANTITY_SCALE, Session

JSON: Final = "data+json"
MSGPACK: Final = "data+msgpack"
_TIMESTAMP: Final = -1
_TIMESTAMP_96: Final = struct.Struct(">Iq")
_STATUSES: Final = {
    Session.OPEN: ("T", "Trading Resumption"),
    Session.HALTED: ("H", "Trading Halt"),
    Session.CLOSED: ("C", "Closed"),
}

Message = dict[str, Any]


class Price(NamedTuple):
    """A price in units."""

    units: int


class Size(NamedTuple):
    """A quantity in units."""

    units: int


class Moment(NamedTuple):
    """A time in nanoseconds since the epoch."""

    now_ns: int


class Average(NamedTuple):
    """A volume-weighted price."""

    value: int
    volume: int


def encode(messages: Iterable[Message], dialect: str) -> tuple[bytes, bool]:
    """Return messages as one frame: (payload, binary)."""
    if dialect == MSGPACK:
        return msgspec.msgpack.encode([_plain(m, _packed) for m in messages]), True
    return msgspec.json.encode([_plain(m, _written) for m in messages]), False


def encoder(messages: list[Message]) -> Callable[[str], tuple[bytes, bool]]:
    """Return the function that a channel calls once per codec."""
    return lambda dialect: encode(messages, dialect)


def _plain(value: Any, leaf: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - any message
    if isinstance(value, dict):
        return {key: _plain(part, leaf) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part, leaf) for part in value]
    return leaf(value)


def _written(value: object) -> object:
    match value:
        case Price(units):
            return msgspec.Raw(price_text(units).encode())
        case Size(units):
            return msgspec.Raw(quantity_text(units).encode())
        case Moment(now_ns):
            return time_text(now_ns)
        case Average():
            return msgspec.Raw(vwap_text(value.value, value.volume).encode())
    return value


def _packed(value: object) -> object:
    match value:
        case Price(units):
            return units / PRICE_SCALE
        case Size(units):
            whole, part = divmod(units, QUANTITY_SCALE)
            return units / QUANTITY_SCALE if part else whole
        case Moment(now_ns):
            second, rest = divmod(now_ns, SECOND_NS)
            return msgspec.msgpack.Ext(_TIMESTAMP, _TIMESTAMP_96.pack(rest, second))
        case Average():
            return float(vwap_text(value.value, value.volume))
    return value


def trade_message(symbol: str, tape: Tape, row: TradeRow) -> Message:
    """Return a trade."""
    return {
        "T": "t", "S": symbol, "i": row.trade_id, "x": tape.exchange, "p": Price(row.price),
        "s": Size(row.quantity), "c": [], "t": Moment(row.now_ns), "z": tape.tape,
    }  # fmt: skip


def quote_message(symbol: str, tape: Tape, row: QuoteRow) -> Message:
    """Return a quote."""
    return {
        "T": "q", "S": symbol, "bx": tape.exchange, "bp": Price(row.bid),
        "bs": Size(row.bid_quantity), "ax": tape.exchange, "ap": Price(row.ask),
        "as": Size(row.ask_quantity), "c": [], "t": Moment(row.now_ns), "z": tape.tape,
    }  # fmt: skip


def bar_message(symbol: str, kind: str, row: BarRow) -> Message:
    """Return a bar: `b` complete, `u` corrected, `d` the day so far."""
    volume = int(row.volume)
    return {
        "T": kind, "S": symbol, "o": Price(row.open), "h": Price(row.high), "l": Price(row.low),
        "c": Price(row.close), "v": Size(volume), "n": row.trades,
        "vw": Average(int(row.value), volume), "t": Moment(row.start_ns),
    }  # fmt: skip


def status_message(symbol: str, tape: Tape, session: int, now_ns: int) -> Message:
    """Return a change of the session; there is no reason beside what the venue did."""
    code, text = _STATUSES[Session(session)]
    return {
        "T": "s", "S": symbol, "sc": code, "sm": text, "rc": "", "rm": "", "t": Moment(now_ns),
        "z": tape.tape,
    }  # fmt: skip


def book_message(symbol: str, delta: Delta, *, whole: bool) -> Message:
    """Return a change of a book, or a whole book; `pu` and `u` are the sequences it leads between.

    A level of size 0 is gone. `cs` is the checksum of the book after it.
    """
    message: Message = {
        "T": "o", "S": symbol, "t": Moment(delta.now_ns), "b": _levels(delta.bids),
        "a": _levels(delta.asks), "u": delta.sequence, "pu": delta.previous, "cs": delta.checksum,
    }  # fmt: skip
    if whole:
        message["r"] = True
    return message


def _levels(levels: list[tuple[int, int]]) -> list[Message]:
    return [{"p": Price(price), "s": Size(quantity)} for price, quantity in levels]
