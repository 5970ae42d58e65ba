"""The audit log: who asked for what, when, from where, and what came of it.

An append-only file of JSON lines in the state folder, readable by its owner only. A line is on disk
before the supervisor is asked, so nothing is done that is not recorded; what comes of it is a later
line with the same id, written by any worker. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "audit.jsonl"
TAIL_BYTES_MAX: Final = 256 * 1024
"""How much of the file's end is read; older lines stay in the file."""
SHOWN_MAX: Final = 100

ASKED: Final = "asked"
ACCEPTED: Final = "accepted"
OPEN: Final = frozenset((ASKED, ACCEPTED))
"""Outcomes that are not the last word."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. The first of an id says who and what; later ones what came of it."""

    id: str
    at: float
    outcome: str
    who: str = ""
    peer: str = ""
    what: str = ""
    name: str = ""
    instances: str = ""
    operation: int = 0
    supervisor: int = 0
    reason: str = ""


class Entry(msgspec.Struct):
    """One action as the page shows it; `at` and `ended` in Unix time."""

    id: str
    at: float
    who: str
    peer: str
    what: str
    name: str
    instances: str
    outcome: str
    reason: str = ""
    operation: int = 0
    supervisor: int = 0
    ended: float | None = None


class Audit:
    """The file of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FILE

    def append(self, line: Line) -> None:
        """Write a line and wait until it is on disk; raises OSError."""
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            whole = size == 0 or os.pread(handle, 1, size - 1) == b"\n"
            data = (b"" if whole else b"\n") + msgspec.json.encode(line) + b"\n"
            if os.write(handle, data) != len(data):
                raise OSError("the audit log took only a part of the line")
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self) -> list[Entry]:
        """Return the newest actions, the newest first."""
        found: dict[str, Entry] = {}
        for line in self._lines():
            entry = found.get(line.id)
            if entry is None:
                if line.what:
                    found[line.id] = _begin(line)
            elif entry.outcome in OPEN:
                _go_on(entry, line)
        return list(reversed(found.values()))[:SHOWN_MAX]

    def _lines(self) -> list[Line]:
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = max(0, size - TAIL_BYTES_MAX)
                raw = os.pread(file.fileno(), TAIL_BYTES_MAX, start).split(b"\n")
        except FileNotFoundError:
            return []
        lines: list[Line] = []
        for text in raw[1:] if start else raw:
            try:
                lines.append(msgspec.json.decode(text, type=Line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # torn by a crash in the middle of a write
        return lines


def _begin(line: Line) -> Entry:
    return Entry(
        id=line.id,
        at=line.at,
        who=line.who,
        peer=line.peer,
        what=line.what,
        name=line.name,
        instances=line.instances,
        outcome=line.outcome,
    )


def _go_on(entry: Entry, line: Line) -> None:
    entry.outcome = line.outcome
    entry.reason = line.reason
    entry.operation = line.operation or entry.operation
    entry.supervisor = line.supervisor or entry.supervisor
    if line.outcome not in OPEN:
        entry.ended = line.at
