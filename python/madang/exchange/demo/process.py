"""The traders' process: trades over HTTP like anybody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import msgspec

from madang.cluster.process import Process
from madang.core import log
from madang.exchange.demo.client import TradingClient, UnavailableError
from madang.exchange.demo.people import MAKERS, SYMBOLS, TAKERS, load_or_invent
from madang.exchange.demo.strategies import Maker, Quote, Taker, price_text

MAKER_PAUSE_S = 0.25
RETRY_PAUSE_S = 0.5
HTTP_OK = 200
JOIN_TIMEOUT_S = 5.0


class TradersSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the traders find the venue."""

    host: str
    port: int


class MakerLoop:
    """Keeps one maker's quotes in the book."""

    def __init__(self, client: TradingClient, seed: int) -> None:
        self._client = client
        self._maker = Maker(seed, {symbol: price for symbol, (_, price) in SYMBOLS.items()})
        self._started = False

    def turn(self) -> float:
        """Renew one symbol's quotes and return how long to pause."""
        if not self._started:
            self._client.call("DELETE", "/v2/orders")
            self._started = True
        symbol = self._maker.next_symbol()
        status, old = self._client.call("GET", f"/v2/orders?status=open&limit=500&symbols={symbol}")
        for quote in self._maker.quotes(symbol):
            self._place(symbol, quote)
        for order in old if status == HTTP_OK else []:
            self._client.call("DELETE", f"/v2/orders/{order['id']}")
        return MAKER_PAUSE_S

    def _place(self, symbol: str, quote: Quote) -> None:
        self._client.call(
            "POST",
            "/v2/orders",
            {
                "symbol": symbol,
                "side": quote.side,
                "type": "limit",
                "time_in_force": "day",
                "qty": str(quote.shares),
                "limit_price": price_text(quote.price),
            },
        )


class TakerLoop:
    """Sends one taker's market orders."""

    def __init__(self, client: TradingClient, seed: int) -> None:
        self._client = client
        self._taker = Taker(seed, list(SYMBOLS))

    def turn(self) -> float:
        """Send one order and return how long to pause."""
        strike = self._taker.strike()
        self._client.call(
            "POST",
            "/v2/orders",
            {
                "symbol": strike.symbol,
                "side": strike.side,
                "type": "market",
                "time_in_force": "day",
                "qty": str(strike.shares),
            },
        )
        return self._taker.pause_s()


def run_turns(client: TradingClient, turn: Callable[[], float], stop: threading.Event) -> None:
    """Call `turn` until told to stop; wait while the venue cannot be reached or used."""
    usable = False
    while not stop.is_set():
        try:
            if not usable:
                usable = client.call("GET", "/v2/account")[0] == HTTP_OK
            pause_s = turn() if usable else RETRY_PAUSE_S
        except UnavailableError:
            pause_s, usable = RETRY_PAUSE_S, False
        stop.wait(pause_s)


async def main(process: Process) -> None:
    """Run the demo's traders until the cluster stops them."""
    settings = msgspec.convert(dict(process.options), TradersSettings)
    people = load_or_invent(process.state_dir)
    stop = threading.Event()
    threads: list[threading.Thread] = []
    for index, name in enumerate(MAKERS + TAKERS):
        person = people.persons[name]
        client = TradingClient(settings.host, settings.port, person.key_id, person.secret)
        loop = (MakerLoop if name in MAKERS else TakerLoop)(client, people.seed + index)
        threads.append(
            threading.Thread(
                target=run_turns, args=(client, loop.turn, stop), name=name, daemon=True
            )
        )
    for thread in threads:
        thread.start()
    log.get("traders").info("trading", traders=len(threads), seed=people.seed)
    process.ready()
    await process.wait_stop()
    stop.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, JOIN_TIMEOUT_S)
