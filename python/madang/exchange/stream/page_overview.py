"""The overview on `/web/stream`: what changed of all symbols, while somebody looks.

A page that asks gets every symbol first, then only the symbols that changed; lines are left out,
for a page goes on with them by the last price. One message per change for all pages of the worker.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from madang.core import log
from madang.edge import ApiError
from madang.exchange.api.market_overview import Overview, OverviewRow
from madang.exchange.stream.positions import position
from madang.hub import Channel, ChannelSettings, Connection, Hub

EVERYTHING: Final = "*"
"""What a page subscribes to."""
PUBLISH_MS: Final = 1_000
CHANNEL: Final = ChannelSettings(history_count_max=0, history_bytes_max=0, flush_window_ms=10)


class PageOverview:
    """The channel of one worker."""

    def __init__(self, hub: Hub, overview: Overview) -> None:
        self._overview = overview
        self._channel: Channel = hub.channel("market-overview", CHANNEL)
        self._channel.on_first = lambda _: self._begin()
        self._channel.on_last = lambda _: self._end()
        self._shown: dict[str, OverviewRow] = {}
        self._published = 0
        self._task: asyncio.Task[None] | None = None

    def join(self, connection: Connection) -> None:
        """Send every symbol as far as known, then what changes."""
        if self._shown:
            connection.send(overview_message(list(self._shown.values())))
        connection.subscribe(self._channel)

    def part(self, connection: Connection) -> None:
        """Send it no more."""
        connection.unsubscribe(self._channel)

    def close(self) -> None:
        """Stop."""
        self._end()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._publish_for_ever())

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._shown = {}

    async def _publish_for_ever(self) -> None:
        while True:
            try:
                self._publish(await self._overview.rows())
            except ApiError as error:
                log.get("overview").warning("not read, trying again", error=error.message)
            await asyncio.sleep(PUBLISH_MS / 1_000)

    def _publish(self, rows: list[OverviewRow]) -> None:
        changed = []
        for row in rows:
            bare = msgspec.structs.replace(row, line=[])
            if self._shown.get(row.symbol) != bare:
                self._shown[row.symbol] = bare
                changed.append(bare)
        message = overview_message(changed)  # also an empty one: nothing changed, and we live
        self._published += 1
        self._channel.publish(position(self._published), lambda _: (message, False))


def overview_message(rows: list[OverviewRow]) -> bytes:
    """Return symbols as pages read them."""
    return msgspec.json.encode({"type": "overview", "rows": rows})
