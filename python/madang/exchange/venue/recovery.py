"""From what is on the disk to an engine and the end of the log: snapshot, then replay.

A torn tail (bytes after the last batch of the last segment, no valid batch among them) was never
acknowledged: it is overwritten with zeros and reported. Anything else that is not as written
refuses to start and names file and offset. What was read of the last batch may be in the page cache
only, so it is written again and synced before anybody may rely on it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from madang.exchange.engine.port import Engine
from madang.exchange.venue.disk import Disk, read_whole, write_all
from madang.exchange.venue.errors import LogDamaged, SnapshotDamaged
from madang.exchange.venue.log import SPARE, Log, LogSettings, blank, make_spare, name_spare
from madang.exchange.venue.positions import read_positions
from madang.exchange.venue.replica import EngineFactory
from madang.exchange.venue.segment import (
    Position,
    Scan,
    Segment,
    list_segments,
)
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import newest_snapshots, restore_snapshot

LOG_FOLDER = "log"
Apply = Callable[[bytes], object]


class TornTail(msgspec.Struct, frozen=True):
    """What was cut: `length` bytes from `offset` of `file`, because of `reason`."""

    file: str
    offset: int
    length: int
    reason: str


class RecoveryReport(msgspec.Struct, frozen=True):
    """What a recovery did."""

    sequence: int
    snapshot_sequence: int
    damaged_snapshots: tuple[str, ...]
    commands_replayed: int
    batches_replayed: int
    torn_tail: TornTail | None


class Recovered(NamedTuple):
    """A recovered venue: continue with a Sequencer over `engine` and `log`."""

    engine: Engine
    log: Log
    position: Position
    report: RecoveryReport


class _Base(NamedTuple):
    engine: Engine
    sequence: int
    damaged: tuple[str, ...]


class _Replayed(NamedTuple):
    position: Position
    scan: Scan
    commands: int
    batches: int


def recover(
    disk: Disk, state_dir: Path, factory: EngineFactory, settings: LogSettings
) -> Recovered:
    """Bring the venue of `state_dir` back, or begin a new one.

    Raises LogDamaged, LogUnreadable, LogFull, OSError.
    """
    folder = state_dir / LOG_FOLDER
    disk.make_folder(folder)
    if SPARE in disk.names(folder):
        disk.unlink(folder / SPARE)
    segments = list_segments(disk, folder)
    base = _load_base(disk, state_dir, factory, segments)
    if not segments:
        segments = [_begin(disk, folder, settings)]
    replayed = replay(
        disk, segments, base.engine.apply, Position(base.sequence, base.engine.now_ns, 0)
    )
    _check_followers(disk, state_dir, replayed)
    torn = _settle_tail(disk, folder, replayed.scan)
    log = Log(disk, folder, settings, replayed.scan.segment, replayed.scan.offset)
    report = RecoveryReport(
        base.engine.sequence,
        base.sequence,
        base.damaged,
        replayed.commands,
        replayed.batches,
        torn,
    )
    return Recovered(base.engine, log, replayed.position, report)


def _begin(disk: Disk, folder: Path, settings: LogSettings) -> Segment:
    spare = make_spare(disk, folder, settings)
    try:
        return name_spare(disk, folder, spare, 1)
    finally:
        spare.close()


def _load_base(
    disk: Disk, state_dir: Path, factory: EngineFactory, segments: list[Segment]
) -> _Base:
    damaged: list[str] = []
    first = segments[0].first if segments else 1
    for file, snapshot in newest_snapshots(disk, state_dir / SNAPSHOT_FOLDER):
        if isinstance(snapshot, SnapshotDamaged):
            damaged.append(file.path.name)
            continue
        if not segments:
            raise LogDamaged(
                state_dir / LOG_FOLDER, 0, f"no log at all, but {file.path.name} exists"
            )
        if snapshot.sequence + 1 < first:
            break
        try:
            engine = restore_snapshot(factory, snapshot)
        except SnapshotDamaged:
            damaged.append(file.path.name)
            continue
        return _Base(engine, snapshot.sequence, tuple(damaged))
    if first != 1:
        raise LogDamaged(
            segments[0].path, 0, f"begins with command {first} and no usable snapshot reaches it"
        )
    return _Base(factory.create(), 0, tuple(damaged))


def replay(disk: Disk, segments: list[Segment], apply: Apply, base: Position) -> _Replayed:
    """Apply every batch after `base`; the last segment's Scan tells where the log ends."""
    needed = segments[_segment_of(segments, base.sequence + 1) :]
    position = base
    commands = batches = 0
    scan = None
    for index, segment in enumerate(needed):
        data = read_whole(disk, segment.path)
        start = position if index else Position(segment.first - 1, -1, 0)
        if start.sequence + 1 != segment.first:
            raise LogDamaged(
                segment.path, 0, f"begins with {segment.first}, expected {start.sequence + 1}"
            )
        scan = Scan(segment, data, start)
        for header, record in scan.batches():
            if header.sequence > base.sequence:
                apply(record)
                commands += header.command_count
                batches += 1
            elif header.last_sequence > base.sequence:
                raise LogDamaged(
                    segment.path, scan.offset, f"a snapshot of {base.sequence} splits this batch"
                )
        if index + 1 < len(needed) and scan.torn_end():
            raise LogDamaged(
                segment.path, scan.offset, f"{scan.reason}, and a later segment exists"
            )
        position = scan.position
    assert scan is not None
    if position.sequence < base.sequence:
        raise LogDamaged(
            scan.segment.path,
            scan.offset,
            f"the log ends at {position.sequence}, before the snapshot of {base.sequence}",
        )
    return _Replayed(position, scan, commands, batches)


def _segment_of(segments: list[Segment], sequence: int) -> int:
    for index in range(len(segments) - 1, 0, -1):
        if segments[index].first <= sequence:
            return index
    return 0


def _check_followers(disk: Disk, state_dir: Path, replayed: _Replayed) -> None:
    """What a follower has applied was committed: a log that ends before that has lost something."""
    for name, sequence in read_positions(disk, state_dir).items():
        if sequence > replayed.position.sequence:
            raise LogDamaged(
                replayed.scan.segment.path,
                replayed.scan.offset,
                f"the log ends at {replayed.position.sequence} ({replayed.scan.reason}), "
                f"but follower {name} has seen command {sequence}",
            )


def _settle_tail(disk: Disk, folder: Path, scan: Scan) -> TornTail | None:
    end = scan.torn_end()
    file = disk.open(scan.segment.path)
    try:
        if scan.last_offset:
            record = file.pread(scan.offset - scan.last_offset, scan.last_offset)
            write_all(file, record, scan.last_offset)
        blank(file, scan.offset, max(end, scan.offset))
    finally:
        file.close()
    disk.sync_folder(folder)
    if not end:
        return None
    return TornTail(str(scan.segment.path), scan.offset, end - scan.offset, scan.reason)
