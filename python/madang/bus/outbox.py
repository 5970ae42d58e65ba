"""What waits to be written to one peer: bounded bytes, and an account of what did not fit.

Pure: no socket, no clock. Once a message is dropped all following ones are, until half of the
bound is free; then one GAP frame per pattern is queued first. So a subscriber learns of a loss at
its exact place in the stream. Byte totals since the start tell whether a given frame was ever
handed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from madang.wire.busframes import Kind, encode


class Outbox:
    """The output queue of one link."""

    __slots__ = (
        "_chunks",
        "_limit",
        "_lost",
        "_reserve",
        "dropping",
        "queued_bytes",
        "taken_total",
    )

    def __init__(self, limit_bytes: int, reserve_bytes: int) -> None:
        self._chunks: deque[bytes] = deque()
        self._limit = limit_bytes
        self._reserve = reserve_bytes
        self._lost: dict[str, int] = {}
        self.queued_bytes = 0
        self.taken_total = 0
        self.dropping = False

    @property
    def queued_total(self) -> int:
        """Return the bytes ever queued: where the next frame will start."""
        return self.taken_total + self.queued_bytes

    def offer(self, prefix: bytes, payload: bytes) -> bool:
        """Queue a frame behind what is there; False, and nothing queued, over the bound."""
        size = len(prefix) + len(payload)
        if self.dropping or self.queued_bytes + size > self._limit:
            return False
        self._append(prefix, payload, size)
        return True

    def offer_answer(self, prefix: bytes, payload: bytes) -> bool:
        """Queue an answer: outside a publisher's order, so it may go while messages drop."""
        size = len(prefix) + len(payload)
        if self.queued_bytes + size > self._limit:
            return False
        self._append(prefix, payload, size)
        return True

    def force(self, frame: bytes) -> bool:
        """Queue a short control frame in the reserve; False when even that is used up."""
        if self.queued_bytes + len(frame) > self._limit + self._reserve:
            return False
        self._append(frame, b"", len(frame))
        return True

    def greet(self, frames: bytes) -> None:
        """Queue the greeting, once per link; the number of interests bounds it, not the bytes."""
        self._append(frames, b"", len(frames))

    def lose(self, patterns: Iterable[str]) -> None:
        """Count one dropped message on each of the peer's patterns that it matched."""
        self.dropping = True
        for pattern in patterns:
            self._lost[pattern] = self._lost.get(pattern, 0) + 1

    def forget(self, pattern: str) -> None:
        """Drop the account of a pattern that the peer no longer wants."""
        self._lost.pop(pattern, None)

    def take(self, limit_bytes: int) -> bytes:
        """Return up to about `limit_bytes` (at least one chunk) to be written now."""
        if self.queued_bytes <= limit_bytes:
            data = b"".join(self._chunks)
            self._chunks.clear()
        else:
            parts: list[bytes] = []
            size = 0
            while self._chunks and size < limit_bytes:
                part = self._chunks.popleft()
                parts.append(part)
                size += len(part)
            data = b"".join(parts)
        self.queued_bytes -= len(data)
        self.taken_total += len(data)
        if self.dropping and self.queued_bytes <= self._limit // 2:
            self._report_losses()
        return data

    def _report_losses(self) -> None:
        self.dropping = False
        for pattern, count in self._lost.items():
            frame = encode(Kind.GAP, count, pattern)
            self._append(frame, b"", len(frame))
        self._lost.clear()

    def _append(self, prefix: bytes, payload: bytes, size: int) -> None:
        self._chunks.append(prefix)
        if payload:
            self._chunks.append(payload)
        self.queued_bytes += size
