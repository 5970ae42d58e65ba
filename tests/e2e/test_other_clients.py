"""What clients other than alpaca-py write: empty texts, lists by repetition, ids for paging, times.

The requests are those that Alpaca's SDKs for Go and JavaScript and the older one for Python send.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.venue_fixture import Answer, Venue, running_venue

RESTING = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "day"}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann") as running:
        yield running


def ask(venue: Venue, path: str) -> Answer:
    return venue.call("ann", "GET", path)


def placed(venue: Venue, price: str) -> dict[str, Any]:
    answer = venue.call("ann", "POST", "/v2/orders", {**RESTING, "limit_price": price})
    assert answer.status == 200, answer.body
    order: dict[str, Any] = answer.json()
    return order


def test_a_replacement_with_every_field_empty_but_one_changes_that_one(venue: Venue) -> None:
    order = placed(venue, "50")
    body = {"qty": "7", "limit_price": None, "stop_price": None, "trail": None}
    body |= {"time_in_force": "", "client_order_id": ""}
    answer = venue.call("ann", "PATCH", f"/v2/orders/{order['id']}", body)
    assert answer.status == 200, answer.body
    replaced = answer.json()
    assert (replaced["qty"], replaced["limit_price"]) == ("7", "50")
    assert replaced["time_in_force"] == "day"


def test_orders_are_paged_by_id(venue: Venue) -> None:
    ids = [placed(venue, str(price))["id"] for price in range(60, 65)]
    page = ask(venue, f"/v2/orders?direction=asc&after_order_id={ids[0]}").rows()
    assert [order["id"] for order in page] == ids[1:]
    page = ask(venue, f"/v2/orders?limit=2&before_order_id={ids[4]}").rows()
    assert [order["id"] for order in page] == [ids[3], ids[2]]
    for order_id in ids[1:3]:
        assert venue.call("ann", "DELETE", f"/v2/orders/{order_id}").status == 204
    page = ask(venue, f"/v2/orders?status=all&direction=asc&after_order_id={ids[0]}").rows()
    assert [order["id"] for order in page] == ids[1:]
    both = ask(venue, f"/v2/orders?after_order_id={ids[0]}&before_order_id={ids[4]}")
    assert (both.status, both.json()["code"]) == (422, 40010001)
    assert ask(venue, "/v2/orders?after_order_id=nonsense").status == 404


def test_orders_are_of_the_class_that_is_asked_for(venue: Venue) -> None:
    placed(venue, "70")
    assert ask(venue, "/v2/orders?asset_class=crypto").rows() == []
    assert ask(venue, "/v2/orders?asset_class=us_equity").rows()
    assert ask(venue, "/v2/orders?asset_class=crypto,us_equity").rows()


def test_an_empty_parameter_is_as_good_as_none(venue: Venue) -> None:
    assert ask(venue, "/v2/orders?status=&limit=&direction=&symbols=").status == 200
    assert ask(venue, "/v2/account/portfolio/history?period=&timeframe=").status == 200
    assert ask(venue, "/v2/stocks/trades?symbols=AAPL&sort=&limit=").status == 200
    missing = ask(venue, "/v2/stocks/trades?symbols=")
    assert (missing.status, missing.json()["code"]) == (422, 40010001)


def test_a_repeated_parameter_is_a_list(venue: Venue) -> None:
    rows = ask(venue, "/v2/account/activities?activity_types=FILL&activity_types=CSD").rows()
    assert {row["activity_type"] for row in rows} == {"CSD"}
    twice = ask(venue, "/v2/orders?limit=1&limit=2")
    assert twice.status == 422


def test_the_date_of_activities_may_be_a_time(venue: Venue) -> None:
    (deposit,) = ask(venue, "/v2/account/activities?activity_types=CSD").rows()
    day = deposit["date"]
    by_time = ask(venue, f"/v2/account/activities/CSD?date={day}T09:41:46.18Z").rows()
    assert by_time == [deposit] == ask(venue, f"/v2/account/activities/CSD?date={day}").rows()
    assert ask(venue, "/v2/account/activities?date=9999-12-31").status == 422
    assert ask(venue, "/v2/account/activities?date=yesterday").status == 422


def test_configurations_are_changed_beside_empty_fields(venue: Venue) -> None:
    body = {"dtbp_check": "", "no_shorting": True, "suspend_trade": True, "trade_confirm_email": ""}
    changed = venue.call("ann", "PATCH", "/v2/account/configurations", body)
    assert (changed.status, changed.json()["suspend_trade"]) == (200, True)
    body["suspend_trade"] = False
    assert venue.call("ann", "PATCH", "/v2/account/configurations", body).status == 200
    nothing = venue.call("ann", "PATCH", "/v2/account/configurations", {"dtbp_check": ""})
    assert nothing.status == 422


def test_a_calendar_day_has_its_sessions_and_settlement(venue: Venue) -> None:
    (day,) = ask(venue, "/v2/calendar?start=2026-11-23&end=2026-11-23&date_type=SETTLEMENT").rows()
    assert day == {
        "date": "2026-11-23", "open": "00:00", "close": "23:59", "session_open": "0000",
        "session_close": "2359", "settlement_date": "2026-11-23",
    }  # fmt: skip
    assert ask(venue, "/v2/calendar?date_type=FOO").status == 422


def test_an_unknown_symbol_has_no_history_and_nothing_newest(venue: Venue) -> None:
    for kind in ("trades", "quotes", "bars"):
        timeframe = "?timeframe=1Day" if kind == "bars" else ""
        answer = ask(venue, f"/v2/stocks/zzzz/{kind}{timeframe}")
        assert answer.status == 200
        assert answer.json() == {"symbol": "ZZZZ", kind: [], "next_page_token": None}
        assert ask(venue, f"/v2/stocks/AAPL,MSFT/{kind}{timeframe}").json()[kind] == []
        assert ask(venue, f"/v2/stocks/ZZZZ/{kind}/latest").status == 404


def test_history_begins_at_the_date_that_is_asked_for(venue: Venue) -> None:
    today = ask(venue, "/v2/account/activities?activity_types=CSD").rows()[0]["date"]
    answer = ask(venue, f"/v2/account/portfolio/history?date_start={today}&timeframe=1D")
    assert answer.status == 200
    assert len(answer.json()["timestamp"]) == 1
