"""WebSocket frames and handshake (RFC 6455) of a server, sans-IO.

Bytes go in with `Decoder.feed`, events come out of `Decoder.next_event`, and `encode_*` return
bytes that may be shared by any number of connections, because a server's frames are not masked.
Invariant: nothing larger than `message_bytes_max` is ever held, whatever the peer announces; a
violation raises `WebSocketError` with the close code to send, after which the decoder is not fed
again. Extensions (permessage-deflate) are declined: the reserved bits must be 0.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from madang.core.closecodes import CloseCode
from madang.core.errors import MadangError


class Opcode(IntEnum):
    """What a frame carries (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Event(NamedTuple):
    """A whole message or a control frame; `opcode` is TEXT, BINARY, PING, PONG or CLOSE."""

    opcode: Opcode
    payload: bytes


class WebSocketError(MadangError):
    """The peer broke the protocol: close with `code` and `reason`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"WebSocket closed with {code}: {reason}", code=code, reason=reason)
        self.code = code
        self.reason = reason


CONTROL_BYTES_MAX: Final = 125
FRAGMENTS_MAX: Final = 1_024
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}
_SHORT_HEADS: Final = {
    opcode: tuple(bytes((0x80 | opcode, size)) for size in range(126)) for opcode in Opcode
}
_MASKED: Final = 0x80
_FIN: Final = 0x80
_RESERVED: Final = 0x70


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return one unmasked final frame, ready to be written to any number of peers."""
    size = len(payload)
    if size < 126:
        return _SHORT_HEADS[opcode][size] + payload
    if size < 65_536:
        return struct.pack("!BBH", _FIN | opcode, 126, size) + payload
    return struct.pack("!BBQ", _FIN | opcode, 127, size) + payload


def encode_message(payload: bytes, binary: bool) -> bytes:
    """Return a text or binary message in one frame."""
    return encode_frame(Opcode.BINARY if binary else Opcode.TEXT, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason longer than 123 bytes is cut at a character."""
    text = reason.encode()[: CONTROL_BYTES_MAX - 2].decode(errors="ignore").encode()
    return encode_frame(Opcode.CLOSE, struct.pack("!H", code) + text)


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame's payload; 1005 where it is empty (section 7.1.5)."""
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "close frame of one byte")
    code: int = struct.unpack_from("!H", payload)[0]
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "invalid close code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketError(CloseCode.INVALID_PAYLOAD, "close reason is not UTF-8") from None


def apply_mask(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """Return `payload` with the four-byte mask applied (its own inverse, section 5.3)."""
    size = len(payload)
    stretched = (bytes(mask) * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(stretched, "little")
    return mixed.to_bytes(size, "little")


class _Frozen(msgspec.Struct, frozen=True, array_like=True):
    rest: bytes
    opcode: int
    fragments: list[bytes]


class Decoder:
    """Reads a client's frames, joins fragments, checks everything; one per connection."""

    __slots__ = (
        "_at",
        "_buffer",
        "_fragment_bytes",
        "_fragments",
        "_limit",
        "_need",
        "_opcode",
        "_utf8",
    )

    def __init__(self, message_bytes_max: int) -> None:
        self._limit = message_bytes_max
        self._buffer = bytearray()
        self._at = 0
        self._need = 2
        self._opcode: Opcode | None = None
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0
        self._utf8: codecs.IncrementalDecoder | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes held: unread input and fragments of an unfinished message."""
        return len(self._buffer) - self._at + self._fragment_bytes

    def feed(self, data: bytes) -> None:
        """Take bytes as they came from the socket; then call `next_event` until it returns None."""
        self._buffer += data

    def next_event(self) -> Event | None:
        """Return the next message or control frame, None where more bytes are needed.

        Raises WebSocketError.
        """
        buffer = self._buffer
        while len(buffer) - self._at >= self._need:
            at = self._at
            opcode, start, size = self._parse_head(buffer, at)
            end = start + 4 + size
            if start == 0 or len(buffer) < end:
                if start:
                    self._need = end - at
                continue
            payload = apply_mask(buffer[start + 4 : end], buffer[start : start + 4])
            final = buffer[at] & _FIN
            self._at = end
            self._need = 2
            if end == len(buffer):
                buffer.clear()
                self._at = 0
            event = self._accept(opcode, payload, bool(final))
            if event is not None:
                return event
        if self._at:
            del buffer[: self._at]
            self._at = 0
        return None

    def _parse_head(self, buffer: bytearray, at: int) -> tuple[Opcode, int, int]:
        """Return opcode, where the mask starts, and size; 0: the head is not here, see `_need`."""
        first = buffer[at]
        second = buffer[at + 1]
        if first & _RESERVED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "reserved bit set")
        opcode = _OPCODES.get(first & 0x0F)
        if opcode is None:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        if not second & _MASKED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "client frame is not masked")
        size = second & 0x7F
        if opcode >= Opcode.CLOSE:
            if size > CONTROL_BYTES_MAX or not first & _FIN:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "control frame too long or in parts")
            return opcode, at + 2, size
        start = at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) - start < width:
                self._need = 2 + width
                return opcode, 0, 0
            size = int.from_bytes(buffer[start : start + width], "big")
            if size < 126 or (width == 8 and (size < 65_536 or size >> 63)):
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "length not in its shortest form")
            start += width
        if size + self._fragment_bytes > self._limit:
            raise WebSocketError(
                CloseCode.MESSAGE_TOO_BIG, f"message larger than {self._limit} bytes"
            )
        return opcode, start, size

    def _accept(self, opcode: Opcode, payload: bytes, final: bool) -> Event | None:
        if opcode >= Opcode.CLOSE:
            return Event(opcode, payload)
        if opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise WebSocketError(CloseCode.PROTOCOL_ERROR, "continuation of nothing")
            return self._join(payload, final)
        if self._opcode is not None:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "new message inside a message")
        if final:
            if opcode is Opcode.TEXT and not payload.isascii():
                _check_utf8(payload)
            return Event(opcode, payload)
        self._opcode = opcode
        if opcode is Opcode.TEXT:
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        return self._join(payload, final)

    def _join(self, payload: bytes, final: bool) -> Event | None:
        opcode = self._opcode
        assert opcode is not None
        if self._utf8 is not None:
            try:
                self._utf8.decode(payload, final)
            except UnicodeDecodeError:
                raise WebSocketError(CloseCode.INVALID_PAYLOAD, "text is not UTF-8") from None
        self._fragments.append(payload)
        self._fragment_bytes += len(payload)
        if len(self._fragments) > FRAGMENTS_MAX:
            raise WebSocketError(CloseCode.POLICY_VIOLATION, "too many fragments")
        if not final:
            return None
        message = b"".join(self._fragments)
        self._opcode = None
        self._utf8 = None
        self._fragments = []
        self._fragment_bytes = 0
        return Event(opcode, message)

    def freeze(self) -> bytes:
        """Return the whole state, so that another process goes on in the middle of a message."""
        opcode = -1 if self._opcode is None else int(self._opcode)
        state = _Frozen(bytes(self._buffer[self._at :]), opcode, self._fragments)
        return msgspec.msgpack.encode(state)

    @classmethod
    def thaw(cls, frozen: bytes, message_bytes_max: int) -> Decoder:
        """Return a decoder that continues where `freeze` was called."""
        state = msgspec.msgpack.decode(frozen, type=_Frozen)
        decoder = cls(message_bytes_max)
        decoder._buffer += state.rest
        if state.opcode >= 0:
            decoder._opcode = Opcode(state.opcode)
            if decoder._opcode is Opcode.TEXT:
                decoder._utf8 = codecs.getincrementaldecoder("utf-8")()
            for fragment in state.fragments:
                decoder._join(fragment, final=False)
        return decoder


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise WebSocketError(CloseCode.INVALID_PAYLOAD, "text is not UTF-8") from None


class HandshakeError(MadangError):
    """The upgrade request cannot be accepted: answer `status` (section 4.2.1)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, status=status)
        self.status = status


def accept_key(key: str) -> str:
    """Return Sec-WebSocket-Accept for a Sec-WebSocket-Key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def check_handshake(method: str, header: Callable[[str], str | None]) -> str:
    """Return the accept key of an upgrade request, or raise HandshakeError."""
    if method != "GET":
        raise HandshakeError(405, "a WebSocket starts with GET")
    if "websocket" not in _tokens(header("upgrade")) or "upgrade" not in _tokens(
        header("connection")
    ):
        raise HandshakeError(426, "this path speaks WebSocket: send an upgrade request")
    if (header("sec-websocket-version") or "").strip() != "13":
        raise HandshakeError(426, "WebSocket version 13 is spoken here")
    key = (header("sec-websocket-key") or "").strip()
    try:
        nonce = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != 16:
        raise HandshakeError(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return accept_key(key)


def choose_subprotocol(offered: str | None, ours: tuple[str, ...]) -> str | None:
    """Return the first subprotocol the client offers that is ours, None where there is none."""
    for token in (offered or "").split(","):
        if token.strip() in ours:
            return token.strip()
    return None


def encode_handshake(accept: str, subprotocol: str | None) -> bytes:
    """Return the 101 answer."""
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n"
    )
    if subprotocol is not None:
        head += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    return (head + "\r\n").encode("latin-1")


def _tokens(value: str | None) -> list[str]:
    return [token.strip().lower() for token in (value or "").split(",")]
