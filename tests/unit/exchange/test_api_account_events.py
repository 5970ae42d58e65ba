"""An account's channel: complete, in order, each event once; or the listeners are sent away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import msgspec

from madang.bus import Bus, MemoryHub, Request, memory_bus_hub
from madang.core.clock import SystemClock
from madang.core.ids import Kind, from_uuid, new_request_id
from madang.exchange import engine as engines
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.directory import DirectoryReplica
from madang.exchange.engine.port import Engine
from madang.exchange.stream.account_events import AccountEventsHub
from madang.exchange.venue.answers import messages, split_events
from madang.exchange.venue.directory import directory_page
from madang.hub import Connection, Hub
from madang.wire.batch import encode_batch
from madang.wire.codes import OrderType, Side, TimeInForce
from madang.wire.commands import (
    InstrumentTerms,
    OrderTerms,
    encode_create_account,
    encode_new_order,
    encode_set_instrument,
    encode_transfer,
)

LIMIT_S = 5.0
ACCOUNT = 1


class Market:
    """A real engine; `place` makes one ORDER event, which the ledger's part keeps for ever."""

    def __init__(self, hub: MemoryHub) -> None:
        self.hub = hub
        self.engine: Engine = engines.create("python")
        self.events: list[bytes] = []
        self.complete = True
        self.slow = False
        self.asked: list[Request] = []
        self.venue = self.open_venue()
        self.ledger = hub.open("ledger")
        self.ledger.serve("ledger.query", self._query)
        self.apply(encode_set_instrument(new_request_id(), InstrumentTerms(b"AAPL")))
        self.apply(encode_create_account(new_request_id(), b"ann"))
        self.apply(encode_transfer(ACCOUNT, new_request_id(), 0, 10**12))

    def open_venue(self) -> Bus:
        bus = self.hub.open("venue")
        bus.serve("venue.committed", self._committed)
        bus.serve("venue.directory", self._directory)
        return bus

    def _committed(self, requests: list[Request]) -> None:
        for request in requests:
            request.respond(bytes(16))

    def _directory(self, requests: list[Request]) -> None:
        for request in requests:
            page = directory_page(self.engine, request.payload)
            assert page is not None
            request.respond(page)

    def _query(self, requests: list[Request]) -> None:
        self.asked += requests
        if not self.slow:
            self.answer()

    def answer(self) -> None:
        """Answer what was asked, as of this moment."""
        asked, self.asked = self.asked, []
        for request in asked:
            query = msgspec.msgpack.decode(request.payload)
            found = [e for e in self.events if event_id(e) > query["after"]][: query["limit"]]
            last = event_id(self.events[-1]) if self.events else 0
            answer = {"complete": self.complete, "events": found, "last": last}
            request.respond(msgspec.msgpack.encode(answer))

    def apply(self, command: bytes) -> list[bytes]:
        batch = encode_batch(
            command,
            1,
            term=1,
            sequence=self.engine.sequence + 1,
            now_ns=self.engine.now_ns + 1,
            rules_version=1,
        )
        orders = split_events(self.engine.apply(batch), lambda _: True).orders
        self.events += orders.get(ACCOUNT, [])
        return orders.get(ACCOUNT, [])

    def place(self, *, publish: bool = True) -> int:
        """Place an order and return its event's id."""
        terms = OrderTerms(
            instrument=1,
            side=Side.BUY,
            type=OrderType.LIMIT,
            time_in_force=TimeInForce.DAY,
            quantity=10**9,
            limit_price=10_000,
        )
        name = new_request_id().hex().encode()
        (event,) = self.apply(encode_new_order(ACCOUNT, new_request_id(), terms, name))
        if publish:
            self.venue.publish(f"venue.events.{ACCOUNT}", event)
        return event_id(event)

    async def restart_venue(self, *, meanwhile: int) -> list[int]:
        """End the venue and start it again; return the ids of events that nobody was told of."""
        await self.venue.close()
        missed = [self.place(publish=False) for _ in range(meanwhile)]
        self.venue = self.open_venue()
        return missed


def event_id(record: bytes) -> int:
    return int.from_bytes(record[24:32], "little")


class Link:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writable = True
        self.data = bytearray()
        self._read = 0
        self._ids: list[int] = []
        self.closed_with: int | None = None

    def write(self, data: bytes) -> None:
        self.data += data

    def begin_close(self, code: int, reason: str) -> None:
        self.closed_with = code

    def event_ids(self) -> list[int]:
        """Return the event ids of the messages written so far."""
        data = self.data
        while self._read < len(data):
            at = self._read
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            message = json.loads(data[start : start + size])
            number = from_uuid(Kind.EXECUTION, message["data"]["execution_id"])
            assert number is not None
            self._ids.append(number)
            self._read = start + size
        return self._ids


