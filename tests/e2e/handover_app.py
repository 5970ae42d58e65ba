"""An application with a hub whose clients hear a numbered stream, for the tests of moving."""

from __future__ import annotations

import os
from typing import Any

from madang import hub

hub.endpoint(
    "/ws",
    channels=("numbers",),
    allow=("room.*",),
    states=("prices",),
    authorize=lambda request: {"name": request.query().get("name", "nobody")},
)


@hub.on_message
def answer(client: hub.Client, data: Any) -> None:  # noqa: ANN401
    """Say who says it, how many messages there were, and which process this is."""
    client.data["count"] = client.data.get("count", 0) + 1
    assert isinstance(client.user, dict)
    told = {"user": client.user["name"], "count": client.data["count"], "pid": os.getpid()}
    hub.send(client, {**told, "said": data})


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
    """Answer with the number of the process; echo on a plain WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
    elif scope["type"] == "http":
        body = b"%d" % os.getpid()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
