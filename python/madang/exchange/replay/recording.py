"""Recorded files as timed steps: which format it is, what each event does, and what came of all.

A `Recording` gives `Timed` steps in the order of the file; whoever drives them against an engine or
a venue decides how fast. Pure, but for reading the file.
"""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

from madang.exchange.replay.bitstamp import BitstampEvent, BitstampReplay, read_bitstamp
from madang.exchange.replay.client import ReplayAccounts, Steps
from madang.exchange.replay.files import ReplayFileError
from madang.exchange.replay.lobster import (
    LobsterMessage,
    LobsterReplay,
    LobsterRow,
    read_lobster_messages,
    read_lobster_rows,
)
from madang.exchange.replay.simple import COLUMNS, read_simple
from madang.wire.codes import QUANTITY_SCALE, Side

NS_PER_MS = 1_000_000
Levels = dict[Side, dict[int, int]]


class Timed(NamedTuple):
    """One event: when it happened, in the file's own time, and what it does."""

    at_ns: int
    steps: Steps[None]


class Summary(NamedTuple):
    """What became of a recording."""

    introduced: int
    skipped: int
    rejected: int
    details: str


class Recording(Protocol):
    """A file that was read."""

    events: int

    def timed(self, accounts: ReplayAccounts, run: bytes) -> Iterator[Timed]:
        """Yield the steps in order; each is driven to its end before the next is asked for."""
        ...

    def levels(self) -> Levels:
        """Return what should be in the book: by side, quantity units at each price."""
        ...

    def summary(self) -> Summary:
        """Return what became of the events so far."""
        ...


class OrderEvents:
    """Created, changed and deleted orders: Bitstamp's, or the simple CSV's."""

    def __init__(self, rows: list[BitstampEvent]) -> None:
        self.events = len(rows)
        self._rows = rows
        self._replay: BitstampReplay | None = None

    def timed(self, accounts: ReplayAccounts, run: bytes) -> Iterator[Timed]:
        """Yield a step for each event."""
        replay = self._replay = BitstampReplay(accounts, run)
        for row in self._rows:
            yield Timed(row.time_ms * NS_PER_MS, replay.apply(row))

    def levels(self) -> Levels:
        """Return what should be in the book."""
        return self._replay.levels() if self._replay else {}

    def summary(self) -> Summary:
        """Return what became of the events."""
        replay = self._replay
        assert replay is not None
        found = replay.changes.live + replay.deletes.live
        filled = replay.changes.filled + replay.deletes.filled
        unknown = replay.changes.unknown + replay.deletes.unknown
        return Summary(
            replay.introduced,
            filled + unknown,
            replay.rejected,
            f"{replay.trades} trades; {found} changes and deletes found their order, {filled} "
            f"found it filled already, {unknown} named one from before the file",
        )


class LobsterEvents:
    """A LOBSTER message file, with its orderbook file or without."""

    def __init__(self, messages: list[LobsterMessage], rows: list[LobsterRow]) -> None:
        """Raises ReplayFileError where there are rows, but not one for each message."""
        if rows and len(rows) != len(messages):
            raise ReplayFileError(f"{len(messages)} messages, but {len(rows)} rows of the book")
        self.events = len(messages)
        self._messages = messages
        self._rows = rows
        self._replay: LobsterReplay | None = None
        self._changed = 0
        self._at = 0

    def timed(self, accounts: ReplayAccounts, run: bytes) -> Iterator[Timed]:
        """Yield a step for each message."""
        replay = self._replay = LobsterReplay(accounts, run, self._messages)
        messages = iter(self._messages)
        if self._rows:
            yield Timed(next(messages).time_ns, replay.begin(self._rows[0]))
        for index, message in enumerate(messages, bool(self._rows)):
            yield Timed(message.time_ns, self._one(replay, message, index))

    def _one(self, replay: LobsterReplay, message: LobsterMessage, index: int) -> Steps[None]:
        yield from replay.apply(message)
        self._at = index
        if self._rows:
            self._changed += yield from replay.reconcile(self._rows[index])

    def levels(self) -> Levels:
        """Return what should be in the book: what its row shows, else what was replayed."""
        if self._rows:
            sides = {side: self._rows[self._at].side(side) for side in (Side.BUY, Side.SELL)}
            return {
                side: {level.price: level.size * QUANTITY_SCALE for level in levels}
                for side, levels in sides.items()
            }
        found = self._replay.levels() if self._replay else {}
        return {
            side: {price: size * QUANTITY_SCALE for price, size in levels.items()}
            for side, levels in found.items()
        }

    def summary(self) -> Summary:
        """Return what became of the messages."""
        replay = self._replay
        assert replay is not None
        done = replay.executions
        exact = len(done.introduced) + len(done.seeded)
        return Summary(
            replay.introduced,
            replay.missing,
            replay.rejected,
            f"{replay.seeded} orders seeded, {self._changed} levels taken over from the book file; "
            f"executions: {exact} filled exactly the order named, {len(done.unknown)} one nobody "
            f"names, {len(done.exceptions)} something else",
        )


def open_recording(path: Path, book: Path | None) -> Recording:
    """Read a file; `book` is the orderbook file of a LOBSTER pair. Raises ReplayFileError, OSError.

    Without `book` a file beside it whose name says orderbook in place of message is taken.
    """
    with _open(path) as lines:
        first = lines.readline()
        lines.seek(0)
        names = first.strip().split(",")
        if set(COLUMNS) <= set(names):
            return OrderEvents(list(read_simple(lines)))
        if names[:2] == ["id", "timestamp"]:
            return OrderEvents(list(read_bitstamp(lines)))
        messages = list(read_lobster_messages(lines))
    if not messages:
        raise ReplayFileError(f"{path} is empty", file=str(path))
    for before, after in pairwise(messages):
        if after.time_ns < before.time_ns:
            raise ReplayFileError(f"{path}: time goes back after {before.time_ns} ns")
    beside = path.with_name(path.name.replace("message", "orderbook"))
    found = book or (beside if beside != path and beside.exists() else None)
    if found is None:
        return LobsterEvents(messages, [])
    with _open(found) as lines:
        return LobsterEvents(messages, list(read_lobster_rows(lines)))


def _open(path: Path) -> TextIO:
    if path.suffix == ".xz":
        return lzma.open(path, "rt")
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()
