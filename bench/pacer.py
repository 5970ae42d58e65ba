"""A timer finer than the event loop's: uvloop and asyncio wait in whole milliseconds.

A Linux timerfd fires every PERIOD_NS and calls back in the loop, so that requests leave when they
are due rather than in bursts of a millisecond.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

PERIOD_NS = 400_000
_NONBLOCK = os.O_NONBLOCK
_TICKS_BYTES = 8


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Pacer:
    """Calls `tick` every PERIOD_NS until closed."""

    def __init__(self, tick: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        period = _Timespec(0, PERIOD_NS)
        libc.timerfd_settime(self._descriptor, 0, ctypes.byref(_Itimerspec(period, period)), None)
        self._tick = tick
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_ready)

    def _on_ready(self) -> None:
        os.read(self._descriptor, _TICKS_BYTES)
        self._tick()

    def close(self) -> None:
        """Stop."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
