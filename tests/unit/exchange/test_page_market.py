"""What pages are told of a symbol: nothing left out, nothing twice, over again after any loss."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from madang.bus import Bus, Request, memory_bus_hub
from madang.core.clock import SystemClock
from madang.core.ids import new_request_id
from madang.exchange.api.ledger_client import LedgerClient
from madang.exchange.directory import DirectoryReplica
from madang.exchange.engine.python import PythonEngine
from madang.exchange.feed.days import HOUR_NS, Days
from madang.exchange.feed.depth import checksum
from madang.exchange.stream.page_health import PageHealth
from madang.exchange.stream.page_market import SUBJECTS, PageMarket
from madang.hub import Connection, Hub, HubSettings
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import PRICE_SCALE, QUANTITY_SCALE
from tests.support.wire import Wire, join

BEGIN_NS = 20_779 * 24 * HOUR_NS
LIMIT_S = 5.0
SHARE = QUANTITY_SCALE
Said = dict[str, Any]


def kim() -> bytes:
    """Return the INSTRUMENT record of a symbol."""
    engine = PythonEngine()
    terms = commands.encode_set_instrument(new_request_id(), commands.InstrumentTerms(b"KIM"))
    engine.apply(encode_batch(terms, 1, term=1, sequence=1, now_ns=BEGIN_NS, rules_version=1))
    return engine.instruments()


class Floor:
    """A worker's page market over a bus in memory; the test speaks for feed, ledger and venue."""

    def __init__(self) -> None:
        buses = memory_bus_hub()
        self.feed, self.ledger = buses.open("feed"), buses.open("ledger")
        self.venue, self.bus = buses.open("venue"), buses.open("worker-0")
        self.trades: list[list[int]] = []
        self.sequence = 1
        self.bids: list[tuple[int, int]] = []
        self.held: list[Request] | None = None
        self.loads = 0
        self.feed.serve("feed.query", self._answer_feed)
        self.ledger.serve("ledger.query", self._answer_ledger)
        self.hub = Hub(HubSettings())
        replica = DirectoryReplica(self.bus)
        replica.directory.apply(kim())
        ledger = LedgerClient(self.bus, SystemClock())
        self.market = PageMarket(self.bus, self.hub, ledger, replica, Days("UTC"))
        self.health = PageHealth(self.bus, self.hub)

    def _answer_feed(self, requests: list[Request]) -> None:
        for request in requests:
            kind = msgspec.msgpack.decode(request.payload)["kind"]
            book = {"symbol": "KIM", "sequence": self.sequence, "bids": self.bids, "asks": []}
            depth = {"sequence": self.sequence, "now_ns": 0, "bids": self.bids, "asks": []}
            answers: dict[str, object] = {"book": book, "depth": depth}
            self.loads += kind == "depth"
            request.respond(msgspec.msgpack.encode(answers.get(kind, {})))

    def _answer_ledger(self, requests: list[Request]) -> None:
        for request in requests:
            if self.held is None:
                self.answer(request)
            else:
                self.held.append(request)

    def answer(self, request: Request) -> None:
        """Answer as of the trades that the ledger has by now."""
        if msgspec.msgpack.decode(request.payload)["kind"] == "market_trades":
            rows = [[1, *fields] for fields in reversed(self.trades)]
            answer: dict[str, Any] = {"rows": rows, "next": None}
        else:
            last = self.trades[-1] if self.trades else None
            volume = sum(fields[2] for fields in self.trades)
            price = last[1] if last else 0
            day = [BEGIN_NS, price, price, price, price, str(volume), len(self.trades), "1"]
            row = [last, None, day, day, None] if last else [None] * 5
            answer = {"latest": {1: row}}
        request.respond(msgspec.msgpack.encode(answer))

    def trade(self, trade_id: int, *, told: bool = True) -> None:
        """Let a trade happen; `told` publishes it."""
        fields = [trade_id, 50 * PRICE_SCALE, SHARE, 1, BEGIN_NS + trade_id]
        self.trades.append(fields)
        if told:
            self.publish("trades", {"trades": [fields]})

    def move(self, price: int, *, told: bool = True) -> None:
        """Let a bid come to the book; `told` publishes the change."""
        level = (price * PRICE_SCALE, SHARE)
        self.bids.append(level)
        previous, self.sequence = self.sequence, self.sequence + 3
        if told:
            check = checksum(sorted(self.bids, reverse=True), [])
            delta = [previous, self.sequence, BEGIN_NS, [level], [], check]
            self.publish("depth", {"delta": delta})

    def publish(self, what: str, fields: dict[str, object]) -> None:
        payload = msgspec.msgpack.encode({"symbol": "KIM", **fields})
        self.feed.publish(f"market.{what}.KIM", payload)

    def open(self) -> tuple[Wire, Connection]:
        wire, connection = join(self.hub)
        assert self.market.join("KIM", connection)
        return wire, connection

    async def interested(self) -> None:
        """Return when the feed knows the subscriptions."""
        while not all(self.feed.interested(f"market.{what}.KIM") for what in SUBJECTS):
            await asyncio.sleep(0)

    async def close(self) -> None:
        self.market.close()
        self.health.close()
        for bus in (self.feed, self.ledger, self.venue, self.bus):
            await bus.close()


