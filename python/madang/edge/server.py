"""The server of one worker: listens on given sockets, sweeps deadlines, drains and closes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable, Mapping

import msgspec

from madang.cluster.scoreboard import Scores
from madang.core.errors import MadangError
from madang.edge import http_moving, websocket_protocol
from madang.edge.dispatch import Dispatcher
from madang.edge.handover.mobile import Mobile, Thaw
from madang.edge.http_moving import FrozenHttp, MobileHttpProtocol
from madang.edge.listeners import Listeners
from madang.edge.proxy_front import ProxyFront
from madang.edge.response import http_date
from madang.edge.route import Application
from madang.edge.settings import EdgeSettings
from madang.edge.state import ServerState, sweep
from madang.edge.system import system_routes
from madang.edge.tls import Tls
from madang.edge.websocket_protocol import WebSocketProtocol
from madang.hub import Hub

BACKLOG = 1_024
SHOW_S = 1.0
"""How often counts that nobody needs at once are written to the scoreboard."""


class Server:
    """Serves one application; everything runs on the loop that `start` is awaited in."""

    def __init__(
        self,
        application: Application,
        settings: EdgeSettings,
        hub: Hub,
        scores: Scores | None = None,
    ) -> None:
        self.application = application
        self.settings = settings
        self.hub = hub
        routes = application.routes + system_routes(application, self._state_of)
        dispatcher = Dispatcher(
            routes,
            application.websocket_routes,
            application.authenticator,
            application.pages,
            settings,
        )
        self.routes = routes
        self._state = ServerState(dispatcher, settings, hub, scores or Scores())
        self._tls = Tls(settings.tls, self._state.log)
        self.listeners = Listeners(self._protocol, self._tls, BACKLOG)
        self._sweeper: asyncio.Task[None] | None = None
        self._shown_s = 0.0

    @property
    def state(self) -> ServerState:
        """What the connections of this server share."""
        return self._state

    def _state_of(self) -> ServerState:
        return self._state

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on bound sockets, which stay the caller's; returns when connections are taken."""
        self._tick()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        for sock in sockets:
            await self.listeners.listen(sock)

    def _protocol(self) -> asyncio.Protocol:
        state = self._state
        if self.settings.proxy_protocol:
            return ProxyFront(state, lambda: MobileHttpProtocol(state))
        return MobileHttpProtocol(state)

    def add_socket(self, sock: socket.socket) -> None:
        """Accept on one more bound socket, soon."""
        self.listeners.add(sock)

    def remove_socket(self, sock: socket.socket) -> None:
        """Stop accepting on a socket; it stays open."""
        self.listeners.remove(sock)

    def _tick(self) -> None:
        state = self._state
        state.now_s = asyncio.get_running_loop().time()
        state.date = http_date(time.time())

    async def _sweep(self) -> None:
        state = self._state
        while True:
            await asyncio.sleep(self.settings.sweep_interval_ms / 1000)
            self._tick()
            now_s = state.now_s
            sweep(state.protocols, now_s, state.log)
            self._tls.check(now_s)
            if now_s - self._shown_s >= SHOW_S:
                self._shown_s = now_s
                state.show()

    def mobiles(self) -> list[Mobile]:
        """Return the connections that can move to another process, at this moment or another."""
        kinds = (MobileHttpProtocol, WebSocketProtocol)
        found = [p for p in self._state.protocols if isinstance(p, kinds)]
        return [protocol for protocol in found if protocol.can_move]

    @property
    def thaws(self) -> dict[str, Thaw]:
        """Return how connections of another process are taken up."""
        return {
            websocket_protocol.KIND: self._thaw_websocket,
            http_moving.KIND: self._thaw_http,
        }

    async def _thaw_http(self, data: bytes) -> MobileHttpProtocol:
        state = self._state
        if state.draining or len(state.protocols) >= self.settings.connections_max:
            raise MadangError("no more connections are taken")
        return MobileHttpProtocol(state, msgspec.msgpack.decode(data, type=FrozenHttp))

    async def _thaw_websocket(self, data: bytes) -> WebSocketProtocol:
        frozen = msgspec.msgpack.decode(data, type=websocket_protocol.FrozenWebSocket)
        for route in self.application.websocket_routes:
            if route.path == frozen.path:
                protocol = WebSocketProtocol(self._state, b"", route)
                await protocol.thaw(frozen)
                return protocol
        raise MadangError(f"{frozen.path} is no WebSocket here")

    async def drain(self, timeout_ms: int) -> bool:
        """Stop accepting, finish what is under way, send WebSockets elsewhere at a set pace.

        Returns whether everything ended in time; what did not is cut by `close`.
        """
        state = self._state
        state.draining = True
        self.listeners.stop()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_ms / 1000
        pace = max(1, self.settings.drain_websockets_per_s // 50)
        for at, protocol in enumerate(list(state.protocols)):
            protocol.on_drain()
            if at % pace == pace - 1 and loop.time() < until_s:
                await asyncio.sleep(0.02)
        # two counts that any connection may change, looked at for a short while
        while (state.protocols or state.in_flight) and loop.time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return not state.protocols and not state.in_flight

    async def close(self) -> None:
        """Cut everything and end."""
        self._state.draining = True
        self.listeners.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for protocol in list(self._state.protocols):
            protocol.abort()
        for _ in range(3):  # connection_lost of each comes with the next turns of the loop
            await asyncio.sleep(0)

    def statistics(self) -> Mapping[str, int]:
        """Counts since the start and present sizes."""
        state = self._state
        return {
            "connections": len(state.protocols),
            "websockets": state.websockets,
            "in_flight": state.in_flight,
            "requests": sum(n for status, n in state.responses.items() if status != 101),
            "errors": sum(n for status, n in state.responses.items() if status >= 500),
            **{f"count_{name}": value for name, value in state.counts.items()},
            **{f"hub_{name}": value for name, value in self.hub.statistics().items()},
        }
