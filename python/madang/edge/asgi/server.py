"""Listens on given sockets for one ASGI application, sweeps deadlines, drains and closes."""

from __future__ import annotations

import asyncio
import socket
import time
from contextvars import Context
from typing import Any

import msgspec

from madang.cluster.scoreboard import Scores
from madang.core.errors import MadangError
from madang.edge.asgi.http_moving import KIND, FrozenHttp, MobileHttpProtocol
from madang.edge.asgi.loading import AsgiApplication
from madang.edge.asgi.settings import AsgiSettings
from madang.edge.asgi.state import AsgiState
from madang.edge.handover.mobile import Mobile, Thaw
from madang.edge.listeners import Listeners
from madang.edge.state import sweep
from madang.edge.tls import Tls

BACKLOG = 4_096
_LOOK_S = 0.01


class AsgiServer:
    """Serves one application on the loop it is made in."""

    def __init__(
        self,
        application: AsgiApplication,
        settings: AsgiSettings,
        app_state: dict[str, Any] | None = None,
        scores: Scores | None = None,
    ) -> None:
        self.settings = settings
        self.state = AsgiState(application, settings, Context(), scores or Scores())
        self.state.app_state = app_state if app_state is not None else {}
        self._tls = Tls(settings.tls, self.state.log)
        self.listeners = Listeners(lambda: MobileHttpProtocol(self.state), self._tls, BACKLOG)
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep time; call it before the first socket is added."""
        self.state.tick(time.time())
        self._sweeper = self.state.loop.create_task(self._sweep(), name="sweep")

    def add_socket(self, sock: socket.socket) -> None:
        """Accept on one more bound socket, soon."""
        self.listeners.add(sock)

    def remove_socket(self, sock: socket.socket) -> None:
        """Stop accepting on a socket; it stays open."""
        self.listeners.remove(sock)

    async def _sweep(self) -> None:
        state = self.state
        while True:
            await asyncio.sleep(self.settings.sweep_interval_ms / 1000)
            state.tick(time.time())
            sweep(state.protocols, state.now_s, state.log)
            self._tls.check(state.now_s)

    def mobiles(self) -> list[Mobile]:
        """Return the connections that can move to another process, at this moment or another."""
        found = [p for p in self.state.protocols if isinstance(p, MobileHttpProtocol)]
        return [protocol for protocol in found if protocol.can_move]

    @property
    def thaws(self) -> dict[str, Thaw]:
        """Return how connections of another process are taken up."""
        return {KIND: self._thaw}

    async def _thaw(self, data: bytes) -> MobileHttpProtocol:
        state = self.state
        if state.draining or len(state.protocols) >= self.settings.connections_max:
            raise MadangError("no more connections are taken")
        return MobileHttpProtocol(state, msgspec.msgpack.decode(data, type=FrozenHttp))

    async def drain(self) -> bool:
        """Stop accepting, finish requests, end idle connections, close WebSockets at a set pace.

        Returns whether all ended within `drain_timeout_ms`; `close` cuts what did not.
        """
        state = self.state
        state.draining = True
        self.listeners.stop()
        until_s = state.loop.time() + self.settings.drain_timeout_ms / 1000
        pace = max(1, self.settings.drain_websockets_per_s // 50)
        closed = 0
        for protocol in list(state.protocols):
            protocol.on_drain()
            closed += protocol.is_websocket
            if protocol.is_websocket and closed % pace == 0 and state.loop.time() < until_s:
                await asyncio.sleep(0.02)
        # counts that any connection may change, looked at for a short while
        while (state.protocols or state.tasks) and state.loop.time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        return not state.protocols and not state.tasks

    async def close(self) -> None:
        """Cut everything and end."""
        state = self.state
        state.draining = True
        self.listeners.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for protocol in list(state.protocols):
            protocol.abort()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        await state.stepper.close()
        for _ in range(3):  # connection_lost of each comes with the next turns of the loop
            await asyncio.sleep(0)
        state.show()
