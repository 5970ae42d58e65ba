"""The examples do what the guide says of them, on the real product."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue

MARKET_MAKER = Path(__file__).parents[2] / "examples" / "market_maker.py"
LIMIT_S = 30.0
LINES_MAX = 60


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "maker", "taker", "poor") as running:
        yield running


def quotes(venue: Venue, who: str = "maker") -> dict[str, Decimal]:
    rows = venue.call(who, "GET", "/v2/orders").rows()
    return {row["side"]: Decimal(row["limit_price"]) for row in rows}


def market_maker(venue: Venue, who: str, symbol: str) -> subprocess.Popen[bytes]:
    """Start the example as the guide does."""
    person = venue.people[who]
    words = (
        sys.executable, "-W", "ignore", str(MARKET_MAKER), symbol, "--url", venue.url,
        "--key", person.key_id, "--secret", person.secret, "--pause", "0.05",
    )  # fmt: skip
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)


def test_the_market_maker_quotes_both_sides_and_leans_against_its_stock(venue: Venue) -> None:
    process = market_maker(venue, "maker", "AAPL")
    try:
        wait_for(lambda: quotes(venue) == EXPECTED, LIMIT_S, "the first quotes")
        sell = {"symbol": "AAPL", "side": "sell", "type": "limit", "time_in_force": "day"}
        wait_for(
            lambda: (
                venue.order("taker", **{**sell, "time_in_force": "ioc"}, qty="10", limit_price=99)[
                    "status"
                ]
                == "filled"
            ),
            LIMIT_S,
            "a sale to the maker",
        )
        wait_for(
            lambda: set(found := quotes(venue)) == {"buy", "sell"} and found["buy"] < FIRST_BID,
            LIMIT_S,
            "lower quotes",
        )
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def test_the_market_maker_begins_with_money_alone(venue: Venue) -> None:
    """As the demo's account does: cash, and not one share."""
    venue.madang("venue", "instrument", "NEW", "--reference-price", "10")
    venue.madang("account", "fund", venue.people["taker"].name, "--shares", "NEW=100")
    order = {"symbol": "NEW", "type": "limit", "time_in_force": "day", "qty": "1"}
    venue.order("maker", **order, side="buy", limit_price="10")
    venue.order("taker", **order, side="sell", limit_price="10")
    process = market_maker(venue, "poor", "NEW")
    try:
        wait_for(lambda: quotes(venue, "poor") == {"buy": Decimal("9.99")}, LIMIT_S, "a bid")
        venue.order("taker", **{**order, "qty": "10"}, side="sell", limit_price="9")
        wait_for(lambda: set(quotes(venue, "poor")) == {"buy", "sell"}, LIMIT_S, "both sides")
    finally:
        process.terminate()
        process.wait(LIMIT_S)


FIRST_BID = Decimal("99.9")
EXPECTED = {"buy": FIRST_BID, "sell": Decimal("100.1")}


def test_the_market_maker_is_as_short_as_the_guide_says() -> None:
    text = MARKET_MAKER.read_text(encoding="utf-8").partition('"""\n\n')[2]
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= LINES_MAX
