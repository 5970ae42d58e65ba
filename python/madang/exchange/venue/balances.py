"""Balances computed a second time, from the events alone, beside the engine that produced them.

Only transfers, trades, fee changes and the births of orders count; the rounding is that of the
rules: a buyer pays `ceil((V*10^6 + F) / 10^13)`, a seller gets `floor((V*10^6 - F) / 10^13)`, over
an order and those that replace it; account 0 takes the difference. Cash of single accounts needs
the log from its first command on; shares and the total of cash can be followed from any point.
"""

from __future__ import annotations

from typing import NamedTuple

from madang.exchange.engine.port import Engine
from madang.wire.codes import CASH, FEE_ACCOUNT, PPM, VALUE_PER_CASH, OrderEvent, Side, Status
from madang.wire.events import (
    ACCOUNT_BODY,
    FEES_BODY,
    HEADER,
    HEADER_BYTES,
    POSITION_BODY,
    RECORD_HEADER_BYTES,
    TRANSFER_BODY,
    EventKind,
    parse_order_update,
    parse_trade,
    split_records,
)

_SCALE = VALUE_PER_CASH * PPM
_PAGE = 1_000


class _Fills:
    """Exact value and fees of an order so far, and the rates it was accepted at."""

    __slots__ = ("fees", "maker_ppm", "taker_ppm", "value")

    def __init__(self, maker_ppm: int, taker_ppm: int) -> None:
        self.maker_ppm, self.taker_ppm = maker_ppm, taker_ppm
        self.value = self.fees = 0

    def settled(self, side: Side) -> int:
        """Return what was paid (buy) or received (sell)."""
        if side == Side.BUY:
            return -(-(self.value * PPM + self.fees) // _SCALE)
        return (self.value * PPM - self.fees) // _SCALE


class Holdings(NamedTuple):
    """Cash by account, shares by (account, instrument); nothing where it is zero."""

    cash: dict[int, int]
    shares: dict[tuple[int, int], int]


class Balances:
    """Follows the events of batches in order; `complete` means from the first command on."""

    def __init__(self, base: Engine, *, complete: bool) -> None:
        self._complete = complete
        self._cash, self._shares = holdings_of(base)
        self._fees = (0, 0)
        self._orders: dict[int, _Fills] = {}

    def take(self, events: bytes) -> None:
        """Follow the events of one batch."""
        for kind, offset, _ in split_records(events):
            if kind == EventKind.ORDER:
                self._order(events, offset)
            elif kind == EventKind.TRADE:
                self._trade(events, offset)
            elif kind == EventKind.TRANSFER:
                account = HEADER.unpack_from(events, offset)[3]
                instrument, _, amount, _ = TRANSFER_BODY.unpack_from(events, offset + HEADER_BYTES)
                if instrument == CASH:
                    _add(self._cash, account, amount)
                else:
                    _add(self._shares, (account, instrument), amount)
            elif kind == EventKind.FEES:
                self._fees = FEES_BODY.unpack_from(events, offset + HEADER_BYTES)

    def _order(self, events: bytes, offset: int) -> None:
        update = parse_order_update(events, offset)
        order = update.order
        if update.event == OrderEvent.REPLACED and order.order_id in self._orders:
            self._orders[order.replaced_by] = self._orders.pop(order.order_id)
        elif order.status in (Status.FILLED, Status.CANCELED, Status.EXPIRED):
            self._orders.pop(order.order_id, None)
        elif order.order_id not in self._orders:
            self._orders[order.order_id] = _Fills(*self._fees)

    def _trade(self, events: bytes, offset: int) -> None:
        trade = parse_trade(events, offset)
        _add(self._shares, (trade.buy_account, trade.instrument), trade.quantity)
        _add(self._shares, (trade.sell_account, trade.instrument), -trade.quantity)
        if not self._complete:
            return
        value = trade.price * trade.quantity
        for side, number, account in (
            (Side.BUY, trade.buy_order, trade.buy_account),
            (Side.SELL, trade.sell_order, trade.sell_account),
        ):
            fills = self._orders[number]
            before = fills.settled(side)
            fills.value += value
            rate = fills.taker_ppm if trade.aggressor == side else fills.maker_ppm
            fills.fees += value * rate
            moved = fills.settled(side) - before
            sign = -1 if side == Side.BUY else 1
            _add(self._cash, account, sign * moved)
            _add(self._cash, FEE_ACCOUNT, -sign * moved)

    def differences(self, engine: Engine) -> list[str]:
        """Return in what the engine's balances differ from these; empty where they agree."""
        found = holdings_of(engine)
        problems = [
            f"shares of account {place[0]} in instrument {place[1]}: "
            f"{found.shares.get(place, 0)}, events say {self._shares.get(place, 0)}"
            for place in sorted(found.shares.keys() | self._shares.keys())
            if found.shares.get(place, 0) != self._shares.get(place, 0)
        ]
        if sum(found.cash.values()) != sum(self._cash.values()):
            problems.append(
                f"cash of all accounts: {sum(found.cash.values())}, "
                f"events say {sum(self._cash.values())}"
            )
        if self._complete:
            problems += [
                f"cash of account {account}: {found.cash.get(account, 0)}, "
                f"events say {self._cash.get(account, 0)}"
                for account in sorted(found.cash.keys() | self._cash.keys())
                if found.cash.get(account, 0) != self._cash.get(account, 0)
            ]
        return problems


def _add(balances: dict[int, int] | dict[tuple[int, int], int], key: object, amount: int) -> None:
    table: dict[object, int] = balances  # type: ignore[assignment]
    balance = table.get(key, 0) + amount
    if balance:
        table[key] = balance
    else:
        table.pop(key, None)


def holdings_of(engine: Engine) -> Holdings:
    """Ask an engine for all balances."""
    cash: dict[int, int] = {}
    shares: dict[tuple[int, int], int] = {}
    records = engine.account(FEE_ACCOUNT) or b""
    last = 0
    while True:
        records += engine.accounts(last, _PAGE)
        if not records:
            return Holdings(cash, shares)
        for _, offset, _ in split_records(records):
            fields = ACCOUNT_BODY.unpack_from(records, offset + RECORD_HEADER_BYTES)
            last = fields[0]
            if fields[4]:
                cash[last] = fields[4]
            positions = engine.positions(last)
            for _, at, _ in split_records(positions):
                position = POSITION_BODY.unpack_from(positions, at + RECORD_HEADER_BYTES)
                shares[last, position[1]] = position[2]
        records = b""
