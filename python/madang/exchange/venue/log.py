"""The file log: the one writer's end of it.

`write` returns when a batch is durable. A segment is full of durable zeros before the first batch
goes in, so a commit changes no metadata; the next segment is made ready, under another name, before
it is needed. Invariant: at most one batch, the last, is not durable; everything before it is.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from pathlib import Path

import msgspec

from madang.core.errors import SettingsError
from madang.exchange.venue.disk import ZEROS, Disk, File, write_all
from madang.exchange.venue.errors import LogFailed, LogFull
from madang.exchange.venue.segment import (
    SEGMENT_HEADER_BYTES,
    Position,
    Segment,
    encode_header,
    fill_with_zeros,
    segment_name,
)

SPARE = "next-segment.tmp"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the log's files."""

    segment_bytes: int = 64 * 1024 * 1024
    batch_bytes_max: int = 1024 * 1024
    prepare_at_percent: int = 25  # how full a segment is when the next is made ready

    def __post_init__(self) -> None:
        if (
            self.segment_bytes % 8
            or self.segment_bytes < SEGMENT_HEADER_BYTES + self.batch_bytes_max
        ):
            raise SettingsError(
                "venue", "segment_bytes", "a multiple of 8, with room for a header and one batch"
            )


class Log:
    """The end of the log. `write` belongs to one thread; `prepare_next` may run in another."""

    def __init__(
        self, disk: Disk, folder: Path, settings: LogSettings, segment: Segment, offset: int
    ) -> None:
        """Continue `segment`, whose bytes from `offset` on are durable zeros."""
        self._disk = disk
        self._folder = folder
        self._settings = settings
        self._segment = segment
        self._file: File = disk.open(segment.path)
        self._size = self._file.size()
        self._offset = offset
        self._spare: File | None = None
        self._lock = threading.Lock()

    @property
    def segment(self) -> Segment:
        """Return the segment that is written to."""
        return self._segment

    @property
    def offset(self) -> int:
        """Return where the next batch goes."""
        return self._offset

    @property
    def needs_next(self) -> bool:
        """Tell whether `prepare_next` should be called."""
        limit = self._size * self._settings.prepare_at_percent // 100
        return self._spare is None and self._offset >= limit

    def write(self, record: bytes, first: int) -> None:
        """Make the batch whose first command is `first` durable.

        Raises LogFull (nothing of it stays), or LogFailed (the process must end).
        """
        if self._offset + len(record) > self._size:
            self._roll(first)
        try:
            self._append(record)
            self._file.fdatasync()
        except OSError as error:
            raise LogFailed(
                f"{self._segment.path}: {error}: what is durable is unknown, ending",
                file=str(self._segment.path),
                offset=self._offset,
                error=error.errno,
            ) from error
        self._offset += len(record)

    def _append(self, record: bytes) -> None:
        done = 0
        while done < len(record):
            try:
                done += self._file.pwrite(record[done:] if done else record, self._offset + done)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._take_back(done)
                raise LogFull(f"{self._segment.path}: {error}") from error

    def _take_back(self, written: int) -> None:
        """Overwrite the beginning of a batch that did not fit: cut padding would leave it valid."""
        if written:
            write_all(self._file, bytes(written), self._offset)
            self._file.fdatasync()

    def prepare_next(self) -> None:
        """Make the next segment ready; raises LogFull where there is no room, else LogFailed."""
        with self._lock:
            if self._spare is None:
                self._spare = make_spare(self._disk, self._folder, self._settings)

    def _roll(self, first: int) -> None:
        self.prepare_next()
        with self._lock:
            spare = self._spare
            assert spare is not None
            self._spare = None
            self._file.close()
            try:
                self._segment = name_spare(self._disk, self._folder, spare, first)
            except OSError as error:
                raise LogFailed(f"{self._folder}: {error}: no new segment") from error
            self._file = spare
            self._size = spare.size()
            self._offset = SEGMENT_HEADER_BYTES

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._spare is not None:
            self._spare.close()


def make_spare(disk: Disk, folder: Path, settings: LogSettings) -> File:
    """Return a new file full of durable zeros under a name that no reader looks at."""
    path = folder / SPARE
    try:
        if SPARE in disk.names(folder):
            disk.unlink(path)
        file = disk.open(path, create=True)
    except OSError as error:
        raise _full_or_failed(path, error) from error
    try:
        fill_with_zeros(file, settings.segment_bytes)
    except OSError as error:
        file.close()
        with contextlib.suppress(OSError):
            disk.unlink(path)
        raise _full_or_failed(path, error) from error
    return file


def _full_or_failed(path: Path, error: OSError) -> LogFull | LogFailed:
    kind = LogFull if error.errno in _NO_ROOM else LogFailed
    return kind(f"{path}: {error}", file=str(path), error=error.errno)


def name_spare(disk: Disk, folder: Path, spare: File, first: int) -> Segment:
    """Turn the spare into the segment that begins with command `first`, durably; OSError if not."""
    write_all(spare, encode_header(first), 0)
    spare.fdatasync()
    path = folder / segment_name(first)
    disk.rename(folder / SPARE, path)
    disk.sync_folder(folder)
    return Segment(path, first)


def blank(file: File, start: int, end: int) -> None:
    """Overwrite `start` to `end` with zeros, durably."""
    for at in range(start, end, len(ZEROS)):
        write_all(file, ZEROS[: min(len(ZEROS), end - at)], at)
    file.fdatasync()


__all__ = [
    "SPARE",
    "Log",
    "LogSettings",
    "Position",
    "blank",
    "make_spare",
    "name_spare",
]
