"""Runs a crowd against a running Madang, at a rate, until it is stopped.

The rate is kept by asking the crowd for as many orders as are due; while nobody can send, time
passes and nothing is made up for. Restarts of workers and of the venue are outlived.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import msgspec

from madang.exchange.sim.account import Account, Tally
from madang.exchange.sim.crowd import Counts, Crowd
from madang.exchange.sim.market import Market, first_prices
from madang.exchange.sim.rest import Address, Key, Unavailable

TICK_S = 0.02
BEHIND_S_MAX = 0.25
"""Of the orders that are late, so many seconds' worth are sent; older ones are dropped."""
REPORT_S = 1.0
LEAVE_LIMIT_S = 5.0
FIRST_LOOK_PAUSE_S = 0.5
UNREACHED, TOO_MANY = 0, 429


class SimSettings(msgspec.Struct, frozen=True):
    """What is run: `rate` in orders a second, all traders together."""

    url: str
    symbols: tuple[str, ...]
    rate: float
    seed: int
    counts: Counts
    prices: dict[str, int] = {}
    leave: bool = True
    """Whether the orders are canceled at the end."""


class Report(msgspec.Struct, frozen=True):
    """One second: rates in orders and trades a second, the rest as it stands."""

    seconds: float
    sent: int
    acknowledged: int
    refused: int
    trades: int
    fills: int
    resting: int
    ready: int
    accounts: int
    reasons: dict[str, int]

    def line(self) -> str:
        """Return it for a terminal."""
        reasons = "; ".join(f"{count} x {why}" for why, count in self.reasons.items())
        return (
            f"{self.seconds:7.1f} s  sent {self.sent}/s  acknowledged {self.acknowledged}/s  "
            f"refused {self.refused}/s  trades {self.trades}/s  resting {self.resting}  "
            f"accounts {self.ready} of {self.accounts}" + (f"  ({reasons})" if reasons else "")
        )


def seeded(seed: int) -> Callable[[str], random.Random]:
    """Return what gives each purpose its own chance, all from one seed."""
    return lambda purpose: random.Random(f"{seed} {purpose}")


class Simulation:
    """A crowd with its accounts. With fewer keys than traders, traders share accounts."""

    def __init__(self, settings: SimSettings, keys: list[Key], prices: dict[str, int]) -> None:
        address = Address(settings.url)
        symbols = list(settings.symbols)
        self._settings = settings
        self._tally = Tally()
        self._crowd = Crowd(seeded(settings.seed), settings.counts, prices)
        desks = self._crowd.desks
        count = min(len(keys), len(desks))
        self._accounts = [
            Account(address, keys[index], desks[index::count], symbols, self._tally)
            for index in range(count)
        ]
        self._market = Market(address, keys[0], self._crowd)
        self._before = (0, 0, 0, 0, 0, {})  # type: tuple[int, int, int, int, int, dict[str, int]]

    async def run(self, stop: asyncio.Event, report: Callable[[Report], None]) -> None:
        """Trade until `stop`; raises SignInRefused."""
        working = [asyncio.create_task(account.run()) for account in self._accounts]
        working.append(asyncio.create_task(self._market.run()))
        working.append(asyncio.create_task(self._trade()))
        working.append(asyncio.create_task(self._report(report)))
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in [*working, stopping]:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        if self._settings.leave:
            await asyncio.gather(*[account.leave(LEAVE_LIMIT_S) for account in self._accounts])
        for task in done - {stopping}:
            task.result()

    def _able(self, trader: int) -> bool:
        return self._accounts[trader % len(self._accounts)].able

    async def _trade(self) -> None:
        rate = self._settings.rate
        last = time.monotonic()
        due = 0.0
        while True:
            await asyncio.sleep(max(TICK_S, (1.0 - due) / rate))
            now = time.monotonic()
            self._crowd.pass_time(now - last)
            due = min(due + (now - last) * rate, max(1.0, rate * BEHIND_S_MAX))
            last = now
            if not self._market.connected:
                due = 0.0
            while due >= 1.0:
                due -= 1.0
                turn = self._crowd.turn(self._able)
                if turn is not None:
                    account = self._accounts[turn.trader % len(self._accounts)]
                    await account.send(self._crowd.desks[turn.trader], turn.order)

    async def _report(self, report: Callable[[Report], None]) -> None:
        begun = time.monotonic()
        number = 0
        while True:
            number += 1
            await asyncio.sleep(max(0.0, begun + number * REPORT_S - time.monotonic()))
            report(self._second(time.monotonic() - begun))

    def _second(self, seconds: float) -> Report:
        tally = self._tally
        refused = sum(tally.refused.values())
        sent, acknowledged, before_refused, trades, fills, reasons = self._before
        found = Report(
            seconds=round(seconds, 1),
            sent=tally.sent - sent,
            acknowledged=tally.acknowledged - acknowledged,
            refused=refused - before_refused,
            trades=self._market.trades - trades,
            fills=tally.fills - fills,
            resting=sum(len(desk.orders) for desk in self._crowd.desks),
            ready=sum(account.ready for account in self._accounts),
            accounts=len(self._accounts),
            reasons={
                why: count - reasons.get(why, 0)
                for why, count in tally.refused.items()
                if count > reasons.get(why, 0)
            },
        )
        self._before = (
            tally.sent, tally.acknowledged, refused, self._market.trades, tally.fills,
            dict(tally.refused),
        )  # fmt: skip
        return found


async def simulate(
    settings: SimSettings,
    keys: list[Key],
    stop: asyncio.Event,
    report: Callable[[Report], None],
    waiting: Callable[[str], None],
) -> None:
    """Wait for the venue's prices, `waiting` being told for what, then trade until `stop`.

    Raises NoPriceError, SignInRefused, and Unavailable where the venue says that it will not do.
    """
    address = Address(settings.url)
    missing = [symbol for symbol in settings.symbols if symbol not in settings.prices]
    found: dict[str, int] = {}
    while missing and not found and not stop.is_set():
        try:
            found = await asyncio.to_thread(first_prices, address, keys, missing)
        except Unavailable as error:
            status = error.data.get("status", UNREACHED)
            if 400 <= int(str(status)) < 500 and status != TOO_MANY:
                raise
            waiting(error.message)
            await asyncio.sleep(FIRST_LOOK_PAUSE_S)
    if not stop.is_set():
        prices = {symbol: (found | settings.prices)[symbol] for symbol in settings.symbols}
        await Simulation(settings, keys, prices).run(stop, report)
