"""What each kind of trader does when it is its turn: one order, or none. Pure.

A turn is about one symbol. A market maker keeps a ladder of quotes around the fair price and leans
against what it holds too much of; a noise trader takes what is there, or rests near it, for no
reason; a trend follower goes with what moved. Prices and shares are integers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from madang.exchange.sim.desk import MARKET, Desk, Order, Resting
from madang.exchange.sim.prices import Chance
from madang.wire.codes import Side

TICK = 100  # price units: one hundredth
LEVELS = 12
HALF_SPREAD_PART = 40_000
"""Half of a maker's spread is the price divided by this, at least one tick."""
LEAN_SHARES = 1_500
LEAN_TICKS_MAX = 6
NOISE_RESTING_MAX = 3
SHARES_MAX = 600
HOLDING_SHARES = 6_000
"""Who has this much more or less than wanted trades one way only."""
TREND_FAST_S, TREND_SLOW_S = 40.0, 240.0
TREND_PART = 3e-4
_OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


class View(NamedTuple):
    """What a trader sees of one symbol; 0 where there is nothing.

    `scale` is how large orders and holdings are: where few orders stand for many, they are large.
    """

    fair: int
    bid: int
    ask: int
    activity: float
    scale: int = 1

    @property
    def middle(self) -> int:
        """Return the middle of the market, or the fair price of one without quotes."""
        return (self.bid + self.ask) // 2 if self.bid and self.ask else self.fair


def shares(chance: Chance, view: View) -> int:
    """Return the size of an order: mostly small, seldom large, larger when it is busy."""
    size = math.exp(chance.gauss(2.8, 0.9)) * min(3.0, max(0.5, view.activity))
    return max(1, min(SHARES_MAX, round(size))) * view.scale


