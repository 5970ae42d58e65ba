"""The sequencer: bounds, order, refusals, and nothing told before it is durable."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from madang.exchange.venue.errors import BadFraming
from madang.exchange.venue.sequencer import (
    REQUEST_COMMANDS_MAX,
    Sequencer,
    SequencerSettings,
    check_framing,
)
from madang.wire.batch import BatchHeader, parse_batch
from madang.wire.codes import Reason
from madang.wire.commands import COMMAND_BYTES_MAX, encode_cancel_all
from tests.sim.disk import SimulatedDisk
from tests.support.venue_log import MEDIUM_LOG, Inbox, SmallVenue, order, trade

STATE = Path("/state")
MILLISECOND = 1_000_000


def small_venue(settings: SequencerSettings | None = None) -> SmallVenue:
    venue = SmallVenue(SimulatedDisk(1), STATE, MEDIUM_LOG, SequencerSettings())
    venue.prepare()
    if settings is not None:
        last_ns = venue.engine.now_ns
        venue.sequencer = Sequencer(venue.engine, 1, last_ns, settings)
    return venue


def test_nothing_is_answered_or_applied_before_it_is_durable() -> None:
    venue = small_venue()
    sequence = venue.engine.sequence
    inbox = Inbox()
    venue.sequencer.offer(inbox, order(1), 0)
    assert venue.sequencer.apply(lambda _: True) is None
    assert venue.sequencer.begin(1, 0) is not None
    assert venue.sequencer.apply(lambda _: True) is None
    assert (inbox.answers, venue.engine.sequence) == ([], sequence)
    venue.sequencer.durable()
    assert inbox.answers == []
    assert venue.sequencer.apply(lambda _: True) is not None
    assert [result.reason for result in inbox.results] == [Reason.OK]


def test_one_batch_is_written_while_the_next_is_gathered() -> None:
    venue = small_venue()
    first, second, third = Inbox(), Inbox(), Inbox()
    venue.sequencer.offer(first, order(1), 0)
    assert venue.sequencer.begin(1, 0) is not None
    venue.sequencer.offer(second, order(2), 0)
    venue.sequencer.offer(third, order(3), 0)
    assert venue.sequencer.begin(1, 0) is None, "one at a time"
    venue.sequencer.durable()
    record = venue.sequencer.begin(1, 0)
    assert record is not None
    header = parse_batch(record)
    assert isinstance(header, BatchHeader)
    assert header.command_count == 2, "what came meanwhile goes together"
    venue.sequencer.apply(lambda _: True)
    assert (len(first.answers), len(second.answers)) == (1, 0)
    venue.sequencer.durable()
    venue.sequencer.apply(lambda _: True)
    assert (len(second.answers), len(third.answers)) == (1, 1)
    assert venue.sequencer.idle


def test_time_grows_even_when_the_clock_stands_or_goes_back() -> None:
    venue = small_venue()
    times: list[int] = []
    for clock_ns in (10**9, 10**9, 5, 2 * 10**9):
        venue.sequencer.offer(Inbox(), order(len(times)), 0)
        record = venue.sequencer.begin(clock_ns, 0)
        assert record is not None
        header = parse_batch(record)
        assert isinstance(header, BatchHeader)
        times.append(header.now_ns)
        venue.sequencer.durable()
        venue.sequencer.apply(lambda _: True)
    assert times == [10**9, 10**9 + 1, 10**9 + 2, 2 * 10**9]


def test_a_repeat_gets_the_first_outcome_even_while_the_first_is_in_flight() -> None:
    venue = small_venue()
    first, again, later = Inbox(), Inbox(), Inbox()
    venue.sequencer.offer(first, order(1), 0)
    record = venue.sequencer.begin(1, 0)
    venue.sequencer.offer(again, order(1), 0)
    assert record is not None
    venue.log.write(record, venue.sequencer.writing_first)
    venue.sequencer.durable()
    venue.sequencer.apply(lambda _: True)
    venue.commit()
    venue.sequencer.offer(later, order(1), 0)
    venue.commit()
    numbers = {inbox.results[0].number for inbox in (first, again, later)}
    assert len(numbers) == 1
    assert [inbox.results[0].repeat for inbox in (first, again, later)] == [False, True, True]


def test_more_than_may_wait_is_refused_and_the_rest_goes_on() -> None:
    settings = SequencerSettings(waiting_commands_max=2)
    venue = small_venue(settings)
    inboxes = [Inbox() for _ in range(3)]
    for number, inbox in enumerate(inboxes):
        venue.sequencer.offer(inbox, order(number), 0)
    assert inboxes[2].refusals == ["VenueOverloaded: 2 commands are waiting"]
    venue.commit()
    assert [len(inbox.answers) for inbox in inboxes] == [1, 1, 0]


def test_more_bytes_than_may_wait_are_refused() -> None:
    venue = small_venue(SequencerSettings(waiting_bytes_max=len(order(1))))
    inboxes = [Inbox(), Inbox()]
    for number, inbox in enumerate(inboxes):
        venue.sequencer.offer(inbox, order(number), 0)
    assert "bytes are waiting" in inboxes[1].refusals[0]


def test_what_waited_too_long_is_refused_and_never_logged() -> None:
    venue = small_venue(SequencerSettings(waiting_ms_max=100))
    inbox = Inbox()
    venue.sequencer.offer(inbox, order(1), 0)
    assert venue.sequencer.begin(1, 101 * MILLISECOND) is None
    assert inbox.refusals == ["WaitedTooLong: waited 100 ms for the disk"]
    assert venue.sequencer.idle


def test_a_batch_has_limits_and_requests_stay_whole() -> None:
    venue = small_venue(SequencerSettings(batch_commands_max=3))
    inboxes = [Inbox(), Inbox()]
    venue.sequencer.offer(inboxes[0], b"".join(trade(1)), 0)
    venue.sequencer.offer(inboxes[1], b"".join(trade(2)), 0)
    venue.commit()
    assert [len(inbox.answers) for inbox in inboxes] == [1, 0]
    venue.commit()
    assert [len(inbox.results) for inbox in inboxes] == [2, 2]


def test_a_full_disk_is_a_definite_no_until_it_is_tried_again() -> None:
    venue = small_venue(SequencerSettings(full_retry_ms=100))
    inboxes = [Inbox() for _ in range(3)]
    venue.sequencer.offer(inboxes[0], order(1), 0)
    assert venue.sequencer.begin(1, 0) is not None
    venue.sequencer.refuse_writing(0)
    venue.sequencer.offer(inboxes[1], order(2), 99 * MILLISECOND)
    assert all("VenueFull" in inbox.refusals[0] for inbox in inboxes[:2])
    venue.sequencer.offer(inboxes[2], order(3), 100 * MILLISECOND)
    venue.commit()
    assert inboxes[2].results[0].reason == Reason.OK


def framed(length: int, size: int) -> bytes:
    return struct.pack("<HBBI16s", length, 1, 0, 1, b"id".ljust(16)) + bytes(size - 24)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"", "0 commands", id="empty"),
        pytest.param(bytes(7), "header cut", id="shorter than a header"),
        pytest.param(framed(16, 24), "impossible command length 16", id="length below a header"),
        pytest.param(framed(28, 32), "impossible command length 28", id="length not padded"),
        pytest.param(framed(48, 40), "impossible command length 48", id="longer than the request"),
        pytest.param(framed(0, 24), "impossible command length 0", id="length zero"),
        pytest.param(framed(24, 24) + bytes(3), "header cut at byte 24", id="rest after a command"),
        pytest.param(framed(24, 24) * (REQUEST_COMMANDS_MAX + 1), "1025 commands", id="too many"),
    ],
)
def test_broken_framing_is_refused_whole(payload: bytes, reason: str) -> None:
    with pytest.raises(BadFraming, match=reason):
        check_framing(payload)
    venue = small_venue()
    inbox = Inbox()
    venue.sequencer.offer(inbox, payload, 0)
    assert inbox.refusals[0].startswith("BadFraming")
    assert venue.sequencer.begin(1, 0) is None


def test_a_command_too_long_for_the_log_is_refused_by_itself() -> None:
    venue = small_venue()
    sequence = venue.engine.sequence
    long = framed(COMMAND_BYTES_MAX + 8, COMMAND_BYTES_MAX + 8)
    inbox = Inbox()
    venue.sequencer.offer(inbox, long + order(1) + long + order(2), 0)
    venue.commit()
    ok, bad = Reason.OK, Reason.BAD_COMMAND
    assert [result.reason for result in inbox.results] == [bad, ok, bad, ok]
    assert venue.engine.sequence == sequence + 2
    only = Inbox()
    venue.sequencer.offer(only, long, 0)
    assert [result.reason for result in only.results] == [bad]
    assert venue.sequencer.idle


def test_a_command_that_the_engine_cannot_read_is_refused_by_itself() -> None:
    venue = small_venue()
    inbox = Inbox()
    venue.sequencer.offer(inbox, framed(24, 24) + encode_cancel_all(1, b"x" * 16), 0)
    venue.commit()
    assert [result.reason for result in inbox.results] == [Reason.BAD_COMMAND, Reason.OK]


def test_stopping_refuses_what_waits() -> None:
    venue = small_venue()
    inbox = Inbox()
    venue.sequencer.offer(inbox, order(1), 0)
    venue.sequencer.refuse_waiting("the venue is stopping")
    assert inbox.refusals == ["VenueOverloaded: the venue is stopping"]
    assert venue.sequencer.idle
