"""What an account's day is measured by: its worth at the last close, and what it bought since.

A day begins at 00:00 of the venue. The last close is the newest end of trading before it (00:00
itself where the market is always open); the close of an instrument is its last price before it.
Shares that are held and were bought today count from what was paid for them, all others from the
instrument's close; sold shares are the oldest ones. SQL is read once a day for an account, what
comes later is added as it happens.

Invariant: a day is as of the last batch that was taken, like the engine that it is asked with.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from madang.exchange.engine.port import Engine
from madang.exchange.feed.bars import BarBook
from madang.exchange.feed.days import SECOND_NS, Days
from madang.exchange.ledger.changes import FILL_COLUMNS, Changes, fill_fields
from madang.exchange.ledger.equity import STEP_NS, CurveQuery, read_curve
from madang.exchange.ledger.tables import fills
from madang.exchange.venue.schedule import OpenHours, zone_of
from madang.wire.codes import VALUE_PER_CASH, Side
from madang.wire.events import INSTRUMENT_BODY, RECORD_HEADER_BYTES, split_records
from madang.wire.records import Position

ACCOUNTS_MAX: Final = 50_000
"""Accounts whose day is kept at hand; beyond, that of who asked longest ago is read again."""
FILLS_AT_ONCE: Final = 5_000
_DAYS_BACK: Final = 8
_ACCOUNT, _NOW_NS, _EVENT_ID, _INSTRUMENT, _SIDE, _QUANTITY, _PRICE = map(
    FILL_COLUMNS.index,
    ("account", "now_ns", "event_id", "instrument", "side", "quantity", "price"),
)


class Bought(NamedTuple):
    """What was bought of one instrument today; `value` is the sum of price x quantity."""

    quantity: int
    value: int


class Day:
    """One account's day; while SQL is read, `seen` has the fills that are counted."""

    def __init__(self) -> None:
        self.last_equity = 0
        self.bought: dict[int, Bought] = {}
        self.seen: set[int] | None = set()

    def count(self, fields: tuple[int, ...]) -> None:
        """Count a fill, given in the order of FILL_COLUMNS, once."""
        if self.seen is not None:
            if fields[_EVENT_ID] in self.seen:
                return
            self.seen.add(fields[_EVENT_ID])
        if fields[_SIDE] == Side.BUY:
            known = self.bought.get(fields[_INSTRUMENT], Bought(0, 0))
            quantity = fields[_QUANTITY]
            self.bought[fields[_INSTRUMENT]] = Bought(
                known.quantity + quantity, known.value + quantity * fields[_PRICE]
            )

    def basis(self, position: Position, close: int) -> int:
        """Return what a position's gain of today is counted from, in cash units."""
        bought = self.bought.get(position.instrument, Bought(0, 0))
        fresh = min(position.quantity, bought.quantity)
        value = (position.quantity - fresh) * close
        if fresh:
            value += fresh * bought.value // bought.quantity
        return value // VALUE_PER_CASH


class Sessions:
    """When trading ended; empty `hours` mean that a market is always open."""

    def __init__(self, days: Days, hours: tuple[OpenHours, ...]) -> None:
        self._days = days
        self._zone = zone_of(days.timezone)
        self._hours = hours

    def day_start(self, now_ns: int) -> int:
        """Return when the day that `now_ns` is in began."""
        return self._days.start(now_ns)

    def last_close(self, now_ns: int) -> int:
        """Return the newest end of trading before the day that `now_ns` is in."""
        start_ns = self._days.start(now_ns)
        date = self._days.date(now_ns)
        for back in range(1, _DAYS_BACK):
            day = date - datetime.timedelta(back)
            closes = [hours.close for hours in self._hours if day.weekday() in hours.weekdays]
            if closes:
                moment = datetime.datetime.combine(day, max(closes), self._zone)
                return int(moment.timestamp()) * SECOND_NS
        return start_ns


class DayBook:
    """The days of accounts that were asked for."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._days: OrderedDict[int, Day] = OrderedDict()
        self._start_ns = 0

    def collect(self, fills_of_batch: Iterable[tuple[bytes, int]]) -> None:
        """Take the fills of a batch."""
        if not self._days:
            return
        for record, _ in fills_of_batch:
            fields = fill_fields(record)
            day = self._days.get(fields[_ACCOUNT])
            if day is not None:
                day.count(fields)

    def known(self, account: int, now_ns: int) -> Day | None:
        """Return an account's day if it is at hand."""
        start_ns = self._sessions.day_start(now_ns)
        if start_ns != self._start_ns:
            self._days.clear()
            self._start_ns = start_ns
        day = self._days.get(account)
        if day is not None:
            self._days.move_to_end(account)
        return day

    async def read(
        self, database: AsyncEngine, account: int, now_ns: int, unwritten: tuple[Changes, ...]
    ) -> Day:
        """Read an account's day; fills that come meanwhile are added to it, too."""
        start_ns, day = self._sessions.day_start(now_ns), Day()
        self._days[account] = day
        if len(self._days) > ACCOUNTS_MAX:
            self._days.popitem(last=False)
        for changes in unwritten:
            for record, _ in changes.fills:
                fields = fill_fields(record)
                if fields[_ACCOUNT] == account and fields[_NOW_NS] >= start_ns:
                    day.count(fields)
        close_ns = self._sessions.last_close(now_ns)
        try:
            query = CurveQuery(account, close_ns, close_ns, STEP_NS)
            steps = (await read_curve(database, query, unwritten)).steps
            async for row in fills_since(database, account, start_ns):
                day.count(row)
        except BaseException:
            self._days.pop(account, None)
            raise
        day.last_equity = steps[-1][1] if steps else 0
        day.seen = None
        return day


async def fills_since(
    database: AsyncEngine, account: int, start_ns: int
) -> AsyncIterator[tuple[int, ...]]:
    """Yield an account's fills from a time on, newest first."""
    newest_first = (
        sa.select(*(fills.c[name] for name in FILL_COLUMNS))
        .where(fills.c.account == account)
        .order_by(fills.c.event_id.desc())
        .limit(FILLS_AT_ONCE)
    )
    statement = newest_first
    while True:
        async with database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        for row in rows:
            if row.now_ns < start_ns:
                return
            yield tuple(row)
        if len(rows) < FILLS_AT_ONCE:
            return
        statement = newest_first.where(fills.c.event_id < rows[-1].event_id)


def closes_of(book: BarBook, references: dict[int, int], now_ns: int) -> dict[int, int]:
    """Return each instrument's last price before the day of `now_ns`, else its reference."""
    start_ns = book.days.start(now_ns)
    found = dict(references)
    for instrument, known in book.symbols.items():
        day = known.day
        if day is not None and day.start_ns >= start_ns:
            day = known.previous_day
        if day is not None:
            found[instrument] = day.close
    return found


def references_of(engine: Engine) -> dict[int, int]:
    """Return what each instrument was listed at, 0 where nothing was said."""
    data = engine.instruments()
    fields = (
        INSTRUMENT_BODY.unpack_from(data, at + RECORD_HEADER_BYTES)
        for _, at, _ in split_records(data)
    )
    return {one[0]: one[7] for one in fields}
