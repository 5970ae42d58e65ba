"""The prices that the traders see: Alpaca's data stream, and a first look over REST."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from madang.core.errors import MadangError
from madang.exchange.sim.account import price_units
from madang.exchange.sim.crowd import Crowd
from madang.exchange.sim.rest import Address, Key, RestClient, Unavailable
from madang.exchange.sim.socket import (
    OPEN_TIMEOUT_S,
    Connection,
    SignInRefused,
    keep_connected,
)
from madang.wire.codes import PRICE_SCALE


class NoPriceError(MadangError):
    """Nobody says what a symbol costs."""


def first_prices(address: Address, keys: list[Key], symbols: list[str]) -> dict[str, int]:
    """Return where the prices are: last trade, middle of the quote, or what a position is worth.

    Raises NoPriceError, Unavailable.
    """
    client = RestClient(address, keys[0])
    rows = client.get(f"/v2/stocks/snapshots?symbols={','.join(symbols)}")
    prices: dict[str, int] = {}
    for symbol in symbols:
        price = _price(rows.get(symbol) or {}) or _worth(address, keys, symbol)
        if not price:
            raise NoPriceError(
                f"{symbol} has no trade, no quote and no reference price yet: give --price "
                f"{symbol}=100.00",
                symbol=symbol,
            )
        prices[symbol] = price
    return prices


def _price(snapshot: dict[str, Any]) -> int:
    trade = snapshot.get("latestTrade")
    if trade:
        return price_units(str(trade["p"]))
    quote = snapshot.get("latestQuote") or {}
    bid, ask = quote.get("bp") or 0, quote.get("ap") or 0
    return round((bid + ask) / 2 * PRICE_SCALE) if bid and ask else 0


def _worth(address: Address, keys: list[Key], symbol: str) -> int:
    for key in keys:
        with contextlib.suppress(Unavailable):
            row = RestClient(address, key).get(f"/v2/positions/{symbol}")
            return price_units(row["current_price"] or "0")
    return 0


class Market:
    """Keeps a crowd's view of the market."""

    def __init__(self, address: Address, key: Key, crowd: Crowd) -> None:
        self._address = address
        self._key = key
        self._crowd = crowd
        self._known = False
        self.trades = 0
        self.connected = False

    async def run(self) -> None:
        """Stay connected for ever; raises SignInRefused."""
        await keep_connected(self._address.stream("/v2/iex"), self._serve, self._lost)

    def _lost(self) -> None:
        self.connected = False

    async def _serve(self, connection: Connection) -> None:
        symbols = list(self._crowd.shares)
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await connection.recv()
            await _say(connection, action="auth", key=self._key.key_id, secret=self._key.secret)
            answer = msgspec.json.decode(await connection.recv())[0]
            if answer["T"] == "error":
                if self._known:  # a worker that has just begun may not know everybody yet
                    return
                raise SignInRefused(f"the data stream refuses the key: {answer['msg']}")
            await _say(connection, action="subscribe", quotes=symbols, trades=symbols)
        self.connected = self._known = True
        async for message in connection:
            for row in msgspec.json.decode(message):
                self._see(row)

    def _see(self, row: dict[str, Any]) -> None:
        share = self._crowd.shares.get(row.get("S", ""))
        if share is None:
            return
        if row["T"] == "q":
            share.bid, share.ask = _units(row["bp"]), _units(row["ap"])
        elif row["T"] == "t":
            share.last = _units(row["p"])
            self.trades += 1


def _units(price: float) -> int:
    return round(price * PRICE_SCALE)


async def _say(connection: Connection, **frame: object) -> None:
    await connection.send(msgspec.json.encode(frame), text=True)
