"""The supervisor's side of the logger: its pipes, its replacement when it dies, its answers.

The pipes are ours and outlive it, so that its death loses nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from madang.cluster import channel
from madang.cluster.errors import SystemExhausted
from madang.cluster.execute import execute
from madang.cluster.handles import Share, given, given_socket, handle
from madang.cluster.loop import Loop
from madang.cluster.policy import MS

PAUSE_NS = 100 * MS
PAUSE_MAX_NS = 5_000 * MS
STABLE_NS = 1_000 * MS
ASKED_MAX = 256

OnTail = Callable[[list[str]], None]


class LoggerHost:
    """Runs the logger and holds the pipes that it reads."""

    def __init__(
        self, loop: Loop, options: Mapping[str, object], share: Share | None = None
    ) -> None:
        """Have a logger; `share` is what another of us left: a running one, and its pipes."""
        self._loop = loop
        self._left: dict[str, tuple[int, int, str, str]] = {}
        self._options = json.dumps(dict(options))
        self._pipes: dict[str, tuple[int, int, str, str]] = {}
        self._asked: dict[str, list[OnTail]] = {}
        self._started_ns = 0
        self._pause_ns = PAUSE_NS
        self._ending = False
        self.dropped_lines = 0
        """How many lines this logger could not write so far."""
        self.problem = ""
        """Why it cannot write at the moment, "" while it can."""
        self.pid: int | None = None
        self.channel: socket.socket | None = None
        if share is not None:
            self.pid = share["pid"]
            self.dropped_lines, self.problem = share["dropped_lines"], share["problem"]
            if share["channel"] is not None:
                self.channel = given_socket(share["channel"])
            for key, reading, writing, name, file in share["pipes"]:
                self._left[key] = (given(reading), given(writing), name, file)

    def leave(self) -> Share:
        """Return what a successor needs to go on with the logger that runs."""
        return {
            "pid": self.pid,
            "channel": handle(self.channel),
            "dropped_lines": self.dropped_lines,
            "problem": self.problem,
            "pipes": [
                [key, handle(reading), handle(writing), name, file]
                for key, (reading, writing, name, file) in self._pipes.items()
            ],
        }

    def go_on(self) -> None:
        """Go on with the logger that was left; start one if it had died."""
        for reading, writing, _, _ in self._left.values():
            os.close(reading)
            os.close(writing)
        self._left.clear()
        self._started_ns = time.monotonic_ns()
        if self.channel is None:
            self.start()
        else:
            self._loop.watch(self.channel, self._read)

    @property
    def is_asked(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._asked)

    def start(self) -> None:
        """Start the process and hand it every pipe."""
        self._started_ns = time.monotonic_ns()
        self.channel, theirs = channel.pair()
        self.channel.setblocking(False)
        arguments = ["-m", "madang.cluster.logger", self._options]
        try:
            self.pid = execute(arguments, os.environ, [theirs.fileno()], None)
        except OSError:
            self.channel.close()
            self.channel = None
            self.died()
            return
        finally:
            theirs.close()
        self._loop.watch(self.channel, self._read)
        for key in self._pipes:
            self._announce(key)
        for key in self._asked:
            self._send({"kind": "tail", "key": key})

    def died(self) -> None:
        """Have it replaced; at once if it had been running well."""
        self.pid = None
        self.dropped_lines, self.problem = 0, ""
        self._unwatch()
        if self._ending:
            return
        now_ns = time.monotonic_ns()
        stable = now_ns - self._started_ns > STABLE_NS
        self._pause_ns = 0 if stable else min(2 * self._pause_ns or PAUSE_NS, PAUSE_MAX_NS)
        self._loop.at(now_ns + self._pause_ns, self.start)

    def add(self, key: str, name: str, file: str) -> int:
        """Make pipe `key`, whose lines are named `name` and go to `file`; return its write end.

        A pipe of that key that another of us left is taken over instead. Raises SystemExhausted.
        """
        left = self._left.pop(key, None)
        if left is not None:
            self._pipes[key] = left
            return left[1]
        try:
            reading, writing = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            text = f"no pipe for the output of {name}: {error.strerror}"
            raise SystemExhausted(f"{text}; run fewer processes or raise the limit") from error
        with suppress(PermissionError):  # the user's pipe budget is used up: the default works too
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, channel.BUFFER_BYTES)
        self._pipes[key] = (reading, writing, name, file)
        self._announce(key)
        return writing

    def remove(self, key: str) -> None:
        """Let go of a pipe; the logger reads what is in it, then forgets it too."""
        reading, writing, _, _ = self._pipes.pop(key)
        os.close(reading)
        os.close(writing)

    def ask_tail(self, key: str, on_tail: OnTail) -> None:
        """Call `on_tail` with the last lines of `key` when the logger has said them."""
        if key not in self._pipes or sum(map(len, self._asked.values())) >= ASKED_MAX:
            on_tail([])
            return
        self._asked.setdefault(key, []).append(on_tail)
        self._send({"kind": "tail", "key": key})

    def finish(self) -> None:
        """Ask it to write what is there, and end."""
        self._ending = True
        self._send({"kind": "finish"})

    def close(self) -> None:
        """Close the channel and every pipe."""
        self._ending = True
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        for reading, writing, _, _ in self._pipes.values():
            os.close(reading)
            os.close(writing)
        self._pipes.clear()

    def _read(self) -> None:
        while self.channel is not None:
            try:
                message, _ = channel.receive(self.channel)
            except BlockingIOError:
                return
            except channel.ChannelClosed:
                self._unwatch()
                return
            if message["kind"] == "dropped":
                self.dropped_lines = int(str(message["lines"]))
                self.problem = str(message["problem"])
                continue
            lines = message["lines"]
            assert isinstance(lines, list)
            for on_tail in self._asked.pop(str(message["key"]), []):
                on_tail([str(line) for line in lines])

    def _unwatch(self) -> None:
        if self.channel is not None:
            self._loop.unwatch(self.channel)
            self.channel.close()
            self.channel = None

    def _announce(self, key: str) -> None:
        reading, _, name, file = self._pipes[key]
        self._send({"kind": "stream", "key": key, "name": name, "file": file}, [reading])

    def _send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        if self.channel is None:
            return
        try:
            channel.send(self.channel, message, descriptors)
        except (channel.ChannelClosed, BlockingIOError):
            return  # a dead logger is replaced and told everything anew
