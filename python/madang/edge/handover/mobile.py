"""What giver and taker need of a connection, and of who knows how to thaw it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from madang.edge.handover.detach import Detached
from madang.edge.handover.packets import Moving


class Mobile(Protocol):
    """A connection that may move."""

    @property
    def can_move(self) -> bool:
        """Tell whether it can, at this moment or another."""
        ...

    def detach(self) -> Detached | None:
        """Stop reading and writing for good; None where it cannot move now, and goes on."""
        ...

    def stay(self) -> None:
        """Go on as usual: nothing moves any more. A `detach` that waited may have held it up."""
        ...

    def freeze(self, unsent_bytes: int) -> Moving:
        """Return what it is, once its transport has ended; it is no longer of this process."""
        ...

    def moved(self, taker: str) -> None:
        """Another process has it."""
        ...


class Thawed(Protocol):
    """A connection that is whole again but for its socket."""

    async def go_on(self, sock: socket.socket) -> None:
        """Go on where it was frozen."""
        ...

    def discard(self) -> None:
        """Forget it: another process has it."""
        ...


Thaw = Callable[[bytes], Awaitable[Thawed]]
"""Raises MadangError where this process cannot take the connection up as it was frozen."""


@dataclass(frozen=True, slots=True)
class Mover:
    """What one process can give and take.

    `mobiles` are the connections that can or could move. `channels` begins to give: it names what
    the taker must follow before, and keeps it here. `warm` follows channels of another process,
    which it names; `settle` then returns when what was published until now has arrived here.
    `ended` lets go what was kept for the move alone.
    """

    name: str
    mobiles: Callable[[], Iterable[Mobile]]
    thaws: Mapping[str, Thaw]
    channels: Callable[[], list[str]]
    warm: Callable[[str, list[str]], Awaitable[None]]
    settle: Callable[[], Awaitable[None]]
    ended: Callable[[], None]
