"""Order events reach every listener once and in order, whatever dies: alpaca-py and raw."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.alpaca import TradeUpdate, TradingStream
from tests.support.running import wait_for
from tests.support.venue_fixture import Person, Venue, running_venue

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob", "rae", "dee") as running:
        yield running


class Listener:
    """alpaca-py's TradingStream in a thread of its own."""

    def __init__(self, venue: Venue, person: Person) -> None:
        self.updates: list[TradeUpdate] = []
        self.stream = TradingStream(
            person.key_id, person.secret, url_override=venue.stream_url, raw_data=False
        )
        self.stream._reconnect_min_backoff = 0.05
        self.stream.subscribe_trade_updates(self._take)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    async def _take(self, update: TradeUpdate) -> None:
        self.updates.append(update)

    def _run(self) -> None:
        self.stream.run()

    def wait(self, count: int) -> list[TradeUpdate]:
        """Return the updates once there are `count`."""
        wait_for(lambda: len(self.updates) >= count, LIMIT_S, f"{count} updates")
        return self.updates

    def close(self, venue: Venue, name: str) -> None:
        """Stop; the client looks whether it should after each message, so give it some."""
        self.stream.stop()
        limit_s = time.monotonic() + LIMIT_S
        while self._thread.is_alive():
            assert time.monotonic() < limit_s, "the client does not stop"
            order = bid(venue, name, "60")
            venue.call(name, "DELETE", f"/v2/orders/{order['id']}")
            self._thread.join(0.05)


@contextlib.contextmanager
def listening(venue: Venue, name: str) -> Iterator[Listener]:
    """Yield a listener that has shown that it hears."""
    listener = Listener(venue, venue.people[name])
    try:
        wait_for(lambda: listener.stream._running, LIMIT_S, "the stream")
        until_heard(venue, name, listener)
        yield listener
    finally:
        listener.close(venue, name)


def until_heard(venue: Venue, name: str, listener: Listener) -> None:
    """Place and cancel orders until the listener hears of one, then forget what it heard."""
    limit_s = time.monotonic() + LIMIT_S
    before = len(listener.updates)
    while len(listener.updates) == before:
        assert time.monotonic() < limit_s, "the stream stays silent"
        order = bid(venue, name, "60")
        venue.call(name, "DELETE", f"/v2/orders/{order['id']}")
        last = order["id"]
        time.sleep(0.02)
    wait_for(
        lambda: any(
            str(update.order.id) == last and update.event == "canceled"
            for update in listener.updates
        ),
        LIMIT_S,
        "the last trial order",
    )
    listener.updates.clear()


def bid(venue: Venue, name: str, price: str, qty: str = "1", **more: object) -> dict[str, Any]:
    fields = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day", **more}
    return venue.order(name, qty=qty, limit_price=price, **fields)


def bid_when_served(venue: Venue, name: str, price: str) -> dict[str, Any]:
    """Bid again as long as the answer is that certainly nothing was done."""
    fields = {
        "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
        "qty": "1", "limit_price": price,
    }  # fmt: skip
    limit_s = time.monotonic() + LIMIT_S
    while True:
        answer = venue.call(name, "POST", "/v2/orders", fields)
        if answer.status == 200:
            return answer.json()
        assert answer.json()["code"] == 50310001, answer.body
        assert time.monotonic() < limit_s, "the venue does not come back"
        time.sleep(0.02)


def offer(venue: Venue, name: str, price: str, qty: str = "1") -> dict[str, Any]:
    return bid(venue, name, price, qty, side="sell")


def test_the_whole_life_of_orders_is_told_in_order(venue: Venue) -> None:
    with listening(venue, "ann") as ann:
        first = bid(venue, "ann", "100", qty="3")
        offer(venue, "bob", "100", qty="1")
        replaced = venue.call("ann", "PATCH", f"/v2/orders/{first['id']}", {"qty": "2"}).json()
        offer(venue, "bob", "100", qty="1")
        second = bid(venue, "ann", "90")
        venue.call("ann", "DELETE", f"/v2/orders/{second['id']}")
        updates = ann.wait(7)
        told = [(update.event, str(update.order.id)) for update in updates]
        assert told == [
            ("new", first["id"]),
            ("partial_fill", first["id"]),
            ("replaced", first["id"]),
            ("new", replaced["id"]),
            ("fill", replaced["id"]),
            ("new", second["id"]),
            ("canceled", second["id"]),
        ]
        assert (updates[1].price, updates[1].qty, updates[1].position_qty) == (100, 1, 10_001)
        assert (updates[4].price, updates[4].qty, updates[4].position_qty) == (100, 1, 10_002)
        assert (updates[0].price, updates[0].qty) == (None, None)
        assert updates[4].order.filled_qty == "2"
        assert len({update.execution_id for update in updates}) == len(updates)
        assert [u.timestamp for u in updates] == sorted(u.timestamp for u in updates)


