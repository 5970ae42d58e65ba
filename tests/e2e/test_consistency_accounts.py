"""What an order did is in every answer right after it was acknowledged, on any worker.

Each trader takes what others offer and leaves orders of its own, and keeps its own account of cash
and shares from the acknowledgements alone. After each of them account, position, orders and
activities are asked for over new connections, which the kernel spreads over the workers.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from tests.support.crowd import crowd, kill_one, wait_until_replaced
from tests.support.venue_fixture import Answer, Venue, running_venue
from tests.support.watchers import LIMIT_S, Progress, Watcher

CROWD = ["cas", "dan"]
TRADERS = ["ann", "bob"]
SYMBOLS = {"AAPL": 10_000, "MSFT": 5_000}
VICTIMS = ("worker", "ledger", "worker", "venue", "feed")
ROUND_S = 1.2
CHECKS = 4
"""At least so many of each bookkeeper between one kill and the next."""
STUMBLE_EVERY_S = 0.02
STUMBLE_S = 0.06
TAKER_FEE = Decimal("0.0003")
CENT = Decimal("0.01")
MICRO = Decimal("0.000001")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    fees = "fees = { maker_ppm = 0, taker_ppm = 300 }"
    folder = tmp_path_factory.mktemp("venue")
    with running_venue(folder, *TRADERS, *CROWD, extra=fees) as running:
        yield running


class Bookkeeper(Watcher):
    """One account, kept by hand and compared after each acknowledgement."""

    expected = ()  # it asks again itself, and knows what may be asked twice

    def __init__(self, venue: Venue, name: str, seed: str) -> None:
        super().__init__()
        self.bought = 0
        self.workers: set[str] = set()
        self._venue = venue
        self._name = name
        self._chooser = random.Random(seed)
        self._cash = Decimal(1_000_000)
        self._shares = dict.fromkeys(SYMBOLS, Decimal(10_000))
        self.start()

    def turn(self) -> None:
        """Take what is offered, and leave an order."""
        self._take()
        self._rest()

    def _ask(self, method: str, path: str, body: object = None) -> Answer:
        """Ask until there is an answer; nothing here may be done twice but by its own id."""
        limit_s = time.monotonic() + LIMIT_S
        while True:
            try:
                answer = self._venue.call(self._name, method, path, body)
            except OSError:
                answer = None
            if answer is not None and answer.status != 503:
                self.workers.add(answer.headers["x-request-id"].split("-")[0])
                return answer
            assert time.monotonic() < limit_s, answer
            time.sleep(0.02)

    def _place(self, **fields: str) -> dict[str, Any]:
        """Place an order under an id of its own: sent again it is found, not made again."""
        name = f"{self._name}-{self._chooser.getrandbits(64):x}"
        body = {"type": "limit", "client_order_id": name, **fields}
        answer = self._ask("POST", "/v2/orders", body)
        if answer.status == 422 and answer.json()["code"] == 40010001:
            answer = self._ask("GET", f"/v2/orders:by_client_order_id?client_order_id={name}")
        assert answer.status == 200, answer.body
        return answer.json()

    def _take(self) -> None:
        """Trade at once with whatever stands, and look everywhere."""
        symbol = self._chooser.choice(sorted(SYMBOLS))
        side = self._chooser.choice(("buy", "sell"))
        cents = SYMBOLS[symbol] + (80 if side == "buy" else -80)
        order = self._place(
            symbol=symbol, side=side, qty=str(self._chooser.randint(1, 20)), time_in_force="ioc",
            limit_price=str(Decimal(cents) * CENT),
        )  # fmt: skip
        filled = Decimal(order["filled_qty"])
        if filled:
            value = (Decimal(order["filled_avg_price"]) * filled).quantize(CENT)
            fee = Decimal(order["commission"])
            assert value * TAKER_FEE <= fee < value * TAKER_FEE + 20 * MICRO
            sign = 1 if side == "buy" else -1
            self._cash -= sign * value + fee
            self._shares[symbol] += sign * filled
            self.bought += 1
        self._check(order, Decimal(0))
        if filled:
            self._check_activities(order, filled)

    def _rest(self) -> None:
        """Leave an order far from the market, then take it back: the hold comes and goes."""
        order = self._place(
            symbol="AAPL", side="buy", qty="3", time_in_force="day", limit_price="20.5"
        )
        held = Decimal("61.5") + (Decimal("61.5") * TAKER_FEE).quantize(MICRO, ROUND_CEILING)
        self._check(order, held)
        answer = self._ask("DELETE", f"/v2/orders/{order['id']}")
        assert answer.status in (204, 422), answer.body
        found = self._ask("GET", f"/v2/orders/{order['id']}").json()
        assert found["status"] == "canceled"
        self._check(found, Decimal(0))

    def _check(self, order: dict[str, Any], held: Decimal) -> None:
        account = self._ask("GET", "/v2/account").json()
        assert Decimal(account["cash"]) == self._cash
        assert Decimal(account["buying_power"]) == self._cash - held
        symbol = order["symbol"]
        position = self._ask("GET", f"/v2/positions/{symbol}").json()
        assert Decimal(position["qty"]) == self._shares[symbol]
        newest = self._ask("GET", "/v2/orders?status=all&limit=1").rows()
        assert newest[0] == order
        open_ids = [row["id"] for row in self._ask("GET", "/v2/orders").rows()]
        assert open_ids == ([order["id"]] if held else [])
        assert self._ask("GET", f"/v2/orders/{order['id']}").json() == order
        self.steps += 1

    def _check_activities(self, order: dict[str, Any], filled: Decimal) -> None:
        fills = self._ask("GET", "/v2/account/activities/FILL?page_size=100").rows()
        mine = [Decimal(fill["qty"]) for fill in fills if fill["order_id"] == order["id"]]
        assert sum(mine) == filled


@contextmanager
def stumbling_ledger(venue: Venue) -> Iterator[None]:
    """Stop the ledger for a moment again and again, so that it is behind when it is asked."""
    over = threading.Event()

    def stumble() -> None:
        while not over.wait(STUMBLE_EVERY_S):
            for pid in venue.pids("ledger"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    over.wait(STUMBLE_S)
                    os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=stumble)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LIMIT_S)


def test_every_answer_knows_what_was_just_acknowledged(venue: Venue) -> None:
    seed = int(os.environ.get("MADANG_SEED") or random.SystemRandom().randrange(1, 10**6))
    rounds = int(os.environ.get("MADANG_CHECKPOINTS", len(VICTIMS)))
    print(f"MADANG_SEED={seed}")
    chooser = random.Random(seed)
    with crowd(venue, CROWD, SYMBOLS, seed), stumbling_ledger(venue):
        keepers = [Bookkeeper(venue, name, f"{seed} {name}") for name in TRADERS]
        try:
            for number in range(rounds):
                application = VICTIMS[number % len(VICTIMS)]
                count = len(venue.pids(application))
                checked = Progress(keepers, CHECKS)
                time.sleep(ROUND_S)
                checked.wait()
                pid = kill_one(venue, application, chooser)
                wait_until_replaced(venue, application, pid, count)
            time.sleep(ROUND_S)
        finally:
            for keeper in keepers:
                keeper.close()
    for keeper in keepers:
        assert keeper.bought > 0
        assert len(keeper.workers) > 2, "two workers, and those that came after the killed"
