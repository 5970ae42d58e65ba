"""Every symbol at a glance: last price, the day's change and volume, and the day as a line.

One `Overview` per worker serves all: it asks the ledger at most once in REFRESH_MS, however
many ask it. The day is the newest on which a symbol traded, so before the first trade of a day the
last session is shown. The line's points are closes of evenly many minutes; they are read from the
history once and then go on with the newest minute, unless a minute may have been missed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from madang.core.clock import Clock
from madang.exchange.api.decimals import (
    PRICE_DECIMALS,
    price_text,
    quantity_text,
    ratio_text,
    units_text,
)
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.api.market_render import BarRow
from madang.exchange.api.market_screener import base_price
from madang.exchange.directory import DirectoryReplica, Instrument
from madang.exchange.feed.days import MINUTE_NS, Days

REFRESH_MS: Final = 500
POINTS_MAX: Final = 60
"""Points of a line; a longer day has fewer minutes among them."""
SYMBOLS_MAX: Final = 500
"""Symbols shown: those traded most."""
PERCENT_DECIMALS: Final = 2
PAGE_ROWS: Final = 2_000
LAST_NS: Final = 2**62
_MILLISECOND_NS: Final = 1_000_000


class OverviewRow(msgspec.Struct):
    """One symbol; amounts are decimal text, null where nothing traded yet.

    `change` is counted from the close of the day before; `line` holds the opening and then closes.
    """

    symbol: str
    name: str
    session: str | None = None
    last: str | None = None
    change: str | None = None
    change_percent: str | None = None
    volume: str | None = None
    trades: int | None = None
    line: list[str] = []


class Seen(NamedTuple):
    """A symbol with what the ledger said of it."""

    instrument: Instrument
    minute: BarRow | None
    day: BarRow | None
    base: int
    last: int


@dataclass(slots=True)
class Line:
    """The closes of one day by minute, and where it began."""

    day_ns: int
    open: int
    closes: dict[int, int] = field(default_factory=dict)

    def points(self) -> list[int]:
        """Return the opening and at most POINTS_MAX closes, the newest among them."""
        closes = [self.closes[start_ns] for start_ns in sorted(self.closes)]
        step = -(-len(closes) // POINTS_MAX)
        return [self.open, *(closes[::-1][::step][::-1] if step > 1 else closes)]


class Overview:
    """All symbols, as of at most REFRESH_MS ago."""

    def __init__(
        self,
        ledger: LedgerClient,
        feed: FeedClient,
        replica: DirectoryReplica,
        days: Days,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._feed = feed
        self._replica = replica
        self._days = days
        self._clock = clock
        self._lines: dict[int, Line] = {}
        self._followed_ns = -LAST_NS
        self._rows: list[OverviewRow] = []
        self._read_ns = -LAST_NS
        self._reading: asyncio.Task[None] | None = None

    async def rows(self) -> list[OverviewRow]:
        """Return every symbol in order of its name; raises ApiError 503."""
        if self._clock.monotonic_ns() - self._read_ns >= REFRESH_MS * _MILLISECOND_NS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._rows

    async def _read(self) -> None:
        begun_ns = self._clock.monotonic_ns()
        answer = await self._ledger.ask({"kind": "market_latest", "instruments": None})
        sessions = await self._sessions()
        seen = self._busiest(answer["latest"])
        await self._follow(seen)
        self._rows = [
            _row(one, sessions.get(one.instrument.symbol), self._lines.get(one.instrument.number))
            for one in seen
        ]
        self._read_ns = begun_ns

    async def _sessions(self) -> dict[str, str]:
        try:
            return {state.symbol: state.session for state in await self._feed.symbols()}
        except FeedUnavailable:
            return {}

    def _busiest(self, latest: dict[int, list[Any]]) -> list[Seen]:
        found = [
            _seen(instrument, latest.get(instrument.number))
            for instrument in self._replica.directory.instruments.values()
        ]
        found.sort(key=lambda one: -int(one.day.volume) if one.day else 0)
        return sorted(found[:SYMBOLS_MAX], key=lambda one: one.instrument.symbol)

    async def _follow(self, seen: list[Seen]) -> None:
        """Bring the lines up to date."""
        now_ns = self._clock.monotonic_ns()
        missed = now_ns - self._followed_ns >= MINUTE_NS
        for one in seen:
            number = one.instrument.number
            if one.day is None or one.minute is None:
                continue
            line = self._lines.get(number)
            if line is None or line.day_ns != one.day.start_ns or missed:
                self._lines[number] = await self._read_line(number, one.day)
            self._lines[number].closes[one.minute.start_ns] = one.minute.close
        self._followed_ns = now_ns

    async def _read_line(self, number: int, day: BarRow) -> Line:
        line = Line(day.start_ns, day.open)
        question = {
            "kind": "market_bars", "timeframe": "1Min", "instruments": [number],
            "first_ns": day.start_ns, "last_ns": self._days.end(day.start_ns) - 1,
            "descending": False, "limit": PAGE_ROWS, "after": None,
        }  # fmt: skip
        answer = await self._ledger.ask(question)
        for _, *fields in answer["rows"]:
            bar = BarRow(*fields)
            line.closes[bar.start_ns] = bar.close
        return line


def _seen(instrument: Instrument, found: list[Any] | None) -> Seen:
    _, _, minute, day, former = found or [None] * 5
    newest = BarRow(*day) if day else None
    return Seen(
        instrument,
        BarRow(*minute) if minute else None,
        newest,
        base_price(instrument, day, former) if newest else instrument.reference_price,
        newest.close if newest else instrument.reference_price,
    )


def _row(one: Seen, session: str | None, line: Line | None) -> OverviewRow:
    row = OverviewRow(one.instrument.symbol, one.instrument.name, session)
    if one.last:
        row.last = price_text(one.last)
    if one.day is not None:
        change = one.last - one.base
        row.change = units_text(change, PRICE_DECIMALS)
        row.change_percent = ratio_text(change * 100, one.base, PERCENT_DECIMALS)
        row.volume = quantity_text(int(one.day.volume))
        row.trades = one.day.trades
    if line is not None:
        row.line = [price_text(close) for close in line.points()]
    return row
