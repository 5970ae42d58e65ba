"""Databases by URL: SQLite beside the other state today, PostgreSQL by the same code.

A *rebuildable* database (derived from the log) syncs at checkpoints only; one that is the truth
itself (people, keys, recordings) syncs at every commit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_TIMEOUT_MS = 5_000


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def open_database(url: str, *, rebuildable: bool) -> AsyncEngine:
    """Open `url`; connections are made on first use."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        synchronous = "NORMAL" if rebuildable else "FULL"

        @event.listens_for(engine.sync_engine, "connect")
        def set_pragmas(connection: Any, _record: object) -> None:  # noqa: ANN401 - any DB-API
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(f"PRAGMA synchronous={synchronous}")
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.close()

    return engine
