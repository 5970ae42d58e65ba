"""Time as a port: shells own a clock, pure code gets `now_ns` as an argument."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for stamps, monotonic time for waits; both in nanoseconds."""

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds from an arbitrary start that never go back."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_ns(self) -> int:
        """Return nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds from an arbitrary start that never go back."""
        return time.monotonic_ns()
