"""Lines, files and what happens when a disk takes nothing."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from madang.cluster.lines import LINE_BYTES_MAX, TAIL_LINES, LineStream, RotatingFile

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
    file = RotatingFile(tmp_path / "a.log", 10, 3)
    for line in (b"1111111\n", b"2222222\n", b"3333333\n", b"4444444\n"):
        file.write(line, "T")
    file.close()
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == {"a.log": b"4444444\n", "a.log.1": b"3333333\n", "a.log.2": b"2222222\n"}


def test_an_existing_file_is_continued_and_its_size_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"12345678\n")
    file = RotatingFile(path, 10, 2)
    file.write(b"a\n", "T")
    file.close()
    assert path.read_bytes() == b"a\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"12345678\n"


def test_a_full_disk_drops_with_a_count_and_says_so_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.symlink_to("/dev/full")
    file = RotatingFile(path, 1_000, 2)
    file.write(b"one\ntwo\n", "T")
    file.write(b"three\n", "T")
    assert file.dropped_lines == 3
    path.unlink()
    file.write(b"four\n", "T")
    file.close()
    assert path.read_bytes() == b"T madang | 3 lines were dropped\nfour\n"
