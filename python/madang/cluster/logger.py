"""The logger: reads the output of every child and writes it to files and the terminal.

The supervisor keeps both ends of every pipe, so this process can die and be replaced without a
loss. It never waits for a disk or a terminal: what they do not take is dropped with a count. When
the supervisor dies it reads on until the children are gone, and after ORPHAN_LIMIT_S kills those
that the record still names, so that no orphan outlives a supervisor for long.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from madang.cluster import channel, linux
from madang.cluster.lines import FileLimits, LineStream, RotatingFile
from madang.cluster.records import end_leftovers

CHANNEL_DESCRIPTOR = 3
READ_BYTES = 256 * 1024
READS_PER_TURN = 4
TERMINAL_BACKLOG_BYTES = 1024 * 1024
TERMINAL_WRITE_BYTES = 4096
ORPHAN_LIMIT_S = 3.5
ORPHAN_LOOK_S = 0.25
SAY_PERIOD_S = 1.0
STANDARD_ERROR = 2


class Terminal:
    """Standard error of `madang up`, written only when it takes a piece without blocking."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._backlog = bytearray()
        self._waiting = False
        self._dropped_bytes = 0

    def write(self, lines: bytes) -> None:
        """Show `lines` when the terminal takes them; over the backlog they are counted."""
        if len(self._backlog) + len(lines) > TERMINAL_BACKLOG_BYTES:
            self._dropped_bytes += len(lines)
            return
        if self._dropped_bytes:
            self._backlog += f"madang | {self._dropped_bytes} bytes not shown\n".encode()
            self._dropped_bytes = 0
        self._backlog += lines
        self._wait(True)

    def flush_piece(self) -> None:
        """Write one piece; the selector said that it fits."""
        try:
            written = os.write(STANDARD_ERROR, self._backlog[:TERMINAL_WRITE_BYTES])
        except OSError:
            written = len(self._backlog)
        del self._backlog[:written]
        self._wait(bool(self._backlog))

    def _wait(self, wanted: bool) -> None:
        if wanted and not self._waiting:
            self._selector.register(STANDARD_ERROR, selectors.EVENT_WRITE, self.flush_piece)
        elif not wanted and self._waiting:
            self._selector.unregister(STANDARD_ERROR)
        self._waiting = wanted


