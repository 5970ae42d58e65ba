"""A history that cannot be used is set aside and made anew; one that is fine is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from madang.exchange.ledger.copy import FILE
from madang.exchange.ledger.history import History
from madang.exchange.ledger.opening import HistoryUnusableError, open_history
from madang.store import database


async def _reach(folder: Path, sequence: int) -> None:
    sql = await open_history(folder, "", sequence)
    async with sql.begin() as connection:
        await connection.execute(sa.text("UPDATE progress SET sequence = :s"), {"s": sequence})
    await sql.dispose()


async def _open_at(folder: Path, committed: int) -> int:
    sql = await open_history(folder, "", committed)
    sequence = await History(sql).sequence()
    await sql.dispose()
    return sequence


async def _open_elsewhere(folder: Path, url: str) -> None:
    await open_history(folder, url, 6)


def aside(folder: Path) -> list[Path]:
    """Return the files that were set aside."""
    return sorted(folder.glob(f"{FILE}.unusable-*"))


def test_a_history_behind_the_log_goes_on(tmp_path: Path) -> None:
    asyncio.run(_reach(tmp_path, 7))
    assert asyncio.run(_open_at(tmp_path, 9)) == 7
    assert aside(tmp_path) == []


def test_a_history_ahead_of_the_log_begins_anew(tmp_path: Path) -> None:
    asyncio.run(_reach(tmp_path, 7))
    assert asyncio.run(_open_at(tmp_path, 6)) == 0
    assert len(aside(tmp_path)) >= 1


def test_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    assert asyncio.run(_open_at(tmp_path, 6)) == 0
    assert aside(tmp_path)[0].read_bytes().startswith(b"this is no database")


def test_a_database_elsewhere_is_not_replaced(tmp_path: Path) -> None:
    asyncio.run(_reach(tmp_path, 7))
    url = database.sqlite_url(tmp_path / FILE)
    with pytest.raises(HistoryUnusableError, match="ahead of the log"):
        asyncio.run(_open_elsewhere(tmp_path, url))
    assert aside(tmp_path) == []
