"""Open the ledger's database so that it agrees with the log, or begin a new one.

The history can be made again from the log, so a file of our own that cannot be used is set aside,
never repaired: one that is damaged, and one that is *ahead* of the log (it holds what the log has
lost with its last record). A database elsewhere is not ours to move: then it is an error.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncEngine

from madang.core import log
from madang.core.errors import MadangError
from madang.exchange.ledger.copy import FILE
from madang.exchange.ledger.history import History
from madang.store import database, migrations

MIGRATIONS = Path(__file__).parent / "migrations"


class HistoryUnusableError(MadangError):
    """The database cannot be used and is not ours to replace."""


async def open_history(state_dir: Path, url: str, committed: int) -> AsyncEngine:
    """Return the database of the history, which holds at most what is `committed`.

    `url` is empty for the file in the state folder. Raises HistoryUnusableError, SQLAlchemyError.
    """
    sql = database.open_database(url or database.sqlite_url(state_dir / FILE), rebuildable=True)
    try:
        await migrations.upgrade(sql, MIGRATIONS)
        written = await History(sql).sequence()
        if written <= committed:
            return sql
        reason = f"it reaches command {written}, the log only {committed}"
    except DatabaseError as error:
        if url:
            raise
        reason = f"it cannot be read: {error.orig}"
    await sql.dispose()
    if url:
        raise HistoryUnusableError(f"the ledger's database is ahead of the log: {reason}")
    set_aside(state_dir, reason)
    sql = database.open_database(database.sqlite_url(state_dir / FILE), rebuildable=True)
    await migrations.upgrade(sql, MIGRATIONS)
    return sql


def set_aside(state_dir: Path, reason: str) -> None:
    """Rename the history's file, so that the next start makes a new one."""
    name = f"{FILE}.unusable-{time.time_ns()}"
    log.get("ledger").error("history set aside, making it anew", reason=reason, kept_as=name)
    for suffix in ("", "-wal", "-shm"):
        path = state_dir / f"{FILE}{suffix}"
        if path.exists():
            path.rename(state_dir / f"{name}{suffix}")
