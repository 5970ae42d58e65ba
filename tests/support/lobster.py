"""LOBSTER files for tests: a seeded generator with a book of its own, and a replay that is judged.

The generator knows the whole book; what it writes shows, as real files do, only the events and
levels within view. It shares nothing with the engine, so it is a second opinion on price-time
priority.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from madang.exchange.engine.port import Engine
from madang.exchange.replay import (
    Executions,
    Level,
    LobsterMessage,
    LobsterReplay,
    LobsterRow,
    drive,
    set_up,
)
from madang.wire.codes import QUANTITY_SCALE, Side
from madang.wire.commands import InstrumentTerms
from madang.wire.events import LEVEL_BODY, RECORD_HEADER_BYTES, split_records

TICK = 100
MIDDLE = 2_000_000
DEPTH_AT_START = 14
MAKERS = 3
ABSENT = 9_999_999_999


@dataclass
class Agreement:
    """How well an engine's book agreed with a file."""

    rows: int = 0
    best: int = 0  # rows whose best bid and ask agree, price and size
    all_levels: int = 0  # rows where every level in view agrees
    seeded_levels: int = 0
    executions: Executions = field(default_factory=Executions)
    missing: int = 0


def replay_lobster(
    engine: Engine, messages: Sequence[LobsterMessage], rows: Sequence[LobsterRow]
) -> Agreement:
    """Replay a pair and compare the engine's book with each row before anything is seeded."""
    terms = InstrumentTerms(b"REPLAY", tick=TICK, lot=QUANTITY_SCALE, collar_bps=10_000)
    accounts = drive(engine, set_up(terms, MAKERS))
    replay = LobsterReplay(accounts, b"replay", messages)
    drive(engine, replay.begin(rows[0]))
    levels = max(len(rows[0].bids), len(rows[0].asks))
    agreement = Agreement(executions=replay.executions)
    for message, row in zip(messages[1:], rows[1:], strict=True):
        drive(engine, replay.apply(message))
        shown = engine_row(engine, accounts.instrument, levels)
        agreement.rows += 1
        agreement.best += (shown.bids[:1], shown.asks[:1]) == (row.bids[:1], row.asks[:1])
        agreement.all_levels += shown == row
        agreement.seeded_levels += drive(engine, replay.reconcile(row))
        assert engine_row(engine, accounts.instrument, levels) == row, "a row is taken over whole"
    agreement.missing = replay.missing
    engine.check()
    return agreement


