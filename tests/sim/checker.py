"""What clients were told, and whether all of it is still true in the end.

Reads no state of the venue: results, order events and refusals as they arrived, and in the end what
any client may ask for: its commands again under the same ids, its events, its balance, its
positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from madang.wire.codes import PPM, VALUE_PER_CASH, Reason, Side
from madang.wire.events import (
    EventKind,
    OrderUpdate,
    Result,
    Trade,
    parse_order_update,
    parse_result,
    parse_trade,
    split_records,
)


class Violation(AssertionError):
    """A promise to a client was broken."""


class Told(NamedTuple):
    """The outcome of a command as a client was told it."""

    reason: int
    number: int
    a: int
    b: int


class Final(NamedTuple):
    """What clients are told when they ask in the end."""

    outcomes: dict[bytes, Result]
    events: bytes
    cash: dict[int, int]
    shares: dict[tuple[int, int], int]


class Checker:
    """Collects what was told; `deposits` are the cash and shares each account began with."""

    def __init__(
        self,
        cash: dict[int, int],
        shares: dict[tuple[int, int], int],
        maker_ppm: int,
        taker_ppm: int,
    ) -> None:
        self._cash = cash
        self._shares = shares
        self._maker, self._taker = maker_ppm, taker_ppm
        self.outcomes: dict[bytes, Told] = {}
        self.events: dict[int, bytes] = {}
        self.never: set[bytes] = set()

    def result(self, result: Result) -> None:
        """A client was told an outcome."""
        told = Told(result.reason, result.number, result.a, result.b)
        before = self.outcomes.setdefault(result.request_id, told)
        if before != told:
            raise Violation(f"outcome of {result.request_id.hex()} was {before}, now {told}")

    def event(self, record: bytes) -> None:
        """A client was told an order event."""
        event_id = parse_order_update(record).event_id
        if self.events.setdefault(event_id, record) != record:
            raise Violation(f"event {event_id} was told with two contents")

    def definite_no(self, request_id: bytes) -> None:
        """A client was told that its command was not and will not be done."""
        self.never.add(request_id)

    def check(self, final: Final) -> None:
        """Raise Violation unless everything told is true."""
        self._check_outcomes(final)
        self._check_events(final)
        self._check_orders(final)
        self._check_balances(final)

    def _check_outcomes(self, final: Final) -> None:
        for request_id, told in self.outcomes.items():
            result = final.outcomes.get(request_id)
            if result is None:
                raise Violation(f"{request_id.hex()} was answered {told} and is unknown")
            if not result.repeat:
                raise Violation(f"{request_id.hex()} was answered {told} and was done again")
            if (result.reason, result.number, result.a, result.b) != told:
                raise Violation(f"{request_id.hex()} was answered {told}, is now {result}")
        done = {result.request_id for result in _results(final.events)}
        for request_id in self.never:
            if request_id in done:
                raise Violation(f"{request_id.hex()} was refused for good and was done")

    def _check_events(self, final: Final) -> None:
        found = {update.event_id: record for update, record in _updates(final.events)}
        for event_id, record in self.events.items():
            if found.get(event_id) != record:
                raise Violation(f"event {event_id} was told and is not what happened")

    def _check_orders(self, final: Final) -> None:
        numbers = Counter(
            result.number
            for result in _results(final.events)
            if result.order is not None and not result.repeat and result.command_kind == 1
        )
        doubled = [number for number, times in numbers.items() if times > 1]
        if doubled:
            raise Violation(f"orders {doubled} answer two commands")
        born = Counter(
            update.order.order_id for update, _ in _updates(final.events) if _is_birth(update)
        )
        for request_id, told in self.outcomes.items():
            result = final.outcomes[request_id]
            if told.reason == Reason.OK and result.command_kind == 1 and born[told.number] != 1:
                raise Violation(f"acknowledged order {told.number} began {born[told.number]} times")
        trades = Counter(trade.trade_id for trade in _trades(final.events))
        fills = Counter(
            (update.trade_id, update.order.order_id)
            for update, _ in _updates(final.events)
            if update.trade_id
        )
        if any(times > 1 for times in (*trades.values(), *fills.values())):
            raise Violation("an execution id was used twice")

    def _check_balances(self, final: Final) -> None:
        roots: dict[int, int] = {}
        for update, _ in _updates(final.events):
            order = update.order
            if order.replaces:
                roots.setdefault(order.order_id, roots.get(order.replaces, order.replaces))
        cash, shares = dict(self._cash), dict(self._shares)
        sums: dict[tuple[int, Side, int], tuple[int, int]] = {}
        for trade in _trades(final.events):
            value = trade.price * trade.quantity
            for side, number, account, sign in (
                (Side.BUY, trade.buy_order, trade.buy_account, 1),
                (Side.SELL, trade.sell_order, trade.sell_account, -1),
            ):
                rate = self._taker if trade.aggressor == side else self._maker
                key = (account, side, roots.get(number, number))
                values, fees = sums.get(key, (0, 0))
                sums[key] = values + value, fees + value * rate
                place = (account, trade.instrument)
                shares[place] = shares.get(place, 0) + sign * trade.quantity
        for (account, side, _), (value, fees) in sums.items():
            scale = VALUE_PER_CASH * PPM
            if side == Side.BUY:
                cash[account] -= -(-(value * PPM + fees) // scale)
            else:
                cash[account] += (value * PPM - fees) // scale
        if cash != final.cash:
            raise Violation(f"cash should be {cash}, is {final.cash}")
        expected = {place: quantity for place, quantity in shares.items() if quantity}
        if expected != final.shares:
            raise Violation(f"shares should be {expected}, are {final.shares}")


def _is_birth(update: OrderUpdate) -> bool:
    return update.order.created_ns == update.order.updated_ns and update.event in (1, 2)


def _results(events: bytes) -> Iterable[Result]:
    for kind, offset, _ in split_records(events):
        if kind == EventKind.RESULT:
            yield parse_result(events, offset)


def _updates(events: bytes) -> Iterable[tuple[OrderUpdate, bytes]]:
    for kind, offset, length in split_records(events):
        if kind == EventKind.ORDER:
            yield parse_order_update(events, offset), events[offset : offset + length]


def _trades(events: bytes) -> Iterable[Trade]:
    for kind, offset, _ in split_records(events):
        if kind == EventKind.TRADE:
            yield parse_trade(events, offset)
