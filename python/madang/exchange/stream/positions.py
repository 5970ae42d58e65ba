"""Positions on the channels of the streams: offsets of one epoch.

What comes from the log (events, trades, times) never goes back, and what a worker counts by itself
ends with the worker and is never resumed by its number: neither begins a second life.
"""

from __future__ import annotations

from typing import Final

from madang.hub import Position

EPOCH: Final = 1


def position(offset: int) -> Position:
    """Return where a channel stands at an offset."""
    return Position(EPOCH, offset)
