"""One WebSocket that comes back: connect, sign in, listen, and after a loss begin again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import websockets.asyncio.client as client
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from madang.core.errors import MadangError

OPEN_TIMEOUT_S = 10.0
BACKOFF_S, BACKOFF_S_MAX = 0.1, 2.0
MESSAGE_BYTES_MAX = 4 * 1024 * 1024


class SignInRefused(MadangError):
    """The venue does not take this key."""


Connection = client.ClientConnection
Serve = Callable[[Connection], Awaitable[None]]


async def keep_connected(url: str, serve: Serve, lost: Callable[[], None]) -> None:
    """Connect and `serve`, for ever; `lost` is told each end. Raises SignInRefused."""
    pause_s = BACKOFF_S
    while True:
        try:
            async with client.connect(
                url, open_timeout=OPEN_TIMEOUT_S, max_size=MESSAGE_BYTES_MAX, compression=None
            ) as connection:
                pause_s = BACKOFF_S
                await serve(connection)
        except (OSError, TimeoutError, WebSocketException, InvalidHandshake, InvalidMessage):
            pass
        finally:
            lost()
        await asyncio.sleep(pause_s)
        pause_s = min(BACKOFF_S_MAX, pause_s * 2)
