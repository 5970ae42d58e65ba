"""What a day is measured by: the last close of accounts and instruments, and what was bought."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from madang.exchange.engine.python import PythonEngine
from madang.exchange.feed.days import SECOND_NS, Days
from madang.exchange.ledger.history import History
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.market_changes import MarketTracker
from madang.exchange.ledger.opening import MIGRATIONS
from madang.exchange.ledger.today import DayBook, Sessions, closes_of, references_of
from madang.exchange.venue.schedule import OpenHours, Schedule
from madang.store import database, migrations
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import CASH_SCALE, PRICE_SCALE, QUANTITY_SCALE, OrderType, Side, TimeInForce
from madang.wire.events import RECORD_HEADER_BYTES, split_records
from madang.wire.records import parse_position

ZONE = "America/New_York"
HOURS = (OpenHours(frozenset(range(5)), datetime.time(9, 30), datetime.time(16)),)
KIM = commands.InstrumentTerms(b"KIM", reference_price=10 * PRICE_SCALE, collar_bps=10_000)
SELLER, BUYER, IDLE = 1, 2, 3


def at(day: int, hour: int, minute: int = 0) -> int:
    """Return a moment of June 2026; the 1st is a Monday."""
    moment = datetime.datetime(2026, 6, day, hour, minute, tzinfo=ZoneInfo(ZONE))
    return int(moment.timestamp()) * SECOND_NS


class Seen(NamedTuple):
    """What the ledger says of an account's day; amounts in whole dollars or shares."""

    last_equity: int
    close: int
    shares: int
    basis: int


