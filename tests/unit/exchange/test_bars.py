"""Bars: exact, of the right interval, told once and corrected when a trade comes late."""

from __future__ import annotations

import random

import pytest

from madang.exchange.feed.bars import Bar, BarBook, BarKind, aggregate
from madang.exchange.feed.days import HOUR_NS, MINUTE_NS, SECOND_NS, Days, parse_timeframe
from madang.exchange.feed.market import TradeTick

DAY_NS = 24 * HOUR_NS
SUNDAY_NS = 20_779 * DAY_NS  # 2026-11-22
SEED = 31


def tick(number: int, price: int, quantity: int, now_ns: int) -> TradeTick:
    return TradeTick(number, price, quantity, 1, now_ns)


def test_a_bar_equals_its_trades() -> None:
    print("seed", SEED)
    rng = random.Random(SEED)
    book, minutes, now_ns = BarBook(Days("UTC")), {}, SUNDAY_NS
    trades = []
    for number in range(1, 2_000):
        now_ns += rng.randrange(1, SECOND_NS)
        trades.append(tick(number, rng.randrange(1, 10**9), rng.randrange(1, 10**18), now_ns))
        book.add(1, trades[-1])
        minute = book.symbols[1].minute
        assert minute is not None
        minutes[minute.start_ns] = minute
    for start_ns, bar in minutes.items():
        inside = [t for t in trades if start_ns <= t.now_ns < start_ns + MINUTE_NS]
        prices = [t.price for t in inside]
        assert bar == Bar(
            start_ns, prices[0], max(prices), min(prices), prices[-1],
            sum(t.quantity for t in inside), len(inside),
            sum(t.price * t.quantity for t in inside),
        )  # fmt: skip
    day = book.symbols[1].day
    assert [day] == aggregate(minutes.values(), [SUNDAY_NS] * len(minutes))
    assert sum(bar.trades for bar in minutes.values()) == len(trades)


def test_a_minute_is_told_once_when_it_is_over() -> None:
    book = BarBook(Days("UTC"))
    book.add(1, tick(1, 10, 5, SUNDAY_NS))
    assert book.due(SUNDAY_NS + MINUTE_NS - 1) == []
    said = book.due(SUNDAY_NS + MINUTE_NS)
    assert [(e.kind, e.bar.trades) for e in said] == [(BarKind.MINUTE, 1), (BarKind.DAY, 1)]
    assert book.due(SUNDAY_NS + MINUTE_NS) == []


def test_the_next_minutes_first_trade_ends_a_minute_too() -> None:
    book = BarBook(Days("UTC"))
    book.add(1, tick(1, 10, 5, SUNDAY_NS))
    (minute, day) = book.add(1, tick(2, 11, 5, SUNDAY_NS + MINUTE_NS))
    assert (minute.kind, minute.bar.close, day.kind, day.bar.close) == ("b", 10, "d", 10)


def test_a_late_trade_corrects_what_was_told() -> None:
    book = BarBook(Days("UTC"))
    book.add(1, tick(1, 10, 5, SUNDAY_NS))
    book.due(SUNDAY_NS + MINUTE_NS)
    book.add(1, tick(2, 12, 5, SUNDAY_NS + MINUTE_NS - 1))
    said = book.due(SUNDAY_NS + MINUTE_NS + 1)
    assert [(e.kind, e.bar.high, e.bar.trades) for e in said] == [("u", 12, 2), ("d", 12, 2)]


def test_a_trade_that_is_known_is_not_counted_again() -> None:
    book = BarBook(Days("UTC"))
    for _ in range(2):
        book.add(1, tick(7, 10, 5, SUNDAY_NS))
    minute = book.symbols[1].minute
    assert minute is not None
    assert minute.trades == 1


def test_a_day_begins_at_the_venues_midnight() -> None:
    days = Days("America/New_York")
    assert days.start(SUNDAY_NS + 4 * HOUR_NS) == SUNDAY_NS - DAY_NS + 5 * HOUR_NS
    assert days.start(SUNDAY_NS + 5 * HOUR_NS) == SUNDAY_NS + 5 * HOUR_NS
    book = BarBook(days)
    book.add(1, tick(1, 10, 1, SUNDAY_NS + 5 * HOUR_NS - 1))
    book.add(1, tick(2, 20, 1, SUNDAY_NS + 5 * HOUR_NS))
    known = book.symbols[1]
    assert known.previous_day is not None
    assert known.day is not None
    assert (known.previous_day.close, known.day.open) == (10, 20)


@pytest.mark.parametrize(
    ("text", "begin_ns", "end_ns"),
    [
        ("1Min", 13 * HOUR_NS + 5 * MINUTE_NS, 13 * HOUR_NS + 6 * MINUTE_NS),
        ("7Min", 13 * HOUR_NS + 4 * MINUTE_NS, 13 * HOUR_NS + 11 * MINUTE_NS),
        ("23Hour", 0, 23 * HOUR_NS),
        ("1Day", 0, DAY_NS),
        ("1Week", -6 * DAY_NS, DAY_NS),
        ("1Month", -21 * DAY_NS, 9 * DAY_NS),
        ("6Month", -(21 + 31 + 30 + 31 + 31) * DAY_NS, 40 * DAY_NS),
        ("12Month", -(21 + 304) * DAY_NS, 40 * DAY_NS),
    ],
)
def test_intervals_begin_and_end_where_they_should(text: str, begin_ns: int, end_ns: int) -> None:
    days, timeframe = Days("UTC"), parse_timeframe(text)
    assert timeframe is not None
    now_ns = SUNDAY_NS + 13 * HOUR_NS + 5 * MINUTE_NS + 30 * SECOND_NS
    begin = timeframe.begin(days, now_ns)
    assert (begin - SUNDAY_NS, timeframe.end(days, begin) - SUNDAY_NS) == (begin_ns, end_ns)


@pytest.mark.parametrize(
    "text", ["", "0Min", "60Min", "24Hour", "2Day", "5Month", "1Year", "01Min"]
)
def test_an_interval_that_is_not_offered_is_not_understood(text: str) -> None:
    assert parse_timeframe(text) is None
