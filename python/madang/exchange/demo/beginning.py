"""The demo's first start: its past is written beside the processes that start meanwhile.

Whoever writes holds a lock, from before the writer begins until it is gone; the venue opens its log
only when it gets that lock. A writer ends with the process that it was begun by.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from madang.cluster.linux import die_with_parent
from madang.cluster.process import Process
from madang.core import log
from madang.exchange.demo.people import load_or_invent
from madang.exchange.venue import process as venue
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.settings import VenueSettings

LOCK = "history.lock"
LOOK_S = 0.01


def is_new(state_dir: Path) -> bool:
    """Tell whether nothing has ever run on a state folder."""
    return not (state_dir / LOG_FOLDER).exists()


def _lock(state_dir: Path) -> int | None:
    """Return the descriptor that holds the writer's lock; None while another one does."""
    descriptor = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def begin_history(state_dir: Path, settings: VenueSettings) -> int:
    """Begin to write the past of a new state folder; returns the writer's process id, 0 for none.

    The caller becomes a supervisor, which is to hold no engine: so another process does it. What
    goes wrong there is said on standard error, and the market begins without a past.
    """
    people, now_ns = load_or_invent(state_dir), time.time_ns()
    descriptor = _lock(state_dir)
    if descriptor is None:
        return 0
    writer = os.fork()
    if writer:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # it may have done so, or be gone
            os.setpgid(writer, writer)
        return writer
    code = 1
    try:
        die_with_parent(signal.SIGKILL)
        os.setpgid(0, 0)  # Ctrl-C is the supervisor's to answer, which then ends this group
        gc.disable()  # this process ends before there is much to collect
        from madang.exchange.demo.history import write_history

        write_history(state_dir, settings, people, now_ns)
        code = 0
    except Exception:  # noqa: BLE001 - told to the terminal, and nobody above could handle it
        sys.stderr.write(f"madang: no history was written\n{traceback.format_exc()}")
    finally:
        os._exit(code)


async def main(process: Process) -> None:
    """Run the venue, once nobody writes its past."""
    stop = asyncio.ensure_future(process.wait_stop())
    process.status("waiting for the history of the demo")
    while (descriptor := _lock(process.state_dir)) is None:
        await asyncio.wait([stop], timeout=LOOK_S)
        if stop.done():
            return
    stop.cancel()
    os.close(descriptor)
    if is_new(process.state_dir):
        log.get("venue").warning("there is no history: the market begins without a past")
    await venue.main(process)
