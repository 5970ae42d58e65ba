"""Listens on given sockets for one ASGI application, sweeps deadlines, drains and closes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextvars import Context
from typing import Any

import msgspec

from madang.core.errors import MadangError
from madang.edge.asgi.http_moving import KIND, FrozenHttp, MobileHttpProtocol
from madang.edge.asgi.loading import AsgiApplication
from madang.edge.asgi.scores import NullScores, Scores
from madang.edge.asgi.settings import AsgiSettings
from madang.edge.asgi.state import AsgiState
from madang.edge.handover.mobile import Mobile, Thaw
from madang.edge.tls import Certificate

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
        self.state = AsgiState(application, settings, Context(), scores or NullScores())
        self.state.app_state = app_state if app_state is not None else {}
        self._certificate = (
            Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
        )
        self._certificate_checked_s = 0.0
        self._listeners: dict[int, asyncio.AbstractServer] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep time; call it before the first socket is added."""
        self.state.tick(time.time())
        self._sweeper = self.state.loop.create_task(self._sweep(), name="sweep")

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket; returns when connections are accepted.

        The socket stays the caller's: what is closed here is a descriptor of our own.
        """
        number = sock.fileno()
        own = sock.dup()
        own.setblocking(False)  # uvloop accepts until EAGAIN
        certificate = self._certificate
        timeout_s = self.settings.tls_handshake_timeout_ms / 1000
        listener = await self.state.loop.create_server(
            lambda: MobileHttpProtocol(self.state),
            sock=own,
            backlog=BACKLOG,
            ssl=certificate.context if certificate else None,
            ssl_handshake_timeout=timeout_s if certificate else None,
        )
        if self.state.draining:
            listener.close()
            return
        before = self._listeners.pop(number, None)
        if before is not None:
            before.close()
        self._listeners[number] = listener

    def add_socket(self, sock: socket.socket) -> None:
        """Accept on one more bound socket, soon."""
        number = sock.fileno()
        task = self.state.loop.create_task(self.listen(sock))
        self._opening[number] = task
        task.add_done_callback(lambda _: self._opening.pop(number, None))

    def remove_socket(self, sock: socket.socket) -> None:
        """Stop accepting on a socket; it stays open."""
        number = sock.fileno()
        opening = self._opening.pop(number, None)
        if opening is not None:
            opening.cancel()
        listener = self._listeners.pop(number, None)
        if listener is not None:
            listener.close()

    def _stop_listening(self) -> None:
        for task in list(self._opening.values()):
            task.cancel()
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    async def _sweep(self) -> None:
        state = self.state
        while True:
            await asyncio.sleep(self.settings.sweep_interval_ms / 1000)
            state.tick(time.time())
            now_s = state.now_s
            for protocol in [p for p in state.protocols if p.deadline_s <= now_s]:
                try:
                    protocol.on_deadline(now_s)
                except Exception:  # one connection must not end the sweep of all
                    state.log.exception("deadline failed")
            self._check_certificate(now_s)

    def _check_certificate(self, now_s: float) -> None:
        certificate = self._certificate
        interval_s = self.settings.tls_check_interval_ms / 1000
        if certificate is None or now_s - self._certificate_checked_s < interval_s:
            return
        self._certificate_checked_s = now_s
        if certificate.changed():
            try:
                certificate.reload()
                self.state.log.info("certificate reloaded")
            except (OSError, ssl.SSLError) as error:
                self.state.log.error("certificate not reloaded", reason=str(error))

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
        self._stop_listening()
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
        self._stop_listening()
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