def test_everybody_on_every_worker_hears_the_same(venue: Venue) -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listening(venue, "ann")) for _ in range(6)]
        for listener in listeners:
            settle(listener)
        orders = [bid(venue, "ann", "80")["id"] for _ in range(20)]
        for listener in listeners:
            told = [str(update.order.id) for update in listener.wait(20)]
            assert told == orders
    venue.call("ann", "DELETE", "/v2/orders")


def settle(listener: Listener) -> None:
    """Wait until the trial orders of later listeners have been heard, and forget them."""
    quiet_since, heard = time.monotonic(), len(listener.updates)
    while time.monotonic() - quiet_since < 0.3:
        if len(listener.updates) != heard:
            quiet_since, heard = time.monotonic(), len(listener.updates)
        time.sleep(0.02)
    listener.updates.clear()


def test_a_client_comes_back_by_itself_when_workers_die(venue: Venue) -> None:
    with listening(venue, "ann") as ann:
        venue.kill("worker")
        until_heard(venue, "ann", ann)
        order = bid(venue, "ann", "85")
        wait_for(
            lambda: any(str(update.order.id) == order["id"] for update in ann.updates),
            LIMIT_S,
            "the order after the kill",
        )
    venue.call("ann", "DELETE", "/v2/orders")


def test_nothing_is_missed_or_told_twice_when_the_venue_dies(venue: Venue) -> None:
    """The stream stays open over the venue's death and tells what it would have told."""
    with listening(venue, "ann") as ann:
        before = [bid(venue, "ann", "80")["id"] for _ in range(5)]
        accepted: list[str] = []
        over = threading.Event()

        def trade() -> None:
            while not over.is_set():
                answer = venue.call("ann", "POST", "/v2/orders", {
                    "symbol": "AAPL", "side": "buy", "type": "limit", "qty": "1",
                    "limit_price": "81", "time_in_force": "day",
                })  # fmt: skip
                if answer.status == 200:
                    accepted.append(answer.json()["id"])
                else:
                    assert answer.status == 503, answer.body

        trader = threading.Thread(target=trade)
        trader.start()
        try:
            wait_for(lambda: len(accepted) > 20, LIMIT_S, "orders before the kill")
            venue.kill("venue")
            count = len(accepted)
            wait_for(lambda: len(accepted) > count + 20, LIMIT_S, "orders after the kill")
        finally:
            over.set()
            trader.join(LIMIT_S)
        wait_for(
            lambda: accepted[-1] in {str(update.order.id) for update in ann.updates},
            LIMIT_S,
            "the last order",
        )
        told = [str(update.order.id) for update in ann.updates]
        assert len(told) == len(set(told)), "told twice"
        assert told == sorted(told), "told out of order"
        assert set(before + accepted) <= set(told), "missed"
    venue.call("ann", "DELETE", "/v2/orders")


def test_nothing_is_missed_when_the_ledger_and_the_venue_die_together(venue: Venue) -> None:
    with listening(venue, "ann") as ann:
        first = bid(venue, "ann", "82")["id"]
        venue.kill("ledger")
        venue.kill("venue")
        second = bid_when_served(venue, "ann", "83")["id"]
        wait_for(
            lambda: [str(update.order.id) for update in ann.updates] == [first, second],
            LIMIT_S,
            "both orders once",
        )
    venue.call("ann", "DELETE", "/v2/orders")


# the protocol itself


@contextlib.contextmanager
def raw(venue: Venue, **headers: str) -> Iterator[ClientConnection]:
    with connect(venue.stream_url, additional_headers=headers, open_timeout=LIMIT_S) as socket:
        yield socket


def say(socket: ClientConnection, message: dict[str, Any]) -> None:
    socket.send(json.dumps(message))


def hear(socket: ClientConnection) -> dict[str, Any]:
    message = socket.recv(timeout=LIMIT_S)
    assert isinstance(message, bytes), "frames are binary"
    found = json.loads(message)
    assert isinstance(found, dict)
    return found


def authenticate(socket: ClientConnection, person: Person) -> None:
    data = {"key_id": person.key_id, "secret_key": person.secret}
    say(socket, {"action": "authenticate", "data": data})


def listen(*streams: str) -> dict[str, Any]:
    return {"action": "listen", "data": {"streams": list(streams)}}


def authorization(status: str, action: str) -> dict[str, Any]:
    return {"stream": "authorization", "data": {"status": status, "action": action}}


def listening_to(*streams: str) -> dict[str, Any]:
    return {"stream": "listening", "data": {"streams": list(streams)}}