def engine_row(engine: Engine, instrument: int, levels: int) -> LobsterRow:
    """Return the engine's book as a LOBSTER row."""
    sides: dict[int, list[Level]] = {Side.BUY: [], Side.SELL: []}
    data = engine.depth(instrument, levels)
    for _, offset, _ in split_records(data):
        side, _, _, _, price, quantity = LEVEL_BODY.unpack_from(data, offset + RECORD_HEADER_BYTES)
        assert quantity % QUANTITY_SCALE == 0
        sides[side].append(Level(price, quantity // QUANTITY_SCALE))
    return LobsterRow(tuple(sides[Side.BUY]), tuple(sides[Side.SELL]))


class _Book:
    """The whole book: price to list of [order id, size], oldest first."""

    def __init__(self) -> None:
        self.sides: dict[int, dict[int, list[list[int]]]] = {1: {}, -1: {}}

    def best(self, side: int) -> int:
        return max(self.sides[side]) if side == 1 else min(self.sides[side])

    def reduce(self, side: int, price: int, index: int, size: int) -> None:
        queue = self.sides[side][price]
        queue[index][1] -= size
        if queue[index][1] == 0:
            del queue[index]
        if not queue:
            del self.sides[side][price]

    def view(self, levels: int) -> list[int]:
        """Return a row of a LOBSTER orderbook file."""
        asks = sorted(self.sides[-1].items())[:levels]
        bids = sorted(self.sides[1].items(), reverse=True)[:levels]
        row = []
        for index in range(levels):
            for shown, absent in ((asks, ABSENT), (bids, -ABSENT)):
                if index < len(shown):
                    price, queue = shown[index]
                    row += [price, sum(size for _, size in queue)]
                else:
                    row += [absent, 0]
        return row


class LobsterGenerator:
    """Makes a pair of files; `lines` returns the text lines of messages and of rows."""

    def __init__(self, seed: int, levels: int) -> None:
        self._random = random.Random(seed)
        self._levels = levels
        self._book = _Book()
        self._next_id = 1_000
        self._time_ns = 34_200 * 10**9
        self._messages: list[str] = []
        self._rows: list[str] = []
        for step in range(1, DEPTH_AT_START + 1):
            for side in (1, -1):
                for _ in range(self._random.randint(1, 4)):
                    self._insert(side, MIDDLE - side * step * TICK, self._size())

    def lines(self, count: int) -> tuple[list[str], list[str]]:
        """Return `count` messages and the rows after them."""
        self._hidden()
        while len(self._messages) < count:
            action = self._random.choices(
                (self._new, self._partial, self._delete, self._execute, self._hidden, self._halt),
                (40, 8, 30, 18, 3, 1),
            )[0]
            action()
        return self._messages[:count], self._rows[:count]

    def _size(self) -> int:
        return self._random.choice((100, 100, 100, self._random.randint(1, 300)))

    def _insert(self, side: int, price: int, size: int) -> int:
        self._next_id += self._random.randint(1, 20)
        self._book.sides[side].setdefault(price, []).append([self._next_id, size])
        return self._next_id

    def _write(self, before: list[int], message: tuple[int, int, int, int, int]) -> None:
        """Write an event that is within view, with the row after it."""
        after = self._book.view(self._levels)
        self._time_ns += self._random.randint(1_000, 900_000_000)
        kind = message[0]
        if after == before and kind < 5:
            return
        seconds, nanoseconds = divmod(self._time_ns, 10**9)
        self._messages.append(f"{seconds}.{nanoseconds:09d}," + ",".join(map(str, message)))
        self._rows.append(",".join(map(str, after)))

    def _new(self) -> None:
        side = self._random.choice((1, -1))
        # At worst one tick behind the other side's best, so it never crosses.
        price = self._book.best(-side) - side * TICK * self._random.randint(1, 9)
        before = self._book.view(self._levels)
        size = self._size()
        order_id = self._insert(side, price, size)
        self._write(before, (1, order_id, size, price, side))

    def _some_order(self) -> tuple[int, int, int]:
        """Return (side, price, index) of any order, more often near the best price."""
        side = self._random.choice((1, -1))
        prices = sorted(self._book.sides[side], reverse=side == 1)
        price = prices[min(self._random.randint(0, len(prices) - 1), self._random.randint(0, 7))]
        return side, price, self._random.randint(0, len(self._book.sides[side][price]) - 1)

    def _enough(self, side: int) -> bool:
        return len(self._book.sides[side]) > self._levels + 2

    def _partial(self) -> None:
        side, price, index = self._some_order()
        order_id, left = self._book.sides[side][price][index]
        if left > 1:
            before = self._book.view(self._levels)
            size = self._random.randint(1, left - 1)
            self._book.reduce(side, price, index, size)
            self._write(before, (2, order_id, size, price, side))

    def _delete(self) -> None:
        side, price, index = self._some_order()
        if self._enough(side):
            before = self._book.view(self._levels)
            order_id, left = self._book.sides[side][price][index]
            self._book.reduce(side, price, index, left)
            self._write(before, (3, order_id, left, price, side))

    def _execute(self) -> None:
        """Execute against the head of the best price, and perhaps those behind it."""
        side = self._random.choice((1, -1))
        for _ in range(self._random.randint(1, 3)):
            if not self._enough(side):
                return
            price = self._book.best(side)
            before = self._book.view(self._levels)
            order_id, left = self._book.sides[side][price][0]
            size = left if self._random.random() < 0.7 else self._random.randint(1, left)
            self._book.reduce(side, price, 0, size)
            self._write(before, (4, order_id, size, price, side))
            if size < left:
                return

    def _hidden(self) -> None:
        price = (self._book.best(1) + self._book.best(-1)) // 2
        self._write([], (5, 0, self._random.randint(1, 100), price, self._random.choice((1, -1))))

    def _halt(self) -> None:
        for price in (-1, 0, 1):
            self._write([], (7, 0, 0, price, -1))
