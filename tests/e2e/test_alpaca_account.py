"""Account, positions, assets and clock as the unmodified alpaca-py reads them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.alpaca import (
    APIError,
    Asset,
    AssetExchange,
    Clock,
    ClosePositionRequest,
    ClosePositionResponse,
    GetAssetsRequest,
    LimitOrderRequest,
    Order,
    OrderSide,
    OrderStatus,
    Position,
    TimeInForce,
    TradeAccount,
    TradingClient,
)
from tests.support.venue_fixture import Venue, running_venue

BUY, SELL, DAY = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    fees = "fees = { maker_ppm = 100, taker_ppm = 300 }"
    folder = tmp_path_factory.mktemp("venue")
    with running_venue(folder, "ann", "bob", "cas", "poor", extra=fees) as running:
        yield running


@pytest.fixture
def clients(venue: Venue) -> Iterator[dict[str, TradingClient]]:
    made = {
        name: TradingClient(person.key_id, person.secret, url_override=venue.url)
        for name, person in venue.people.items()
    }
    yield made
    for client in made.values():
        client.cancel_orders()
        client._session.close()


def limit(side: OrderSide, qty: float, price: float, symbol: str = "AAPL") -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol=symbol, side=side, qty=qty, limit_price=price, time_in_force=DAY
    )


def account(client: TradingClient) -> TradeAccount:
    found = client.get_account()
    assert isinstance(found, TradeAccount)
    return found


def position(client: TradingClient, symbol: str | uuid.UUID) -> Position:
    found = client.get_open_position(symbol)
    assert isinstance(found, Position)
    return found


def test_an_account_shows_cash_holds_and_what_shares_are_worth(
    clients: dict[str, TradingClient],
) -> None:
    poor = clients["poor"]
    poor.submit_order(limit(BUY, 2, 90))
    found = account(poor)
    assert (found.cash, found.status.value, found.currency) == ("1000", "ACTIVE", "USD")
    assert found.buying_power == "819.946", "180 and the higher fee of 300 ppm are held"
    assert (found.equity, found.long_market_value, found.multiplier) == ("1000", "0", "1")
    assert found.trading_blocked is False


def test_a_trade_moves_cash_shares_and_fees_exactly(clients: dict[str, TradingClient]) -> None:
    """And every reading right after the trade knows of it, on whichever worker it lands."""
    ann, bob = clients["ann"], clients["bob"]
    ann.submit_order(limit(SELL, 3, 100.5))
    order = bob.submit_order(limit(BUY, 2, 101))
    assert isinstance(order, Order)
    assert (order.status, order.filled_avg_price) == (OrderStatus.FILLED, "100.5")
    assert account(bob).cash == "999798.9397", "201 and 300 ppm"
    assert account(ann).cash == "1000200.9799", "201 less 100 ppm"
    held = position(ann, "AAPL")
    assert (held.qty, held.qty_available) == ("9998", "9997")
    bought = position(bob, "AAPL")
    assert (bought.qty, bought.cost_basis, bought.current_price) == ("10002", "1000201", "100.5")
    assert (bought.market_value, bought.unrealized_pl) == ("1005201", "5000")
    assert bought.side.value == "long"
    symbols = [one.symbol for one in bob.get_all_positions() if isinstance(one, Position)]
    assert symbols == ["AAPL", "MSFT", "ZZZZ"]
    assert position(bob, bought.asset_id) == bought


def test_a_position_that_is_not_there_is_404(clients: dict[str, TradingClient]) -> None:
    assert clients["poor"].get_all_positions() == []
    for symbol in ("AAPL", "NOPE"):
        with pytest.raises(APIError) as missing:
            clients["poor"].get_open_position(symbol)
        assert (missing.value.status_code, missing.value.code) == (404, 40410000)
        assert missing.value.message == "position does not exist"


def test_positions_are_closed_at_market(clients: dict[str, TradingClient]) -> None:
    ann, cas = clients["ann"], clients["cas"]
    ann.submit_order(limit(BUY, 10_000, 49, symbol="MSFT"))
    some = cas.close_position("MSFT", ClosePositionRequest(qty="1000"))
    assert isinstance(some, Order)
    assert (some.status, some.filled_qty) == (OrderStatus.FILLED, "1000")
    cas.close_position("MSFT", ClosePositionRequest(percentage="50"))
    assert position(cas, "MSFT").qty == "4500"
    cas.close_position("MSFT")
    with pytest.raises(APIError):
        cas.get_open_position("MSFT")
    with pytest.raises(APIError) as missing:
        cas.close_position("MSFT")
    assert missing.value.status_code == 404


def test_all_positions_are_closed_with_an_outcome_each(clients: dict[str, TradingClient]) -> None:
    bob, cas = clients["bob"], clients["cas"]
    bob.submit_order(limit(BUY, 9_000, 99))
    cas.submit_order(limit(SELL, 1_000, 150))
    outcomes = {
        one.symbol: one
        for one in cas.close_all_positions(cancel_orders=True)
        if isinstance(one, ClosePositionResponse)
    }
    assert outcomes["AAPL"].status == 200
    assert isinstance(outcomes["AAPL"].body, Order)
    assert outcomes["AAPL"].body.filled_qty == "9000"
    assert outcomes["ZZZZ"].status == 422, "nothing ever traded there, so there is no price"
    assert position(cas, "AAPL").qty == "1000"


def test_assets_are_listed_and_found(clients: dict[str, TradingClient]) -> None:
    ann = clients["ann"]
    assets = [one for one in ann.get_all_assets() if isinstance(one, Asset)]
    assert [one.symbol for one in assets] == ["AAPL", "MSFT", "ZZZZ"]
    found = ann.get_asset("AAPL")
    assert isinstance(found, Asset)
    assert (found.exchange, found.tradable, found.fractionable) == (
        AssetExchange.NASDAQ, True, True,
    )  # fmt: skip
    assert (found.shortable, found.marginable, found.price_increment) == (False, False, 0.01)
    assert ann.get_asset(str(found.id)) == found
    assert ann.get_all_assets(GetAssetsRequest(exchange=AssetExchange.NYSE)) == []
    with pytest.raises(APIError) as missing:
        ann.get_asset("NOPE")
    assert (missing.value.status_code, missing.value.code) == (404, 40410000)


def test_the_clock_says_whether_the_market_is_open(
    clients: dict[str, TradingClient], venue: Venue
) -> None:
    def clock() -> Clock:
        found = clients["ann"].get_clock()
        assert isinstance(found, Clock)
        return found

    first = clock()
    assert first.is_open
    assert abs(first.timestamp - datetime.now(UTC)) < timedelta(minutes=1)
    assert first.timestamp < first.next_close <= first.timestamp + timedelta(days=1)
    venue.madang("venue", "close")
    try:
        assert not clock().is_open
    finally:
        venue.madang("venue", "open")
    assert clock().is_open
