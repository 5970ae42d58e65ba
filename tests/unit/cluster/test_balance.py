"""Shares of new connections: who is behind gets more, and nobody is starved or flooded."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.cluster import balance
from madang.cluster.balance import SHARES, even, fixed, least, level, thresholds

counts = st.dictionaries(st.integers(0, 255), st.integers(0, 100_000), min_size=1, max_size=16)


@given(counts, st.integers(0, 10_000))
def test_levelling_never_overfills_and_gives_all_away(held: dict[int, int], coming: int) -> None:
    shares = level(held, coming)
    assert sum(shares.values()) == pytest.approx(1)
    filled = {slot: held[slot] + shares[slot] * max(coming, 1) for slot in held}
    height = min(filled.values())
    for slot, share in shares.items():
        assert share >= 0
        if share > 0:  # whoever gets anything ends at the lowest level there is
            assert filled[slot] == pytest.approx(height, rel=1e-6)


@given(
    st.dictionaries(st.integers(0, 255), st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.integers(0, 2**70),
)
def test_what_cannot_be_a_count_harms_nobody(told: dict[int, int], coming: int) -> None:
    for choose in (least, even):
        shares = choose(told, coming)
        assert shares.keys() == told.keys()
        assert min(shares.values()) >= 0
        assert sum(shares.values()) == pytest.approx(1)
        assert thresholds(shares)[-1][1] == SHARES


def test_the_emptiest_is_filled_first() -> None:
    assert least({0: 100, 1: 0}, 10) == {0: 0.0, 1: 1.0}
    assert least({0: 4, 1: 0, 2: 4}, 10) == {0: 0.2, 1: 0.6, 2: 0.2}
    assert even({0: 100, 1: 0}, 10) == {0: 0.25, 1: 0.75}


@given(counts, st.integers(0, 1_000))
def test_the_bounds_cover_every_draw_once(held: dict[int, int], coming: int) -> None:
    bounds = thresholds(least(held, coming))
    assert bounds[-1][1] == SHARES
    assert [slot for slot, _ in bounds] == sorted(held)  # the floor leaves nobody out
    edges = [0, *(bound for _, bound in bounds)]
    assert all(low < high for low, high in itertools.pairwise(edges))


def test_weights_are_the_operators_and_the_last_one_stands_for_the_rest() -> None:
    assert fixed([0, 1, 2], (2, 1)) == {0: 0.5, 1: 0.25, 2: 0.25}
    assert fixed([1], (1, 0)) == {1: 1.0}
    assert fixed([0, 1], (3, 0)) == {0: 1.0, 1: 0.0}


@pytest.mark.parametrize(("choose", "limit"), [(even, 1.10), (least, 1.03)])
@pytest.mark.parametrize("seed", range(20))
def test_two_thousand_draws_end_level_though_the_counts_come_late(
    choose: object, limit: float, seed: int
) -> None:
    chance = random.Random(seed)
    held = dict.fromkeys(range(4), 0)
    seen: list[dict[int, int]] = [dict(held)] * 3
    for _ in range(100):  # 20 connections between two looks, each of which is two looks old
        shares = choose(seen[-3], 100)  # type: ignore[operator]
        for slot in chance.choices(list(shares), list(shares.values()), k=20):
            held[slot] += 1
        seen.append(dict(held))
    assert max(held.values()) <= limit * 500


def test_a_pure_draw_would_not_do() -> None:
    spreads = []
    for seed in range(200):
        found = random.Random(seed).choices(range(4), k=2_000)
        spreads.append(max(found.count(slot) for slot in range(4)) / 500)
    assert max(spreads) > 1.10
    assert sum(spread > 1.03 for spread in spreads) > 100
    assert balance.EVEN_PART < 1
