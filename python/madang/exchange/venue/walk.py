"""Reading a log without changing it, perhaps beside a venue: to verify, inspect and copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from madang.exchange.venue.disk import Disk, read_whole
from madang.exchange.venue.errors import LogDamaged
from madang.exchange.venue.segment import Position, Scan, Segment, list_segments
from madang.wire.batch import BatchHeader


class Place(NamedTuple):
    """A batch and where it lies."""

    segment: Segment
    offset: int
    header: BatchHeader
    record: bytes


class Walk:
    """Goes through all batches up to `committed` (to the end where that is None).

    After the iteration `position` is the last command read, `torn_bytes` what a start would cut.
    """

    def __init__(self, disk: Disk, folder: Path, committed: int | None) -> None:
        self._disk = disk
        self.segments = list_segments(disk, folder)
        self._committed = committed
        first = self.segments[0].first if self.segments else 1
        self.position = Position(first - 1, -1, 0)
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Place]:
        """Yield the batches in order; raises LogDamaged, LogUnreadable, OSError."""
        for index, segment in enumerate(self.segments):
            if self._done():
                return
            if segment.first != self.position.sequence + 1:
                expected = self.position.sequence + 1
                raise LogDamaged(segment.path, 0, f"begins with {segment.first}, not {expected}")
            scan = Scan(segment, read_whole(self._disk, segment.path), self.position)
            offset = scan.offset
            for header, record in scan.batches():
                yield Place(segment, offset, header, record)
                offset += header.length
                self.position = Position(header.last_sequence, header.last_now_ns, header.term)
                if self._done():
                    return
            end = scan.torn_end()
            if end and index + 1 < len(self.segments):
                raise LogDamaged(
                    segment.path, scan.offset, f"{scan.reason}, and a later segment exists"
                )
            self.torn_bytes = max(0, end - scan.offset)
        if self._committed is not None and not self._done():
            last = self.segments[-1].path if self.segments else Path("log")
            raise LogDamaged(
                last, 0, f"ends at {self.position.sequence}, committed is {self._committed}"
            )

    def _done(self) -> bool:
        return self._committed is not None and self.position.sequence >= self._committed
