"""Driving a running venue with a replay, as its operator, over the bus.

Invariant: commands take effect in the order of the file. They leave in that order, and a request
only once the one before it is answered, so that not even a venue that dies in between changes it.

The venue's answer to an order does not say whom it met. That is read off the order events of the
replay's own accounts; a side whose other does not come within EVENTS_LIMIT_S met somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
import time
from collections import Counter
from collections.abc import Callable, Generator
from typing import NamedTuple

from madang.bus import Bus, Gap, Message
from madang.exchange.gateway import GatewayError, GatewaySettings, OrderGateway, Outcome
from madang.exchange.operator import Operator, read_directory
from madang.exchange.replay.client import ReplayAccounts, Reply, Steps
from madang.exchange.replay.fills import Execution, Fills, execution
from madang.exchange.replay.recording import Levels, Recording
from madang.exchange.replay.shadow import BODY_AT, KIND_AT, Shadow
from madang.exchange.subjects import events_subject
from madang.wire.codes import CASH_MAX, QUANTITY_MAX, Reason, Side
from madang.wire.commands import NO_REQUEST, CommandKind, InstrumentTerms, encode_cancel_all
from madang.wire.events import Order, Result, Trade
from madang.wire.records import Instrument

MAKERS = 4
ACCOUNTS = 2 * MAKERS + 2
CASH = CASH_MAX // 200
SHARES = QUANTITY_MAX // (2 * ACCOUNTS)
EVENTS_LIMIT_S = 0.3
UNDER_WAY_MAX = 2_048
COMMANDS_A_TURN = 16
"""After so many the loop gets to send and to hear."""
IN_ORDER = GatewaySettings(requests_max=1)
STRANGERS = 1 << 62
REQUEST_AT = 8
_NAMING = (CommandKind.CANCEL_ORDER, CommandKind.REPLACE_ORDER)
_ORDER_ID = struct.Struct("<Q")


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


async def clear_book(gateway: OrderGateway, accounts: ReplayAccounts) -> None:
    """Cancel everything that a replay's accounts have in the book; raises GatewayError."""
    for number in accounts.numbers():
        await gateway.submit(encode_cancel_all(number, secrets.token_bytes(16)))


class VenueDriver:
    """Drives steps against the venue, in their order.

    While nobody else trades the symbol, a `Shadow` tells each answer at once: commands leave as
    many together as come, and one waits only for the id of the order it names. An answer that the
    shadow did not expect (or `alone=False`) ends that: from there on each waits for the one before.
    The steps know orders by the shadow's ids, and ids that it never gave by ones above STRANGERS.
    """

    def __init__(self, bus: Bus, gateway: OrderGateway, found: Found, *, alone: bool) -> None:
        """The gateway is this driver's alone, and has one request under way at a time."""
        self.commands = 0
        self.fills = Fills()
        self.missed = 0  # messages of the venue that were lost on the way
        self._gateway = gateway
        self._shadow = Shadow(found.accounts, found.instrument) if alone else None
        self._expected: Counter[Execution] = Counter()
        self._venue_ids: dict[int, int] = {}
        self._known_ids: dict[int, int] = {}
        self._failure: GatewayError | None = None
        self._wake: asyncio.Future[None] | None = None
        self._heard = asyncio.Event()
        if not alone:
            self.fills.watch()
        self._subscriptions = [
            bus.subscribe(events_subject(number), self._hear, self._on_gap)
            for number in found.accounts.numbers()
        ]

    @property
    def alone(self) -> bool:
        """Tell whether all answers so far were as expected of a book without others."""
        return self._shadow is not None

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions:
            subscription.close()

    async def drive(self, steps: Steps[None]) -> None:
        """Run steps to their end; raises GatewayError."""
        generator: Generator[bytes, Reply, None] = steps
        try:
            command = next(generator)
            while True:
                command = generator.send(await self._do(command))
        except StopIteration:
            return

    async def drain(self) -> None:
        """Return when everything is answered and its fills are told; raises GatewayError."""
        await self._until(lambda: not self._gateway.under_way)
        end_s = time.monotonic() + EVENTS_LIMIT_S
        while self._unheard() and time.monotonic() < end_s:
            await self._listen(end_s)
        self.fills.expire(time.monotonic() - EVENTS_LIMIT_S)

    def executions(self) -> tuple[int, int]:
        """Return (how many expected executions the venue told exactly so, how many there were)."""
        told = self.fills.pairs
        agree = 0
        for one, count in self._expected.items():
            buy, sell = (self._venue_ids.get(order, 0) for order in (one.buy_order, one.sell_order))
            agree += min(count, told[Execution(buy, sell, one.price, one.quantity)])
        return agree, self._expected.total()

    def _unheard(self) -> bool:
        return bool(self.fills.open) or self.fills.pairs.total() < self._expected.total()

    async def _do(self, command: bytes) -> Reply:
        self.commands += 1
        if self._failure is not None:
            raise self._failure
        named = command[:REQUEST_AT] + secrets.token_bytes(len(NO_REQUEST)) + command[BODY_AT:]
        if self._shadow is None:
            return await self._do_alone(named)
        if command[KIND_AT] in _NAMING:
            order = _ORDER_ID.unpack_from(command, BODY_AT)[0]
            if order not in self._venue_ids:
                await self._until(lambda: order in self._venue_ids or not self._gateway.under_way)
        if self._gateway.under_way >= UNDER_WAY_MAX:
            await self._until(lambda: self._gateway.under_way < UNDER_WAY_MAX)
        if self._shadow is None:
            return await self._do_alone(named)
        reply = self._shadow.apply(command)
        self._expected.update(execution(trade) for trade in reply.trades)
        self._gateway.send(self._address(named), lambda outcome: self._on_told(reply, outcome))
        if self.commands % COMMANDS_A_TURN == 0:
            await asyncio.sleep(0)
        return reply

    def _address(self, command: bytes) -> bytes:
        """Have a command name an order as the venue does; one that it never had is order 0."""
        if command[KIND_AT] not in _NAMING:
            return command
        known = _ORDER_ID.unpack_from(command, BODY_AT)[0]
        number = known - STRANGERS if known >= STRANGERS else self._venue_ids.get(known, 0)
        return command[:BODY_AT] + _ORDER_ID.pack(number) + command[BODY_AT + _ORDER_ID.size :]

    def _on_told(self, expected: Reply, outcome: Outcome) -> None:
        if isinstance(outcome, GatewayError):
            self._failure = outcome
        else:
            wanted = expected.result
            if outcome.reason == wanted.reason == Reason.OK:
                self._venue_ids[wanted.number] = outcome.number
                self._known_ids[outcome.number] = wanted.number
            if _meaning(outcome) != _meaning(wanted) or self.fills.foreign:
                self._shadow = None
                self.fills.watch()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _until(self, met: Callable[[], bool]) -> None:
        """Wait until outcomes bring a condition about; raises GatewayError."""
        while not met():
            if self._failure is not None:
                raise self._failure
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if self._failure is not None:
            raise self._failure

    async def _do_alone(self, command: bytes) -> Reply:
        """Send one command when nothing else is under way, and wait for all that it does."""
        await self._until(lambda: not self._gateway.under_way)
        self.fills.watch()
        result = await self._gateway.submit(self._address(command))
        order = result.order
        known = result._replace(number=self._known(result.number))
        came_in = command[KIND_AT] == CommandKind.NEW_ORDER and result.reason == Reason.OK
        if not came_in or order is None or not order.filled_quantity:
            return Reply(known, ())
        return Reply(known, await self._trades(order))

    def _known(self, order: int) -> int:
        return self._known_ids.get(order, order + STRANGERS) if order else 0

    async def _trades(self, order: Order) -> tuple[Trade, ...]:
        """Return the trades of an order that came in, once both sides of each are told."""
        end_s = time.monotonic() + EVENTS_LIMIT_S
        wanted = order.order_id, order.filled_quantity
        while (trades := self.fills.trades_of(*wanted, whole=True)) is None:
            if time.monotonic() > end_s:
                trades = self.fills.trades_of(*wanted, whole=False)
                break
            await self._listen(end_s)
        assert trades is not None
        return tuple(
            trade._replace(
                buy_order=self._known(trade.buy_order), sell_order=self._known(trade.sell_order)
            )
            for trade in trades
        )

    async def _listen(self, end_s: float) -> None:
        self._heard.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), max(0.0, end_s - time.monotonic()))

    def _hear(self, messages: list[Message]) -> None:
        now_s = time.monotonic()
        for message in messages:
            self.fills.hear(message.payload, now_s)
        self.fills.expire(now_s - EVENTS_LIMIT_S)
        self._heard.set()

    def _on_gap(self, gap: Gap) -> None:
        self.missed += gap.lost


