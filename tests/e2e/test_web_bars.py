"""`GET /web/bars`: candles for anybody, equal to the trades, exact as of the trade they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.venue_fixture import Answer, Venue, running_venue

PRICES = ("100.5", "101", "99.25", "100", "102.01", "98")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        for price in PRICES:
            trade(running, price)
        yield running


def trade(venue: Venue, price: str, qty: str = "1.5") -> None:
    fields: dict[str, Any] = {"symbol": "AAPL", "qty": qty, "limit_price": price, "type": "limit"}
    venue.order("bob", side="sell", time_in_force="day", **fields)
    venue.order("ann", side="buy", time_in_force="day", **fields)


def ask(venue: Venue, **query: object) -> Answer:
    return venue.call(None, "GET", f"/web/bars?{urlencode(query)}")


def bars(venue: Venue, timeframe: str, **query: object) -> dict[str, Any]:
    answer = ask(venue, symbol="AAPL", timeframe=timeframe, **query)
    assert answer.status == 200, answer.body
    return answer.json()


def trades(venue: Venue) -> list[dict[str, Any]]:
    answer = venue.call("ann", "GET", "/v2/stocks/AAPL/trades?limit=1000")
    found: list[dict[str, Any]] = json.loads(answer.body, parse_float=Decimal)["trades"]
    return found


def test_candles_are_the_trades_up_to_the_one_they_name(venue: Venue) -> None:
    told = trades(venue)
    for timeframe in ("1Min", "5Min", "15Min", "1Hour", "1Day"):
        answer = bars(venue, timeframe)
        rows = answer["bars"]
        assert answer["trade"] == told[-1]["i"]
        assert sum(Decimal(row["v"]) for row in rows) == sum(Decimal(str(t["s"])) for t in told)
        assert sum(row["n"] for row in rows) == len(told)
        assert max(Decimal(row["h"]) for row in rows) == max(map(Decimal, PRICES))
        assert (rows[0]["o"], rows[-1]["c"]) == (PRICES[0], PRICES[-1])
        assert [row["t"] for row in rows] == sorted({row["t"] for row in rows})
        assert answer["day"][1] - answer["day"][0] == 86_400


def test_an_answer_knows_what_was_traded_before_the_question(venue: Venue) -> None:
    for step in range(10):
        trade(venue, f"10{step}.5", "0.000000001")
        answer = bars(venue, "5Min")
        assert answer["trade"] == trades(venue)[-1]["i"]
        assert answer["bars"][-1]["c"] == f"10{step}.5"


def test_pages_go_back_in_time_and_join_without_a_hole(venue: Venue) -> None:
    whole = bars(venue, "1Min")["bars"]
    newest = bars(venue, "1Min", limit=1)
    assert newest["bars"] == whole[-1:]
    assert newest["more"] is (len(whole) > 1)
    end = f"@{whole[-1]['t']}"
    assert ask(venue, symbol="AAPL", timeframe="1Min", end=end).status == 422
    before = bars(venue, "1Min", end="2001-01-01T00:00:00Z")
    assert (before["bars"], before["more"]) == ([], False)
    after = bars(venue, "1Min", end="2100-01-01T00:00:00Z")
    assert after["bars"] == whole


def test_a_symbol_without_trades_has_no_candles(venue: Venue) -> None:
    answer = ask(venue, symbol="ZZZZ", timeframe="1Day").json()
    assert (answer["bars"], answer["trade"], answer["day"]) == ([], 0, [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"symbol": "NOPE", "timeframe": "1Min"}, 404),
        ({"symbol": "AAPL", "timeframe": "2Min"}, 422),
        ({"symbol": "AAPL"}, 422),
        ({"symbol": "AAPL", "timeframe": "1Min", "limit": 1_001}, 422),
        ({"symbol": "AAPL", "timeframe": "1Min", "limit": 0}, 422),
        ({"symbol": "AAPL", "timeframe": "1Min", "end": "yesterday"}, 422),
    ],
)
def test_a_question_that_is_wrong_is_told_so(
    venue: Venue, query: dict[str, object], status: int
) -> None:
    answer = ask(venue, **query)
    assert answer.status == status
    assert answer.json()["message"]
