"""Activities as users of alpaca-py ask for them, through `TradingClient.get`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.alpaca import (
    GetPortfolioHistoryRequest,
    NonTradeActivity,
    PortfolioHistory,
    TradeAccount,
    TradeActivity,
    TradingClient,
)
from tests.support.venue_fixture import Venue, running_venue

ACTIVITIES = "/account/activities"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob", "poor") as running:
        yield running


@pytest.fixture(scope="module")
def story(venue: Venue) -> list[dict[str, Any]]:
    """Let ann sell 7 to bob in two fills and take money out; return her newest activities."""
    limit = {"symbol": "AAPL", "type": "limit", "time_in_force": "day", "limit_price": "100.5"}
    order = venue.order("ann", side="sell", qty="7", **limit)
    for qty in ("3", "4"):
        venue.order("bob", side="buy", qty=qty, **limit)
    venue.madang("account", "fund", venue.people["ann"].name, "--cash", "-250.25")
    rows = venue.call("ann", "GET", f"/v2{ACTIVITIES}?page_size=3").rows()
    assert rows[1]["order_id"] == order["id"]
    return rows


def test_fills_and_transfers_are_told_newest_first(
    venue: Venue, story: list[dict[str, Any]]
) -> None:
    withdrawal, second, first = story
    NonTradeActivity(**withdrawal)
    for row in (first, second):
        TradeActivity(**row)
    assert (withdrawal["activity_type"], withdrawal["net_amount"]) == ("CSW", "-250.25")
    names = ("type", "price", "qty", "side", "symbol", "leaves_qty", "cum_qty", "order_status")
    assert [first[name] for name in names] == [
        "partial_fill", "100.5", "3", "sell", "AAPL", "4", "3", "partially_filled",
    ]  # fmt: skip
    assert [second[name] for name in names] == [
        "fill", "100.5", "4", "sell", "AAPL", "0", "7", "filled",
    ]  # fmt: skip
    assert venue.call("bob", "GET", f"/v2{ACTIVITIES}/FILL").rows()[0]["side"] == "buy"


def test_a_client_pages_through_all_of_them(venue: Venue, story: list[dict[str, Any]]) -> None:
    person = venue.people["ann"]
    client = TradingClient(person.key_id, person.secret, url_override=venue.url, raw_data=True)
    whole: Any = client.get(ACTIVITIES)
    kinds = [row["activity_type"] for row in whole]
    assert kinds == ["CSW", "FILL", "FILL", "JNLS", "JNLS", "JNLS", "CSD"]
    ids = [row["id"] for row in whole]
    assert ids == sorted(ids, reverse=True)
    for direction, expected in (("desc", ids), ("asc", ids[::-1])):
        found: list[str] = []
        token = ""
        while True:
            query = {"page_size": 3, "direction": direction}
            page: Any = client.get(ACTIVITIES, query | ({"page_token": token} if token else {}))
            if not page:
                break
            found += [row["id"] for row in page]
            token = found[-1]
        assert found == expected
    client._session.close()


def test_types_dates_and_times_narrow_the_answer(venue: Venue, story: list[dict[str, Any]]) -> None:
    def kinds(query: str) -> list[str]:
        rows = venue.call("ann", "GET", f"/v2{ACTIVITIES}{query}").rows()
        return [row["activity_type"] for row in rows]

    assert kinds("?activity_types=CSW,CSD") == ["CSW", "CSD"]
    assert kinds("?category=trade_activity") == ["FILL", "FILL"]
    assert kinds("/CSW") == ["CSW"]
    assert kinds("/DIV") == [], "a type of Alpaca's that never happens here"
    day = story[0]["date"]
    assert len(kinds(f"?date={day}")) == 7
    assert kinds("?date=2020-02-02") == []
    first = story[2]["transaction_time"]
    assert kinds(f"?after={first}") == ["CSW", "FILL"]
    assert kinds(f"?until={first}&category=trade_activity") == []


@pytest.mark.parametrize(
    "query",
    [
        "?page_size=0", "?page_size=101", "?direction=up", "?page_token=x", "?after=noon",
        "?date=2026-13-01", "?date=2026-01-01&after=2026-01-01", "/fill", "?activity_types=,",
        "?activity_types=FILL&category=trade_activity",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(venue: Venue, query: str) -> None:
    assert venue.call("poor", "GET", f"/v2{ACTIVITIES}{query}").status == 422


def test_the_history_of_a_portfolio_ends_with_what_it_is_worth(
    venue: Venue, story: list[dict[str, Any]]
) -> None:
    person = venue.people["ann"]
    client = TradingClient(person.key_id, person.secret, url_override=venue.url)
    account = client.get_account()
    assert isinstance(account, TradeAccount)
    for period, timeframe, points in (("1D", "15Min", 96), ("1W", "1D", 8), ("1D", "1Min", 1440)):
        found = client.get_portfolio_history(
            GetPortfolioHistoryRequest(period=period, timeframe=timeframe, cashflow_types="ALL")
        )
        assert isinstance(found, PortfolioHistory)
        assert len(found.timestamp) in (points - 1, points, points + 1)
        assert found.timestamp == sorted(set(found.timestamp))
        assert found.equity[-1] == float(account.equity or 0)
        assert len(found.equity) == len(found.profit_loss) == len(found.profit_loss_pct)
        assert found.timeframe == timeframe
        flows = {kind.value: sum(amounts) for kind, amounts in found.cashflow.items()}
        assert flows == {"CSD": 1_000_000, "CSW": -250.25}
    whole = client.get_portfolio_history()
    assert isinstance(whole, PortfolioHistory)
    assert whole.timeframe == "1D"
    client._session.close()
    assert venue.call("ann", "GET", "/v2/account/portfolio/history?period=1X").status == 422
