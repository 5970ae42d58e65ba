"""A book from a snapshot and deltas equals the engine's, or says that it does not."""

from __future__ import annotations

import random

from madang.exchange.feed.depth import DEPTH_LEVELS, Delta, DepthState, checksum, state_of
from tests.support.market import Market, price

SEED = 77
STEPS = 400


def walk(market: Market) -> list[tuple[Delta, DepthState]]:
    """Trade at random and return every delta with what the engine's book was after it."""
    print("seed", SEED)
    rng = random.Random(SEED)
    ann, bob = market.account("ann", "9000000", 90_000), market.account("bob", "9000000", 90_000)
    state = DepthState(market.engine.sequence, {}, {})
    live: list[tuple[int, int]] = []
    steps: list[tuple[Delta, DepthState]] = []
    for _ in range(STEPS):
        if live and rng.random() < 0.3:
            market.cancel(*live.pop(rng.randrange(len(live))))
        else:
            account, side = rng.choice([(ann, market.buy), (bob, market.sell)])
            cents = rng.randrange(9_800, 9_999) if account == ann else rng.randrange(9_990, 10_100)
            outcome = side(account, rng.randrange(1, 9), f"{cents / 100:.2f}")
            live.append((account, outcome.number))
        levels = market.engine.depth(market.instrument, DEPTH_LEVELS)
        delta = state.move(levels, market.engine.sequence, market.engine.now_ns)
        if delta is not None:
            steps.append((delta, state_of(levels, market.engine.sequence)))
    return steps


def test_following_every_delta_leads_to_the_engines_book() -> None:
    steps = walk(Market())
    assert len(steps) > STEPS // 2
    follower = DepthState(steps[0][0].previous, {}, {})
    for delta, engine in steps:
        assert follower.apply(delta)
        assert (follower.bids, follower.asks) == (engine.bids, engine.asks)
        assert follower.sequence == engine.sequence
    assert max(len(engine.bids) for _, engine in steps) == DEPTH_LEVELS


def test_a_missing_delta_is_noticed_and_a_snapshot_heals_it() -> None:
    steps = walk(Market())
    follower = DepthState(steps[0][0].previous, {}, {})
    for number, (delta, engine) in enumerate(steps):
        if number % 7 == 3:
            continue  # lost
        if not follower.apply(delta):
            assert number % 7 == 4
            follower = DepthState(engine.sequence, dict(engine.bids), dict(engine.asks))
        assert (follower.bids, follower.asks) == (engine.bids, engine.asks)


def test_a_book_that_went_wrong_shows_in_the_checksum() -> None:
    state = DepthState(1, {100: 5}, {101: 6})
    good = checksum([(100, 7)], [(101, 6)])
    assert state.apply(Delta(1, 2, 0, [(100, 7)], [], good))
    assert not state.apply(Delta(2, 3, 0, [(100, 8)], [], good))


def test_the_checksum_is_what_the_guide_says() -> None:
    assert checksum([(price("1.5"), 10), (price("1.4"), 20)], [(price("1.6"), 3)]) == 528_344_691
