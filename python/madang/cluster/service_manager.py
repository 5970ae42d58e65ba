"""The supervisor as a service of systemd: sockets taken over, readiness and life said.

What systemd tells a service in its environment is taken out of it, for our children have a
supervisor of their own. Without such variables nothing here does anything.
Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from madang.cluster.handles import Share, given_socket, handle
from madang.cluster.loop import Loop
from madang.cluster.notify import Sender

FIRST_DESCRIPTOR = 3
PARTS = 3
"""WATCHDOG=1 is sent that many times in the time that systemd allows."""
MICROSECOND_NS = 1_000
STATUS_PERIOD_NS = 1_000_000_000


class ServiceManager:
    """Who started the supervisor, where that was somebody who wants to hear from it."""

    def __init__(self, environment: MutableMapping[str, str], share: Share | None = None) -> None:
        """Read `environment`; or go on with what another of us had read and left."""
        self._told = ""
        self._is_ready = False
        if share is not None:
            self.sockets = {
                name: [given_socket(written) for written in group]
                for name, group in share["sockets"].items()
            }
            self._watchdog_ns, self._is_ready = share["watchdog_ns"], share["is_ready"]
            self._speak_to(share["address"])
            return
        self.sockets = inherited_sockets(environment)
        address = environment.pop("NOTIFY_SOCKET", "")
        own = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period_us = environment.pop("WATCHDOG_USEC", "")
        alive = own and period_us.isdecimal() and address
        self._watchdog_ns = int(period_us) * MICROSECOND_NS // PARTS if alive else 0
        self._speak_to(address)

    def _speak_to(self, address: str) -> None:
        self._address = address
        self._sender: Sender | None = None
        if address:
            self._sender = Sender("\0" + address[1:] if address.startswith("@") else address)

    def leave(self) -> Share:
        """Return what a successor needs to go on being this service."""
        return {
            "address": self._address,
            "watchdog_ns": self._watchdog_ns,
            "is_ready": self._is_ready,
            "sockets": {
                name: [handle(listener) for listener in group]
                for name, group in self.sockets.items()
            },
        }

    def begin(self, loop: Loop, status: Callable[[], str]) -> None:
        """Speak for as long as the loop turns; `status()` is said whenever it has changed."""
        if self._sender is not None:
            loop.every(STATUS_PERIOD_NS, lambda: self._status(status()))
        if self._watchdog_ns:
            loop.every(self._watchdog_ns, lambda: self._say("WATCHDOG=1"))

    def ready(self, status: str) -> None:
        """Everything has been started."""
        self._is_ready = True
        self._say(f"READY=1\nSTATUS={status}")
        self._told = status

    def _status(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say(f"STATUS={text}")

    def reloading(self) -> None:
        """The supervisor is about to become new code; `reloaded` follows."""
        if self._is_ready:
            self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // MICROSECOND_NS}")

    def reloaded(self) -> None:
        """The supervisor is there again."""
        if self._is_ready:
            self._say("READY=1")

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
