"""What the simulated traders do. Pure: a seeded random in, orders out; prices in price units.

A maker follows a fair price that walks at random and keeps LADDER quotes a side around it; a taker
buys and sells small amounts, mostly with the last move, so that prices trend and turn.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from madang.wire.codes import PRICE_SCALE

LADDER = 6
CENT = PRICE_SCALE // 100


class Quote(NamedTuple):
    """A limit order that a maker wants in the book."""

    side: str
    price: int
    shares: int


class Strike(NamedTuple):
    """An order that takes what is there; `price` 0 is a market order."""

    symbol: str
    side: str
    shares: int
    price: int


def price_text(price: int) -> str:
    """Return a price with two decimals."""
    cents = price // CENT
    return f"{cents // 100}.{cents % 100:02d}"


class Maker:
    """Quotes around a fair price that walks in steps of about two basis points."""

    def __init__(self, seed: int, first_prices: dict[str, int]) -> None:
        self._random = random.Random(seed)
        self._first = dict(first_prices)
        self.fair = dict(first_prices)

    def next_symbol(self) -> str:
        """Choose whose quotes to renew."""
        return self._random.choice(list(self.fair))

    def quotes(self, symbol: str, inventory_tilt: int = 0) -> list[Quote]:
        """Walk the fair price and return the quotes to have; a positive tilt lowers them."""
        fair = self.fair[symbol]
        step = max(CENT, fair // 5_000)
        pull = (self._first[symbol] - fair) // 400
        fair = max(100 * CENT, fair + self._random.randint(-3, 3) * step // 2 + pull)
        self.fair[symbol] = fair
        middle = fair - inventory_tilt * step
        half = max(CENT, fair // 4_000)
        quotes: list[Quote] = []
        for level in range(LADDER):
            away = half + level * self._random.randint(1, 3) * CENT
            shares = self._random.randint(1, 8) * 10 * (level + 1)
            quotes.append(Quote("buy", (middle - away) // CENT * CENT, shares))
            quotes.append(Quote("sell", (middle + away) // CENT * CENT + CENT, shares))
        return quotes


class Taker:
    """Takes small amounts now and then."""

    def __init__(self, seed: int, symbols: list[str]) -> None:
        self._random = random.Random(seed)
        self._symbols = symbols
        self._mood = dict.fromkeys(symbols, 0)

    def pause_s(self) -> float:
        """Return how long to wait before the next strike."""
        return self._random.uniform(0.15, 0.9)

    def strike(self) -> Strike:
        """Return the next order."""
        symbol = self._random.choice(self._symbols)
        mood = self._mood[symbol] + self._random.choice((-1, 0, 1))
        self._mood[symbol] = max(-3, min(3, mood))
        buy = self._random.random() < 0.5 + 0.1 * self._mood[symbol]
        return Strike(symbol, "buy" if buy else "sell", self._random.randint(1, 60), 0)
