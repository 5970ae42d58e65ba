"""What the simulated traders believe a share is worth, and how busy its market is. Pure.

A fair price walks with trends that come and go and with calm and wild hours; it is pulled, slowly,
to where it began, so that a market that runs for weeks stays where people know it. Steps may have
any length, so the same walk serves a live market and one that is told in minutes. Money inside is
a float, since it is only a belief; what leaves is an integer in price units.
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

VOLATILITY = 6e-5  # of the price, in the square root of a second: about 1.8 % a day
TREND = 1.2e-6  # of the price, a second: how strong trends are
TREND_S = 1_800.0
MOOD_SIGMA = 0.35
MOOD_S = 900.0
"""How long calm and wild times last."""
BUSY_S = 420.0
BUSY_SIGMA = 0.6
ANCHOR_S = 4 * 86_400.0
LEARN_S = 900.0
"""How long the traders take to believe what others pay."""
STEP_S_MAX = 60.0
WEIGHTS_KEPT = 256
"""Lengths of steps whose weights are remembered: a run has few."""
PRICE_FLOOR = 0.2
"""A fair price never falls below this part of where it began."""


class Chance(Protocol):
    """The part of `random.Random` that is used."""

    def random(self) -> float:
        """Return a number from 0 to 1."""
        ...

    def gauss(self, mu: float, sigma: float, /) -> float:
        """Return a normally distributed number."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Return a number from 0 to `stop` - 1."""
        ...


class FairPrice:
    """The belief about one share."""

    __slots__ = ("_anchor", "_chance", "_mood", "_trend", "_value", "busy")

    def __init__(self, chance: Chance, price: int) -> None:
        self._chance = chance
        self._anchor = float(price)
        self._value = float(price)
        self._trend = chance.gauss(0.0, TREND)
        self._mood = chance.gauss(0.0, 0.3)
        self.busy = chance.gauss(0.0, BUSY_SIGMA)

    @property
    def price(self) -> int:
        """Return the fair price, in price units."""
        return round(self._value)

    @property
    def activity(self) -> float:
        """Return how busy the share is; about 1 on average."""
        return math.exp(self.busy + self._mood / 2)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        left = seconds
        while left > 0:
            self._step(min(left, STEP_S_MAX))
            left -= STEP_S_MAX

    def _step(self, seconds: float) -> None:
        shock = self._shock
        trend_kept, trend_new, mood_kept, mood_new, busy_kept, busy_new, far = _weights(seconds)
        self._trend = self._trend * trend_kept + trend_new * shock()
        self._mood = self._mood * mood_kept + mood_new * shock()
        self.busy = self.busy * busy_kept + busy_new * shock()
        moved = (
            self._trend * seconds
            + far * math.exp(self._mood) * shock()
            - math.log(self._value / self._anchor) * seconds / ANCHOR_S
        )
        self._value = max(self._anchor * PRICE_FLOOR, self._value * math.exp(moved))

    def _shock(self) -> float:
        """Return chance around 0 with a deviation of 1; three uniform numbers cost little."""
        luck = self._chance.random
        return 2.0 * (luck() + luck() + luck() - 1.5)

    def learn(self, price: int, seconds: float) -> None:
        """Believe a little more in what the market pays, after it did so for some time."""
        self._value += (price - self._value) * min(1.0, seconds / LEARN_S)


@functools.lru_cache(maxsize=WEIGHTS_KEPT)
def _weights(seconds: float) -> tuple[float, ...]:
    """Return what a step of so many seconds keeps and adds, of walks that keep their deviation."""
    found: list[float] = []
    for sigma, span_s in ((TREND, TREND_S), (MOOD_SIGMA, MOOD_S), (BUSY_SIGMA, BUSY_S)):
        kept = math.exp(-seconds / span_s)
        found += (kept, sigma * math.sqrt(1.0 - kept * kept))
    return (*found, VOLATILITY * math.sqrt(seconds))


def hour_activity(hour: float) -> float:
    """Return how busy a market is at an hour of its day: mornings and closes, quiet nights."""
    return (
        0.65
        + 0.8 * math.exp(-(((hour - 9.9) / 1.5) ** 2))
        + 0.3 * math.exp(-(((hour - 12.8) / 2.5) ** 2))
        + 0.7 * math.exp(-(((hour - 15.4) / 1.2) ** 2))
    )