class Maker:
    """Keeps `levels` quotes a side; each turn moves the one that is most out of place."""

    def __init__(self, chance: Chance, number: int = 0) -> None:
        self._chance = chance
        self._number = number
        self.levels = LEVELS

    def turn(self, symbol: str, view: View, desk: Desk) -> Order | None:
        """Return the quote to place or to move."""
        best: tuple[int, Order] | None = None
        for side in (Side.BUY, Side.SELL):
            found = self._side(symbol, side, view, desk)
            if found is not None and (best is None or found[0] > best[0]):
                best = found
        return None if best is None else best[1]

    def wanted(self, symbol: str, side: Side, view: View, desk: Desk) -> list[int]:
        """Return the prices to quote at, best first."""
        half = max(1, view.fair // TICK // HALF_SPREAD_PART)
        lean = -desk.surplus(symbol) * half // (LEAN_SHARES * view.scale)
        lean = max(-LEAN_TICKS_MAX * half, min(LEAN_TICKS_MAX * half, lean))
        middle = view.fair // TICK + lean
        away = half + self._number % 2
        if side == Side.BUY:
            best = min(middle - away, view.ask // TICK - 1 if view.ask else middle)
            ticks = [max(1, best - index) for index in range(self.levels)]
        else:
            best = max(middle + away, view.bid // TICK + 1 if view.bid else middle)
            ticks = [best + index for index in range(self.levels)]
        return [tick * TICK for tick in ticks]

    def _side(self, symbol: str, side: Side, view: View, desk: Desk) -> tuple[int, Order] | None:
        """Return (how urgent, what to do) on one side; None while everything there is busy."""
        mine = desk.resting(symbol, side)
        wanted = self.wanted(symbol, side, view, desk)
        prices = {one.price for one in mine.values()}
        missing = [price for price in wanted if price not in prices]
        if missing and len(mine) < self.levels:
            index = wanted.index(missing[0])
            return 2 * LEVELS - index, self._quote(symbol, side, missing[0], view, index)
        free = [one for one in mine.values() if not one.busy]
        if not free:
            return None
        if missing:
            misplaced = [one for one in free if one.price not in wanted]
            if misplaced:
                return self._move(misplaced, missing[0], wanted, view)
        chosen = free[self._chance.randrange(len(free))]
        return 0, self._resize(chosen, view)

    def _quote(self, symbol: str, side: Side, price: int, view: View, index: int) -> Order:
        return Order(symbol, side, self._size(view, index), price, rests=True, long=True)

    def _size(self, view: View, index: int) -> int:
        return shares(self._chance, view) * (2 + min(index, 4)) + 20 * view.scale

    def _move(
        self, misplaced: list[Resting], price: int, wanted: list[int], view: View
    ) -> tuple[int, Order]:
        """Move what is too near to the other side first, else what is farthest behind."""
        side = misplaced[0].side
        ahead = 1 if side == Side.BUY else -1
        foremost = max(misplaced, key=lambda one: one.price * ahead)
        exposed = (foremost.price - wanted[0]) * ahead // TICK
        if exposed > 0:
            chosen, urgency = foremost, 3 * LEVELS + exposed
        else:
            chosen = min(misplaced, key=lambda one: one.price * ahead)
            behind = max(0, (wanted[-1] - chosen.price) * ahead // TICK)
            urgency = LEVELS - wanted.index(price) + 2 * behind
        size = self._size(view, wanted.index(price))
        return urgency, Order(
            chosen.symbol, side, size, price, rests=True, long=True, replaces=chosen.tag
        )

    def _resize(self, chosen: Resting, view: View) -> Order:
        size = self._size(view, 0)
        size += size == chosen.left
        return Order(
            chosen.symbol, chosen.side, size, chosen.price,
            rests=True, long=True, replaces=chosen.tag,
        )  # fmt: skip


class Noise:
    """Takes small amounts, or rests near the best price, one way for a while and then another."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._mood: dict[str, float] = {}

    def turn(self, symbol: str, view: View, desk: Desk) -> Order | None:
        """Return the next order; it is never the same trader's reason twice."""
        chance = self._chance
        mood = 0.97 * self._mood.get(symbol, 0.0) + chance.gauss(0.0, 0.12)
        self._mood[symbol] = mood
        lean = desk.surplus(symbol) / (HOLDING_SHARES * view.scale)
        side = Side.BUY if chance.random() < 0.5 + mood - 0.5 * lean else Side.SELL
        size = shares(chance, view)
        luck = chance.random()
        if luck < 0.5:
            return Order(symbol, side, size, MARKET)
        best, other = (view.bid, view.ask) if side == Side.BUY else (view.ask, view.bid)
        if luck < 0.82 and other:
            return Order(symbol, side, size, other)
        return self._rest(symbol, side, size, best or view.fair, desk)

    def _rest(self, symbol: str, side: Side, size: int, best: int, desk: Desk) -> Order | None:
        mine = desk.resting(symbol, side)
        away = self._chance.randrange(5) * TICK
        price = max(TICK, best // TICK * TICK + (-away if side == Side.BUY else away))
        if len(mine) < NOISE_RESTING_MAX:
            return Order(symbol, side, size, price, rests=True)
        oldest = next(iter(mine.values()))
        if oldest.busy or (oldest.price == price and oldest.left == size):
            return None
        return Order(symbol, side, size, price, rests=True, replaces=oldest.tag)


class Trend:
    """Buys what has risen and sells what has fallen, until it holds enough of it."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._seen: dict[str, tuple[float, float]] = {}

    def see(self, symbol: str, price: int, seconds: float) -> None:
        """Take note of a price that stood for some seconds."""
        fast, slow = self._seen.get(symbol, (float(price), float(price)))
        fast += (price - fast) * min(1.0, seconds / TREND_FAST_S)
        slow += (price - slow) * min(1.0, seconds / TREND_SLOW_S)
        self._seen[symbol] = (fast, slow)

    def turn(self, symbol: str, view: View, desk: Desk) -> Order | None:
        """Return an order with the trend, none where there is no trend or enough is held."""
        fast, slow = self._seen.get(symbol, (1.0, 1.0))
        signal = fast / slow - 1.0
        if abs(signal) < TREND_PART:
            return None
        side = Side.BUY if signal > 0 else Side.SELL
        surplus = desk.surplus(symbol)
        if (surplus if side == Side.BUY else -surplus) >= HOLDING_SHARES * view.scale:
            return None
        return Order(symbol, side, shares(self._chance, view), MARKET)
