"""The PROXY protocol: a balancer says first who the client is. Versions 1 (text) and 2 (binary).

Source: HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2. Sans-IO: bytes in, one header out, and
what follows it belongs to the protocol behind. Whoever may connect can claim any address, so a
header is believed only from a known balancer; that is for the caller to check.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from madang.core.errors import MadangError

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
TEXT_START: Final = b"PROXY "
TEXT_BYTES_MAX: Final = 107
BINARY_BYTES_MAX: Final = 2_048
"""Addresses and extension fields of a binary header; the protocol itself would allow 65,535."""

_PREFIX: Final = struct.Struct(">12sBBH")
_TCP4: Final = struct.Struct(">4s4sHH")
_TCP6: Final = struct.Struct(">16s16sHH")
_LOCAL, _PROXY = 0x20, 0x21
_FAMILY_TCP4, _FAMILY_TCP6 = 0x11, 0x21
_TEXT_FIELDS: Final = 6
_PORT_MAX: Final = 65_535


class ProxyHeaderError(MadangError):
    """The connection did not begin with a PROXY header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Who the client is; `address` is "" where the balancer speaks for itself (a health check)."""

    address: str
    port: int
    rest: bytes


class ProxyReader:
    """Reads the header from the first bytes of one connection."""

    def __init__(self) -> None:
        self._received = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take bytes; return the header once it is whole. Raises ProxyHeaderError."""
        received = self._received = self._received + data
        if received.startswith(SIGNATURE):
            return _binary(received)
        if received.startswith(TEXT_START):
            return _text(received)
        if SIGNATURE.startswith(received) or TEXT_START.startswith(received):
            return None
        raise ProxyHeaderError("expected a PROXY header before anything else")


def _text(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\r\n", 0, TEXT_BYTES_MAX)
    if end < 0:
        if len(received) >= TEXT_BYTES_MAX:
            raise ProxyHeaderError(f"a PROXY line is longer than {TEXT_BYTES_MAX} bytes")
        return None
    line, rest = received[:end], received[end + 2 :]
    fields = line.decode("ascii", "replace").split(" ")
    if fields[1] == "UNKNOWN":
        return ProxyHeader("", 0, rest)
    if len(fields) != _TEXT_FIELDS or fields[1] not in {"TCP4", "TCP6"}:
        raise ProxyHeaderError("expected PROXY TCP4|TCP6|UNKNOWN with addresses and ports")
    return ProxyHeader(_address(fields[2], fields[1]), _port(fields[4]), rest)


def _binary(received: bytes) -> ProxyHeader | None:
    if len(received) < _PREFIX.size:
        return None
    _, command, family, length = _PREFIX.unpack_from(received)
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("expected version 2 with LOCAL or PROXY")
    if length > BINARY_BYTES_MAX:
        raise ProxyHeaderError(f"a PROXY header is longer than {BINARY_BYTES_MAX} bytes")
    if len(received) < _PREFIX.size + length:
        return None
    body = received[_PREFIX.size : _PREFIX.size + length]
    rest = received[_PREFIX.size + length :]
    known = {_FAMILY_TCP4: _TCP4, _FAMILY_TCP6: _TCP6}.get(family)
    if command == _LOCAL or known is None:
        return ProxyHeader("", 0, rest)
    if length < known.size:
        raise ProxyHeaderError("a PROXY header is too short for its addresses")
    source, _, port, _ = known.unpack_from(body)
    return ProxyHeader(str(ipaddress.ip_address(source)), port, rest)


def _address(text: str, family: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise ProxyHeaderError("a PROXY line names no address") from error
    if address.version != int(family[-1]):
        raise ProxyHeaderError(f"a PROXY line says {family} and names another family")
    return str(address)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _PORT_MAX:
        raise ProxyHeaderError("a PROXY line names no port")
    return int(text)
