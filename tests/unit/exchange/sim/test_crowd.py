"""A crowd: whose turn it is, deterministic by its seed."""

from __future__ import annotations

from collections import Counter

import pytest

from madang.exchange.sim.crowd import Counts, Crowd, Kind, Turn
from madang.exchange.sim.runner import seeded
from madang.wire.codes import PRICE_SCALE

PRICES = {"A": 100 * PRICE_SCALE, "B": 20 * PRICE_SCALE}
COUNTS = Counts(2, 2, 1)
TURNS = 600


def turns(seed: int, counts: Counts = COUNTS) -> list[Turn]:
    crowd = Crowd(seeded(seed), counts, PRICES)
    found = []
    for _ in range(TURNS):
        crowd.pass_time(0.5)
        turn = crowd.turn()
        if turn is not None:
            desk = crowd.desks[turn.trader]
            resting = desk.send(turn.order)
            desk.accepted(resting.tag, resting.tag, resting.left if turn.order.rests else 0)
            found.append(turn)
    return found


def test_the_same_seed_gives_the_same_orders_and_another_does_not() -> None:
    assert turns(1) == turns(1)
    assert turns(1) != turns(2)


def test_every_turn_is_an_order_and_everybody_has_turns_about_everything() -> None:
    found = turns(3)
    assert len(found) == TURNS
    assert {turn.trader for turn in found} >= {0, 1, 2, 3}
    assert {turn.order.symbol for turn in found} == set(PRICES)
    makers = sum(turn.trader < COUNTS.makers for turn in found)
    assert 0.5 * TURNS < makers < 0.9 * TURNS


@pytest.mark.parametrize("counts", [Counts(1, 0, 0), Counts(0, 1, 0), Counts(0, 0, 1)])
def test_any_kind_may_be_alone(counts: Counts) -> None:
    assert all(turn.trader == 0 for turn in turns(1, counts))


def test_who_is_not_able_has_no_turn() -> None:
    crowd = Crowd(seeded(1), COUNTS, PRICES)
    asked = [crowd.turn(lambda trader: trader == 1) for _ in range(200)]
    assert Counter(turn.trader for turn in asked if turn is not None).keys() == {1}
    assert crowd.turn(lambda _: False) is None


def test_a_taker_that_wants_nothing_leaves_its_turn_to_a_maker() -> None:
    turn = Crowd(seeded(1), COUNTS, PRICES).turn_of(Kind.TREND, "A")
    assert turn is not None
    assert turn.trader < COUNTS.makers


def test_traders_are_called_by_kind_and_number() -> None:
    assert COUNTS.names() == ["maker-1", "maker-2", "noise-1", "noise-2", "trend-1"]
