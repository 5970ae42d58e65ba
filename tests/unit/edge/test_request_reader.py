"""Requests from bytes: every split gives the same requests, limits bind while bytes arrive."""

from __future__ import annotations

import random

import pytest

from madang.edge import EdgeSettings
from madang.edge.request_reader import PIECE_BYTES, RequestReader

SETTINGS = EdgeSettings(header_bytes_max=1_000, body_bytes_max=2_000)
STREAM = (
    b"GET /a%20b?x=1&x=2 HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\ncookie: b=2\r\n"
    b"X-Many: 1\r\nx-many: 2\r\n\r\n"
    b"POST /v2/orders HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"
    b"POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
    b"DELETE http://h/v2/orders?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)


def requests(reader: RequestReader) -> list[tuple[str, str, bytes, bytes, bool]]:
    return [
        (i.request.method, i.request.path, i.request.query_string, i.request.body, i.keep_alive)
        for i in reader.complete
    ]


EXPECTED = [
    ("GET", "/a%20b", b"x=1&x=2", b"", True),
    ("POST", "/v2/orders", b"", b"hello world", True),
    ("POST", "/chunked", b"", b"hello world", True),
    ("DELETE", "/v2/orders", b"q", b"", False),
]


def test_a_stream_reads_the_same_at_every_split() -> None:
    for cut in range(len(STREAM) + 1):
        reader = RequestReader(SETTINGS)
        reader.feed(STREAM[:cut])
        reader.feed(STREAM[cut:])
        assert requests(reader) == EXPECTED, cut
        assert reader.refusal is None


def test_a_stream_reads_the_same_byte_by_byte() -> None:
    reader = RequestReader(SETTINGS)
    for at in range(len(STREAM)):
        reader.feed(STREAM[at : at + 1])
    assert requests(reader) == EXPECTED
    first = reader.complete[0].request.headers
    assert first.get("cookie") == "a=1; b=2"
    assert first.get("x-many") == "1, 2"
    assert reader.complete[2].request.headers.get("trailer") is None


def refusal(*pieces: bytes) -> int | None:
    reader = RequestReader(SETTINGS)
    for piece in pieces:
        for at in range(0, len(piece), PIECE_BYTES):
            reader.feed(piece[at : at + PIECE_BYTES])
            if reader.refusal is not None:
                assert not reader.complete
                return reader.refusal.status
    return None


HOST = b"Host: h\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS spoken to plain HTTP
        (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", 400),
        (b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X y: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n7d1\r\n"
            + b"x" * 2001
            + b"\r\n0\r\n\r\n",
            413,
        ),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Expect: gold\r\nContent-Length: 1\r\n\r\n", 417),
        (b"GET /" + b"a" * 1_001 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 1_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_wrong_has_a_status(data: bytes, status: int) -> None:
    assert refusal(data) == status
    assert refusal(*(data[at : at + 1] for at in range(len(data)))) == status


def test_a_header_that_never_ends_is_refused_while_it_arrives() -> None:
    reader = RequestReader(SETTINGS)
    reader.feed(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
    fed = 0
    while reader.refusal is None:
        reader.feed(b"a" * 100)
        fed += 100
        assert fed <= 2 * SETTINGS.header_bytes_max
    assert reader.refusal.status == 431


def test_endless_chunk_extensions_and_line_breaks_are_refused() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    assert refusal(head, b"a" * 40_000) == 413
    assert refusal(b"\r\n" * 20_000) == 431


def test_one_bad_request_behind_a_good_one_spoils_only_itself() -> None:
    reader = RequestReader(SETTINGS)
    reader.feed(b"GET /ok HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n")
    assert [i.request.path for i in reader.complete] == ["/ok"]
    assert reader.refusal is not None


def test_an_upgrade_leaves_what_follows_it() -> None:
    reader = RequestReader(SETTINGS)
    head = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    assert reader.feed(head + b"\x81\x80....") == len(head)
    assert reader.complete[0].upgrading


def test_continue_is_wanted_only_while_the_body_is_awaited() -> None:
    reader = RequestReader(SETTINGS)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    reader.feed(head)
    assert reader.wants_continue
    reader.feed(b"{}")
    assert not reader.wants_continue
    assert reader.complete[0].request.body == b"{}"


@pytest.mark.parametrize("seed", [20_261_122, 7])
def test_random_changes_of_good_bytes_never_raise_nor_pass_the_limits(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(2_000):
        data = bytearray(STREAM)
        for _ in range(source.randrange(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        reader = RequestReader(SETTINGS)
        while data and reader.refusal is None:
            size = source.randrange(1, 200)
            taken = reader.feed(bytes(data[:size]))
            del data[:size]
            if taken < size:
                break  # an upgrade
        for incoming in reader.complete:
            assert len(incoming.request.body) <= SETTINGS.body_bytes_max
