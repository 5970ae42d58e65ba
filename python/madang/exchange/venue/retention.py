"""Which segments may go: those that no kept snapshot, no follower and no rule needs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from madang.exchange.venue.disk import Disk
from madang.exchange.venue.positions import read_positions
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.segment import Segment, list_segments
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import list_snapshots


def removable(
    segments: list[Segment], snapshots: list[int], followers: list[int], retain: int
) -> list[Segment]:
    """Return the segments whose every command is behind all that may be asked for.

    `snapshots` are sequences, oldest first; the newest `retain` of them keep what follows the
    oldest of these. With `retain` 0, or fewer snapshots than that, nothing goes. The last segment
    stays.
    """
    if retain == 0 or len(snapshots) < retain:
        return []
    needed_from = min([snapshots[-retain], *followers]) + 1
    return [segment for segment, following in pairwise(segments) if following.first <= needed_from]


def remove_old_segments(disk: Disk, state_dir: Path, retain: int) -> list[Path]:
    """Remove what may go, oldest first; return what was removed."""
    folder = state_dir / LOG_FOLDER
    found = removable(
        list_segments(disk, folder),
        [snapshot.sequence for snapshot in list_snapshots(disk, state_dir / SNAPSHOT_FOLDER)],
        list(read_positions(disk, state_dir).values()),
        retain,
    )
    for segment in found:
        disk.unlink(segment.path)
    if found:
        disk.sync_folder(folder)
    return [segment.path for segment in found]
