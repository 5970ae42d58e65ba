"""What waits to be written to one connection: frames in order, within a byte budget. Pure."""

from __future__ import annotations


class Outbox:
    """A bounded list of ready frames; `bytes_waiting` is their sum, at most the budget."""

    __slots__ = ("budget_bytes", "bytes_waiting", "frames")

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.frames: list[bytes] = []
        self.bytes_waiting = 0

    def append(self, frame: bytes) -> bool:
        """Add a frame; False where the budget does not hold it (nothing is added then)."""
        waiting = self.bytes_waiting + len(frame)
        if waiting > self.budget_bytes:
            return False
        self.frames.append(frame)
        self.bytes_waiting = waiting
        return True

    def take(self) -> bytes:
        """Return all that waits as one piece and forget it; a single frame is not copied."""
        frames = self.frames
        if len(frames) == 1:
            data = frames[0]
            frames.clear()
        else:
            data = b"".join(frames)
            self.frames = []
        self.bytes_waiting = 0
        return data

    def clear(self) -> None:
        """Drop everything that waits."""
        self.frames = []
        self.bytes_waiting = 0
