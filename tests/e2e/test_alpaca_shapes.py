"""Every answer over plain HTTP has the fields that Alpaca documents, each of the type it has there.

Amounts of the trading API are text, those of market data JSON numbers; times are RFC 3339 with
nanoseconds, dates and hours as the client parses them. A field more than documented is an
extension of ours and listed as one.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.support.venue_fixture import Venue, running_venue

Check = Callable[[object], bool]
Shape = dict[str, Check]
DECIMAL = re.compile(r"-?\d+(\.\d*[1-9])?")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        for who, side in (("ann", "sell"), ("bob", "buy")):
            running.order(
                who, symbol="AAPL", side=side, type="limit", time_in_force="day", qty="2.5",
                limit_price="101.25",
            )  # fmt: skip
        yield running


def text(value: object) -> bool:
    return isinstance(value, str)


def decimal(value: object) -> bool:
    return isinstance(value, str) and DECIMAL.fullmatch(value) is not None


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def truth(value: object) -> bool:
    return isinstance(value, bool)


def time(value: object) -> bool:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def a_uuid(value: object) -> bool:
    return isinstance(value, str) and str(uuid.UUID(value)) == value


def null(value: object) -> bool:
    return value is None


def rows(value: object) -> bool:
    return isinstance(value, list)


def either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def each(names: str, check: Check) -> Shape:
    return dict.fromkeys(names.split(), check)


ORDER: Shape = {
    **each("id asset_id", a_uuid),
    **each("client_order_id symbol asset_class order_class type order_type side status", text),
    **each("time_in_force position_intent", text),
    **each("created_at updated_at submitted_at", time),
    **each("filled_at canceled_at replaced_at expired_at", either(time, null)),
    **each("expires_at failed_at legs trail_percent trail_price hwm ratio_qty", null),
    **each("replaced_by replaces", either(a_uuid, null)),
    **each("qty notional filled_avg_price limit_price stop_price", either(decimal, null)),
    **each("filled_qty", decimal),
    **each("extended_hours", truth),
    **each("commission", decimal),  # extension
    **each("self_trade_prevention", text),  # extension
}
ACCOUNT: Shape = {
    **each("id", a_uuid),
    **each("account_number status crypto_status currency", text),
    **each("cash buying_power regt_buying_power non_marginable_buying_power equity", decimal),
    **each("options_buying_power last_equity portfolio_value long_market_value", decimal),
    **each("short_market_value initial_margin maintenance_margin multiplier sma", decimal),
    **each("last_maintenance_margin accrued_fees pending_transfer_in", decimal),
    **each("pending_transfer_out", decimal),
    **each("shorting_enabled trading_blocked transfers_blocked account_blocked", truth),
    **each("trade_suspended_by_user", truth),
    **each("options_approved_level options_trading_level", whole),
    **each("created_at", time),
}
POSITION: Shape = {
    **each("asset_id", a_uuid),
    **each("symbol exchange asset_class side", text),
    **each("asset_marginable", truth),
    **each("avg_entry_price qty qty_available cost_basis market_value current_price", decimal),
    **each("unrealized_pl unrealized_plpc unrealized_intraday_pl lastday_price", decimal),
    **each("unrealized_intraday_plpc change_today", decimal),
}
ASSET: Shape = {
    **each("id", a_uuid),
    **each("class exchange symbol name status", text),
    **each("tradable marginable shortable easy_to_borrow fractionable", truth),
    **each("min_order_size min_trade_increment price_increment", decimal),
    **each("attributes", rows),
}
FILL: Shape = {
    **each("activity_type id type side symbol order_status", text),
    **each("account_id order_id", a_uuid),
    **each("transaction_time", time),
    **each("price qty leaves_qty cum_qty", decimal),
}
DEPOSIT: Shape = {
    **each("activity_type id date description status", text),
    **each("account_id", a_uuid),
    **each("net_amount", decimal),
}
WATCHLIST: Shape = {
    **each("id account_id", a_uuid),
    **each("name", text),
    **each("created_at updated_at", time),
    **each("assets", rows),
}
TRADE: Shape = {
    **each("t", time), **each("x z", text), **each("p s", number), **each("c", rows),
    **each("i", whole),
}  # fmt: skip
QUOTE: Shape = {
    **each("t", time), **each("ax bx z", text), **each("ap as bp bs", number), **each("c", rows),
}  # fmt: skip
BAR: Shape = {**each("t", time), **each("o h l c v vw", number), **each("n", whole)}


def misfits(found: object, shape: Shape) -> list[str]:
    """Return the names that are missing, that nobody knows, or whose value is of another type."""
    assert isinstance(found, dict)
    return [
        *(f"{name} is missing" for name in shape.keys() - found.keys()),
        *(f"{name} is not documented" for name in found.keys() - shape.keys()),
        *(
            f"{name} is {json.dumps(found[name])}"
            for name, check in shape.items()
            if name in found and not check(found[name])
        ),
    ]


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v2/orders?status=all", ORDER), ("/v2/account", ACCOUNT),
        ("/v2/positions/AAPL", POSITION), ("/v2/assets/AAPL", ASSET), ("/v2/assets", ASSET),
        ("/v2/account/activities/FILL", FILL), ("/v2/account/activities/CSD", DEPOSIT),
    ],
)  # fmt: skip
def test_entities_of_the_trading_api(venue: Venue, path: str, shape: Shape) -> None:
    found = json.loads(venue.call("ann", "GET", path).body)
    for one in found if isinstance(found, list) else [found]:
        assert misfits(one, shape) == []
    assert found


def test_what_writing_answers(venue: Venue) -> None:
    body = {"symbol": "AAPL", "side": "buy", "type": "stop_limit", "time_in_force": "gtc"}
    order = venue.order("ann", qty=1, limit_price=151.5, stop_price=150.25, **body)
    assert misfits(order, ORDER) == []
    fresh = venue.call("ann", "PATCH", f"/v2/orders/{order['id']}", {"qty": "2"}).json()
    assert misfits(fresh, ORDER) == []
    old = venue.call("ann", "GET", f"/v2/orders/{order['id']}").json()
    assert misfits(old, ORDER) == []
    outcome = venue.call("ann", "DELETE", "/v2/orders")
    assert (outcome.status, [row["status"] for row in outcome.rows()]) == (207, [200])
    assert misfits(outcome.rows()[0]["body"], ORDER) == []
    gone = venue.call("ann", "DELETE", f"/v2/orders/{order['id']}")
    assert (gone.status, gone.json()["code"]) == (422, 42210000)
    made = venue.call("ann", "POST", "/v2/watchlists", {"name": "mine", "symbols": ["AAPL"]})
    assert misfits(made.json(), WATCHLIST) == []
    closed = venue.call("ann", "DELETE", "/v2/positions/AAPL?qty=1").json()
    assert misfits(closed, ORDER) == []


def test_times_that_the_client_parses_its_own_way(venue: Venue) -> None:
    clock = venue.call("ann", "GET", "/v2/clock").json()
    assert clock.keys() == {"timestamp", "is_open", "next_open", "next_close"}
    assert all(re.search(r"[+-]\d\d:\d\d$", clock[name]) for name in clock.keys() - {"is_open"})
    day = venue.call("ann", "GET", "/v2/calendar?start=2026-11-20&end=2026-11-20").rows()[0]
    assert day == {
        "date": "2026-11-20", "open": "00:00", "close": "23:59", "session_open": "0000",
        "session_close": "2359", "settlement_date": "2026-11-20",
    }  # fmt: skip
    history = venue.call("ann", "GET", "/v2/account/portfolio/history?period=1D").json()
    assert all(whole(value) for value in history["timestamp"])
    assert all(number(value) for name in ("equity", "profit_loss") for value in history[name])
    assert number(history["base_value"])
    assert (history["timeframe"], history["cashflow"]) == ("1Min", {})


@pytest.mark.parametrize(
    ("name", "shape", "query"),
    [("trades", TRADE, ""), ("quotes", QUOTE, ""), ("bars", BAR, "&timeframe=1Min")],
)
def test_rows_of_market_data(venue: Venue, name: str, shape: Shape, query: str) -> None:
    answer = venue.call("ann", "GET", f"/v2/stocks/{name}?symbols=AAPL,MSFT{query}").json()
    assert answer.keys() == {name, "next_page_token"}
    assert answer["next_page_token"] is None
    assert misfits(answer[name]["AAPL"][-1], shape) == []
    latest = venue.call("ann", "GET", f"/v2/stocks/{name}/latest?symbols=AAPL,MSFT").json()
    assert latest.keys() == {name}
    assert misfits(latest[name]["AAPL"], shape) == []
    nothing = venue.call("ann", "GET", f"/v2/stocks/{name}?symbols=NOPE{query}").json()
    assert nothing == {name: {}, "next_page_token": None}, "an object, never null"


def test_a_snapshot_has_the_symbol_on_top(venue: Venue) -> None:
    found = venue.call("ann", "GET", "/v2/stocks/snapshots?symbols=AAPL,NOPE").json()
    assert found.keys() == {"AAPL"}
    parts = found["AAPL"]
    assert parts["prevDailyBar"] is None
    for name, shape in (
        ("latestTrade", TRADE), ("latestQuote", QUOTE), ("minuteBar", BAR), ("dailyBar", BAR),
    ):  # fmt: skip
        assert misfits(parts[name], shape) == []


BID = {
    "symbol": "AAPL", "side": "buy", "type": "limit", "qty": "1", "time_in_force": "day",
    "limit_price": "10",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "code", "message", "more"),
    [
        ({"qty": "1000000", "limit_price": "100"}, 403, 40310000, "insufficient buying power",
            {"buying_power", "cost_basis"}),
        ({"side": "sell", "qty": "20000"}, 403, 40310000,
            "insufficient qty available for order (requested: 20000, available: ",
            {"available", "existing_qty", "held_for_orders", "symbol"}),
        ({"limit_price": "290.123"}, 422, 42210000,
            "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing "
            "criteria", set()),
        ({"qty": None}, 422, 40010001, "qty or notional is required", set()),
        ({"limit_price": None}, 422, 40010001, "limit orders require a limit price", set()),
        ({"time_in_force": "soon"}, 422, 40010001, "invalid time_in_force", set()),
        ({"qty": "0.5", "time_in_force": "gtc"}, 422, 42210000,
            "fractional orders must be DAY orders", set()),
        ({"qty": None, "notional": "0.5"}, 403, 40310000,
            "cost basis must be >= minimal amount of order 1", set()),
    ],
)  # fmt: skip
def test_refusals_have_the_words_and_codes_of_alpaca(
    venue: Venue, change: dict[str, str], status: int, code: int, message: str, more: set[str]
) -> None:  # fmt: skip
    answer = venue.call("ann", "POST", "/v2/orders", {**BID, **change})
    body = answer.json()
    assert (answer.status, body["code"]) == (status, code), body
    assert body["message"].startswith(message)
    assert body.keys() == {"code", "message", *more}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/orders/00000000-0000-4000-8000-000000000000", 404, 40410000),
        ("/v2/positions/MSFTX", 404, 40410000), ("/v2/assets/NOPE", 404, 40410000),
        ("/v2/nothing", 404, 40410000), ("/v2/orders?limit=501", 422, None),
    ],
)  # fmt: skip
def test_every_error_is_json_with_code_and_message(
    venue: Venue, path: str, status: int, code: int | None
) -> None:
    answer = venue.call("ann", "GET", path)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["code"] == code or code is None
    assert answer.json()["message"]
