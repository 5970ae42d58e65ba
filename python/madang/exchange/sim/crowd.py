"""All simulated traders of a run: whose turn it is, about what, and what they do. Pure.

One turn is one order, so whoever runs a crowd sets its rate by how often it asks. The same seed,
the same times and the same answers give the same orders. Each kind of trader has its part of the
turns; a trader that wants nothing leaves its turn to a maker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple

from madang.exchange.sim.desk import Desk, Order
from madang.exchange.sim.prices import Chance, FairPrice
from madang.exchange.sim.strategies import Maker, Noise, Trend, View

SPREAD = 0.5
"""How much of their activity shows in how often symbols are chosen: 1 all, 0 nothing."""
TRIES = 4
"""How many symbols are looked at before a turn is given up."""


class Parts(NamedTuple):
    """Parts of the turns that takers have; the makers have the rest."""

    noise: float = 0.22
    trend: float = 0.08


class Counts(NamedTuple):
    """How many traders of each kind."""

    makers: int
    noise: int
    trend: int

    @property
    def total(self) -> int:
        """How many there are."""
        return self.makers + self.noise + self.trend

    def names(self) -> list[str]:
        """Return what the traders are called, in the order of their numbers."""
        kinds = (("maker", self.makers), ("noise", self.noise), ("trend", self.trend))
        return [f"{kind}-{index + 1}" for kind, count in kinds for index in range(count)]


class Kind(IntEnum):
    """What kind of trader."""

    MAKER = 0
    NOISE = 1
    TREND = 2


class Turn(NamedTuple):
    """What a trader, by its number, wants sent."""

    trader: int
    order: Order


class Share:
    """What is known of one symbol."""

    __slots__ = ("ask", "bid", "fair", "last")

    def __init__(self, fair: FairPrice) -> None:
        self.fair = fair
        self.bid = 0
        self.ask = 0
        self.last = 0


class Crowd:
    """The traders and their desks, in the order makers, noise, trend."""

    def __init__(
        self, seeded: Callable[[str], Chance], counts: Counts, prices: Mapping[str, int]
    ) -> None:
        """`seeded` returns the chance of a purpose; `prices` are where the symbols begin."""
        self._chance = seeded("turns")
        self.counts = counts
        self.parts = Parts()
        self.scale = 1
        self.desks = [Desk() for _ in range(counts.total)]
        self.shares = {
            symbol: Share(FairPrice(seeded(f"price {symbol}"), price))
            for symbol, price in prices.items()
        }
        self._makers = [Maker(seeded(f"maker {n}"), n) for n in range(counts.makers)]
        self._noise = [Noise(seeded(f"noise {n}")) for n in range(counts.noise)]
        self._trend = [Trend(seeded(f"trend {n}")) for n in range(counts.trend)]
        self._makers_now = counts.makers
        self._turns = [0, 0, 0]

    def set_makers(self, count: int, levels: int) -> None:
        """Have the first `count` makers keep so many quotes a side; the others have no turn."""
        self._makers_now = min(count, len(self._makers))
        for maker in self._makers:
            maker.levels = levels

    def pass_time(self, seconds: float) -> None:
        """Let the fair prices walk and the traders watch."""
        for symbol, share in self.shares.items():
            share.fair.step(seconds)
            if share.last:
                share.fair.learn(share.last, seconds)
            middle = self._view(share).middle
            for trend in self._trend:
                trend.see(symbol, middle, seconds)

    def turn(self, able: Callable[[int], bool] = lambda _: True) -> Turn | None:
        """Return the next order; None where nobody who is `able`, by number, wants anything."""
        weights = [share.fair.activity**SPREAD for share in self.shares.values()]
        symbols = list(self.shares)
        for attempt in range(TRIES):
            symbol = symbols[self._weighted(weights)]
            kind = self._kind(self.shares[symbol]) if attempt == 0 else Kind(attempt % 2)
            found = self.turn_of(kind, symbol, able)
            if found is not None:
                return found
        return None

    def turn_of(
        self, kind: Kind, symbol: str, able: Callable[[int], bool] = lambda _: True
    ) -> Turn | None:
        """Return the next order about a symbol: of a kind of trader, else of a maker."""
        found = self._ask(kind, symbol, able)
        if found is None and kind:
            found = self._ask(Kind.MAKER, symbol, able)
        return found

    def _view(self, share: Share) -> View:
        return View(share.fair.price, share.bid, share.ask, share.fair.activity, self.scale)

    def _kind(self, share: Share) -> Kind:
        """Choose whose turn it is: the takers have more of them when it is busy."""
        luck = self._chance.random() / min(2.0, max(0.5, share.fair.activity))
        if luck < self.parts.trend and self._trend:
            return Kind.TREND
        takes = luck < self.parts.trend + self.parts.noise
        return Kind.NOISE if self._noise and (takes or not self._makers) else Kind.MAKER

    def _ask(self, kind: Kind, symbol: str, able: Callable[[int], bool]) -> Turn | None:
        traders = (self._makers, self._noise, self._trend)[kind]
        if not traders:
            return None
        index = self._turns[kind] % (self._makers_now if kind == Kind.MAKER else len(traders))
        self._turns[kind] += 1
        number = index + (0, self.counts.makers, self.counts.makers + self.counts.noise)[kind]
        if not able(number):
            return None
        view = self._view(self.shares[symbol])
        order = traders[index].turn(symbol, view, self.desks[number])
        return None if order is None else Turn(number, order)

    def _weighted(self, weights: list[float]) -> int:
        luck = self._chance.random() * sum(weights)
        for index, weight in enumerate(weights):
            luck -= weight
            if luck <= 0:
                return index
        return len(weights) - 1
