"""The lifespan protocol: startup awaited before the first connection, shutdown after the last.

An application that does not know it raises, or returns, before it answers; with "auto" it is served
without. What it puts into the scope's `state` is copied into the scope of every request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from madang.core import log
from madang.core.errors import MadangError
from madang.edge.asgi.loading import AsgiApplication, Message
from madang.edge.asgi.settings import AsgiSettings

ASGI = {"version": "3.0", "spec_version": "2.0"}


class StartupFailed(MadangError):
    """The application said, or showed, that it cannot start."""


class Lifespan:
    """One lifespan task."""

    def __init__(self, application: AsgiApplication, settings: AsgiSettings) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._settings = settings
        self._log = log.get("asgi")
        self._task: asyncio.Task[None] | None = None
        self._started: asyncio.Future[str | None] | None = None
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._told_startup = False
        self._supported = False

    async def startup(self) -> None:
        """Return when the application has started; raises StartupFailed."""
        if self._settings.lifespan == "off":
            return
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._task = loop.create_task(self._run(), name="lifespan")
        limit_ms = self._settings.startup_timeout_ms
        try:
            failure = await asyncio.wait_for(self._started, limit_ms / 1000)
        except TimeoutError:
            await self._end()
            raise StartupFailed(f"startup did not complete within {limit_ms} ms") from None
        if failure is not None:
            await self._end()
            raise StartupFailed(failure)

    async def shutdown(self) -> None:
        """Let the application shut down within its limit."""
        if self._task is None:
            return
        if self._supported and not self._task.done():
            self._stopping.set()
            limit_ms = self._settings.shutdown_timeout_ms
            try:
                await asyncio.wait_for(self._stopped.wait(), limit_ms / 1000)
            except TimeoutError:
                self._log.error("shutdown of the application took too long", limit_ms=limit_ms)
        await self._end()

    async def _end(self) -> None:
        assert self._task is not None
        done, _ = await asyncio.wait([self._task], timeout=0.1)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": dict(ASGI), "state": self.state}
        failure = "the application returned from its lifespan before startup was complete"
        try:
            await self._application(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - outermost frame of the task
            failure = f"{type(error).__name__}: {error}"
            if self._supported:
                self._log.exception("the application's lifespan failed")
            elif self._settings.lifespan == "on":
                self._log.exception("the application failed in its lifespan")
        finally:
            self._stopped.set()
            if self._started is not None and not self._started.done():
                self._started.set_result(self._unsupported(failure))

    def _unsupported(self, failure: str) -> str | None:
        if self._settings.lifespan == "on":
            return failure
        self._log.info("the application does without lifespan", reason=failure)
        return None

    async def _receive(self) -> Message:
        if not self._told_startup:
            self._told_startup = True
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        assert self._started is not None
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self._started.done():
            self._supported = True
            self._started.set_result(None)
        elif kind == "lifespan.startup.failed" and not self._started.done():
            self._started.set_result(str(message.get("message", "")) or "no message was given")
        elif kind == "lifespan.shutdown.complete" and self._stopping.is_set():
            self._stopped.set()
        elif kind == "lifespan.shutdown.failed" and self._stopping.is_set():
            text = str(message.get("message", ""))
            self._log.error("the application's shutdown failed", reason=text)
            self._stopped.set()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r} in the lifespan")
