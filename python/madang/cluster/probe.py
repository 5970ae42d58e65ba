"""Ask a health URL until it answers well: one HTTP GET at a time, never waiting in the loop.

A probe is a non-blocking socket in the supervisor's own loop: it needs no process of its own, and
an address is numeric, so nothing is looked up.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

from madang.cluster.loop import READ, WRITE, Loop

PERIOD_NS = 100_000_000
TIMEOUT_NS = 2_000_000_000
ANSWER_BYTES = 4_096
GOOD = range(200, 400)


class Probe:
    """Asks `url` again and again until `on_good()` was called or it is cancelled."""

    def __init__(self, loop: Loop, url: str, on_good: Callable[[], None]) -> None:
        self._loop = loop
        self._on_good = on_good
        authority, slash, path = url.removeprefix("http://").partition("/")
        host, _, port = authority.partition(":")
        self._address = ("127.0.0.1" if host == "localhost" else host, int(port))
        head = f"GET {slash or '/'}{path} HTTP/1.1\r\nHost: {authority}\r\n"
        self._request = head.encode(errors="surrogateescape")
        self._request += b"User-Agent: madang\r\nConnection: close\r\n\r\n"
        self._socket: socket.socket | None = None
        self._serial = 0
        self._cancelled = False
        self._ask()

    def cancel(self) -> None:
        """Ask no more."""
        self._cancelled = True
        self._end()

    def _ask(self) -> None:
        if self._cancelled:
            return
        self._serial += 1
        serial = self._serial
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._loop.at(time.monotonic_ns() + TIMEOUT_NS, lambda: self._late(serial))
        if self._socket.connect_ex(self._address) not in (0, errno.EINPROGRESS):
            self._again()
            return
        self._loop.watch(self._socket, self._connected, WRITE)

    def _connected(self) -> None:
        assert self._socket is not None
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._loop.unwatch(self._socket)
            self._again()
            return
        self._loop.change(self._socket, self._answered, READ)
        try:
            self._socket.send(self._request)
        except OSError:
            self._loop.unwatch(self._socket)
            self._again()

    def _answered(self) -> None:
        assert self._socket is not None
        try:
            line = self._socket.recv(ANSWER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            line = b""
        self._loop.unwatch(self._socket)
        words = line.split(b" ", 2)
        good = words[0].startswith(b"HTTP/1.") and words[1:2] and words[1][:3].isdigit()
        if good and int(words[1][:3]) in GOOD:
            self._cancelled = True
            self._close()
            self._on_good()
        else:
            self._again()

    def _late(self, serial: int) -> None:
        if serial == self._serial and self._socket is not None:
            self._end()
            self._again()

    def _again(self) -> None:
        self._close()
        self._loop.at(time.monotonic_ns() + PERIOD_NS, self._ask)

    def _end(self) -> None:
        if self._socket is not None:
            self._loop.unwatch(self._socket)
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
