"""What every bus adapter must do. A new adapter joins with one line in test_bus.py.

A factory gives a `Ground`: `open(name)` joins a bus to it, `crash(bus)` ends one as a kill would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from madang.bus import (
    UNKNOWN_LOSS,
    Bus,
    BusLimits,
    Gap,
    Message,
    MessageTooLarge,
    NoServer,
    Overloaded,
    PeerLost,
    Request,
    RequestRefused,
    RequestTimeout,
)
from madang.bus.errors import AlreadyAnswered, BusClosed, BusError, InvalidSubject

LIMIT_S = 10.0
LIMITS = BusLimits(queued_bytes=2 * 1024 * 1024, open_requests=8)


class Ground(Protocol):
    """Where the buses of one test meet."""

    async def open(self, name: str, limits: BusLimits = LIMITS) -> Bus: ...
    async def crash(self, bus: Bus) -> None: ...
    async def close(self) -> None: ...


Scenario = Callable[[Ground], Awaitable[None]]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most LIMIT_S."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


class Inbox:
    """Collects what a subscription gets, gaps in their place."""

    def __init__(self) -> None:
        self.items: list[Message | Gap] = []
        self.batches = 0

    def take(self, batch: list[Message]) -> None:
        self.batches += 1
        self.items += batch

    def gap(self, gap: Gap) -> None:
        self.items.append(gap)

    @property
    def payloads(self) -> list[bytes]:
        return [item.payload for item in self.items if isinstance(item, Message)]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]


def each(act: Callable[[Request], None]) -> Callable[[list[Request]], None]:
    """Return a service that acts on each request."""

    def serve(batch: list[Request]) -> None:
        for request in batch:
            act(request)

    return serve


async def pair(ground: Ground) -> tuple[Bus, Bus]:
    one, two = await ground.open("one"), await ground.open("two")
    await until(lambda: one.peers() == {"two"} and two.peers() == {"one"})
    return one, two


async def a_message_reaches_only_matching_subscriptions(ground: Ground) -> None:
    one, two = await pair(ground)
    exact, star, rest, other = Inbox(), Inbox(), Inbox(), Inbox()
    two.subscribe("market.book.ACME", exact.take)
    two.subscribe("market.*.ACME", star.take)
    two.subscribe("market.>", rest.take)
    two.subscribe("market", other.take)
    await until(lambda: one.interested("market.book.ACME"))
    one.publish("market.book.ACME", b"1")
    one.publish("market.trades.ACME", b"2")
    one.publish("market.trades.OTHER", b"3")
    await until(lambda: len(rest.items) == 3)
    assert exact.items == [Message("market.book.ACME", b"1", "one")]
    assert star.payloads == [b"1", b"2"]
    assert rest.payloads == [b"1", b"2", b"3"]
    assert other.items == []


async def a_process_gets_one_copy_however_many_subscriptions(ground: Ground) -> None:
    one, two = await pair(ground)
    inboxes = [Inbox() for _ in range(3)]
    for pattern, inbox in zip(("a.b", "a.*", "a.b"), inboxes, strict=True):
        two.subscribe(pattern, inbox.take)
    await until(lambda: one.interested("a.b"))
    before = two.statistics().get("received", 0)
    one.publish("a.b", b"x")
    await until(lambda: all(inbox.payloads == [b"x"] for inbox in inboxes))
    assert two.statistics()["received"] - before == 1


async def nothing_is_sent_where_nobody_subscribes(ground: Ground) -> None:
    one, two = await pair(ground)
    assert not one.interested("a.b")
    one.publish("a.b", b"x")
    two.serve("barrier", each(lambda request: request.respond(b"")))
    assert await one.wait_for_server("barrier", 5000)
    await one.request("barrier", b"", 5000)
    assert two.statistics().get("received", 0) == 0


async def own_subscriptions_get_publications_after_the_call(ground: Ground) -> None:
    one = await ground.open("one")
    inbox = Inbox()
    one.subscribe("a.>", inbox.take)
    assert one.interested("a.b")
    one.publish("a.b", b"x")
    assert inbox.items == []
    await until(lambda: inbox.items == [Message("a.b", b"x", "one")])


async def a_closed_subscription_hears_nothing(ground: Ground) -> None:
    one, two = await pair(ground)
    closed, kept = Inbox(), Inbox()
    subscription = two.subscribe("a", closed.take)
    two.subscribe("b", kept.take)
    await until(lambda: one.interested("a") and one.interested("b"))
    subscription.close()
    subscription.close()
    await until(lambda: not one.interested("a"))
    one.publish("a", b"x")
    one.publish("b", b"x")
    await until(lambda: bool(kept.items))
    assert closed.items == []


async def a_subscription_closed_by_an_earlier_handler_is_not_called(ground: Ground) -> None:
    one, two = await pair(ground)
    later = Inbox()
    first = two.subscribe("a", lambda batch: second.close())
    second = two.subscribe("a", later.take)
    await until(lambda: one.interested("a"))
    one.publish("a", b"x")
    await until(lambda: two.statistics()["delivered"] == 1)
    assert later.items == []
    first.close()
    await until(lambda: not one.interested("a"))


async def messages_keep_their_order_and_come_in_batches(ground: Ground) -> None:
    one, two = await pair(ground)
    inbox = Inbox()
    two.subscribe("n.*", inbox.take)
    await until(lambda: one.interested("n.1"))
    expected = [b"%d" % number for number in range(5000)]
    for number, payload in enumerate(expected):
        one.publish(f"n.{number % 7}", payload)
    await until(lambda: len(inbox.items) == 5000)
    assert inbox.payloads == expected
    assert inbox.batches < 500


async def a_full_peer_gets_a_prefix_then_the_gap_then_what_follows(ground: Ground) -> None:
    one, two = await pair(ground)
    inbox, other = Inbox(), Inbox()
    two.subscribe("n", inbox.take, inbox.gap)
    two.subscribe("quiet", other.take, other.gap)
    await until(lambda: one.interested("n") and one.interested("quiet"))
    payload = bytes(64 * 1024)
    for number in range(100):
        one.publish("n", b"%03d" % number + payload)
    await until(lambda: bool(inbox.gaps))
    one.publish("n", b"end")
    await until(lambda: inbox.payloads[-1:] == [b"end"])
    received = [payload[:3] for payload in inbox.payloads[:-1]]
    assert received == [b"%03d" % number for number in range(len(received))]
    assert 0 < len(received) < 100
    assert inbox.items[len(received)] == Gap("one", "n", 100 - len(received))
    assert one.statistics()["dropped"] == 100 - len(received)
    assert other.gaps == []


async def own_subscriptions_are_bounded_too(ground: Ground) -> None:
    one = await ground.open("one")
    inbox = Inbox()
    one.subscribe("n", inbox.take, inbox.gap)
    for _ in range(100):
        one.publish("n", bytes(64 * 1024))
    one.publish("n", b"would fit, but may not overtake")
    await until(lambda: bool(inbox.gaps))
    assert inbox.gaps == [Gap("one", "n", 101 - len(inbox.payloads))]
    assert set(map(len, inbox.payloads)) == {64 * 1024}
    assert isinstance(inbox.items[-1], Gap)


async def a_request_is_answered_by_the_server(ground: Ground) -> None:
    one, two = await pair(ground)
    two.serve("double", each(lambda request: request.respond(request.payload * 2)))
    assert await one.wait_for_server("double", 5000)
    assert await one.request("double", b"ab", 5000) == b"abab"
    assert await two.request("double", b"cd", 5000) == b"cdcd"
    large = bytes(256 * 1024)
    assert await one.request("double", large, 5000) == large * 2


async def a_request_without_server_is_a_definite_no(ground: Ground) -> None:
    one, two = await pair(ground)
    with pytest.raises(NoServer):
        await one.request("nobody", b"", 5000)
    service = two.serve("somebody", lambda batch: None)
    assert await one.wait_for_server("somebody", 5000)
    service.close()
    with pytest.raises(NoServer):  # before or after the withdrawal has come: the same answer
        await one.request("somebody", b"", 5000)


async def waiting_for_a_server_ends(ground: Ground) -> None:
    one, two = await pair(ground)
    assert not await one.wait_for_server("late", 20)
    waiting = asyncio.ensure_future(one.wait_for_server("late", 5000))
    await asyncio.sleep(0)
    two.serve("late", lambda batch: None)
    assert await waiting
    assert await two.wait_for_server("late", 20)


async def a_refusal_carries_its_reason(ground: Ground) -> None:
    one, two = await pair(ground)
    two.serve("no", each(lambda request: request.refuse("not today")))
    assert await one.wait_for_server("no", 5000)
    for bus in (one, two):
        with pytest.raises(RequestRefused, match="not today"):
            await bus.request("no", b"", 5000)


async def a_request_is_answered_once(ground: Ground) -> None:
    one, two = await pair(ground)
    held: list[Request] = []
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    answer = asyncio.ensure_future(one.request("hold", b"", 5000))
    await until(lambda: bool(held))
    with pytest.raises(MessageTooLarge):
        held[0].respond(bytes(512 * 1024 + 1))
    held[0].respond(b"first")
    assert await answer == b"first"
    with pytest.raises(AlreadyAnswered):
        held[0].respond(b"second")
    with pytest.raises(AlreadyAnswered):
        held[0].refuse("third")


async def a_request_times_out_and_its_late_answer_is_nobodys(ground: Ground) -> None:
    one, two = await pair(ground)
    held: list[Request] = []
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    for bus in (one, two):
        with pytest.raises(RequestTimeout):
            await bus.request("hold", b"", 30)
    for request in held:
        request.respond(b"late")
    assert one.statistics()["open_requests"] == 0
    answer = asyncio.ensure_future(one.request("hold", b"", 5000))
    await until(lambda: len(held) == 3)
    held[2].respond(b"good")
    assert await answer == b"good"


async def too_many_open_requests_are_a_definite_no(ground: Ground) -> None:
    one, two = await pair(ground)
    held: list[Request] = []
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    for bus in (one, two):
        held.clear()
        waiting = [asyncio.ensure_future(bus.request("hold", b"", 5000)) for _ in range(8)]
        await until(lambda: len(held) == 8)
        with pytest.raises(Overloaded):
            await bus.request("hold", b"", 5000)
        for request in held:
            request.respond(b"")
        await asyncio.gather(*waiting)


async def the_requester_bounds_what_it_sends(ground: Ground) -> None:
    one = await ground.open("one")
    two = await ground.open("two", BusLimits(open_requests=100))
    held: list[Request] = []
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    waiting = [asyncio.ensure_future(one.request("hold", b"", 5000)) for _ in range(8)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await one.request("hold", b"", 5000)
    await until(lambda: len(held) == 8)
    for request in held:
        request.respond(b"")
    await asyncio.gather(*waiting)
    assert len(held) == 8


async def the_server_bounds_what_timed_out_at_the_requester(ground: Ground) -> None:
    one, two = await pair(ground)
    held: list[Request] = []
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    timeouts = [one.request("hold", b"", 30) for _ in range(8)]
    outcomes = await asyncio.gather(*timeouts, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {RequestTimeout}
    with pytest.raises(Overloaded):
        await one.request("hold", b"", 5000)
    assert len(held) == 8


async def a_full_queue_is_a_definite_no_at_once(ground: Ground) -> None:
    one, two = await pair(ground)
    two.subscribe("n", lambda batch: None)
    two.serve("s", each(lambda request: request.respond(b"")))
    assert await one.wait_for_server("s", 5000)
    await until(lambda: one.interested("n"))
    for _ in range(100):
        one.publish("n", bytes(64 * 1024))
    with pytest.raises(Overloaded):
        await one.request("s", bytes(64 * 1024), 5000)
    await until(lambda: one.statistics()["unsent_bytes"] == 0)
    assert await one.request("s", bytes(64 * 1024), 5000) == b""


async def a_lost_peer_leaves_the_outcome_unknown_and_returns_with_a_gap(ground: Ground) -> None:
    one, two = await pair(ground)
    inbox, seen = Inbox(), list[tuple[str, bool]]()
    one.subscribe("news.*", inbox.take, inbox.gap)
    one.on_peer(lambda name, connected: seen.append((name, connected)))
    held: list[Request] = []
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    await until(lambda: two.interested("news.a"))
    two.publish("news.a", b"1")
    answer = asyncio.ensure_future(one.request("hold", b"", 5000))
    await until(lambda: bool(held) and bool(inbox.payloads))
    await ground.crash(two)
    with pytest.raises(PeerLost):
        await answer
    with pytest.raises(NoServer):
        await one.request("hold", b"", 5000)
    assert one.peers() == frozenset()
    fresh = Inbox()
    one.subscribe("news.*", fresh.take, fresh.gap)
    returned = await ground.open("two")
    await until(lambda: one.peers() == {"two"} and returned.interested("news.a"))
    returned.publish("news.a", b"2")
    await until(lambda: inbox.payloads == [b"1", b"2"])
    assert inbox.items[1] == Gap("two", "news.*", UNKNOWN_LOSS)
    assert fresh.gaps == []  # made after the loss, so it has missed nothing
    assert seen == [("two", False), ("two", True)]
    held[0].respond(b"nobody waits")


async def a_request_never_handed_over_is_a_definite_no(ground: Ground) -> None:
    one, two = await pair(ground)
    two.serve("hold", lambda batch: None)
    assert await one.wait_for_server("hold", 5000)
    answer = asyncio.ensure_future(one.request("hold", b"", 5000))
    await asyncio.sleep(0)  # queued, but the flush has not come
    await ground.crash(one)
    with pytest.raises(NoServer):
        await answer


async def a_successor_takes_the_name_of_a_living_process(ground: Ground) -> None:
    one, two = await pair(ground)
    two.serve("who", each(lambda request: request.respond(b"old")))
    assert await one.wait_for_server("who", 5000)
    successor = await ground.open("two")
    successor.serve("who", each(lambda request: request.respond(b"new")))
    await until(lambda: successor.peers() == {"one"} and not two.peers())
    assert await one.wait_for_server("who", 5000)
    assert await one.request("who", b"", 5000) == b"new"
    assert one.peers() == {"two"}


async def many_processes_find_each_other(ground: Ground) -> None:
    names = [f"worker-{number}" for number in range(6)]
    buses = await asyncio.gather(*(ground.open(name) for name in names))
    await until(lambda: all(len(bus.peers()) == 5 for bus in buses))
    inboxes = [Inbox() for _ in buses]
    for bus, inbox in zip(buses, inboxes, strict=True):
        bus.subscribe("all", inbox.take)
    await until(lambda: all(bus.statistics()["interests"] == 5 for bus in buses))
    for bus in buses:
        bus.publish("all", bus.name.encode())
    await until(lambda: all(len(inbox.items) == 6 for inbox in inboxes))
    assert all(sorted(i.payloads) == sorted(n.encode() for n in names) for i in inboxes)


async def a_failing_handler_hurts_nobody_else(ground: Ground) -> None:
    one, two = await pair(ground)
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))

    def fail(batch: list[Message] | list[Request]) -> None:
        raise RuntimeError("broken handler")

    inbox = Inbox()
    two.subscribe("a", fail)
    two.subscribe("a", inbox.take)
    two.serve("s", fail)
    assert await one.wait_for_server("s", 5000)
    await until(lambda: one.interested("a"))
    one.publish("a", b"x")
    with pytest.raises(RequestRefused, match="handler failed"):
        await one.request("s", b"", 5000)
    assert inbox.payloads == [b"x"]
    assert len(failures) == 2
    assert one.peers() == {"two"}


async def misuse_is_refused(ground: Ground) -> None:
    one = await ground.open("one")
    for subject in ("", ".", "a..b", "a.*", "a.>", "a b", "ä", "a" * 256):
        with pytest.raises(InvalidSubject):
            one.publish(subject, b"")
        with pytest.raises(InvalidSubject):
            await one.request(subject, b"", 100)
    for pattern in ("", "a.>.b", "a.b>", "a*"):
        with pytest.raises(InvalidSubject):
            one.subscribe(pattern, lambda batch: None)
    with pytest.raises(MessageTooLarge):
        one.publish("a", bytes(512 * 1024 + 1))
    with pytest.raises(MessageTooLarge):
        await one.request("a", bytes(512 * 1024 + 1), 100)
    one.serve("s", lambda batch: None)
    with pytest.raises(BusError):
        one.serve("s", lambda batch: None)


async def closing_sends_what_is_queued_and_ends_what_waits(ground: Ground) -> None:
    one, two = await pair(ground)
    inbox, held = Inbox(), list[Request]()
    two.subscribe("n", inbox.take)
    two.serve("hold", held.extend)
    assert await one.wait_for_server("hold", 5000)
    await until(lambda: one.interested("n"))
    answer = asyncio.ensure_future(one.request("hold", b"", 5000))
    waiting = asyncio.ensure_future(one.wait_for_server("nobody", 60_000))
    for _ in range(16):
        one.publish("n", bytes(64 * 1024))
    await until(lambda: bool(held))
    await one.close()
    with pytest.raises(PeerLost):
        await answer
    assert not await waiting
    await until(lambda: len(inbox.items) == 16 and not two.peers())
    with pytest.raises(BusClosed):
        one.publish("n", b"")
    await one.close()


SCENARIOS: list[Scenario] = [
    value
    for value in list(globals().values())
    if asyncio.iscoroutinefunction(value) and value not in (until, pair)
]
