"""What a trader knows of its own orders, whatever order the news come in."""

from __future__ import annotations

from madang.exchange.sim.desk import Desk, Order, Resting
from madang.wire.codes import Side

BID = Order("A", Side.BUY, 10, 100, rests=True)


def test_an_order_is_busy_until_it_is_answered_and_gone_when_filled() -> None:
    desk = Desk()
    resting = desk.send(BID)
    assert resting.busy
    desk.accepted(resting.tag, "x", 10)
    assert not resting.busy
    desk.left(resting.tag, 4)
    assert (resting.left, resting.filled) == (4, 6)
    desk.left(resting.tag, 0)
    assert not desk.orders
    assert not desk.resting("A", Side.BUY)


def test_a_fill_that_is_heard_before_the_answer_is_not_forgotten() -> None:
    desk = Desk()
    resting = desk.send(BID)
    desk.left(resting.tag, 4)
    desk.accepted(resting.tag, "x", 10)
    assert resting.left == 4
    gone = desk.send(BID)
    desk.left(gone.tag, 0)
    desk.accepted(gone.tag, "y", 10)
    assert list(desk.orders) == [resting.tag]


def test_a_replacement_takes_the_place_and_the_fills_of_the_old_order() -> None:
    desk = Desk()
    old = desk.send(BID)
    desk.accepted(old.tag, "x", 10)
    desk.left(old.tag, 7)
    new = desk.send(BID._replace(price=101, replaces=old.tag))
    assert old.busy
    assert new.filled == 3
    desk.accepted(new.tag, "y", 10)
    assert list(desk.orders) == [new.tag]


def test_a_refused_replacement_leaves_the_old_order_unless_that_is_unknown() -> None:
    for unknown in (False, True):
        desk = Desk()
        old = desk.send(BID)
        desk.accepted(old.tag, "x", 10)
        new = desk.send(BID._replace(price=101, replaces=old.tag))
        desk.refused(new.tag, unknown=unknown)
        assert list(desk.orders) == ([] if unknown else [old.tag])
        assert not old.busy


def test_a_new_beginning_keeps_what_was_wanted() -> None:
    desk = Desk()
    desk.send(BID)
    desk.restart({"A": 100})
    desk.restart({"A": 130})
    assert not desk.orders
    assert desk.surplus("A") == 30
    desk.adopt(Resting(0, "A", Side.SELL, 105, 8, order_id="z"))
    (adopted,) = desk.resting("A", Side.SELL).values()
    assert (adopted.tag, adopted.busy) == (2, False)
