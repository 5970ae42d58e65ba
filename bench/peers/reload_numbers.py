"""Broadcasts a number every INTERVAL_S to everybody connected to any worker."""

from __future__ import annotations

import asyncio
import itertools

from madang import bus, hub

INTERVAL_S = 0.05


async def count() -> None:
    """Count for ever."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    for number in itertools.count(1):
        await hub.broadcast("numbers", number)
        due_s = max(due_s + INTERVAL_S, loop.time())
        await asyncio.sleep(due_s - loop.time())


if __name__ == "__main__":
    bus.run(count)
