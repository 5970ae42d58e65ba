"""Whether orders are taken and prices move, told to every page of this worker.

The venue and the feed are asked every PROBE_S while anybody listens, and held for away the moment
their link breaks; only an answer makes them be there again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from madang.bus import Bus, BusError
from madang.exchange.api.feed_client import FeedClient, FeedUnavailable
from madang.exchange.stream.page_messages import health_message
from madang.exchange.stream.positions import position
from madang.exchange.subjects import COMMITTED
from madang.hub import Channel, ChannelSettings, Connection, Hub

VENUE: Final = "venue"
FEED: Final = "feed"
PROBE_S: Final = 1.0
RETRY_S: Final = 0.1
ANSWER_WITHIN_MS: Final = 2_000
CHANNEL: Final = ChannelSettings(history_count_max=0, history_bytes_max=0)


class PageHealth:
    """The state of venue and feed as this worker sees it."""

    def __init__(self, bus: Bus, hub: Hub) -> None:
        self._bus = bus
        self._feed = FeedClient(bus)
        self._there = {VENUE: True, FEED: True}
        self._published = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._channel: Channel = hub.channel("page.health", CHANNEL)
        self._channel.on_first = lambda _: self._begin()
        self._channel.on_last = lambda _: self.close()
        bus.on_peer(self._on_peer)

    def join(self, connection: Connection) -> None:
        """Send how it stands, then every change."""
        connection.send(self.message())
        connection.subscribe(self._channel)

    def close(self) -> None:
        """Stop asking."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    def _begin(self) -> None:
        self._tasks = [
            asyncio.create_task(self._watch(VENUE, self._ask_venue)),
            asyncio.create_task(self._watch(FEED, self._feed.sync)),
        ]

    async def _ask_venue(self) -> None:
        await self._bus.request(COMMITTED, b"", ANSWER_WITHIN_MS)

    async def _watch(self, who: str, ask: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await ask()
            except (BusError, FeedUnavailable):
                self._mark(who, there=False)
            else:
                self._mark(who, there=True)
            await asyncio.sleep(PROBE_S if self._there[who] else RETRY_S)

    def _on_peer(self, peer: str, connected: bool) -> None:
        application = peer.partition("-")[0]
        if not connected and application in self._there:
            self._mark(application, there=False)

    def _mark(self, who: str, *, there: bool) -> None:
        if self._there[who] == there:
            return
        self._there[who] = there
        message = self.message()
        self._published += 1
        self._channel.publish(position(self._published), lambda _: (message, False))

    def message(self) -> bytes:
        """Return how it stands."""
        return health_message(venue=self._there[VENUE], feed=self._there[FEED])
