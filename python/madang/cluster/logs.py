"""Reading what the logger wrote: the last lines, those since a time, and what comes next.

A line is `<time> <instance> | <text>`; the files of an application are read from their end
backwards, the newest file first, so that a few lines of much output are found at once. `Follower`
remembers a place in every file and goes on where a file was rotated or emptied; its `recent` ends
exactly where its `look` begins, however much is written meanwhile.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 256 * 1024
FOLLOW_BYTES_MAX: Final = 4 * 1024 * 1024
"""The most of one file that one look takes in; the rest comes with the next."""
HEAD_BYTES: Final = 64
FILE_NAME = re.compile(r"(?P<application>[a-z][a-z0-9_-]*)\.log(\.(?P<number>\d+))?")


class LogLine(NamedTuple):
    """One line of output; `at` is ISO 8601 in UTC, so that lines sort by time."""

    at: str
    instance: str
    text: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are wanted: of applications or instances (none: all), from a time on, how many.

    `since` is like `LogLine.at`; `lines` is the most of them, the newest.
    """

    names: frozenset[str] = frozenset()
    since: str = ""
    lines: int = 20

    def wants(self, application: str, line: LogLine) -> bool:
        """Return whether the line is one of those."""
        named = not self.names or application in self.names or line.instance in self.names
        return named and line.at >= self.since


def parse(raw: bytes) -> LogLine | None:
    """Return the line, None where it is not one of the logger's."""
    at, blank, rest = raw.decode(errors="replace").partition(" ")
    instance, bar, text = rest.partition(" | ")
    return LogLine(at, instance, text) if blank and bar else None


def applications(folder: Path) -> dict[str, list[Path]]:
    """Return the log files of each application, the newest first."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.glob("*.log*"):
        match = FILE_NAME.fullmatch(path.name)
        if match:
            number = int(match["number"] or 0)
            found.setdefault(match["application"], []).append((number, path))
    return {name: [path for _, path in sorted(files)] for name, files in sorted(found.items())}


def recent(folder: Path, query: LogQuery) -> list[LogLine]:
    """Return the newest lines that `query` wants, oldest first."""
    return _newest(query, {name: _backwards(f) for name, f in applications(folder).items()})


def _newest(query: LogQuery, backwards: Mapping[str, Iterator[LogLine]]) -> list[LogLine]:
    newest: list[list[LogLine]] = []
    for application, lines in backwards.items():
        found: list[LogLine] = []
        for line in lines:
            if line.at < query.since or len(found) >= query.lines:
                break
            if query.wants(application, line):
                found.append(line)
        found.reverse()
        newest.append(found)
    merged = list(heapq.merge(*newest, key=lambda line: line.at))
    return merged[-query.lines :] if query.lines else []


def _backwards(files: Iterable[Path], place: _Place | None = None) -> Iterator[LogLine]:
    """Yield the lines of an application from the newest on, or from `place` on."""
    for path in files:
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                end = found.st_size
                if place is not None:
                    if found.st_ino != place.inode:
                        continue  # newer than the place
                    end, place = min(end, place.offset), None
                for raw in _lines_backwards(file.fileno(), end):
                    line = parse(raw)
                    if line is not None:
                        yield line
        except FileNotFoundError:
            continue


def _lines_backwards(descriptor: int, end: int) -> Iterator[bytes]:
    """Yield the whole lines of a file from `end` on; what has no newline yet is left out."""
    at = end
    rest = b""
    ended = False
    while at > 0:
        size = min(BLOCK_BYTES, at)
        at -= size
        rest, *lines = (os.pread(descriptor, size, at) + rest).split(b"\n")
        if lines and not ended:
            lines.pop()
            ended = True
        yield from reversed(lines)
    if ended:
        yield rest


def _whole(descriptor: int, end: int) -> int:
    """Return where the last whole line before `end` ends."""
    at = end
    while at > 0:
        size = min(BLOCK_BYTES, at)
        at -= size
        newline = os.pread(descriptor, size, at).rfind(b"\n")
        if newline >= 0:
            return at + newline + 1
    return 0


@dataclass(slots=True)
class _Place:
    """Where reading of one application's file stands."""

    inode: int
    offset: int
    head: bytes = b""
    """What the file began with: one that was emptied, and is as long again, begins otherwise."""
    rest: bytes = b""


@dataclass(slots=True)
class Follower:
    """New lines since the last look, of files that are there and of those that come."""

    folder: Path
    query: LogQuery
    _places: dict[str, _Place] = field(default_factory=dict)

    def begin(self) -> None:
        """Stand behind the last whole line of every file: `look` returns what comes later."""
        for application, files in applications(self.folder).items():
            with files[0].open("rb") as file:
                found = os.fstat(file.fileno())
                end = _whole(file.fileno(), found.st_size)
                head = os.pread(file.fileno(), min(HEAD_BYTES, end), 0)
            self._places[application] = _Place(found.st_ino, end, head)

    def recent(self) -> list[LogLine]:
        """Return the newest lines before the first look that are wanted, oldest first."""
        files = applications(self.folder)
        backwards = {n: _backwards(files.get(n, ()), p) for n, p in self._places.items()}
        return _newest(self.query, backwards)

    def look(self) -> list[LogLine]:
        """Return what was written since the last look, in order of time."""
        fresh = [self._fresh(name, files) for name, files in applications(self.folder).items()]
        return list(heapq.merge(*fresh, key=lambda line: line.at))

    def _fresh(self, application: str, files: list[Path]) -> list[LogLine]:
        place = self._places.get(application)
        raw: list[bytes] = []
        newer: list[Path] = []
        for path in files:
            try:
                inode = path.stat().st_ino
            except FileNotFoundError:
                continue
            if place is not None and inode == place.inode:
                raw += self._read(path, place)
                break
            newer.append(path)
        for path in reversed(newer):
            place = self._places[application] = _Place(path.stat().st_ino, 0)
            raw += self._read(path, place)
        lines = (parse(line) for line in raw)
        return [line for line in lines if line is not None and self.query.wants(application, line)]

    def _read(self, path: Path, place: _Place) -> list[bytes]:
        with path.open("rb") as file:
            head = os.pread(file.fileno(), HEAD_BYTES, 0)
            size = os.fstat(file.fileno()).st_size
            if size < place.offset or not head.startswith(place.head):  # emptied
                place.offset, place.rest = 0, b""
            data = os.pread(file.fileno(), FOLLOW_BYTES_MAX, place.offset)
        place.offset += len(data)
        place.head = head[: place.offset]
        *lines, place.rest = (place.rest + data).split(b"\n")
        return lines


def flush(folder: Path, names: frozenset[str]) -> int:
    """Empty the logs of `names` (none: of all) and remove the old files; return the bytes gone.

    The logger writes on at the end of the emptied file.
    """
    gone = 0
    for application, files in applications(folder).items():
        if names and application not in names:
            continue
        for path in files:
            gone += path.stat().st_size
            if path.suffix == ".log":
                os.truncate(path, 0)
            else:
                path.unlink()
    return gone
