"""What the feed publishes: quotes, bars that begin with what the ledger knows, books as deltas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from madang.bus import Bus, Message, Request, memory_bus_hub
from madang.core.ids import new_request_id
from madang.exchange.engine.python import PythonEngine
from madang.exchange.feed.bars import Bar
from madang.exchange.feed.days import HOUR_NS, MINUTE_NS, SECOND_NS, Days
from madang.exchange.feed.market import Market as FeedMarket
from madang.exchange.feed.process import BAR_DELAY_NS, Feed
from madang.wire import commands
from madang.wire.batch import encode_batch
from madang.wire.codes import CASH_SCALE, PRICE_SCALE, QUANTITY_SCALE, OrderType, Side, TimeInForce

BEGIN_NS = 20_779 * 24 * HOUR_NS
LIMIT_S = 5.0


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time_ns = BEGIN_NS

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


class Floor:
    """A feed over a real engine, a bus in memory, and a listener to everything it says."""

    def __init__(self, latest: dict[int, list[Any]]) -> None:
        hub = memory_bus_hub()
        self.bus: Bus = hub.open("feed")
        self.listener: Bus = hub.open("worker-0")
        self.ledger: Bus = hub.open("ledger")
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.listener.subscribe("market.>", self._hear)
        self.latest = latest
        self.ledger.serve("ledger.query", self._answer)
        self.clock = HandClock()
        self.engine = PythonEngine()
        self.feed = Feed(self.bus, FeedMarket(), Days("UTC"), self.clock)
        self._orders = 0
        self.apply(
            commands.encode_set_instrument(new_request_id(), commands.InstrumentTerms(b"KIM")),
            *(commands.encode_create_account(new_request_id(), name) for name in (b"a", b"b")),
            *(
                commands.encode_transfer(number, new_request_id(), instrument, 10**6 * amount)
                for number in (1, 2)
                for instrument, amount in ((0, CASH_SCALE), (1, QUANTITY_SCALE))
            ),
        )

    def _hear(self, messages: list[Message]) -> None:
        self.heard += [(m.subject, msgspec.msgpack.decode(m.payload)) for m in messages]

    def _answer(self, requests: list[Request]) -> None:
        for request in requests:
            request.respond(msgspec.msgpack.encode({"latest": self.latest}))

    def apply(self, *records: bytes) -> None:
        batch = encode_batch(
            b"".join(records), len(records), term=1, sequence=self.engine.sequence + 1,
            now_ns=max(self.clock.time_ns, self.engine.now_ns + 1), rules_version=1,
        )  # fmt: skip
        self.feed.on_events(self.engine, self.engine.apply(batch))

    def order(self, account: int, side: Side, shares: int, price: int) -> None:
        self._orders += 1
        terms = commands.OrderTerms(
            instrument=1, side=side, type=OrderType.LIMIT, time_in_force=TimeInForce.DAY,
            quantity=shares * QUANTITY_SCALE, limit_price=price * PRICE_SCALE,
        )  # fmt: skip
        text = b"order-%d" % self._orders
        self.apply(commands.encode_new_order(account, new_request_id(), terms, text))

    def deal(self, price: int) -> None:
        self.order(1, Side.SELL, 1, price)
        self.order(2, Side.BUY, 1, price)

    async def said(self, what: str) -> list[dict[str, Any]]:
        """Return what was said on a subject, once the bus is quiet."""
        await asyncio.sleep(0.02)
        return [data for subject, data in self.heard if subject == f"market.{what}.KIM"]

    async def close(self) -> None:
        for bus in (self.bus, self.listener, self.ledger):
            await bus.close()


def on_the_floor(
    work: Callable[[Floor], Awaitable[None]], latest: dict[int, list[Any]] | None = None
) -> None:
    async def main() -> None:
        floor = Floor(latest or {})
        async with asyncio.timeout(LIMIT_S):
            while not floor.bus.interested("market.quotes.KIM"):
                await asyncio.sleep(0)
        floor.feed.go_live(floor.engine)
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(floor)
        finally:
            await floor.close()

    asyncio.run(main())


def test_quotes_are_the_changes_of_the_best_prices() -> None:
    async def work(floor: Floor) -> None:
        floor.order(1, Side.SELL, 3, 50)
        floor.order(1, Side.SELL, 3, 51)
        floor.order(2, Side.BUY, 2, 49)
        quotes = [data["quote"][1:] for data in await floor.said("quotes")]
        share, unit = QUANTITY_SCALE, PRICE_SCALE
        assert quotes == [
            [0, 0, 50 * unit, 3 * share],
            [49 * unit, 2 * share, 50 * unit, 3 * share],
        ]

    on_the_floor(work)


def test_bars_are_told_when_over_and_corrected_when_late() -> None:
    async def work(floor: Floor) -> None:
        await floor.feed.load_bars()
        floor.deal(50)
        floor.deal(52)
        floor.feed.tell_bars()
        assert await floor.said("bars") == []
        floor.clock.time_ns += MINUTE_NS + BAR_DELAY_NS
        floor.feed.tell_bars()
        bars = await floor.said("bars")
        assert [(data["kind"], data["bar"][6]) for data in bars] == [("b", 2), ("d", 2)]
        unit = PRICE_SCALE
        assert bars[0]["bar"][:5] == [BEGIN_NS, 50 * unit, 52 * unit, 50 * unit, 52 * unit]
        floor.clock.time_ns = BEGIN_NS + MINUTE_NS - SECOND_NS
        floor.deal(49)
        floor.clock.time_ns += MINUTE_NS
        floor.feed.tell_bars()
        later = (await floor.said("bars"))[2:]
        assert [(data["kind"], data["bar"][6]) for data in later] == [("u", 3), ("d", 3)]

    on_the_floor(work)


def test_a_feed_that_starts_again_goes_on_from_what_the_ledger_knows() -> None:
    day = Bar(BEGIN_NS - 24 * HOUR_NS, 1, 9, 1, 5, 100, 7, 700)
    today = Bar(BEGIN_NS, 40, 60, 30, 50, 10**20, 9, 10**30)

    def fields(bar: Bar) -> list[Any]:
        return [*bar[:5], str(bar.volume), bar.trades, str(bar.value)]

    last = [0, 1, 1, 1, BEGIN_NS]
    latest = {1: [last, None, fields(today), fields(today), fields(day)]}

    async def work(floor: Floor) -> None:
        loading = asyncio.create_task(floor.feed.load_bars())
        await asyncio.sleep(0)
        floor.deal(77)  # after the question, before the answer: held and counted then
        await loading
        floor.clock.time_ns += MINUTE_NS + BAR_DELAY_NS
        floor.feed.tell_bars()
        bars = await floor.said("bars")
        assert [data["bar"][6] for data in bars] == [10, 10]
        assert [data["bar"][5] for data in bars] == [str(10**20 + QUANTITY_SCALE)] * 2

    on_the_floor(work, latest)


def test_a_followed_book_comes_as_deltas_that_lead_on() -> None:
    async def work(floor: Floor) -> None:
        floor.order(1, Side.SELL, 3, 50)
        first = floor.feed.depth(floor.engine, "KIM")
        assert first is not None
        for price in (51, 52):
            floor.order(1, Side.SELL, 1, price)
            floor.feed.publish_depths(floor.engine)
        floor.feed.publish_depths(floor.engine)
        deltas = [data["delta"] for data in await floor.said("depth")]
        assert [delta[0] for delta in deltas] == [first["sequence"], deltas[0][1]]
        assert floor.feed.depth(floor.engine, "NONE") is None

    on_the_floor(work)
