"""Market history: what is asked equals the trades, written or not, over the real engine and SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine

from madang.core.ids import new_request_id
from madang.exchange.engine.python import PythonEngine
from madang.exchange.feed.days import HOUR_NS, MINUTE_NS, SECOND_NS, Days
from madang.exchange.ledger.history import History
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.market_changes import MarketTracker
from madang.exchange.ledger.market_queries import MarketQueries
from madang.exchange.ledger.opening import MIGRATIONS
from madang.store import database, migrations
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import CASH_SCALE, PRICE_SCALE, QUANTITY_SCALE, OrderType, Side, TimeInForce

BEGIN_NS = 20_779 * 24 * HOUR_NS
TRADES = 40
EVERYTHING = {"first_ns": 0, "last_ns": 2**62, "descending": False, "after": None, "limit": 2_000}


class Desk:
    """An engine with two symbols, two accounts, and a ledger that follows it."""

    def __init__(self, ledger: Ledger) -> None:
        self.engine = PythonEngine()
        self.ledger = ledger
        ledger.market.depth = lambda number: self.engine.depth(number, 1)
        self.now_ns = BEGIN_NS
        self._orders = 0
        self.apply(
            *(
                commands.encode_set_instrument(new_request_id(), commands.InstrumentTerms(symbol))
                for symbol in (b"KIM", b"LEE")
            ),
            *(commands.encode_create_account(new_request_id(), name) for name in (b"a", b"b")),
            *(
                commands.encode_transfer(account, new_request_id(), instrument, amount)
                for account in (1, 2)
                for instrument, amount in (
                    (0, 10_000_000 * CASH_SCALE),
                    (1, 9_000 * QUANTITY_SCALE),
                    (2, 9_000 * QUANTITY_SCALE),
                )
            ),
        )

    def apply(self, *records: bytes) -> None:
        """Log and apply commands as one batch, a little later than the last one."""
        self.now_ns += SECOND_NS
        batch = encode_batch(
            b"".join(records), len(records), term=1, sequence=self.engine.sequence + 1,
            now_ns=self.now_ns, rules_version=1,
        )  # fmt: skip
        self.ledger.on_events(batch, self.engine.apply(batch))

    def order(self, account: int, instrument: int, side: Side, shares: int, price: int) -> None:
        """Send a limit order."""
        self._orders += 1
        terms = commands.OrderTerms(
            instrument=instrument, side=side, type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY, quantity=shares * QUANTITY_SCALE,
            limit_price=price * PRICE_SCALE,
        )  # fmt: skip
        text = b"order-%d" % self._orders
        self.apply(commands.encode_new_order(account, new_request_id(), terms, text))

    def trade(self, number: int) -> None:
        """Trade some shares of one of the symbols."""
        instrument, price, shares = 1 + number % 2, 50 + number % 7, 1 + number % 5
        self.order(1, instrument, Side.SELL, shares, price)
        self.order(2, instrument, Side.BUY, shares, price)
        self.now_ns += 17 * SECOND_NS


Work = Callable[[Ledger, MarketQueries, AsyncEngine], Awaitable[None]]


def with_queries(tmp_path: Path, work: Work) -> None:
    async def main() -> None:
        sql = database.open_database(database.sqlite_url(tmp_path / "ledger.db"), rebuildable=True)
        await migrations.upgrade(sql, MIGRATIONS)
        history = History(sql)
        ledger = Ledger(history, tmp_path, snapshot_every=10**9)
        await ledger.open()
        try:
            await work(ledger, MarketQueries(ledger, history.market), sql)
        finally:
            await sql.dispose()

    asyncio.run(main())


async def pages(queries: MarketQueries, kind: str, **query: object) -> list[list[Any]]:
    """Read page after page."""
    asked: dict[str, Any] = {**EVERYTHING, "instruments": [1, 2], **query}
    rows: list[list[Any]] = []
    while True:
        answer = await queries.kinds[kind](asked)
        assert len(answer["rows"]) <= asked["limit"]
        rows += answer["rows"]
        if answer["next"] is None:
            return rows
        asked = {**asked, "after": answer["next"]}


def test_pages_of_any_size_are_the_same_rows_written_or_not(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, _sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(TRADES):
            desk.trade(number)
            if number == TRADES // 2:
                await ledger.write(desk.engine)
        for kind, more in (
            ("market_trades", {}),
            ("market_quotes", {}),
            ("market_bars", {"timeframe": "1Min"}),
            ("market_bars", {"timeframe": "3Min"}),
            ("market_bars", {"timeframe": "1Day"}),
        ):
            whole = await pages(queries, kind, **more)
            assert whole, kind
            assert await pages(queries, kind, limit=3, **more) == whole
            backwards = await pages(
                queries, kind, limit=2, descending=True, instruments=[2, 1], **more
            )
            assert backwards[::-1] == whole
        before = await pages(queries, "market_trades")
        await ledger.write(desk.engine)
        assert await pages(queries, "market_trades") == before
        assert len(before) == TRADES

    with_queries(tmp_path, work)


def test_bars_of_every_interval_equal_the_trades(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, _sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(TRADES):
            desk.trade(number)
        await ledger.write(desk.engine)
        trades = await pages(queries, "market_trades")
        for timeframe, span_ns in (
            ("1Min", MINUTE_NS),
            ("5Min", 5 * MINUTE_NS),
            ("1Hour", HOUR_NS),
        ):
            bars = await pages(queries, "market_bars", timeframe=timeframe)
            for instrument, start_ns, first, high, low, last, volume, count, value in bars:
                inside = [
                    t for t in trades
                    if t[0] == instrument and start_ns <= t[5] < start_ns + span_ns
                ]  # fmt: skip
                prices = [t[2] for t in inside]
                assert (first, high, low, last) == (
                    prices[0], max(prices), min(prices), prices[-1],
                )  # fmt: skip
                assert (int(volume), count) == (sum(t[3] for t in inside), len(inside))
                assert int(value) == sum(t[2] * t[3] for t in inside)
            assert sum(bar[7] for bar in bars) == TRADES

    with_queries(tmp_path, work)


def test_an_interval_belongs_to_a_range_by_its_beginning(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, _sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(TRADES):
            desk.trade(number)
        every = await pages(queries, "market_bars", timeframe="2Min", instruments=[1])
        first_ns, last_ns = every[1][1], every[-2][1]
        inside = await pages(
            queries, "market_bars", timeframe="2Min", instruments=[1], first_ns=first_ns,
            last_ns=last_ns,
        )  # fmt: skip
        assert inside == every[1:-1]
        after = await pages(
            queries, "market_bars", timeframe="2Min", instruments=[1], first_ns=first_ns + 1
        )
        assert after == every[2:]

    with_queries(tmp_path, work)


def test_a_ledger_that_starts_again_continues_its_bars(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(5):
            desk.trade(number)
        await ledger.write(desk.engine)
        again = Ledger(History(sql), tmp_path, snapshot_every=10**9)
        await again.open()
        assert again.market.quotes == ledger.market.quotes
        desk.ledger = again
        again.market.depth = ledger.market.depth
        for number in range(5, TRADES):
            desk.trade(number)
        await again.write(desk.engine)
        latest = await MarketQueries(again, History(sql).market).kinds["market_latest"](
            {"instruments": None}
        )
        assert sum(found[3][6] for found in latest["latest"].values()) == TRADES
        bars = await pages(queries, "market_bars", timeframe="1Day")
        assert [bar[1:] for bar in bars] == [latest["latest"][n][3] for n in (1, 2)]

    with_queries(tmp_path, work)


def test_another_time_zone_makes_the_days_anew(tmp_path: Path) -> None:
    async def work(ledger: Ledger, _queries: MarketQueries, sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        desk.now_ns = BEGIN_NS + 4 * HOUR_NS + 55 * MINUTE_NS
        for number in range(TRADES):
            desk.trade(number)
        await ledger.write(desk.engine)
        moved = Ledger(History(sql), tmp_path, snapshot_every=10**9)
        moved.market = MarketTracker(Days("America/New_York"))
        await moved.open()
        queries = MarketQueries(moved, History(sql).market)
        bars = await pages(queries, "market_bars", timeframe="1Day", instruments=[1])
        midnight_ns = BEGIN_NS + 5 * HOUR_NS
        assert [bar[1] for bar in bars] == [midnight_ns - 24 * HOUR_NS, midnight_ns]
        assert sum(bar[7] for bar in bars) == TRADES // 2

    with_queries(tmp_path, work)


def test_bars_are_made_from_trades_where_there_are_none(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(TRADES):
            desk.trade(number)
        await ledger.write(desk.engine)
        spans = ("1Min", "1Day")
        before = [await pages(queries, "market_bars", timeframe=span) for span in spans]
        async with sql.begin() as connection:
            await connection.execute(sa.text("DELETE FROM bars"))
            await connection.execute(sa.text("UPDATE market_state SET timezone = ''"))
        again = Ledger(History(sql), tmp_path, snapshot_every=10**9)
        await again.open()
        fresh = MarketQueries(again, History(sql).market)
        assert [await pages(fresh, "market_bars", timeframe=span) for span in spans] == before

    with_queries(tmp_path, work)


def test_what_is_old_goes_but_never_the_newest(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(TRADES):
            desk.trade(number)
        await ledger.write(desk.engine)
        days = await pages(queries, "market_bars", timeframe="1Day")
        await History(sql).market.prune(*[2**62] * 3)
        assert len(await pages(queries, "market_trades")) == 2, "the last of each symbol"
        assert len(await pages(queries, "market_quotes")) == 2
        assert await pages(queries, "market_bars", timeframe="1Min") == []
        assert await pages(queries, "market_bars", timeframe="1Day") == days

    with_queries(tmp_path, work)


def test_an_older_history_brings_its_trades_and_bars(tmp_path: Path) -> None:
    async def work(ledger: Ledger, queries: MarketQueries, sql: AsyncEngine) -> None:
        desk = Desk(ledger)
        for number in range(TRADES):
            desk.trade(number)
        await ledger.write(desk.engine)
        kinds: tuple[tuple[str, dict[str, str]], ...] = (
            ("market_trades", {}),
            ("market_bars", {"timeframe": "1Min"}),
        )
        before = [await pages(queries, kind, **more) for kind, more in kinds]
        async with sql.begin() as connection:
            await connection.run_sync(_downgrade)
        await migrations.upgrade(sql, MIGRATIONS)
        again = Ledger(History(sql), tmp_path, snapshot_every=10**9)
        await again.open()
        fresh = MarketQueries(again, History(sql).market)
        assert [await pages(fresh, kind, **more) for kind, more in kinds] == before

    with_queries(tmp_path, work)


def _downgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.downgrade(config, "0001")
