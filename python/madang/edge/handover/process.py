"""A process of the cluster that gives its connections to the next generation, and takes them."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from madang.edge.handover.giver import Giver
from madang.edge.handover.mobile import Mover
from madang.edge.handover.taker import Taker

Move = Callable[[socket.socket], Awaitable[None]]


class Moving(Protocol):
    """What is needed of a process."""

    def on_hand_over(self, give: Move, take: Move) -> None:
        """See `cluster.process.Process`."""
        ...


def enable_hand_over(process: Moving, mover: Mover) -> None:
    """Move connections whenever the supervisor says so; call it before the process is ready."""

    async def give(end: socket.socket) -> None:
        await Giver(mover, end).run()

    async def take(end: socket.socket) -> None:
        await Taker(mover, end).run()

    process.on_hand_over(give, take)
