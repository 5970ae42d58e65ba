"""Clients of the data stream that come back: complete or refused, on any worker, each once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.data_stream import DataClient, data_client
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 20.0
TIMES = 6


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        yield running


def deal(venue: Venue, symbol: str = "AAPL", count: int = 1) -> None:
    for _ in range(count):
        for who, side in (("ann", "sell"), ("bob", "buy")):
            venue.order(
                who, symbol=symbol, side=side, type="limit", time_in_force="day", qty="0.1",
                limit_price="50",
            )  # fmt: skip


def trades(client: DataClient) -> list[int]:
    return [m["i"] for m in client.received if m["T"] == "t"]


def resume(client: DataClient, since: object, **lists: list[str]) -> dict[str, Any]:
    """Subscribe after a position and return what is said of the recovery."""
    client.send(action="subscribe", **lists, since=since)
    return client.until(lambda m: m["T"] in ("recovery", "error"))


def url(venue: Venue) -> str:
    return f"ws://127.0.0.1:{venue.port}/v2/iex"


@pytest.mark.parametrize("symbols", [["AAPL"], ["*"]])
@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
def test_trades_go_on_after_the_last_one_on_any_worker(
    venue: Venue, symbols: list[str], packed: bool
) -> None:
    headers = venue.people["ann"].headers
    with data_client(url(venue), headers, packed=packed) as client:
        client.subscribe(trades=symbols)
        deal(venue, count=2)
        client.until(lambda m: m["T"] == "t" and len(trades(client)) >= 2)
        seen = trades(client)
    for kill in (None, "worker", "feed", "ledger", None, None):
        deal(venue, count=3)
        if kill is not None:
            venue.kill(kill)
        with data_client(url(venue), headers, packed=packed) as client:
            said = resume(client, {"trades": seen[-1]}, trades=symbols)
            assert said == {"T": "recovery", "list": "trades", "S": symbols[0], "recovered": True}
            deal(venue, count=2)
            last = seen[-1] + 5
            client.until(lambda m, last=last: m["T"] == "t" and m["i"] == last)  # type: ignore[misc]
            seen += trades(client)
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_another_symbols_trades_are_not_in_the_recovery(venue: Venue) -> None:
    headers = venue.people["ann"].headers
    with data_client(url(venue), headers) as client:
        client.subscribe(trades=["MSFT"])
        deal(venue, "MSFT")
        first = client.until(lambda m: m["T"] == "t")["i"]
    deal(venue, "AAPL", count=2)
    deal(venue, "MSFT")
    with data_client(url(venue), headers) as client:
        assert resume(client, {"trades": first}, trades=["MSFT"])["recovered"]
        assert client.until(lambda m: m["T"] == "t")["S"] == "MSFT"
        assert trades(client) == [first + 3]


def test_what_is_too_much_is_refused_whole_and_new_trades_come(venue: Venue) -> None:
    headers = venue.people["ann"].headers
    with data_client(url(venue), headers) as client:
        said = resume(client, {"statuses": 0}, statuses=["AAPL"])
        assert said == {"T": "recovery", "list": "statuses", "S": "AAPL", "recovered": False}
        venue.madang("venue", "halt", "AAPL")
        halted = client.until(lambda m: m["T"] == "s")
        with data_client(url(venue), headers) as other:
            other.send(action="subscribe", statuses=["AAPL"], since={"statuses": halted["t"]})
            venue.madang("venue", "open", "AAPL")
            assert other.until(lambda m: m["T"] == "s")["sc"] == "T"
        assert client.until(lambda m: m["T"] == "s")["sc"] == "T"


def test_statuses_go_on_after_one_on_a_worker_that_listens(venue: Venue) -> None:
    headers = venue.people["ann"].headers
    listening = [data_client(url(venue), headers) for _ in range(TIMES)]
    clients = [one.__enter__() for one in listening]
    for client in clients:
        client.subscribe(statuses=["MSFT"])
    time.sleep(0.2)  # on a busy machine this only makes a refusal, which is looked at below
    venue.madang("venue", "halt", "MSFT")
    halted = [client.until(lambda m: m["T"] == "s") for client in clients].pop()
    venue.madang("venue", "open", "MSFT")
    for client in clients:
        client.until(lambda m: m["T"] == "s" and m["sc"] == "T")
    for _ in range(TIMES):
        with data_client(url(venue), headers) as late:
            said = resume(late, {"statuses": halted["t"]}, statuses=["MSFT"])
            if said["recovered"]:
                assert late.until(lambda m: m["T"] == "s")["sc"] == "T"
                break
    else:
        raise AssertionError("no worker that listened could resume")
    for one in listening:
        one.__exit__(None, None, None)


@pytest.mark.parametrize(
    "since",
    [7, [], {"trades": "x"}, {"trades": -1}, {"trades": True}, {"quotes": 1}, {"bars": "no"},
     {"trades": 2**63}],
)  # fmt: skip
def test_a_position_that_is_none_is_invalid_syntax(venue: Venue, since: object) -> None:
    with data_client(url(venue), venue.people["ann"].headers) as client:
        assert resume(client, since, trades=["AAPL"])["code"] == 400


def test_listeners_are_counted_over_all_workers_and_the_dead_are_not(venue: Venue) -> None:
    headers = venue.people["ann"].headers
    clients = [data_client(url(venue), headers) for _ in range(20)]
    for one in clients:
        one.__enter__().subscribe(quotes=["AAPL"])

    def counted() -> set[float]:
        """Return what a few workers say; which one answers is chance."""
        return {listeners(venue) for _ in range(8)}

    wait_for(lambda: counted() == {20.0}, LIMIT_S, "everybody counted by every worker")
    venue.kill("worker")
    wait_for(lambda: counted() == {0.0}, LIMIT_S, "nobody counted")


def listeners(venue: Venue) -> float:
    return venue.metric("madang_stream_listeners", kind="data.quotes")
