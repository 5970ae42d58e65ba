"""Snapshots of the engine: files that are whole, checked and restorable, or not there.

A snapshot is written under another name, made durable, read back, restored and compared before it
gets its own name; so a name of this form means that the snapshot was proven. Layout:

    magic 8 | format u32 | rules_version u32 | sequence u64 | length u64 | state hash 32
    | payload crc u32 | header crc u32
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from madang.core.errors import MadangError
from madang.exchange.engine.port import Engine
from madang.exchange.venue.disk import Disk, RealDisk, read_whole, write_all
from madang.exchange.venue.errors import LogUnreadable, SnapshotDamaged
from madang.exchange.venue.replica import EngineFactory, engine_factory
from madang.exchange.venue.segment import RULES_VERSION

FORMAT = 1
FOLDER = "snapshots"
PREFIX, SUFFIX = "snapshot-", ".bin"
SNAPSHOTS_KEPT = 3
_MAGIC = b"MDSNAPFL"
_HEADER = struct.Struct("<8sIIQQ32sII")
_CRC_COVERS = _HEADER.size - 4


class SnapshotFile(NamedTuple):
    """A snapshot by name."""

    path: Path
    sequence: int


class Snapshot(NamedTuple):
    """A snapshot's content: the engine's bytes as of `sequence` and their SHA-256."""

    sequence: int
    payload: bytes
    state_hash: bytes


def list_snapshots(disk: Disk, folder: Path) -> list[SnapshotFile]:
    """Return the snapshots, oldest first."""
    found = []
    for name in disk.names(folder):
        number = name[len(PREFIX) : -len(SUFFIX)]
        if name == PREFIX + number + SUFFIX and number.isdecimal():
            found.append(SnapshotFile(folder / name, int(number)))
    return found


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the content of a snapshot file."""
    head = _HEADER.pack(
        _MAGIC,
        FORMAT,
        RULES_VERSION,
        snapshot.sequence,
        len(snapshot.payload),
        snapshot.state_hash,
        google_crc32c.value(snapshot.payload),
        0,
    )[:_CRC_COVERS]
    crc: int = google_crc32c.value(head)
    return head + crc.to_bytes(4, "little") + snapshot.payload


def decode_snapshot(path: Path, data: bytes) -> Snapshot:
    """Check a snapshot file in full; raises SnapshotDamaged or LogUnreadable."""
    if len(data) < _HEADER.size:
        raise SnapshotDamaged(f"{path}: header cut", file=str(path))
    magic, form, rules, sequence, length, state_hash, crc, head_crc = _HEADER.unpack_from(data)
    if magic != _MAGIC or google_crc32c.value(data[:_CRC_COVERS]) != head_crc:
        raise SnapshotDamaged(f"{path}: header damaged", file=str(path))
    if form > FORMAT or rules > RULES_VERSION:
        raise LogUnreadable(f"{path}: written by a newer Madang (format {form}, rules {rules})")
    payload = data[_HEADER.size :]
    if len(payload) != length or google_crc32c.value(payload) != crc:
        raise SnapshotDamaged(f"{path}: payload damaged", file=str(path))
    if hashlib.sha256(payload).digest() != state_hash:
        raise SnapshotDamaged(f"{path}: state hash differs", file=str(path))
    return Snapshot(sequence, payload, state_hash)


def read_snapshot(disk: Disk, file: SnapshotFile) -> Snapshot:
    """Read and check one snapshot; raises SnapshotDamaged, LogUnreadable or OSError."""
    snapshot = decode_snapshot(file.path, read_whole(disk, file.path))
    if snapshot.sequence != file.sequence:
        raise SnapshotDamaged(f"{file.path}: is of sequence {snapshot.sequence}")
    return snapshot


def newest_snapshots(
    disk: Disk, folder: Path, not_after: int | None = None
) -> Iterator[tuple[SnapshotFile, Snapshot | SnapshotDamaged]]:
    """Yield the snapshots, checked, newest first; `not_after` skips those of later sequences."""
    for file in reversed(list_snapshots(disk, folder)):
        if not_after is not None and file.sequence > not_after:
            continue
        try:
            yield file, read_snapshot(disk, file)
        except SnapshotDamaged as damage:
            yield file, damage


def write_snapshot(disk: Disk, folder: Path, snapshot: Snapshot, factory: EngineFactory) -> Path:
    """Write a snapshot, prove it, name it; removes all but the newest SNAPSHOTS_KEPT.

    Raises SnapshotDamaged, OSError.
    """
    disk.make_folder(folder)
    path = folder / f"{PREFIX}{snapshot.sequence:020d}{SUFFIX}"
    temporary = path.with_name(path.name + ".tmp")
    for name in disk.names(folder):
        if name.endswith(".tmp"):
            disk.unlink(folder / name)
    file = disk.open(temporary, create=True)
    try:
        write_all(file, encode_snapshot(snapshot), 0)
        file.fdatasync()
    finally:
        file.close()
    prove_snapshot(decode_snapshot(temporary, read_whole(disk, temporary)), factory)
    disk.rename(temporary, path)
    disk.sync_folder(folder)
    for old in list_snapshots(disk, folder)[:-SNAPSHOTS_KEPT]:
        disk.unlink(old.path)
    return path


def restore_snapshot(factory: EngineFactory, snapshot: Snapshot) -> Engine:
    """Return the engine of a checked snapshot; raises SnapshotDamaged where it cannot be one."""
    try:
        engine = factory.restore(snapshot.payload)
    except (MadangError, ValueError) as error:
        raise SnapshotDamaged(f"snapshot of {snapshot.sequence}: {error}") from error
    if engine.sequence != snapshot.sequence:
        raise SnapshotDamaged(f"snapshot of {snapshot.sequence} restores to {engine.sequence}")
    return engine


def prove_snapshot(snapshot: Snapshot, factory: EngineFactory) -> None:
    """Restore the snapshot and compare; raises SnapshotDamaged."""
    if restore_snapshot(factory, snapshot).state_hash() != snapshot.state_hash:
        raise SnapshotDamaged(f"snapshot of {snapshot.sequence} does not restore to itself")


def write_snapshot_bytes(
    state_dir: Path,
    sequence: int,
    payload: bytes,
    state_hash: bytes,
    engine: str = "auto",
) -> Path:
    """Write the snapshot of a replica into `state_dir`, proven by restoring it into `engine`.

    Blocks, so call it in a thread; raises SnapshotDamaged, OSError.
    """
    snapshot = Snapshot(sequence, payload, state_hash)
    return write_snapshot(RealDisk(), state_dir / FOLDER, snapshot, engine_factory(engine))
