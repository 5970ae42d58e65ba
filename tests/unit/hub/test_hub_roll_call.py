"""Presence over the bus: every worker knows how many listen on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from madang.bus import memory_bus_hub
from madang.hub import Connection, Hub, RollCall, RollCallSettings
from tests.support.wire import join

LIMIT_S = 10.0
QUICK = RollCallSettings(interval_ms=1, channels_per_message_max=2)


class Worker:
    """One worker's hub with its place in the roll call."""

    def __init__(self, buses: Callable[[str], object], name: str) -> None:
        self.bus = buses(name)
        self.hub = Hub()
        self.roll_call = RollCall(self.bus, self.hub, "market", QUICK)  # type: ignore[arg-type]

    def listen(self, *channels: str) -> Connection:
        _, connection = join(self.hub)
        for channel in channels:
            connection.subscribe(self.hub.channel(channel))
        return connection

    async def die(self) -> None:
        self.roll_call.close()
        self.bus.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def test_totals_are_those_of_all_workers_and_a_dead_worker_takes_its_own_along() -> None:
    async def main() -> None:
        buses = memory_bus_hub().open
        first, second = Worker(buses, "worker-0"), Worker(buses, "worker-1")
        leaver = first.listen("room", "other")
        first.listen("room")
        for _ in range(3):
            second.listen("room")
        both = (first, second)
        await until(lambda: all(w.roll_call.total("room") == 5 for w in both))
        assert all(w.roll_call.totals.totals() == {"room": 5, "other": 1} for w in both)
        leaver.close(1000)
        await until(lambda: all(w.roll_call.total("room") == 4 for w in both))
        assert all(w.roll_call.total("other") == 0 for w in both)
        await second.die()
        await until(lambda: first.roll_call.total("room") == 1)
        first.roll_call.close()

    asyncio.run(main())


def test_a_worker_that_comes_later_knows_everybody_at_once() -> None:
    async def main() -> None:
        buses = memory_bus_hub().open
        first = Worker(buses, "worker-0")
        channels = [f"room-{number}" for number in range(7)]  # more than a message names
        first.listen(*channels)
        await until(lambda: first.roll_call.total("room-6") == 1)
        late = Worker(buses, "worker-1")
        await until(lambda: late.roll_call.totals.totals() == dict.fromkeys(channels, 1))
        await late.die()
        again = Worker(buses, "worker-1")
        again.listen("room-0")
        await until(lambda: first.roll_call.total("room-0") == 2)
        await until(lambda: again.roll_call.total("room-0") == 2)
        for worker in (first, again):
            worker.roll_call.close()

    asyncio.run(main())


def test_groups_do_not_mix() -> None:
    async def main() -> None:
        buses = memory_bus_hub().open
        market = Worker(buses, "worker-0")
        hub = Hub()
        chat = RollCall(buses("chat-0"), hub, "chat", QUICK)
        _, connection = join(hub)
        connection.subscribe(hub.channel("room"))
        await until(lambda: chat.total("room") == 1)
        market.listen("room")
        await until(lambda: market.roll_call.total("room") == 1)
        assert chat.total("room") == 1
        market.roll_call.close()
        chat.close()

    asyncio.run(main())
