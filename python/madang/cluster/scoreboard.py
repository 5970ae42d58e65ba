"""Numbers that processes show each other through shared memory: one row for each living process.

A memfd mapped by the supervisor, which gives rows out, and by every role, which writes its own row
and no other. A cell is one aligned 64-bit integer, so it is read whole without any lock. Reading
costs nobody a message, which is what lets the supervisor look ten times a second.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from typing import overload

ROWS_MAX = 1_024
CELL_BYTES = 8
ROW_CELLS = 16
BOARD_BYTES = ROWS_MAX * ROW_CELLS * CELL_BYTES


class Cell:
    """One named cell of a row, as an attribute of `Scores`."""

    def __init__(self, index: int) -> None:
        self._index = index

    @overload
    def __get__(self, scores: None, owner: type[Scores]) -> Cell: ...
    @overload
    def __get__(self, scores: Scores, owner: type[Scores]) -> int: ...
    def __get__(self, scores: Scores | None, owner: type[Scores]) -> int | Cell:
        return self if scores is None else scores.cells[self._index]

    def __set__(self, scores: Scores, value: int) -> None:
        scores.cells[self._index] = value


class Scores:
    """The row of one process. Writing is one store: `scores.connections = 5`."""

    __slots__ = ("cells",)

    heartbeat = Cell(0)
    """Grows with every turn of the heartbeat; a count, for a clock could be wrong."""
    loop_lag_us = Cell(1)
    """Worst lateness of the event loop within the last second or two."""
    connections = Cell(2)
    websockets = Cell(3)
    requests = Cell(4)
    """Requests answered since the process began."""
    errors = Cell(5)
    """Those of them answered with 5xx; the cells below have 2xx, 3xx and 4xx."""
    in_flight = Cell(6)
    outbox_bytes = Cell(7)
    slow_consumers = Cell(8)
    bus_sent = Cell(9)
    bus_received = Cell(10)
    succeeded = Cell(11)
    redirected = Cell(12)
    refused = Cell(13)

    def __init__(self, cells: memoryview | None = None) -> None:
        self.cells = (
            memoryview(bytearray(ROW_CELLS * CELL_BYTES)).cast("q") if cells is None else cells
        )

    def table(self) -> dict[str, int]:
        """Return every cell by name."""
        return {name: self.cells[index] for index, name in enumerate(CELLS)}


COUNTED = (
    "requests",
    "errors",
    "succeeded",
    "redirected",
    "refused",
    "slow_consumers",
    "bus_sent",
    "bus_received",
)
"""The cells that only grow as long as a process lives."""
CELLS = tuple(name for name, value in vars(Scores).items() if isinstance(value, Cell))


class Scoreboard:
    """The whole board. Rows are taken and given back by the supervisor alone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, BOARD_BYTES)
        self._cells = memoryview(self._map).cast("q")
        self._free = list(range(ROWS_MAX - 1, -1, -1))

    @classmethod
    def create(cls) -> Scoreboard:
        """Make an empty board."""
        descriptor = os.memfd_create("madang-scoreboard", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, BOARD_BYTES)
        return cls(descriptor)

    def take(self) -> int | None:
        """Return a row of zeros, None when all are taken."""
        if not self._free:
            return None
        row = self._free.pop()
        self._cells[row * ROW_CELLS : (row + 1) * ROW_CELLS] = memoryview(
            bytes(ROW_CELLS * CELL_BYTES)
        ).cast("q")
        return row

    def claim(self, row: int) -> None:
        """Take a row as it is: its process has been there all the time."""
        self._free.remove(row)

    def give_back(self, row: int) -> None:
        """Let the row be taken by another; its process is gone."""
        self._free.append(row)

    def scores(self, row: int) -> Scores:
        """Return row `row`."""
        return Scores(self._cells[row * ROW_CELLS : (row + 1) * ROW_CELLS])

    def close(self) -> None:
        """Close the board of a supervisor that ends; its rows must not be read after that."""
        os.close(self.descriptor)


def total(tables: list[Mapping[str, int]], name: str) -> int:
    """Return the sum of one cell over several rows."""
    return sum(table[name] for table in tables)
