"""verify, inspect, backup, restore: on real files, beside a writer, and on what is damaged."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from madang.exchange.engine.python import PythonEngine
from madang.exchange.venue.backup import MANIFEST, BackupError, backup, restore
from madang.exchange.venue.balances import Balances
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.errors import LogDamaged
from madang.exchange.venue.maintenance import VerifyFailed, inspect, verify
from madang.exchange.venue.positions import read_positions
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.segment import list_segments
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import Snapshot, write_snapshot, write_snapshot_bytes
from madang.wire.codes import CredentialKind, Side
from madang.wire.commands import (
    ReplaceTerms,
    encode_replace,
    encode_set_credential,
    encode_set_fees,
)
from tests.support.venue_log import SMALL_LOG, PythonFactory, SmallVenue, order, trade


def traded(folder: Path, trades: int = 40) -> SmallVenue:
    """Return a venue with fees, partial fills, replacements and several segments."""
    venue = SmallVenue(RealDisk(), folder, SMALL_LOG)
    venue.prepare()
    venue.write(encode_set_fees(bytes(16), 170, 330))
    for number in range(trades):
        venue.write(*trade(number))
    resting = venue.write(order(9_000, price=999_900))[0].number
    terms = ReplaceTerms(resting, quantity=3 * 10**9, limit_price=1_000_100)
    venue.write(encode_replace(1, b"r" * 16, terms, b"replaced"))
    venue.write(order(9_001, 2, Side.SELL), order(9_002, 2, Side.SELL))
    venue.write(encode_set_credential(1, bytes(16), CredentialKind.API_KEY, b"PK1", b"digest"))
    return venue


def snapshot(venue: SmallVenue, folder: Path) -> None:
    engine = venue.engine
    write_snapshot_bytes(folder, engine.sequence, engine.snapshot(), engine.state_hash(), "python")


def test_verify_replays_recomputes_and_compares(tmp_path: Path) -> None:
    venue = traded(tmp_path)
    snapshot(venue, tmp_path)
    venue.write(*trade(500))
    report = verify(tmp_path, "python")
    assert report.sequence == venue.engine.sequence
    assert report.commands == venue.engine.sequence
    assert report.snapshots_compared == 1
    assert report.trades == venue.engine.statistics()["trades"]
    assert report.state_hash == venue.engine.state_hash().hex()
    assert report.segments > 2
    assert report.torn_bytes == 0


def test_verify_beside_a_writer_stops_at_what_is_committed(tmp_path: Path) -> None:
    venue = traded(tmp_path)
    committed = venue.engine.sequence
    file = RealDisk().open(venue.log.segment.path)
    file.pwrite(b"half a batch", venue.log.offset)
    assert verify(tmp_path, "python", committed).sequence == committed
    assert verify(tmp_path, "python").torn_bytes > 0
    with pytest.raises(LogDamaged, match="committed is"):
        verify(tmp_path, "python", committed + 1)
    file.close()


def test_verify_begins_at_the_oldest_snapshot_when_the_log_is_shorter(tmp_path: Path) -> None:
    venue = traded(tmp_path)
    snapshot(venue, tmp_path)
    for number in range(600, 640):
        venue.write(*trade(number))
    for segment in list_segments(RealDisk(), tmp_path / LOG_FOLDER)[:2]:
        segment.path.unlink()
    report = verify(tmp_path, "python")
    assert report.state_hash == venue.engine.state_hash().hex()
    assert report.commands == 80


def test_verify_finds_a_snapshot_that_is_not_what_the_log_says(tmp_path: Path) -> None:
    venue = traded(tmp_path)
    other = SmallVenue(RealDisk(), tmp_path / "other", SMALL_LOG)
    other.prepare()
    while other.engine.sequence < venue.engine.sequence:
        other.write(order(other.engine.sequence, price=500_000))
    forged = Snapshot(other.engine.sequence, other.engine.snapshot(), other.engine.state_hash())
    write_snapshot(RealDisk(), tmp_path / SNAPSHOT_FOLDER, forged, PythonFactory())
    with pytest.raises(VerifyFailed, match="differs from the replay"):
        verify(tmp_path, "python")


def test_verify_names_damaged_snapshots_and_logs(tmp_path: Path) -> None:
    venue = traded(tmp_path)
    snapshot(venue, tmp_path)
    path = next((tmp_path / SNAPSHOT_FOLDER).iterdir())
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(VerifyFailed, match=path.name):
        verify(tmp_path, "python")
    segment = list_segments(RealDisk(), tmp_path / LOG_FOLDER)[0].path
    damaged = bytearray(segment.read_bytes())
    damaged[5000] ^= 1
    segment.write_bytes(bytes(damaged))
    with pytest.raises(LogDamaged, match=segment.name):
        verify(tmp_path, "python")


def test_balances_from_events_differ_from_an_engine_that_missed_one(tmp_path: Path) -> None:
    venue = traded(tmp_path)
    complete = Balances(PythonEngine(), complete=True)
    for events in venue.events:
        complete.take(events)
    assert complete.differences(venue.engine) == []
    lacking = Balances(PythonEngine(), complete=True)
    for events in venue.events[:-3]:
        lacking.take(events)
    found = "\n".join(lacking.differences(venue.engine))
    assert "cash of account 1" in found
    assert "shares of account 2" in found


def test_inspect_shows_batches_and_commands_without_secrets(tmp_path: Path) -> None:
    venue = traded(tmp_path, 2)
    rows = list(inspect(tmp_path))
    assert len([row for row in rows if "sequence" in row]) == venue.engine.sequence
    text = msgspec.json.encode(rows).decode()
    assert '"kind":"new_order"' in text
    assert '"client_order_id":"order-1"' in text
    assert '"kind":"replace_order"' in text
    assert "digest" not in text
    some = list(inspect(tmp_path, after=8, limit=3))
    assert [row["sequence"] for row in some if "sequence" in row] == [9, 10, 11]


def test_a_backup_restores_to_the_same_state(tmp_path: Path) -> None:
    venue = traded(tmp_path / "a")
    snapshot(venue, tmp_path / "a")
    venue.write(*trade(700))
    committed = venue.engine.sequence
    expected = venue.engine.state_hash().hex()
    manifest = backup(tmp_path / "a", tmp_path / "copy", committed)
    assert manifest.sequence == committed
    venue.write(*trade(701))
    report = restore(tmp_path / "copy", tmp_path / "b", "python")
    assert report.state_hash == expected
    again = SmallVenue(RealDisk(), tmp_path / "b", SMALL_LOG)
    assert again.engine.state_hash().hex() == expected
    again.write(*trade(702))
    assert read_positions(RealDisk(), tmp_path / "a") == {}, "the hold is given back"


def test_a_backup_taken_while_the_venue_writes_ends_at_what_is_committed(tmp_path: Path) -> None:
    venue = traded(tmp_path / "a")
    committed = venue.engine.sequence
    expected = venue.engine.state_hash().hex()
    venue.write(*trade(700))
    backup(tmp_path / "a", tmp_path / "copy", committed)
    report = restore(tmp_path / "copy", tmp_path / "b", "python")
    assert (report.sequence, report.state_hash) == (committed, expected)


def test_backups_are_refused_where_they_would_lose_something(tmp_path: Path) -> None:
    traded(tmp_path / "a")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("mine")
    with pytest.raises(BackupError, match="not an empty folder"):
        backup(tmp_path / "a", tmp_path / "used")
    backup(tmp_path / "a", tmp_path / "copy")
    with pytest.raises(BackupError, match="is not empty"):
        restore(tmp_path / "copy", tmp_path / "a", "python")
    segment = next((tmp_path / "copy" / LOG_FOLDER).iterdir())
    segment.write_bytes(segment.read_bytes()[:-1] + b"x")
    with pytest.raises(BackupError, match="not what was backed up"):
        restore(tmp_path / "copy", tmp_path / "c", "python")
    (tmp_path / "copy" / MANIFEST).unlink()
    with pytest.raises(BackupError, match="not a whole backup"):
        restore(tmp_path / "copy", tmp_path / "d", "python")


def test_a_manifest_cannot_name_files_outside(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    manifest = {"format": 1, "sequence": 1, "snapshot": 0, "files": {"log/../../x": "00"}}
    (tmp_path / "copy" / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BackupError, match="outside the backup"):
        restore(tmp_path / "copy", tmp_path / "b", "python")
