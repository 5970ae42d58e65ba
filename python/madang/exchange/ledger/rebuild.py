"""Make the ledger's SQLite file anew from the log, with nothing running.

The new file is written beside the old one and takes its place only when it is complete. Where the
log no longer begins at command 1, what was before is in no file but the old one: then a rebuild is
refused unless a partial history is asked for, which begins at the oldest snapshot that the log
continues. A ledger in another database is rebuilt by dropping its tables and starting.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from madang.bus.errors import LeaseTaken
from madang.bus.lease import FileLease
from madang.core.errors import MadangError
from madang.exchange.engine.port import Engine
from madang.exchange.ledger.copy import FILE
from madang.exchange.ledger.history import History
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.opening import MIGRATIONS
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.errors import SnapshotDamaged
from madang.exchange.venue.process import LEASE
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.replica import EngineFactory, engine_factory
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import newest_snapshots, restore_snapshot
from madang.exchange.venue.walk import Walk
from madang.store import database, migrations

WRITE_ROWS: Final = 50_000
NO_SNAPSHOTS: Final = 2**63


class RebuildRefused(MadangError):
    """The history cannot be rebuilt, or not from its beginning; nothing was changed."""


class Rebuilt(msgspec.Struct, frozen=True):
    """A rebuilt history: commands `first_sequence` to `last_sequence`, and its rows."""

    first_sequence: int
    last_sequence: int
    orders: int
    fills: int
    transfers: int


async def rebuild(state_dir: Path, engine: str = "auto", *, partial: bool = False) -> Rebuilt:
    """Replace `ledger.db` of a state folder by one made from its log and snapshots.

    Raises RebuildRefused (while a venue runs, or where the log begins too late), LogDamaged,
    LogUnreadable, SQLAlchemyError, OSError.
    """
    try:
        held = FileLease(state_dir / "leases").acquire(LEASE)
    except LeaseTaken as error:
        raise RebuildRefused(f"{state_dir}: a venue runs; stop it first") from error
    new = state_dir / f"{FILE}.new"
    try:
        _remove(new)
        rebuilt = await _fill(state_dir, new, engine_factory(engine), partial)
        _remove(state_dir / FILE)
        new.rename(state_dir / FILE)
    finally:
        _remove(new)
        held.release()
    return rebuilt


async def _fill(state_dir: Path, new: Path, factory: EngineFactory, partial: bool) -> Rebuilt:
    walk = Walk(RealDisk(), state_dir / LOG_FOLDER, None)
    replica = _base(state_dir, walk.segments[0].first if walk.segments else 1, factory, partial)
    first = replica.sequence + 1
    sql = database.open_database(database.sqlite_url(new), rebuildable=True)
    try:
        await migrations.upgrade(sql, MIGRATIONS)
        history = History(sql)
        ledger = Ledger(history, state_dir, NO_SNAPSHOTS)
        ledger.market.depth = lambda instrument: replica.depth(instrument, 1)
        await ledger.open()
        ledger.replica = lambda: replica
        for place in walk:
            if place.header.sequence <= replica.sequence:
                continue
            ledger.on_events(place.record, replica.apply(place.record))
            if ledger.waiting >= WRITE_ROWS:
                await ledger.write(replica)
        await ledger.write(replica)
        return Rebuilt(first, replica.sequence, *await history.counts())
    finally:
        await sql.dispose()  # also folds the file's write-ahead log into it


def _base(state_dir: Path, first: int, factory: EngineFactory, partial: bool) -> Engine:
    """Return the engine to begin with: empty, or the oldest snapshot that the log continues."""
    if first == 1:
        return factory.create()
    if not partial:
        raise RebuildRefused(f"the log begins with command {first}, not with 1", first=first)
    oldest = None
    for _, snapshot in newest_snapshots(RealDisk(), state_dir / SNAPSHOT_FOLDER):
        if not isinstance(snapshot, SnapshotDamaged) and snapshot.sequence + 1 >= first:
            oldest = snapshot
    if oldest is None:
        raise RebuildRefused(
            f"the log begins with command {first} and no snapshot reaches it", first=first
        )
    return restore_snapshot(factory, oldest)


def _remove(database_file: Path) -> None:
    """Remove an SQLite file first, then what belongs to it: without it, that means nothing."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            database_file.with_name(database_file.name + suffix).unlink()
