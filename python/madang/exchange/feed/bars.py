"""Bars out of trades: minutes, days, and what was corrected after it was said. Pure.

All numbers are exact integers in the venue's units; `value` is the sum of price x quantity, so that
the volume-weighted price is `value / volume`. Invariant: a bar equals the trades between its start
and its end, however they were grouped into calls; a trade that is known (by its rising id) is not
counted again.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from madang.exchange.feed.days import MINUTE_NS, Days
from madang.exchange.feed.market import TradeTick


class Bar(NamedTuple):
    """What the trades of one interval came to."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    value: int

    def join(self, later: Bar) -> Bar:
        """Return this bar with one that follows it."""
        return Bar(
            self.start_ns,
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.volume + later.volume,
            self.trades + later.trades,
            self.value + later.value,
        )


def bar_of(start_ns: int, price: int, quantity: int) -> Bar:
    """Return the bar of a single trade."""
    return Bar(start_ns, price, price, price, price, quantity, 1, price * quantity)


class BarKind(StrEnum):
    """What is said of a bar: complete, corrected by a late trade, the day so far."""

    MINUTE = "b"
    UPDATED = "u"
    DAY = "d"


class BarEvent(NamedTuple):
    """A bar that is to be told."""

    instrument: int
    kind: BarKind
    bar: Bar


class SymbolBars:
    """The newest bars of one instrument; `said` once the minute was told as complete."""

    __slots__ = ("day", "last", "minute", "previous_day", "said")

    def __init__(
        self,
        last: TradeTick | None = None,
        minute: Bar | None = None,
        day: Bar | None = None,
        previous_day: Bar | None = None,
    ) -> None:
        self.last = last
        self.minute = minute
        self.day = day
        self.previous_day = previous_day
        self.said = True


class BarBook:
    """The newest bars of every instrument."""

    def __init__(self, days: Days) -> None:
        self.days = days
        self.symbols: dict[int, SymbolBars] = {}
        self._open: set[int] = set()  # instruments whose minute was not told yet
        self._late: set[int] = set()

    def load(self, instrument: int, known: SymbolBars, now_ns: int) -> None:
        """Begin with what is known of an instrument; a minute that is over was told before."""
        self.symbols[instrument] = known
        known.said = True
        if known.minute is not None and now_ns < known.minute.start_ns + MINUTE_NS:
            known.said = False
            self._open.add(instrument)

    def add(self, instrument: int, tick: TradeTick) -> list[BarEvent]:
        """Count a trade; returns the minute that it ends, if that was not told yet."""
        known = self.symbols.get(instrument)
        if known is None:
            known = self.symbols[instrument] = SymbolBars()
        if known.last is not None and tick.trade_id <= known.last.trade_id:
            return []
        known.last = tick
        said: list[BarEvent] = []
        start_ns = tick.now_ns - tick.now_ns % MINUTE_NS
        fresh = bar_of(start_ns, tick.price, tick.quantity)
        if known.minute is not None and known.minute.start_ns == start_ns:
            known.minute = known.minute.join(fresh)
            if known.said:
                self._late.add(instrument)
        else:
            said = self._finish(instrument, known)
            known.minute, known.said = fresh, False
            self._open.add(instrument)
        self._add_day(known, fresh._replace(start_ns=self.days.start(tick.now_ns)))
        return said

    def _add_day(self, known: SymbolBars, fresh: Bar) -> None:
        if known.day is not None and known.day.start_ns == fresh.start_ns:
            known.day = known.day.join(fresh)
        else:
            known.previous_day, known.day = known.day, fresh

    def _finish(self, instrument: int, known: SymbolBars) -> list[BarEvent]:
        self._open.discard(instrument)
        said: list[BarEvent] = []
        if known.minute is not None and instrument in self._late:
            self._late.discard(instrument)
            said.append(BarEvent(instrument, BarKind.UPDATED, known.minute))
        elif known.minute is not None and not known.said:
            said.append(BarEvent(instrument, BarKind.MINUTE, known.minute))
        if said and known.day is not None:
            said.append(BarEvent(instrument, BarKind.DAY, known.day))
        known.said = True
        return said

    def due(self, now_ns: int) -> list[BarEvent]:
        """Return minutes that were over by `now_ns`, then those a late trade corrected."""
        said: list[BarEvent] = []
        for instrument in sorted(self._open | self._late):
            known = self.symbols[instrument]
            if known.minute is not None and known.minute.start_ns + MINUTE_NS <= now_ns:
                said.extend(self._finish(instrument, known))
        return said


def aggregate(bars: Iterable[Bar], begins: Iterable[int]) -> list[Bar]:
    """Return bars joined where they begin alike; `begins` gives each bar's new start, in order."""
    joined: list[Bar] = []
    for bar, begin_ns in zip(bars, begins, strict=True):
        if joined and joined[-1].start_ns == begin_ns:
            joined[-1] = joined[-1].join(bar)
        else:
            joined.append(bar._replace(start_ns=begin_ns))
    return joined