def _meaning(result: Result) -> tuple[int, int, int, int]:
    """Return what two engines must agree on, of the outcome of a command."""
    order = result.order
    if order is None:
        return result.reason, 0, 0, 0
    return result.reason, order.status, order.filled_quantity, order.filled_value


class Pacer:
    """Says when an event is due; `speed` 0 is as fast as can be."""

    def __init__(self, speed: float) -> None:
        self.late_max_s = 0.0
        self._speed = speed
        self._first_ns: int | None = None
        self._begun = 0.0

    def due_in_s(self, at_ns: int, now_s: float) -> float:
        """Return in how long the event of that file time is due, 0 where it is.

        All is counted from the first event, so lateness of one does not add to the next.
        """
        if self._speed <= 0:
            return 0.0
        if self._first_ns is None:
            self._first_ns, self._begun = at_ns, now_s
        left_s = self._begun + (at_ns - self._first_ns) / 1e9 / self._speed - now_s
        self.late_max_s = max(self.late_max_s, -left_s)
        return max(0.0, left_s)


class Playing:
    """One recording on its way into the venue; `stop` ends it between two events."""

    def __init__(self, recording: Recording, driver: VenueDriver, speed: float) -> None:
        self.events = 0
        self.pacer = Pacer(speed)
        self.seconds = 0.0
        self._recording = recording
        self._driver = driver
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Send nothing further; what has been sent is still answered."""
        self._stopped.set()

    async def play(self, found: Found) -> None:
        """Drive event by event, each in its time, and wait for all answers; raises GatewayError."""
        run = b"replay-" + secrets.token_hex(4).encode()
        begun_s = time.monotonic()
        try:
            for timed in self._recording.timed(found.accounts, run):
                await self._wait(timed.at_ns)
                if self._stopped.is_set():
                    break
                await self._driver.drive(timed.steps)
                self.events += 1
            await self._driver.drain()
        finally:
            self.seconds = time.monotonic() - begun_s

    async def _wait(self, at_ns: int) -> None:
        wait_s = self.pacer.due_in_s(at_ns, time.monotonic())
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), wait_s)


def agreement(wanted: Levels, book: dict[Side, dict[int, int]], depth: int) -> tuple[int, int]:
    """Return (how many of the best levels of both sides agree, how many there are)."""
    agree = total = 0
    for side, levels in wanted.items():
        best = sorted(levels, reverse=side == Side.BUY)[:depth]
        total += len(best)
        agree += sum(book.get(side, {}).get(price) == levels[price] for price in best)
    return agree, total
