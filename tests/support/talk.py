"""Workers of an application's hub inside one process, each a real server on a port of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from madang.bus import Bus, MemoryHub, memory_bus_hub
from madang.bus.lanes import Lanes
from madang.edge import Application, Server
from madang.edge.handover.mobile import Mover
from madang.edge.hub_front import hub_routes
from madang.hub import Hub, HubSession
from tests.support.edge import LIMIT_S, run, serving


class Worker:
    """One worker: its bus, its hub, and a port."""

    def __init__(self, bus: Bus, session: HubSession, server: Server, port: int) -> None:
        self.bus = bus
        self.session = session
        self.server = server
        self.port = port

    def client(self, path: str = "/ws", **options: Any) -> connect:  # noqa: ANN401
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)

    def mover(self) -> Mover:
        """Return how its connections move."""
        return Mover(
            name=self.session.name,
            mobiles=self.server.mobiles,
            thaws=self.server.thaws,
            channels=self.session.give,
            warm=self.session.warm,
            settle=self.session.settle,
            ended=self.session.moving_ended,
        )

    def kill(self) -> None:
        """End as a kill would, as far as others can tell."""
        assert isinstance(self.bus, Lanes)
        self.session.numbering.abort()
        self.bus.abort()


@asynccontextmanager
async def worker(place: MemoryHub, name: str) -> AsyncIterator[Worker]:
    bus = place.open(name)
    session = HubSession(bus, Hub(), serves=True)
    try:
        routes = hub_routes(session)
        async with serving(Application((), routes), hub=session.hub) as running:
            yield Worker(bus, session, running.server, running.port)
    finally:
        session.close()
        await bus.close()


async def hear(client: ClientConnection) -> dict[str, Any]:
    """Return the next message."""
    import asyncio

    async with asyncio.timeout(LIMIT_S):
        message: dict[str, Any] = json.loads(await client.recv())
    return message


async def say(client: ClientConnection, **message: object) -> None:
    await client.send(json.dumps(message))


async def joined(client: ClientConnection, channels: int = 1) -> dict[str, Any]:
    """Take the welcome and the answers for the endpoint's channels; return the last."""
    last = await hear(client)
    assert last["type"] == "welcome"
    for _ in range(channels):
        last = await hear(client)
        assert last["type"] == "subscribed", last
    return last


def playing(test: Callable[[MemoryHub], Awaitable[None]]) -> None:
    """Run a test on the bus of a machine of its own."""

    async def main() -> None:
        await test(memory_bus_hub())

    run(main)
