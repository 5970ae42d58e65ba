"""`madang venue backup` and `restore`: a copy that is consistent as of one committed command.

A backup holds the newest snapshot, the log that is there, and a manifest with the digest of
each file, written last: without it the copy is not one. While copying, a follower position keeps
the venue from removing segments. Restoring checks digests, copies, and replays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from madang.core.errors import MadangError
from madang.exchange.venue.disk import RealDisk, read_whole, write_all, write_new_file
from madang.exchange.venue.maintenance import VerifyReport, verify
from madang.exchange.venue.positions import FOLLOWERS_FOLDER, write_position
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.segment import SEGMENT_HEADER_BYTES, list_segments
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import Snapshot, newest_snapshots
from madang.exchange.venue.walk import Walk

MANIFEST = "backup.json"
FORMAT = 1


class BackupError(MadangError):
    """A backup cannot be made or used; the message says why."""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is: `files` maps names below its folder to SHA-256 in hex."""

    format: int
    sequence: int
    snapshot: int
    files: dict[str, str]


def backup(state_dir: Path, target: Path, committed: int | None = None) -> Manifest:
    """Copy the state as of command `committed` into the empty folder `target`.

    Beside a running venue pass what it says is committed; without a venue, None: all there is.
    Raises BackupError, LogDamaged, LogUnreadable, OSError.
    """
    disk = RealDisk()
    _make_empty(disk, target)
    hold = f"backup-{os.getpid()}"
    write_position(disk, state_dir, hold, 0)
    try:
        return _copy(disk, state_dir, target, committed)
    finally:
        with contextlib.suppress(OSError):
            disk.unlink(state_dir / FOLLOWERS_FOLDER / f"{hold}.json")


def _make_empty(disk: RealDisk, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target}: is not an empty folder", target=str(target))
    disk.make_folder(target.absolute())


def _copy(disk: RealDisk, state_dir: Path, target: Path, committed: int | None) -> Manifest:
    walk = Walk(disk, state_dir / LOG_FOLDER, committed)
    if not walk.segments:
        raise BackupError(f"{state_dir}: there is no log", folder=str(state_dir))
    ends: dict[Path, int] = {segment.path: SEGMENT_HEADER_BYTES for segment in walk.segments[:1]}
    for place in walk:
        ends[place.segment.path] = place.offset + place.header.length
    sequence = walk.position.sequence
    files: dict[str, str] = {}
    snapshot_sequence = 0
    for file, snapshot in newest_snapshots(disk, state_dir / SNAPSHOT_FOLDER, sequence):
        if isinstance(snapshot, Snapshot):
            content = read_whole(disk, file.path)
            _write(disk, target, f"{SNAPSHOT_FOLDER}/{file.path.name}", content, files)
            snapshot_sequence = file.sequence
            break
    for segment, end in zip(walk.segments, ends.values(), strict=False):
        content = read_whole(disk, segment.path)
        content = content[:end] + bytes(len(content) - end)
        _write(disk, target, f"{LOG_FOLDER}/{segment.path.name}", content, files)
    manifest = Manifest(FORMAT, sequence, snapshot_sequence, files)
    write_new_file(disk, target / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def _write(disk: RealDisk, folder: Path, name: str, content: bytes, files: dict[str, str]) -> None:
    path = folder / name
    disk.make_folder(path.parent.absolute())
    write_new_file(disk, path, content)
    files[name] = hashlib.sha256(content).hexdigest()


def restore(source: Path, state_dir: Path, engine: str = "auto") -> VerifyReport:
    """Bring a backup into a state folder that holds no market yet, and verify it there.

    The log appears last and at once: an interrupted restore leaves nothing that would start.
    Raises BackupError, VerifyFailed, LogDamaged, LogUnreadable, OSError.
    """
    disk = RealDisk()
    manifest = read_manifest(source)
    for folder in (LOG_FOLDER, SNAPSHOT_FOLDER, FOLLOWERS_FOLDER):
        if disk.names(state_dir / folder):
            raise BackupError(f"{state_dir / folder}: is not empty", folder=str(state_dir))
    incoming = state_dir / "restoring.tmp"
    if incoming.exists():
        raise BackupError(
            f"{incoming}: left by an interrupted restore, remove it", file=str(incoming)
        )
    for name, digest in manifest.files.items():
        content = read_whole(disk, source / name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise BackupError(f"{source / name}: is not what was backed up", file=name)
        disk.make_folder((incoming / name).parent.absolute())
        file = disk.open(incoming / name, create=True)
        try:
            write_all(file, content, 0)
            file.fdatasync()
        finally:
            file.close()
        disk.sync_folder((incoming / name).parent)
    for folder in (SNAPSHOT_FOLDER, LOG_FOLDER):
        if (incoming / folder).is_dir():
            with contextlib.suppress(FileNotFoundError):
                (state_dir / folder).rmdir()
            disk.rename(incoming / folder, state_dir / folder)
    incoming.rmdir()
    disk.sync_folder(state_dir)
    report = verify(state_dir, engine)
    if report.sequence != manifest.sequence:
        raise BackupError(f"restored up to {report.sequence}, expected {manifest.sequence}")
    return report


def read_manifest(source: Path) -> Manifest:
    """Read a backup's manifest; raises BackupError."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{source}: no {MANIFEST}, so not a whole backup") from None
    except msgspec.DecodeError as error:
        raise BackupError(f"{source / MANIFEST}: {error}") from error
    if manifest.format > FORMAT:
        raise BackupError(f"{source}: made by a newer Madang (format {manifest.format})")
    if any(not _is_ours(name) for name in manifest.files):
        raise BackupError(f"{source / MANIFEST}: names a file outside the backup")
    return manifest


def _is_ours(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder in (LOG_FOLDER, SNAPSHOT_FOLDER) and file == Path(file).name and file != ".."


__all__ = ["BackupError", "Manifest", "backup", "list_segments", "read_manifest", "restore"]
