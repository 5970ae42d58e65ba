"""What accounts are worth over time: recorded once a minute of engine time, where it changed.

A row says what an account was worth right after the first batch of that minute, so whoever replays
the log records the same. A transfer is recorded with its worth at that moment, since what came in
is no profit. Worth is cash and positions at the last price (the reference price before the first
trade), in cash units.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from madang.exchange.engine.port import Engine
from madang.exchange.ledger.changes import Changes
from madang.exchange.ledger.tables import equity, flows
from madang.wire.codes import CASH, VALUE_PER_CASH
from madang.wire.events import (
    HEADER,
    HEADER_BYTES,
    INSTRUMENT_BODY,
    RECORD_HEADER_BYTES,
    TRANSFER_BODY,
    split_records,
)
from madang.wire.records import Account, parse_account, parse_position

STEP_NS: Final = 60_000_000_000
PAGE_ACCOUNTS: Final = 1_000
ROWS_MAX: Final = 100_000


class EquityRecorder:
    """Adds rows to changes; remembers what it recorded last, so that only changes are."""

    def __init__(self) -> None:
        self._step_ns = 0
        self._last: dict[int, int] = {}

    def record(self, now_ns: int, engine: Engine, changes: Changes | None, transfers: int) -> None:
        """Record a batch at `now_ns` that `engine` has applied; None where SQL has it already.

        Transfers from the position `transfers` on are new.
        """
        step_ns = now_ns - now_ns % STEP_NS
        new_step, self._step_ns = step_ns > self._step_ns, step_ns
        if changes is None or not (new_step or len(changes.transfers) > transfers):
            return
        prices = prices_of(engine)
        changes.flows += [_flow(record, prices) for record in changes.transfers[transfers:]]
        if new_step:
            changes.equity += self._steps(step_ns, engine, prices)

    def _steps(
        self, step_ns: int, engine: Engine, prices: dict[int, int]
    ) -> Iterable[tuple[int, int, int]]:
        for account in _accounts(engine):
            worth = equity_of(engine, account, prices)
            if self._last.get(account.number) != worth:
                self._last[account.number] = worth
                yield account.number, step_ns, worth


def prices_of(engine: Engine) -> dict[int, int]:
    """Return the price of each instrument, 0 where there is none."""
    prices: dict[int, int] = {}
    data = engine.instruments()
    for _, at, _ in split_records(data):
        fields = INSTRUMENT_BODY.unpack_from(data, at + RECORD_HEADER_BYTES)
        prices[fields[0]] = fields[8] or fields[7]
    return prices


def equity_of(engine: Engine, account: Account, prices: dict[int, int]) -> int:
    """Return what an account is worth; a position without a price counts at its cost."""
    worth = account.cash
    data = engine.positions(account.number)
    for _, at, _ in split_records(data):
        position = parse_position(data, at + RECORD_HEADER_BYTES)
        price = prices[position.instrument]
        worth += position.quantity * price // VALUE_PER_CASH if price else position.cost_basis
    return worth


def _accounts(engine: Engine) -> Iterable[Account]:
    """Yield every account but that of the fees."""
    after = 0
    while data := engine.accounts(after, PAGE_ACCOUNTS):
        for _, at, _ in split_records(data):
            account = parse_account(data, at + RECORD_HEADER_BYTES)
            after = account.number
            yield account


def _flow(record: bytes, prices: dict[int, int]) -> tuple[int, int, int, int, int]:
    _, _, _, account, _, now_ns, event_id = HEADER.unpack_from(record)
    instrument, _, amount, _ = TRANSFER_BODY.unpack_from(record, HEADER_BYTES)
    worth = amount if instrument == CASH else amount * prices[instrument] // VALUE_PER_CASH
    return event_id, account, now_ns, instrument, worth


class Curve(NamedTuple):
    """Rows (step, equity) from the last before the span on; flows (time, worth, is cash)."""

    steps: list[tuple[int, int]]
    flows: list[tuple[int, int, bool]]


class CurveQuery(NamedTuple):
    """A span of time of an account; of each `width_ns` up to a multiple, the last row counts."""

    account: int
    from_ns: int
    until_ns: int
    width_ns: int


async def read_curve(
    database: AsyncEngine, query: CurveQuery, unwritten: Iterable[Changes]
) -> Curve:
    """Return the rows of a span, those that wait to be written among them."""
    steps: dict[int, int] = {}
    found_flows: dict[int, tuple[int, int, bool]] = {}
    waiting = [(list(changes.equity), list(changes.flows)) for changes in unwritten]
    async with database.connect() as connection:
        for statement in _statements(query):
            steps.update((row[0], row[1]) for row in await connection.execute(statement))
        moved = sa.select(flows).where(
            flows.c.account == query.account,
            flows.c.now_ns > query.from_ns,
            flows.c.now_ns <= query.until_ns,
        )
        for row in await connection.execute(moved.limit(ROWS_MAX)):
            found_flows[row.event_id] = (row.now_ns, row.worth, row.instrument == CASH)
    for waiting_steps, waiting_flows in waiting:
        steps.update(
            (step_ns, worth)
            for account, step_ns, worth in waiting_steps
            if account == query.account and step_ns <= query.until_ns
        )
        for event_id, account, now_ns, instrument, worth in waiting_flows:
            if account == query.account and query.from_ns < now_ns <= query.until_ns:
                found_flows[event_id] = (now_ns, worth, instrument == CASH)
    return Curve(sorted(steps.items()), sorted(found_flows.values()))


def _statements(query: CurveQuery) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Return what finds the last row up to the span, and the last row of each width in it."""
    step_ns = equity.c.step_ns
    columns = sa.select(step_ns, equity.c.equity).where(equity.c.account == query.account)
    before = columns.where(step_ns <= query.from_ns).order_by(step_ns.desc()).limit(1)
    newest = (
        sa.select(sa.func.max(step_ns))
        .where(
            equity.c.account == query.account,
            step_ns > query.from_ns,
            step_ns <= query.until_ns,
        )
        .group_by((step_ns + (query.width_ns - 1)) // query.width_ns)
    )
    return before, columns.where(step_ns.in_(newest)).limit(ROWS_MAX)
