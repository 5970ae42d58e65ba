"""The end of processes: signal handlers, reaping, and killing whatever is still below us."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType

from madang.cluster import linux

END_LIMIT_S = 5.0
END_POLL_S = 0.005

Handler = Callable[[int, FrameType | None], object] | int | None


def restore_signals(previous: list[tuple[signal.Signals, Handler]]) -> None:
    """Undo what the supervisor did to the handlers of this process."""
    signal.set_wakeup_fd(-1)
    for number, handler in previous:
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def ended_children() -> Iterator[tuple[int, int]]:
    """Reap: yield pid and wait status of each ended child.

    What is left of its process group is killed while the pid is still taken, so that no other
    process can be hit.
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # it led no group, or all are gone
            os.killpg(found.si_pid, signal.SIGKILL)
        yield os.waitpid(found.si_pid, 0)


def end_children(spared: int | None) -> None:
    """Kill and reap every child except `spared`, those included that come to us as orphans."""
    limit = time.monotonic() + END_LIMIT_S
    while time.monotonic() < limit:
        for _ in ended_children():
            pass
        others = [pid for pid in linux.children(os.getpid()) if pid != spared]
        if not others:
            return
        for pid in others:
            linux.signal_group(pid, signal.SIGKILL)
        time.sleep(END_POLL_S)


def wait_for(pid: int | None) -> None:
    """Wait for one child, which is killed when it takes too long."""
    limit = time.monotonic() + END_LIMIT_S
    while pid is not None and time.monotonic() < limit:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
        except ChildProcessError:
            return
        time.sleep(END_POLL_S)
    if pid is not None:
        linux.signal_group(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
