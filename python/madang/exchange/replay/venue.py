"""Driving a running venue with a replay, as its operator: over the bus, one command at a time.

The venue's answer to an order does not say whom it met. That is read off the order events of the
replay's own accounts: two of them with one trade id are the two sides of a trade. A side that does
not come within EVENTS_LIMIT_S belongs to somebody else.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from madang.bus import Bus, Message
from madang.exchange.gateway import OrderGateway
from madang.exchange.operator import Operator, read_directory
from madang.exchange.replay.client import ReplayAccounts, Reply, Steps
from madang.exchange.replay.recording import Levels, Recording
from madang.exchange.venue.server import events_subject
from madang.wire.codes import CASH_MAX, QUANTITY_MAX, OrderEvent, Reason, Side
from madang.wire.commands import NO_REQUEST, InstrumentTerms, encode_cancel_all
from madang.wire.events import (
    EventKind,
    OrderUpdate,
    Result,
    Trade,
    parse_order_update,
    split_records,
)
from madang.wire.records import Instrument

MAKERS = 4
ACCOUNTS = 2 * MAKERS + 2
CASH = CASH_MAX // 200
SHARES = QUANTITY_MAX // (2 * ACCOUNTS)
EVENTS_LIMIT_S = 0.3
_FILLS = (OrderEvent.FILL, OrderEvent.PARTIAL_FILL)

Tell = Callable[[int], None]


class Found(NamedTuple):
    """What a replay drives."""

    accounts: ReplayAccounts
    instrument: Instrument
    listed: bool  # by this replay


async def prepare(bus: Bus, operator: Operator, terms: InstrumentTerms) -> Found:
    """List the instrument if it is unknown and see to accounts that can pay.

    Raises RefusedError, BusError.
    """
    listing = await read_directory(bus)
    symbol = terms.symbol.decode()
    listed = symbol not in listing.instruments
    if listed:
        await operator.set_instrument(terms)
        listing = await read_directory(bus)
    instrument = listing.instruments[symbol]
    numbers = []
    for index in range(ACCOUNTS):
        name = f"replay {symbol} {index}"
        known = listing.accounts.get(name)
        number = known.number if known else await operator.create_account(name)
        if known is None:
            await operator.transfer(number, CASH)
            await operator.transfer(number, SHARES, instrument.number)
        numbers.append(number)
    *rest, unknown, taker = numbers
    accounts = ReplayAccounts(
        instrument.number, tuple(rest[:MAKERS]), tuple(rest[MAKERS:]), unknown, taker
    )
    return Found(accounts, instrument, listed)


class VenueDriver:
    """Drives steps against the venue; `foreign` counts fills against orders of others."""

    def __init__(self, bus: Bus, gateway: OrderGateway, accounts: ReplayAccounts) -> None:
        self.commands = 0
        self.foreign = 0
        self._gateway = gateway
        self._numbers = (
            *accounts.buyers, *accounts.sellers, accounts.unknown, accounts.taker,
        )  # fmt: skip
        self._fills: dict[int, list[OrderUpdate]] = {}
        self._came = asyncio.Event()
        self._subscriptions = [
            bus.subscribe(events_subject(number), self._hear) for number in self._numbers
        ]

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            subscription.close()

    async def clear(self) -> None:
        """Cancel everything that the replay's accounts have in the book."""
        for number in self._numbers:
            await self._gateway.submit(encode_cancel_all(number, secrets.token_bytes(16)))

    async def drive(self, steps: Steps[None]) -> None:
        """Run steps to their end; raises GatewayError."""
        generator: Generator[bytes, Reply, None] = steps
        try:
            command = next(generator)
            while True:
                command = generator.send(await self._do(command))
        except StopIteration:
            return

    async def _do(self, command: bytes) -> Reply:
        self._fills.clear()
        self.commands += 1
        named = command[:8] + secrets.token_bytes(len(NO_REQUEST)) + command[24:]
        result = await self._gateway.submit(named)
        order = result.order
        if result.reason != Reason.OK or order is None or order.replaces:
            return Reply(result, ())
        return (
            Reply(result, await self._trades(result))
            if order.filled_quantity
            else Reply(result, ())
        )

    def _hear(self, messages: list[Message]) -> None:
        for message in messages:
            for kind, offset, _ in split_records(message.payload):
                if kind == EventKind.ORDER:
                    update = parse_order_update(message.payload, offset)
                    if update.event in _FILLS:
                        self._fills.setdefault(update.trade_id, []).append(update)
        self._came.set()

    async def _trades(self, result: Result) -> tuple[Trade, ...]:
        """Return the trades of an order that came in, once both sides of each are told."""
        order = result.order
        assert order is not None
        end = time.monotonic() + EVENTS_LIMIT_S
        while True:
            own = [
                (fill, pair)
                for pair in self._fills.values()
                for fill in pair
                if fill.order.order_id == order.order_id
            ]
            whole = sum(fill.fill_quantity for fill, _ in own) == order.filled_quantity
            late = time.monotonic() > end
            if late or (whole and all(len(pair) > 1 for _, pair in own)):
                break
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), EVENTS_LIMIT_S)
            except TimeoutError:
                continue
        self.foreign += sum(len(pair) == 1 for _, pair in own)
        return tuple(_trade(fill, pair, order.side) for fill, pair in own)


def _trade(fill: OrderUpdate, pair: list[OrderUpdate], aggressor: int) -> Trade:
    other = next((one.order for one in pair if one is not fill), None)
    sides = {
        fill.order.side: (fill.order.order_id, fill.order.account),
        3 - fill.order.side: (other.order_id, other.account) if other else (0, 0),
    }
    buy, sell = sides[Side.BUY], sides[Side.SELL]
    return Trade(
        fill.sequence, fill.now_ns, fill.event_id, fill.order.instrument, aggressor,
        fill.fill_price, fill.fill_quantity, fill.trade_id, buy[0], sell[0], buy[1], sell[1],
    )  # fmt: skip


class Pacer:
    """Waits until an event is due; `speed` 0 is as fast as acknowledged."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first_ns: int | None = None
        self._begun = 0.0

    async def wait(self, at_ns: int) -> None:
        """Return when the event of that time is due."""
        if self._speed <= 0:
            return
        if self._first_ns is None:
            self._first_ns, self._begun = at_ns, time.monotonic()
        due = self._begun + (at_ns - self._first_ns) / 1e9 / self._speed
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def play(
    recording: Recording, driver: VenueDriver, found: Found, speed: float, tell: Tell
) -> None:
    """Drive a recording event by event; `tell` is called with the number of each."""
    await driver.clear()
    pacer = Pacer(speed)
    run = b"replay-" + secrets.token_hex(4).encode()
    for number, timed in enumerate(recording.timed(found.accounts, run), 1):
        await pacer.wait(timed.at_ns)
        await driver.drive(timed.steps)
        tell(number)


def agreement(wanted: Levels, book: dict[Side, dict[int, int]], depth: int) -> tuple[int, int]:
    """Return (how many of the best levels of both sides agree, how many there are)."""
    agree = total = 0
    for side, levels in wanted.items():
        best = sorted(levels, reverse=side == Side.BUY)[:depth]
        total += len(best)
        agree += sum(book.get(side, {}).get(price) == levels[price] for price in best)
    return agree, total