class Listener:
    """A connection that listens to the account."""

    def __init__(self, hub: Hub, events: AccountEventsHub) -> None:
        self.link = Link()
        self.ready = asyncio.Event()
        self.connection: Connection = hub.connect("test", self.link)
        events.join(ACCOUNT, self.connection, self.ready.set)

    async def until(self, ids: list[int]) -> None:
        """Wait until exactly these events were heard."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while self.link.event_ids() != ids:
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(f"heard {self.link.event_ids()}, expected {ids}") from None


Work = Callable[[Market, Hub, AccountEventsHub], Awaitable[None]]


def run(work: Work) -> None:
    async def main() -> None:
        bus_hub = memory_bus_hub()
        market = Market(bus_hub)
        bus = bus_hub.open("worker")
        replica = DirectoryReplica(bus)
        await replica.start()
        hub = Hub()
        events = AccountEventsHub(bus, hub, LedgerClient(bus, SystemClock()), replica)
        async with asyncio.timeout(LIMIT_S * 3):
            await work(market, hub, events)
        events.close()
        await replica.close()

    asyncio.run(main())


def test_every_event_after_the_beginning_arrives_in_order() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        market.place()
        one = Listener(hub, events)
        await one.ready.wait()
        first = [market.place() for _ in range(3)]
        await one.until(first)
        two = Listener(hub, events)
        await two.ready.wait()
        second = [market.place() for _ in range(3)]
        await one.until(first + second)
        await two.until(second)

    run(work)


def test_what_the_venue_could_not_say_before_it_died_is_recovered() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        listener = Listener(hub, events)
        await listener.ready.wait()
        told = [market.place() for _ in range(3)]
        await listener.until(told)
        told += await market.restart_venue(meanwhile=1_200)
        await listener.until(told)
        told += [market.place() for _ in range(3)]
        await listener.until(told)
        assert listener.link.closed_with is None

    run(work)


def test_thousands_of_events_at_once_do_not_make_a_listener_slow() -> None:
    """As when an account with many orders is disabled, or its day ends."""

    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        listener = Listener(hub, events)
        await listener.ready.wait()
        told = [market.place(publish=False) for _ in range(2_000)]
        for message in messages(market.events):
            market.venue.publish(f"venue.events.{ACCOUNT}", message)
        told.append(market.place())
        await listener.until(told)
        assert listener.link.closed_with is None

    run(work)


def test_a_gap_before_the_first_event_is_recovered_too() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        market.place()
        listener = Listener(hub, events)
        await listener.ready.wait()
        missed = await market.restart_venue(meanwhile=2)
        await listener.until(missed)

    run(work)


def test_an_event_from_before_the_beginning_is_not_told() -> None:
    """The ledger tells of it before the venue's own message arrives, which may take long."""

    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        market.slow = True
        listener = Listener(hub, events)
        async with asyncio.timeout(LIMIT_S):
            while not market.asked:
                await asyncio.sleep(0.001)
        market.place(publish=False)
        market.answer()
        await listener.ready.wait()
        market.venue.publish(f"venue.events.{ACCOUNT}", market.events[-1])
        await listener.until([market.place()])

    run(work)


def test_where_events_cannot_be_complete_the_listeners_are_sent_away() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        listener = Listener(hub, events)
        await listener.ready.wait()
        told = [market.place()]
        await listener.until(told)
        market.complete = False
        await market.restart_venue(meanwhile=2)
        async with asyncio.timeout(LIMIT_S):
            while listener.link.closed_with is None:
                await asyncio.sleep(0.001)
        assert 4000 <= listener.link.closed_with < 4500, "it may come back"
        assert listener.link.event_ids() == told
        market.complete = True
        again = Listener(hub, events)
        await again.ready.wait()
        await again.until([])
        await again.until([market.place()])

    run(work)


def test_an_account_that_nobody_listens_to_is_let_go() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        listener = Listener(hub, events)
        await listener.ready.wait()
        subject = f"venue.events.{ACCOUNT}"
        assert market.venue.interested(subject)
        hub.disconnect(listener.connection)
        events.part(ACCOUNT, listener.connection)
        async with asyncio.timeout(LIMIT_S):
            while market.venue.interested(subject):
                await asyncio.sleep(0.001)
        assert hub.statistics()["channels"] == 0

    run(work)


def test_who_leaves_before_it_begins_is_forgotten() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        listener = Listener(hub, events)
        hub.disconnect(listener.connection)
        events.part(ACCOUNT, listener.connection)
        async with asyncio.timeout(LIMIT_S):
            while hub.statistics()["channels"]:
                await asyncio.sleep(0.001)
        assert not listener.ready.is_set()

    run(work)


def test_an_account_that_lost_events_while_it_is_kept_begins_anew() -> None:
    """As when the venue dies in the middle of a hand-over."""

    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        listener = Listener(hub, events)
        await listener.ready.wait()
        assert events.keep() == [f"orders.{ACCOUNT}"]
        market.complete = False
        await market.restart_venue(meanwhile=2)
        async with asyncio.timeout(LIMIT_S):
            while listener.link.closed_with is None:
                await asyncio.sleep(0.001)
        market.complete = True
        again = Listener(hub, events)
        async with asyncio.timeout(LIMIT_S):
            await again.ready.wait()
        await again.until([market.place()])
        hub.disconnect(again.connection)
        events.part(ACCOUNT, again.connection)
        assert hub.statistics()["channels"] == 1, "it is kept"
        events.let_go()
        assert hub.statistics()["channels"] == 0

    run(work)


def test_what_is_kept_and_cannot_go_on_is_let_go_though_nobody_listens() -> None:
    async def work(market: Market, hub: Hub, events: AccountEventsHub) -> None:
        await events.warm([ACCOUNT])
        market.complete = False
        await market.restart_venue(meanwhile=2)
        async with asyncio.timeout(LIMIT_S):
            while hub.statistics()["channels"]:
                await asyncio.sleep(0.001)

    run(work)
