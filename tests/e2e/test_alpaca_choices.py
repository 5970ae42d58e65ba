"""Calendar, configurations and watchlists as the unmodified alpaca-py uses them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, datetime

import pytest

from tests.support.alpaca import (
    AccountConfiguration,
    APIError,
    Calendar,
    CreateWatchlistRequest,
    GetCalendarRequest,
    TradeAccount,
    TradingClient,
    UpdateWatchlistRequest,
    Watchlist,
)
from tests.support.venue_fixture import Venue, running_venue

HOURS = """timezone = "America/New_York"
[[venue.hours]]
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
open = 00:00:00
close = 23:59:30
"""
BID = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": 60}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    folder = tmp_path_factory.mktemp("venue")
    with running_venue(folder, "ann", "bob", "cas", extra=HOURS) as running:
        yield running


@pytest.fixture
def clients(venue: Venue) -> Iterator[dict[str, TradingClient]]:
    made = {
        name: TradingClient(person.key_id, person.secret, url_override=venue.url)
        for name, person in venue.people.items()
    }
    yield made
    for client in made.values():
        client._session.close()


def test_the_calendar_lists_trading_days(clients: dict[str, TradingClient]) -> None:
    days = clients["ann"].get_calendar(
        GetCalendarRequest(start=date(2026, 11, 20), end=date(2026, 11, 23))
    )
    assert isinstance(days, list)
    assert [day.date for day in days] == [date(2026, 11, n) for n in (20, 21, 22, 23)]
    assert isinstance(days[0], Calendar)
    assert days[0].open == datetime(2026, 11, 20)  # noqa: DTZ001 - the client's own naive time
    assert days[0].close == datetime(2026, 11, 20, 23, 59)  # noqa: DTZ001
    everything = clients["ann"].get_calendar()
    assert len(everything) == (date(2029, 12, 31) - date(1970, 1, 1)).days + 1


def test_a_suspended_account_enters_nothing_on_any_worker(
    venue: Venue, clients: dict[str, TradingClient]
) -> None:
    ann = clients["ann"]
    found = ann.get_account_configurations()
    assert isinstance(found, AccountConfiguration)
    assert (found.suspend_trade, found.fractional_trading, found.no_shorting) == (False, True, True)
    resting = venue.order("ann", qty="1", **BID)
    found.suspend_trade = True
    assert ann.set_account_configurations(found) == found

    def refused(count: int) -> bool:
        answers = [
            venue.call("ann", "POST", "/v2/orders", {**BID, "qty": "1"}) for _ in range(count)
        ]
        assert {answer.status for answer in answers} <= {200, 403}
        return all(answer.status == 403 for answer in answers)

    assert refused(20)
    for method, path, body in (
        ("POST", "/v2/orders", {**BID, "qty": "1"}),
        ("PATCH", f"/v2/orders/{resting['id']}", {"qty": "2"}),
        ("DELETE", "/v2/positions/AAPL", None),
    ):
        answer = venue.call("ann", method, path, body)
        assert (answer.status, answer.json()["code"]) == (403, 40310000)
    account = ann.get_account()
    assert isinstance(account, TradeAccount)
    assert account.trade_suspended_by_user
    venue.order("bob", qty="1", **BID)
    ann.cancel_order_by_id(resting["id"])
    venue.kill("worker")
    venue.kill("ledger")
    assert refused(20), "chosen once, it holds for processes that come later"
    found.suspend_trade = False
    ann.set_account_configurations(found)

    def accepted() -> bool:
        return venue.call("ann", "POST", "/v2/orders", {**BID, "qty": "1"}).status == 200

    assert all(accepted() for _ in range(10))


def test_fractional_orders_may_be_switched_off(venue: Venue) -> None:
    path = "/v2/account/configurations"
    assert venue.call("cas", "PATCH", path, {"fractional_trading": False}).status == 200

    def status(**size: str) -> int:
        return venue.call("cas", "POST", "/v2/orders", {**BID, **size}).status

    def refused() -> bool:
        return {status(qty="0.5") for _ in range(10)} == {403}

    assert refused()
    assert status(notional="100") == 403
    whole = venue.order("cas", qty="1", **BID)
    assert venue.call("cas", "PATCH", f"/v2/orders/{whole['id']}", {"qty": "1.5"}).status == 403


@pytest.mark.parametrize(
    "body",
    [
        {"no_shorting": False}, {"max_margin_multiplier": "4"}, {"trade_confirm_email": "all"},
        {"max_options_trading_level": 1}, {"dtbp_check": "both"}, {"suspend_trade": "yes"}, {},
    ],
)  # fmt: skip
def test_what_the_venue_has_not_cannot_be_chosen(venue: Venue, body: dict[str, object]) -> None:
    answer = venue.call("bob", "PATCH", "/v2/account/configurations", body)
    assert answer.status == 422
    found = venue.call("bob", "GET", "/v2/account/configurations").json()
    assert found["no_shorting"] is True


def symbols(found: Watchlist | object) -> list[str]:
    assert isinstance(found, Watchlist)
    assert found.assets is not None
    return [asset.symbol for asset in found.assets]


def test_a_watchlist_lives(clients: dict[str, TradingClient]) -> None:
    ann, bob = clients["ann"], clients["bob"]
    made = ann.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["MSFT", "AAPL"]))
    assert isinstance(made, Watchlist)
    assert symbols(made) == ["MSFT", "AAPL"]
    assert symbols(ann.add_asset_to_watchlist_by_id(made.id, "ZZZZ")) == ["MSFT", "AAPL", "ZZZZ"]
    assert symbols(ann.remove_asset_from_watchlist_by_id(made.id, "AAPL")) == ["MSFT", "ZZZZ"]
    changed = ann.update_watchlist_by_id(
        made.id, UpdateWatchlistRequest(name="ours", symbols=["AAPL"])
    )
    assert isinstance(changed, Watchlist)
    assert (changed.name, symbols(changed)) == ("ours", ["AAPL"])
    assert ann.get_watchlist_by_id(made.id) == changed
    listed = ann.get_watchlists()
    assert [each.name for each in listed if isinstance(each, Watchlist)] == ["ours"]
    assert bob.get_watchlists() == []
    with pytest.raises(APIError) as foreign:
        bob.get_watchlist_by_id(made.id)
    assert (foreign.value.status_code, foreign.value.code) == (404, 40410000)
    ann.delete_watchlist_by_id(made.id)
    with pytest.raises(APIError) as missing:
        ann.delete_watchlist_by_id(made.id)
    assert missing.value.status_code == 404


def test_watchlists_are_refused_with_a_reason(venue: Venue) -> None:
    every = "/v2/watchlists"
    made = venue.call("cas", "POST", every, {"name": "one", "symbols": ["AAPL"]}).json()
    one = f"{every}/{made['id']}"
    for status, method, path, body in (
        (422, "POST", every, {"name": "one", "symbols": []}),
        (422, "POST", every, {"name": "", "symbols": []}),
        (422, "POST", every, {"name": "x" * 65}),
        (422, "POST", every, {"symbols": ["AAPL"]}),
        (422, "POST", every, {"name": "two", "symbols": ["NOPE"]}),
        (422, "PUT", one, {}),
        (422, "POST", one, {"symbol": "NOPE"}),
        (422, "POST", one, {}),
        (404, "DELETE", f"{one}/MSFT", None),
        (404, "DELETE", f"{one}/NOPE", None),
        (404, "GET", f"{every}/{uuid.uuid4()}", None),
        (404, "GET", f"{every}/nothing", None),
        (404, "PUT", f"{every}/{uuid.uuid4()}", {"name": "three"}),
        (404, "POST", f"{every}/{uuid.uuid4()}", {"symbol": "AAPL"}),
    ):
        answer = venue.call("cas", method, path, body)
        assert answer.status == status, (method, path, body, answer.body)
        assert {"code", "message"} <= set(answer.json())
    assert venue.call("cas", "GET", one).json() == made, "nothing was changed"
