"""A process on the bus for tests: `work` is never answered, `echo` is, `publish` publishes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from madang.bus import BusSettings, Request, open_unix_bus


async def main(name: str, folder: Path) -> None:
    """Join the bus, say so, and serve until killed."""
    bus = await open_unix_bus(BusSettings(name, folder))
    published = 0

    def echo(batch: list[Request]) -> None:
        for request in batch:
            request.respond(request.payload)

    def publish(batch: list[Request]) -> None:
        nonlocal published
        for request in batch:
            for _ in range(int(request.payload)):
                bus.publish("news.numbers", b"%d" % published)
                published += 1
            request.respond(b"%d" % published)

    bus.serve("work", lambda batch: None)
    bus.serve("echo", echo)
    bus.serve("publish", publish)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
