"""Orders from several clients while every process dies at random.

MADANG_SEED repeats a run (and makes it the only one), MADANG_DRILL_S sets how long orders are
offered in each.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import pytest

from madang.core.ids import Kind, from_uuid
from madang.wire.codes import CASH_SCALE, QUANTITY_SCALE
from tests.drill.checker import (
    Balance,
    check_balances,
    check_executions,
    check_orders,
    open_ledger,
    shares_units,
    units,
)
from tests.drill.client import Client
from tests.drill.faults import Fault, inflict, outages
from tests.drill.load import Load, LoadSettings
from tests.drill.product import Product, Trader, running_product
from tests.drill.streams import StreamClient

SYMBOLS = {"KIM": "50.00", "LEE": "120.00", "PARK": "8.00", "CHOI": "300.00"}
CASH = 500_000_000 * CASH_SCALE
SHARES = 5_000_000 * QUANTITY_SCALE
RATE_PER_S = 2_000
TRADERS = 6
CONNECTIONS = 24
RUNS = 3
ACKNOWLEDGED_SHARE_MIN = 0.95
AGAIN_LIMIT_S = 10.0
SETTLE_LIMIT_S = 30.0


def seeds() -> list[int]:
    """Return the seeds of this campaign."""
    if "MADANG_SEED" in os.environ:
        return [int(os.environ["MADANG_SEED"])]
    return [random.SystemRandom().randrange(1, 10**6) for _ in range(RUNS)]


@pytest.mark.parametrize("seed", seeds())
def test_nothing_acknowledged_is_lost_when_processes_die(tmp_path: Path, seed: int) -> None:
    """The drill of the order path."""
    duration_s = float(os.environ.get("MADANG_DRILL_S", "60"))
    say(f"MADANG_SEED={seed}")
    with running_product(
        tmp_path, workers=2, symbols=SYMBOLS, traders=TRADERS, cash=CASH, shares=SHARES
    ) as (product, traders):
        settings = LoadSettings(RATE_PER_S, duration_s, CONNECTIONS, seed)
        load = Load(product.port, traders, SYMBOLS, settings)
        faults, seen, balances = asyncio.run(_drill(product, load, seed))
        report(load, faults)
        say(product.run("venue", "verify"))
    with open_ledger(product.state) as ledger:
        check_orders(load, ledger)
        check_executions(ledger, seen)
        check_balances(ledger, Balance(CASH, dict.fromkeys(SYMBOLS, SHARES)), balances)
    ledger.close()
    assert seen, "the streams told nothing"
    assert len({fault.victim for fault in faults}) >= 2, "the drill killed too little"
    assert acknowledged_share(load, faults) >= ACKNOWLEDGED_SHARE_MIN
    assert max(outage.silent_s for outage in outages(load, faults)) < AGAIN_LIMIT_S


async def _drill(
    product: Product, load: Load, seed: int
) -> tuple[list[Fault], list[int], dict[int, Balance]]:
    streams = [StreamClient(product.port, trader) for trader in load.traders]
    listeners = [asyncio.create_task(stream.run()) for stream in streams]
    until_s = time.monotonic() + load.settings.duration_s
    offering = asyncio.create_task(load.run())
    faults = await inflict(product, seed, until_s)
    await offering
    await asyncio.to_thread(product.wait_until_up)
    balances = dict([await _balance(product, trader) for trader in load.traders])
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    return faults, [i for stream in streams for i in stream.executions], balances


async def _balance(product: Product, trader: Trader) -> tuple[int, Balance]:
    client = Client("127.0.0.1", product.port, trader.key_id, trader.secret)
    limit_s = time.monotonic() + SETTLE_LIMIT_S
    while time.monotonic() < limit_s:
        account = await client.call("GET", "/v2/account")
        positions = await client.call("GET", "/v2/positions")
        if account.status == positions.status == 200:
            client.drop()
            number = from_uuid(Kind.ACCOUNT, account.body["id"])
            assert number is not None
            shares = {row["symbol"]: shares_units(row["qty"]) for row in positions.body}
            return number, Balance(units(account.body["cash"], 6), shares)
        await asyncio.sleep(0.05)
    raise AssertionError(f"no balance of {trader.name} within {SETTLE_LIMIT_S} s")


def acknowledged_share(load: Load, faults: list[Fault]) -> float:
    """Return which share of the orders due outside outages was acknowledged."""
    windows = [(o.fault.at_s, o.last_failure_s) for o in outages(load, faults)]
    outside = [told for told in load.told if not any(b <= told.sent_s <= e for b, e in windows)]
    good = [told for told in outside if told.status == 200]
    return len(good) / max(1, len(outside))


def say(text: str) -> None:
    """Print a line of the drill's report."""
    sys.stdout.write(text + "\n")


def report(load: Load, faults: list[Fault]) -> None:
    """Print what happened."""
    statuses: dict[int, int] = {}
    for told in load.told:
        statuses[told.status] = statuses.get(told.status, 0) + 1
    say(f"{len(load.told)} orders offered, answers by status {dict(sorted(statuses.items()))}")
    for outage in outages(load, faults):
        say(
            f"{outage.fault.victim:<12} killed, orders failed for {outage.failing_s:.3f} s, "
            f"the first went through after {outage.silent_s:.3f} s"
        )
    say(f"acknowledged outside outages: {acknowledged_share(load, faults):.4f}")
