"""What every replay needs: accounts that can pay, records that do not repeat, a way to run.

A replay is a generator that yields one command record at a time and is sent a `Reply`. `drive` runs
one against an engine in this process; a running venue can be driven in the same way.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from madang.exchange.engine.port import Engine
from madang.wire.batch import encode_batch
from madang.wire.codes import CASH_MAX, QUANTITY_MAX, OrderType, Reason, Side, TimeInForce
from madang.wire.commands import (
    NO_REQUEST,
    InstrumentTerms,
    OrderTerms,
    ReplaceTerms,
    encode_cancel,
    encode_create_account,
    encode_new_order,
    encode_replace,
    encode_set_instrument,
    encode_transfer,
)
from madang.wire.events import EventKind, Result, Trade, parse_result, parse_trade, split_records

RULES_VERSION = 1

Answer = TypeVar("Answer")


class Reply(NamedTuple):
    """What a command came to."""

    result: Result
    trades: tuple[Trade, ...]


Steps = Generator[bytes, Reply, Answer]


@dataclass(frozen=True, slots=True)
class ReplayAccounts:
    """Who acts in a replay. The numbers differ, so that no order meets one of its own account."""

    instrument: int
    buyers: tuple[int, ...]
    sellers: tuple[int, ...]
    unknown: int
    taker: int

    def numbers(self) -> tuple[int, ...]:
        """Return all accounts, in the order they were made."""
        return (*self.buyers, *self.sellers, self.unknown, self.taker)


class Client:
    """Makes command records for the replay's accounts, with ids that do not repeat."""

    def __init__(self, accounts: ReplayAccounts, run: bytes) -> None:
        self.accounts = accounts
        self._run = run
        self._number = 0

    def _next_id(self) -> bytes:
        self._number += 1
        return b"%s-%d" % (self._run, self._number)

    def maker(self, side: Side, file_id: int) -> int:
        """Return the account that an order of the file belongs to."""
        makers = self.accounts.buyers if side == Side.BUY else self.accounts.sellers
        return makers[file_id % len(makers)]

    def place(
        self, account: int, side: Side, price: int, quantity: int, tif: TimeInForce
    ) -> Steps[Reply]:
        """Send a limit order; `quantity` is in quantity units."""
        terms = OrderTerms(
            instrument=self.accounts.instrument, side=side, type=OrderType.LIMIT,
            time_in_force=tif, quantity=quantity, limit_price=price,
        )  # fmt: skip
        return (yield encode_new_order(account, NO_REQUEST, terms, self._next_id()))

    def reduce(self, account: int, order_id: int, quantity: int) -> Steps[Reply]:
        """Make an order smaller; it keeps its place."""
        terms = ReplaceTerms(order_id, quantity=quantity)
        return (yield encode_replace(account, NO_REQUEST, terms, self._next_id()))

    def cancel(self, account: int, order_id: int) -> Steps[Reply]:
        """Cancel an order."""
        return (yield encode_cancel(account, NO_REQUEST, order_id))


def set_up(terms: InstrumentTerms, makers: int) -> Steps[ReplayAccounts]:
    """Create an instrument and `makers` accounts a side, with all that a replay may need."""
    reply = yield encode_set_instrument(NO_REQUEST, terms)
    instrument = reply.result.number
    count = 2 * makers + 2
    numbers = []
    for index in range(count):
        name = b"replay %s %d" % (terms.symbol, index)
        reply = yield encode_create_account(NO_REQUEST, name)
        assert reply.result.reason == Reason.OK, "a replay needs accounts of its own"
        numbers.append(reply.result.number)
    for number in numbers:
        # The bound holds for the whole venue, so leave room for whatever else it has.
        yield encode_transfer(number, NO_REQUEST, 0, CASH_MAX // (count + 1))
        yield encode_transfer(number, NO_REQUEST, instrument, QUANTITY_MAX // (count + 1))
    *rest, unknown, taker = numbers
    return ReplayAccounts(instrument, tuple(rest[:makers]), tuple(rest[makers:]), unknown, taker)


def drive(engine: Engine, steps: Steps[Answer]) -> Answer:
    """Run a replay against an engine, one batch a command, and return what it returns."""
    try:
        command = next(steps)
        while True:
            command = steps.send(apply_one(engine, command))
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer


def apply_one(engine: Engine, command: bytes) -> Reply:
    """Have one command done, in a batch of its own."""
    batch = encode_batch(
        command, 1, term=0, sequence=engine.sequence + 1, now_ns=engine.now_ns + 1,
        rules_version=RULES_VERSION,
    )  # fmt: skip
    events = engine.apply(batch)
    trades = []
    result = None
    for kind, offset, _ in split_records(events):
        if kind == EventKind.TRADE:
            trades.append(parse_trade(events, offset))
        elif kind == EventKind.RESULT:
            result = parse_result(events, offset)
    assert result is not None, "every command ends with a RESULT"
    return Reply(result, tuple(trades))
