"""The hub's pure parts: outbox and history keep their budgets, recovery is complete or refused."""

from __future__ import annotations

import random

import pytest

from madang.hub.history import PUBLICATION_BYTES, History, Position, Publication
from madang.hub.outbox import Outbox


def publication(offset: int, epoch: int = 1, size: int = 10) -> Publication:
    made = Publication(Position(epoch, offset), lambda _: (b"x" * size, False))
    made.frame("json")
    return made


def test_an_outbox_refuses_what_its_budget_does_not_hold() -> None:
    outbox = Outbox(10)
    assert outbox.append(b"123456")
    assert not outbox.append(b"12345")
    assert outbox.append(b"1234")
    assert outbox.bytes_waiting == 10
    assert outbox.take() == b"1234561234"
    assert outbox.bytes_waiting == 0
    assert outbox.append(b"x" * 10)


def test_a_single_frame_leaves_the_outbox_uncopied() -> None:
    outbox = Outbox(100)
    frame = b"frame of many"
    outbox.append(frame)
    assert outbox.take() is frame


def test_a_publication_is_encoded_and_framed_once_per_dialect() -> None:
    calls: list[str] = []

    def encode(dialect: str) -> tuple[bytes, bool]:
        calls.append(dialect)
        return dialect.encode(), dialect == "msgpack"

    made = Publication(Position(1, 1), encode)
    assert made.frame("json") is made.frame("json")
    assert made.frame("msgpack")[0] == 0x82
    assert calls == ["json", "msgpack"]


def test_history_gives_everything_after_a_position_or_refuses() -> None:
    history = History(3, 1_000_000)
    assert history.since(Position(1, 0)) is None
    history.begin(Position(1, 10))
    assert history.since(Position(1, 10)) == []
    for offset in (12, 15, 16, 20):
        history.append(publication(offset))
    assert history.since(Position(1, 10)) is None  # 12 has gone
    assert [p.position.offset for p in history.since(Position(1, 12)) or []] == [15, 16, 20]
    assert [p.position.offset for p in history.since(Position(1, 17)) or []] == [20]
    assert history.since(Position(1, 20)) == []
    assert history.since(Position(0, 20)) is None
    assert history.since(Position(2, 20)) is None


def test_without_a_beginning_only_what_cannot_hide_a_gap_is_recovered() -> None:
    history = History(10, 1_000_000)
    history.append(publication(7))
    assert history.since(Position(1, 5)) is None
    assert [p.position.offset for p in history.since(Position(1, 6)) or []] == [7]


@pytest.mark.parametrize("seed", [7, 8])
def test_history_keeps_both_limits_whatever_is_published(seed: int) -> None:
    source = random.Random(seed)
    history = History(50, 20_000)
    offset = 0
    for _ in range(2_000):
        offset += source.randrange(1, 4)
        history.append(publication(offset, size=source.randrange(0, 5_000)))
        assert len(history) <= 50
        assert history.bytes_held <= 20_000
    history.append(publication(offset + 1, size=30_000))  # larger than the whole limit
    assert len(history) == 0
    assert history.bytes_held == 0
    assert history.since(Position(1, offset + 1)) == []
    assert history.since(Position(1, offset)) is None


def test_what_an_encoder_keeps_alive_counts() -> None:
    history = History(100, 10 * PUBLICATION_BYTES)
    for offset in range(1, 10):
        history.append(Publication(Position(1, offset), lambda _: (b"", False), PUBLICATION_BYTES))
    assert len(history) == 5


def test_a_client_of_another_worker_goes_on_where_nothing_is_missing_or_is_refused() -> None:
    history = History(3, 10**6)
    assert history.resume_from(Position(1, 5)) is None  # nothing is known yet
    history.begin(Position(1, 10))
    assert history.resume_from(Position(1, 12)) == Position(1, 12)  # it is ahead of us
    assert history.resume_from(Position(1, 4)) == Position(1, 10)  # nothing came in between
    assert history.resume_from(Position(2, 4)) is None
    for offset in (11, 12, 13):
        history.append(Publication(Position(1, offset), lambda _: (b"x", False)))
    assert history.resume_from(Position(1, 4)) == Position(1, 10)
    history.append(Publication(Position(1, 14), lambda _: (b"x", False)))
    assert history.resume_from(Position(1, 10)) is None  # 11 has gone
    assert history.resume_from(Position(1, 11)) == Position(1, 11)
