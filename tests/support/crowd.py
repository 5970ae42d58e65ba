"""A seeded crowd of traders over HTTP, and a hand that kills processes while they trade.

What becomes of an order does not matter here, only that the market moves: an answer that fails is
followed by the next order. `pause` waits until nothing is under way, so that what stands then can
be compared with what was told.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.running import wait_for
from tests.support.venue_fixture import Venue

SPREAD_CENTS = 60
SHARE_CANCELED = 0.3
SHARE_TAKING = 0.35
QUANTITY_MAX = 9
OPEN_MAX = 300
"""Of one trader: what one answer of the API (500 orders) must hold, with those it lost sight of."""
START_LIMIT_S = 20.0


class Trader:
    """One account with a connection of its own."""

    def __init__(self, venue: Venue, name: str, symbols: dict[str, int], seed: str) -> None:
        self._venue = venue
        self._headers = {**venue.people[name].headers, "Content-Type": "application/json"}
        self._symbols = symbols
        self._chooser = random.Random(seed)
        self._connection: http.client.HTTPConnection | None = None
        self._open: list[str] = []
        self.acknowledged = 0

    def act(self) -> None:
        """Place or cancel an order; whatever fails is left."""
        chooser = self._chooser
        share = 1.0 if len(self._open) >= OPEN_MAX else SHARE_CANCELED
        if self._open and chooser.random() < share:
            order_id = self._open.pop(chooser.randrange(len(self._open)))
            self._call("DELETE", f"/v2/orders/{order_id}")
            return
        symbol = chooser.choice(sorted(self._symbols))
        side = chooser.choice(("buy", "sell"))
        away = chooser.randint(1, SPREAD_CENTS) * (-1 if side == "buy" else 1)
        takes = chooser.random() < SHARE_TAKING
        cents = self._symbols[symbol] + (-away if takes else away)
        order = self._call("POST", "/v2/orders", {
            "symbol": symbol, "side": side, "type": "limit", "qty": str(
                chooser.randint(1, QUANTITY_MAX)
            ), "limit_price": f"{cents // 100}.{cents % 100:02d}",
            "time_in_force": "ioc" if takes else "day",
        })  # fmt: skip
        if order is not None:
            self.acknowledged += 1
            if order["status"] in ("new", "partially_filled"):
                self._open.append(order["id"])

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        data = None if body is None else json.dumps(body)
        try:
            if self._connection is None:
                address = ("127.0.0.1", self._venue.port)
                self._connection = http.client.HTTPConnection(*address, timeout=START_LIMIT_S)
            self._connection.request(method, path, data, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if response.status >= 300 or not answer:
            return None
        found = json.loads(answer)
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Crowd:
    """Traders in threads of their own."""

    def __init__(self, traders: list[Trader]) -> None:
        self.traders = traders
        self._over = threading.Event()
        self._may = threading.Event()
        self._idle = [threading.Event() for _ in traders]
        self._threads = [
            threading.Thread(target=self._trade, args=pair)
            for pair in zip(traders, self._idle, strict=True)
        ]

    @property
    def acknowledged(self) -> int:
        """How many orders were taken so far."""
        return sum(trader.acknowledged for trader in self.traders)

    def start(self) -> None:
        """Begin, or go on after a pause."""
        for idle in self._idle:
            idle.clear()
        self._may.set()
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def pause(self) -> None:
        """Return when nothing is under way."""
        self._may.clear()
        for idle in self._idle:
            assert idle.wait(START_LIMIT_S)

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._may.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(START_LIMIT_S)

    def _trade(self, trader: Trader, idle: threading.Event) -> None:
        while not self._over.is_set():
            if not self._may.is_set():
                idle.set()
                self._may.wait()
                continue
            trader.act()
        trader.close()


@contextmanager
def crowd(venue: Venue, names: list[str], symbols: dict[str, int], seed: int) -> Iterator[Crowd]:
    """Yield a crowd that trades `symbols` (cents by symbol) already."""
    traders = [Trader(venue, name, symbols, f"{seed} {name}") for name in names]
    found = Crowd(traders)
    found.start()
    try:
        wait_for(lambda: found.acknowledged > len(names), START_LIMIT_S, "the first orders")
        yield found
    finally:
        found.stop()


def kill_one(venue: Venue, application: str, chooser: random.Random) -> int:
    """Kill one process of an application as a power switch would; return its id."""
    pid = chooser.choice(venue.pids(application))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


def wait_until_replaced(venue: Venue, application: str, pid: int, count: int) -> None:
    """Wait until an application is whole again without a process that was killed."""

    def whole() -> bool:
        found = venue.pids(application)
        return len(found) == count and pid not in found

    wait_for(whole, START_LIMIT_S, f"{application} whole again")