class Story:
    """A ledger that lives through commands, closings and openings."""

    def __init__(self, folder: Path, hours: tuple[OpenHours, ...]) -> None:
        self.folder, self.hours = folder, hours
        self.schedule = Schedule(ZONE, hours)
        self.engine = PythonEngine()
        self.log: list[bytes] = []
        self.orders = 0
        self.now_ns = at(1, 8)

    async def open(self) -> Story:
        sql = database.open_database(
            database.sqlite_url(self.folder / "ledger.db"), rebuildable=True
        )
        await migrations.upgrade(sql, MIGRATIONS)
        self.sql = sql
        self.ledger = Ledger(History(sql), self.folder, snapshot_every=1_000_000)
        days = Days(ZONE)
        self.ledger.market = MarketTracker(days)
        self.ledger.days = DayBook(Sessions(days, self.hours))
        self.ledger.replica = lambda: self.engine
        await self.ledger.open()
        return self

    async def again(self) -> None:
        """Stop and start: what was written is in SQL, the rest is followed anew."""
        await self.sql.dispose()
        self.engine, log, self.log = PythonEngine(), self.log, []
        await self.open()
        for batch in log:
            self.take(batch)

    def take(self, batch: bytes) -> None:
        self.log.append(batch)
        self.ledger.on_events(batch, self.engine.apply(batch))

    def write(self, *records: bytes) -> None:
        sequence, now_ns = self.engine.sequence + 1, max(self.now_ns, self.engine.now_ns + 1)
        joined = b"".join(records)
        self.take(
            encode_batch(
                joined, len(records), term=1, sequence=sequence, now_ns=now_ns, rules_version=1
            )
        )

    def until(self, now_ns: int) -> None:
        """Let the sessions change as the schedule says."""
        while (boundary_ns := self.schedule.next_ns(self.now_ns)) <= now_ns:
            due = self.schedule.due(self.now_ns, boundary_ns)
            self.now_ns = boundary_ns
            self.write(*due)
        self.now_ns = now_ns

    def order(self, account: int, side: Side, shares: int, price: int) -> None:
        self.orders += 1
        terms = commands.OrderTerms(
            instrument=1, side=side, type=OrderType.LIMIT, time_in_force=TimeInForce.GTC,
            quantity=shares * QUANTITY_SCALE, limit_price=price * PRICE_SCALE,
        )  # fmt: skip
        name = b"order %d" % self.orders
        self.write(commands.encode_new_order(account, bytes(16), terms, name))

    def trade(self, shares: int, price: int, buyer: int = BUYER, seller: int = SELLER) -> None:
        self.order(seller, Side.SELL, shares, price)
        self.order(buyer, Side.BUY, shares, price)

    async def sees(self, account: int = BUYER) -> Seen:
        day = await self.ledger.day(self.engine, account)
        closes = closes_of(self.ledger.market.book, references_of(self.engine), self.engine.now_ns)
        data = self.engine.positions(account)
        held = [parse_position(data, at + RECORD_HEADER_BYTES) for _, at, _ in split_records(data)]
        shares = sum(position.quantity for position in held) // QUANTITY_SCALE
        basis = sum(day.basis(position, closes[1]) for position in held) // CASH_SCALE
        return Seen(day.last_equity // CASH_SCALE, closes[1] // PRICE_SCALE, shares, basis)


async def begin(folder: Path, hours: tuple[OpenHours, ...]) -> Story:
    story = await Story(folder, hours).open()
    story.write(
        commands.encode_set_instrument(bytes(16), KIM),
        *(commands.encode_create_account(bytes(16), name) for name in (b"a", b"b", b"c")),
        commands.encode_transfer(SELLER, bytes(16), 1, 1_000 * QUANTITY_SCALE),
        commands.encode_transfer(BUYER, bytes(16), 0, 10_000 * CASH_SCALE),
        *story.schedule.state_at(story.now_ns),
    )
    return story


def test_a_session_is_measured_by_the_close_before_it(tmp_path: Path) -> None:
    async def main() -> None:
        story = await begin(tmp_path, HOURS)
        story.until(at(1, 10))
        assert await story.sees() == Seen(0, 10, 0, 0)  # no close yet: what it was listed at
        story.trade(10, 20)
        assert await story.sees() == Seen(0, 10, 10, 200)  # bought today: what was paid
        story.until(at(1, 17))
        assert (await story.sees()).close == 10  # the day goes on until 00:00
        story.write(commands.encode_transfer(BUYER, bytes(16), 0, 500 * CASH_SCALE))
        story.until(at(2, 10))
        assert await story.sees() == Seen(10_000, 20, 10, 200)  # a deposit after it is not in it
        story.trade(5, 30)
        assert await story.sees() == Seen(10_000, 20, 15, 10 * 20 + 5 * 30)
        story.trade(12, 25, buyer=SELLER, seller=BUYER)  # the oldest shares go first
        assert await story.sees() == Seen(10_000, 20, 3, 3 * 30)
        story.until(at(3, 9))  # before the next opening
        worth = 10_000 + 500 - 200 - 150 + 300 + 3 * 25
        assert await story.sees() == Seen(worth, 25, 3, 75)
        await story.sql.dispose()

    asyncio.run(main())


def test_a_weekend_is_measured_by_friday(tmp_path: Path) -> None:
    async def main() -> None:
        story = await begin(tmp_path, HOURS)
        story.until(at(5, 11))
        story.trade(10, 20)
        story.until(at(7, 12))
        assert await story.sees() == Seen(10_000, 20, 10, 200)
        story.until(at(8, 12))
        story.trade(1, 40)
        assert await story.sees() == Seen(10_000, 20, 11, 240)
        await story.sql.dispose()

    asyncio.run(main())


@pytest.mark.parametrize("write_before", [False, True])
def test_a_market_that_is_always_open_closes_at_midnight(
    tmp_path: Path, write_before: bool
) -> None:
    async def main() -> None:
        story = await begin(tmp_path, ())
        story.trade(10, 20)
        story.until(at(1, 23, 59))
        story.trade(10, 30)
        story.until(at(2, 0, 30))
        story.trade(2, 35)
        if write_before:
            await story.ledger.write(story.engine)
        wanted = Seen(10_000 - 200 - 300 + 20 * 30, 30, 22, 20 * 30 + 70)
        assert await story.sees() == wanted
        assert await story.sees(IDLE) == Seen(0, 30, 0, 0)
        await story.again()
        assert await story.sees() == wanted
        await story.sql.dispose()

    asyncio.run(main())


def test_sql_is_read_once_a_day_and_fills_are_added_as_they_come(tmp_path: Path) -> None:
    async def main() -> None:
        story = await begin(tmp_path, ())
        story.trade(10, 20)
        first = await story.ledger.day(story.engine, BUYER)
        await story.ledger.write(story.engine)
        await story.sql.dispose()
        story.trade(4, 30)
        assert await story.ledger.day(story.engine, BUYER) is first
        assert (await story.sees()).basis == 200 + 120
        story.until(at(2, 1))
        assert story.ledger.days.known(BUYER, story.engine.now_ns) is None

    asyncio.run(main())


def test_a_fill_that_is_written_or_comes_while_sql_is_read_counts_once(tmp_path: Path) -> None:
    async def main() -> None:
        story = await begin(tmp_path, ())
        story.trade(10, 20)
        waiting = (story.ledger._changes,)
        await story.ledger.write(story.engine)  # what waited is in SQL, too, once it is read
        book = story.ledger.days
        reading = asyncio.create_task(book.read(story.sql, BUYER, story.now_ns, waiting))
        await asyncio.sleep(0)
        story.trade(5, 30)
        bought = (await reading).bought[1]
        assert bought == (15 * QUANTITY_SCALE, 350 * QUANTITY_SCALE * PRICE_SCALE)
        assert await story.sees() == Seen(0, 10, 15, 350)
        await story.sql.dispose()

    asyncio.run(main())
