"""Two connections to each peer: subjects that begin with `bulk.` have one of their own.

So a large payload, or many before a slow reader, hold up nothing small. The lane goes by
the subject, never by the size: messages of one subject stay in order. Invariant: each lane keeps
every promise of the bus by itself; between them there is no order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from madang.bus.lease import Held
from madang.bus.node import Node
from madang.bus.port import (
    GapHandler,
    MessageHandler,
    PeerHandler,
    RequestHandler,
    Submission,
    Subscription,
    WorkHandler,
)

BULK: Final = "bulk"


class _Both:
    """A subscription on both lanes."""

    def __init__(self, *parts: Subscription) -> None:
        self._parts = parts

    def close(self) -> None:
        """End both."""
        for part in self._parts:
            part.close()


class Lanes:
    """The bus of one process: a node for each lane."""

    def __init__(self, main: Node, bulk: Node) -> None:
        self._main = main
        self._bulk = bulk

    def _lane(self, subject: str) -> Node:
        return self._bulk if subject.partition(".")[0] == BULK else self._main

    @property
    def name(self) -> str:
        """Return the name by which peers know this process."""
        return self._main.name

    def publish(self, subject: str, payload: bytes) -> None:
        """See `Bus.publish`."""
        self._lane(subject).publish(subject, payload)

    def interested(self, subject: str) -> bool:
        """See `Bus.interested`."""
        return self._lane(subject).interested(subject)

    def subscribe(
        self, pattern: str, handler: MessageHandler, on_gap: GapHandler | None = None
    ) -> Subscription:
        """See `Bus.subscribe`; a pattern that begins with a wildcard hears both lanes."""
        if pattern[:1] in ("*", ">"):
            first = self._main.subscribe(pattern, handler, on_gap)
            return _Both(first, self._bulk.subscribe(pattern, handler, on_gap))
        return self._lane(pattern).subscribe(pattern, handler, on_gap)

    async def request(self, subject: str, payload: bytes, timeout_ms: int) -> bytes:
        """See `Bus.request`."""
        return await self._lane(subject).request(subject, payload, timeout_ms)

    def serve(self, subject: str, handler: RequestHandler) -> Subscription:
        """See `Bus.serve`."""
        return self._lane(subject).serve(subject, handler)

    async def wait_for_server(self, subject: str, timeout_ms: int) -> bool:
        """See `Bus.wait_for_server`."""
        return await self._lane(subject).wait_for_server(subject, timeout_ms)

    def work(self, subject: str, handler: WorkHandler, slots: int) -> Subscription:
        """See `Bus.work`."""
        return self._lane(subject).work(subject, handler, slots)

    async def submit(self, subject: str, payload: bytes) -> Submission:
        """See `Bus.submit`."""
        return await self._lane(subject).submit(subject, payload)

    def acquire(self, name: str) -> Held:
        """See `Bus.acquire`."""
        return self._main.acquire(name)

    def peers(self) -> frozenset[str]:
        """See `Bus.peers`: those of the lane of small messages."""
        return self._main.peers()

    def on_peer(self, handler: PeerHandler) -> None:
        """See `Bus.on_peer`."""
        self._main.on_peer(handler)

    def statistics(self) -> Mapping[str, int]:
        """See `Bus.statistics`: both lanes together; `bulk_` names those of that lane alone."""
        main, bulk = self._main.statistics(), self._bulk.statistics()
        total = {name: main.get(name, 0) + bulk.get(name, 0) for name in main.keys() | bulk.keys()}
        return {**total, "peers": len(self.peers()), "bulk_unsent_bytes": bulk["unsent_bytes"]}

    async def close(self) -> None:
        """See `Bus.close`."""
        await asyncio.gather(self._main.close(), self._bulk.close())

    def abort(self) -> None:
        """Leave at once, as if killed."""
        self._main.abort()
        self._bulk.abort()
