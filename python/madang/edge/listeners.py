"""The sockets that one server accepts on: they come and go while it runs.

What is given stays the caller's; what is listened on, and closed, is a descriptor of our own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from madang.edge.tls import Tls


class Listeners:
    """Accepts on bound sockets and makes a protocol for each connection, until it is stopped."""

    def __init__(self, make: Callable[[], asyncio.Protocol], tls: Tls, backlog: int) -> None:
        self._make = make
        self._tls = tls
        self._backlog = backlog
        self._open: dict[int, asyncio.AbstractServer] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._stopped = False

    def __contains__(self, sock: socket.socket) -> bool:
        return sock.fileno() in self._open

    def __len__(self) -> int:
        return len(self._open)

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket; returns when connections are accepted."""
        number = sock.fileno()
        own = sock.dup()
        own.setblocking(False)  # uvloop accepts until EAGAIN: a blocking one would stop the loop
        context = self._tls.context
        listener = await asyncio.get_running_loop().create_server(
            self._make,
            sock=own,
            backlog=self._backlog,
            ssl=context,
            ssl_handshake_timeout=self._tls.handshake_timeout_s if context else None,
        )
        if self._stopped:
            listener.close()
            return
        before = self._open.pop(number, None)
        if before is not None:
            before.close()
        self._open[number] = listener

    def add(self, sock: socket.socket) -> None:
        """Accept on one more bound socket, soon."""
        number = sock.fileno()
        task = asyncio.get_running_loop().create_task(self.listen(sock))
        self._opening[number] = task
        task.add_done_callback(lambda done: self._opened(number, done))

    def _opened(self, number: int, task: asyncio.Task[None]) -> None:
        if self._opening.get(number) is task:  # else it was taken away, and perhaps given again
            del self._opening[number]

    def remove(self, sock: socket.socket) -> None:
        """Stop accepting on a socket."""
        number = sock.fileno()
        opening = self._opening.pop(number, None)
        if opening is not None:
            opening.cancel()
        listener = self._open.pop(number, None)
        if listener is not None:
            listener.close()

    def stop(self) -> None:
        """Stop accepting for good."""
        self._stopped = True
        for task in list(self._opening.values()):
            task.cancel()
        for listener in self._open.values():
            listener.close()
        self._open.clear()
