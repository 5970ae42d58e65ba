"""Gives connections that asked for a WebSocket of the application's hub to it."""

from __future__ import annotations

import asyncio

from madang.edge.asgi.loading import Scope
from madang.edge.asgi.response_head import plain_answer
from madang.edge.asgi.state import AsgiState
from madang.edge.hub_front import upgrade_request


def give_to_hub(
    state: AsgiState, transport: asyncio.Transport, address: str, scope: Scope, rest: bytes
) -> bool:
    """Let the hub have the client, and count it from here on; False where it has no such path."""
    hub = state.hub
    if hub is None or not hub.serves(scope["path"]):
        return False
    state.leave(address)
    client = scope.get("client")
    peer = client[0] if client else address
    query, headers = scope["query_string"], scope["headers"]
    refusal = hub.take(transport, upgrade_request(scope["path"], query, headers, peer), rest)
    if refusal is not None:
        answer = plain_answer(refusal.status, refusal.message, state.defaults, close=True)
        transport.write(answer)
        transport.close()
    return True
