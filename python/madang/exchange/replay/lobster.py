"""Replaying LOBSTER files: reads messages and book rows, and turns them into commands.

A file names the order of every event, but shows only the best levels of the book. Orders from
before the file, or from behind better levels, are first seen when their level is shown, as part of
its size. What the file says of them later tells their ids and sizes, and ids grow with age: so they
are seeded under their own names, oldest first, and an order that the file introduces late stands
before the younger ones among them. What is never named again is one unknown order behind them. The
invariant: `LobsterReplay` holds the same queues as the engine, order by order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from madang.exchange.replay.client import Client, ReplayAccounts, Steps
from madang.exchange.replay.files import read_lines
from madang.wire.codes import QUANTITY_SCALE, Reason, Side, TimeInForce

NEW, PARTIAL_CANCEL, DELETION, EXECUTION, HIDDEN_EXECUTION, CROSS, HALT = range(1, 8)
ABSENT_PRICE = 9_999_999_999  # stands, with either sign, where a level does not exist
NANOSECONDS = 1_000_000_000
_NAMING = (NEW, PARTIAL_CANCEL, DELETION, EXECUTION)
_UNKNOWN = 0
_SIDES = {1: Side.BUY, -1: Side.SELL}
_OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


class LobsterMessage(NamedTuple):
    """One event. `direction` is the side of the resting order; `size` is in whole shares."""

    time_ns: int
    type: int
    order_id: int
    size: int
    price: int
    direction: Side


class Level(NamedTuple):
    """Price in price units, size in whole shares."""

    price: int
    size: int


class LobsterRow(NamedTuple):
    """The best levels after an event, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    def side(self, side: Side) -> tuple[Level, ...]:
        """Return one side."""
        return self.bids if side == Side.BUY else self.asks


def read_lobster_messages(lines: Iterable[str]) -> Iterator[LobsterMessage]:
    """Yield the events of a LOBSTER message file; later columns than the sixth are not read.

    Raises ReplayFileError at the first line that is not one.
    """
    return read_lines(lines, _message, "LOBSTER message")


def _message(line: str) -> LobsterMessage:
    time, kind, order_id, size, price, direction = line.split(",")[:6]
    time_ns = int(Decimal(time) * NANOSECONDS)
    side = _SIDES[int(direction)]
    return LobsterMessage(time_ns, int(kind), int(order_id), int(size), int(price), side)


def read_lobster_rows(lines: Iterable[str]) -> Iterator[LobsterRow]:
    """Yield the rows of a LOBSTER orderbook file: ask price, ask size, bid price, bid size, ...

    Raises ReplayFileError at the first line that is not one.
    """
    return read_lines(lines, _row, "LOBSTER book row")


def _row(line: str) -> LobsterRow:
    numbers = [int(text) for text in line.split(",")]
    asks = _levels(numbers[0::4], numbers[1::4])
    bids = _levels(numbers[2::4], numbers[3::4])
    return LobsterRow(bids, asks)


def _levels(prices: list[int], sizes: list[int]) -> tuple[Level, ...]:
    pairs = zip(prices, sizes, strict=True)
    return tuple(Level(price, size) for price, size in pairs if abs(price) != ABSENT_PRICE)


@dataclass(slots=True)
class Executions:
    """How the executions of a file fell. Each list has the order ids that the file names."""

    introduced: list[int] = field(default_factory=list)  # filled exactly the order named
    seeded: list[int] = field(default_factory=list)  # likewise, an order from out of view
    unknown: list[int] = field(default_factory=list)  # filled the unknown order of the price
    exceptions: list[int] = field(default_factory=list)  # filled something else


@dataclass(slots=True)
class _Resting:
    """An order in the engine; `file_id` is 0 for an unknown one. Sizes are in whole shares."""

    file_id: int
    seeded: bool
    engine_id: int
    size: int  # of the whole order, as the engine counts it
    left: int


class _Wanted(NamedTuple):
    """An order to be placed."""

    file_id: int
    seeded: bool
    size: int


class _Later(NamedTuple):
    """What a message says of an order at a price."""

    row: int
    type: int
    order_id: int
    size: int


