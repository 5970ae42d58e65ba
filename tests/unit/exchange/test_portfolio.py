"""Portfolio history: which windows, what an account was worth in them, what of it is profit."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest

from madang.edge import ApiError
from madang.exchange.api.clock import MarketHours
from madang.exchange.api.ledger_client import CurveView
from madang.exchange.api.portfolio import SECOND_NS, Span, read_span, render, windows
from madang.exchange.api.schemas_account import PortfolioHistory, PortfolioQuery
from madang.exchange.venue.schedule import OpenHours
from madang.wire.codes import CASH_SCALE

DAY_S = 86_400
NOW_S = 1_795_350_600  # Sunday 2026-11-22T12:30:00Z
MIDNIGHT_S = NOW_S - NOW_S % DAY_S
ALWAYS = MarketHours()
WORKDAYS = MarketHours(
    "UTC", (OpenHours(frozenset(range(5)), datetime.time(9, 30), datetime.time(10)),)
)


def span(**query: str) -> Span:
    return read_span(msgspec.convert(query, PortfolioQuery), ALWAYS, NOW_S)


@pytest.mark.parametrize(
    ("query", "days", "timeframe"),
    [
        ({}, 30, "1D"), ({"period": "1D"}, 1, "1Min"), ({"period": "1W"}, 7, "15Min"),
        ({"period": "1A"}, 365, "1D"), ({"period": "2W", "timeframe": "1H"}, 14, "1H"),
        ({"start": "2026-11-21T12:30:00Z"}, 1, "1Min"),
        ({"start": "2026-11-01T00:00:00Z", "period": "3D"}, 3, "1Min"),
        ({"end": "2026-11-10T00:00:00Z", "period": "1D"}, 1, "1Min"),
    ],
)  # fmt: skip
def test_a_query_names_a_span(query: dict[str, str], days: int, timeframe: str) -> None:
    found = span(**query)
    assert (found.until_s - found.from_s, found.timeframe) == (days * DAY_S, timeframe)
    assert found.until_s <= NOW_S


@pytest.mark.parametrize(
    "query",
    [
        {"period": "1X"}, {"period": "0D"}, {"period": "2W", "timeframe": "1Min"},
        {"period": "1A", "timeframe": "1H"}, {"period": "9A"}, {"start": "noon"},
        {"start": "2027-01-01T00:00:00Z"}, {"date_end": "x"},
        {"start": "2026-11-01", "end": "2026-11-02", "period": "1D"},
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        span(**query)
    assert refused.value.status == 422


def test_windows_are_trading_days_or_steps_of_market_hours() -> None:
    week = Span(MIDNIGHT_S - 7 * DAY_S, NOW_S, "1D", market_hours=True, reset_daily=False)
    assert [begin for begin, _ in windows(week, ALWAYS)] == list(
        range(MIDNIGHT_S - 7 * DAY_S, NOW_S, DAY_S)
    )
    assert len(list(windows(week, WORKDAYS))) == 5
    friday_s = MIDNIGHT_S - 2 * DAY_S
    friday = Span(friday_s, friday_s + DAY_S, "15Min", market_hours=True, reset_daily=False)
    assert list(windows(friday, WORKDAYS)) == [
        (friday_s + 34_200, friday_s + 35_100), (friday_s + 35_100, friday_s + 36_000),
    ]  # fmt: skip
    assert len(list(windows(friday._replace(market_hours=False), WORKDAYS))) == 96


def told(view: CurveView, asked: Span, cashflow: tuple[str, ...] = ()) -> dict[str, Any]:
    body = render(asked, list(windows(asked, ALWAYS)), view, cashflow, datetime.UTC)
    msgspec.json.decode(body, type=PortfolioHistory)
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


def view(
    steps: list[tuple[int, int]], flows: list[tuple[int, int, bool]], equity: int
) -> CurveView:
    """Return a curve in whole units of cash, at hours of today."""

    def hour_ns(hour: int) -> int:
        return (MIDNIGHT_S + hour * 3_600) * SECOND_NS

    return CurveView(
        [(hour_ns(hour), worth * CASH_SCALE) for hour, worth in steps],
        [(hour_ns(hour) + 1, worth * CASH_SCALE, cash) for hour, worth, cash in flows],
        equity * CASH_SCALE,
        NOW_S * SECOND_NS,
    )


def test_profit_is_what_was_not_brought_in() -> None:
    hours = Span(MIDNIGHT_S, MIDNIGHT_S + 4 * 3_600, "1H", market_hours=True, reset_daily=False)
    found = told(
        view([(-5, 100), (1, 110), (2, 160), (3, 140)], [(1, 50, True), (2, -20, True)], 999),
        hours,
        ("CSD", "CSW"),
    )
    assert found["timestamp"] == [MIDNIGHT_S + hour * 3_600 for hour in range(4)]
    assert found["equity"] == [110, 160, 140, 140]
    assert found["profit_loss"] == [10, 10, 10, 10]
    assert found["profit_loss_pct"] == [0.1, 0.066667, 0.076923, 0.076923]
    assert (found["base_value"], found["timeframe"]) == (100, "1H")
    assert found["cashflow"] == {"CSD": [0, 50, 0, 0], "CSW": [0, 0, -20, 0]}


def test_the_window_that_is_not_over_holds_what_is_so() -> None:
    hours = Span(MIDNIGHT_S + 11 * 3_600, NOW_S, "1H", market_hours=True, reset_daily=False)
    assert told(view([(1, 100), (12, 120)], [], 125), hours)["equity"] == [120, 125]


def test_profit_begins_anew_each_day_where_that_is_asked() -> None:
    two_days = Span(MIDNIGHT_S - 3_600, MIDNIGHT_S + 3_600, "1H", True, reset_daily=True)
    curve = view([(-3, 100), (0, 130), (1, 135)], [], 0)
    assert told(curve, two_days)["profit_loss"] == [30, 5]
    assert told(curve, two_days._replace(reset_daily=False))["profit_loss"] == [30, 35]


def test_an_account_that_was_not_there_yet_has_no_percentage() -> None:
    day = Span(MIDNIGHT_S, MIDNIGHT_S + 7_200, "1H", market_hours=True, reset_daily=False)
    found = told(view([(2, 100)], [(1, 100, False)], 0), day)
    assert (found["equity"], found["profit_loss"]) == ([0, 100], [0, 0])
    assert found["profit_loss_pct"] == [None, 0]
