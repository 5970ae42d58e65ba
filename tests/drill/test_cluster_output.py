"""Output without end, and a disk that takes none: nobody is blocked and nothing grows."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.drill.cluster import asgi, drilled, explains, load, program, screen
from tests.drill.test_cluster_deploys import GOOD
from tests.e2e.cluster_harness import Cluster, until

MEGABYTE = 1024 * 1024
POURED_MB = 1024
POUR_LIMIT_S = 150.0
FILE_BYTES = 2 * MEGABYTE
FILES = 3
WRITE_BYTES_MAX = 1 * MEGABYTE
SUPERVISOR_BYTES_MAX = 25 * MEGABYTE
LOGGER_BYTES_MAX = 60 * MEGABYTE
DISK_BYTES = 1 * MEGABYTE
MISSING = re.compile(rb"(\d+) lines were dropped")
NUMBER = re.compile(rb"\| line (\d+) ")


def resident(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_gigabyte_of_output_blocks_nobody_and_stays_within_its_files(tmp_path: Path) -> None:
    log = {"file_bytes": FILE_BYTES, "files": FILES, "terminal": False}
    entries = [asgi(tmp_path / "site", GOOD), program("pipe", "pour", str(POURED_MB))]
    with drilled(tmp_path, entries, log=log) as running:
        port = running.wait_ready()["http"][1]
        with load(port) as offered:
            until(lambda: "poured in" in screen(running), POUR_LIMIT_S)
            assert resident(running.process.pid) < SUPERVISOR_BYTES_MAX
            assert resident(running.helper("logger")) < LOGGER_BYTES_MAX
        until(lambda: running.ask("tail", name="pipe-0", lines=1)["lines"] == ["the last line"])
        folder = tmp_path / "state" / "logs"
        files = [path.stat().st_size for path in folder.glob("pipe.log*")]
        assert len(files) == FILES
        assert max(files) <= FILE_BYTES + WRITE_BYTES_MAX
        assert {row["restarts"] for row in running.ask("ls")["rows"]} == {0}
    assert offered.failures == []


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Make `folder` a file system of its own that is soon full."""
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none"]
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_costs_lines_which_are_counted_and_nothing_else(tmp_path: Path) -> None:
    logs = tmp_path / "state" / "logs"
    with small_disk(logs):
        entries = [asgi(tmp_path / "site", GOOD), program("chat", "chat")]
        with drilled(tmp_path, entries) as running:
            port = running.wait_ready()["http"][1]
            with load(port) as offered:
                explains(running, "lines of output were dropped: No space left on device")
                before = said(running)
                until(lambda: said(running) > before + 5_000)  # who writes is not held up
            assert {row["state"] for row in running.ask("ls")["rows"]} == {"ready"}
            subprocess.run(["mount", "-o", "remount,size=64m", str(logs)], check=True)
            explains(running, "lines of output were dropped, it is being written again")
            until(lambda: b"lines were dropped" in (logs / "chat.log").read_bytes())
            at = said(running)
            until(lambda: said(running) > at + 1_000)
            running.operate("stop", name="chat")
            check_numbers((logs / "chat.log").read_bytes())
    assert offered.failures == []


def said(running: Cluster) -> int:
    """Return how far the chatting program is."""
    return int(str(running.row("chat-0")["status"] or "at 0").split()[-1])


def check_numbers(text: bytes) -> None:
    """What is missing between two lines that were written is what was said to be dropped."""
    numbers = [int(number) for number in NUMBER.findall(text)]
    missing = sum(later - earlier - 1 for earlier, later in itertools.pairwise(numbers))
    told = sum(int(number) for number in MISSING.findall(text))
    assert missing > 1_000
    assert missing == told
