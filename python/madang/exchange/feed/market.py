"""Books and trades for everybody, made from the events of the log. Pure.

A symbol is *dirty* when an event may have changed its book; `books()` renders the dirty ones and
leaves out those whose ten best levels are as last published.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from madang.exchange.engine.port import Engine
from madang.wire.codes import Session, Side
from madang.wire.events import (
    HEADER_BYTES,
    INSTRUMENT_BODY,
    LEVEL_BODY,
    ORDER_EXTRA,
    RECORD_HEADER_BYTES,
    SESSION_BODY,
    EventKind,
    parse_trade,
    split_records,
)

LEVELS = 10
TRADES_KEPT = 500
_INSTRUMENT_AT = HEADER_BYTES + ORDER_EXTRA.size + 12

Level = tuple[int, int]


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
        self._fresh: dict[int, list[TradeTick]] = {}
        self._dirty: set[int] = set()
        self._published: dict[int, tuple[list[Level], list[Level], int]] = {}

    def on_events(self, events: bytes) -> None:
        """Take the events of one batch."""
        for kind, at, _ in split_records(events):
            if kind == EventKind.TRADE:
                self._on_trade(events, at)
            elif kind == EventKind.ORDER:
                start = at + _INSTRUMENT_AT
                self._dirty.add(int.from_bytes(events[start : start + 4], "little"))
            elif kind == EventKind.SESSION:
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
        trade = parse_trade(events, at)
        tick = TradeTick(trade.trade_id, trade.price, trade.quantity, trade.aggressor, trade.now_ns)
        number = trade.instrument
        self.trades.setdefault(number, deque(maxlen=TRADES_KEPT)).append(tick)
        fresh = self._fresh.setdefault(number, [])
        fresh.append(tick)
        del fresh[:-TRADES_KEPT]

    def take_trades(self) -> dict[int, list[TradeTick]]:
        """Return the trades since the last call, by instrument."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def take_books(self, engine: Engine) -> list[dict[str, object]]:
        """Return the books that differ from what was last returned."""
        dirty, self._dirty = self._dirty, set()
        changed: list[dict[str, object]] = []
        for number in sorted(dirty):
            book = depth(engine, number)
            if self._published.get(number) != book:
                self._published[number] = book
                changed.append(self._render(engine, number, book))
        return changed

    def book(self, engine: Engine, symbol: str) -> dict[str, object] | None:
        """Return one book as it is, or None where there is no such symbol."""
        number = self.number_of(symbol)
        return None if number is None else self._render(engine, number, depth(engine, number))

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

    def _render(
        self, engine: Engine, number: int, book: tuple[list[Level], list[Level], int]
    ) -> dict[str, object]:
        bids, asks, session = book
        return {
            "symbol": self.symbols[number],
            "sequence": engine.sequence,
            "bids": bids,
            "asks": asks,
            "session": Session(session).name.lower(),
        }


def depth(engine: Engine, number: int) -> tuple[list[Level], list[Level], int]:
    """Return (bids, asks, effective session) of an instrument, best first."""
    data = engine.depth(number, LEVELS)
    sides: dict[int, list[Level]] = {Side.BUY: [], Side.SELL: []}
    for _, at, _ in split_records(data):
        side, _, _, _, price, quantity = LEVEL_BODY.unpack_from(data, at + RECORD_HEADER_BYTES)
        sides[side].append((price, quantity))
    return sides[Side.BUY], sides[Side.SELL], _session(engine, number)


def market_session(engine: Engine) -> int:
    """Return the session of the market as a whole."""
    return engine.statistics()["market_session"]


def _session(engine: Engine, number: int) -> int:
    data = engine.instruments()
    for _, at, _ in split_records(data):
        fields = INSTRUMENT_BODY.unpack_from(data, at + RECORD_HEADER_BYTES)
        if fields[0] == number:
            return max(int(fields[1]), market_session(engine))
    raise AssertionError(f"no instrument {number}")


def _instrument(data: bytes, at: int) -> tuple[int, str]:
    fields = INSTRUMENT_BODY.unpack_from(data, at)
    start = at + INSTRUMENT_BODY.size
    return fields[0], data[start : start + fields[2]].decode()
