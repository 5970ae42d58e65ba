"""The ledger's queue of questions: none is forgotten, however closely it follows another."""

from __future__ import annotations

import asyncio

import msgspec

from madang.bus import memory_bus_hub
from madang.exchange.ledger.ledger import Ledger
from madang.exchange.ledger.process import QueryServer
from madang.exchange.venue.follower import Follower

LIMIT_S = 5.0
QUESTIONS = 200


class Replica:
    """A follower that has always reached what was committed."""

    async def committed(self, timeout_ms: int) -> int:
        """Return at once."""
        return 1

    async def wait_for(self, sequence: int, timeout_ms: int) -> None:
        """Return at once."""


def test_a_question_that_comes_as_the_last_one_is_answered_is_answered_too() -> None:
    async def main() -> None:
        buses = memory_bus_hub()
        ours, asker = buses.open("ledger"), buses.open("worker-0")
        follower: Follower = Replica()  # type: ignore[assignment]
        ledger: Ledger = object()  # type: ignore[assignment]
        server = QueryServer(ledger, follower)

        async def echo(query: dict[str, object]) -> dict[str, object]:
            return {"number": query["number"]}

        server.add({"echo": echo})
        ours.serve("ledger.query", server.on_requests)
        await asker.wait_for_server("ledger.query", 1_000)

        async def ask(number: int) -> None:
            for _ in range(number % 7):  # each at another turn of the loop
                await asyncio.sleep(0)
            question = msgspec.msgpack.encode({"kind": "echo", "number": number})
            answer = await asker.request("ledger.query", question, int(LIMIT_S * 1_000))
            assert msgspec.msgpack.decode(answer) == {"number": number}

        for number in range(QUESTIONS):
            await asyncio.gather(ask(number), ask(number + 1), ask(number + 3))
        await asker.close()
        await ours.close()

    asyncio.run(main())
