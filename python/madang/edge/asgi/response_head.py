"""The head of an answer: what the application said, and what HTTP needs beside it. Pure.

How long the body is comes from the application's content-length, else from the body where it is
whole, else from chunks; a 1.0 client gets the end of the connection in their place.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
NO_BODY: Final = 0
LENGTH_LINES_MAX: Final = 1_024
_LINE_END: Final = b"\r\n"
_BREAKS: Final = b"\r\n\0"
_OURS: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"date", b"server")
)


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


@lru_cache(LENGTH_LINES_MAX)
def _length_line(size: int) -> bytes:
    return b"content-length: %d\r\n" % size


_STATUS_LINES: Final = {status: _status_line(status) for status in range(200, 600)}
Headers = Iterable[Iterable[bytes]]


Head = tuple[bytes, int, bool]
"""The bytes; what may still be sent, CHUNKED or UNTIL_CLOSE; whether the connection goes on."""

KEEP_ALIVE: Final = 1
HTTP_10: Final = 2
HEAD: Final = 4


class _Found:
    """What the application said of what is ours to say."""

    __slots__ = ("closes", "has_date", "has_server", "length")

    def __init__(self) -> None:
        self.length = -1
        self.closes = False
        self.has_date = False
        self.has_server = False

    def take(self, key: bytes, value: bytes) -> bool:
        """Note a header; return whether it is left out because we write it."""
        if key == b"content-length":
            if not value.isdigit():
                raise ValueError(f"content-length {value!r} is no number")
            self.length = int(value)
            return True
        if key == b"connection":
            self.closes = self.closes or b"close" in value.lower()
            return True
        if key == b"date":
            self.has_date = True
        elif key == b"server":
            self.has_server = True
        return key == b"transfer-encoding"


def encode_head(
    status: int, headers: Headers, defaults: tuple[bytes, bytes], shape: int, whole: int
) -> Head:
    """Return the head of an exchange of `shape`, a sum of KEEP_ALIVE, HTTP_10 and HEAD.

    `defaults` are the lines of date and server, `whole` the size of the body, -1 where more
    follows. Raises ValueError where a header cannot be sent, TypeError where it is not bytes.
    """
    line = _STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"{status} is no status of an answer")
    lines: list[bytes] = [line]
    found: _Found | None = None
    count = 1
    for name, value in headers:
        key = name.lower()
        if key in _OURS:
            found = found or _Found()
            if found.take(key, value):
                continue
        lines += (key, b": ", value, b"\r\n")
        count += 1
    block = b"".join(lines)
    if len(block) - len(block.translate(None, _BREAKS)) != count * len(_LINE_END):
        raise ValueError("a header holds a line break or a zero byte")
    if found is None:
        date, server = defaults
        if shape == KEEP_ALIVE and whole >= 0 and status not in (204, 304):
            return b"".join((block, date, server, _length_line(whole), _LINE_END)), whole, True
        block += date + server
    else:
        if not found.has_date:
            block += defaults[0]
        if not found.has_server:
            block += defaults[1]
    return _finish(status, block, found, (shape, whole))


def _finish(status: int, block: bytes, found: _Found | None, wanted: tuple[int, int]) -> Head:
    shape, whole = wanted
    is_head, is_http_10 = bool(shape & HEAD), bool(shape & HTTP_10)
    keep_alive = bool(shape & KEEP_ALIVE) and not (found is not None and found.closes)
    length = found.length if found is not None else -1
    if status in (204, 304):
        if status == 304 and length >= 0:
            block += _length_line(length)
        length = NO_BODY
    elif length >= 0:
        block += _length_line(length)
    elif whole >= 0:
        length = NO_BODY if is_head else whole
        if whole or not is_head:
            block += _length_line(whole)
    elif is_http_10:
        keep_alive = keep_alive and is_head
        length = UNTIL_CLOSE
    else:
        block += b"transfer-encoding: chunked\r\n"
        length = CHUNKED
    if not keep_alive:
        block += b"connection: close\r\n"
    elif is_http_10:
        block += b"connection: keep-alive\r\n"
    return block + b"\r\n", length, keep_alive


def plain_answer(status: int, text: str, defaults: tuple[bytes, bytes], close: bool) -> bytes:
    """Return a whole answer of this server itself."""
    body = f"{text}\n".encode()
    headers = ((b"content-type", b"text/plain; charset=utf-8"),)
    shape = 0 if close else KEEP_ALIVE
    return encode_head(status, headers, defaults, shape, len(body))[0] + body