class Logger:
    """All streams, files and the terminal of one supervisor."""

    def __init__(self, options: dict[str, object]) -> None:
        self._selector = selectors.PollSelector()
        self._channel = socket.socket(fileno=CHANNEL_DESCRIPTOR)
        self._channel.setblocking(False)
        self._selector.register(self._channel, selectors.EVENT_READ, self._receive)
        self._terminal = Terminal(self._selector) if options["terminal"] else None
        self._folder = Path(str(options["folder"]))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._runtime_dir = Path(str(options["runtime_dir"]))
        self._supervisor = int(str(options["supervisor"]))
        self._limits = FileLimits(
            *(int(str(options[name])) for name in ("file_bytes", "files", "days"))
        )
        self._streams: dict[str, tuple[int, LineStream, RotatingFile]] = {}
        self._files: dict[str, RotatingFile] = {}
        self._finishing = False
        self._said: tuple[int, str] = (0, "")
        self._say_at = 0.0
        self._orphaned_at: float | None = None

    def run(self) -> None:
        """Serve until told to finish, or until nobody is left who could write."""
        while not self._finishing and (self._streams or self._orphaned_at is None):
            for key, _ in self._selector.select(self._patience_s()):
                callback: Callable[[], None] = key.data
                callback()
            self._say_what_is_dropped()
            if self._is_overdue():
                end_leftovers(self._runtime_dir, self._supervisor)
                self._finishing = True
        for name in list(self._streams):
            self._drain(name)
            _, lines, file = self._streams[name]
            self._write(file, lines.finish(_stamp()))
        if self._terminal is not None:
            self._flush_terminal()

    def _patience_s(self) -> float | None:
        """Return for how long nothing may happen before there is something to do."""
        if self._orphaned_at is not None:
            return ORPHAN_LOOK_S
        return None if self._dropped() == self._said else SAY_PERIOD_S

    def _is_overdue(self) -> bool:
        """Whether the supervisor has been dead for longer than its children may be alive."""
        orphaned_at = self._orphaned_at
        return orphaned_at is not None and time.monotonic() - orphaned_at > ORPHAN_LIMIT_S

    def _say_what_is_dropped(self) -> None:
        """Let the supervisor know, so that `madang ls` can say why lines are missing."""
        now = time.monotonic()
        if self._orphaned_at is not None or now < self._say_at:
            return
        found = self._dropped()
        if found == self._said:
            return
        message = {"kind": "dropped", "lines": found[0], "problem": found[1]}
        try:
            channel.send(self._channel, message)
        except (channel.ChannelClosed, BlockingIOError):
            return  # its end-of-file follows, or it has not read yet: later
        self._said, self._say_at = found, now + SAY_PERIOD_S

    def _dropped(self) -> tuple[int, str]:
        """Return how many lines were dropped so far, and why none can be written."""
        files = self._files.values()
        problem = next((file.problem for file in files if file.problem), "")
        return sum(file.dropped_lines for file in files), problem

    def _receive(self) -> None:
        try:
            while True:
                message, descriptors = channel.receive(self._channel)
                self._obey(message, descriptors)
        except BlockingIOError:
            return
        except channel.ChannelClosed:
            self._selector.unregister(self._channel)
            self._orphaned_at = time.monotonic()

    def _obey(self, message: dict[str, object], descriptors: list[int]) -> None:
        key = str(message.get("key"))
        if message["kind"] == "stream":
            lines = LineStream(str(message["name"]))
            self._add(key, lines, str(message["file"]), descriptors[0])
        elif message["kind"] == "tail":
            self._drain(key)
            tail = self._streams[key][1].tail() if key in self._streams else []
            channel.send(self._channel, {"kind": "tail", "key": key, "lines": tail})
        elif message["kind"] == "finish":
            self._finishing = True

    def _add(self, key: str, lines: LineStream, file_name: str, descriptor: int) -> None:
        if key in self._streams:
            self._end(key)
        if file_name not in self._files:
            path = self._folder / f"{file_name}.log"
            self._files[file_name] = RotatingFile(path, self._limits)
        self._streams[key] = (descriptor, lines, self._files[file_name])
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, selectors.EVENT_READ, lambda: self._read(key))

    def _drain(self, key: str) -> None:
        while key in self._streams and self._read(key):
            pass

    def _read(self, key: str) -> bool:
        """Read a little of `key`; return whether there may be more."""
        descriptor, lines, file = self._streams[key]
        for _ in range(READS_PER_TURN):
            try:
                data = os.read(descriptor, READ_BYTES)
            except BlockingIOError:
                return False
            if not data:
                self._end(key)
                return False
            self._write(file, lines.feed(data, _stamp()))
        return True

    def _end(self, key: str) -> None:
        """Forget a stream that nobody writes any more, or that another of its key replaces."""
        descriptor, lines, file = self._streams.pop(key)
        self._write(file, lines.finish(_stamp()))
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _write(self, file: RotatingFile, lines: bytes) -> None:
        if lines:
            file.write(lines, _stamp())
            if self._terminal is not None:
                self._terminal.write(lines)

    def _flush_terminal(self) -> None:
        """Give the terminal what is left, as long as it takes it within a moment."""
        assert self._terminal is not None
        while any(key.fd == STANDARD_ERROR for key in self._selector.get_map().values()):
            ready = [key for key, _ in self._selector.select(0.2) if key.fd == STANDARD_ERROR]
            if not ready:
                return
            self._terminal.flush_piece()


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    """`python -m madang.cluster.logger <options as JSON>`, with the channel on descriptor 3."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    linux.set_name("logger")
    os.set_inheritable(CHANNEL_DESCRIPTOR, False)
    Logger(json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    main()
