"""What alpaca-py's TradingClient has beside orders and positions, with every field.

Two workers serve, and every client here talks over several connections, so what one worker did is
asked of another all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tests.support.alpaca import (
    AssetClass,
    AssetExchange,
    AssetStatus,
    CorporateActionType,
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetCorporateAnnouncementsRequest,
    GetOptionContractsRequest,
    GetPortfolioHistoryRequest,
    Order,
    PortfolioHistory,
    TradingClient,
    UpdateWatchlistRequest,
)
from tests.support.covers import offers, refuses
from tests.support.trading_clients import MakeClient, refused, trading_clients
from tests.support.venue_fixture import Venue, running_venue

NOTHING_SUCH = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob", "dan") as running:
        yield running


@pytest.fixture
def make(venue: Venue) -> Iterator[MakeClient]:
    with trading_clients(venue) as made:
        yield made


@pytest.fixture
def ann(make: MakeClient) -> Iterator[TradingClient]:
    client = make("ann")
    yield client
    client.cancel_orders()


@offers("TradingClient.get_account", "TradingClient.get_account_configurations",
        "TradingClient.set_account_configurations")  # fmt: skip
def test_the_account_and_its_configuration(make: MakeClient) -> None:
    dan = make("dan", raw=True)
    account: Any = dan.get_account()
    assert account["cash"] == "1000000"
    chosen: Any = make("dan").get_account_configurations()
    chosen.ptp_no_exception_entry = True
    assert make("dan").set_account_configurations(chosen) == chosen
    assert make("dan").get_account_configurations() == chosen
    raw: Any = dan.get_account_configurations()
    assert raw["ptp_no_exception_entry"] is True


@offers(
    "TradingClient.get_all_assets", "TradingClient.get_asset", "GetAssetsRequest.status",
    "GetAssetsRequest.asset_class", "GetAssetsRequest.exchange", "GetAssetsRequest.attributes",
)  # fmt: skip
def test_assets_by_every_filter(ann: TradingClient) -> None:
    def symbols(**fields: object) -> list[str]:
        asked: dict[str, Any] = fields
        found = ann.get_all_assets(GetAssetsRequest(**asked))
        return [asset.symbol for asset in found if not isinstance(asset, str)]

    every = ["AAPL", "MSFT", "ZZZZ"]
    assert symbols(status=AssetStatus.ACTIVE) == every
    assert symbols(status=AssetStatus.INACTIVE) == []
    assert symbols(asset_class=AssetClass.US_EQUITY) == every
    assert symbols(asset_class=AssetClass.CRYPTO) == []
    assert symbols(exchange=AssetExchange.NASDAQ) == every
    assert symbols(exchange=AssetExchange.ARCA) == []
    assert symbols(attributes="fractional_eh_enabled") == []
    found: Any = ann.get_asset("AAPL")
    assert ann.get_asset(found.id) == found
    refused(lambda: ann.get_asset("NOPE"), 404, "asset not found")
    refused(lambda: ann.get_asset(NOTHING_SUCH), 404, "asset not found")


@offers("TradingClient.get_clock", "TradingClient.get_calendar", "GetCalendarRequest.start",
        "GetCalendarRequest.end")  # fmt: skip
def test_clock_and_calendar(ann: TradingClient) -> None:
    clock: Any = ann.get_clock()
    assert clock.is_open
    assert clock.timestamp.tzinfo is not None
    days: Any = ann.get_calendar(GetCalendarRequest(start=date(2026, 2, 27), end=date(2026, 3, 1)))
    assert [day.date for day in days] == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)]
    days = ann.get_calendar(GetCalendarRequest(start=date(2026, 3, 2), end=date(2026, 3, 1)))
    assert days == []


def history(client: TradingClient, **fields: object) -> PortfolioHistory:
    asked: dict[str, Any] = fields
    found = client.get_portfolio_history(GetPortfolioHistoryRequest(**asked))
    assert isinstance(found, PortfolioHistory)
    assert len(found.timestamp) == len(found.equity) == len(found.profit_loss)
    assert len(found.timestamp) == len(found.profit_loss_pct)
    return found


@offers(
    "TradingClient.get_portfolio_history", "GetPortfolioHistoryRequest.period",
    "GetPortfolioHistoryRequest.timeframe", "GetPortfolioHistoryRequest.intraday_reporting",
    "GetPortfolioHistoryRequest.start", "GetPortfolioHistoryRequest.pnl_reset",
    "GetPortfolioHistoryRequest.end", "GetPortfolioHistoryRequest.date_end",
    "GetPortfolioHistoryRequest.extended_hours", "GetPortfolioHistoryRequest.cashflow_types",
)  # fmt: skip
def test_the_history_of_a_portfolio_by_every_parameter(make: MakeClient) -> None:
    dan = make("dan")
    now = datetime.now(UTC)
    whole = history(dan)
    assert whole.timeframe == "1D"
    assert whole.equity[-1] == float(make("dan", raw=True).get_account()["equity"])  # type: ignore[index]
    assert len(history(dan, period="1W", timeframe="1D").timestamp) == 8, "today is the eighth"
    assert history(dan, period="1D").timeframe == "1Min"
    for timeframe, step_s in (("1Min", 60), ("5Min", 300), ("15Min", 900), ("1H", 3_600)):
        found = history(
            dan, period="1D", timeframe=timeframe, intraday_reporting="continuous",
            pnl_reset="no_reset",
        )  # fmt: skip
        steps = {b - a for a, b in zip(found.timestamp, found.timestamp[1:], strict=False)}
        assert (found.timeframe, steps) == (timeframe, {step_s})
    span = history(
        dan, start=now - timedelta(hours=2), end=now - timedelta(hours=1), timeframe="5Min",
        extended_hours=True,
    )  # fmt: skip
    assert len(span.timestamp) in (12, 13)
    assert set(span.equity) == {0.0}, "before the account was"
    flows = history(dan, period="1D", timeframe="15Min", cashflow_types="CSD", pnl_reset="per_day")
    assert [sum(amounts) for amounts in flows.cashflow.values()] == [1_000_000]
    old = history(dan, date_end=date(2026, 1, 31), period="1M", timeframe="1D")
    assert datetime.fromtimestamp(old.timestamp[-1], UTC).date() == date(2026, 1, 31)
    refused(lambda: history(dan, period="1X"), 422, "period")
    refused(lambda: history(dan, timeframe="2Min"), 422)
    refused(lambda: history(dan, period="1M", timeframe="1Min"), 422, "timeframe")


@offers(
    "TradingClient.create_watchlist", "TradingClient.get_watchlists",
    "TradingClient.get_watchlist_by_id", "TradingClient.update_watchlist_by_id",
    "TradingClient.add_asset_to_watchlist_by_id",
    "TradingClient.remove_asset_from_watchlist_by_id", "TradingClient.delete_watchlist_by_id",
    "CreateWatchlistRequest.name", "CreateWatchlistRequest.symbols",
    "UpdateWatchlistRequest.name", "UpdateWatchlistRequest.symbols",
)  # fmt: skip
def test_watchlists(make: MakeClient) -> None:
    ann = make("ann", raw=True)

    def symbols(found: Any) -> list[str]:  # noqa: ANN401 - raw
        return [asset["symbol"] for asset in found["assets"]]

    made: Any = ann.create_watchlist(CreateWatchlistRequest(name="one", symbols=["MSFT"]))
    assert {"id", "account_id", "name", "created_at", "updated_at", "assets"} <= made.keys()
    assert symbols(ann.add_asset_to_watchlist_by_id(made["id"], "AAPL")) == ["MSFT", "AAPL"]
    assert symbols(ann.remove_asset_from_watchlist_by_id(made["id"], "MSFT")) == ["AAPL"]
    named: Any = ann.update_watchlist_by_id(made["id"], UpdateWatchlistRequest(name="two"))
    assert (named["name"], symbols(named)) == ("two", ["AAPL"])
    filled: Any = ann.update_watchlist_by_id(made["id"], UpdateWatchlistRequest(symbols=["ZZZZ"]))
    assert (filled["name"], symbols(filled)) == ("two", ["ZZZZ"])
    assert symbols(ann.get_watchlist_by_id(made["id"])) == ["ZZZZ"]
    listed: Any = ann.get_watchlists()
    assert [row["name"] for row in listed] == ["two"]
    ann.delete_watchlist_by_id(made["id"])
    assert ann.get_watchlists() == []
    refused(lambda: ann.get_watchlist_by_id(NOTHING_SUCH), 404, "watchlist not found")


def test_watchlists_by_name(make: MakeClient, venue: Venue) -> None:
    ann, path, name = make("ann", raw=True), "/watchlists:by_name", "차 & 배"
    made: Any = ann.create_watchlist(CreateWatchlistRequest(symbols=["MSFT"], name=name))
    assert ann.get(path, {"name": name}) == made
    query = "/v2/watchlists:by_name?name=%EC%B0%A8%20%26%20%EB%B0%B0"
    added = venue.call("ann", "POST", query, {"symbol": "AAPL"}).json()
    assert [asset["symbol"] for asset in added["assets"]] == ["MSFT", "AAPL"]
    changed = venue.call("ann", "PUT", query, {"symbols": ["ZZZZ"]}).json()
    assert (changed["id"], changed["name"]) == (made["id"], name)
    assert venue.call("bob", "GET", query).status == 404, "another account's"
    assert venue.call("ann", "GET", "/v2/watchlists:by_name").status == 422
    ann.delete(path, {"name": name})
    refused(lambda: ann.get(path, {"name": name}), 404, "watchlist not found")


@offers("TradingClient.get", "TradingClient.post", "TradingClient.patch", "TradingClient.put",
        "TradingClient.delete", "TradingClient.response_wrapper")  # fmt: skip
def test_plain_requests(make: MakeClient) -> None:
    ann = make("ann", raw=True)
    order: Any = ann.post("/orders", {
        "symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "limit_price": "70",
        "time_in_force": "day",
    })  # fmt: skip
    fresh: Any = ann.patch(f"/orders/{order['id']}", {"qty": "2"})
    assert ann.get(f"/orders/{fresh['id']}") == fresh
    ann.delete(f"/orders/{fresh['id']}")
    made: Any = ann.post("/watchlists", {"name": "plain"})
    renamed: Any = ann.put(f"/watchlists/{made['id']}", {"name": "plainer"})
    assert renamed["name"] == "plainer"
    ann.delete(f"/watchlists/{made['id']}")
    activities: Any = ann.get("/account/activities", {"activity_types": "CSD"})
    assert [row["net_amount"] for row in activities] == ["1000000"]
    assert ann.response_wrapper(Order, fresh) == fresh


@pytest.mark.filterwarnings("ignore:get_corporate_announcements:DeprecationWarning")
@refuses(
    "TradingClient.exercise_options_position", "TradingClient.get_option_contract",
    "TradingClient.get_option_contracts", "TradingClient.get_corporate_announcement_by_id",
    "TradingClient.get_corporate_announcements",
)  # fmt: skip
def test_what_is_not_offered_says_so(ann: TradingClient) -> None:
    announcements = GetCorporateAnnouncementsRequest(
        ca_types=[CorporateActionType.SPLIT], since=date(2026, 1, 1), until=date(2026, 1, 9)
    )
    calls: list[Callable[[], object]] = [
        lambda: ann.exercise_options_position("AAPL261218C00100000"),
        lambda: ann.get_option_contract("AAPL261218C00100000"),
        lambda: ann.get_option_contracts(GetOptionContractsRequest(underlying_symbols=["AAPL"])),
        lambda: ann.get_corporate_announcement_by_id(NOTHING_SUCH),
        lambda: ann.get_corporate_announcements(announcements),
    ]
    for call in calls:
        refused(call, 404, "is not offered")
