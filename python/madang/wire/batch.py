"""The log's unit: one batch of commands under one header, checked by one CRC32C.

Layout, little-endian, the whole record padded with zeros to a multiple of 8:

    magic u32 | crc u32 | length u32 | rules_version u32
    term u64 | sequence u64 | now_ns i64 | count u32 | commands_length u32

`crc` covers everything after itself up to `length` (header rest, commands, padding), so a wrong
length is found as well. `sequence` is that of the first command; command i has `sequence + i`.
Command i has the time `now_ns + i`, so no two commands of a log have the same.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import google_crc32c

MAGIC = 0x3142444D  # "MDB1"
HEADER = struct.Struct("<IIIIQQqII")
HEADER_BYTES = 48
BATCH_BYTES_MAX = 4 * 1024 * 1024
_CRC_END = 8
assert HEADER.size == HEADER_BYTES


class BatchHeader(NamedTuple):
    """What a batch says of itself; `length` is the whole record with its padding."""

    length: int
    rules_version: int
    term: int
    sequence: int
    now_ns: int
    command_count: int
    commands_length: int

    @property
    def last_sequence(self) -> int:
        """The sequence of the last command."""
        return self.sequence + self.command_count - 1

    @property
    def last_now_ns(self) -> int:
        """The time of the last command."""
        return self.now_ns + self.command_count - 1


class BatchDamage(NamedTuple):
    """Why bytes are not a batch. `blank` is true where the place was never written (zeros)."""

    reason: str
    blank: bool


def encode_batch(
    commands: bytes, count: int, *, term: int, sequence: int, now_ns: int, rules_version: int
) -> bytes:
    """Return the record of `count` concatenated command records."""
    padding = -len(commands) % 8
    length = HEADER_BYTES + len(commands) + padding
    assert length <= BATCH_BYTES_MAX
    assert count > 0
    header = HEADER.pack(
        MAGIC, 0, length, rules_version, term, sequence, now_ns, count, len(commands)
    )
    body = header[_CRC_END:] + commands + bytes(padding)
    return struct.pack("<II", MAGIC, google_crc32c.value(body)) + body


def parse_batch(data: bytes | memoryview, offset: int = 0) -> BatchHeader | BatchDamage:
    """Check the record at `offset` in full and return its header, or say what is wrong with it."""
    view = memoryview(data)
    if len(view) - offset < HEADER_BYTES:
        return BatchDamage("header cut", blank=not any(view[offset:]))
    magic, crc, length, rules, term, sequence, now_ns, count, used = HEADER.unpack_from(
        view, offset
    )
    if magic != MAGIC:
        blank = not any(view[offset : offset + HEADER_BYTES])
        return BatchDamage("no batch here" if blank else "wrong magic", blank=blank)
    if not HEADER_BYTES < length <= BATCH_BYTES_MAX or length % 8:
        return BatchDamage(f"impossible length {length}", blank=False)
    if len(view) - offset < length:
        return BatchDamage("payload cut", blank=False)
    if google_crc32c.value(bytes(view[offset + _CRC_END : offset + length])) != crc:
        return BatchDamage("checksum differs", blank=False)
    if count == 0 or HEADER_BYTES + used > length:
        return BatchDamage("impossible counts", blank=False)
    return BatchHeader(length, rules, term, sequence, now_ns, count, used)


def commands_of(data: bytes, header: BatchHeader, offset: int = 0) -> bytes:
    """Return the concatenated command records of a batch that was parsed at `offset`."""
    start = offset + HEADER_BYTES
    return bytes(data[start : start + header.commands_length])
