"""What a role sees of the cluster: its name, sockets and options, and how to say how it is.

Used from the one event loop of the child; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from madang.cluster.scoreboard import Scores

SocketHandler = Callable[[str, socket.socket], None]
AcceptingHandler = Callable[[bool], None]
Mover = Callable[[socket.socket], Awaitable[None]]
Notify = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is: instance `name` of application `role`, at `slot`.

    `incarnation` counts the processes that the slot has had.
    """

    name: str
    role: str
    slot: int
    generation: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process was given."""

    options: Mapping[str, object]
    state_dir: Path
    runtime_dir: Path
    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    scores: Scores = field(default_factory=Scores)
    accepting: bool = True


class Process:
    """A running instance of a role.

    `sockets` holds the listening sockets by port name: its own first, then those of neighbours that
    are not ready, which come and go while it runs.
    """

    def __init__(self, identity: Identity, surroundings: Surroundings, notify: Notify) -> None:
        self.name = identity.name
        self.role = identity.role
        self.slot = identity.slot
        self.generation = identity.generation
        self.incarnation = identity.incarnation
        self.options = surroundings.options
        self.state_dir = surroundings.state_dir
        self.runtime_dir = surroundings.runtime_dir
        self.sockets: Mapping[str, list[socket.socket]] = surroundings.sockets
        self.scores = surroundings.scores
        self.accepting = surroundings.accepting
        self.is_ready = False
        self.status_text = ""
        self._notify = notify
        self._stop = asyncio.Event()
        self._taken: dict[tuple[str, int], socket.socket] = {}
        self._on_socket: SocketHandler | None = None
        self._on_release: SocketHandler | None = None
        self._on_accepting: AcceptingHandler | None = None
        self._give: Mover | None = None
        self._take: Mover | None = None

    @property
    def bus_name(self) -> str:
        """A name for the bus: during a reload two generations bear the same `name`."""
        return self.name if self.generation == 1 else f"{self.name}.{self.generation}"

    def ready(self) -> None:
        """Say that this instance serves: from here on it gets new connections."""
        self.is_ready = True
        self._notify()

    def status(self, text: str) -> None:
        """Say in one line what this instance is doing; `madang ls` shows it."""
        self.status_text = text
        self._notify()

    @property
    def stopping(self) -> bool:
        """Whether the instance has been asked to stop."""
        return self._stop.is_set()

    async def wait_stop(self) -> None:
        """Return when the instance is asked to stop.

        Finish what is under way and return from main before `stop_timeout_ms` has passed.
        """
        await self._stop.wait()

    def request_stop(self) -> None:
        """Ask this instance to stop, as SIGTERM does."""
        self._stop.set()

    def on_socket(self, handler: SocketHandler, on_release: SocketHandler) -> None:
        """Call `handler(port, socket)` for each neighbour's socket to accept from as well.

        `on_release(port, socket)` says when to leave it; it is closed after that call returns.
        Sockets that came before are handed over at once.
        """
        self._on_socket, self._on_release = handler, on_release
        for (port, _), listener in list(self._taken.items()):
            handler(port, listener)

    def on_accepting(self, handler: AcceptingHandler) -> None:
        """Call `handler(False)` when another generation serves, `handler(True)` when this one does.

        With False leave the own listening sockets without closing them; nothing else changes. A new
        generation begins without accepting, which the handler is told at once.
        """
        self._on_accepting = handler
        if not self.accepting:
            handler(False)

    def on_hand_over(self, give: Mover, take: Mover) -> None:
        """Let connections move to the next generation's process in this slot.

        Both get a non-blocking SOCK_SEQPACKET socket: `give` freezes and sends every connection
        that can move, `take` thaws what comes until end-of-file. It is closed when they return.
        """
        self._give, self._take = give, take

    def accept(self, wanted: bool) -> None:
        """Begin or cease to accept; the child runner calls this."""
        if wanted is self.accepting:
            return
        self.accepting = wanted
        if self._on_accepting is not None:
            self._on_accepting(wanted)

    async def hand_over(self, kind: str, end: socket.socket) -> bool:
        """Give or take connections through `end`; False without handlers. The runner calls this."""
        mover = self._give if kind == "give" else self._take
        try:
            if mover is not None:
                await mover(end)
        finally:
            end.close()
        return mover is not None

    def take(self, port: str, slot: int, listener: socket.socket) -> None:
        """Receive the socket of neighbour `slot`; the child runner calls this."""
        self.release(port, slot)
        self._taken[port, slot] = listener
        self.sockets[port].append(listener)
        if self._on_socket is not None:
            self._on_socket(port, listener)

    def release(self, port: str, slot: int) -> None:
        """Give the socket of neighbour `slot` back; the child runner calls this."""
        listener = self._taken.pop((port, slot), None)
        if listener is None:
            return
        self.sockets[port].remove(listener)
        try:
            if self._on_release is not None:
                self._on_release(port, listener)
        finally:
            listener.close()
