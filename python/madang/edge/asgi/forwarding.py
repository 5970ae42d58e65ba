"""What a trusted proxy says of its client: X-Forwarded-For and X-Forwarded-Proto."""

from __future__ import annotations

from typing import Final

from madang.edge.asgi.loading import Scope
from madang.edge.guard import Proxies

_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def apply_forwarded(scope: Scope, proxies: Proxies, address: str) -> None:
    """Put the client's address and scheme into `scope` where the peer `address` is trusted."""
    if not proxies.trusts(address):
        return
    forwarded_for: list[str] = []
    scheme = ""
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded_for.append(value.decode("latin-1"))
        elif name == b"x-forwarded-proto":
            scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
    if forwarded_for:
        client = proxies.client(address, ",".join(forwarded_for))
        if client != address:
            scope["client"] = (client, 0)
    if scheme in _SCHEMES:
        is_websocket = scope["type"] == "websocket"
        secure = scheme in ("https", "wss")
        scope["scheme"] = ("wss" if secure else "ws") if is_websocket else "http" + "s" * secure
