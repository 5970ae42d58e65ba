"""The market's workers are reloaded five times under clients that nobody here wrote."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request
from tests.support.alpaca import StockDataStream, TradingStream
from tests.support.running import wait_for
from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 30.0
RELOADS = 5


class Listener:
    """A stream of alpaca-py in a thread; `all` is what its handlers got."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - one of the client's classes
        self.stream = stream
        self.all: list[Any] = []
        self.connections = 0
        connect_once = stream._connect

        async def counted() -> None:
            self.connections += 1
            await connect_once()

        stream._connect = counted
        self._thread = threading.Thread(target=stream.run, daemon=True)

    async def take(self, message: object) -> None:
        self.all.append(message)

    def start(self) -> None:
        self._thread.start()
        wait_for(lambda: self.stream._running, LIMIT_S, "the stream")

    def stop(self) -> None:
        self.stream.stop()


class Dealer(threading.Thread):
    """Trades over `/stream` all the time, many orders at once; every order is answered once."""

    def __init__(self, venue: Venue, stack: ExitStack) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.failure = ""
        self.asked = 0
        self.answers: list[dict[str, Any]] = []
        self.sold: list[str] = []
        self._sockets = [self._sign_in(venue, name, stack) for name in ("ann", "bob")]

    def _sign_in(self, venue: Venue, name: str, stack: ExitStack) -> ClientConnection:
        socket = stack.enter_context(connect(venue.stream_url, ping_interval=None))
        person = venue.people[name]
        keys = {"key_id": person.key_id, "secret_key": person.secret}
        socket.send(json.dumps({"action": "authenticate", "data": keys}))
        assert json.loads(socket.recv(LIMIT_S))["data"]["status"] == "authorized"
        return socket

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self._deal()
                time.sleep(0.01)
        except Exception as error:  # noqa: BLE001 - told by the test
            self.failure = repr(error)

    def _deal(self) -> None:
        for socket, side in zip(self._sockets, ("sell", "buy"), strict=True):
            for _ in range(5):
                self.asked += 1
                order = {
                    "id": str(self.asked), "op": "place", "symbol": "AAPL", "side": side,
                    "type": "limit", "time_in_force": "day", "qty": "1", "limit_price": "99",
                }  # fmt: skip
                socket.send(json.dumps({"action": "order", "data": order}))
            answers = [json.loads(socket.recv(LIMIT_S))["data"] for _ in range(5)]
            self.answers += answers
            if side == "sell":
                self.sold += [answer["order"]["id"] for answer in answers]

    def end(self) -> None:
        self.done.set()
        self.join(LIMIT_S)


@contextmanager
def listening(venue: Venue) -> Iterator[tuple[Listener, Listener]]:
    ann = venue.people["ann"]
    url = f"ws://127.0.0.1:{venue.port}/v2/iex"
    data = Listener(StockDataStream(ann.key_id, ann.secret, url_override=url))
    data.stream.subscribe_trades(data.take, "AAPL")
    trading = Listener(TradingStream(ann.key_id, ann.secret, url_override=venue.stream_url))
    trading.stream.subscribe_trade_updates(trading.take)
    for listener in (data, trading):
        listener.start()
    try:
        yield data, trading
    finally:
        for listener in (data, trading):
            listener.stop()


