"""Bytes of many writers to prefixed lines in size-limited files; what does not fit is counted.

A stream's bytes become whole lines, `<time> <name> | <line>`, so that writers never mix within a
line; a line longer than LINE_BYTES_MAX is cut in pieces. A file is of one day (UTC) and of a
limited size. One that cannot be written (a full disk) drops the lines with a count, and says how
many once writing works again.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

LINE_BYTES_MAX = 64 * 1024
TAIL_LINES = 20
TAIL_LINE_CHARACTERS = 500
DAY_CHARACTERS = len("2026-01-31")
DAY_S = 86_400


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


@dataclass(frozen=True, slots=True)
class FileLimits:
    """When a file is full, how many there are with it, and after how many days the old ones go."""

    file_bytes: int
    files: int
    days: int


class RotatingFile:
    """`path`, `path.1` … `path.<files - 1>`, each of one day and at most its limit and one write.

    `stamp` is the time in ISO 8601, UTC; whoever empties the file from outside is noticed.
    """

    def __init__(self, path: Path, limits: FileLimits) -> None:
        self._path = path
        self._limits = limits
        self._descriptor: int | None = None
        self._size = 0
        self._day = ""
        self.dropped_lines = 0
        self.problem = ""
        """Why nothing can be written at the moment, "" while it can."""
        self._reported = 0

    def write(self, lines: bytes, stamp: str) -> None:
        """Append whole lines; never raises for a disk that takes none."""
        missing = self.dropped_lines - self._reported
        notice = f"{stamp} madang | {missing} lines were dropped\n".encode() if missing else b""
        text = notice + lines
        try:
            descriptor = self._open(stamp)
            if self._is_over(len(text), stamp):
                self._rotate(stamp)
                descriptor = self._open(stamp)
            kept, self.problem = self._append(descriptor, text)
        except OSError as error:
            kept, self.problem = 0, error.strerror or repr(error)
        told = kept >= len(notice)
        if told:
            self._reported = self.dropped_lines
        self.dropped_lines += text.count(b"\n", kept) - (0 if told else 1)
        if self.problem:
            self.close()

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, stamp: str) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
            first = os.pread(self._descriptor, DAY_CHARACTERS, 0) if self._size else b""
            self._day = first.decode(errors="replace") or stamp[:DAY_CHARACTERS]
        return self._descriptor

    def _is_over(self, more: int, stamp: str) -> bool:
        if self._size + more > self._limits.file_bytes and self._descriptor is not None:
            self._size = os.fstat(self._descriptor).st_size
        if not self._size:
            self._day = stamp[:DAY_CHARACTERS]
            return False
        return self._size + more > self._limits.file_bytes or stamp[:DAY_CHARACTERS] > self._day

    def _append(self, descriptor: int, text: bytes) -> tuple[int, str]:
        """Return how many bytes are in the file, whole lines, and why not all, "" when all are."""
        view, done, problem = memoryview(text), 0, ""
        try:
            while done < len(text):
                done += os.write(descriptor, view[done:])
        except OSError as error:
            problem = error.strerror or repr(error)
            whole = text.rfind(b"\n", 0, done) + 1
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - (done - whole))
            done = whole
        self._size += done
        return done, problem

    def _rotate(self, stamp: str) -> None:
        self.close()
        self._size = 0
        oldest_s = datetime.fromisoformat(stamp).timestamp() - self._limits.days * DAY_S
        for number in range(self._limits.files - 1, 0, -1):
            older = self._numbered(number - 1)
            if not older.exists():
                continue
            if number > 1 and older.stat().st_mtime < oldest_s:
                older.unlink()
            else:
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
