"""An ASGI application that says which process answers, and hangs when it is asked to."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
HANG_S = 4.0


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer with the pid; /hang holds the event loop first."""
    if scope["path"] == "/hang":
        time.sleep(HANG_S)  # noqa: ASYNC251 - that is the point
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
