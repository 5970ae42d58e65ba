"""Leases: one holder of a name at a time, each with a greater epoch than all before it.

Whoever receives something from a holder drops what carries a lower epoch. On one machine the
kernel is the arbiter: a lock on the file, which ends with the process. The epoch is raised on
disk, in place (a rename would take the lock's file away), before `acquire` returns.

File: two slots of `epoch u64 | CRC32 of it u32 | zero u32`, written in turn and synced, so that a
torn write damages at most the slot that nobody was promised; the valid slot with the greater
epoch counts. The lock belongs to the open file, so a child forked while a lease is held holds it
too: acquire after forking.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from pathlib import Path
from typing import Final, Protocol

from madang.bus.errors import BusError, LeaseDamaged, LeaseTaken
from madang.bus.subjects import check_name

_SLOT: Final = struct.Struct("<QII")
_SLOTS: Final = 2
_EMPTY: Final = bytes(_SLOT.size)
_NOTE: Final = struct.Struct("<QII")
NOTE_BYTES_MAX: Final = 128 * 1024 * 1024


class Held(Protocol):
    """A lease that is held."""

    @property
    def epoch(self) -> int:
        """Return the epoch, at least 1."""
        ...

    @property
    def note(self) -> bytes:
        """Return what the holder just before us left when it released; empty where it died."""
        ...

    def release(self, note: bytes = b"") -> None:
        """Give it up, with a note for the next holder; a second call does nothing."""
        ...


class Lease(Protocol):
    """The leases of one scope."""

    def acquire(self, name: str) -> Held:
        """Take the lease at once, or raise LeaseTaken; LeaseDamaged where its epoch is lost."""
        ...


class _HeldFile:
    """An open, locked lease file."""

    __slots__ = ("_descriptor", "epoch", "note")

    def __init__(self, descriptor: int, epoch: int, note: bytes) -> None:
        self._descriptor = descriptor
        self.epoch = epoch
        self.note = note

    def release(self, note: bytes = b"") -> None:
        """Write the note and close the file, which ends the lock."""
        if self._descriptor < 0:
            return
        try:
            if note:
                _write_note(self._descriptor, self.epoch, note)
        finally:
            os.close(self._descriptor)
            self._descriptor = -1


class FileLease:
    """Leases as locked files `<name>.lease` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def acquire(self, name: str) -> Held:
        """See `Lease.acquire`; costs one fsync, and one more the first time."""
        check_name(name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{name}.lease"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LeaseTaken(f"lease {name} is held", name=name) from error
            content = os.pread(descriptor, _SLOT.size * _SLOTS, 0)
            epoch, slot = next_epoch(content, path)
            note = _read_note(descriptor, epoch - 1)
            _write(descriptor, epoch, slot)
            os.ftruncate(descriptor, _SLOT.size * _SLOTS)
            if not content:
                _sync_folder(self._folder)
        except BaseException:
            os.close(descriptor)
            raise
        return _HeldFile(descriptor, epoch, note)


class _HeldInMemory:
    """A lease of this process."""

    __slots__ = ("_place", "epoch", "name", "note")

    def __init__(self, place: MemoryLease, name: str, epoch: int, note: bytes) -> None:
        self._place: MemoryLease | None = place
        self.name = name
        self.epoch = epoch
        self.note = note

    def release(self, note: bytes = b"") -> None:
        """Give it up."""
        if self._place is not None:
            self._place.free(self.name, note)
            self._place = None


class MemoryLease:
    """Leases inside one process."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._last: dict[str, tuple[int, bytes]] = {}

    def acquire(self, name: str) -> Held:
        """See `Lease.acquire`."""
        check_name(name)
        if name in self._held:
            raise LeaseTaken(f"lease {name} is held", name=name)
        epoch, note = self._last.get(name, (0, b""))
        self._held.add(name)
        self._last[name] = (epoch + 1, b"")
        return _HeldInMemory(self, name, epoch + 1, note)

    def free(self, name: str, note: bytes) -> None:
        """Take a lease back; its holder calls this, once."""
        self._held.discard(name)
        self._last[name] = (self._last[name][0], note)


def next_epoch(content: bytes, path: Path) -> tuple[int, int]:
    """Return the next epoch and the slot to write it to; raise LeaseDamaged where none is safe."""
    padded = content.ljust(_SLOT.size * _SLOTS, b"\0")
    slots = [padded[: _SLOT.size], padded[_SLOT.size :]]
    epochs = [_read(slot) for slot in slots]
    if all(epoch is None for epoch in epochs):
        raise LeaseDamaged(f"{path}: no readable epoch; remove it only if no holder lives")
    if epochs[0] is None and slots[1] == _EMPTY:
        return 2, 1  # the first write ever was torn; 1 may be in use by nobody, but costs nothing
    known = [-1 if epoch is None else epoch for epoch in epochs]
    latest = max(known)
    return latest + 1, 1 - known.index(latest) if latest else 0


def _read(slot: bytes) -> int | None:
    if slot == _EMPTY:
        return 0
    epoch, checksum, zero = _SLOT.unpack(slot)
    if zero or checksum != zlib.crc32(slot[:8]):
        return None
    return int(epoch)


def _write(descriptor: int, epoch: int, slot: int) -> None:
    checksum = zlib.crc32(epoch.to_bytes(8, "little"))
    os.pwrite(descriptor, _SLOT.pack(epoch, checksum, 0), slot * _SLOT.size)
    os.fsync(descriptor)


def _write_note(descriptor: int, epoch: int, note: bytes) -> None:
    if len(note) > NOTE_BYTES_MAX:
        raise BusError(f"a note of {len(note)} bytes", limit=NOTE_BYTES_MAX)
    head = _NOTE.pack(epoch, len(note), zlib.crc32(note))
    rest, offset = memoryview(head + note), _SLOT.size * _SLOTS
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def _read_note(descriptor: int, epoch: int) -> bytes:
    """Return the note left under `epoch`; empty where there is none that is whole."""
    offset = _SLOT.size * _SLOTS
    head = os.pread(descriptor, _NOTE.size, offset)
    if len(head) < _NOTE.size:
        return b""
    written_under, length, checksum = _NOTE.unpack(head)
    if written_under != epoch or length > NOTE_BYTES_MAX:
        return b""
    parts: list[bytes] = []
    offset += _NOTE.size
    while length and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        length, offset = length - len(part), offset + len(part)
    note = b"".join(parts)
    return note if not length and zlib.crc32(note) == checksum else b""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
