"""Which segments go, and what a snapshot file must be before it has its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.exchange.venue.errors import SnapshotDamaged
from madang.exchange.venue.positions import read_positions, write_position
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.retention import removable, remove_old_segments
from madang.exchange.venue.segment import Segment, list_segments
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import (
    SNAPSHOTS_KEPT,
    Snapshot,
    list_snapshots,
    read_snapshot,
    write_snapshot,
)
from tests.sim.disk import PowerCut, SimulatedDisk
from tests.support.venue_log import PythonFactory, SmallVenue, order

STATE = Path("/state")
SEGMENTS = [Segment(Path(str(first)), first) for first in (1, 11, 21, 31)]


@pytest.mark.parametrize(
    ("snapshots", "followers", "retain", "gone"),
    [
        pytest.param([], [], 2, [], id="no snapshot"),
        pytest.param([25], [25], 2, [], id="fewer snapshots than are kept"),
        pytest.param([20, 30], [40], 2, [1, 11], id="before the older snapshot"),
        pytest.param([19, 30], [40], 2, [1], id="half a segment is needed"),
        pytest.param([20, 30], [12], 2, [1], id="a follower is behind"),
        pytest.param([20, 30], [40, 0], 2, [], id="a follower needs all"),
        pytest.param([20, 30], [40], 1, [1, 11, 21], id="only the newest counts"),
        pytest.param([20, 30], [40], 0, [], id="everything is kept"),
        pytest.param([99, 100], [], 2, [1, 11, 21], id="the last segment stays"),
    ],
)
def test_segments_go_when_nobody_needs_them(
    snapshots: list[int], followers: list[int], retain: int, gone: list[int]
) -> None:
    found = removable(SEGMENTS, snapshots, followers, retain)
    assert [segment.first for segment in found] == gone


def venue_with_snapshots() -> tuple[SimulatedDisk, SmallVenue]:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    for number in range(60):
        venue.write(order(number))
        if number % 20 == 19:
            take(disk, venue)
    return disk, venue


def take(disk: SimulatedDisk, venue: SmallVenue) -> None:
    engine = venue.engine
    snapshot = Snapshot(engine.sequence, engine.snapshot(), engine.state_hash())
    write_snapshot(disk, STATE / SNAPSHOT_FOLDER, snapshot, PythonFactory())


def test_what_remains_is_enough_to_start_even_from_the_older_snapshot() -> None:
    disk, venue = venue_with_snapshots()
    write_position(disk, STATE, "ledger", venue.engine.sequence)
    write_position(disk, STATE, "feed", venue.engine.sequence)
    removed = remove_old_segments(disk, STATE, 2)
    assert removed
    newest = list_snapshots(disk, STATE / SNAPSHOT_FOLDER)[-1]
    disk.put(newest.path, b"damaged")
    disk.power_cut()
    assert SmallVenue(disk, STATE).engine.state_hash() == venue.engine.state_hash()


def test_an_unreadable_position_keeps_everything() -> None:
    disk, venue = venue_with_snapshots()
    write_position(disk, STATE, "feed", venue.engine.sequence)
    disk.put(STATE / "followers" / "ledger.json", b"not json")
    assert read_positions(disk, STATE)["ledger"] == 0
    assert remove_old_segments(disk, STATE, 2) == []
    assert list_segments(disk, STATE / LOG_FOLDER)[0].first == 1


def test_old_snapshots_go() -> None:
    disk, venue = venue_with_snapshots()
    for number in range(100, 104):
        venue.write(order(number))
        take(disk, venue)
    assert len(list_snapshots(disk, STATE / SNAPSHOT_FOLDER)) == SNAPSHOTS_KEPT


def take_for_ever(disk: SimulatedDisk, venue: SmallVenue) -> None:
    number = 0
    while True:
        number += 1
        take(disk, venue)
        venue.write(order(number))


def test_a_snapshot_cut_short_by_power_never_has_its_name() -> None:
    for seed in range(60):
        disk = SimulatedDisk(seed)
        venue = SmallVenue(disk, STATE)
        venue.prepare()
        disk.cut_in = seed % 6 + 1
        with pytest.raises(PowerCut):
            take_for_ever(disk, venue)
        disk.power_cut()
        for file in list_snapshots(disk, STATE / SNAPSHOT_FOLDER):
            assert read_snapshot(disk, file).sequence == file.sequence


def test_a_snapshot_that_does_not_restore_to_itself_is_not_kept() -> None:
    disk, venue = venue_with_snapshots()
    before = list_snapshots(disk, STATE / SNAPSHOT_FOLDER)
    engine = venue.engine
    wrong = Snapshot(engine.sequence + 1, engine.snapshot(), engine.state_hash())
    with pytest.raises(SnapshotDamaged, match="restores to"):
        write_snapshot(disk, STATE / SNAPSHOT_FOLDER, wrong, PythonFactory())
    assert list_snapshots(disk, STATE / SNAPSHOT_FOLDER) == before
