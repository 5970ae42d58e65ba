"""The feed: books and trades out of events, over the real engine."""

from __future__ import annotations

from madang.core.ids import new_request_id
from madang.exchange.engine.python import PythonEngine
from madang.exchange.feed.market import LEVELS, Market
from madang.wire import commands
from madang.wire.codes import (
    PRICE_SCALE,
    QUANTITY_SCALE,
    Session,
    Side,
)
from madang.wire.events import EventKind, parse_trade, split_records
from tests.support.followed import PRICE, FollowedEngine

CENT = PRICE_SCALE // 100


class Followed(FollowedEngine):
    """An engine followed by the market of a feed."""

    def __init__(self) -> None:
        self.market = Market()
        super().__init__(lambda _, events: self.market.on_events(events))


def test_a_book_is_published_when_it_changed_and_only_then() -> None:
    followed = Followed()
    followed.market.take_books(followed.engine)
    followed.order(1, Side.SELL, 3, price=PRICE + CENT)
    followed.order(2, Side.BUY, 2, price=PRICE)
    (book,) = followed.market.take_books(followed.engine)
    assert book["bids"] == [(PRICE, 2 * QUANTITY_SCALE)]
    assert book["asks"] == [(PRICE + CENT, 3 * QUANTITY_SCALE)]
    assert book["session"] == "open"
    for level in range(LEVELS):
        followed.order(2, Side.BUY, 1, price=PRICE - (level + 1) * CENT)
    assert len(followed.market.take_books(followed.engine)) == 1
    followed.order(2, Side.BUY, 1, price=PRICE - 50 * CENT)
    assert followed.market.take_books(followed.engine) == [], "below the levels shown"


def test_trades_are_told_once_and_remembered() -> None:
    followed = Followed()
    followed.order(1, Side.SELL, 3, price=PRICE)
    followed.order(2, Side.BUY, 2, price=PRICE)
    ((number, ticks),) = followed.market.take_trades().items()
    assert [(t.price, t.quantity, t.aggressor) for t in ticks] == [
        (PRICE, 2 * QUANTITY_SCALE, Side.BUY)
    ]
    (tick,) = ticks
    (trade,) = (
        parse_trade(followed.events, at)
        for kind, at, _ in split_records(followed.events)
        if kind == EventKind.TRADE
    )
    assert tick == (trade.trade_id, trade.price, trade.quantity, trade.aggressor, trade.now_ns)
    assert number == trade.instrument
    assert followed.market.take_trades() == {}
    assert list(followed.market.trades[number]) == ticks


def test_a_halt_of_the_market_shows_in_every_book() -> None:
    followed = Followed()
    followed.market.take_books(followed.engine)
    followed.apply(commands.encode_set_session(new_request_id(), 0, Session.HALTED))
    (book,) = followed.market.take_books(followed.engine)
    assert book["session"] == "halted"
    assert followed.market.overview(followed.engine)[0]["session"] == "halted"
    assert followed.market.book(followed.engine, "NONE") is None


def test_a_halt_of_one_symbol_shows_in_its_book_and_ends_there() -> None:
    followed = Followed()
    for session, shown in ((Session.HALTED, "halted"), (Session.OPEN, "open")):
        followed.market.take_books(followed.engine)
        followed.apply(commands.encode_set_session(new_request_id(), 1, session))
        (book,) = followed.market.take_books(followed.engine)
        assert book["session"] == shown


def test_a_feed_that_starts_from_a_snapshot_knows_its_symbols() -> None:
    followed = Followed()
    restarted = Market()
    restarted.learn_symbols(PythonEngine.restore(followed.engine.snapshot()))
    assert restarted.number_of("KIM") == 1
