"""Questions about the market's history, answered as of what the replica has applied.

What is not yet written is taken from memory before SQL is read, so that everything up to the
question is in one of both. Rows are lists that begin with the instrument; a page ends after `limit`
rows over all instruments, in the order in which these were given, and `next` says where to go on:
the instrument and the key (trade, slot or start) of the last row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from madang.core import log
from madang.exchange.feed.bars import Bar, aggregate
from madang.exchange.feed.days import HOUR_NS, Days, Timeframe, parse_timeframe
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.market_changes import DAY, MINUTE, QUOTE_SLOT_NS, Quote
from madang.exchange.ledger.market_history import MarketHistory, Range
from madang.exchange.ledger.settings import LedgerSettings
from madang.exchange.venue.follower import Follower

ROWS_MAX: Final = 2_000
"""Rows in one answer, so that it fits into a message of the bus."""
BASE_BARS_MAX: Final = 20_000
"""Stored bars that one answer is made of."""
PRUNE_INTERVAL_S: Final = 60.0
FIRST_NS: Final = -(2**63)

Query = dict[str, Any]
Entry = TypeVar("Entry")
Read = Callable[[Range, int | None], Awaitable[list[tuple[int, list[Any]]]]]


class MarketQueries:
    """The kinds of `ledger.query` that are about the market."""

    def __init__(self, ledger: Ledger, history: MarketHistory) -> None:
        self._ledger = ledger
        self._history = history
        self.kinds: Mapping[str, Callable[[Query], Awaitable[Query]]] = {
            "market_trades": self._trades_page,
            "market_quotes": self._quotes_page,
            "market_bars": self._bars_page,
            "market_latest": self._latest,
            "market_trades_after": self._trades_after,
        }

    async def _trades_page(self, query: Query) -> Query:
        return await _page(query, self._trades)

    async def _quotes_page(self, query: Query) -> Query:
        return await _page(query, self._quotes)

    async def _bars_page(self, query: Query) -> Query:
        timeframe = parse_timeframe(query["timeframe"])
        if timeframe is None:
            return {"error": "unknown timeframe"}

        async def read(wanted: Range, after: int | None) -> list[tuple[int, list[Any]]]:
            return await self._bars(timeframe, wanted, after)

        return await _page(query, read)

    async def _latest(self, query: Query) -> Query:
        """Answer the newest trade, quote, minute, day and day before of instruments (nil: all)."""
        market = self._ledger.market
        asked = query["instruments"]
        numbers = market.book.symbols.keys() | market.quotes.keys() if asked is None else asked
        found: dict[int, list[Any]] = {}
        for number in numbers:
            known = market.book.symbols.get(number)
            quote = market.quotes.get(number)
            if known is None:
                found[number] = [None, quote, None, None, None]
            else:
                bars = (known.minute, known.day, known.previous_day)
                found[number] = [known.last, quote, *(bar and _fields(bar) for bar in bars)]
        return {"latest": found}

    async def _trades_after(self, query: Query) -> Query:
        """Answer the oldest trades after a trade as [instrument, trade]; `complete` if all.

        `since_ns` leaves out those before a time.
        """
        asked, after, limit = query["instruments"], query["after"], _limit(query)
        since_ns = query.get("since_ns", 0)
        waiting = [
            (instrument, tick)
            for rows in self._ledger.unwritten_market()
            for instrument, tick in rows.trades
            if tick.trade_id > after
            and tick.now_ns >= since_ns
            and (asked is None or instrument in asked)
        ]
        found = await self._history.trades_after(asked, after, since_ns, limit + 1)
        found.update((tick.trade_id, (instrument, tick)) for instrument, tick in waiting)
        ordered = [found[key] for key in sorted(found)]
        return {"trades": ordered[:limit], "complete": len(ordered) <= limit}

    async def _trades(self, wanted: Range, after: int | None) -> list[tuple[int, list[Any]]]:
        waiting = {
            tick.trade_id: tick
            for rows in self._ledger.unwritten_market()
            for instrument, tick in rows.trades
            if instrument == wanted.instrument
            and wanted.first <= tick.now_ns <= wanted.last
            and _is_after(tick.trade_id, after, wanted.descending)
        }
        found = {**await self._history.trades(wanted, after), **waiting}
        return [(key, list(tick)) for key, tick in _ordered(found, wanted)]

    async def _quotes(self, wanted: Range, after: int | None) -> list[tuple[int, list[Any]]]:
        whole = _after_key(wanted, after)
        slots = whole._replace(first=whole.first - QUOTE_SLOT_NS + 1)
        waiting: dict[int, Quote] = {}
        for rows in self._ledger.unwritten_market():
            for (instrument, slot_ns), quote in rows.quotes.items():
                if instrument == wanted.instrument and slots.first <= slot_ns <= slots.last:
                    waiting[slot_ns] = quote
        found = await self._history.quotes(slots._replace(limit=slots.limit + 2))
        for slot_ns, quote in waiting.items():
            former = found.get(slot_ns)
            if former is None or former.now_ns <= quote.now_ns:
                found[slot_ns] = quote
        inside = {
            slot_ns: quote
            for slot_ns, quote in found.items()
            if wanted.first <= quote.now_ns <= wanted.last
            and _is_after(slot_ns, after, wanted.descending)
        }
        return [(key, list(quote)) for key, quote in _ordered(inside, wanted)]

    async def _bars(
        self, timeframe: Timeframe, wanted: Range, after: int | None
    ) -> list[tuple[int, list[Any]]]:
        days = self._ledger.market.book.days
        base = _base_range(timeframe, days, wanted, after)
        joined: list[Bar] = []
        while base.first <= base.last and len(joined) < wanted.limit:
            stored = await self._stored_bars(DAY if timeframe.daily else MINUTE, base)
            begins = [timeframe.begin(days, bar.start_ns) for bar in stored]
            made = (
                aggregate(reversed(stored), reversed(begins))
                if wanted.descending
                else (aggregate(stored, begins))
            )
            if wanted.descending:
                made.reverse()
            whole = len(stored) < base.limit
            if not whole:
                made.pop()  # its other half is in the next chunk
            joined += [bar for bar in made if wanted.first <= bar.start_ns <= wanted.last]
            if whole or not made:
                break
            edge = made[-1].start_ns
            base = (
                base._replace(last=edge - 1)
                if wanted.descending
                else base._replace(first=timeframe.end(days, edge))
            )
        return [(bar.start_ns, _fields(bar)) for bar in joined[: wanted.limit]]

    async def _stored_bars(self, span: int, wanted: Range) -> list[Bar]:
        waiting = {
            start_ns: bar
            for rows in self._ledger.unwritten_market()
            for (instrument, its_span, start_ns), bar in rows.bars.items()
            if instrument == wanted.instrument
            and its_span == span
            and wanted.first <= start_ns <= wanted.last
        }
        found = await self._history.bars(span, wanted)
        for start_ns, bar in waiting.items():
            former = found.get(start_ns)
            if former is None or former.trades < bar.trades:
                found[start_ns] = bar
        return [bar for _, bar in _ordered(found, wanted)]


async def _page(query: Query, read: Read) -> Query:
    """Read one page over instruments in the order given."""
    instruments, limit = list(query["instruments"]), _limit(query)
    first_ns, last_ns = max(0, query["first_ns"]), query["last_ns"]
    descending = query["descending"]
    after: int | None = None
    if query["after"] is not None:
        instrument, after = query["after"]
        instruments = instruments[instruments.index(instrument) :]
    rows: list[list[Any]] = []
    last: tuple[int, int] | None = None
    for instrument in instruments:
        room = limit - len(rows)
        wanted = Range(instrument, first_ns, last_ns, descending, room + 1)
        found = await read(wanted, after)
        after = None
        if len(found) > room:
            rows += [[instrument, *fields] for _, fields in found[:room]]
            if room:
                last = instrument, found[room - 1][0]
            return {"rows": rows, "next": last}
        rows += [[instrument, *fields] for _, fields in found]
        if found:
            last = instrument, found[-1][0]
    return {"rows": rows, "next": None}


def _limit(query: Query) -> int:
    return max(1, min(int(query["limit"]), ROWS_MAX))


def _fields(bar: Bar) -> list[Any]:
    """Return a bar as answers carry it: sums that may pass 64 bits are text."""
    return [*bar[:5], str(bar.volume), bar.trades, str(bar.value)]


def _is_after(key: int, after: int | None, descending: bool) -> bool:
    return after is None or (key < after if descending else key > after)


def _after_key(wanted: Range, after: int | None) -> Range:
    if after is None:
        return wanted
    return (
        wanted._replace(last=after - 1) if wanted.descending else wanted._replace(first=after + 1)
    )


def _ordered(found: dict[int, Entry], wanted: Range) -> list[tuple[int, Entry]]:
    return sorted(found.items(), reverse=wanted.descending)[: wanted.limit]


def _base_range(timeframe: Timeframe, days: Days, wanted: Range, after: int | None) -> Range:
    """Return the stored bars that make the intervals which begin in the range, after a page."""
    first = timeframe.begin(days, wanted.first)
    last = timeframe.end(days, timeframe.begin(days, wanted.last)) - 1
    if after is not None and wanted.descending:
        last = after - 1
    elif after is not None:
        first = timeframe.end(days, after)
    return Range(wanted.instrument, first, last, wanted.descending, BASE_BARS_MAX)


async def prune_for_ever(
    history: MarketHistory, follower: Follower, settings: LedgerSettings
) -> None:
    """Delete what is older than the settings keep, by the time of the engine."""
    hours = (settings.trade_days * 24, settings.quote_hours, settings.minute_bar_days * 24)
    while True:
        await asyncio.sleep(PRUNE_INTERVAL_S)
        now_ns = follower.engine.now_ns
        before = [now_ns - kept * HOUR_NS if kept else FIRST_NS for kept in hours]
        try:
            await history.prune(*before)
        except SQLAlchemyError:
            log.get("ledger").exception("pruning failed, it is tried again")
