"""The same application with a hub endpoint that hears a numbered stream."""

from __future__ import annotations

from bench.peers.reload_plain import app
from madang import hub

__all__ = ["app"]

hub.endpoint("/ws", channels=("numbers",))
