"""Frames between the processes of one machine: a fixed header, a subject, a payload.

Every frame is `length u32 | kind u8 | zero u8 | subject length u16 | number u64` (little-endian,
16 bytes), then the subject (ASCII), then the payload; `length` counts what follows the header.
`number` is the request a frame belongs to, the count of a gap, the incarnation in a HELLO, the
code of a CLOSE. Invariant: a decoder never holds more than one frame that is not complete, and a
length is checked before a byte of its body is kept; what breaks a rule raises FrameError and the
decoder is spent.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, TypeAlias

from madang.core.errors import MadangError

HEADER: Final = struct.Struct("<IBBHQ")
HEADER_BYTES: Final = 16
SUBJECT_BYTES_MAX: Final = 255
PAYLOAD_BYTES_MAX: Final = 512 * 1024
FRAME_BYTES_MAX: Final = HEADER_BYTES + SUBJECT_BYTES_MAX + PAYLOAD_BYTES_MAX
SUBJECT_CACHE_MAX: Final = 16_384
PROTOCOL_VERSION: Final = 1
VERSION: Final = struct.Struct("<H")  # payload of a HELLO

assert HEADER.size == HEADER_BYTES


class Kind(IntEnum):
    """What a frame says."""

    HELLO = 1  # subject: name of the sender; number: its incarnation; payload: protocol version u16
    SUBSCRIBE = 2  # subject: pattern the sender wants
    UNSUBSCRIBE = 3
    SERVE = 4  # subject: requests on it may be sent to the sender
    WITHDRAW = 5
    READY = 6  # the sender's interests are complete
    SYNCED = 7  # the sender has taken over all interests sent up to READY
    MESSAGE = 8
    GAP = 9  # subject: pattern; number: how many messages for it were dropped here
    REQUEST = 10  # number: chosen by the requester, unique on this link
    RESPONSE = 11
    REFUSAL = 12  # payload: why, UTF-8
    OVERLOADED = 13  # the request was not delivered: too many wait
    NO_SERVER = 14  # the request was not delivered: nobody serves the subject
    ANSWER_LOST = 15  # the request was handled, its answer did not fit
    CLOSE = 16  # number: CloseReason; payload: text; the sender closes the link


class CloseReason(IntEnum):
    """Why an end closes a link."""

    DUPLICATE = 1  # another link of the same two processes is kept
    REPLACED = 2  # a younger process of the same name is known
    PROTOCOL = 3  # a frame broke a rule
    OVERRUN = 4  # the peer does not read, or asks too much


class FrameError(MadangError):
    """Bytes that are no frame of this protocol; the link they came from is to be closed."""


Frame: TypeAlias = tuple[int, int, str, bytes]
"""(kind, number, subject, payload)"""

_FIRST: Final = min(Kind)
_LAST: Final = max(Kind)


def encode_prefix(kind: int, number: int, subject: str, payload_bytes: int) -> bytes:
    """Return header and subject of a frame whose payload of `payload_bytes` follows separately."""
    encoded = subject.encode("ascii")
    return HEADER.pack(len(encoded) + payload_bytes, kind, 0, len(encoded), number) + encoded


def encode(kind: int, number: int = 0, subject: str = "", payload: bytes = b"") -> bytes:
    """Return one whole frame."""
    return encode_prefix(kind, number, subject, len(payload)) + payload


def _check_header(length: int, kind: int, zero: int, subject_bytes: int) -> None:
    if not _FIRST <= kind <= _LAST:
        raise FrameError(f"frame of unknown kind {kind}", kind=kind)
    if zero != 0:
        raise FrameError(f"reserved byte is {zero}, expected 0", value=zero)
    if subject_bytes > SUBJECT_BYTES_MAX or subject_bytes > length:
        raise FrameError(f"subject of {subject_bytes} bytes", subject_bytes=subject_bytes)
    if length - subject_bytes > PAYLOAD_BYTES_MAX:
        raise FrameError(f"frame of {length} bytes, limit {PAYLOAD_BYTES_MAX}", length=length)


class FrameDecoder:
    """Bytes in any pieces in, whole frames out."""

    __slots__ = ("_needed", "_partial", "_subjects")

    def __init__(self) -> None:
        self._partial = bytearray()
        self._needed = HEADER_BYTES
        self._subjects: dict[bytes, str] = {}

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, in order; raise FrameError on a broken one."""
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return []
            data = bytes(self._partial)
            self._partial.clear()
        frames: list[Frame] = []
        unpack, subjects = HEADER.unpack_from, self._subjects
        position, end = 0, len(data)
        needed = HEADER_BYTES
        while end - position >= HEADER_BYTES:
            length, kind, zero, subject_bytes, number = unpack(data, position)
            _check_header(length, kind, zero, subject_bytes)
            needed = HEADER_BYTES + length
            if end - position < needed:
                break
            body = position + HEADER_BYTES + subject_bytes
            raw = data[position + HEADER_BYTES : body]
            subject = subjects.get(raw)
            if subject is None:
                subject = self._remember(raw)
            position += needed
            frames.append((kind, number, subject, data[body:position]))
            needed = HEADER_BYTES
        if position < end:
            self._partial += data[position:]
        self._needed = needed
        return frames

    def _remember(self, raw: bytes) -> str:
        try:
            subject = raw.decode("ascii")
        except UnicodeDecodeError as error:
            raise FrameError("subject is not ASCII") from error
        if len(self._subjects) >= SUBJECT_CACHE_MAX:
            self._subjects.clear()
        self._subjects[raw] = subject
        return subject
