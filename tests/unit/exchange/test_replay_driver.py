"""Driving a venue with a replay: many commands under way, in the order of the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from madang.bus import Bus, Request, memory_bus_hub
from madang.exchange.engine import create
from madang.exchange.engine.port import Engine
from madang.exchange.gateway import OrderGateway
from madang.exchange.replay.bitstamp import Action, BitstampEvent
from madang.exchange.replay.client import ReplayAccounts, apply_one, drive, set_up
from madang.exchange.replay.recording import OrderEvents
from madang.exchange.replay.venue import IN_ORDER, Found, Pacer, Playing, VenueDriver
from madang.exchange.subjects import COMMANDS, events_subject
from madang.exchange.venue.answers import split_events
from madang.wire.batch import encode_batch
from madang.wire.codes import QUANTITY_SCALE, OrderType, Side, TimeInForce
from madang.wire.commands import (
    InstrumentTerms,
    OrderTerms,
    encode_create_account,
    encode_new_order,
    encode_transfer,
    split_commands,
)
from madang.wire.events import RECORD_HEADER_BYTES
from madang.wire.records import parse_instrument

LIMIT_S = 10.0
TERMS = InstrumentTerms(b"BOOK", tick=1, reference_price=1_000_000, collar_bps=5_000)
ANSWER_TURNS = 3
"""The venue of these tests answers after so many turns of the loop, as a disk would have it."""


class VenueOnBus:
    """An engine that serves `venue.commands`; `before` is called with the number of commands."""

    def __init__(self, bus: Bus) -> None:
        self.engine: Engine = create("python")
        for _ in range(3):  # so that the replay's accounts and the shadow's are not the same
            apply_one(self.engine, encode_create_account(bytes(16), b"other%d" % _))
        apply_one(self.engine, encode_transfer(1, bytes(16), 0, 10**15))
        self.accounts: ReplayAccounts = drive(self.engine, set_up(TERMS, 4))
        apply_one(self.engine, encode_transfer(1, bytes(16), self.accounts.instrument, 10**15))
        self.before: Callable[[int], None] = lambda _: None
        self.commands = 0
        self.requests_max = 0
        self._under_way = 0
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()
        bus.serve(COMMANDS, self._on_requests)

    def found(self) -> Found:
        instrument = parse_instrument(self.engine.instruments(), RECORD_HEADER_BYTES)
        return Found(self.accounts, instrument, True)

    def _on_requests(self, requests: list[Request]) -> None:
        for request in requests:
            self._under_way += 1
            self.requests_max = max(self.requests_max, self._under_way)
            task = asyncio.create_task(self._answer(request))
            self._tasks.add(task)

    async def _answer(self, request: Request) -> None:
        for _ in range(ANSWER_TURNS):
            await asyncio.sleep(0)
        answer = b""
        for command in split_commands(request.payload):
            self.before(self.commands)
            self.commands += 1
            answer += self.apply(command)
        self._under_way -= 1
        request.respond(answer)

    def apply(self, command: bytes) -> bytes:
        engine = self.engine
        events = engine.apply(
            encode_batch(
                command, 1, term=1, sequence=engine.sequence + 1, now_ns=engine.now_ns + 1,
                rules_version=1,
            )
        )  # fmt: skip
        deliveries = split_events(events, lambda _: True)
        for account, records in deliveries.orders.items():
            self._bus.publish(events_subject(account), b"".join(records))
        return b"".join(deliveries.results)


def flow(count: int) -> list[BitstampEvent]:
    """Return orders that come, shrink, trade and go; each is changed soon after it came."""
    rows: list[BitstampEvent] = []
    for number in range(1, count + 1):
        side = Side.BUY if number % 2 else Side.SELL
        crosses = number % 5 == 0
        price = 1_000_000 + (number % 7) * 100 * (-1 if side == Side.BUY else 1)
        price += 1_000 * (1 if side == Side.BUY else -1) * crosses
        size = (number % 9 + 2) * QUANTITY_SCALE
        rows.append(BitstampEvent(number, number, price, size, Action.CREATED, side))
        if number % 3 == 0:
            rows.append(BitstampEvent(number, number, price, size // 2, Action.CHANGED, side))
        if number > 4 and number % 2 == 0:
            rows.append(BitstampEvent(number - 4, number, price, 0, Action.DELETED, side))
    return rows


class Run:
    """A replay of `rows` on a venue of its own."""

    def __init__(self, rows: list[BitstampEvent]) -> None:
        self.recording = OrderEvents(rows)

    def go(self, *, alone: bool = True, foreign_at: int = -1, stop_at: int = -1) -> Run:
        asyncio.run(asyncio.wait_for(self._go(alone, foreign_at, stop_at), LIMIT_S))
        return self

    async def _go(self, alone: bool, foreign_at: int, stop_at: int) -> None:
        hub = memory_bus_hub()
        self.venue = VenueOnBus(hub.open("venue"))
        bus = hub.open("replay")
        assert await bus.wait_for_server(COMMANDS, 1_000)
        gateway = OrderGateway(bus, IN_ORDER)
        found = self.venue.found()
        self.driver = VenueDriver(bus, gateway, found, alone=alone)
        self.playing = Playing(self.recording, self.driver, 0)

        def before(number: int) -> None:
            if number == foreign_at:
                terms = OrderTerms(
                    instrument=self.venue.accounts.instrument, side=Side.SELL,
                    type=OrderType.LIMIT, time_in_force=TimeInForce.GTC,
                    quantity=5 * QUANTITY_SCALE, limit_price=900_000,
                )  # fmt: skip
                self.venue.apply(encode_new_order(1, bytes(16), terms, b"foreign"))
            if number == stop_at:
                self.playing.stop()

        self.venue.before = before
        await self.playing.play(found)
        self.driver.close()

    def book(self) -> bytes:
        return self.venue.engine.depth(self.venue.accounts.instrument, 100)


def test_many_under_way_make_what_one_at_a_time_makes() -> None:
    rows = flow(400)
    together, single = Run(rows).go(), Run(rows).go(alone=False)
    assert together.driver.alone
    assert together.book() == single.book() != b""
    assert together.recording.levels() == single.recording.levels()
    assert together.recording.summary() == single.recording.summary()
    assert together.venue.commands == single.venue.commands > 400
    agree, total = together.driver.executions()
    assert agree == total == sum(together.driver.fills.pairs.values()) > 50
    assert together.driver.fills.foreign == 0


def test_a_request_leaves_only_when_the_one_before_it_is_answered() -> None:
    run = Run(flow(200)).go()
    assert run.venue.requests_max == 1


def test_somebody_elses_order_ends_the_foresight_and_is_counted() -> None:
    run = Run(flow(200)).go(foreign_at=100)
    assert not run.driver.alone
    assert run.playing.events == len(flow(200))
    assert run.driver.fills.foreign > 0


def test_a_stop_leaves_no_command_without_its_answer() -> None:
    run = Run(flow(400)).go(stop_at=20)
    assert 20 < run.playing.events < len(flow(400))
    assert run.venue.commands == run.driver.commands
    assert run.driver.executions()[0] == run.driver.executions()[1]


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_lateness_does_not_add_up(speed: float) -> None:
    pacer = Pacer(speed)
    now_s = 100.0
    for number in range(1_000):
        now_s += pacer.due_in_s(number * 1_000_000_000, now_s)
        assert now_s == pytest.approx(100.0 + number / speed, abs=0.05)
        now_s += 0.04 / speed if number % 3 else 0.0  # what the event itself took
    assert pacer.late_max_s == 0.0
    now_s += 7.0
    assert pacer.due_in_s(1_000_000_000_000, now_s) == 0.0
    assert pacer.late_max_s == pytest.approx(now_s - 100.0 - 1_000 / speed, abs=0.01)
