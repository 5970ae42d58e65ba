"""A ledger whose database takes no writes for a while, beside a venue that goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from madang.bus import BusSettings, open_unix_bus
from madang.cluster.process import Identity, Process, Surroundings
from madang.core.ids import new_request_id
from madang.exchange.engine.python import PythonEngine
from madang.exchange.gateway import OrderGateway
from madang.exchange.ledger.history import History
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.opening import MIGRATIONS
from madang.exchange.venue import process as venue_role
from madang.exchange.venue.follower import Follower
from madang.store import database, migrations
from madang.wire.codes import Side
from madang.wire.commands import encode_create_account, encode_transfer
from tests.support.venue_log import order

LIMIT_S = 20.0
LIMIT_MS = 10_000
CHANGES_MAX = 20
ORDERS = 100
VENUE: dict[str, object] = {"engine": "python", "instruments": [{"symbol": "AAPL"}]}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)


async def _prepare(gateway: OrderGateway) -> None:
    for account in (1, 2):
        await gateway.submit(encode_create_account(new_request_id(), b"account %d" % account))
        for instrument in (0, 1):
            await gateway.submit(encode_transfer(account, new_request_id(), instrument, 10**12))


async def _trade(gateway: OrderGateway, first: int, last: int) -> int:
    result = None
    for number in range(first, last):
        side = Side.BUY if number % 2 else Side.SELL
        result = await gateway.submit(order(number, 1 + number % 2, side))
    assert result is not None
    return result.sequence


async def _follow_a_locked_database(folder: Path, gateway: OrderGateway) -> None:
    file = folder / "ledger.db"
    sql = database.open_database(database.sqlite_url(file), rebuildable=True)
    await migrations.upgrade(sql, MIGRATIONS)
    ledger = Ledger(History(sql), folder, snapshot_every=10**9, changes_max=CHANGES_MAX)
    bus = await open_unix_bus(BusSettings("ledger", folder / "run" / "bus"))
    follower = Follower("ledger", PythonEngine, folder / "state", bus, ledger.on_events)
    ledger.flow = follower
    await follower.start(newest_snapshot=await ledger.open())
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await _prepare(gateway)
            await _trade(gateway, 0, CHANGES_MAX)
            await until(ledger.full)
            waiting, at = ledger.waiting, follower.engine.sequence
            last = await _trade(gateway, CHANGES_MAX, ORDERS)
            assert await follower.committed(LIMIT_MS) == last > at, "it knows that there is more"
            await asyncio.sleep(0)
            assert (ledger.waiting, follower.engine.sequence) == (waiting, at)
            writing = asyncio.create_task(ledger.write(follower.engine))
            other.execute("ROLLBACK")
        await writing
        while ledger.written < last:
            await asyncio.wait_for(ledger.write_due(), LIMIT_S)
            await ledger.write(follower.engine)
        with closing(sqlite3.connect(file)) as reading:
            (count,) = reading.execute("SELECT count(*) FROM orders").fetchone()
        assert count == ORDERS
    finally:
        await follower.close()
        await bus.close()
        await sql.dispose()


async def _beside_a_venue(folder: Path) -> None:
    (folder / "run").mkdir()
    surroundings = Surroundings(VENUE, folder / "state", folder / "run")
    process = Process(Identity("venue", "venue", 0, 1, 1), surroundings, lambda: None)
    running = asyncio.create_task(venue_role.main(process))
    bus = await open_unix_bus(BusSettings("worker-0", folder / "run" / "bus"))
    gateway = OrderGateway(bus)
    try:
        assert await bus.wait_for_server("venue.commands", LIMIT_MS)
        await _follow_a_locked_database(folder, gateway)
    finally:
        await gateway.close()
        await bus.close()
        process.request_stop()
        await asyncio.wait_for(running, LIMIT_S)


def test_what_waits_for_a_locked_database_is_bounded_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    asyncio.run(_beside_a_venue(tmp_path))
