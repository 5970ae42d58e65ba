"""Orders, fills and transfers in SQL: one writer, any readers.

Rows and the last sequence are written in one transaction that compares and sets that sequence, so
two writers, or a writer that starts again from an older point, never write anything twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.compiler import SQLCompiler

from madang.core.errors import MadangError
from madang.exchange.ledger.activities import ActivityFilter, read_activities
from madang.exchange.ledger.changes import (
    FILL_COLUMNS,
    ORDER_COLUMNS,
    TRANSFER_COLUMNS,
    Changes,
    Row,
)
from madang.exchange.ledger.equity import Curve, CurveQuery, read_curve
from madang.exchange.ledger.market_changes import BAR_COLUMNS, QUOTE_COLUMNS, TRADE_COLUMNS
from madang.exchange.ledger.market_history import MarketHistory
from madang.exchange.ledger.market_tables import bars, quotes, trades
from madang.exchange.ledger.tables import (
    equity,
    fills,
    flows,
    order_of_row,
    orders,
    progress,
    transfers,
)
from madang.exchange.ledger.today import Day, DayBook
from madang.wire.events import Order

ROWS_AT_ONCE: Final = 10_000
MICROSECOND_NS: Final = 1_000
TIES_MAX: Final = 10_000
"""Orders of one microsecond that may come on top of a page."""


class HistoryConflictError(MadangError):
    """The database is further along than this writer thinks: another ledger writes to it."""


class OrderFilter:
    """Which orders are asked for; None does not restrict. Times and ids are exclusive."""

    __slots__ = (
        "account",
        "after_id",
        "after_ns",
        "before_id",
        "descending",
        "instruments",
        "limit",
        "side",
        "until_ns",
    )

    def __init__(self, account: int, query: dict[str, object]) -> None:
        self.account = account
        self.after_ns = _optional_int(query.get("after_ns"))
        self.until_ns = _optional_int(query.get("until_ns"))
        self.after_id = _optional_int(query.get("after_id"))
        self.before_id = _optional_int(query.get("before_id"))
        self.descending = query.get("direction") != "asc"
        self.side = _optional_int(query.get("side")) or 0
        self.limit = _optional_int(query.get("limit")) or 0
        instruments = query.get("instruments")
        self.instruments = set(instruments) if isinstance(instruments, list) else None

    def matches(self, order: Order) -> bool:
        """Tell whether an order that is not read from SQL is among those asked for."""
        return (
            (self.after_ns is None or order.created_ns > self.after_ns)
            and (self.until_ns is None or order.created_ns < self.until_ns)
            and (self.after_id is None or order.order_id > self.after_id)
            and (self.before_id is None or order.order_id < self.before_id)
            and (not self.side or order.side == self.side)
            and (self.instruments is None or order.instrument in self.instruments)
        )


def _optional_int(value: object) -> int | None:
    return value if isinstance(value, int) else None


class _Writing(NamedTuple):
    """One table's statement as its driver takes it, with how to make its rows."""

    text: str
    rows: Callable[[Changes], Iterator[Row]]


