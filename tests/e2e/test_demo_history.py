"""The demo's first start has a past over REST; the second adds nothing to it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from madang.exchange.demo.people import SYMBOLS
from madang.exchange.sim.rest import Address, Key, RestClient
from tests.support import running
from tests.support.demo import Demo, running_demo

LIMIT_S = 60.0


def client(demo: Demo) -> RestClient:
    return RestClient(Address(demo.address), Key(demo.key_id, demo.secret))


def forget_output(folder: Path) -> None:
    """So that the next start is waited for, not found in what the last one said."""
    (folder / "output.txt").unlink()


def bars(demo: Demo, timeframe: str, first: datetime.date) -> dict[str, Any]:
    """Return the bars of two days, by symbol."""
    symbols = ",".join(SYMBOLS)
    path = f"/v2/stocks/bars?symbols={symbols}&timeframe={timeframe}&limit=10000"
    last = first + datetime.timedelta(days=1)
    span = f"&start={first}T00:00:00Z&end={last}T23:59:59Z"
    found: dict[str, Any] = {}
    token = ""
    while True:
        page = client(demo).get(path + span + token)
        for symbol, rows in page["bars"].items():
            found.setdefault(symbol, []).extend(rows)
        if not page["next_page_token"]:
            return found
        token = f"&page_token={page['next_page_token']}"


def past_of(demo: Demo, first: datetime.date) -> list[dict[str, Any]]:
    return [bars(demo, timeframe, first) for timeframe in ("1Min", "1Day")]


def test_the_first_start_has_two_sessions_and_the_second_adds_nothing(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        first = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=2)
        running.wait_for(lambda: demo.pids("traders") != [], LIMIT_S, "traders")
        past = past_of(demo, first)
        minutes, days = past
        for symbol in SYMBOLS:
            assert len(minutes[symbol]) > 0.4 * 2 * 1_440
            assert len(days[symbol]) == 2
            assert all(row["h"] > row["l"] and row["v"] > 1_000 for row in days[symbol])
        visitor = client(demo)
        assert visitor.get("/v2/account")["cash"] == "100000"
        assert visitor.get("/v2/positions") == []
        assert visitor.get("/v2/orders?status=all") == []
        movers = visitor.get("/v1beta1/screener/stocks/movers?top=4")
        assert movers["gainers"] or movers["losers"]

        def lively() -> bool:
            trades = visitor.get("/v2/stocks/snapshots?symbols=AAPL,NVDA,TSLA").values()
            newest = max(row["latestTrade"]["t"] for row in trades)
            return bool(newest > datetime.datetime.now(datetime.UTC).isoformat()[:17])

        running.wait_for(lively, LIMIT_S, "trades of this minute")
    people = (tmp_path / "state" / "demo.json").read_bytes()
    forget_output(tmp_path)
    with running_demo(tmp_path) as again:
        assert past_of(again, first) == past
        assert (tmp_path / "state" / "demo.json").read_bytes() == people


def test_it_can_be_started_by_who_was_there_before_it_had_a_past(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_demo(tmp_path) as demo:
        key = demo.key_id
    known = json.loads((state / "demo.json").read_text())
    for name in ("noise-1", "trend-1"):
        del known["persons"][name]
    (state / "demo.json").write_text(json.dumps(known))
    forget_output(tmp_path)
    with running_demo(tmp_path) as demo:
        assert demo.key_id == key
        persons = json.loads((state / "demo.json").read_text())["persons"]
        assert {"noise-1", "trend-1"} <= set(persons)
        running.wait_for(lambda: demo.pids("traders") != [], LIMIT_S, "traders")
