"""A connection between two requests moves to another process, and goes on there.

Invariant: it moves only where the parser stands between two messages and the peer has every answer,
so nothing but who is at the other end, and how long it may stay idle, has to travel.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from madang.edge.handover.detach import Detached, is_plain
from madang.edge.handover.packets import Moving
from madang.edge.handover.resting import Resting, has_sent_all
from madang.edge.http_protocol import HttpProtocol, Phase
from madang.edge.state import ServerState

KIND: Final = "http"


class FrozenHttp(msgspec.Struct, array_like=True, frozen=True):
    """A connection between two requests as it travels."""

    address: str
    is_new: bool
    idle_s: float


class MobileHttpProtocol(Resting, HttpProtocol):
    """A connection that was accepted here, or was `frozen` in another process."""

    def __init__(self, state: ServerState, frozen: FrozenHttp | None = None) -> None:
        super().__init__(state)
        self._frozen = frozen

    @property
    def can_move(self) -> bool:
        """See `Mobile`."""
        return self._admitted and self._phase is not Phase.LINGER and is_plain(self._transport)

    def detach(self) -> Detached | None:
        """See `Mobile`: only between two requests, with every answer sent."""
        if not self.can_move or self._phase not in (Phase.NEW, Phase.IDLE):
            return None
        if self._busy or self._queue or self._held or self._reader.in_message:
            return None
        if self._peer_ended or not self._writable or self._reader.refusal is not None:
            return None
        if not has_sent_all(self._transport):
            return None
        self._state.protocols.discard(self)
        self._ended = True
        return Detached(self._transport)

    def freeze(self, unsent_bytes: int) -> Moving:
        """See `Mobile`."""
        assert not unsent_bytes
        is_new = self._phase is Phase.NEW
        frozen = FrozenHttp(self._address, is_new, self.deadline_s - self._state.now_s)
        self._admitted = False
        self._state.leave(self._address)
        return Moving(KIND, msgspec.msgpack.encode(frozen))

    def peer_name(self, transport: asyncio.BaseTransport) -> str:
        """Return whose connection it is: as was said before it moved, if it has moved."""
        return super().peer_name(transport) if self._frozen is None else self._frozen.address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take up where it was frozen, if it was."""
        super().connection_made(transport)
        frozen = self._frozen
        if frozen is not None and self._admitted:
            self._set_phase(Phase.NEW if frozen.is_new else Phase.IDLE)
            self.deadline_s = self._state.now_s + frozen.idle_s
