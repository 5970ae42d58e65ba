"""The gateway: commands of a tick travel together, and only what is known is said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from madang.bus import Bus, MemoryHub, Request, memory_bus_hub
from madang.exchange.gateway import (
    Attempts,
    GatewaySettings,
    Next,
    OrderGateway,
    OutcomeUnknown,
    Try,
    VenueUnavailable,
)
from madang.wire.commands import HEADER_BYTES, split_commands
from madang.wire.events import HEADER, RESULT_BODY, Result
from tests.support.venue_log import order

SECOND = 1_000_000_000
QUICK = GatewaySettings(resend_ms=400, request_timeout_ms=100, retry_pause_ms=5)


def test_what_was_never_delivered_is_a_definite_no() -> None:
    for how in (Try.NOT_DELIVERED, Try.REFUSED):
        assert Attempts(GatewaySettings(), 0).ended(how, 1) is Next.SAY_NO


def test_once_a_command_may_have_left_it_is_resent_and_never_denied() -> None:
    attempts = Attempts(GatewaySettings(resend_ms=5_000), 0)
    assert attempts.ended(Try.UNKNOWN, SECOND) is Next.RESEND
    assert attempts.ended(Try.NOT_DELIVERED, 2 * SECOND) is Next.RESEND
    assert attempts.ended(Try.REFUSED, 3 * SECOND) is Next.RESEND
    assert attempts.ended(Try.NOT_DELIVERED, 5 * SECOND) is Next.SAY_UNKNOWN


def test_a_try_never_outlives_the_time_to_resend() -> None:
    attempts = Attempts(GatewaySettings(resend_ms=5_000, request_timeout_ms=2_500), 0)
    assert attempts.timeout_ms(0) == 2_500
    assert attempts.timeout_ms(4 * SECOND) == 1_000
    assert attempts.timeout_ms(9 * SECOND) == 1


def result_of(command: bytes, number: int) -> bytes:
    request_id = command[8:24]
    head = HEADER.pack(80, 3, 0, 1, number, 1, number)
    return head + RESULT_BODY.pack(request_id, 0, 0, 0, 1, number, 0, 0)


class FakeVenue:
    """Answers on the bus as scripted, and remembers each request id that it has seen."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.requests: list[bytes] = []
        self.numbers: dict[bytes, int] = {}
        self.silent = 0
        self.refusing = 0
        self.subscription = bus.serve("venue.commands", self.on_requests)

    def on_requests(self, requests: list[Request]) -> None:
        for request in requests:
            self.requests.append(request.payload)
            if self.refusing:
                self.refusing -= 1
                request.refuse("VenueOverloaded: too much")
                continue
            answers = []
            for command in split_commands(request.payload):
                number = self.numbers.setdefault(command[8:24], len(self.numbers) + 1)
                answers.append(result_of(command, number))
            if self.silent:
                self.silent -= 1
            else:
                request.respond(b"".join(answers))


async def worker(hub: MemoryHub, settings: GatewaySettings = QUICK) -> OrderGateway:
    bus = hub.open("worker-0")
    await bus.wait_for_server("venue.commands", 50)
    return OrderGateway(bus, settings)


