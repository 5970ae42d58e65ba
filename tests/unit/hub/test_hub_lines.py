"""What the process that numbers keeps of its channels."""

from __future__ import annotations

import pytest

from madang.hub import lines
from madang.hub.lines import Event, Lines, NumberingFull, Question


def number(kept: Lines, channel: str, id: str = "i", *, state: bool = False) -> tuple[int, int]:
    line = kept.touch(Question(channel, id, state=state), kept.find(channel))
    line.append(Event(line.last + 1, id, b"1", "key"))
    return line.epoch, line.last


def past(kept: Lines, channel: str) -> tuple[int, int]:
    told = kept.past(Question(channel))
    return told.epoch, told.last


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "NUMBERED_CHANNELS_MAX", 10)
    monkeypatch.setattr(lines, "FORGOTTEN_AT_ONCE", 3)


def test_asking_for_the_past_of_an_unknown_channel_keeps_nothing() -> None:
    kept = Lines(1)
    asked = past(kept, "room.a")
    assert len(kept) == 0
    assert number(kept, "room.a") == (asked[0], asked[1] + 1)


def test_what_was_told_of_an_unknown_channel_holds_after_an_orderly_end() -> None:
    first = Lines(1)
    asked = past(first, "room.a")
    number(first, "room.b")
    second = Lines(2, first.note())
    assert past(second, "room.a") == asked
    assert number(second, "room.b") == (asked[0], 2)
    assert number(second, "room.a") == (asked[0], 1)


def test_after_a_kill_unknown_channels_are_in_a_later_epoch() -> None:
    first = Lines(1)
    assert past(Lines(2), "room.a")[0] > past(first, "room.a")[0]


@pytest.mark.usefixtures("small")
def test_a_full_shard_forgets_the_lines_without_a_message_for_longest() -> None:
    kept = Lines(1)
    before = {n: number(kept, f"room.{n}") for n in range(10)}
    number(kept, "room.0")
    number(kept, "room.new")
    assert [n for n in range(10) if kept.find(f"room.{n}") is None] == [1, 2, 3]
    assert past(kept, "room.0") == (before[0][0], 2)
    assert len(kept) == 8


@pytest.mark.usefixtures("small")
def test_a_channel_that_was_forgotten_comes_back_in_an_epoch_of_its_own() -> None:
    kept = Lines(1)
    used = {("room.0", *number(kept, "room.0"))}
    for lease in range(2, 5):
        for n in range(100):
            channel = f"room.{n % 17}"
            epoch, offset = past(kept, channel)
            position = number(kept, channel)
            # What was told before either goes on, or a new epoch begins at its first message.
            assert position == (epoch, offset + 1) or (position[0] > epoch and position[1] == 1)
            assert (channel, *position) not in used
            used.add((channel, *position))
        kept = Lines(lease, kept.note() if lease % 2 else b"")
    assert len(kept) <= 10


@pytest.mark.usefixtures("small")
def test_a_state_is_never_forgotten() -> None:
    kept = Lines(1)
    for n in range(9):
        number(kept, f"state.{n}", state=True)
    number(kept, "room.0")
    number(kept, "state.9", state=True)
    assert kept.find("room.0") is None
    with pytest.raises(NumberingFull):
        number(kept, "room.1")
    past(kept, "room.1")  # it has had no message, which needs no room
    again = Lines(2, kept.note())
    assert [name for name, line in again if line.state] == [f"state.{n}" for n in range(10)]


def test_the_epochs_of_a_lease_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "NUMBERED_CHANNELS_MAX", 1)
    monkeypatch.setattr(lines, "EPOCHS_OF_A_LEASE", 2)
    kept = Lines(1)
    assert [number(kept, name) for name in ("a", "b")] == [(2, 1), (3, 1)]
    with pytest.raises(NumberingFull):
        number(kept, "c")


def test_ids_are_known_for_a_while_after_their_messages_have_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "HISTORY_COUNT_MAX", 3)
    monkeypatch.setattr(lines, "GONE_IDS_MAX", 4)
    for state in (False, True):
        kept = Lines(1)
        for n in range(1, 21):
            number(kept, "a", f"id{n}", state=state)
        line = kept.find("a")
        assert line is not None
        known = [n for n in range(1, 21) if line.offset_of(f"id{n}") == n]
        assert known == list(range(16 if state else 14, 21))
        assert line.offset_of("other") is None
