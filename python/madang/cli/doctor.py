"""`madang doctor`: what this machine offers a venue, and what to do where it falls short.

Each check looks at the real thing (a sync of the state folder, a socket with the live-slot program)
and changes nothing that stays.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from madang.cluster import steering
from madang.exchange.engine import engine_name

SYNC_TIMES = 20
SYNC_BYTES = 4_096
SYNC_GOOD_MS = 5.0
OPEN_FILES_GOOD = 20_000
DISK_FREE_GOOD_BYTES = 2 * 1024**3


class Finding(NamedTuple):
    """The outcome of one check; `advice` is empty where nothing needs to be done."""

    check: str
    good: bool
    found: str
    advice: str = ""


def check_python() -> Finding:
    """The interpreter."""
    good = sys.version_info >= (3, 11) and sys.platform == "linux"
    found = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    return Finding("python", good, found, "" if good else "needs Python 3.11 or newer on Linux")


def check_engine() -> Finding:
    """Which engine runs."""
    name = engine_name()
    if name == "rust":
        return Finding("engine", good=True, found="rust (madang-core)")
    cargo = shutil.which("cargo")
    advice = "install madang-core for the compiled engine, about a hundred times faster"
    return Finding("engine", good=False, found=f"python; cargo: {cargo or 'none'}", advice=advice)


def check_steering() -> Finding:
    """Whether connections can be steered away from a worker that is not ready."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        try:
            steering.attach(probe, steering.program([0], 1))
        except OSError as error:
            return Finding(
                "steering", good=False, found=str(error), advice="needs Linux 4.5 or newer"
            )
    return Finding("steering", good=True, found="SO_REUSEPORT with a live-slot program")


def check_sync(folder: Path) -> Finding:
    """How long a durable write takes where the log will be."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, SYNC_BYTES * SYNC_TIMES)
        os.fsync(file.fileno())
        times_ms: list[float] = []
        for index in range(SYNC_TIMES):
            begin = time.perf_counter_ns()
            os.pwrite(file.fileno(), bytes(SYNC_BYTES), index * SYNC_BYTES)
            os.fdatasync(file.fileno())
            times_ms.append((time.perf_counter_ns() - begin) / 1e6)
    median_ms = statistics.median(times_ms)
    good = median_ms <= SYNC_GOOD_MS
    advice = "" if good else "every order waits for this: put the state folder on a faster disk"
    return Finding("durable write", good, f"{median_ms:.2f} ms in {folder}", advice)


def check_disk(folder: Path) -> Finding:
    """How much room the log has."""
    free = shutil.disk_usage(folder).free
    good = free >= DISK_FREE_GOOD_BYTES
    advice = "" if good else "a full disk refuses new orders: make room"
    return Finding("disk", good, f"{free / 1024**3:.1f} GiB free", advice)


def check_open_files() -> Finding:
    """How many connections one process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    good = hard == resource.RLIM_INFINITY or hard >= OPEN_FILES_GOOD
    advice = "" if good else f"raise the limit of open files (ulimit -n) to {OPEN_FILES_GOOD}"
    return Finding("open files", good, f"{soft} (at most {hard})", advice)


def examine(state_dir: Path) -> list[Finding]:
    """Run every check; the state folder need not exist."""
    folder = state_dir
    while not folder.is_dir():
        folder = folder.parent
    checks: list[Callable[[], Finding]] = [
        check_python,
        check_engine,
        check_steering,
        lambda: check_sync(folder),
        lambda: check_disk(folder),
        check_open_files,
    ]
    return [check() for check in checks]