def test_nothing_is_said_before_the_client_speaks(venue: Venue) -> None:
    with raw(venue) as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=0.3)
        say(socket, listen("trade_updates"))
        assert hear(socket) == authorization("unauthorized", "listen")
        authenticate(socket, venue.people["ann"])
        assert hear(socket) == authorization("authorized", "authenticate")
        say(socket, listen("trade_updates", "unheard_of"))
        assert hear(socket) == listening_to("trade_updates")


def test_the_older_form_of_address_and_authentication_is_understood(venue: Venue) -> None:
    ann = venue.people["ann"]
    with connect(f"{venue.stream_url}/", open_timeout=LIMIT_S) as socket:
        say(socket, {"action": "auth", "key": ann.key_id, "secret": ann.secret})
        assert hear(socket) == authorization("authorized", "authenticate")


def test_a_wrong_key_is_told_so_and_after_three_the_door_closes(venue: Venue) -> None:
    with raw(venue) as socket:
        for _ in range(3):
            authenticate(socket, Person("nobody", "nobody", "nothing"))
            assert hear(socket) == authorization("unauthorized", "authenticate")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=LIMIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4500


def test_listen_replaces_the_list_and_an_empty_one_stops(venue: Venue) -> None:
    with raw(venue) as socket:
        authenticate(socket, venue.people["bob"])
        assert hear(socket) == authorization("authorized", "authenticate")
        for _ in range(2):
            say(socket, listen("trade_updates"))
            assert hear(socket) == listening_to("trade_updates")
        first = bid(venue, "bob", "70")
        assert hear(socket)["data"]["order"]["id"] == first["id"]
        say(socket, listen())
        assert hear(socket) == listening_to()
        bid(venue, "bob", "71")
        say(socket, listen("trade_updates"))
        assert hear(socket) == listening_to("trade_updates")
        third = bid(venue, "bob", "72")
        assert hear(socket)["data"]["order"]["id"] == third["id"]
    venue.call("bob", "DELETE", "/v2/orders")


def test_msgpack_is_spoken_where_the_content_type_asks_for_it(venue: Venue) -> None:
    ann = venue.people["ann"]
    with raw(venue, **{"Content-Type": "application/msgpack"}) as socket:

        def exchange(message: dict[str, Any] | None) -> dict[str, Any]:
            if message is not None:
                socket.send(msgspec.msgpack.encode(message))
            answer = socket.recv(timeout=LIMIT_S)
            assert isinstance(answer, bytes)
            found = msgspec.msgpack.decode(answer)
            assert isinstance(found, dict)
            return found

        data = {"key_id": ann.key_id, "secret_key": ann.secret}
        authenticated = exchange({"action": "authenticate", "data": data})
        assert authenticated == authorization("authorized", "authenticate")
        assert exchange(listen("trade_updates")) == listening_to("trade_updates")
        order = bid(venue, "ann", "70")
        event = exchange(None)
        assert (event["stream"], event["data"]["event"]) == ("trade_updates", "new")
        assert event["data"]["order"] == order
    venue.call("ann", "DELETE", "/v2/orders")


@pytest.mark.parametrize(
    "message", ["nonsense", "[]", "{}", '{"action": 5}', '{"action": "dance"}', b"\xc1", "[" * 9999]
)
def test_nonsense_closes_the_stream(venue: Venue, message: str | bytes) -> None:
    with raw(venue) as socket:
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=LIMIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_revoked_key_loses_its_streams_and_its_requests(venue: Venue) -> None:
    rae = venue.people["rae"]
    with raw(venue) as one, raw(venue) as other:
        for socket in (one, other):
            authenticate(socket, rae)
            assert hear(socket) == authorization("authorized", "authenticate")
            say(socket, listen("trade_updates"))
            assert hear(socket) == listening_to("trade_updates")
        venue.madang("account", "keys", rae.name, "--revoke", rae.key_id)
        for socket in (one, other):
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=5)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4500
    for _ in range(10):
        assert venue.call("rae", "GET", "/v2/account").status == 401


def test_a_disabled_account_is_shut_out_and_comes_back_when_enabled(venue: Venue) -> None:
    dee = venue.people["dee"]
    bid(venue, "dee", "70")
    with raw(venue) as socket:
        authenticate(socket, dee)
        assert hear(socket) == authorization("authorized", "authenticate")
        venue.madang("account", "disable", dee.name)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=5)
    for _ in range(10):
        answer = venue.call("dee", "GET", "/v2/account")
        assert (answer.status, answer.json()["message"]) == (403, "the account is disabled")
    venue.madang("account", "enable", dee.name)
    wait_for(lambda: venue.call("dee", "GET", "/v2/account").status == 200, LIMIT_S, "the account")
    assert venue.call("dee", "GET", "/v2/orders").rows() == []
