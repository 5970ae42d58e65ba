"""Keeps an event channel complete where its messages come over a bus that may lose some.

Live items are published as they come. Where the bus reports a gap, or dense offsets show one, what
comes is held while a query fills the hole from the source of truth; then what was held follows.
Invariant: the channel has no hole, or its subscribers were told to come back and load anew. Every
worker that runs a feeder over the same source keeps the same history, so clients resume anywhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from madang.core.errors import MadangError
from madang.hub.channel import Channel
from madang.hub.history import Encoder, Position


class Item(NamedTuple):
    """One message of the source."""

    position: Position
    encode: Encoder
    source_bytes: int = 0


class Page(NamedTuple):
    """What a query answers: items in order after the asked position, up to and with `upto`.

    Asked for a beginning, `upto` is that and the items are left aside. `complete` is False where
    the source no longer has all of them; a new beginning is made at `upto` then. `more` asks for
    the next page.
    """

    complete: bool
    items: Sequence[Item]
    upto: Position
    more: bool = False


Query = Callable[[Position | None], Awaitable[Page]]
"""Asked with None for a beginning, else for everything after; raises MadangError to be retried."""


class FeederSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a feeder. `dense`: offsets of one epoch are consecutive, so a hole shows."""

    dense: bool = False
    held_max: int = 10_000
    retry_ms: int = 50
    interrupt_after_ms: int = 5_000


class Feeder:
    """The one writer of a channel that is fed by a bus."""

    def __init__(self, channel: Channel, query: Query, settings: FeederSettings) -> None:
        self.channel = channel
        self.gaps = 0
        self.interruptions = 0
        self._query = query
        self._settings = settings
        self._held: deque[Item] | None = deque()
        self._overrun = False
        self._task = asyncio.get_running_loop().create_task(self._fill())

    @property
    def live(self) -> bool:
        """Tell whether items are passed on as they come."""
        return self._held is None

    def offer(self, item: Item) -> None:
        """Take an item as it came over the bus."""
        if self._held is None and not self._shows_hole(item):
            self.channel.publish(*item)
            return
        if self._held is None:
            self.gap()
        self._hold(item)

    def _hold(self, item: Item) -> None:
        assert self._held is not None
        if len(self._held) >= self._settings.held_max:
            self._held.clear()
            self._overrun = True
        self._held.append(item)

    def _shows_hole(self, item: Item) -> bool:
        last = self.channel.position
        if last is None or item.position <= last:
            return False
        if item.position.epoch != last.epoch:
            return True
        return self._settings.dense and item.position.offset != last.offset + 1

    def gap(self) -> None:
        """Say that messages may have been lost: fill up from the source."""
        self.gaps += 1
        if self._held is None:
            self._held = deque()
            self._task = asyncio.get_running_loop().create_task(self._fill())
        else:
            self._overrun = True  # what is asked now may lack it: ask once more

    def close(self) -> None:
        """Stop following."""
        self._task.cancel()

    async def _fill(self) -> None:
        """Ask until nothing is missing, then let go what was held."""
        while True:
            self._overrun = False
            page = await self._ask(self.channel.position)
            self._take(page)
            if page.more:
                continue
            if not self._overrun and self._release():
                return
            await asyncio.sleep(self._settings.retry_ms / 1000)

    async def _ask(self, since: Position | None) -> Page:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._settings.interrupt_after_ms / 1000
        while True:
            try:
                return await self._query(since)
            except MadangError:
                if loop.time() >= until_s:
                    until_s = float("inf")
                    if self.channel.subscribers:
                        self._interrupt(since)
                await asyncio.sleep(self._settings.retry_ms / 1000)

    def _interrupt(self, since: Position | None) -> None:
        self.interruptions += 1
        self.channel.interrupt()
        if since is not None:
            self.channel.begin(since)

    def _take(self, page: Page) -> None:
        last = self.channel.position
        if last is None:
            self.channel.begin(page.upto)
            return
        if not page.complete or page.upto.epoch != last.epoch:
            self._interrupt(page.upto)
            return
        for item in page.items:
            self.channel.publish(*item)

    def _release(self) -> bool:
        """Publish what was held; False where it shows one more hole."""
        held = self._held
        assert held is not None
        while held:
            if self._shows_hole(held[0]):
                return False
            self.channel.publish(*held.popleft())
        self._held = None
        return True
