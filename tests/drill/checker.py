"""What must hold whatever died, judged from what clients were told and what the venue has."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from madang.core.ids import Kind, from_uuid
from madang.wire.codes import QUANTITY_SCALE, Side
from tests.drill.load import Load

MAKER_PPM = 100
TAKER_PPM = 300
PPM = 1_000_000
EXACT = 10**13
MAKER = 1


class Balance(NamedTuple):
    """An account in units, as the interface told it at the end."""

    cash: int
    shares: dict[str, int]


def open_ledger(state: Path) -> sqlite3.Connection:
    """Open the ledger's database for reading."""
    return sqlite3.connect(f"file:{state / 'ledger.db'}?mode=ro", uri=True)


def check_orders(load: Load, ledger: sqlite3.Connection) -> None:
    """No acknowledged order lost, none doubled, none that was refused came to be."""
    stored: dict[str, list[int]] = defaultdict(list)
    for client_order_id, order_id in ledger.execute("SELECT client_order_id, order_id FROM orders"):
        stored[client_order_id].append(order_id)
    for told in load.told:
        found = stored.get(told.client_order_id, [])
        assert len(found) <= 1, f"{told.client_order_id} is in the venue {len(found)} times"
        if told.status == 200:
            assert told.order_id is not None
            assert found == [from_uuid(Kind.ORDER, told.order_id)], f"lost or changed: {told}"
        elif 400 <= told.status < 500:
            assert not found, f"refused, yet in the venue: {told}"


def check_executions(ledger: sqlite3.Connection, seen: list[int]) -> None:
    """No execution id twice, each trade has two equal sides, streams told only what happened."""
    fills = list(ledger.execute("SELECT event_id, trade_id, side, price, quantity FROM fills"))
    assert len({fill[0] for fill in fills}) == len(fills)
    trades: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for _, trade_id, side, price, quantity in fills:
        trades[trade_id].append((side, price, quantity))
    for trade_id, sides in trades.items():
        assert sorted(side[0] for side in sides) == [Side.BUY, Side.SELL], trade_id
        assert sides[0][1:] == sides[1][1:], trade_id
    assert len(seen) == len(set(seen)), "a stream told an execution twice"
    assert set(seen) <= {fill[0] for fill in fills}, "a stream told an execution that is not there"


def check_balances(ledger: sqlite3.Connection, first: Balance, told: dict[int, Balance]) -> None:
    """Cash and shares are what the fills make of the deposits, to the last unit.

    Every account had `first`, whose symbols stand in the order of their instrument numbers.
    """
    exact: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    moved: dict[tuple[int, int], int] = defaultdict(int)
    rows = ledger.execute(
        "SELECT account, order_id, side, instrument, price, quantity, liquidity FROM fills"
    )
    for account, order_id, side, instrument, price, quantity, liquidity in rows:
        value = price * quantity
        sums = exact[account, order_id, side]
        sums[0] += value
        sums[1] += value * (MAKER_PPM if liquidity == MAKER else TAKER_PPM)
        moved[account, instrument] += quantity if side == Side.BUY else -quantity
    cash: dict[int, int] = defaultdict(int)
    for (account, _, side), (value, fee) in exact.items():
        if side == Side.BUY:
            cash[account] -= -(-(value * PPM + fee) // EXACT)
        else:
            cash[account] += (value * PPM - fee) // EXACT
    for account, balance in told.items():
        assert balance.cash == first.cash + cash[account], f"cash of account {account}"
        for number, symbol in enumerate(first.shares, start=1):
            expected = first.shares[symbol] + moved[account, number]
            assert balance.shares.get(symbol, 0) == expected, f"{symbol} of account {account}"


def units(text: str, decimals: int) -> int:
    """Return decimal text in units."""
    whole, _, part = text.partition(".")
    return int(f"{whole}{part:0<{decimals}}"[: len(whole) + decimals])


def shares_units(text: str) -> int:
    """Return shares in units."""
    return units(text, len(str(QUANTITY_SCALE)) - 1)
