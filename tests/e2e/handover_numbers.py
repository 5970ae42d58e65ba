"""Broadcasts a number every few milliseconds and sets prices, as a program of the cluster."""

from __future__ import annotations

import asyncio

from madang import bus, hub


async def count() -> None:
    """Count for ever."""
    number = 0
    while True:
        number += 1
        await hub.broadcast("numbers", number)
        if number % 5 == 0:
            await hub.set_state("prices", f"S{number % 3}", number)
            await hub.broadcast("room.a", number)
        await asyncio.sleep(0.01)


bus.run(count)