class Page(threading.Thread):
    """A page that looks at one symbol and reads all the time."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(daemon=True)
        self.socket = socket
        self.all: list[dict[str, Any]] = []
        self.failure = ""

    def run(self) -> None:
        try:
            self.socket.send('{"action":"subscribe","symbol":"AAPL"}')
            while True:
                self.all.append(json.loads(self.socket.recv(LIMIT_S)))
        except Exception as error:  # noqa: BLE001 - told by the test
            self.failure = repr(error)

    def check(self) -> None:
        """Trades have rising ids, but that what is whole begins anew; nothing ended."""
        self.socket.send('{"action":"ping"}')
        told = len(self.all)
        wait_for(lambda: any(m["type"] == "health" for m in self.all[told:]), LIMIT_S, "a word")
        assert self.failure == ""
        last = 0
        for message in self.all:
            if message["type"] == "trades":
                ids = [trade["id"] for trade in message["trades"]]
                assert message["whole"] or ids[0] > last, (ids, last)
                last = ids[-1] if ids else last
        assert last


def reload(venue: Venue) -> None:
    """Reload the workers and wait until it is done."""
    control = runtime_dir(venue.state) / SOCKET_NAME
    number = request(control, {"command": "reload", "name": "worker"})["operation"]
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(request(control, {"command": "operation", "id": number}))
        return bool(found["state"] != "running")

    wait_for(ended, LIMIT_S, "the reload")
    assert found["state"] == "done", found


def ask(client: http.client.HTTPConnection, venue: Venue) -> None:
    client.request("GET", "/v2/account", headers=venue.people["ann"].headers)
    response = client.getresponse()
    assert response.status == 200, response.read()
    response.read()


def test_streams_orders_and_kept_connections_go_on_through_five_reloads(tmp_path: Path) -> None:
    with ExitStack() as stack:
        venue = stack.enter_context(running_venue(tmp_path, "ann", "bob"))
        data, trading = stack.enter_context(listening(venue))
        url = f"ws://127.0.0.1:{venue.port}/web/stream"
        page = Page(stack.enter_context(connect(url, ping_interval=None)))
        page.start()
        dealer = Dealer(venue, stack)
        dealer.start()
        kept = http.client.HTTPConnection("127.0.0.1", venue.port, timeout=LIMIT_S)
        ask(kept, venue)
        own = kept.sock
        for _ in range(RELOADS):
            pids = venue.pids("worker")
            hear_more(data)
            hear_more(trading)
            reload(venue)
            assert not set(pids) & set(venue.pids("worker"))
            assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
            ask(kept, venue)
            assert kept.sock is own
        dealer.end()
        assert dealer.failure == ""
        ids = [answer["id"] for answer in dealer.answers]
        assert sorted(map(int, ids)) == list(range(1, dealer.asked + 1))
        assert {answer["status"] for answer in dealer.answers} == {200}
        check_trades(venue, data)
        check_updates(trading, dealer.sold)
        page.check()
        kept.close()


def hear_more(listener: Listener) -> None:
    """Wait until it has heard something more."""
    heard = len(listener.all)
    wait_for(lambda: len(listener.all) > heard, LIMIT_S, "news")


def check_trades(venue: Venue, data: Listener) -> None:
    """The stream was never opened anew and has every trade since its first, each once."""
    found: list[int] = []
    token = ""
    while True:
        path = f"/v2/stocks/AAPL/trades?limit=10000&start=2020-01-01{token}"
        answer = venue.call("ann", "GET", path).json()
        found += [trade["i"] for trade in answer["trades"]]
        if not answer.get("next_page_token"):
            break
        token = f"&page_token={answer['next_page_token']}"
    wait_for(lambda: bool(data.all) and data.all[-1].id == found[-1], LIMIT_S, "the last trade")
    assert data.connections == 1
    ids = [trade.id for trade in data.all]
    assert ids == found[found.index(ids[0]) :]


def check_updates(trading: Listener, sold: list[str]) -> None:
    """Every order of the account was told as new and as filled, each once, in order."""

    def told() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for update in list(trading.all):
            found.setdefault(str(update.order.id), []).append(str(update.event))
        return found

    def is_last(update: Any) -> bool:  # noqa: ANN401 - of the client
        return str(update.order.id) == sold[-1] and str(update.event) == "fill"

    wait_for(lambda: any(map(is_last, trading.all[-100:])), LIMIT_S, "the last fill")
    assert trading.connections == 1
    first = sold.index(str(trading.all[0].order.id))
    if str(trading.all[0].event) != "new":
        first += 1
    heard = told()
    assert [id for id in sold[first:] if heard.get(id) != ["new", "fill"]] == []