def on_the_floor(work: Callable[[Floor], Awaitable[None]]) -> None:
    async def main() -> None:
        floor = Floor()
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(floor)
        finally:
            await floor.close()

    asyncio.run(main())


async def said(wire: Wire, kind: str, count: int) -> list[Said]:
    """Return what was said of a kind, once there are at least `count` of it."""
    while True:
        found = [msgspec.json.decode(text) for text in wire.messages()]
        wanted = [message for message in found if message["type"] == kind]
        if len(wanted) >= count:
            return wanted
        await asyncio.sleep(0.005)


def ids(message: Said) -> list[int]:
    return [trade["id"] for trade in message["trades"]]


def test_trades_that_come_while_the_symbol_is_loaded_are_told_once_and_in_order() -> None:
    async def work(floor: Floor) -> None:
        floor.trade(1)
        floor.held = []
        wire, _ = floor.open()
        await floor.interested()
        while not floor.held:
            await asyncio.sleep(0)
        floor.trade(2)
        held, floor.held = floor.held, None
        for request in held:
            floor.answer(request)
        floor.trade(4)
        told = await said(wire, "trades", 2)
        assert [(message["whole"], ids(message)) for message in told] == [
            (True, [1, 2]),
            (False, [4]),
        ]
        day = (await said(wire, "day", 2))[-1]
        assert (day["trade"], day["trades"], day["volume"]) == (4, 3, "3")

    on_the_floor(work)


def test_a_change_that_does_not_lead_on_has_all_of_it_told_anew() -> None:
    async def work(floor: Floor) -> None:
        floor.move(48)
        wire, _ = floor.open()
        (first,) = await said(wire, "book", 1)
        assert first["bids"] == [["48", "1"]]
        floor.move(49)
        (change,) = await said(wire, "change", 1)
        assert (change["previous"], change["bids"]) == (first["sequence"], [["49", "1"]])
        floor.move(47, told=False)
        floor.trade(1, told=False)
        floor.move(46)
        books = await said(wire, "book", 2)
        assert [price for price, _ in books[-1]["bids"]] == ["49", "48", "47", "46"]
        assert ids((await said(wire, "trades", 2))[-1]) == [1]
        assert len(await said(wire, "change", 1)) == 1

    on_the_floor(work)


def test_who_comes_later_gets_all_of_it_without_another_question() -> None:
    async def work(floor: Floor) -> None:
        first, _ = floor.open()
        await said(first, "book", 1)
        floor.trade(1)
        floor.move(48)
        await said(first, "change", 1)
        await said(first, "trades", 2)
        late, connection = floor.open()
        assert ids((await said(late, "trades", 1))[0]) == [1]
        assert (await said(late, "book", 1))[0]["bids"] == [["48", "1"]]
        assert floor.loads == 1
        floor.market.part("KIM", connection)
        floor.trade(2)
        await said(first, "trades", 3)
        assert len(await said(late, "trades", 1)) == 1

    on_the_floor(work)


def test_a_symbol_that_nobody_lists_is_no_market() -> None:
    async def work(floor: Floor) -> None:
        _, connection = join(floor.hub)
        assert not floor.market.join("LEE", connection)

    on_the_floor(work)


def test_the_venue_is_away_when_it_does_not_answer_and_back_when_it_does() -> None:
    async def work(floor: Floor) -> None:
        wire, connection = join(floor.hub)
        floor.health.join(connection)
        await healthy(wire, venue=False)
        serving: Bus = floor.venue

        def answer(requests: list[Request]) -> None:
            for request in requests:
                request.respond(b"\0" * 16)

        serving.serve("venue.committed", answer)
        await healthy(wire, venue=True)
        await serving.close()
        await healthy(wire, venue=False)

    on_the_floor(work)


async def healthy(wire: Wire, *, venue: bool) -> None:
    """Return when that was said last, with the feed there."""
    wanted = {"type": "health", "venue": venue, "feed": True}
    while (await said(wire, "health", 1))[-1] != wanted:
        await asyncio.sleep(0.005)
