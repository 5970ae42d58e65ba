"""What the lane of bulk must do on every bus adapter."""

from __future__ import annotations

import asyncio

from tests.contract.bus_contract import Ground, Inbox, Scenario, each, pair, until


async def bulk_does_not_hold_up_what_is_small(ground: Ground) -> None:
    one, two = await pair(ground)
    order = list[str]()
    two.subscribe("bulk.data", lambda batch: order.extend(m.subject for m in batch))
    two.subscribe("small", lambda batch: order.extend(m.subject for m in batch))
    await until(lambda: one.interested("bulk.data") and one.interested("small"))
    for _ in range(16):
        one.publish("bulk.data", bytes(120 * 1024))
    one.publish("small", b"")
    await until(lambda: len(order) == 17)
    assert order.index("small") < 8


async def a_full_bulk_lane_loses_and_refuses_nothing_small(ground: Ground) -> None:
    one, two = await pair(ground)
    bulk, small = Inbox(), Inbox()
    two.subscribe("bulk.data", bulk.take, bulk.gap)
    two.subscribe("small", small.take, small.gap)
    two.serve("echo", each(lambda request: request.respond(request.payload)))
    await until(lambda: one.interested("bulk.data") and one.interested("small"))
    assert await one.wait_for_server("echo", 5000)
    for _ in range(10):
        one.publish("bulk.data", bytes(400 * 1024))
    one.publish("small", b"x")
    assert await one.request("echo", b"y", 5000) == b"y"
    await until(lambda: bool(bulk.gaps) and bool(small.items))
    assert small.payloads == [b"x"]
    assert small.gaps == []


async def a_pattern_of_wildcards_hears_both_lanes(ground: Ground) -> None:
    one, two = await pair(ground)
    everything = Inbox()
    subscription = two.subscribe(">", everything.take)
    await until(lambda: one.interested("bulk.data") and one.interested("small"))
    one.publish("bulk.data", b"1")
    one.publish("small", b"2")
    await until(lambda: len(everything.items) == 2)
    subscription.close()
    await until(lambda: not one.interested("bulk.data") and not one.interested("small"))


SCENARIOS: list[Scenario] = [
    value
    for value in list(globals().values())
    if asyncio.iscoroutinefunction(value) and value.__module__ == __name__
]
