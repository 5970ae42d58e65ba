"""The output queue: bounds, the place of a gap, and what was handed over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from madang.bus.outbox import Outbox
from madang.wire.busframes import FrameDecoder, Kind, encode_prefix


def offer(outbox: Outbox, number: int, size: int = 100) -> bool:
    payload = b"%08d" % number + bytes(size - 8)
    if outbox.offer(encode_prefix(Kind.MESSAGE, 0, "s", size), payload):
        return True
    outbox.lose(["s"])
    return False


def test_bytes_over_the_bound_are_not_queued() -> None:
    outbox = Outbox(1000, 100)
    taken = [offer(outbox, number) for number in range(20)]
    assert taken == [True] * 8 + [False] * 12
    assert outbox.queued_bytes == 8 * 117


def test_dropping_goes_on_until_half_is_free_and_then_the_gap_comes_first() -> None:
    outbox = Outbox(1000, 100)
    decoder = FrameDecoder()
    for number in range(10):
        offer(outbox, number)
    decoder.feed(outbox.take(117))
    assert not offer(outbox, 10)
    frames = decoder.feed(outbox.take(400))
    assert offer(outbox, 11)
    frames += decoder.feed(outbox.take(10_000))
    assert frames[-2:] == [
        (Kind.GAP, 3, "s", b""),
        (Kind.MESSAGE, 0, "s", b"00000011" + bytes(92)),
    ]


def test_control_frames_have_their_reserve_and_no_more() -> None:
    outbox = Outbox(1000, 100)
    while offer(outbox, 0):
        pass
    forced = 0
    while outbox.force(bytes(16)):
        forced += 1
    assert 0 < forced <= 11
    assert outbox.queued_bytes <= 1100


def test_answers_may_go_while_messages_are_dropped() -> None:
    outbox = Outbox(1000, 100)
    while offer(outbox, 0):
        pass
    outbox.take(1)
    assert not offer(outbox, 1)
    assert outbox.offer_answer(encode_prefix(Kind.RESPONSE, 1, "", 10), bytes(10))


def test_a_pattern_no_longer_wanted_gets_no_gap() -> None:
    outbox = Outbox(1000, 100)
    while offer(outbox, 0):
        pass
    outbox.forget("s")
    kinds = [frame[0] for frame in FrameDecoder().feed(outbox.take(10_000))]
    assert set(kinds) == {Kind.MESSAGE}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 2000)), max_size=40))
def test_every_message_arrives_in_order_or_is_counted_in_its_place(
    rounds: list[tuple[int, int]],
) -> None:
    outbox, decoder = Outbox(2000, 100), FrameDecoder()
    sent, expected, total = 0, 0, 0
    frames = []
    for count, take in rounds:
        for _ in range(count):
            offer(outbox, sent)
            sent += 1
        assert outbox.queued_bytes <= 2000 + 100
        data = outbox.take(take)
        total += len(data)
        assert outbox.taken_total == total
        frames += decoder.feed(data)
    while outbox.queued_bytes:
        frames += decoder.feed(outbox.take(500))
    for kind, number, _, payload in frames:
        if kind == Kind.GAP:
            expected += number
        else:
            assert int(payload[:8]) == expected
            expected += 1
    assert expected == sent
