"""The WebSocket codec against RFC 6455: every split, hostile frames, limits."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.wire.websocket import (
    FRAGMENTS_MAX,
    Decoder,
    Event,
    HandshakeError,
    Opcode,
    WebSocketError,
    accept_key,
    apply_mask,
    check_handshake,
    choose_subprotocol,
    encode_close,
    encode_frame,
    encode_handshake,
    encode_message,
    parse_close,
)

LIMIT = 65_536
MASK = b"\x11\x22\x33\x44"


def client_frame(opcode: int, payload: bytes, final: bool = True, mask: bytes = MASK) -> bytes:
    first = (0x80 if final else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + mask + apply_mask(payload, mask)


def read_all(decoder: Decoder, data: bytes) -> list[Event]:
    decoder.feed(data)
    events = []
    while (event := decoder.next_event()) is not None:
        events.append(event)
    return events


def failure(data: bytes, limit: int = LIMIT) -> int:
    with pytest.raises(WebSocketError) as caught:
        read_all(Decoder(limit), data)
    return caught.value.code


STREAM = (
    client_frame(1, b"hello")
    + client_frame(2, bytes(range(200)))
    + client_frame(1, "하나".encode()[:2], final=False)
    + client_frame(9, b"ping")
    + client_frame(0, "하나".encode()[2:5], final=False)
    + client_frame(10, b"")
    + client_frame(0, "하나".encode()[5:])
    + client_frame(1, b"")
    + client_frame(8, struct.pack("!H", 1000) + b"bye")
)
EVENTS = [
    Event(Opcode.TEXT, b"hello"),
    Event(Opcode.BINARY, bytes(range(200))),
    Event(Opcode.PING, b"ping"),
    Event(Opcode.PONG, b""),
    Event(Opcode.TEXT, "하나".encode()),
    Event(Opcode.TEXT, b""),
    Event(Opcode.CLOSE, struct.pack("!H", 1000) + b"bye"),
]


def test_a_stream_reads_the_same_at_every_split() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = Decoder(LIMIT)
        assert read_all(decoder, STREAM[:cut]) + read_all(decoder, STREAM[cut:]) == EVENTS


def test_a_stream_reads_the_same_byte_by_byte() -> None:
    decoder = Decoder(LIMIT)
    events = [
        event for at in range(len(STREAM)) for event in read_all(decoder, STREAM[at : at + 1])
    ]
    assert events == EVENTS
    assert decoder.buffered_bytes == 0


def test_a_frozen_decoder_goes_on_at_every_byte() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = Decoder(LIMIT)
        before = read_all(decoder, STREAM[:cut])
        thawed = Decoder.thaw(decoder.freeze(), LIMIT)
        assert before + read_all(thawed, STREAM[cut:]) == EVENTS


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_the_mask_is_its_own_inverse(payload: bytes, mask: bytes) -> None:
    masked = apply_mask(payload, mask)
    assert masked == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    assert apply_mask(masked, mask) == payload


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_every_length_form_survives_a_round_trip(size: int) -> None:
    payload = b"x" * size
    assert read_all(Decoder(LIMIT), client_frame(2, payload)) == [Event(Opcode.BINARY, payload)]
    frame = encode_message(payload, binary=False)
    assert frame[0] == 0x81
    assert frame.endswith(payload)
    assert len(frame) - size == (2 if size < 126 else 4 if size < 65_536 else 10)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (client_frame(1, b"x")[:1] + b"\x01x", 1002),  # not masked
        (bytes((0xC1, 0x80)) + MASK, 1002),  # RSV1: an extension nobody agreed to
        (bytes((0xA1, 0x80)) + MASK, 1002),
        (bytes((0x91, 0x80)) + MASK, 1002),
        (client_frame(3, b""), 1002),
        (client_frame(7, b""), 1002),
        (client_frame(0xB, b""), 1002),
        (client_frame(0xF, b""), 1002),
        (client_frame(9, b"x" * 126), 1002),
        (client_frame(9, b"", final=False), 1002),
        (client_frame(8, b"", final=False), 1002),
        (client_frame(0, b"x"), 1002),  # continuation of nothing
        (client_frame(1, b"a", final=False) + client_frame(1, b"b"), 1002),
        (bytes((0x81, 0x80 | 126)) + struct.pack("!H", 125), 1002),  # not the shortest form
        (bytes((0x81, 0x80 | 127)) + struct.pack("!Q", 65_535), 1002),
        (bytes((0x82, 0x80 | 127)) + struct.pack("!Q", 1 << 63), 1002),
        (bytes((0x82, 0x80 | 127)) + struct.pack("!Q", (1 << 63) - 1), 1009),
        (client_frame(1, b"\xff"), 1007),
        (client_frame(1, b"\xed\xa0\x80"), 1007),  # a surrogate
        (client_frame(1, b"\xc0\xaf"), 1007),  # overlong
        (client_frame(1, b"\xce"), 1007),  # cut in a character
        (client_frame(1, b"\xce", final=False) + client_frame(0, b"\xce"), 1007),
        (client_frame(1, b"\xce", final=False) + client_frame(0, b""), 1007),
        (client_frame(1, b"ok", final=False) + client_frame(0, b"\xf5", final=False), 1007),
    ],
)
def test_a_violation_names_its_close_code(data: bytes, code: int) -> None:
    assert failure(data) == code


def test_an_announced_size_over_the_limit_fails_before_its_payload_comes() -> None:
    assert failure(bytes((0x82, 0x80 | 126)) + struct.pack("!H", 1001), limit=1000) == 1009
    parts = client_frame(2, b"x" * 600, final=False) + client_frame(0, b"x" * 401)[:4]
    assert failure(parts, limit=1000) == 1009


def test_endless_empty_fragments_are_refused() -> None:
    data = client_frame(1, b"", final=False) + client_frame(0, b"", final=False) * FRAGMENTS_MAX
    assert failure(data) == 1008


@pytest.mark.parametrize("seed", [20_261_122, 7])
def test_random_bytes_end_in_events_or_a_close_code_within_the_limit(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(3_000):
        data = source.randbytes(source.randrange(1, 60))
        if source.random() < 0.7:  # make the first frame plausible
            data = bytes((source.choice((0x81, 0x01, 0x82, 0x88, 0x89)), 0x80 | data[0] & 0x7F))
            data += source.randbytes(50)
        decoder = Decoder(1_000)
        try:
            for event in read_all(decoder, data):
                assert len(event.payload) <= 1_000
        except WebSocketError as error:
            assert error.code in (1002, 1007, 1009)  # noqa: PT017 - most inputs fail
        assert decoder.buffered_bytes <= len(data)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent_are_read(code: int) -> None:
    assert parse_close(struct.pack("!H", code) + b"why") == (code, "why")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
def test_close_codes_that_may_not_be_sent_are_refused(code: int) -> None:
    with pytest.raises(WebSocketError):
        parse_close(struct.pack("!H", code))


def test_close_payloads_at_their_edges() -> None:
    assert parse_close(b"") == (1005, "")
    with pytest.raises(WebSocketError):
        parse_close(b"\x03")
    with pytest.raises(WebSocketError) as caught:
        parse_close(struct.pack("!H", 1000) + b"\xff")
    assert caught.value.code == 1007
    frame = encode_close(4000, "가" * 100)
    assert frame[1] <= 125
    assert parse_close(frame[2:]) == (4000, "가" * 41)


def test_the_handshake_of_the_rfc() -> None:
    headers = {
        "upgrade": "WebSocket",
        "connection": "keep-alive, Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    accept = check_handshake("GET", headers.get)
    assert accept == accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in encode_handshake(
        accept, None
    )
    assert b"Sec-WebSocket-Protocol: b\r\n" in encode_handshake(accept, "b")
    assert choose_subprotocol("a, b", ("b",)) == "b"
    assert choose_subprotocol("a", ("b",)) is None
    for name, value, status in [
        ("upgrade", "h2c", 426),
        ("connection", "close", 426),
        ("sec-websocket-version", "8", 426),
        ("sec-websocket-key", "short", 400),
        ("sec-websocket-key", "!" * 24, 400),
    ]:
        with pytest.raises(HandshakeError) as caught:
            check_handshake("GET", {**headers, name: value}.get)
        assert caught.value.status == status


def test_control_frames_are_encoded_whole() -> None:
    assert encode_frame(Opcode.PING, b"") == b"\x89\x00"
    assert encode_frame(Opcode.PONG, b"ab") == b"\x8a\x02ab"
