"""Copy the ledger's SQLite files while they are written to, for a backup and back from one.

A copy of the history is taken *before* the log's, so the log reaches at least as far as the
history beside it. What lives in another database is backed up with that database's own tools.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

FILE = "ledger.db"
STORE_FILE = "store.db"
"""What people have chosen; unlike the history, nothing else can bring it back."""


def copy_history(source_folder: Path, target_folder: Path) -> bool:
    """Copy the history of one folder into another; False where there is none."""
    return _copy(source_folder / FILE, target_folder / FILE)


def copy_store(source_folder: Path, target_folder: Path) -> bool:
    """Copy what people have chosen from one folder into another; False where there is none."""
    return _copy(source_folder / STORE_FILE, target_folder / STORE_FILE)


def _copy(source: Path, target: Path) -> bool:
    if not source.exists():
        return False
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reading,
        contextlib.closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
        writing.execute(
            "PRAGMA journal_mode=DELETE"
        )  # one file, readable without writing beside it
    return True
