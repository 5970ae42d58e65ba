"""The history made anew from the log: with nothing running, and by a ledger that starts without."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from madang.bus import Bus, BusSettings, open_unix_bus
from madang.bus.lease import FileLease
from madang.cluster.process import Identity, Process, Surroundings
from madang.core.ids import new_request_id
from madang.exchange.gateway import OrderGateway
from madang.exchange.ledger import process as ledger_role
from madang.exchange.ledger.rebuild import RebuildRefused, rebuild
from madang.exchange.venue import process as venue_role
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.segment import list_segments
from madang.exchange.venue.snapshot import Snapshot, write_snapshot_bytes
from madang.wire.codes import Side
from madang.wire.commands import encode_create_account, encode_transfer
from tests.support.venue_log import MEDIUM_LOG, SMALL_LOG, SmallVenue, order

LIMIT_S = 20.0
LIMIT_MS = 10_000
PAIRS = 20
VENUE: dict[str, object] = {"engine": "python", "instruments": [{"symbol": "AAPL"}]}


def tables(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of a ledger's file."""
    with closing(sqlite3.connect(file)) as reading:
        return {
            name: sorted(reading.execute(f"SELECT * FROM {name}"))
            for name in ("progress", "orders", "fills", "transfers")
        }


def traded(state: Path, small: bool = False) -> tuple[SmallVenue, Snapshot]:
    """Return a closed venue that crossed PAIRS orders, and how it stood before the last of them."""
    venue = SmallVenue(RealDisk(), state, SMALL_LOG if small else MEDIUM_LOG)
    venue.prepare()
    snapshot = None
    for number in range(0, 2 * PAIRS, 2):
        engine = venue.engine
        snapshot = Snapshot(engine.sequence, engine.snapshot(), engine.state_hash())
        venue.write(order(number, 1, Side.SELL), order(number + 1, 2, Side.BUY))
    venue.close()
    assert snapshot is not None
    return venue, snapshot


def test_a_file_is_replaced_by_what_the_log_says(tmp_path: Path) -> None:
    venue, _ = traded(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"no database")
    rebuilt = asyncio.run(rebuild(tmp_path, "python"))
    assert (rebuilt.first_sequence, rebuilt.last_sequence) == (1, venue.engine.sequence)
    assert (rebuilt.orders, rebuilt.fills, rebuilt.transfers) == (2 * PAIRS, 2 * PAIRS, 4)
    found = tables(tmp_path / "ledger.db")
    assert found["progress"] == [(1, venue.engine.sequence, venue.engine.now_ns)]
    assert len(found["orders"]) == 2 * PAIRS
    assert not list(tmp_path.glob("ledger.db?*"))


def test_nothing_is_rebuilt_beside_a_venue_or_from_a_log_without_its_beginning(
    tmp_path: Path,
) -> None:
    venue, snapshot = traded(tmp_path, small=True)
    (tmp_path / "ledger.db").write_bytes(b"kept")
    held = FileLease(tmp_path / "leases").acquire("venue")
    with pytest.raises(RebuildRefused, match="a venue runs"):
        asyncio.run(rebuild(tmp_path, "python"))
    held.release()
    segments = list_segments(RealDisk(), tmp_path / LOG_FOLDER)
    assert len(segments) > 1
    segments[0].path.unlink()
    for partial in (False, True):
        with pytest.raises(RebuildRefused, match=f"begins with command {segments[1].first}"):
            asyncio.run(rebuild(tmp_path, "python", partial=partial))
    assert (tmp_path / "ledger.db").read_bytes() == b"kept"
    write_snapshot_bytes(tmp_path, *snapshot, "python")
    rebuilt = asyncio.run(rebuild(tmp_path, "python", partial=True))
    assert (rebuilt.first_sequence, rebuilt.last_sequence) == (
        snapshot.sequence + 1,
        venue.engine.sequence,
    )
    assert (rebuilt.orders, rebuilt.fills) == (2, 2)


@asynccontextmanager
async def role(folder: Path, name: str, options: dict[str, object]) -> AsyncIterator[Process]:
    """Run the venue or the ledger until the block ends."""
    surroundings = Surroundings(options, folder / "state", folder / "run")
    process = Process(Identity(name, name, 0, 1, 1), surroundings, lambda: None)
    main = venue_role.main if name == "venue" else ledger_role.main
    running = asyncio.create_task(main(process))
    try:
        yield process
    finally:
        process.request_stop()
        await asyncio.wait_for(running, LIMIT_S)


async def ask(bus: Bus, query: dict[str, Any]) -> dict[str, Any]:
    assert await bus.wait_for_server("ledger.query", LIMIT_MS)
    answer = await bus.request("ledger.query", msgspec.msgpack.encode(query), LIMIT_MS)
    return msgspec.msgpack.decode(answer, type=dict[str, Any])


async def _trade(gateway: OrderGateway) -> None:
    for account in (1, 2):
        await gateway.submit(encode_create_account(new_request_id(), b"account %d" % account))
        for instrument in (0, 1):
            await gateway.submit(encode_transfer(account, new_request_id(), instrument, 10**12))
    for number in range(0, 2 * PAIRS, 2):
        await gateway.submit(order(number, 1, Side.SELL))
        await gateway.submit(order(number + 1, 2, Side.BUY))


async def _lose_and_start_again(folder: Path) -> None:
    query = {"kind": "orders", "account": 2, "status": "closed", "limit": 500, "direction": "asc"}
    file = folder / "state" / "ledger.db"
    options: dict[str, object] = {"engine": "python"}
    (folder / "run").mkdir()
    bus = await open_unix_bus(BusSettings("worker-0", folder / "run" / "bus"))
    gateway = OrderGateway(bus)
    try:
        async with role(folder, "venue", VENUE):
            assert await bus.wait_for_server("venue.commands", LIMIT_MS)
            async with role(folder, "ledger", options):
                await _trade(gateway)
                before = await ask(bus, query)
            assert len(before["orders"]) == PAIRS
            rows = tables(file)
            for path in file.parent.glob("ledger.db*"):
                path.unlink()
            async with role(folder, "ledger", options):
                assert await ask(bus, query) == before
            assert tables(file) == rows
    finally:
        await gateway.close()
        await bus.close()


def test_a_ledger_that_lost_its_file_makes_it_anew_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    asyncio.run(_lose_and_start_again(tmp_path))
