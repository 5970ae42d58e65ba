"""The order flow of exchange-core's published benchmark, made once and given to every engine.

9% good-til-cancelled orders, 3% immediate-or-cancel, 6% cancels, 82% moves of a resting order's
price; about 1,000 resting orders of 1,000 accounts in one book; about 6% of the commands trade. The
flow is a list of actions in whole shares and ticks. It is made by running our engine, which tells
what rests; accounts below the middle only buy and the others only sell, so that no engine needs
self-trade rules and all of them must come to the same trades.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from madang.exchange.engine.port import Engine
from madang.wire import commands as wire
from madang.wire.batch import encode_batch
from madang.wire.codes import CASH_SCALE, QUANTITY_SCALE, OrderType, Side, Status, TimeInForce
from madang.wire.commands import InstrumentTerms, OrderTerms, ReplaceTerms
from madang.wire.events import EventKind, Order, parse_order_update, parse_result, split_records

ACCOUNTS = 1_000
RESTING = 1_000
TICK = 100
MIDDLE = 10_000  # ticks: 100.00
SPREAD_TICKS = 400
MAKER_PPM, TAKER_PPM = 100, 250
BATCH_COMMANDS = 256


class Operation(IntEnum):
    """What an action does."""

    PLACE = 0
    PLACE_IOC = 1
    CANCEL = 2
    MOVE = 3


class Action(NamedTuple):
    """One command, in ticks and shares; `order` is the flow's own number of the order.

    The quantity of a move is what the order has left: some engines ask for it again.
    """

    operation: Operation
    order: int
    account: int
    side: Side
    price: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The same work for everybody: `setup` fills the book, `actions` are measured."""

    setup: list[Action]
    actions: list[Action]
    opening: list[bytes]
    setup_records: list[bytes]
    records: list[bytes]
    trades_of_command: list[int]
    resting: int
    accounts: int = ACCOUNTS

    @property
    def trading_commands(self) -> int:
        """How many of the commands traded."""
        return sum(trades > 0 for trades in self.trades_of_command)

    def mix(self) -> dict[str, float]:
        """Return the part of each operation."""
        counts = Counter(action.operation for action in self.actions)
        return {one.name.lower(): round(counts[one] / len(self.actions), 4) for one in Operation}


class _Resting(NamedTuple):
    number: int
    account: int
    side: Side
    price: int
    quantity: int