class LobsterReplay:
    """Replays one LOBSTER pair: `begin` with the first row, then `apply` and `reconcile` by turns.

    `messages` is the whole file; `apply` is called for each of them from the second on, since the
    first row shows what the first did. Without rows there is no `begin`: `apply` is called for all.
    """

    def __init__(
        self, accounts: ReplayAccounts, run: bytes, messages: Sequence[LobsterMessage]
    ) -> None:
        self.executions = Executions()
        self.missing = 0  # events at a price where the book has nothing
        self.introduced = 0  # orders placed that the file introduces
        self.seeded = 0  # orders placed because a row shows them, and again after a repair
        self.rejected = 0  # orders that the venue refused
        self._client = Client(accounts, run)
        self._queues: dict[Side, dict[int, list[_Resting]]] = {Side.BUY: {}, Side.SELL: {}}
        self._messages = messages
        self._row = -1
        self._in_view: dict[Side, frozenset[int]] = {Side.BUY: frozenset(), Side.SELL: frozenset()}
        self._later: dict[tuple[Side, int], list[_Later]] = {}
        for row, message in enumerate(messages):
            if message.type in _NAMING:
                later = _Later(row, message.type, message.order_id, message.size)
                self._later.setdefault((message.direction, message.price), []).append(later)

    def begin(self, row: LobsterRow) -> Steps[None]:
        """Put the levels of the first row into the book."""
        self._row = 0
        yield from self.reconcile(row)

    def apply(self, message: LobsterMessage) -> Steps[None]:
        """Replay one event. Hidden executions, crosses and halts do not change the book."""
        self._row += 1
        assert self._messages[self._row] is message, "messages are applied in order"
        side, price = message.direction, message.price
        if message.type == NEW:
            yield from self._introduce(message)
        elif message.type in (PARTIAL_CANCEL, DELETION):
            resting = self._find(message)
            if resting is None:
                self.missing += 1
            else:
                yield from self._take(side, price, resting, message.size)
        elif message.type == EXECUTION:
            yield from self._execute(message)

    def reconcile(self, row: LobsterRow) -> Steps[int]:
        """Take over what a row shows and the events did not tell; return how many levels differed.

        What happened to a level while it was out of view is not known, so when its total differs,
        or it lacks orders that the file names later, its orders are seeded anew.
        """
        changed = 0
        for side in (Side.BUY, Side.SELL):
            sizes = {level.price: level.size for level in row.side(side)}
            gone = [price for price in self._queues[side] if self._vanished(side, price, sizes)]
            for price in gone:
                yield from self._rebuild(side, price, [])
            for price, size in sizes.items():
                if self._differs(side, price, size):
                    changed += 1
                    yield from self._rebuild(side, price, self._seeds(side, price, size))
            changed += len(gone)
            self._in_view[side] = frozenset(sizes)
        return changed

    def levels(self) -> dict[Side, dict[int, int]]:
        """Return what should be in the book: by side, the whole shares at each price."""
        return {
            side: {price: sum(one.left for one in queue) for price, queue in queues.items()}
            for side, queues in self._queues.items()
        }

    def _vanished(self, side: Side, price: int, sizes: dict[int, int]) -> bool:
        """Tell whether a price should be in view and is not."""
        if price in sizes:
            return False
        if side == Side.BUY:
            return price > min(sizes, default=0)
        return price < max(sizes, default=ABSENT_PRICE)

    def _differs(self, side: Side, price: int, size: int) -> bool:
        queue = self._queues[side].get(price, [])
        if sum(resting.left for resting in queue) != size:
            return True
        if price in self._in_view[side]:
            return False
        left = {resting.file_id: resting.left for resting in queue}
        return any(
            left.get(seed.file_id, 0) < seed.size
            for seed in self._seeds(side, price, size)
            if seed.file_id != _UNKNOWN
        )

    def _seeds(self, side: Side, price: int, size: int) -> list[_Wanted]:
        """Return the orders that make up a level which comes into view, oldest first."""
        events = self._later.get((side, price), [])
        introduced = set()
        named: dict[int, int] = {}
        left = size
        for index in range(bisect_right(events, self._row, key=_row_of), len(events)):
            later = events[index]
            if left == 0:
                break
            if later.type == NEW:
                introduced.add(later.order_id)
            elif later.order_id not in introduced:
                if later.size > left:
                    break
                named[later.order_id] = named.get(later.order_id, 0) + later.size
                left -= later.size
        seeds = [_Wanted(file_id, True, named[file_id]) for file_id in sorted(named)]
        if left:
            seeds.append(_Wanted(_UNKNOWN, True, left))
        return seeds

    def _find(self, message: LobsterMessage) -> _Resting | None:
        """Return the order that an event names, or the unknown one of its price."""
        queue = self._queues[message.direction].get(message.price, ())
        for file_id in (message.order_id, _UNKNOWN):
            for resting in queue:
                if resting.file_id == file_id:
                    return resting
        return None

    def _introduce(self, message: LobsterMessage) -> Steps[None]:
        """Add a new order: at the tail, but before seeded orders that are younger."""
        side, price = message.direction, message.price
        order = _Wanted(message.order_id, False, message.size)
        queue = self._queues[side].get(price, [])
        position = len(queue)
        for index in range(len(queue) - 1, -1, -1):
            if not queue[index].seeded:
                break
            if queue[index].file_id > message.order_id:
                position = index
        if position == len(queue):
            yield from self._add(side, price, order)
            return
        orders = [_Wanted(one.file_id, one.seeded, one.left) for one in queue]
        orders.insert(position, order)
        yield from self._rebuild(side, price, orders)

    def _account(self, side: Side, order: _Resting | _Wanted) -> int:
        if order.seeded:
            return self._client.accounts.unknown
        return self._client.maker(side, order.file_id)

    def _add(self, side: Side, price: int, order: _Wanted) -> Steps[None]:
        """Add an order at the tail of a price."""
        reply = yield from self._client.place(
            self._account(side, order), side, price, order.size * QUANTITY_SCALE, TimeInForce.GTC
        )
        if reply.result.reason != Reason.OK:
            self.rejected += 1
            return
        if order.seeded:
            self.seeded += 1
        else:
            self.introduced += 1
        number = reply.result.number
        resting = _Resting(order.file_id, order.seeded, number, order.size, order.size)
        self._queues[side].setdefault(price, []).append(resting)

    def _drop(self, side: Side, price: int, resting: _Resting) -> None:
        queue = self._queues[side][price]
        queue.remove(resting)
        if not queue:
            del self._queues[side][price]

    def _take(self, side: Side, price: int, resting: _Resting, size: int) -> Steps[None]:
        """Cancel `size` of an order, which keeps its place with the rest."""
        account = self._account(side, resting)
        if size >= resting.left:
            yield from self._client.cancel(account, resting.engine_id)
            self._drop(side, price, resting)
            return
        resting.size -= size
        resting.left -= size
        reply = yield from self._client.reduce(
            account, resting.engine_id, resting.size * QUANTITY_SCALE
        )
        resting.engine_id = reply.result.number

    def _execute(self, message: LobsterMessage) -> Steps[None]:
        """Send the order that takes what the file says was executed, and see what it fills."""
        side, price = message.direction, message.price
        quantity = message.size * QUANTITY_SCALE
        taker = self._client.accounts.taker
        expected = self._find(message)
        reply = yield from self._client.place(taker, _OTHER[side], price, quantity, TimeInForce.IOC)
        filled = [
            (trade.buy_order if side == Side.BUY else trade.sell_order, trade.quantity)
            for trade in reply.trades
        ]
        if expected is None or filled != [(expected.engine_id, quantity)]:
            self.missing += expected is None
            self.executions.exceptions.append(message.order_id)
            yield from self._repair(message, expected, {trade.price for trade in reply.trades})
            return
        self._count(message.order_id, expected)
        expected.left -= message.size
        if expected.left == 0:
            self._drop(side, price, expected)

    def _count(self, order_id: int, filled: _Resting) -> None:
        if filled.file_id == _UNKNOWN:
            self.executions.unknown.append(order_id)
        elif filled.seeded:
            self.executions.seeded.append(order_id)
        else:
            self.executions.introduced.append(order_id)

    def _repair(
        self, message: LobsterMessage, expected: _Resting | None, prices: set[int]
    ) -> Steps[None]:
        """Bring the book back to what the file says after something else was filled."""
        side = message.direction
        if expected is not None:
            expected.left -= min(message.size, expected.left)
        for price in sorted(prices | {message.price}):
            queue = self._queues[side].get(price, [])
            orders = [_Wanted(one.file_id, one.seeded, one.left) for one in queue if one.left]
            yield from self._rebuild(side, price, orders)

    def _rebuild(self, side: Side, price: int, orders: list[_Wanted]) -> Steps[None]:
        """Make the queue of a price anew, in the given order."""
        for resting in self._queues[side].pop(price, []):
            yield from self._client.cancel(self._account(side, resting), resting.engine_id)
        for order in orders:
            yield from self._add(side, price, order)


def _row_of(later: _Later) -> int:
    return later.row
