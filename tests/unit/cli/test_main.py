"""Where the command begins: a plain `ls` is quick, everything else is not its business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

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


def madang(
    *words: str, cwd: Path, stdout: int | TextIO = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "madang.cli.main", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("words", [("version",), ("ls", "--help"), ("start", "--help")])
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = madang(*words, cwd=tmp_path, stdout=full)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "cannot write the output: No space left on device" in done.stderr


def test_who_has_seen_enough_is_told_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        done = madang("version", cwd=tmp_path, stdout=pipe)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("words", [("ls",), ("start", "x.py"), ("logs",)])
def test_a_folder_that_is_gone_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os, sys; os.rmdir({str(gone)!r}); from madang.cli.main import main; main()"
    for more in ((), ("--json",)):
        gone.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", code, *words, *more],
            cwd=gone,
            env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        said = json.loads(done.stdout)["error"] if more else done.stderr
        assert (done.returncode, "is gone: change to one that is there" in said) == (1, True), done
        assert (done.stdout + done.stderr).count("\n") == 1


def test_a_state_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ("start", "--state", "file/inside", "true")
    done = madang(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr == (
        f"madang: {tmp_path}/file/inside: Not a directory;"
        " a folder is needed there: give another one (--state)\n"
    )
    done = madang(*words, "--json", cwd=tmp_path)
    assert "Not a directory" in json.loads(done.stdout)["error"]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a folder whose path leaves room for the names of sockets."""
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root has folders that others cannot read")
@pytest.mark.parametrize("words", [("ls",), ("start", "true")])
def test_a_folder_of_somebody_else_is_one_line(short_folder: Path, words: tuple[str, ...]) -> None:
    code = (
        # Imported before: others may not be allowed to read our interpreter.
        "import json, os, sys, pkgutil, importlib, madang.cli; from madang.cli import main\n"
        "for one in pkgutil.iter_modules(madang.cli.__path__, 'madang.cli.'):\n"
        "    importlib.import_module(one.name)\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); main.main()"
    )
    state = short_folder / "state"
    (state / "run").mkdir(mode=0o700, parents=True)
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--state", str(state)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert "Permission denied; use a folder that is yours (--state)" in done.stderr
