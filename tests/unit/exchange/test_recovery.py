"""Recovery: the last record cut anywhere, any byte flipped, gaps, newer formats, bad snapshots."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.exchange.venue.errors import LogDamaged, LogUnreadable
from madang.exchange.venue.positions import write_position
from madang.exchange.venue.recovery import LOG_FOLDER, recover
from madang.exchange.venue.segment import SEGMENT_HEADER_BYTES, encode_header, list_segments
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import Snapshot, list_snapshots, write_snapshot
from tests.sim.disk import SimulatedDisk
from tests.support.venue_log import SMALL_LOG, PythonFactory, SmallVenue, order, trade

STATE = Path("/state")


def small_log(orders: int) -> tuple[SimulatedDisk, SmallVenue, list[int], list[bytes]]:
    """Return a disk with one segment, where each batch ends, and the state hash after each."""
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    ends, hashes = [venue.log.offset], [venue.engine.state_hash()]
    for number in range(orders):
        venue.write(order(number))
        ends.append(venue.log.offset)
        hashes.append(venue.engine.state_hash())
    assert len(list_segments(disk, STATE / LOG_FOLDER)) == 1
    return disk, venue, ends, hashes


def start(disk: SimulatedDisk) -> SmallVenue:
    return SmallVenue(disk, STATE)


def test_the_last_record_cut_at_every_byte_is_cut_off_or_whole() -> None:
    disk, venue, ends, hashes = small_log(2)
    path = venue.log.segment.path
    content = disk.content(path)
    record_end = ends[-2] + len(content[ends[-2] : ends[-1]].rstrip(b"\0"))
    for cut in range(ends[-2], ends[-1] + 1):
        disk.put(path, content[:cut] + bytes(len(content) - cut))
        again = start(disk)
        whole = cut >= record_end
        assert again.engine.state_hash() == hashes[-1 if whole else -2], f"{cut=}"
        torn = again.recovered.report.torn_tail
        has_bytes = bool(content[ends[-2] : cut].rstrip(b"\0"))
        assert (torn is not None) == (has_bytes and not whole), f"{cut=}"
        if torn is not None:
            assert (torn.file, torn.offset) == (str(path), ends[-2])
            assert not any(disk.content(path)[ends[-2] :]), "the torn bytes are gone"


@pytest.mark.parametrize("keep", ["tail", "middle"])
def test_the_last_record_torn_in_any_order_is_cut_off(keep: str) -> None:
    disk, venue, ends, hashes = small_log(2)
    path = venue.log.segment.path
    content = disk.content(path)
    for cut in range(ends[-2] + 1, ends[-1]):
        if keep == "tail":
            torn = content[: ends[-2]] + bytes(cut - ends[-2]) + content[cut:]
        else:
            torn = content[:cut] + bytes(8) + content[cut + 8 :]
        if torn == content:
            continue
        disk.put(path, torn)
        again = start(disk)
        assert again.engine.state_hash() == hashes[-2], f"{cut=}"
        left = any(torn[ends[-2] :])
        assert (again.recovered.report.torn_tail is not None) == left, f"{cut=}"


def test_a_flipped_bit_anywhere_starts_clean_or_names_the_place() -> None:
    disk, venue, ends, hashes = small_log(2)
    path = venue.log.segment.path
    content = disk.content(path)
    refused = cut = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        disk.put(path, bytes(damaged))
        if at < ends[-2]:
            with pytest.raises((LogDamaged, LogUnreadable)) as failure:
                start(disk)
            refused += 1
            assert failure.value.data["file"] == str(path)
            offset = failure.value.data.get("offset", 0)
            assert isinstance(offset, int)
            assert offset <= at, f"{at=}: names {offset}"
            continue
        again = start(disk)
        torn = again.recovered.report.torn_tail
        assert torn is not None, f"{at=}: nothing was noticed"
        cut += 1
        in_last = at < ends[-1]
        assert again.engine.state_hash() == hashes[-2 if in_last else -1], f"{at=}"
        assert disk.content(path)[torn.offset :] == bytes(len(content) - torn.offset)
    assert refused == ends[-2]
    assert cut == len(content) - ends[-2]


def test_a_log_that_ends_before_what_a_follower_has_seen_is_refused() -> None:
    disk, venue, ends, _ = small_log(2)
    write_position(disk, STATE, "feed", venue.engine.sequence)
    start(disk)
    path = venue.log.segment.path
    damaged = bytearray(disk.content(path))
    damaged[ends[-2] + 50] ^= 1
    disk.put(path, bytes(damaged))
    with pytest.raises(LogDamaged, match="follower feed has seen") as failure:
        start(disk)
    assert failure.value.data["offset"] == ends[-2]


def many_segments() -> tuple[SimulatedDisk, SmallVenue]:
    disk = SimulatedDisk(1)
    venue = SmallVenue(disk, STATE)
    venue.prepare()
    for number in range(60):
        venue.write(*trade(number))
    assert len(list_segments(disk, STATE / LOG_FOLDER)) > 3
    return disk, venue


def test_a_missing_segment_is_a_gap() -> None:
    disk, _ = many_segments()
    segment = list_segments(disk, STATE / LOG_FOLDER)[1]
    disk.unlink(segment.path)
    with pytest.raises(LogDamaged, match="begins with"):
        start(disk)


def test_bytes_after_the_last_batch_of_an_older_segment_are_damage() -> None:
    disk, _ = many_segments()
    segment = list_segments(disk, STATE / LOG_FOLDER)[1]
    content = bytearray(disk.content(segment.path))
    content[-1] = 7
    disk.put(segment.path, bytes(content))
    with pytest.raises(LogDamaged, match="later segment") as failure:
        start(disk)
    assert failure.value.data["file"] == str(segment.path)


def test_the_first_segments_missing_without_a_snapshot_is_refused() -> None:
    disk, _ = many_segments()
    disk.unlink(list_segments(disk, STATE / LOG_FOLDER)[0].path)
    with pytest.raises(LogDamaged, match="no usable snapshot"):
        start(disk)


def test_snapshots_without_any_log_are_refused() -> None:
    disk, venue = many_segments()
    take_snapshot(disk, venue)
    for segment in list_segments(disk, STATE / LOG_FOLDER):
        disk.unlink(segment.path)
    with pytest.raises(LogDamaged, match="no log at all"):
        start(disk)


def test_a_newer_format_is_refused_by_name() -> None:
    disk, venue, _, _ = small_log(1)
    path = venue.log.segment.path
    newer = bytearray(encode_header(1))
    newer[8] = 2
    import google_crc32c

    newer[24:28] = google_crc32c.value(bytes(newer[:24])).to_bytes(4, "little")
    content = bytes(newer) + disk.content(path)[len(newer) :]
    disk.put(path, content)
    with pytest.raises(LogUnreadable, match="newer Madang"):
        start(disk)


def take_snapshot(disk: SimulatedDisk, venue: SmallVenue) -> int:
    engine = venue.engine
    snapshot = Snapshot(engine.sequence, engine.snapshot(), engine.state_hash())
    write_snapshot(disk, STATE / SNAPSHOT_FOLDER, snapshot, PythonFactory())
    return engine.sequence


def test_recovery_begins_at_the_newest_snapshot_and_falls_back_when_that_is_damaged() -> None:
    disk, venue = many_segments()
    older = take_snapshot(disk, venue)
    for number in range(100, 110):
        venue.write(*trade(number))
    newer = take_snapshot(disk, venue)
    venue.write(order(999))
    final = venue.engine.state_hash()

    report = start(disk).recovered.report
    assert report.snapshot_sequence == newer
    assert report.commands_replayed == 1

    for file in reversed(list_snapshots(disk, STATE / SNAPSHOT_FOLDER)):
        content = bytearray(disk.content(file.path))
        content[len(content) // 2] ^= 1
        disk.put(file.path, bytes(content))
        again = start(disk)
        report = again.recovered.report
        assert report.snapshot_sequence == (older if file.sequence == newer else 0)
        assert file.path.name in report.damaged_snapshots
        assert again.engine.state_hash() == final


def test_segments_before_the_snapshot_are_not_needed() -> None:
    disk, venue = many_segments()
    sequence = take_snapshot(disk, venue)
    segments = list_segments(disk, STATE / LOG_FOLDER)
    for segment in segments[:-1]:
        assert segment.first <= sequence
        disk.unlink(segment.path)
    again = start(disk)
    assert again.engine.state_hash() == venue.engine.state_hash()
    again.write(order(12345))


def test_a_start_in_an_empty_folder_makes_the_first_segment() -> None:
    disk = SimulatedDisk(3)
    recovered = recover(disk, STATE, PythonFactory(), SMALL_LOG)
    assert recovered.report.sequence == 0
    assert [segment.first for segment in list_segments(disk, STATE / LOG_FOLDER)] == [1]
    assert recovered.log.offset == SEGMENT_HEADER_BYTES
