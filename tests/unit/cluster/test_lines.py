"""Lines, files and what happens when a disk takes nothing."""

from __future__ import annotations

import os
import resource
from datetime import datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from madang.cluster.lines import LINE_BYTES_MAX, TAIL_LINES, FileLimits, LineStream, RotatingFile

STAMP = "2026-01-31T10:00:00.000Z"

DAY = "2026-11-22T10:00:00.000Z"
texts = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30)


@given(texts, st.lists(st.integers(1, 40), max_size=20))
def test_any_split_of_the_bytes_gives_the_same_lines(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    stream, written, start = LineStream("w"), b"", 0
    for cut in [*cuts, len(data) + 1]:
        written += stream.feed(data[start : start + cut], "T")
        start += cut
    written += stream.finish("T")
    assert written == b"".join(b"T w | " + line + b"\n" for line in lines)
    assert stream.tail() == [line.decode(errors="replace") for line in lines[-TAIL_LINES:]]


def test_a_line_without_end_is_written_at_the_end() -> None:
    stream = LineStream("w")
    assert stream.feed(b"half", "T") == b""
    assert stream.tail() == ["half"]
    assert stream.finish("T") == b"T w | half\n"
    assert stream.finish("T") == b""


def test_a_line_longer_than_the_limit_is_cut_instead_of_kept() -> None:
    stream = LineStream("w")
    assert len(stream.feed(b"x" * LINE_BYTES_MAX, "T")) == LINE_BYTES_MAX + len(b"T w | \n")
    assert stream.feed(b"y\n", "T") == b"T w | y\n"


def test_files_rotate_and_the_oldest_goes(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "a.log", FileLimits(10, 3, 30))
    for line in (b"1111111\n", b"2222222\n", b"3333333\n", b"4444444\n"):
        file.write(line, DAY)
    file.close()
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"a.log": b"4444444\n", "a.log.1": b"3333333\n", "a.log.2": b"2222222\n"}


def test_an_existing_file_is_continued_and_its_size_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"2026-11-2\n")
    file = RotatingFile(path, FileLimits(10, 2, 30))
    file.write(b"a\n", DAY)
    file.close()
    assert path.read_bytes() == b"a\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"2026-11-2\n"


def test_a_full_disk_drops_with_a_count_and_says_so_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.symlink_to("/dev/full")
    file = RotatingFile(path, FileLimits(1_000, 2, 30))
    file.write(b"one\ntwo\n", DAY)
    file.write(b"three\n", DAY)
    assert file.dropped_lines == 3
    path.unlink()
    file.write(b"four\n", DAY)
    file.close()
    assert path.read_bytes() == DAY.encode() + b" madang | 3 lines were dropped\nfour\n"


def test_what_a_full_disk_took_in_part_is_cut_to_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatingFile(path, FileLimits(10_000, 3, 30))
    lines = [f"line {number} {'x' * 40}\n".encode() for number in range(10)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * len(lines[0]) + 10, hard))
    try:
        file.write(b"".join(lines), STAMP)
        file.write(lines[0], STAMP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"".join(lines[:4])
    assert (file.dropped_lines, file.problem) == (7, "File too large")
    file.write(lines[9], STAMP)
    notice = f"{STAMP} madang | 7 lines were dropped\n".encode()
    assert path.read_bytes() == b"".join(lines[:4]) + notice + lines[9]
    assert file.problem == ""


def test_a_file_is_of_one_day_and_the_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatingFile(path, FileLimits(1_000, 9, 2))
    days = ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-25"]
    for day in days:
        stamp = f"{day}T00:00:01.000Z"
        file.write(f"{stamp} w | x\n".encode(), stamp)
        at = datetime.fromisoformat(stamp).timestamp()
        os.utime(path, (at, at))
    file.close()
    again = RotatingFile(path, FileLimits(1_000, 9, 2))  # a new logger knows the file's day
    again.write(b"2026-11-25 y\n", "2026-11-25T09:00:00.000Z")
    again.write(b"2026-11-26 z\n", "2026-11-26T09:00:00.000Z")
    again.close()
    found = {p.name: p.read_text()[:10] for p in tmp_path.iterdir()}
    assert found == {"a.log": "2026-11-26", "a.log.1": "2026-11-25"}


def test_a_file_emptied_from_outside_is_not_rotated_early(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatingFile(path, FileLimits(10, 3, 30))
    file.write(b"1111111\n", DAY)
    os.truncate(path, 0)
    file.write(b"2222222\n", DAY)
    file.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.log"]
