"""An account's activities: its fills and transfers, from SQL and from what waits to be written.

Both are rows with one `event_id` from the venue's one sequence of events, so a page continues
exactly after any activity, and a row that is found twice is known as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from madang.exchange.ledger.changes import FILL_COLUMNS, TRANSFER_COLUMNS, Changes
from madang.exchange.ledger.tables import fills, orders, transfers
from madang.wire.codes import CASH
from madang.wire.events import HEADER, HEADER_BYTES, ORDER_EXTRA, parse_order

LIMIT_MAX: Final = 100
_ORDER_AT: Final = HEADER_BYTES + ORDER_EXTRA.size


class ActivityKind(StrEnum):
    """What happened: a fill; cash or shares that came in or went out."""

    FILL = "FILL"
    CASH_IN = "CSD"
    CASH_OUT = "CSW"
    SHARES = "JNLS"


class ActivityFilter(msgspec.Struct, frozen=True):
    """Which activities of an account; times are exclusive, `beyond` is the event to go on after."""

    account: int
    kinds: frozenset[ActivityKind]
    limit: int
    descending: bool = True
    after_ns: int | None = None
    until_ns: int | None = None
    beyond: int | None = None

    def matches(self, row: dict[str, Any]) -> bool:
        """Tell whether a row that is not read from SQL is among those asked for."""
        event_id, now_ns = row["event_id"], row["now_ns"]
        if self.beyond is not None and (
            event_id >= self.beyond if self.descending else event_id <= self.beyond
        ):
            return False
        return (
            row["account"] == self.account
            and row["kind"] in self.kinds
            and (self.after_ns is None or now_ns > self.after_ns)
            and (self.until_ns is None or now_ns < self.until_ns)
        )


async def read_activities(
    database: AsyncEngine, wanted: ActivityFilter, unwritten: Iterable[Changes]
) -> list[dict[str, Any]]:
    """Return activities by event, at most `wanted.limit`; a fill has `order_quantity`.

    What waits is looked through first: it is in SQL by the time it is no longer there.
    """
    waiting = await asyncio.to_thread(
        list, _waiting(wanted, [(list(c.fills), list(c.transfers)) for c in unwritten])
    )
    found = {row["event_id"]: row for row in waiting}
    async with database.connect() as connection:
        for statement in _statements(wanted):
            for row in (await connection.execute(statement)).mappings():
                found[row["event_id"]] = {**row, "kind": _kind(row)}
    ordered = sorted(found.values(), key=lambda row: row["event_id"], reverse=wanted.descending)
    return ordered[: wanted.limit]


def _statements(wanted: ActivityFilter) -> Iterator[sa.Select[Any]]:
    """Yield what to ask SQL for; each gives the first rows of its table."""
    if ActivityKind.FILL in wanted.kinds:
        joined = fills.outerjoin(orders, orders.c.order_id == fills.c.order_id)
        columns = sa.select(fills, orders.c.quantity.label("order_quantity")).select_from(joined)
        yield _narrowed(columns, fills, wanted)
    transfer_kinds = wanted.kinds - {ActivityKind.FILL}
    if transfer_kinds:
        cash, amount = transfers.c.instrument == CASH, transfers.c.amount
        conditions = {
            ActivityKind.CASH_IN: sa.and_(cash, amount > 0),
            ActivityKind.CASH_OUT: sa.and_(cash, amount < 0),
            ActivityKind.SHARES: sa.not_(cash),
        }
        chosen = sa.or_(*(conditions[kind] for kind in sorted(transfer_kinds)))
        yield _narrowed(sa.select(transfers).where(chosen), transfers, wanted)


def _narrowed(statement: sa.Select[Any], table: sa.Table, wanted: ActivityFilter) -> sa.Select[Any]:
    event_id, now_ns = table.c.event_id, table.c.now_ns
    statement = statement.where(table.c.account == wanted.account)
    if wanted.after_ns is not None:
        statement = statement.where(now_ns > wanted.after_ns)
    if wanted.until_ns is not None:
        statement = statement.where(now_ns < wanted.until_ns)
    if wanted.beyond is not None:
        beyond = wanted.beyond
        statement = statement.where(event_id < beyond if wanted.descending else event_id > beyond)
    by = event_id.desc() if wanted.descending else event_id.asc()
    return statement.order_by(by).limit(wanted.limit)


def _waiting(
    wanted: ActivityFilter, unwritten: list[tuple[list[tuple[bytes, int]], list[bytes]]]
) -> Iterator[dict[str, Any]]:
    """Yield the rows that wait and match."""
    for filled, transferred in unwritten:
        changes = Changes(0)
        changes.fills = [each for each in filled if _account(each[0]) == wanted.account]
        changes.transfers = [each for each in transferred if _account(each) == wanted.account]
        for (record, _), values in zip(changes.fills, changes.fill_rows(), strict=True):
            row: dict[str, Any] = dict(zip(FILL_COLUMNS, values, strict=True))
            row["order_quantity"] = parse_order(record, _ORDER_AT).quantity
            row["kind"] = ActivityKind.FILL
            if wanted.matches(row):
                yield row
        for values in changes.transfer_rows():
            row = dict(zip(TRANSFER_COLUMNS, values, strict=True))
            row["kind"] = _kind(row)
            if wanted.matches(row):
                yield row


def _account(record: bytes) -> int:
    account: int = HEADER.unpack_from(record)[3]
    return account


def _kind(row: Any) -> ActivityKind:  # noqa: ANN401 - a row of SQL or a mapping of ours
    if "order_id" in row:
        return ActivityKind.FILL
    if row["instrument"] != CASH:
        return ActivityKind.SHARES
    return ActivityKind.CASH_IN if row["amount"] > 0 else ActivityKind.CASH_OUT
