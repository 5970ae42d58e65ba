"""The PROXY protocol: a balancer says first who the client is. Versions 1 (text) and 2 (binary).

Source: HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2. Sans-IO: bytes until a header or a
refusal comes out. Whoever may connect can claim any address, so a header is believed only from a
known balancer; that is for the caller to check.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from madang.core.errors import MadangError

V1_BYTES_MAX: Final = 107
V2_BYTES_MAX: Final = 16 + 4_096
_V1_PREFIX: Final = b"PROXY "
_V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FAMILIES: Final = {0x11: (4, "!4s4sHH", 12), 0x21: (6, "!16s16sHH", 36)}

Address = tuple[str, int]


class ProxyHeaderError(MadangError):
    """The connection does not begin with a PROXY header."""


class ProxyHeader(NamedTuple):
    """Source and destination as the proxy saw them; None where it says LOCAL or UNKNOWN."""

    source: Address | None
    destination: Address | None
    size: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Return the header that `data` begins with, None where bytes are missing.

    Raises ProxyHeaderError.
    """
    if data[:12] == _V2_SIGNATURE[: len(data[:12])]:
        return _parse_v2(data)
    if data[:6] == _V1_PREFIX[: len(data[:6])]:
        return _parse_v1(data)
    raise ProxyHeaderError("a PROXY header is expected here")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_BYTES_MAX)
    if end < 0:
        if len(data) >= V1_BYTES_MAX:
            raise ProxyHeaderError("the PROXY header has no end")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(None, None, end + 2)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyHeaderError("the PROXY header is malformed")
    version = int(words[1][3])
    try:
        source = _address(words[2], words[4], version)
        destination = _address(words[3], words[5], version)
    except ValueError:
        raise ProxyHeaderError("the PROXY header has no valid addresses") from None
    return ProxyHeader(source, destination, end + 2)


def _address(host: str, port: str, version: int) -> Address:
    address = ipaddress.ip_address(host)
    if address.version != version or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise ValueError(host)
    return str(address), int(port)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    kind, family, size = struct.unpack_from("!BBH", data, 12)
    if kind not in (0x20, 0x21) or 16 + size > V2_BYTES_MAX:
        raise ProxyHeaderError("the PROXY header is malformed")
    if len(data) < 16 + size:
        return None
    layout = _FAMILIES.get(family)
    if kind == 0x20 or layout is None:
        return ProxyHeader(None, None, 16 + size)
    _, form, wanted = layout
    if size < wanted:
        raise ProxyHeaderError("the PROXY header is malformed")
    source, destination, source_port, destination_port = struct.unpack_from(form, data, 16)
    return ProxyHeader(
        (str(ipaddress.ip_address(source)), source_port),
        (str(ipaddress.ip_address(destination)), destination_port),
        16 + size,
    )
