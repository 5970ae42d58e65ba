"""`madang upgrade`: the supervisor becomes new code of the same installation; nobody else notices.

    check     a child process of the new code takes a copy of everything over, and does nothing
    wait      until no start of a process, hand-over or other operation is under way
    become    execv with what was left in a memfd: the same pid, parent of the same children

Descriptors keep their numbers across execv, sockets their queues and pipes what is in them; signals
wait meanwhile. Whatever is wrong with the new code is found by the check, and refuses.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from madang.cluster import linux
from madang.cluster.execute import execute
from madang.cluster.handles import Share, descriptors
from madang.cluster.loop import Loop
from madang.cluster.operations import Operation, OperationFailed, Procedure, until
from madang.cluster.policy import MS
from madang.cluster.processes import Processes

MODULE = "madang.cluster.foreground"
RESUME = "--resume"
CHECK = "--check"
CHECK_LIMIT_NS = 30_000 * MS
QUIET_LIMIT_NS = 20_000 * MS
OUTPUT_BYTES_MAX = 16 * 1024
LINES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Departure:
    """What only the supervisor as a whole can do about leaving."""

    leave: Callable[[], Share]
    """Write down everything."""
    hold_signals: Callable[[], bool]
    """Let signals wait; False when one has come that ends the cluster."""
    release_signals: Callable[[], None]
    what_is_under_way: Callable[[Operation], str]
    """Return what stands in the way at this moment beside the operation itself, else nothing."""


class Upgrade:
    """The procedure."""

    def __init__(self, loop: Loop, processes: Processes, departure: Departure) -> None:
        self._loop = loop
        self._processes = processes
        self._departure = departure

    def procedure(self, operation: Operation) -> Procedure:
        """Check the new code, then become it."""
        operation.say("checking whether the new code can take over")
        share = self._departure.leave()
        check = _Check(self._loop, self._processes, share)
        try:
            yield until(lambda: check.ended, CHECK_LIMIT_NS)
        finally:
            check.close()
        if check.problem:
            raise OperationFailed(f"the new code cannot take over:\n{check.problem}")
        operation.say("it can; waiting until nothing is under way")
        under_way = self._departure.what_is_under_way
        yield until(lambda: not under_way(operation), QUIET_LIMIT_NS)
        if under_way(operation):
            raise OperationFailed(f"still under way: {under_way(operation)}")
        operation.say("taking over")
        self._become()

    def _become(self) -> None:
        if not self._departure.hold_signals():
            self._departure.release_signals()
            raise OperationFailed("the cluster stops")
        share = self._departure.leave()
        memory = _written(share)
        _set_inheritable(share, True)
        try:
            arguments = [sys.executable, "-m", MODULE, RESUME, str(memory)]
            os.execv(sys.executable, arguments)
        except OSError as error:
            _set_inheritable(share, False)
            os.close(memory)
            self._departure.release_signals()
            raise OperationFailed(f"cannot execute {sys.executable}: {error.strerror}") from error


class _Check:
    """A process of the new code that takes a copy over, says why it cannot, and ends."""

    def __init__(self, loop: Loop, processes: Processes, share: Share) -> None:
        self.problem = "it did not end in time"
        self.ended = False
        self._loop = loop
        self._processes = processes
        self._said = b""
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        memory = _written(share)
        _set_inheritable(share, True)
        try:
            self._pid = execute(["-m", MODULE, CHECK, str(memory)], os.environ, [], writing)
        except OSError as error:
            os.close(self._reading)
            raise OperationFailed(f"cannot execute {sys.executable}: {error.strerror}") from error
        finally:
            _set_inheritable(share, False)
            os.close(memory)
            os.close(writing)
        processes.helpers[self._pid] = self._exited
        loop.watch(self._reading, self._read)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            data = os.read(self._reading, OUTPUT_BYTES_MAX)
            self._said = (self._said + data)[-OUTPUT_BYTES_MAX:]
            if not data:
                self._loop.unwatch(self._reading)

    def _exited(self, status: int) -> None:
        with suppress(KeyError):
            self._loop.unwatch(self._reading)
        with suppress(BlockingIOError):
            self._said += os.read(self._reading, OUTPUT_BYTES_MAX)
        lines = self._said.decode(errors="replace").strip().splitlines()
        code = os.waitstatus_to_exitcode(status)
        self.problem = "\n".join(lines[-LINES_SHOWN:]) or f"its check ended with code {code}"
        if code == 0:
            self.problem = ""
        self.ended = True

    def close(self) -> None:
        """Forget it; one that has not ended is killed."""
        if not self.ended:
            self._processes.helpers.pop(self._pid, None)
            linux.signal_group(self._pid, signal.SIGKILL)
            with suppress(KeyError):
                self._loop.unwatch(self._reading)
        os.close(self._reading)


def _written(share: Share) -> int:
    """Return an inheritable memfd with `share` in it."""
    memory = os.memfd_create("madang-succession", 0)
    with os.fdopen(memory, "w", encoding="utf-8", closefd=False) as file:
        json.dump(share, file, default=str)
    return memory


def _set_inheritable(share: Share, wanted: bool) -> None:
    for descriptor in descriptors(share):
        os.set_inheritable(descriptor, wanted)


def received(memory: int) -> Share:
    """Return what `_written` has written."""
    os.lseek(memory, 0, os.SEEK_SET)
    with os.fdopen(memory, encoding="utf-8") as file:
        share: Share = json.load(file)
    return share


def close_on_exec(share: Share) -> None:
    """Have no child of ours inherit what was passed on to us."""
    _set_inheritable(share, False)
