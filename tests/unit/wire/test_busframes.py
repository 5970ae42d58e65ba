"""Bus frames: a golden vector, every split, and hostile bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.wire.busframes import (
    HEADER,
    PAYLOAD_BYTES_MAX,
    SUBJECT_BYTES_MAX,
    Frame,
    FrameDecoder,
    FrameError,
    Kind,
    encode,
    encode_prefix,
)

FRAMES: list[Frame] = [
    (Kind.HELLO, 2**64 - 1, "worker-0", b"\x01\x00"),
    (Kind.MESSAGE, 0, "a.b", b"payload"),
    (Kind.READY, 0, "", b""),
    (Kind.REQUEST, 7, "s" * SUBJECT_BYTES_MAX, bytes(range(256))),
]
STREAM = b"".join(encode(*frame) for frame in FRAMES)


def test_layout_is_the_documented_one() -> None:
    assert encode(Kind.MESSAGE, 258, "a.b", b"xyz") == (
        b"\x06\x00\x00\x00\x08\x00\x03\x00\x02\x01\x00\x00\x00\x00\x00\x00a.bxyz"
    )
    assert encode_prefix(Kind.MESSAGE, 258, "a.b", 3) + b"xyz" == encode(
        Kind.MESSAGE, 258, "a.b", b"xyz"
    )


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_split_at_every_byte_gives_the_same_frames(cut: int) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == FRAMES
    assert decoder.held_bytes == 0


def test_byte_by_byte_gives_the_same_frames() -> None:
    decoder = FrameDecoder()
    frames = [frame for byte in STREAM for frame in decoder.feed(bytes([byte]))]
    assert frames == FRAMES


@given(st.lists(st.integers(1, 400), max_size=20))
def test_any_pieces_give_the_same_frames(sizes: list[int]) -> None:
    decoder, frames, rest = FrameDecoder(), list[Frame](), STREAM
    for size in sizes:
        frames += decoder.feed(rest[:size])
        rest = rest[size:]
    assert frames + decoder.feed(rest) == FRAMES


def test_largest_frame_passes() -> None:
    payload = bytes(PAYLOAD_BYTES_MAX)
    decoder = FrameDecoder()
    assert decoder.feed(encode(Kind.MESSAGE, 0, "s" * SUBJECT_BYTES_MAX, payload)) == [
        (Kind.MESSAGE, 0, "s" * SUBJECT_BYTES_MAX, payload)
    ]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER.pack(PAYLOAD_BYTES_MAX + 1, Kind.MESSAGE, 0, 0, 0), "frame of"),
        (HEADER.pack(2**32 - 1, Kind.MESSAGE, 0, 255, 0), "frame of"),
        (HEADER.pack(PAYLOAD_BYTES_MAX + 256, Kind.MESSAGE, 0, 256, 0), "subject of 256"),
        (HEADER.pack(2, Kind.MESSAGE, 0, 3, 0), "subject of 3"),
        (HEADER.pack(0, 0, 0, 0, 0), "unknown kind 0"),
        (HEADER.pack(0, max(Kind) + 1, 0, 0, 0), "unknown kind"),
        (HEADER.pack(0, 255, 0, 0, 0), "unknown kind"),
        (HEADER.pack(0, Kind.READY, 1, 0, 0), "reserved byte"),
        (HEADER.pack(1, Kind.MESSAGE, 0, 1, 0) + b"\xff", "ASCII"),
    ],
)
def test_hostile_header_is_refused_before_its_body(header: bytes, reason: str) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(header[:-1]) == []
    with pytest.raises(FrameError, match=reason):
        decoder.feed(header[-1:])
    assert decoder.held_bytes <= len(header)


def test_truncated_frame_holds_no_more_than_itself() -> None:
    decoder = FrameDecoder()
    frame = encode(Kind.MESSAGE, 0, "a", bytes(PAYLOAD_BYTES_MAX))
    for start in range(0, len(frame) - 1, 1000):
        assert decoder.feed(frame[start : min(start + 1000, len(frame) - 1)]) == []
        assert decoder.held_bytes < len(frame)
    assert len(decoder.feed(frame[-1:])) == 1
    assert decoder.held_bytes == 0


@given(st.binary(max_size=300))
def test_random_bytes_are_frames_or_refused(data: bytes) -> None:
    decoder = FrameDecoder()
    try:
        frames = decoder.feed(data)
    except FrameError:
        return
    assert b"".join(encode(*frame) for frame in frames) == data[: len(data) - decoder.held_bytes]