def run(scenario: Callable[[MemoryHub], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(memory_bus_hub()), 20)

    asyncio.run(main())


def test_commands_of_one_tick_travel_together_and_each_gets_its_own_answer() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        gateway = await worker(hub)
        results = await asyncio.gather(*[gateway.submit(order(number)) for number in range(5)])
        assert [result.number for result in results] == [1, 2, 3, 4, 5]
        assert len(venue.requests) == 1
        assert gateway.under_way == 0

    run(scenario)


def test_what_comes_while_enough_is_under_way_goes_together_in_the_next_request() -> None:
    async def scenario(hub: MemoryHub) -> None:
        held: list[Request] = []
        bus = hub.open("venue")
        bus.serve("venue.commands", held.extend)
        gateway = await worker(hub, GatewaySettings(requests_max=1))
        tasks: list[asyncio.Task[Result]] = []
        for number in range(4):  # each in a tick of its own
            tasks.append(asyncio.create_task(gateway.submit(order(number))))
            while gateway.under_way <= number:
                await asyncio.sleep(0)
        answered = 0
        sizes: list[int] = []
        while answered < 4:
            while not held:
                await asyncio.sleep(0)
            request = held.pop()
            commands = list(split_commands(request.payload))
            sizes.append(len(commands))
            numbered = enumerate(commands, start=answered + 1)
            request.respond(b"".join(result_of(command, number) for number, command in numbered))
            answered += len(commands)
        assert sizes == [1, 3]
        assert [(await task).number for task in tasks] == [1, 2, 3, 4]
        await gateway.close()

    run(scenario)


def test_large_ticks_are_split() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        gateway = await worker(hub, GatewaySettings(request_commands_max=4))
        results = await asyncio.gather(*[gateway.submit(order(number)) for number in range(10)])
        assert len(results) == 10
        assert [len(list(split_commands(one))) for one in venue.requests] == [4, 4, 2]

    run(scenario)


def test_without_a_venue_it_is_a_definite_no_at_once() -> None:
    async def scenario(hub: MemoryHub) -> None:
        gateway = await worker(hub)
        with pytest.raises(VenueUnavailable):
            await gateway.submit(order(1))

    run(scenario)


def test_a_refusal_at_the_first_try_is_a_definite_no() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        venue.refusing = 1
        gateway = await worker(hub)
        with pytest.raises(VenueUnavailable, match="too much"):
            await gateway.submit(order(1))
        assert len(venue.requests) == 1

    run(scenario)


def test_a_lost_answer_is_asked_for_again_with_the_same_ids() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        venue.silent = 1
        gateway = await worker(hub)
        result = await gateway.submit(order(1))
        assert result.number == 1
        assert len(venue.requests) == 2
        assert venue.requests[0] == venue.requests[1]

    run(scenario)


def test_a_refusal_after_a_lost_answer_is_not_believed() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        venue.silent = 1
        gateway = await worker(hub)
        waiting = asyncio.ensure_future(gateway.submit(order(1)))
        while not venue.requests:
            await asyncio.sleep(0.001)
        venue.refusing = 2
        assert (await waiting).number == 1
        assert len(venue.requests) == 4

    run(scenario)


def test_the_next_venue_gets_what_the_dead_one_left_unanswered() -> None:
    async def scenario(hub: MemoryHub) -> None:
        first = FakeVenue(hub.open("venue"))
        first.silent = 10
        gateway = await worker(hub, GatewaySettings(resend_ms=5_000, request_timeout_ms=2_500))
        waiting = asyncio.ensure_future(gateway.submit(order(1)))
        while not first.requests:
            await asyncio.sleep(0.001)
        await first.bus.close()
        await asyncio.sleep(0.05)
        assert not waiting.done()
        second = FakeVenue(hub.open("venue"))
        result: Result = await waiting
        assert result.number == 1
        assert second.requests == first.requests

    run(scenario)


def test_no_venue_in_time_is_an_unknown_outcome() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        venue.silent = 1_000
        gateway = await worker(hub)
        with pytest.raises(OutcomeUnknown, match="ask by client_order_id"):
            await gateway.submit(order(1))
        assert gateway.under_way == 0

    run(scenario)


def test_more_than_may_be_under_way_is_a_definite_no() -> None:
    async def scenario(hub: MemoryHub) -> None:
        venue = FakeVenue(hub.open("venue"))
        gateway = await worker(hub, GatewaySettings(waiting_max=2))
        submitted = [asyncio.ensure_future(gateway.submit(order(number))) for number in range(3)]
        done = await asyncio.gather(*submitted, return_exceptions=True)
        assert isinstance(done[2], VenueUnavailable)
        assert [isinstance(one, Result) for one in done[:2]] == [True, True]
        assert len(venue.numbers) == 2

    run(scenario)


def test_closing_waits_for_what_is_under_way_and_takes_no_more() -> None:
    async def scenario(hub: MemoryHub) -> None:
        FakeVenue(hub.open("venue"))
        gateway = await worker(hub)
        waiting = asyncio.ensure_future(gateway.submit(order(1)))
        await asyncio.sleep(0)
        await gateway.close()
        assert (await waiting).number == 1
        with pytest.raises(VenueUnavailable, match="stopping"):
            await gateway.submit(order(2))

    run(scenario)


assert HEADER_BYTES == 24
