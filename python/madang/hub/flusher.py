"""When outboxes are written: one write per connection per flush.

Window 0 means the end of this turn of the loop. A wider window goes out at once while it is quiet
and is then held until the window since its last flush has passed, so load widens it and silence
does not delay. A connection leaves with the shortest window among its waiting frames.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

CLEAN = 1 << 30
"""`pending_window_ms` of a connection with nothing to flush."""


class Flushable(Protocol):
    """What the flusher needs of a connection."""

    pending_window_ms: int

    def flush(self) -> None:
        """Write everything that waits."""
        ...


class _Bucket:
    __slots__ = ("due", "flushed_at", "members")

    def __init__(self) -> None:
        self.members: dict[Flushable, None] = {}
        self.due: asyncio.Handle | None = None
        self.flushed_at = float("-inf")


class Flusher:
    """Collects connections with waiting frames and flushes them; owned by one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._buckets: dict[int, _Bucket] = {}
        self.flushes = 0

    def mark(self, connection: Flushable, window_ms: int) -> None:
        """Flush within the window; called only when that is sooner than already planned."""
        connection.pending_window_ms = window_ms
        bucket = self._buckets.get(window_ms)
        if bucket is None:
            bucket = self._buckets[window_ms] = _Bucket()
        bucket.members[connection] = None
        if bucket.due is None:
            self._schedule(bucket, window_ms)

    def _schedule(self, bucket: _Bucket, window_ms: int) -> None:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if window_ms:
            wait_s = bucket.flushed_at + window_ms / 1000 - loop.time()
            if wait_s > 0:
                bucket.due = loop.call_later(wait_s, self._flush, bucket, window_ms)
                return
        bucket.due = loop.call_soon(self._flush, bucket, window_ms)

    def _flush(self, bucket: _Bucket, window_ms: int) -> None:
        members = bucket.members
        bucket.members = {}
        bucket.due = None
        if window_ms and self._loop is not None:
            bucket.flushed_at = self._loop.time()
        for connection in members:
            if connection.pending_window_ms != CLEAN:
                self.flushes += 1
                connection.flush()
