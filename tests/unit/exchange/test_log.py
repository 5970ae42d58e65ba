"""The file log: what is durable when, rolling, a full and a failing disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.core.errors import SettingsError
from madang.exchange.venue.errors import LogFailed, LogFull
from madang.exchange.venue.log import LogSettings
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.segment import SEGMENT_HEADER_BYTES, list_segments
from tests.sim.disk import SimulatedDisk
from tests.support.venue_log import SMALL_LOG, SmallVenue, order

STATE = Path("/state")


def test_a_batch_is_durable_when_write_returns() -> None:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    venue.write(order(1))
    before = venue.engine.state_hash()
    disk.power_cut()
    assert SmallVenue(disk, STATE).engine.state_hash() == before


def test_segments_follow_each_other_without_a_gap() -> None:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    for number in range(100):
        venue.write(order(number))
    segments = list_segments(disk, STATE / LOG_FOLDER)
    assert len(segments) > 2
    assert segments[0].first == 1
    again = SmallVenue(disk, STATE)
    assert again.engine.sequence == venue.engine.sequence
    assert again.recovered.report.commands_replayed == venue.engine.sequence


def test_the_next_segment_is_ready_before_it_is_needed() -> None:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    number = 0
    while not venue.log.needs_next:
        number += 1
        venue.write(order(number))
    venue.log.prepare_next()
    assert not venue.log.needs_next
    disk.capacity = disk.used()
    first = venue.log.segment
    while venue.log.segment == first:
        number += 1
        venue.write(order(number))


def test_a_full_disk_takes_nothing_and_goes_on_when_there_is_room() -> None:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    disk.capacity = disk.used()
    record = None
    with pytest.raises(LogFull):  # noqa: PT012 - the segment fills up first
        for number in range(100):
            record = (number, venue.write(order(number)))
    assert record is not None
    sequence = venue.engine.sequence
    disk.capacity = 1 << 40
    venue.sequencer.refuse_writing(-2_000_000_000)
    venue.write(order(1000))
    assert venue.engine.sequence == sequence + 1
    disk.power_cut()
    assert SmallVenue(disk, STATE).engine.sequence == sequence + 1


def test_a_batch_that_fitted_except_for_its_padding_is_taken_back() -> None:
    """Zeros beyond the end would complete it: the refused command must not come to life."""
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    end = venue.log.offset
    sequence = venue.engine.sequence
    path = venue.log.segment.path
    content = disk.content(path)
    venue.sequencer.offer(_Ignore(), order(1), 0)
    record = venue.sequencer.begin(1, 0)
    assert record is not None
    short = end + len(record.rstrip(b"\0"))
    disk.put(path, content[:short])
    disk.capacity = disk.used()
    with pytest.raises(LogFull):
        venue.log.write(record, venue.sequencer.writing_first)
    disk.put(path, disk.content(path) + bytes(len(content) - short))
    assert SmallVenue(disk, STATE).engine.sequence == sequence


class _Ignore:
    def respond(self, payload: bytes) -> None:
        raise AssertionError(payload)

    def refuse(self, error: str) -> None:
        raise AssertionError(error)


@pytest.mark.parametrize("what", ["pwrite", "fdatasync"])
def test_an_error_of_the_disk_ends_the_log(what: str) -> None:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    disk.fail_in, disk.fail_what = 1, what
    with pytest.raises(LogFailed) as failure:
        venue.write(order(1))
    assert "ending" in failure.value.message
    assert failure.value.data["offset"] >= SEGMENT_HEADER_BYTES  # type: ignore[operator]


def test_what_an_interrupted_sync_left_in_the_cache_is_made_durable_before_it_counts() -> None:
    """After a failed fsync the cache shows bytes that no later sync brings to the platter."""
    for seed in range(40):
        disk = SimulatedDisk(seed)
        venue = SmallVenue(disk, STATE)
        venue.prepare()
        disk.fail_in, disk.fail_what = 1, "fdatasync"
        with pytest.raises(LogFailed):
            venue.write(order(1))
        disk.killed()
        again = SmallVenue(disk, STATE)
        seen = again.engine.state_hash()
        disk.power_cut()
        assert SmallVenue(disk, STATE).engine.state_hash() == seen, f"{seed=}"


def test_sizes_that_cannot_hold_a_batch_are_refused() -> None:
    with pytest.raises(SettingsError, match="segment_bytes"):
        LogSettings(segment_bytes=8192, batch_bytes_max=8192)
    assert SMALL_LOG.segment_bytes == 8192
