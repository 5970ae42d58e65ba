"""The overview on the real product: what was traded, over HTTP and on the pages' stream."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.running import wait_for
from tests.support.venue_fixture import SYMBOLS, Venue, running_venue

LIMIT_S = 20.0
OVERVIEW_DUE_S = 2.5
"""Longer than there is between two frames."""
EVERYTHING = {"action": "subscribe", "symbol": "*"}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        yield running


def row_of(rows: list[dict[str, Any]], symbol: str) -> dict[str, Any]:
    return next(row for row in rows if row["symbol"] == symbol)


def trade(venue: Venue, symbol: str, price: str, qty: str) -> None:
    for name, side in (("bob", "sell"), ("ann", "buy")):
        venue.order(
            name, symbol=symbol, side=side, type="limit", time_in_force="gtc", qty=qty,
            limit_price=price,
        )  # fmt: skip


def overview(stream: ClientConnection) -> list[dict[str, Any]]:
    """Return the rows of the next overview frame."""
    while True:
        frame = json.loads(stream.recv(LIMIT_S))
        if frame["type"] == "overview":
            rows: list[dict[str, Any]] = frame["rows"]
            return rows


def test_anybody_sees_the_day_of_every_symbol(venue: Venue) -> None:
    trade(venue, "AAPL", "99", "2")
    trade(venue, "AAPL", "101.5", "3")

    def row() -> dict[str, Any]:
        return row_of(venue.call(None, "GET", "/web/overview").rows(), "AAPL")

    wait_for(lambda: row()["trades"] == 2, LIMIT_S, "both trades")
    found = row()
    assert (found["last"], found["change"], found["change_percent"]) == ("101.5", "1.5", "1.5")
    assert (found["volume"], found["session"]) == ("5", "open")
    assert (found["line"][0], found["line"][-1]) == ("99", "101.5")
    rows = venue.call(None, "GET", "/web/overview").rows()
    assert [one["symbol"] for one in rows] == sorted(SYMBOLS)
    assert row_of(rows, "ZZZZ")["last"] is None


def test_the_stream_says_all_then_what_changed_and_no_more_after_leaving(venue: Venue) -> None:
    with connect(f"ws://127.0.0.1:{venue.port}/web/stream", open_timeout=LIMIT_S) as stream:
        stream.send(json.dumps(EVERYTHING))
        assert {row["symbol"] for row in overview(stream)} == set(SYMBOLS)
        trade(venue, "MSFT", "50.5", "7")
        changed: list[dict[str, Any]] = []
        while not changed or changed[-1].get("volume") != "7":
            rows = overview(stream)
            assert {row["symbol"] for row in rows} <= {"MSFT"}
            changed += rows
        assert (changed[-1]["last"], changed[-1]["change_percent"]) == ("50.5", "1")
        # A page that comes later gets everything first, and leaving takes effect.
        with connect(f"ws://127.0.0.1:{venue.port}/web/stream", open_timeout=LIMIT_S) as second:
            second.send(json.dumps(EVERYTHING))
            assert {row["symbol"] for row in overview(second)} == set(SYMBOLS)
        stream.send(json.dumps({"action": "unsubscribe", "symbol": "*"}))
        stream.send(json.dumps({"action": "subscribe", "symbol": "AAPL"}))
        while json.loads(stream.recv(LIMIT_S))["type"] != "trades":
            pass
        with contextlib.suppress(TimeoutError):
            while True:
                assert json.loads(stream.recv(OVERVIEW_DUE_S))["type"] != "overview"
