"""A segment of the log: one file, zero-filled when made, then written batch after batch.

The first 4,096 bytes hold the header and nothing else, so that no later write touches its sectors:

    magic 8 | format u32 | rules_version u32 | first sequence u64 | crc u32 | zeros

Then batches (`wire.batch`) without gaps, sequences without gaps, times growing, terms never
falling; then zeros to the end. The file is named after its first sequence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from madang.exchange.venue.disk import ZEROS, Disk, File
from madang.exchange.venue.errors import LogDamaged, LogUnreadable
from madang.wire.batch import (
    BATCH_BYTES_MAX,
    HEADER_BYTES,
    MAGIC,
    BatchDamage,
    BatchHeader,
    parse_batch,
)

FORMAT = 1
RULES_VERSION = 1
SEGMENT_HEADER_BYTES = 4096
_MAGIC = b"MDLOGSEG"
_HEADER = struct.Struct("<8sIIQI")
_CRC_COVERS = 24
_BATCH_MAGIC = MAGIC.to_bytes(4, "little")
PREFIX, SUFFIX = "segment-", ".log"


class Segment(NamedTuple):
    """A segment by name: where it is and the sequence of its first command."""

    path: Path
    first: int


class Position(NamedTuple):
    """How far the log was read: the last command's sequence, its batch's time and term."""

    sequence: int
    now_ns: int
    term: int


def segment_name(first: int) -> str:
    """Return the file name of the segment that begins with command `first`."""
    return f"{PREFIX}{first:020d}{SUFFIX}"


def list_segments(disk: Disk, folder: Path) -> list[Segment]:
    """Return the segments in order."""
    found = []
    for name in disk.names(folder):
        number = name[len(PREFIX) : -len(SUFFIX)]
        if name == PREFIX + number + SUFFIX and number.isdecimal():
            found.append(Segment(folder / name, int(number)))
    return found


def encode_header(first: int) -> bytes:
    """Return the header block of the segment that begins with command `first`."""
    head = _HEADER.pack(_MAGIC, FORMAT, RULES_VERSION, first, 0)[:_CRC_COVERS]
    crc: int = google_crc32c.value(head)
    return head + crc.to_bytes(4, "little")


def check_header(segment: Segment, data: bytes) -> None:
    """Raise LogDamaged or LogUnreadable unless `data` begins with the segment's header."""
    if len(data) < SEGMENT_HEADER_BYTES:
        raise LogDamaged(segment.path, 0, f"only {len(data)} bytes, the header is cut")
    magic, form, rules, first, crc = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise LogDamaged(segment.path, 0, "no segment header")
    if google_crc32c.value(data[:_CRC_COVERS]) != crc:
        raise LogDamaged(segment.path, 0, "checksum of the segment header differs")
    if form > FORMAT or rules > RULES_VERSION:
        raise LogUnreadable(
            f"{segment.path}: written by a newer Madang (format {form}, rules {rules}); "
            f"this one reads up to format {FORMAT}, rules {RULES_VERSION}",
            file=str(segment.path),
            format=form,
            rules_version=rules,
        )
    if first != segment.first:
        raise LogDamaged(segment.path, 0, f"header says it begins with command {first}")
    end = blank_end(data[:SEGMENT_HEADER_BYTES], _HEADER.size)
    if end:
        raise LogDamaged(segment.path, end - 1, "bytes after the segment header")


def blank_end(data: bytes, start: int) -> int:
    """Return the end of the last byte at or after `start` that is not zero; 0 where all are."""
    end = len(data)
    while end > start:
        begin = max(start, end - len(ZEROS))
        if data[begin:end] != ZEROS[: end - begin]:
            return begin + len(data[begin:end].rstrip(b"\0"))
        end = begin
    return 0


class Scan:
    """Reads the batches of one segment, checking each; `offset` is where the next one would be."""

    def __init__(self, segment: Segment, data: bytes, after: Position) -> None:
        check_header(segment, data)
        self.segment = segment
        self.offset = SEGMENT_HEADER_BYTES
        self.last_offset = 0
        self.position = after
        self.damage: BatchDamage | None = None
        self._data = data

    def batches(self) -> Iterator[tuple[BatchHeader, bytes]]:
        """Yield (header, whole record) until something is not a batch: then `damage` says why."""
        data, offset = self._data, self.offset
        while True:
            header = parse_batch(data, offset)
            if isinstance(header, BatchDamage):
                self.damage = header
                return
            self._check_order(header)
            yield header, data[offset : offset + header.length]
            self.last_offset = offset
            offset += header.length
            self.offset = offset
            self.position = Position(header.last_sequence, header.last_now_ns, header.term)

    def _check_order(self, header: BatchHeader) -> None:
        last = self.position
        if header.sequence != last.sequence + 1:
            self._refuse(f"command {header.sequence} follows command {last.sequence}")
        if header.now_ns <= last.now_ns or header.term < last.term:
            self._refuse("time or term goes back")
        if header.rules_version > RULES_VERSION:
            raise LogUnreadable(
                f"{self.segment.path}: batch at offset {self.offset} has rules version "
                f"{header.rules_version}, this program knows {RULES_VERSION}",
                file=str(self.segment.path),
                offset=self.offset,
                rules_version=header.rules_version,
            )

    def _refuse(self, reason: str) -> None:
        raise LogDamaged(self.segment.path, self.offset, reason)

    def torn_end(self) -> int:
        """Return where the bytes of a torn last batch end; 0 where nothing follows the last batch.

        Raises LogDamaged where a valid batch follows: then it was not the tail that tore.
        """
        end = blank_end(self._data, self.offset)
        if not end:
            return 0
        if end - self.offset > BATCH_BYTES_MAX:
            self._refuse(f"{self.reason}, and bytes follow up to offset {end}: more than one batch")
        later = self._later_batch(end)
        if later:
            self._refuse(f"{self.reason}, and a valid batch follows at offset {later}")
        return end

    @property
    def reason(self) -> str:
        """Return why reading ended."""
        return self.damage.reason if self.damage else "not read"

    def _later_batch(self, end: int) -> int:
        data = self._data
        at = data.find(_BATCH_MAGIC, self.offset + 1, end)
        while at >= 0:
            if at % 8 == 0:
                header = parse_batch(data, at)
                if isinstance(header, BatchHeader) and header.sequence > self.position.sequence:
                    return at
            at = data.find(_BATCH_MAGIC, at + 1, end)
        return 0


def fill_with_zeros(file: File, size: int) -> None:
    """Write a file full of zeros, durably; a piece at a time, so that commits pass between."""
    for start in range(0, size, len(ZEROS)):
        piece = ZEROS[: min(len(ZEROS), size - start)]
        done = 0
        while done < len(piece):
            done += file.pwrite(piece[done:], start + done)
        file.fdatasync()


assert HEADER_BYTES % 8 == 0
assert SEGMENT_HEADER_BYTES % 8 == 0
