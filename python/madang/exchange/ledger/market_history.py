"""Trades, bars and quotes in SQL: reading them in pages, keeping only what is to be kept.

`History` writes the rows in its own transaction, with the sequence. Minutes do not depend on the
venue's time zone but days do: where the zone has changed, or bars were never made, they are made
from what is stored before anything else happens.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from madang.exchange.feed.bars import Bar, SymbolBars, bar_of
from madang.exchange.feed.days import MINUTE_NS, Days
from madang.exchange.feed.market import TradeTick
from madang.exchange.ledger.market_changes import (
    BAR_COLUMNS,
    DAY,
    MINUTE,
    MarketTracker,
    Quote,
    bar_row,
)
from madang.exchange.ledger.market_tables import bars, market_state, quotes, trades

ROWS_AT_ONCE: Final = 10_000


class Range(NamedTuple):
    """Which rows of one instrument: keys `first` to `last`, both included, at most `limit`."""

    instrument: int
    first: int
    last: int
    descending: bool
    limit: int


class MarketHistory:
    """The market's part of the ledger's database."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database

    async def trades(self, wanted: Range, after_id: int | None) -> dict[int, TradeTick]:
        """Return trades by id; the range is of times, `after_id` is where a page begins."""
        where = [
            trades.c.instrument == wanted.instrument,
            trades.c.now_ns.between(wanted.first, wanted.last),
        ]
        if after_id is not None:
            id_ = trades.c.trade_id
            where.append(id_ < after_id if wanted.descending else id_ > after_id)
        rows = await self._rows(sa.select(trades), where, trades.c.trade_id, wanted)
        return {r.trade_id: _tick(r) for r in rows}

    async def trades_after(
        self, instruments: list[int] | None, after_id: int, since_ns: int, limit: int
    ) -> dict[int, tuple[int, TradeTick]]:
        """Return the oldest trades after a trade and not before a time, with their instruments."""
        statement = sa.select(trades).where(
            trades.c.trade_id > after_id, trades.c.now_ns >= since_ns
        )
        if instruments is not None:
            statement = statement.where(trades.c.instrument.in_(instruments))
        statement = statement.order_by(trades.c.trade_id).limit(limit)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        return {row.trade_id: (row.instrument, _tick(row)) for row in rows}

    async def quotes(self, wanted: Range) -> dict[int, Quote]:
        """Return quotes by slot."""
        where = [
            quotes.c.instrument == wanted.instrument,
            quotes.c.slot_ns.between(wanted.first, wanted.last),
        ]
        rows = await self._rows(sa.select(quotes), where, quotes.c.slot_ns, wanted)
        return {row.slot_ns: _quote(row) for row in rows}

    async def bars(self, span: int, wanted: Range) -> dict[int, Bar]:
        """Return minute or day bars by start."""
        where = [
            bars.c.instrument == wanted.instrument,
            bars.c.span == span,
            bars.c.start_ns.between(wanted.first, wanted.last),
        ]
        rows = await self._rows(sa.select(bars), where, bars.c.start_ns, wanted)
        return {row.start_ns: _bar(row) for row in rows}

    async def _rows(
        self,
        statement: sa.Select[tuple[object, ...]],
        where: list[sa.ColumnElement[bool]],
        key: sa.Column[int],
        wanted: Range,
    ) -> list[sa.Row[tuple[object, ...]]]:
        ordered = key.desc() if wanted.descending else key.asc()
        statement = statement.where(*where).order_by(ordered).limit(wanted.limit)
        async with self._database.connect() as connection:
            return list((await connection.execute(statement)).all())

    async def load(self, tracker: MarketTracker) -> None:
        """Give a tracker the newest state of every instrument, making bars where needed."""
        async with self._database.begin() as connection:
            await _make_bars(connection, tracker.book.days)
            for instrument in await _instruments(connection):
                last = await _last_trade(connection, instrument)
                minutes = await _newest_bars(connection, instrument, MINUTE, 1)
                day = await _newest_bars(connection, instrument, DAY, 2)
                known = SymbolBars(last, minutes[0] if minutes else None, *day)
                tracker.book.load(instrument, known, last.now_ns)
            newest = sa.select(quotes.c.instrument, sa.func.max(quotes.c.slot_ns)).group_by(
                quotes.c.instrument
            )
            statement = sa.select(quotes).where(
                sa.tuple_(quotes.c.instrument, quotes.c.slot_ns).in_(newest)
            )
            for row in (await connection.execute(statement)).all():
                tracker.quotes[row.instrument] = _quote(row)

    async def prune(
        self, trades_before_ns: int, quotes_before_ns: int, minutes_before_ns: int
    ) -> None:
        """Delete what is older; the last trade of an instrument is part of its state and stays."""
        last = sa.select(sa.func.max(trades.c.trade_id)).group_by(trades.c.instrument)
        newest = sa.select(sa.func.max(quotes.c.slot_ns)).group_by(quotes.c.instrument)
        async with self._database.begin() as connection:
            for statement in (
                sa.delete(trades).where(
                    trades.c.now_ns < trades_before_ns, trades.c.trade_id.not_in(last)
                ),
                sa.delete(quotes).where(
                    quotes.c.slot_ns < quotes_before_ns, quotes.c.slot_ns.not_in(newest)
                ),
                sa.delete(bars).where(bars.c.span == MINUTE, bars.c.start_ns < minutes_before_ns),
            ):
                await connection.execute(statement)


