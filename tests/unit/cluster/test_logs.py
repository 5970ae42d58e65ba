"""Reading logs: from the end, by name and time, and as they grow, rotate and are emptied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some

from madang.cluster import logs
from madang.cluster.lines import FileLimits, LineStream, RotatingFile
from madang.cluster.logs import Follower, LogLine, LogQuery, flush, recent

BEGIN = datetime(2026, 11, 22, 10, tzinfo=UTC)
ALL = 1_000_000


def stamp(second: int) -> str:
    at = BEGIN + timedelta(seconds=second)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Writer:
    """Writes as the logger does."""

    def __init__(self, folder: Path, application: str, limits: FileLimits) -> None:
        self.file = RotatingFile(folder / f"{application}.log", limits)

    def say(self, instance: str, text: str, second: int) -> None:
        line = LineStream(instance).feed(f"{text}\n".encode(), stamp(second))
        self.file.write(line, stamp(second))


ROOMY = FileLimits(1_000_000, 5, 30)


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_lines_of_all_applications_come_in_order_of_time(tmp_path: Path) -> None:
    web, jobs = Writer(tmp_path, "web", ROOMY), Writer(tmp_path, "jobs", ROOMY)
    for second in range(10):
        (web if second % 2 else jobs).say(f"x-{second % 3}", str(second), second)
    assert texts(recent(tmp_path, LogQuery(lines=ALL))) == [str(n) for n in range(10)]
    assert texts(recent(tmp_path, LogQuery(lines=3))) == ["7", "8", "9"]
    assert texts(recent(tmp_path, LogQuery(since=stamp(6), lines=ALL))) == ["6", "7", "8", "9"]
    assert texts(recent(tmp_path, LogQuery(frozenset({"web"}), lines=2))) == ["7", "9"]
    assert texts(recent(tmp_path, LogQuery(frozenset({"x-0"}), lines=ALL))) == ["0", "3", "6", "9"]
    assert recent(tmp_path, LogQuery(frozenset({"nobody"}), lines=ALL)) == []
    assert recent(tmp_path, LogQuery(lines=0)) == []
    web.file.close()
    jobs.file.close()


@settings(max_examples=60, deadline=None)
@given(
    some.lists(some.text(alphabet="ab |\u00e9", max_size=40), max_size=60),
    some.integers(1, 64),
    some.integers(1, 70),
)
def test_reading_backwards_finds_the_same_lines_at_any_block_size(
    tmp_path_factory: object, words: list[str], block: int, most: int
) -> None:
    folder = tmp_path_factory.mktemp("logs")  # type: ignore[attr-defined]
    writer = Writer(folder, "web", FileLimits(200, 100, 30))
    for second, word in enumerate(words):
        writer.say("web-0", word, second)
    writer.file.close()
    before, logs.BLOCK_BYTES = logs.BLOCK_BYTES, block  # type: ignore[misc]
    try:
        found = recent(folder, LogQuery(lines=most))
    finally:
        logs.BLOCK_BYTES = before  # type: ignore[misc]
    assert texts(found) == words[-most:]


def test_a_follower_sees_every_line_once_through_rotation_and_emptying(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "web", FileLimits(100, 3, 30))
    writer.say("web-0", "before", 0)
    follower = Follower(tmp_path, LogQuery())
    follower.begin()
    seen: list[str] = []
    said = []
    for second in range(1, 40):
        writer.say("web-0", f"line {second}", second)
        said.append(f"line {second}")
        if second % 2 == 0:
            seen += texts(follower.look())
    seen += texts(follower.look())
    assert seen == said
    assert flush(tmp_path, frozenset({"other"})) == 0
    assert flush(tmp_path, frozenset({"web"})) > 0
    assert recent(tmp_path, LogQuery(lines=ALL)) == []
    writer.say("web-0", "after", 50)
    late = Writer(tmp_path, "late", ROOMY)
    late.say("late-0", "a file that came later", 51)
    assert texts(follower.look()) == ["after", "a file that came later"]
    assert follower.look() == []
    writer.file.close()
    late.file.close()


def test_a_follower_goes_on_exactly_where_its_recent_lines_end(tmp_path: Path) -> None:
    for limits in (ROOMY, FileLimits(100, 9, 30)):  # the second is rotated meanwhile
        folder = tmp_path / str(limits.file_bytes)
        folder.mkdir()
        writer = Writer(folder, "web", limits)
        for second in range(10):
            writer.say("web-0", str(second), second)
        follower = Follower(folder, LogQuery(lines=2))
        follower.begin()
        for second in range(10, 15):
            writer.say("web-0", str(second), second)
        assert texts(follower.recent()) == ["8", "9"]
        assert texts(follower.look()) == ["10", "11", "12", "13", "14"]
        writer.file.close()


def test_a_follower_begins_behind_a_whole_line(tmp_path: Path) -> None:
    lines = [f"{stamp(n)} web-0 | {n}\n".encode() for n in range(3)]
    path = tmp_path / "web.log"
    path.write_bytes(lines[0] + lines[1][:-4])
    follower = Follower(tmp_path, LogQuery())
    follower.begin()
    path.write_bytes(b"".join(lines))
    assert texts(follower.recent()) == ["0"]
    assert texts(follower.look()) == ["1", "2"]


def test_a_follower_notices_a_file_that_was_emptied_and_is_as_long_again(tmp_path: Path) -> None:
    writer = Writer(tmp_path, "web", ROOMY)
    writer.say("web-0", "before", 0)
    follower = Follower(tmp_path, LogQuery())
    follower.begin()
    flush(tmp_path, frozenset())
    for second in range(1, 4):
        writer.say("web-0", f"line {second}", second)
    assert texts(follower.look()) == ["line 1", "line 2", "line 3"]
    writer.file.close()


def test_a_line_that_is_half_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    whole = f"{stamp(1)} web-0 | all of it\n".encode()
    path.write_bytes(b"")
    follower = Follower(tmp_path, LogQuery())
    follower.begin()
    for cut in range(len(whole)):
        with path.open("ab") as file:
            file.write(whole[cut : cut + 1])
        expected = ["all of it"] if cut == len(whole) - 1 else []
        assert texts(follower.look()) == expected
    assert recent(tmp_path, LogQuery()) == [LogLine(stamp(1), "web-0", "all of it")]


def test_what_is_not_a_log_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.log.old").write_text("x")
    (tmp_path / "web.log").write_text("no line of ours\n")
    assert recent(tmp_path, LogQuery()) == []
    assert flush(tmp_path, frozenset()) > 0
    assert (tmp_path / "note.log.old").exists()
