"""The supervisor as a service of systemd: sockets taken over, readiness and life said.

What systemd tells a service in its environment is taken out of it, for our children have a
supervisor of their own. Without such variables nothing here does anything.
Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from madang.cluster.loop import Loop
from madang.cluster.notify import Sender

FIRST_DESCRIPTOR = 3
PARTS = 3
"""WATCHDOG=1 is sent that many times in the time that systemd allows."""
MICROSECOND_NS = 1_000


class ServiceManager:
    """Who started the supervisor, where that was somebody who wants to hear from it."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self.sockets = inherited_sockets(environment)
        address = environment.pop("NOTIFY_SOCKET", "")
        own = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period_us = environment.pop("WATCHDOG_USEC", "")
        alive = own and period_us.isdecimal() and address
        self._watchdog_ns = int(period_us) * MICROSECOND_NS // PARTS if alive else 0
        self._sender: Sender | None = None
        if address:
            self._sender = Sender("\0" + address[1:] if address.startswith("@") else address)

    def begin(self, loop: Loop) -> None:
        """Speak for as long as the loop turns."""
        if self._watchdog_ns:
            loop.every(self._watchdog_ns, lambda: self._say("WATCHDOG=1"))

    def ready(self, status: str) -> None:
        """Everything has been started."""
        self._say(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The end has begun."""
        self._say("STOPPING=1")

    def close(self) -> None:
        """Say no more, and leave the sockets."""
        if self._sender is not None:
            self._sender.close()
        for group in self.sockets.values():
            for listener in group:
                listener.close()

    def _say(self, text: str) -> None:
        if self._sender is not None:
            self._sender.send(text.encode())


def inherited_sockets(environment: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """Return the listening sockets that this process was given, by name, in their order."""
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[socket.socket]] = {}
    if pid != str(os.getpid()) or not count.isdecimal():
        return found
    for index in range(int(count)):
        listener = socket.socket(fileno=FIRST_DESCRIPTOR + index)
        listener.set_inheritable(False)
        listener.setblocking(False)
        name = names[index] if index < len(names) else "unknown"
        found.setdefault(name, []).append(listener)
    return found
