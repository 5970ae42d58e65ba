"""`madang sim`: simulated order flow for a running venue."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from madang.bus import Bus
from madang.cli import session
from madang.cli.amounts import UsageError, price_units
from madang.cli.settings import FILE, load
from madang.exchange.operator import read_directory
from madang.exchange.sim.account import ORDERS_PER_S_MAX
from madang.exchange.sim.accounts import open_accounts
from madang.exchange.sim.crowd import Counts
from madang.exchange.sim.rest import Address, Key, RestClient
from madang.exchange.sim.runner import Report, SimSettings, simulate

RATE_MIN, RATE_MAX = 0.1, 100_000.0
TRADERS_MAX = 200
DEFAULT_URL = "http://127.0.0.1:8000"

StateOption = Annotated[str | None, typer.Option("--state", help="State folder.")]


def sim(
    symbols: Annotated[str, typer.Option(help="Symbols, commas between; without it, all.")] = "",
    rate: Annotated[float, typer.Option(help="Orders a second, all traders together.")] = 20.0,
    seed: Annotated[int, typer.Option(help="The same seed behaves the same.")] = 1,
    makers: Annotated[int, typer.Option(help="How many market makers.")] = 2,
    noise: Annotated[int, typer.Option(help="How many who trade for no reason.")] = 2,
    trend: Annotated[int, typer.Option(help="How many who follow trends.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long; 0: until Ctrl-C.")] = 0.0,
    price: Annotated[
        list[str] | None, typer.Option(help="SYMBOL=PRICE where nothing has a price yet.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where the venue is.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY_ID:SECRET of an account, once for each; without any, accounts are made.",
            envvar="MADANG_SIM_KEYS",
        ),
    ] = None,
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a second.")] = False,
) -> None:
    """Trade with simulated market makers, noise traders and trend followers; Ctrl-C ends it.

    They are ordinary clients of the API. With --key they use those accounts on any Madang; without,
    the venue of this machine's state folder is asked, as its operator, for accounts of their own.

    Example: madang sim --rate 50
    """
    counts = Counts(makers, noise, trend)
    _check(rate, counts)
    address = url or _own_url()
    wanted = [symbol for symbol in symbols.split(",") if symbol]
    keys = [_key(text) for text in key or []]
    if keys:
        wanted = wanted or _listed(address, keys[0])
    else:
        wanted, keys = _prepare(state, counts, wanted)
    settings = SimSettings(
        url=address,
        symbols=tuple(wanted),
        rate=rate,
        seed=seed,
        counts=counts,
        prices=dict(_price(text) for text in price or []),
    )
    asyncio.run(_run(settings, keys, seconds, as_json=as_json))


def _check(rate: float, counts: Counts) -> None:
    if not RATE_MIN <= rate <= RATE_MAX:
        raise UsageError(f"--rate: {RATE_MIN:g} to {RATE_MAX:g} orders a second", rate=rate)
    if min(counts) < 0 or not 1 <= counts.total <= TRADERS_MAX:
        raise UsageError(f"--makers, --noise, --trend: 1 to {TRADERS_MAX} traders together")
    if rate > counts.total * ORDERS_PER_S_MAX:
        raise UsageError(
            f"--rate {rate:g}: a trader sends at most {ORDERS_PER_S_MAX} orders a second, "
            f"so it takes {math.ceil(rate / ORDERS_PER_S_MAX)} of them"
        )


def _own_url() -> str:
    if not Path(FILE).exists():
        return DEFAULT_URL
    settings = load(Path(FILE), os.environ, {})
    scheme = "https" if settings.edge.tls_cert else "http"
    return f"{scheme}://{settings.listen.host}:{settings.listen.port}"


def _key(text: str) -> Key:
    key_id, found, secret = text.partition(":")
    if not found or not key_id or not secret:
        raise UsageError("--key: expected KEY_ID:SECRET")
    return Key(key_id, secret)


def _price(text: str) -> tuple[str, int]:
    symbol, found, price = text.partition("=")
    if not found or price_units(price) <= 0:
        raise UsageError(f"--price {text}: expected SYMBOL=PRICE")
    return symbol, price_units(price)


def _address(url: str) -> Address:
    try:
        return Address(url)
    except ValueError as error:
        raise UsageError(f"--url: {error}") from error


def _listed(url: str, key: Key) -> list[str]:
    rows = RestClient(_address(url), key).get("/v2/assets?status=active")
    if not rows:
        raise UsageError(f"{url} lists nothing to trade")
    return [row["symbol"] for row in rows]


def _prepare(state: str | None, counts: Counts, wanted: list[str]) -> tuple[list[str], list[Key]]:
    """Return the symbols and a key for each trader, as the operator of this machine's venue."""
    folder = session.market_folder(state)

    async def work(bus: Bus) -> tuple[list[str], list[Key]]:
        known = (await read_directory(bus)).instruments
        for symbol in wanted:
            if symbol not in known:
                raise UsageError(f"there is no instrument {symbol}", symbol=symbol)
        symbols = wanted or list(known)
        if not symbols:
            raise UsageError("the venue lists nothing to trade: see `madang venue instrument`")
        operator = session.operator(bus)
        return symbols, await open_accounts(bus, operator, folder, counts.names(), symbols)

    return session.with_bus(state, work)


async def _run(settings: SimSettings, keys: list[Key], seconds: float, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds > 0:
        loop.call_later(seconds, stop.set)

    def tell(report: Report) -> None:
        print(msgspec.json.encode(report).decode() if as_json else report.line(), flush=True)

    def wait_for(what: str) -> None:
        sys.stderr.write(f"waiting: {what}\n")

    _address(settings.url)
    await simulate(settings, keys, stop, tell, wait_for)
