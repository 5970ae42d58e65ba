"""The simulated traders, alone: seeded, sane, and doing what their kind does."""

from __future__ import annotations

import random

import pytest

from madang.exchange.sim.desk import MARKET, Desk, Order
from madang.exchange.sim.prices import FairPrice, hour_activity
from madang.exchange.sim.strategies import (
    HOLDING_SHARES,
    LEVELS,
    NOISE_RESTING_MAX,
    TICK,
    Maker,
    Noise,
    Trend,
    View,
)
from madang.wire.codes import PRICE_SCALE, Side

PRICE = 100 * PRICE_SCALE
EMPTY = View(PRICE, 0, 0, 1.0)
TURNS = 400


def accept_all(desk: Desk) -> None:
    for resting in list(desk.orders.values()):
        if resting.busy and not resting.order_id:
            desk.accepted(resting.tag, f"id-{resting.tag}", resting.left)


def fill_ladder(maker: Maker, desk: Desk, view: View = EMPTY) -> list[Order]:
    sent = []
    for _ in range(TURNS):
        order = maker.turn("A", view, desk)
        assert order is not None
        desk.send(order)
        accept_all(desk)
        sent.append(order)
    return sent


def prices(desk: Desk, side: Side) -> list[int]:
    return sorted(one.price for one in desk.resting("A", side).values())


def test_the_same_seed_walks_the_same_and_another_does_not() -> None:
    def walk(seed: int) -> list[int]:
        fair = FairPrice(random.Random(seed), PRICE)
        found = []
        for _ in range(200):
            fair.step(10.0)
            found.append(fair.price)
        return found

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


def test_a_fair_price_moves_like_a_share_and_stays_where_people_know_it() -> None:
    days = []
    for seed in range(40):
        fair = FairPrice(random.Random(seed), PRICE)
        fair.step(86_400.0)
        days.append(abs(fair.price / PRICE - 1.0))
        fair.step(40 * 86_400.0)
        assert 0.5 < fair.price / PRICE < 2.0
    assert 0.004 < sorted(days)[20] < 0.05


def test_a_fair_price_believes_slowly_in_what_others_pay() -> None:
    fair = FairPrice(random.Random(3), PRICE)
    fair.learn(PRICE * 2, 1.0)
    assert PRICE < fair.price < PRICE * 1.01
    for _ in range(10):
        fair.learn(PRICE * 2, 900.0)
    assert fair.price == PRICE * 2


def test_days_are_busier_than_nights() -> None:
    assert hour_activity(10.0) > 2 * hour_activity(3.0)
    assert all(hour_activity(hour) > 0.5 for hour in range(24))


def test_a_maker_fills_a_ladder_that_never_crosses() -> None:
    desk = Desk()
    fill_ladder(Maker(random.Random(1)), desk)
    bids, asks = prices(desk, Side.BUY), prices(desk, Side.SELL)
    assert len(bids) == len(asks) == LEVELS
    assert len(set(bids)) == len(set(asks)) == LEVELS
    assert max(bids) < PRICE < min(asks)
    assert min(asks) - max(bids) <= 4 * TICK


def test_a_maker_follows_a_price_that_jumped_and_moves_the_exposed_side_first() -> None:
    desk, maker = Desk(), Maker(random.Random(1))
    fill_ladder(maker, desk)
    first = maker.turn("A", View(PRICE + 5 * TICK, 0, 0, 1.0), desk)
    assert first is not None
    assert first.side == Side.SELL
    assert first.replaces
    fill_ladder(maker, desk, View(PRICE + 30 * TICK, 0, 0, 1.0))
    assert min(prices(desk, Side.SELL)) > PRICE + 30 * TICK
    assert min(prices(desk, Side.BUY)) > PRICE + 30 * TICK - 2 * LEVELS * TICK


def test_a_maker_does_not_cross_what_others_quote() -> None:
    desk, maker = Desk(), Maker(random.Random(1))
    fill_ladder(maker, desk, View(PRICE, PRICE - 9 * TICK, PRICE - 5 * TICK, 1.0))
    assert max(prices(desk, Side.BUY)) == PRICE - 6 * TICK


def test_a_maker_who_holds_too_much_quotes_lower() -> None:
    maker = Maker(random.Random(1))
    even, long = Desk(), Desk()
    for desk, held in ((even, 1_000), (long, 1_000)):
        desk.restart({"A": held})
    long.held["A"] = 20_000
    for side in (Side.BUY, Side.SELL):
        assert maker.wanted("A", side, EMPTY, long)[0] < maker.wanted("A", side, EMPTY, even)[0]


def test_a_maker_leaves_alone_what_is_busy() -> None:
    desk, maker = Desk(), Maker(random.Random(1))
    fill_ladder(maker, desk)
    for resting in desk.orders.values():
        resting.busy = True
    assert maker.turn("A", EMPTY, desk) is None


def test_noise_takes_rests_and_turns_back_from_what_it_has_too_much_of() -> None:
    noise, desk = Noise(random.Random(5)), Desk()
    desk.restart({"A": 1_000})
    view = View(PRICE, PRICE - TICK, PRICE + TICK, 1.0)
    orders = []
    for _ in range(TURNS):
        order = noise.turn("A", view, desk)
        if order is not None:
            orders.append(order)
            if order.rests:
                desk.send(order)
                accept_all(desk)
    assert {order.side for order in orders} == {Side.BUY, Side.SELL}
    assert {order.price == MARKET for order in orders} == {True, False}
    assert all(order.shares > 0 for order in orders)
    for side in (Side.BUY, Side.SELL):
        assert len(desk.resting("A", side)) <= NOISE_RESTING_MAX
    desk.held["A"] = 1_000 + 2 * HOLDING_SHARES
    late = [noise.turn("A", view, desk) for _ in range(TURNS)]
    sells = sum(order is not None and order.side == Side.SELL for order in late)
    assert sells > 0.8 * sum(order is not None for order in late)


@pytest.mark.parametrize(("drift", "side"), [(20 * TICK, Side.BUY), (-20 * TICK, Side.SELL)])
def test_a_trend_follower_goes_with_the_trend_until_it_holds_enough(drift: int, side: Side) -> None:
    trend, desk = Trend(random.Random(1)), Desk()
    desk.restart({"A": 100_000})
    assert trend.turn("A", EMPTY, desk) is None
    for minute in range(10):
        trend.see("A", PRICE + minute * drift, 20.0)
    order = trend.turn("A", EMPTY, desk)
    assert order is not None
    assert (order.side, order.price) == (side, MARKET)
    desk.held["A"] += HOLDING_SHARES if side == Side.BUY else -HOLDING_SHARES
    assert trend.turn("A", EMPTY, desk) is None
