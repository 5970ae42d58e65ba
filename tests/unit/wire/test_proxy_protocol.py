"""The PROXY protocol, versions 1 and 2, at every split and with every kind of nonsense."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from madang.wire.proxy_protocol import (
    BINARY_BYTES_MAX,
    SIGNATURE,
    TEXT_BYTES_MAX,
    ProxyHeader,
    ProxyHeaderError,
    ProxyReader,
)

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def tcp(source: str, port: int) -> bytes:
    packed = ipaddress.ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack(">HH", port, 443)


WHOLE = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n": ("192.0.2.7", 56324),
    b"PROXY TCP6 2001:db8::1 2001:db8::2 7 443\r\n": ("2001:db8::1", 7),
    b"PROXY UNKNOWN\r\n": ("", 0),
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": ("", 0),
    binary(0x21, 0x11, tcp("192.0.2.7", 56324)): ("192.0.2.7", 56324),
    binary(0x21, 0x21, tcp("2001:db8::1", 7)): ("2001:db8::1", 7),
    binary(0x21, 0x11, tcp("192.0.2.7", 1) + b"\x04\x00\x02ab"): ("192.0.2.7", 1),
    binary(0x20, 0x00, b""): ("", 0),
    binary(0x21, 0x31, bytes(216)): ("", 0),
}


@pytest.mark.parametrize("header", WHOLE, ids=repr)
def test_a_header_is_read_at_every_split_and_the_rest_is_left(header: bytes) -> None:
    address, port = WHOLE[header]
    whole = header + REQUEST
    for cut in range(1, len(whole)):
        reader = ProxyReader()
        found = reader.feed(whole[:cut])
        if cut < len(header):
            assert found is None
            found = reader.feed(whole[cut:])
            assert found == ProxyHeader(address, port, REQUEST)
        else:
            assert found == ProxyHeader(address, port, whole[len(header) : cut])


REFUSED = [
    REQUEST,
    b"\x16\x03\x01\x00",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 7 443\r\n",
    b"PROXY TCP4 192.0.2.777 198.51.100.1 7 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 7 443\r\n",
    b"PROXY TCP4 " + b"1" * TEXT_BYTES_MAX,
    binary(0x11, 0x11, tcp("192.0.2.7", 1)),
    binary(0x2F, 0x11, tcp("192.0.2.7", 1)),
    binary(0x21, 0x11, b"\x01\x02"),
    SIGNATURE + struct.pack(">BBH", 0x21, 0x11, BINARY_BYTES_MAX + 1),
]


@pytest.mark.parametrize("received", REFUSED, ids=repr)
def test_anything_else_is_refused(received: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        ProxyReader().feed(received)


@given(some.binary(max_size=300), some.sampled_from([b"", b"PROXY ", SIGNATURE]))
def test_garbage_is_refused_or_waited_for_and_never_breaks(garbage: bytes, start: bytes) -> None:
    reader = ProxyReader()
    try:
        found = reader.feed(start + garbage)
    except ProxyHeaderError:
        return
    waiting_max = max(TEXT_BYTES_MAX, len(SIGNATURE) + 4 + BINARY_BYTES_MAX)
    assert found is not None or len(start + garbage) < waiting_max
