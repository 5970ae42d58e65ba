"""Closing a position sells what was asked for, by the venue's own rules, never by accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.venue_fixture import Venue, running_venue

RULES = 'self_trade_prevention = "cancel_oldest"\n'


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("venue")
    with running_venue(folder, "ann", "bob", workers=1, extra=RULES) as running:
        yield running


@pytest.mark.parametrize("query", ["qty=", "percentage=", "qty=&percentage=", "qty=&percentage=50"])
def test_a_size_left_empty_does_not_sell_the_whole_position(venue: Venue, query: str) -> None:
    before = venue.call("ann", "GET", "/v2/positions/AAPL").json()["qty"]
    answer = venue.call("ann", "DELETE", f"/v2/positions/AAPL?{query}")
    assert (answer.status, answer.json()["code"]) == (422, 40010001), answer.body
    assert venue.call("ann", "GET", "/v2/positions/AAPL").json()["qty"] == before


def test_a_closing_order_has_the_venues_self_trade_prevention(venue: Venue) -> None:
    fields = {"symbol": "MSFT", "side": "buy", "type": "limit", "time_in_force": "day", "qty": 1}
    own = venue.order("ann", **fields, limit_price=50)
    venue.order("bob", **fields, limit_price=49)
    order = venue.call("ann", "DELETE", "/v2/positions/MSFT?qty=1").json()
    assert order["self_trade_prevention"] == "cancel_oldest"
    assert (order["status"], order["filled_avg_price"]) == ("filled", "49")
    assert venue.call("ann", "GET", f"/v2/orders/{own['id']}").json()["status"] == "canceled"
