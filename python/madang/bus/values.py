"""Payloads of applications: bytes as they are, everything else as JSON. Pure.

JSON text is marked by the byte 0x1E before it (RFC 7464 uses it so); bytes that themselves begin
with 0x1E or 0x1F get 0x1F before them. Invariant: `decode(encode(value)) == value` for bytes and
for every JSON value.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from madang.bus.errors import BusError

_JSON: Final = 0x1E
_ESCAPED: Final = 0x1F
_MARKS: Final = (_JSON, _ESCAPED)


class NotJson(BusError):
    """A payload is neither bytes nor something that JSON can say."""


def encode(value: object) -> bytes:
    """Return the payload that carries `value`; raise NotJson."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        return b"\x1f" + raw if raw and raw[0] in _MARKS else raw
    try:
        return b"\x1e" + msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NotJson(f"a payload is bytes or what JSON can say: {error}") from None


def decode(payload: bytes) -> Any:  # noqa: ANN401 - it is what the sender gave
    """Return the value that a payload carries; a marked text that is no JSON is left as it is."""
    if not payload or payload[0] not in _MARKS:
        return payload
    if payload[0] == _ESCAPED:
        return payload[1:]
    try:
        return msgspec.json.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload


def readable(payload: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return what a payload carries in a form that JSON can say: bytes become base64."""
    value = decode(payload)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
