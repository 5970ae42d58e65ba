"""A connection between two requests moves to another process, and goes on there.

Invariant: it moves only where the parser stands between two messages and the peer has every answer,
so nothing but who is at either end, and how long it may stay idle, has to travel.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from madang.edge.asgi.http_protocol import HttpProtocol
from madang.edge.asgi.state import AsgiState
from madang.edge.handover.detach import Detached
from madang.edge.handover.packets import Moving
from madang.edge.handover.resting import Resting, has_sent_all

KIND: Final = "asgi-http"


class FrozenHttp(msgspec.Struct, array_like=True, frozen=True):
    """A connection between two requests as it travels."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    is_new: bool
    idle_s: float


class MobileHttpProtocol(Resting, HttpProtocol):
    """A connection that is accepted, or was `frozen` in another process."""

    def __init__(self, state: AsgiState, frozen: FrozenHttp | None = None) -> None:
        super().__init__(state)
        self._frozen = frozen

    @property
    def can_move(self) -> bool:
        """See `Mobile`."""
        return self._admitted and self._scheme == "http" and not self._lingering and not self._deaf

    def detach(self) -> Detached | None:
        """See `Mobile`: only between two requests, with every answer sent."""
        busy = self._active is not None or self._incoming is not None or self._queue
        if busy or not self._between or self._held or self._proxied is not None:
            return None
        if not self.can_move or self._peer_ended or not self._reading or not self.writable:
            return None
        if not has_sent_all(self._transport):
            return None
        self._state.forget(self)
        self._lost = True
        return Detached(self._transport)

    def freeze(self, unsent_bytes: int) -> Moving:
        """See `Mobile`."""
        assert not unsent_bytes
        idle_s = self.deadline_s - self._state.now_s
        frozen = FrozenHttp(self._client, self._server, self._is_new, idle_s)
        self._admitted = False
        self._state.leave(self._address)
        return Moving(KIND, msgspec.msgpack.encode(frozen))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take up where it was frozen, if it was."""
        super().connection_made(transport)
        frozen = self._frozen
        if frozen is None or not self._admitted:
            return
        self._proxied = None
        self._client, self._server = frozen.client, frozen.server
        self._is_new = frozen.is_new
        self.deadline_s = self._state.now_s + frozen.idle_s
