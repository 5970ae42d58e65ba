"""What accounts were worth: once a minute, where it changed, the same however often replayed."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from madang.core.ids import new_request_id
from madang.exchange.engine.python import PythonEngine
from madang.exchange.ledger.equity import STEP_NS, Curve, CurveQuery
from madang.exchange.ledger.history import History
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.opening import MIGRATIONS
from madang.store import database, migrations
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import CASH_SCALE, PRICE_SCALE, QUANTITY_SCALE, OrderType, Side, TimeInForce

START_NS = 1_000 * STEP_NS
INSTRUMENT = commands.InstrumentTerms(b"KIM", reference_price=10 * PRICE_SCALE)


def order(account: int, side: Side, price: int) -> bytes:
    terms = commands.OrderTerms(
        instrument=1, side=side, type=OrderType.LIMIT, time_in_force=TimeInForce.DAY,
        quantity=QUANTITY_SCALE, limit_price=price * PRICE_SCALE,
    )  # fmt: skip
    return commands.encode_new_order(
        account, new_request_id(), terms, new_request_id().hex().encode()
    )


def transfer(account: int, instrument: int, amount: int) -> bytes:
    return commands.encode_transfer(account, new_request_id(), instrument, amount)


def log() -> list[bytes]:
    """Return batches: deposits in minute 0, a trade at 20 in minute 2, a deposit in minute 3."""
    stories = (
        (0, [commands.encode_set_instrument(new_request_id(), INSTRUMENT)]),
        (0, [commands.encode_create_account(new_request_id(), name) for name in (b"a", b"b")]),
        (0, [transfer(1, 1, 5 * QUANTITY_SCALE), transfer(2, 0, 100 * CASH_SCALE)]),
        (1, [order(1, Side.SELL, 20)]),
        (2, [order(2, Side.BUY, 20)]),
        (2, [order(1, Side.SELL, 30)]),
        (3, [transfer(2, 1, QUANTITY_SCALE)]),
        (4, [order(2, Side.SELL, 40)]),
    )
    batches, sequence = [], 1
    for number, (minute, records) in enumerate(stories):
        now_ns = START_NS + minute * STEP_NS + (number + 1) * 1_000
        batches.append(
            encode_batch(
                b"".join(records), len(records), term=1, sequence=sequence, now_ns=now_ns,
                rules_version=1,
            )
        )  # fmt: skip
        sequence += len(records)
    return batches


async def follow(folder: Path, batches: list[bytes], write_after: set[int]) -> list[Curve]:
    """Return the curves of both accounts after a new ledger has followed all batches."""
    sql = database.open_database(database.sqlite_url(folder / "ledger.db"), rebuildable=True)
    await migrations.upgrade(sql, MIGRATIONS)
    ledger, engine = Ledger(History(sql), folder, snapshot_every=1_000_000), PythonEngine()
    ledger.replica = lambda: engine
    await ledger.open()
    for number, batch in enumerate(batches):
        ledger.on_events(batch, engine.apply(batch))
        if number in write_after:
            await ledger.write(engine)
    until_ns = START_NS + 100 * STEP_NS
    found = [
        await ledger.curve(CurveQuery(account, START_NS + STEP_NS, until_ns, STEP_NS))
        for account in (1, 2)
    ]
    await sql.dispose()
    return found


def minutes(curve: Curve) -> list[tuple[int, int]]:
    return [((step - START_NS) // STEP_NS, worth // CASH_SCALE) for step, worth in curve.steps]


@pytest.mark.parametrize("write_after", [set(), {3}, {4, 5}, set(range(8))])
def test_worth_is_recorded_where_it_changed(tmp_path: Path, write_after: set[int]) -> None:
    seller, buyer = asyncio.run(follow(tmp_path, log(), write_after))
    assert minutes(seller) == [(1, 50), (2, 100)], "5 at 10, then 4 at 20 and 20 in cash"
    assert minutes(buyer) == [(1, 100), (3, 120)], "what is bought at 20 is worth 20"
    assert [(worth // CASH_SCALE, cash) for _, worth, cash in buyer.flows] == [(20, False)]
    assert seller.flows == [], "what came in before the span is not in it"


def rows(folder: Path) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(folder / "ledger.db")) as reading:
        return [sorted(reading.execute(f"SELECT * FROM {table}")) for table in ("equity", "flows")]


def test_a_ledger_that_starts_again_records_the_same_as_one_that_never_stopped(
    tmp_path: Path,
) -> None:
    batches = log()
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
    asyncio.run(follow(once, batches, {7}))
    for stop in (3, 5, 6):
        asyncio.run(follow(twice, batches[:stop], {stop - 1}))
    asyncio.run(follow(twice, batches, {7}))
    expected = rows(once)
    assert all(expected)
    found = rows(twice)
    assert found[1] == expected[1]
    assert set(expected[0]) <= set(found[0])
    for account, step_ns, worth in set(found[0]) - set(expected[0]):
        before = max(row for row in expected[0] if row[0] == account and row[1] < step_ns)  # type: ignore[operator]
        assert before[2] == worth, "said again, for it does not remember that it was said"


def test_of_each_width_the_last_row_counts(tmp_path: Path) -> None:
    async def main() -> Curve:
        await follow(tmp_path, log(), {7})
        sql = database.open_database(database.sqlite_url(tmp_path / "ledger.db"), rebuildable=True)
        query = CurveQuery(1, START_NS, START_NS + 10 * STEP_NS, 10 * STEP_NS)
        found = await History(sql).curve(query, ())
        await sql.dispose()
        return found

    assert START_NS % (10 * STEP_NS) == 0
    assert minutes(asyncio.run(main())) == [(2, 100)], "not that of minute 1"