def _tick(row: sa.Row[tuple[object, ...]]) -> TradeTick:
    return TradeTick(row.trade_id, row.price, row.quantity, row.aggressor, row.now_ns)


def _quote(row: sa.Row[tuple[object, ...]]) -> Quote:
    return Quote(row.now_ns, row.bid, row.bid_quantity, row.ask, row.ask_quantity)


def _bar(row: sa.Row[tuple[object, ...]]) -> Bar:
    return Bar(
        row.start_ns, row.open, row.high, row.low, row.close, int(row.volume), row.trades,
        int(row.value),
    )  # fmt: skip


async def _instruments(connection: AsyncConnection) -> list[int]:
    return list((await connection.execute(sa.select(trades.c.instrument).distinct())).scalars())


async def _last_trade(connection: AsyncConnection, instrument: int) -> TradeTick:
    statement = sa.select(trades).where(trades.c.instrument == instrument)
    statement = statement.order_by(trades.c.trade_id.desc()).limit(1)
    return _tick((await connection.execute(statement)).one())


async def _newest_bars(
    connection: AsyncConnection, instrument: int, span: int, count: int
) -> list[Bar]:
    statement = sa.select(bars).where(bars.c.instrument == instrument, bars.c.span == span)
    statement = statement.order_by(bars.c.start_ns.desc()).limit(count)
    return [_bar(row) for row in (await connection.execute(statement)).all()]


async def _make_bars(connection: AsyncConnection, days: Days) -> None:
    """Make minutes from trades where there are none, and days where the zone is another."""
    zone = (await connection.execute(sa.select(market_state.c.timezone))).scalar_one()
    if zone == days.timezone:
        return
    for instrument in await _instruments(connection):
        if not await _newest_bars(connection, instrument, MINUTE, 1):
            statement = sa.select(trades).where(trades.c.instrument == instrument)
            made: dict[int, Bar] = {}
            result = await connection.stream(statement.order_by(trades.c.trade_id))
            async for row in result:
                start_ns = row.now_ns - row.now_ns % MINUTE_NS
                _join(made, bar_of(start_ns, row.price, row.quantity))
            await _insert(connection, instrument, MINUTE, made)
        await _make_days(connection, days, instrument)
    await connection.execute(sa.update(market_state).values(timezone=days.timezone))


async def _make_days(connection: AsyncConnection, days: Days, instrument: int) -> None:
    made: dict[int, Bar] = {}
    statement = sa.select(bars).where(bars.c.instrument == instrument, bars.c.span == MINUTE)
    result = await connection.stream(statement.order_by(bars.c.start_ns))
    async for row in result:
        minute = _bar(row)
        _join(made, minute._replace(start_ns=days.start(minute.start_ns)))
    if made:
        gone = (bars.c.span == DAY, bars.c.start_ns >= min(made))
        await connection.execute(sa.delete(bars).where(bars.c.instrument == instrument, *gone))
        await _insert(connection, instrument, DAY, made)


def _join(made: dict[int, Bar], bar: Bar) -> None:
    former = made.get(bar.start_ns)
    made[bar.start_ns] = bar if former is None else former.join(bar)


async def _insert(
    connection: AsyncConnection, instrument: int, span: int, made: dict[int, Bar]
) -> None:
    rows = [
        dict(zip(BAR_COLUMNS, bar_row(instrument, span, bar), strict=True)) for bar in made.values()
    ]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        await connection.execute(sa.insert(bars), rows[start : start + ROWS_AT_ONCE])
