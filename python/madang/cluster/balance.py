"""How likely each live slot is to get the next connection: pure arithmetic.

The kernel draws a slot at random by these weights. A draw alone leaves the fullest of four workers
some 4 to 10 percent above the mean after 2,000 connections, so the counts are looked at again and
again while connections come, and whoever is behind becomes likelier: drops fall into the emptiest
vessels until all stand level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHARES = 1 << 16
"""Weights add up to this: the range of the number that the kernel draws."""
EVEN_PART = 0.5
"""How much of an even balance stays an equal share, so that an empty newcomer is not flooded."""
COUNT_MAX = 1 << 32
"""More than any process can hold: a count is whatever a process has written, and must be exact."""
FLOOR = 0.02
"""The least share of a live slot, so that a count that is never reported starves nobody."""


def level(counts: Mapping[int, int], coming: int) -> dict[int, float]:
    """Return the share of each slot that makes all stand level after `coming` connections."""
    counts = {slot: min(max(count, 0), COUNT_MAX) for slot, count in counts.items()}
    coming = min(coming, COUNT_MAX)
    ordered = sorted(counts.values())
    below, height = 0, 0.0
    for filled, count in enumerate(ordered, 1):
        below += count
        height = (below + max(coming, 1)) / filled
        if filled < len(ordered) and height <= ordered[filled]:
            break
    room = {slot: max(0.0, height - count) for slot, count in counts.items()}
    total = sum(room.values())
    return {slot: size / total for slot, size in room.items()}


def even(counts: Mapping[int, int], coming: int) -> dict[int, float]:
    """Return equal shares, half of them moved to those who are behind."""
    towards = level(counts, coming)
    return {
        slot: EVEN_PART / len(counts) + (1 - EVEN_PART) * share for slot, share in towards.items()
    }


def least(counts: Mapping[int, int], coming: int) -> dict[int, float]:
    """Return the shares that fill the emptiest first."""
    return level(counts, coming)


def fixed(live: Sequence[int], weights: Sequence[int]) -> dict[int, float]:
    """Return the shares that the operator set; a slot beyond the list weighs as its last entry.

    Where all who are live weigh 0 they share equally: somebody has to serve.
    """
    found = {slot: weights[min(slot, len(weights) - 1)] for slot in live}
    total = sum(found.values())
    if total == 0:
        return {slot: 1 / len(found) for slot in found}
    return {slot: weight / total for slot, weight in found.items()}


def thresholds(shares: Mapping[int, float], floor: bool = True) -> list[tuple[int, int]]:
    """Return (slot, upper bound) in slot order: a draw below the bound, not below the one before.

    The last bound is SHARES. With `floor` nobody gets less than FLOOR of an equal share.
    """
    slots = sorted(shares)
    least_share = FLOOR / len(slots) if floor else 0.0
    raised = {slot: max(shares[slot], least_share) for slot in slots}
    total = sum(raised.values())
    bounds: list[tuple[int, int]] = []
    reached = 0.0
    for slot in slots:
        reached += raised[slot]
        bounds.append((slot, round(reached / total * SHARES)))
    before = 0
    wide: list[tuple[int, int]] = []
    for slot, bound in bounds:
        if bound > before:
            wide.append((slot, bound))
            before = bound
    return wide