class FlowMaker:
    """Makes actions, and drives an engine to learn what rests after each."""

    def __init__(self, seed: int, engine: Engine) -> None:
        self._random = random.Random(seed)
        self._engine = engine
        self._sequence = 0
        self._next = 1
        self._resting: dict[int, _Resting] = {}  # by the engine's order id
        self._ids: list[int] = []
        self._places: dict[int, int] = {}
        self._trades: list[int] = []

    def make(self, count: int) -> Flow:
        """Return a flow of `count` measured actions."""
        opening = list(self._opening())
        for record in opening:
            self._apply(record)
        setup = [self._place(self._side()) for _ in range(RESTING)]
        setup_actions, setup_records = [a for a, _ in setup], [r for _, r in setup]
        self._trades.clear()
        made = [self._step() for _ in range(count)]
        return Flow(
            setup_actions, [a for a, _ in made], opening, setup_records, [r for _, r in made],
            self._trades, len(self._ids),
        )  # fmt: skip

    def _opening(self) -> Iterator[bytes]:
        request = self._random.randbytes
        yield wire.encode_set_instrument(
            request(16), InstrumentTerms(b"AAPL", tick=TICK, reference_price=MIDDLE * TICK)
        )
        yield wire.encode_set_fees(request(16), MAKER_PPM, TAKER_PPM)
        for number in range(1, ACCOUNTS + 1):
            yield wire.encode_create_account(request(16), b"account %d" % number)
            cash, shares = 4 * 10**9 * CASH_SCALE, 500_000 * QUANTITY_SCALE
            yield wire.encode_transfer(number, request(16), 0, cash)
            yield wire.encode_transfer(number, request(16), 1, shares)

    def _side(self) -> Side:
        return Side(self._random.randint(1, 2))

    def _step(self) -> tuple[Action, bytes]:
        # Orders that trade away are replaced by new ones: the book keeps its size.
        roll = self._random.random()
        if roll < 0.82 and self._ids:
            return self._move()
        if roll < 0.85:
            return self._place_ioc()
        if roll < 0.91 and len(self._ids) > RESTING * 0.98:
            return self._cancel()
        return self._place(self._side())

    def _passive_price(self, side: Side) -> int:
        distance = 1 + int(abs(self._random.gauss(0, SPREAD_TICKS / 2)))
        return MIDDLE - distance if side == Side.BUY else MIDDLE + distance

    def _account(self, side: Side) -> int:
        half = ACCOUNTS // 2
        return self._random.randint(1, half) + (0 if side == Side.BUY else half)

    def _place(self, side: Side) -> tuple[Action, bytes]:
        price, quantity = self._passive_price(side), self._random.randint(1, 100)
        return self._send_new(Operation.PLACE, side, price, quantity)

    def _place_ioc(self) -> tuple[Action, bytes]:
        side = self._side()
        price = MIDDLE + (SPREAD_TICKS if side == Side.BUY else -SPREAD_TICKS)
        return self._send_new(Operation.PLACE_IOC, side, price, self._random.randint(1, 40))

    def _send_new(
        self, operation: Operation, side: Side, price: int, quantity: int
    ) -> tuple[Action, bytes]:
        account, number = self._account(side), self._next
        self._next += 1
        terms = OrderTerms(
            instrument=1,
            side=side,
            type=OrderType.LIMIT,
            time_in_force=(
                TimeInForce.IOC if operation == Operation.PLACE_IOC else TimeInForce.GTC
            ),
            quantity=quantity * QUANTITY_SCALE,
            limit_price=price * TICK,
        )
        record = wire.encode_new_order(
            account, self._random.randbytes(16), terms, self._client_order_id()
        )
        self._apply(record, _Resting(number, account, side, price, quantity))
        return Action(operation, number, account, side, price, quantity), record

    def _move(self) -> tuple[Action, bytes]:
        order_id = self._random.choice(self._ids)
        old = self._resting[order_id]
        if self._random.random() < 0.04:
            price = MIDDLE + (2 if old.side == Side.BUY else -2)
        else:
            price = self._passive_price(old.side)
        if price == old.price:
            price += -1 if old.side == Side.BUY else 1
        record = wire.encode_replace(
            old.account,
            self._random.randbytes(16),
            ReplaceTerms(order_id, limit_price=price * TICK),
            self._client_order_id(),
        )
        self._apply(record, old._replace(price=price))
        action = Action(Operation.MOVE, old.number, old.account, old.side, price, old.quantity)
        return action, record

    def _cancel(self) -> tuple[Action, bytes]:
        order_id = self._random.choice(self._ids)
        old = self._resting[order_id]
        record = wire.encode_cancel(old.account, self._random.randbytes(16), order_id)
        self._apply(record)
        return Action(Operation.CANCEL, old.number, old.account, old.side, old.price, 0), record

    def _client_order_id(self) -> bytes:
        # As long as the UUID that the usual client library sends.
        text = self._random.randbytes(16).hex().encode()
        return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def _apply(self, record: bytes, about: _Resting | None = None) -> None:
        """Apply one record and follow which orders rest."""
        batch = one_batch([record], self._sequence + 1)
        self._sequence += 1
        trades = 0
        events = self._engine.apply(batch)
        for kind, offset, _ in split_records(events):
            if kind == EventKind.TRADE:
                trades += 1
            elif kind == EventKind.ORDER:
                order = parse_order_update(events, offset).order
                if order.status >= Status.FILLED:
                    self._forget(order.order_id)
                elif order.order_id in self._resting:
                    self._keep_leaves(order)
            elif kind == EventKind.RESULT:
                result = parse_result(events, offset)
                assert (result.reason, result.repeat) == (0, False), f"refused: {result}"
                if about and result.order and result.order.status < Status.FILLED:
                    self._remember(result.number, about)
                    self._keep_leaves(result.order)
        self._trades.append(trades)

    def _remember(self, order_id: int, order: _Resting) -> None:
        self._resting[order_id] = order
        self._places[order_id] = len(self._ids)
        self._ids.append(order_id)

    def _keep_leaves(self, order: Order) -> None:
        leaves = (order.quantity - order.filled_quantity) // QUANTITY_SCALE
        self._resting[order.order_id] = self._resting[order.order_id]._replace(quantity=leaves)

    def _forget(self, order_id: int) -> None:
        if self._resting.pop(order_id, None) is None:
            return
        place, last = self._places.pop(order_id), self._ids.pop()
        if last != order_id:
            self._ids[place] = last
            self._places[last] = place


ACTION = struct.Struct("<BBHIQqq")  # operation side - account order price quantity


def write_actions(path: Path, setup: Sequence[Action], actions: Sequence[Action]) -> None:
    """Write a flow for a peer's process: two counts, then the actions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        ACTION.pack(a.operation, a.side, 0, a.account, a.order, a.price, a.quantity)
        for a in (*setup, *actions)
    ]
    path.write_bytes(struct.pack("<QQ", len(setup), len(actions)) + b"".join(records))


def read_actions(path: Path) -> tuple[list[Action], list[Action]]:
    """Return the setup and the measured actions of a flow."""
    data = path.read_bytes()
    setup, _ = struct.unpack_from("<QQ", data)
    actions = [
        Action(Operation(operation), order, account, Side(side), price, quantity)
        for operation, side, _, account, order, price, quantity in ACTION.iter_unpack(data[16:])
    ]
    return actions[:setup], actions[setup:]


def one_batch(records: list[bytes], sequence: int) -> bytes:
    """Return one batch record; its time follows from its sequence."""
    return encode_batch(
        b"".join(records), len(records),
        term=1, sequence=sequence, now_ns=1_700_000_000_000_000_000 + sequence, rules_version=1,
    )  # fmt: skip


def batches(records: list[bytes], sequence: int, size: int = BATCH_COMMANDS) -> list[bytes]:
    """Return the records in batches of `size`, the first with this sequence."""
    return [
        one_batch(records[start : start + size], sequence + start)
        for start in range(0, len(records), size)
    ]
