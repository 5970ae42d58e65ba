"""Books and trades for everybody, made from the events of the log. Pure.

A symbol is *dirty* when an event may have changed its book; `books()` renders the dirty ones and
leaves out those whose ten best levels are as last published. Sessions are read from the engine once
and again after an event that may have changed one.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final, NamedTuple

from madang.exchange.engine.port import Engine
from madang.wire.codes import Session, Side
from madang.wire.events import (
    HEADER_BYTES,
    INSTRUMENT_BODY,
    LEVEL_BODY,
    RECORD_HEADER_BYTES,
    SESSION_BODY,
    EventKind,
    split_records,
)

LEVELS: Final = 10
TRADES_KEPT: Final = 500

_ORDER: Final = int(EventKind.ORDER)
_TRADE: Final = int(EventKind.TRADE)
_RESULT: Final = int(EventKind.RESULT)
_SESSION_KINDS: Final = frozenset({EventKind.SESSION, EventKind.INSTRUMENT, EventKind.DAY})
# length kind
_RECORD: Final = struct.Struct("<HB")
# instrument of an ORDER event
_ORDER_INSTRUMENT: Final = struct.Struct("<76xI")
# now_ns instrument aggressor price quantity trade_id of a TRADE event
_TRADE_FIELDS: Final = struct.Struct("<16xq8xIB3xqqQ")
# side price quantity of a LEVEL record
_LEVEL: Final = struct.Struct("<8xB7xqq")
_LEVEL_BYTES: Final = RECORD_HEADER_BYTES + LEVEL_BODY.size
assert _LEVEL.size == _LEVEL_BYTES

Level = tuple[int, int]
Book = tuple[list[Level], list[Level], int]
"""(bids, asks, effective session), best first."""


class TradeTick(NamedTuple):
    """One trade as the feed publishes it, in units."""

    trade_id: int
    price: int
    quantity: int
    aggressor: int
    now_ns: int


class Market:
    """What the feed knows beside the replica of the engine."""

    def __init__(self) -> None:
        self.symbols: dict[int, str] = {}
        self.trades: dict[int, deque[TradeTick]] = {}
        self._fresh: list[tuple[int, list[TradeTick]]] = []
        self._dirty: set[int] = set()
        self._published: dict[int, Book] = {}
        self._sessions: dict[int, int] = {}  # empty: to be read again
        self._told_sessions: dict[int, int] = {}
        self._touched: set[int] = set()

    def on_events(self, events: bytes) -> None:
        """Take the events of one batch."""
        offset, end = 0, len(events)
        while offset < end:
            length, kind = _RECORD.unpack_from(events, offset)
            assert length >= RECORD_HEADER_BYTES
            if kind == _ORDER:
                self._touched.add(_ORDER_INSTRUMENT.unpack_from(events, offset)[0])
            elif kind == _TRADE:
                self._on_trade(events, offset)
            elif kind != _RESULT:
                self._on_other(kind, events, offset)
            offset += length
        assert offset == end
        self._dirty |= self._touched

    def take_touched(self) -> set[int]:
        """Return the instruments whose orders changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def take_sessions(self, engine: Engine) -> dict[int, int]:
        """Return the effective sessions that changed since the last call."""
        if self._sessions and self._told_sessions:
            return {}
        self._sessions = _sessions(engine)
        told, self._told_sessions = self._told_sessions, dict(self._sessions)
        return {n: s for n, s in self._sessions.items() if n in told and told[n] != s}

    def _on_other(self, kind: int, events: bytes, at: int) -> None:
        if kind in _SESSION_KINDS:
            self._sessions.clear()
        if kind == EventKind.SESSION:
            instrument = SESSION_BODY.unpack_from(events, at + HEADER_BYTES)[0]
            self._dirty.update([instrument] if instrument else self.symbols)
        elif kind == EventKind.INSTRUMENT:
            number, symbol = _instrument(events, at + HEADER_BYTES)
            self.symbols[number] = symbol
            self._dirty.add(number)

    def learn_symbols(self, engine: Engine) -> None:
        """Read the instruments of a replica that started from a snapshot."""
        data = engine.instruments()
        for _, at, _ in split_records(data):
            number, symbol = _instrument(data, at + RECORD_HEADER_BYTES)
            self.symbols[number] = symbol

    def _on_trade(self, events: bytes, at: int) -> None:
        now_ns, number, aggressor, price, quantity, trade_id = _TRADE_FIELDS.unpack_from(events, at)
        tick = TradeTick(trade_id, price, quantity, aggressor, now_ns)
        trades = self.trades.get(number)
        if trades is None:
            trades = self.trades[number] = deque(maxlen=TRADES_KEPT)
        trades.append(tick)
        if self._fresh and self._fresh[-1][0] == number:
            self._fresh[-1][1].append(tick)
        else:
            self._fresh.append((number, [tick]))

    def take_trades(self) -> list[tuple[int, list[TradeTick]]]:
        """Return the trades since the last call as (instrument, trades), ids rising throughout."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def take_books(self, engine: Engine) -> list[dict[str, object]]:
        """Return the books that differ from what was last returned."""
        dirty, self._dirty = self._dirty, set()
        changed: list[dict[str, object]] = []
        for number in sorted(dirty):
            book = self._depth(engine, number)
            if self._published.get(number) != book:
                self._published[number] = book
                changed.append(self._render(engine, number, book))
        return changed

    def book(self, engine: Engine, symbol: str) -> dict[str, object] | None:
        """Return one book as it is, or None where there is no such symbol."""
        number = self.number_of(symbol)
        return None if number is None else self._render(engine, number, self._depth(engine, number))

    def number_of(self, symbol: str) -> int | None:
        """Return the number of a symbol."""
        return next((n for n, text in self.symbols.items() if text == symbol), None)

    def overview(self, engine: Engine) -> list[dict[str, object]]:
        """Return every symbol with its last price and session."""
        market = market_session(engine)
        rows: list[dict[str, object]] = []
        data = engine.instruments()
        for _, at, _ in split_records(data):
            fields = INSTRUMENT_BODY.unpack_from(data, at + RECORD_HEADER_BYTES)
            session = max(fields[1], market)
            rows.append(
                {
                    "symbol": self.symbols[fields[0]],
                    "last": fields[8] or fields[7],
                    "session": Session(session).name.lower(),
                }
            )
        return rows

    def _depth(self, engine: Engine, number: int) -> Book:
        """Return the best levels of an instrument and its effective session."""
        sides: dict[int, list[Level]] = {Side.BUY: [], Side.SELL: []}
        for side, price, quantity in _LEVEL.iter_unpack(engine.depth(number, LEVELS)):
            sides[side].append((price, quantity))
        if not self._sessions:
            self._sessions = _sessions(engine)
        return sides[Side.BUY], sides[Side.SELL], self._sessions[number]

    def _render(self, engine: Engine, number: int, book: Book) -> dict[str, object]:
        bids, asks, session = book
        return {
            "symbol": self.symbols[number],
            "sequence": engine.sequence,
            "bids": bids,
            "asks": asks,
            "session": Session(session).name.lower(),
        }


def market_session(engine: Engine) -> int:
    """Return the session of the market as a whole."""
    return engine.statistics()["market_session"]


def _sessions(engine: Engine) -> dict[int, int]:
    """Return the effective session of every instrument."""
    market = market_session(engine)
    data = engine.instruments()
    found: dict[int, int] = {}
    for _, at, _ in split_records(data):
        fields = INSTRUMENT_BODY.unpack_from(data, at + RECORD_HEADER_BYTES)
        found[fields[0]] = max(int(fields[1]), market)
    return found


def _instrument(data: bytes, at: int) -> tuple[int, str]:
    fields = INSTRUMENT_BODY.unpack_from(data, at)
    start = at + INSTRUMENT_BODY.size
    return fields[0], data[start : start + fields[2]].decode()
