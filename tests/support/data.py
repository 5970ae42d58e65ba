"""Where the real order flow lies that some tests read: never in the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "../shared/data"


def data_file(pattern: str) -> Path:
    """Return the one file under MADANG_TEST_DATA that matches, or skip the test and say why."""
    folder = Path(os.environ.get("MADANG_TEST_DATA") or DEFAULT)
    folder = folder if folder.is_absolute() else ROOT / folder
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"no real order flow: {folder}/{pattern} is not there (MADANG_TEST_DATA)")
    assert len(found) == 1, f"{pattern} is not one file: {found}"
    return found[0]
