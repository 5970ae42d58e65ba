"""The supervisor's loop: descriptors to look at, and things to do at their time.

One thread; a callback must never wait for anything. One that fails (no descriptor is left, a child
has written nonsense) is told to `on_failure` and ends nothing else.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Protocol

Callback = Callable[[], None]
READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class HasDescriptor(Protocol):
    """A socket or anything else with a descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


Watched = int | HasDescriptor


class Timer:
    """A callback that will be called at `at_ns`, unless it is cancelled."""

    def __init__(self, at_ns: int, callback: Callback) -> None:
        self.at_ns = at_ns
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Forget it; may be said at any time."""
        self.callback = None


class Loop:
    """A selector and a heap of timers. Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self.on_failure: Callable[[Exception], None] | None = None

    def watch(self, watched: Watched, callback: Callback, events: int = READ) -> None:
        """Call `callback` whenever `watched` can be read (or written)."""
        self._selector.register(watched, events, callback)

    def change(self, watched: Watched, callback: Callback, events: int) -> None:
        """Replace what was asked about `watched`."""
        self._selector.modify(watched, events, callback)

    def unwatch(self, watched: Watched) -> None:
        """Look no more; before `watched` is closed."""
        self._selector.unregister(watched)

    def at(self, at_ns: int, callback: Callback) -> Timer:
        """Call `callback` once at that time."""
        timer = Timer(at_ns, callback)
        heapq.heappush(self._timers, (at_ns, next(self._order), timer))
        return timer

    def every(self, period_ns: int, callback: Callback) -> None:
        """Call `callback` again and again, `period_ns` after it last returned."""

        def again() -> None:
            try:
                callback()
            finally:
                self.at(time.monotonic_ns() + period_ns, again)

        self.at(time.monotonic_ns() + period_ns, again)

    def next_ns(self) -> int | None:
        """Return when the next timer is due."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def wait(self, until_ns: int | None) -> list[tuple[Watched, Callback]]:
        """Wait for something to happen, at most until `until_ns`; return what is to be called."""
        wait_s = None if until_ns is None else max(0, until_ns - time.monotonic_ns()) / 1e9
        return [(key.fileobj, key.data) for key, _ in self._selector.select(wait_s)]

    def call(self, ready: list[tuple[Watched, Callback]]) -> None:
        """Call what `wait` returned, but nothing that was unwatched meanwhile, and due timers."""
        for watched, callback in ready:
            try:
                current = self._selector.get_map().get(watched)
            except ValueError:
                current = None  # closed by a callback before this one
            if current is not None:
                self._call(callback)
        now_ns = time.monotonic_ns()
        while (at_ns := self.next_ns()) is not None and at_ns <= now_ns:
            _, _, timer = heapq.heappop(self._timers)
            callback_due, timer.callback = timer.callback, None
            if callback_due is not None:
                self._call(callback_due)

    def _call(self, callback: Callback) -> None:
        try:
            callback()
        except Exception as error:
            if self.on_failure is None:
                raise
            self.on_failure(error)

    def close(self) -> None:
        """Look at nothing any more."""
        self._selector.close()
