"""Ids: 64-bit numbers inside, UUIDs outside, one reversible mapping between them.

An entity's UUID is version 8 (RFC 9562 section 5.8): the number in the first 48 and the last 16
bits, the kind of entity in between. So no table is needed, an id of one kind is never taken for
another, and every replica renders the same text.
"""

from __future__ import annotations

import os
from enum import IntEnum


class Kind(IntEnum):
    """What a UUID names (12 bits)."""

    ORDER = 0x0DE
    EXECUTION = 0x0EC
    ACCOUNT = 0x0AC
    ASSET = 0x0A5


_TAIL = "8ada4d61"  # variant bits 10, then a constant of this product


def to_uuid(kind: Kind, number: int) -> str:
    """Return the UUID text of entity `number` (0 <= number < 2**64)."""
    text = f"{number:016x}"
    return f"{text[:8]}-{text[8:12]}-8{kind:03x}-{_TAIL[:4]}-{_TAIL[4:]}{kind:03x}0{text[12:]}"


def from_uuid(kind: Kind, text: str) -> int | None:
    """Return the number behind a UUID of this kind, or None where it is none."""
    if len(text) != 36:
        return None
    try:
        number = int(text[:8] + text[9:13] + text[32:], 16)
    except ValueError:
        return None
    return number if to_uuid(kind, number) == text.lower() else None


def new_request_id() -> bytes:
    """Return 128 random bits that name one command for ever."""
    try:
        return _drawn.pop()
    except IndexError:
        data = os.urandom(16 * _DRAWN_AT_ONCE)  # the kernel is asked for many at once
        _drawn.extend(data[at : at + 16] for at in range(16, len(data), 16))
        return data[:16]


def new_uuid() -> str:
    """Return a random UUID's text (version 4, RFC 9562 section 5.4)."""
    text = new_request_id().hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


_DRAWN_AT_ONCE = 256
_drawn: list[bytes] = []
os.register_at_fork(after_in_child=_drawn.clear)  # no two processes ever give the same
