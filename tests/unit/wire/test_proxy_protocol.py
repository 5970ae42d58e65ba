"""The PROXY protocol, versions 1 and 2, at every split and with every kind of nonsense."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from madang.wire.proxy_protocol import (
    V1_BYTES_MAX,
    V2_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    parse_proxy_header,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def tcp(source: str, port: int) -> bytes:
    packed = ipaddress.ip_address(source).packed
    return packed + packed + struct.pack(">HH", port, 443)


WHOLE = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n": ("192.0.2.7", 56324),
    b"PROXY TCP6 2001:db8::1 2001:db8::2 7 443\r\n": ("2001:db8::1", 7),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": None,
    binary(0x21, 0x11, tcp("192.0.2.7", 56324)): ("192.0.2.7", 56324),
    binary(0x21, 0x21, tcp("2001:db8::1", 7)): ("2001:db8::1", 7),
    binary(0x21, 0x11, tcp("192.0.2.7", 1) + b"\x04\x00\x02ab"): ("192.0.2.7", 1),
    binary(0x20, 0x00, b""): None,
    binary(0x21, 0x31, bytes(216)): None,
}


@pytest.mark.parametrize("header", WHOLE, ids=repr)
def test_a_header_is_read_at_every_split_and_the_rest_is_left(header: bytes) -> None:
    whole = header + REQUEST
    for cut in range(len(whole) + 1):
        found = parse_proxy_header(whole[:cut])
        if cut < len(header):
            assert found is None
        else:
            assert found is not None
            assert (found.source, found.size) == (WHOLE[header], len(header))


def test_the_destination_is_read_too() -> None:
    line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
    expected = ProxyHeader(("192.0.2.7", 56324), ("198.51.100.1", 443), len(line))
    assert parse_proxy_header(line) == expected


REFUSED = [
    REQUEST,
    b"\x16\x03\x01\x00",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 7 443\r\n",
    b"PROXY TCP4 192.0.2.777 198.51.100.1 7 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 7 443\r\n",
    b"PROXY TCP4 " + b"1" * V1_BYTES_MAX,
    binary(0x11, 0x11, tcp("192.0.2.7", 1)),
    binary(0x2F, 0x11, tcp("192.0.2.7", 1)),
    binary(0x21, 0x11, b"\x01\x02"),
    SIGNATURE + struct.pack(">BBH", 0x21, 0x11, V2_BYTES_MAX),
]


@pytest.mark.parametrize("received", REFUSED, ids=repr)
def test_anything_else_is_refused(received: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(received)


@given(some.binary(max_size=300), some.sampled_from([b"", b"PROXY ", SIGNATURE]))
def test_garbage_is_refused_or_waited_for_and_never_breaks(garbage: bytes, start: bytes) -> None:
    try:
        found = parse_proxy_header(start + garbage)
    except ProxyHeaderError:
        return
    assert found is not None or len(start + garbage) < V2_BYTES_MAX
