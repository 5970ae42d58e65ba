"""systemd's notification protocol: newline separated NAME=value pairs in one datagram.

The sender is known by the credentials that the kernel adds, so a child cannot speak for another.
Roles repeat READY=1 and the last STATUS every second, so a datagram lost to a full queue is made
good by the next one; their heartbeat is in the scoreboard, that of other programs is WATCHDOG=1.
Source: sd_notify(3).
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import NamedTuple

DATAGRAM_BYTES_MAX = 4096
STATUS_CHARACTERS_MAX = 256
CREDENTIALS = struct.Struct("=iII")
SCM_CREDENTIALS = 2


class Notice(NamedTuple):
    """What process `pid` said."""

    pid: int
    ready: bool
    watchdog: bool
    status: str | None


def parse(pid: int, datagram: bytes) -> Notice:
    """Return what `datagram` says; pairs of other names are not for us."""
    pairs = dict(
        line.split("=", 1) for line in datagram.decode(errors="replace").splitlines() if "=" in line
    )
    status = pairs.get("STATUS")
    return Notice(
        pid,
        pairs.get("READY") == "1",
        pairs.get("WATCHDOG") == "1",
        None if status is None else status[:STATUS_CHARACTERS_MAX],
    )


def compose(ready: bool, status: str) -> bytes:
    """Return the datagram of a heartbeat."""
    lines = ["WATCHDOG=1"]
    if ready:
        lines.append("READY=1")
    if status:
        lines.append("STATUS=" + " ".join(status.split())[:STATUS_CHARACTERS_MAX])
    return "\n".join(lines).encode()


class Listener:
    """The supervisor's side."""

    def __init__(self, address: Path | str, descriptor: int | None = None) -> None:
        """Listen on a path, or with "@name" on an abstract address that any user can reach.

        `descriptor` is a socket that has been listening there all the time.
        """
        self.address = str(address)
        self._path = None if self.address.startswith("@") else Path(address)
        if descriptor is not None:
            self.socket = socket.socket(fileno=descriptor)
            self.socket.setblocking(False)
            return
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if self._path is None:
            self.socket.bind("\0" + self.address[1:])
            return
        self._path.unlink(missing_ok=True)
        self.socket.bind(self.address)
        self._path.chmod(0o600)

    def receive(self) -> Notice | None:
        """Return the next notice, None when there is none."""
        while True:
            try:
                datagram, ancillary, _, _ = self.socket.recvmsg(
                    DATAGRAM_BYTES_MAX, socket.CMSG_SPACE(CREDENTIALS.size)
                )
            except BlockingIOError:
                return None
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == SCM_CREDENTIALS:
                    return parse(CREDENTIALS.unpack(data[: CREDENTIALS.size])[0], datagram)

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        self.socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class Sender:
    """The child's side; never blocks."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._path = path

    def send(self, datagram: bytes) -> bool:
        """Send; False when the queue is full or the supervisor gone: say it again later."""
        try:
            self._socket.sendto(datagram, self._path)
        except (BlockingIOError, ConnectionRefusedError, FileNotFoundError):
            return False
        return True

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
