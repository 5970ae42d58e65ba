"""The one thread that writes the log: takes a batch, makes it durable, tells the loop.

The interpreter's lock is released in `pwrite` and `fdatasync`, so the loop gathers and applies
meanwhile. Invariant: at most one batch is in the thread's hands.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from madang.exchange.venue.errors import LogError, LogFailed
from madang.exchange.venue.log import Log

Written = Callable[[LogError | None], None]


class Committer:
    """Owns the thread; `write` and `close` are called from the loop."""

    def __init__(self, log: Log, written: Written) -> None:
        """Call `written(error)` on the running loop after each batch."""
        self._log = log
        self._written = written
        self._loop = asyncio.get_running_loop()
        self._given = threading.Semaphore(0)
        self._record: bytes | None = None
        self._first = 0
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def write(self, record: bytes, first: int) -> None:
        """Have the batch whose first command is `first` written."""
        assert self._record is None
        self._record, self._first = record, first
        self._given.release()

    def _run(self) -> None:
        while True:
            self._given.acquire()
            record = self._record
            if record is None:
                if self._ending:
                    return
                continue
            outcome = self._write(record)
            self._record = None
            try:
                self._loop.call_soon_threadsafe(self._written, outcome)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _write(self, record: bytes) -> LogError | None:
        try:
            self._log.write(record, self._first)
        except LogError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it was, durability is unknown
            return LogFailed(f"writing the log failed: {error!r}")
        return None

    async def close(self) -> None:
        """End the thread after the batch it may be writing."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._ending = True
        self._given.release()
        self._thread.join()
