"""Books as snapshots and deltas: what changed among the best levels since the last look. Pure.

A delta names the sequence it leads from and the one it leads to, so whoever holds the first state
has the second after applying it, and notices when one is missing. The checksum is that of the
state after the delta; see `checksum`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from madang.wire.codes import Side
from madang.wire.events import RECORD_HEADER_BYTES, split_records
from madang.wire.records import parse_level

DEPTH_LEVELS: Final = 50
CHECKSUM_LEVELS: Final = 10

Levels = dict[int, int]
"""Quantity by price, in units."""


class Delta(NamedTuple):
    """Levels that changed, (price, quantity) in units; quantity 0 takes a level away."""

    previous: int
    sequence: int
    now_ns: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    checksum: int


class DepthState:
    """The best levels of one book at a sequence."""

    def __init__(self, sequence: int, bids: Levels, asks: Levels) -> None:
        self.sequence = sequence
        self.bids = bids
        self.asks = asks

    def best(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return bids and asks as (price, quantity), best first."""
        return best(self.bids, Side.BUY), best(self.asks, Side.SELL)

    def checksum(self) -> int:
        """Return the checksum of what stands."""
        return checksum(*self.best())

    def move(self, levels: bytes, sequence: int, now_ns: int) -> Delta | None:
        """Go to the levels of an engine at `sequence`; None where nothing changed."""
        after = state_of(levels, sequence)
        bids, asks = _changes(self.bids, after.bids), _changes(self.asks, after.asks)
        if not bids and not asks:
            return None
        previous, self.sequence = self.sequence, sequence
        self.bids, self.asks = after.bids, after.asks
        return Delta(previous, sequence, now_ns, bids, asks, self.checksum())

    def apply(self, delta: Delta) -> bool:
        """Follow a delta; False where it does not lead on from here or to what it says."""
        if delta.previous != self.sequence:
            return False
        for levels, changes in ((self.bids, delta.bids), (self.asks, delta.asks)):
            for price, quantity in changes:
                if quantity:
                    levels[price] = quantity
                else:
                    levels.pop(price, None)
        self.sequence = delta.sequence
        return self.checksum() == delta.checksum


def state_of(levels: bytes, sequence: int) -> DepthState:
    """Return the state that LEVEL records say."""
    sides: dict[int, Levels] = {Side.BUY: {}, Side.SELL: {}}
    for _, at, _ in split_records(levels):
        level = parse_level(levels, at + RECORD_HEADER_BYTES)
        sides[level.side][level.price] = level.quantity
    return DepthState(sequence, sides[Side.BUY], sides[Side.SELL])


def best(levels: Levels, side: Side) -> list[tuple[int, int]]:
    """Return levels as (price, quantity), best first."""
    return sorted(levels.items(), reverse=side == Side.BUY)


def checksum(bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> int:
    """Return the CRC-32 of the best CHECKSUM_LEVELS of bids, then asks: `price:quantity|…`."""
    best_levels = [*list(bids)[:CHECKSUM_LEVELS], *list(asks)[:CHECKSUM_LEVELS]]
    return zlib.crc32("|".join(f"{price}:{quantity}" for price, quantity in best_levels).encode())


def _changes(before: Levels, after: Levels) -> list[tuple[int, int]]:
    gone = [(price, 0) for price in before if price not in after]
    return gone + [item for item in after.items() if before.get(item[0]) != item[1]]
