"""The few Linux calls that Python does not offer, and what /proc says about a process."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from madang.cluster.errors import UnsupportedSystem

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def require_linux() -> None:
    """Raise UnsupportedSystem anywhere else."""
    if sys.platform != "linux":
        text = f"Madang runs on Linux only, this is {sys.platform}"
        raise UnsupportedSystem(text, platform=sys.platform)


def _prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_subreaper() -> None:
    """Adopt every descendant whose parent dies."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: signal.Signals) -> None:
    """Ask for signal `number` when the process that is the parent at this moment dies."""
    _prctl(PR_SET_PDEATHSIG, number)


def raise_open_files() -> int:
    """Let this process open as many files as it may; return how many it could open before.

    Every connection is a file, and every child is a few to its supervisor; a shell gives 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft


def set_name(name: str) -> None:
    """Show `name` (15 bytes of it) in ps and top."""
    _prctl(PR_SET_NAME, name.encode()[:15])


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third (state) on, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_ticks(pid: int) -> int | None:
    """Return when `pid` started, in ticks since boot: both together name a process for good.

    A zombie counts as gone.
    """
    fields = stat_fields(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def rss_bytes(pid: int) -> int:
    """Return the resident memory of `pid`, 0 when it is gone or nobody can tell."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def cpu_ticks(pid: int) -> int:
    """Return the processor time of `pid` and its threads in clock ticks, 0 when it is gone."""
    fields = stat_fields(pid)
    return 0 if fields is None else int(fields[11]) + int(fields[12])


def main_thread_waits(pid: int) -> tuple[int, int]:
    """Return how often the main thread of `pid` went to sleep, and its wait for a processor in ns.

    (0, 0) when it is gone. Sources: /proc/<pid>/status, /proc/<pid>/schedstat in proc(5).
    """
    try:
        with open(f"/proc/{pid}/task/{pid}/status", encoding="ascii", errors="replace") as file:
            found = [line.split()[1] for line in file if line.startswith("voluntary_ctxt")]
        with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as file:
            delay_ns = int(file.read().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    return int(found[0]) if found else 0, delay_ns


def boot_id() -> str:
    """Return the identity of this boot of the machine."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def children(pid: int) -> list[int]:
    """Return the living direct children of `pid`, a single-threaded process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def thread_count() -> int:
    """Return how many threads this process has, those outside Python included."""
    return len(os.listdir("/proc/self/task"))


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send `number` to the process group that `pid` leads, and to `pid` should it lead none yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        signal_process(pid, number)


def signal_process(pid: int, number: signal.Signals) -> None:
    """Send `number` to `pid`; a process that is gone needs none."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
