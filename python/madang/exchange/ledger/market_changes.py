"""Market history out of events: trades, bars and quotes that wait to be written. Pure.

Trades and bars come from TRADE events. A quote is the best bid and offer after a batch; of the
quotes of one instrument in one slot of time only the last is kept, so that history is bounded
whatever the load. All of it is a function of the log: made again from it, every row is the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from madang.exchange.feed.bars import Bar, BarBook
from madang.exchange.feed.days import Days
from madang.exchange.feed.market import TradeTick
from madang.wire.codes import Side
from madang.wire.events import RECORD_HEADER_BYTES, EventKind, split_records
from madang.wire.records import parse_level

MINUTE: Final = 1
DAY: Final = 2
"""The two spans of bars that are stored; all others are made of them."""
QUOTE_SLOT_NS: Final = 50_000_000

TRADE_COLUMNS: Final = ("trade_id", "instrument", "now_ns", "price", "quantity", "aggressor")
BAR_COLUMNS: Final = (
    "instrument", "span", "start_ns", "open", "high", "low", "close", "volume", "trades", "value",
)  # fmt: skip
QUOTE_COLUMNS: Final = (
    "instrument", "slot_ns", "now_ns", "bid", "bid_quantity", "ask", "ask_quantity",
)  # fmt: skip

Row = tuple[int | str, ...]
Depth = Callable[[int], bytes]

_ORDER: Final = int(EventKind.ORDER)
_TRADE: Final = int(EventKind.TRADE)
_RECORD: Final = struct.Struct("<HB")
# now_ns instrument of an ORDER event
_ORDER_FIELDS: Final = struct.Struct("<16xq52xI")
# now_ns instrument aggressor price quantity trade_id of a TRADE event
_TRADE_FIELDS: Final = struct.Struct("<16xq8xIB3xqqQ")


class Quote(NamedTuple):
    """The best bid and offer from `now_ns` on; prices and quantities are 0 where there is none."""

    now_ns: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class MarketRows:
    """Rows that wait; bars and quotes hold only the newest state of each."""

    def __init__(self) -> None:
        self.trades: list[tuple[int, TradeTick]] = []
        self.bars: dict[tuple[int, int, int], Bar] = {}
        self.quotes: dict[tuple[int, int], Quote] = {}

    def __len__(self) -> int:
        return len(self.trades) + len(self.bars) + len(self.quotes)

    def trade_rows(self) -> Iterator[Row]:
        """Yield a row for every trade, in the order of TRADE_COLUMNS."""
        for instrument, tick in self.trades:
            trade_id, price, quantity, aggressor, now_ns = tick
            yield trade_id, instrument, now_ns, price, quantity, aggressor

    def bar_rows(self) -> Iterator[Row]:
        """Yield a row for every bar, in the order of BAR_COLUMNS."""
        for (instrument, span, _), bar in self.bars.items():
            yield bar_row(instrument, span, bar)

    def quote_rows(self) -> Iterator[Row]:
        """Yield a row for every quote, in the order of QUOTE_COLUMNS."""
        for key, quote in self.quotes.items():
            yield (*key, *quote)


def bar_row(instrument: int, span: int, bar: Bar) -> Row:
    """Return a bar in the order of BAR_COLUMNS; sums may pass 64 bits and are kept as text."""
    start_ns, first, high, low, last, volume, trades, value = bar
    return instrument, span, start_ns, first, high, low, last, str(volume), trades, str(value)


class MarketTracker:
    """The newest state of every instrument's market, as of the last batch taken."""

    def __init__(self, days: Days) -> None:
        self.book = BarBook(days)
        self.quotes: dict[int, Quote] = {}
        self.depth: Depth | None = None
        """Best levels of an instrument; without it no quotes are kept."""

    def collect(self, events: bytes, rows: MarketRows) -> None:
        """Take the events of one batch that SQL does not have."""
        touched: dict[int, int] = {}
        offset, end = 0, len(events)
        while offset < end:
            length, kind = _RECORD.unpack_from(events, offset)
            assert length >= RECORD_HEADER_BYTES
            if kind == _ORDER:
                now_ns, instrument = _ORDER_FIELDS.unpack_from(events, offset)
                touched[instrument] = now_ns
            elif kind == _TRADE:
                self._trade(_TRADE_FIELDS.unpack_from(events, offset), rows)
            offset += length
        if self.depth is not None:
            for instrument, now_ns in touched.items():
                self._quote(instrument, now_ns, self.depth(instrument), rows)

    def _trade(self, fields: tuple[int, ...], rows: MarketRows) -> None:
        now_ns, instrument, aggressor, price, quantity, trade_id = fields
        tick = TradeTick(trade_id, price, quantity, aggressor, now_ns)
        self.book.add(instrument, tick)
        rows.trades.append((instrument, tick))
        known = self.book.symbols[instrument]
        assert known.minute is not None
        assert known.day is not None
        rows.bars[instrument, MINUTE, known.minute.start_ns] = known.minute
        rows.bars[instrument, DAY, known.day.start_ns] = known.day

    def _quote(self, instrument: int, now_ns: int, levels: bytes, rows: MarketRows) -> None:
        quote = quote_of(now_ns, levels)
        former = self.quotes.get(instrument)
        if former is None or former[1:] != quote[1:]:
            self.quotes[instrument] = quote
            rows.quotes[instrument, now_ns - now_ns % QUOTE_SLOT_NS] = quote


def quote_of(now_ns: int, levels: bytes) -> Quote:
    """Return the quote that the first level of each side makes."""
    best = {int(Side.BUY): (0, 0), int(Side.SELL): (0, 0)}
    for _, at, _ in reversed(list(split_records(levels))):
        level = parse_level(levels, at + RECORD_HEADER_BYTES)
        best[level.side] = level.price, level.quantity
    return Quote(now_ns, *best[Side.BUY], *best[Side.SELL])
