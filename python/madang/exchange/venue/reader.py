"""Reads the log behind the writer: whole batches, never beyond what the venue said is committed.

The place (segment, offset) is kept between calls; bytes are not, for what lies beyond the committed
sequence may still change or be cut away.
"""

from __future__ import annotations

from pathlib import Path

from madang.exchange.venue.disk import Disk, File
from madang.exchange.venue.errors import LogDamaged, LogError
from madang.exchange.venue.segment import (
    SEGMENT_HEADER_BYTES,
    Segment,
    check_header,
    list_segments,
)
from madang.wire.batch import BATCH_BYTES_MAX, BatchDamage, parse_batch

CHUNK_BYTES = 512 * 1024
TAIL_BYTES = 64 * 1024
"""Read at a time by who is close behind the writer: what follows is mostly blank."""


class LogGone(LogError):
    """The commands that are asked for are no longer in the log: start from a newer snapshot."""


class LogReader:
    """Reads on from one sequence; blocking, from one thread at a time."""

    def __init__(self, disk: Disk, folder: Path, after: int) -> None:
        """Begin behind command `after`."""
        self._disk = disk
        self._folder = folder
        self._next = after + 1
        self._segment: Segment | None = None
        self._file: File | None = None
        self._offset = 0
        self._ahead_bytes = TAIL_BYTES

    def read(self, committed: int, bytes_max: int = CHUNK_BYTES) -> list[bytes]:
        """Return the next batch records, about `bytes_max` of them; none when nothing is left.

        Raises LogGone, LogDamaged, LogUnreadable, OSError.
        """
        records: list[bytes] = []
        size = 0
        while self._next <= committed and size < bytes_max:
            if self._file is None:
                self._open()
            found = self._read_here(committed)
            if not found:
                self._open_following()
                continue
            records += found
            size += sum(map(len, found))
        return records

    def _read_here(self, committed: int) -> list[bytes]:
        """Return the batches in the next chunk of this segment; none where it holds no more."""
        assert self._file is not None
        records: list[bytes] = []
        data = self._file.pread(self._ahead_bytes, self._offset)
        offset = 0
        while self._next <= committed:
            header = parse_batch(data, offset)
            if isinstance(header, BatchDamage):
                if records:
                    break
                if len(data) < BATCH_BYTES_MAX and not header.blank:
                    data = self._file.pread(BATCH_BYTES_MAX, self._offset)
                    header = parse_batch(data, 0)
                if isinstance(header, BatchDamage):
                    self._expect_end(header)
                    return []
            last = header.last_sequence
            if last >= self._next:
                if header.sequence != self._next:
                    self._damaged(offset, f"command {header.sequence}, expected {self._next}")
                records.append(data[offset : offset + header.length])
                self._next = last + 1
            offset += header.length
        self._offset += offset
        self._ahead_bytes = CHUNK_BYTES if self._next <= committed else TAIL_BYTES
        return records or self._skipped(offset, committed)

    def _skipped(self, advanced: int, committed: int) -> list[bytes]:
        """Go on where only batches were passed that were read before."""
        if advanced and self._next <= committed:
            return self._read_here(committed)
        return []

    def _expect_end(self, damage: BatchDamage) -> None:
        if not damage.blank:
            self._damaged(0, damage.reason)

    def _damaged(self, offset: int, reason: str) -> None:
        assert self._segment is not None
        raise LogDamaged(self._segment.path, self._offset + offset, reason)

    def _open(self) -> None:
        candidates = [
            one for one in list_segments(self._disk, self._folder) if one.first <= self._next
        ]
        if not candidates:
            raise LogGone(f"{self._folder}: command {self._next} is no longer there")
        self._enter(candidates[-1])

    def _open_following(self) -> None:
        """The batch is committed and not here, so it begins the next segment."""
        for segment in list_segments(self._disk, self._folder):
            if segment.first == self._next and segment != self._segment:
                self._enter(segment)
                return
        assert self._segment is not None
        raise LogDamaged(
            self._segment.path, self._offset, f"command {self._next} is committed and not here"
        )

    def _enter(self, segment: Segment) -> None:
        self.close()
        file = self._disk.open_to_read(segment.path)
        self._segment, self._file, self._offset = segment, file, SEGMENT_HEADER_BYTES
        check_header(segment, file.pread(SEGMENT_HEADER_BYTES, 0))

    def close(self) -> None:
        """Close the file; reading may go on later."""
        if self._file is not None:
            self._file.close()
            self._file = None
