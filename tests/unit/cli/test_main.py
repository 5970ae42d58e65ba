"""Where the command begins: a plain `ls` is quick, everything else is not its business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from madang.cli.main import plain_ls

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("typer", "rich", "msgspec", "asyncio", "structlog", "madang.edge", "madang.exchange")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ls", (None, False)),
        ("ls --json", (None, True)),
        ("ls --state x --json", ("x", True)),
        ("ls --state=x", ("x", False)),
        ("ls --state", None),
        ("ls --help", None),
        ("ls web", None),
        ("stop", None),
        ("", None),
    ],
)
def test_only_a_plain_ls_is_answered_at_once(
    words: str, found: tuple[str | None, bool] | None
) -> None:
    assert plain_ls(words.split()) == found


def test_a_plain_ls_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['madang', 'ls']; from madang.cli.main import main\n"
        "try: main()\n"
        f"except SystemExit as end: print(end.code, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "3 []\n"
