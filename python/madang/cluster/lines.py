"""Bytes of many writers to prefixed lines in size-limited files; what does not fit is counted.

A stream's bytes become whole lines, `<time> <name> | <line>`, so that writers never mix within a
line; a line longer than LINE_BYTES_MAX is cut in pieces. A file that cannot be written (a full
disk) drops the lines with a count, and says how many once writing works again.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

LINE_BYTES_MAX = 64 * 1024
TAIL_LINES = 20
TAIL_LINE_CHARACTERS = 500


class LineStream:
    """The output of one instance, cut in lines; remembers the last TAIL_LINES."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rest = b""
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes, stamp: str) -> bytes:
        """Return the whole lines that `data` completes, prefixed, each ending with a newline."""
        head, newline, rest = (self._rest + data).rpartition(b"\n")
        if len(rest) >= LINE_BYTES_MAX:
            head, newline, rest = head + newline + rest, b"\n", b""
        self._rest = rest
        return self._prefixed(head, stamp) if newline else b""

    def finish(self, stamp: str) -> bytes:
        """Return what was written without a last newline, as a line."""
        rest, self._rest = self._rest, b""
        return self._prefixed(rest, stamp) if rest else b""

    def tail(self) -> list[str]:
        """Return the last lines, oldest first."""
        lines = [*self._tail, self._rest] if self._rest else list(self._tail)
        return [
            line.decode(errors="replace")[:TAIL_LINE_CHARACTERS] for line in lines[-TAIL_LINES:]
        ]

    def _prefixed(self, lines: bytes, stamp: str) -> bytes:
        self._tail.extend(lines.rsplit(b"\n", TAIL_LINES)[-TAIL_LINES:])
        prefix = f"{stamp} {self.name} | ".encode()
        return prefix + lines.replace(b"\n", b"\n" + prefix) + b"\n"


class RotatingFile:
    """`path`, `path.1` … `path.<files - 1>`, each at most `limit` bytes and one write."""

    def __init__(self, path: Path, limit: int, files: int) -> None:
        self._path = path
        self._limit = limit
        self._files = files
        self._descriptor: int | None = None
        self._size = 0
        self.dropped_lines = 0
        self._reported = 0

    def write(self, lines: bytes, stamp: str) -> None:
        """Append whole lines; never raises for a disk that takes none."""
        missing = self.dropped_lines - self._reported
        if missing:
            lines = f"{stamp} madang | {missing} lines were dropped\n".encode() + lines
        try:
            descriptor = self._open()
            if self._size + len(lines) > self._limit and self._size:
                self._rotate()
                descriptor = self._open()
            self._append(descriptor, lines)
        except OSError:
            self.dropped_lines += lines.count(b"\n") - (1 if missing else 0)
            self.close()
        else:
            self._reported = self.dropped_lines

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        return self._descriptor

    def _append(self, descriptor: int, lines: bytes) -> None:
        view = memoryview(lines)
        while view:
            written = os.write(descriptor, view)
            self._size += written
            view = view[written:]

    def _rotate(self) -> None:
        self.close()
        self._size = 0
        for number in range(self._files - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