class History:
    """The ledger's database."""

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        insert = postgresql.insert if database.dialect.name == "postgresql" else sqlite.insert
        self.market = MarketHistory(database)

        def upsert(table: sa.Table) -> sa.Insert:
            statement = insert(table)
            return statement.on_conflict_do_update(
                index_elements=list(table.primary_key),
                set_={c.name: statement.excluded[c.name] for c in table.c if not c.primary_key},
            )

        self._writings = (
            _Writing(self._text(upsert(orders), ORDER_COLUMNS), Changes.order_rows),
            _Writing(self._text(insert(fills), FILL_COLUMNS), Changes.fill_rows),
            _Writing(self._text(insert(transfers), TRANSFER_COLUMNS), Changes.transfer_rows),
            _Writing(self._text(insert(trades), TRADE_COLUMNS), lambda c: c.market.trade_rows()),
            _Writing(self._text(upsert(bars), BAR_COLUMNS), lambda c: c.market.bar_rows()),
            _Writing(self._text(upsert(quotes), QUOTE_COLUMNS), lambda c: c.market.quote_rows()),
            _Writing(
                self._text(insert(equity).on_conflict_do_nothing(), tuple(equity.c.keys())),
                Changes.equity_rows,
            ),
            _Writing(self._text(insert(flows), tuple(flows.c.keys())), Changes.flow_rows),
        )

    def _text(self, statement: sa.Insert, columns: tuple[str, ...]) -> str:
        """Compile once for this database, so that rows go to its driver as they are."""
        compiled = statement.compile(dialect=self._database.dialect, column_keys=list(columns))
        assert isinstance(compiled, SQLCompiler)
        assert tuple(compiled.positiontup or ()) == columns
        return str(compiled)

    async def sequence(self) -> int:
        """Return the last log sequence whose rows are in."""
        return (await self.position())[0]

    async def position(self) -> tuple[int, int]:
        """Return the last command whose rows are in: its sequence and its time."""
        async with self._database.connect() as connection:
            row = await connection.execute(sa.select(progress.c.sequence, progress.c.now_ns))
            sequence, now_ns = row.one()
            return int(sequence), int(now_ns)

    async def counts(self) -> tuple[int, int, int]:
        """Return how many orders, fills and transfers are in."""
        async with self._database.connect() as connection:
            found = [
                (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar()
                for table in (orders, fills, transfers)
            ]
        return found[0] or 0, found[1] or 0, found[2] or 0

    async def write(self, changes: Changes, previous: int) -> None:
        """Write all between `previous` and `changes.sequence`; HistoryConflictError if it is in.

        Rows are made in a thread and at most ROWS_AT_ONCE of them exist at a time; `changes` must
        not change meanwhile.
        """
        async with self._database.begin() as connection:
            moved = await connection.execute(
                sa.update(progress)
                .where(progress.c.sequence == previous)
                .values(sequence=changes.sequence, now_ns=changes.now_ns)
            )
            if moved.rowcount != 1:
                raise HistoryConflictError(
                    f"the ledger's database is not at sequence {previous}", expected=previous
                )
            for writing in self._writings:
                rows = writing.rows(changes)
                while values := await asyncio.to_thread(list, islice(rows, ROWS_AT_ONCE)):
                    await connection.exec_driver_sql(writing.text, values)

    async def order(self, account: int, order_id: int) -> Order | None:
        """Return an order of an account as SQL has it."""
        return await self._one(
            sa.select(orders).where(orders.c.order_id == order_id, orders.c.account == account)
        )

    async def order_by_client_id(self, account: int, client_order_id: str) -> Order | None:
        """Return the newest order with that client_order_id."""
        return await self._one(
            sa.select(orders)
            .where(orders.c.account == account, orders.c.client_order_id == client_order_id)
            .order_by(orders.c.order_id.desc())
            .limit(1)
        )

    async def orders(self, wanted: OrderFilter, closed: bool) -> list[Order]:
        """Return orders, only closed ones if `closed`, sorted and limited as asked.

        Those of the microsecond in which the last one was made are all there.
        """
        statement = self._orders_statement(wanted, closed)
        time_ns = orders.c.created_ns
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement.limit(wanted.limit))).mappings().all()
            if len(rows) == wanted.limit:
                begin_ns = rows[-1]["created_ns"] // MICROSECOND_NS * MICROSECOND_NS
                ties = statement.where(
                    time_ns >= begin_ns, time_ns < begin_ns + MICROSECOND_NS
                ).limit(TIES_MAX)
                known = {row["order_id"] for row in rows}
                more = (await connection.execute(ties)).mappings().all()
                rows = [*rows, *(row for row in more if row["order_id"] not in known)]
            return [order_of_row(row) for row in rows]

    def _orders_statement(self, wanted: OrderFilter, closed: bool) -> sa.Select[Any]:
        statement = sa.select(orders).where(orders.c.account == wanted.account)
        if closed:
            statement = statement.where(orders.c.closed_ns != 0)
        if wanted.after_ns is not None:
            statement = statement.where(orders.c.created_ns > wanted.after_ns)
        if wanted.until_ns is not None:
            statement = statement.where(orders.c.created_ns < wanted.until_ns)
        if wanted.after_id is not None:
            statement = statement.where(orders.c.order_id > wanted.after_id)
        if wanted.before_id is not None:
            statement = statement.where(orders.c.order_id < wanted.before_id)
        if wanted.side:
            statement = statement.where(orders.c.side == wanted.side)
        if wanted.instruments is not None:
            statement = statement.where(orders.c.instrument.in_(wanted.instruments))
        by = (orders.c.created_ns, orders.c.order_id)
        return statement.order_by(*((c.desc() for c in by) if wanted.descending else by))

    async def activities(
        self, wanted: ActivityFilter, unwritten: Iterable[Changes]
    ) -> list[dict[str, Any]]:
        """Return fills and transfers of an account, those of `unwritten` among them."""
        return await read_activities(self._database, wanted, unwritten)

    async def day(
        self, book: DayBook, account: int, now_ns: int, unwritten: tuple[Changes, ...]
    ) -> Day:
        """Return an account's day, rows of `unwritten` among it, and keep it in the book."""
        return await book.read(self._database, account, now_ns, unwritten)

    async def curve(self, query: CurveQuery, unwritten: Iterable[Changes]) -> Curve:
        """Return what an account was worth, rows of `unwritten` among them."""
        return await read_curve(self._database, query, unwritten)

    async def _one(self, statement: sa.Select[tuple[object, ...]]) -> Order | None:
        async with self._database.connect() as connection:
            row = (await connection.execute(statement)).mappings().first()
            return None if row is None else order_of_row(row)
