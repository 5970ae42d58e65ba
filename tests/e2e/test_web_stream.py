"""What the pages get: sign-in by cookie, the market for all, one's own orders when signed in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.support.running import wait_for
from tests.support.venue_fixture import Answer, Venue, running_venue

LIMIT_S = 20.0
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", "bob") as running:
        running.madang("account", "password", running.people["ann"].name, typed=PASSWORD)
        yield running


class Visitor:
    """A browser's cookies."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.cookies: dict[str, str] = {}

    def sign_in(self, password: str = PASSWORD) -> Answer:
        body = {"name": self.venue.people["ann"].name, "password": password}
        answer = self.venue.call(None, "POST", "/web/session", body)
        for line in answer.headers.get("set-cookie", "").split("\n"):
            self.cookies.update({k: m.value for k, m in SimpleCookie(line).items()})
        return answer

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}

    def call(self, method: str, path: str, body: object = None, *, token: bool = True) -> Answer:
        headers = self.headers
        if token:
            headers["X-CSRF-Token"] = self.cookies.get("madang_csrf", "")
        return self.venue.call(None, method, path, body, **headers)


ORDER = {
    "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
    "qty": "1", "limit_price": "60",
}  # fmt: skip


@pytest.fixture
def visitor(venue: Venue) -> Visitor:
    found = Visitor(venue)
    assert found.sign_in().status == 204
    return found


@contextlib.contextmanager
def watching(venue: Venue, visitor: Visitor | None = None) -> Iterator[ClientConnection]:
    headers = {} if visitor is None else visitor.headers
    with connect(
        f"ws://127.0.0.1:{venue.port}/web/stream",
        additional_headers=headers,
        origin=Origin(f"http://127.0.0.1:{venue.port}"),
        open_timeout=LIMIT_S,
    ) as socket:
        yield socket


def hear(socket: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first message that is wanted."""
    while True:
        message = socket.recv(timeout=LIMIT_S)
        assert isinstance(message, str), "pages get text frames"
        found = json.loads(message)
        assert isinstance(found, dict)
        if wanted(found):
            return found


def of_type(kind: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == kind


def subscribe(socket: ClientConnection, symbol: str = "AAPL") -> None:
    socket.send(json.dumps({"action": "subscribe", "symbol": symbol}))


def test_a_person_signs_in_trades_and_signs_out(venue: Venue, visitor: Visitor) -> None:
    session = visitor.call("GET", "/web/session").json()
    assert (session["name"], session["role"]) == (venue.people["ann"].name, "trader")
    order = visitor.call("POST", "/v2/orders", ORDER)
    assert order.status == 200
    assert venue.call("ann", "GET", f"/v2/orders/{order.json()['id']}").status == 200
    assert visitor.call("DELETE", f"/v2/orders/{order.json()['id']}").status == 204
    gone = visitor.call("DELETE", "/web/session")
    assert gone.status == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]


def test_cookies_are_kept_from_scripts_and_other_sites(venue: Venue) -> None:
    answer = Visitor(venue).sign_in()
    session, csrf = answer.headers["set-cookie"].split("\n")
    assert session.startswith("madang_session=")
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session
    assert csrf.startswith("madang_csrf=")
    assert "HttpOnly" not in csrf


def test_an_unsafe_method_by_cookie_needs_the_token(visitor: Visitor) -> None:
    assert visitor.call("POST", "/v2/orders", ORDER, token=False).status == 403
    assert visitor.call("GET", "/v2/orders", token=False).status == 200


def test_a_wrong_password_and_nobody_are_not_told_apart(venue: Venue) -> None:
    wrong = Visitor(venue).sign_in("wrong password")
    nobody = venue.call(None, "POST", "/web/session", {"name": "nobody", "password": "wrong"})
    assert (wrong.status, wrong.body) == (nobody.status, nobody.body) == (401, wrong.body)
    assert venue.call(None, "GET", "/web/session").status == 401


def test_symbols_are_listed_for_everybody(venue: Venue) -> None:
    rows = venue.call(None, "GET", "/web/symbols").rows()
    assert [row["symbol"] for row in rows] == ["AAPL", "MSFT", "ZZZZ"]
    assert rows[0]["name"] == "AAPL Inc."


def test_everybody_sees_the_book_and_each_trade(venue: Venue) -> None:
    with watching(venue) as socket:
        subscribe(socket)
        first = hear(socket, of_type("trades"))
        assert (first["symbol"], first["whole"]) == ("AAPL", True)
        assert hear(socket, of_type("status"))["session"] == "open"
        hear(socket, of_type("book"))
        offer = {**ORDER, "side": "sell", "limit_price": "100.5", "qty": "2.5"}
        venue.order("bob", **offer)
        change = hear(socket, of_type("change"))
        assert change["asks"] == [["100.5", "2.5"]]
        venue.order("ann", **{**ORDER, "limit_price": "100.5"})
        (trade,) = hear(socket, of_type("trades"))["trades"]
        assert (trade["price"], trade["qty"], trade["side"]) == ("100.5", "1", "buy")
        day = hear(socket, of_type("day"))
        assert (day["trade"], day["close"]) == (trade["id"], "100.5")
        with watching(venue) as late:
            subscribe(late)
            last = hear(late, of_type("trades"))["trades"][-1]
            assert last["id"] == trade["id"]
    venue.call("bob", "DELETE", "/v2/orders")


def test_a_halt_is_seen(venue: Venue) -> None:
    with watching(venue) as socket:
        subscribe(socket, "MSFT")
        assert hear(socket, of_type("status"))["session"] == "open"
        venue.madang("venue", "halt", "MSFT")
        try:
            assert hear(socket, of_type("status"))["session"] == "halted"
        finally:
            venue.madang("venue", "resume", "MSFT")
        assert hear(socket, of_type("status"))["session"] == "open"


def test_an_unknown_symbol_is_complained_about_and_the_rest_goes_on(venue: Venue) -> None:
    with watching(venue) as socket:
        subscribe(socket, "NOPE")
        assert "NOPE" in hear(socket, of_type("error"))["message"]
        subscribe(socket)
        hear(socket, of_type("book"))
        socket.send(json.dumps({"action": "unsubscribe", "symbol": "AAPL"}))
        subscribe(socket, "MSFT")
        assert hear(socket, of_type("book"))["symbol"] == "MSFT"


def test_who_is_signed_in_hears_of_their_own_orders(venue: Venue, visitor: Visitor) -> None:
    with watching(venue, visitor) as mine, watching(venue) as strangers:
        assert hear(mine, lambda _: True) == {"type": "health", "venue": True, "feed": True}
        assert hear(mine, lambda _: True) == {"type": "resync"}
        subscribe(strangers)
        order = visitor.call("POST", "/v2/orders", ORDER).json()
        said = hear(mine, of_type("order"))
        assert (said["event"], said["order"]) == ("new", order)
        assert "position_qty" in said
        visitor.call("DELETE", f"/v2/orders/{order['id']}")
        assert hear(mine, of_type("order"))["event"] == "canceled"
        venue.order("bob", **{**ORDER, "limit_price": "61"})
        heard: list[str] = []

        def is_last(message: dict[str, Any]) -> bool:
            heard.append(message["type"])
            return ["61", "1"] in message.get("bids", [])

        hear(strangers, is_last)
        assert "order" not in heard
    venue.call("bob", "DELETE", "/v2/orders")


def test_the_market_goes_on_when_the_feed_dies(venue: Venue) -> None:
    with watching(venue) as socket:
        subscribe(socket)
        hear(socket, of_type("book"))
        venue.kill("feed")
        venue.order("bob", **{**ORDER, "limit_price": "61.5"})
        hear(
            socket,
            lambda m: m["type"] in ("book", "change") and ["61.5", "1"] in m["bids"],
        )
    venue.call("bob", "DELETE", "/v2/orders")


def test_a_new_password_ends_sessions_and_their_streams(venue: Venue, visitor: Visitor) -> None:
    with watching(venue, visitor) as socket:
        hear(socket, of_type("resync"))
        name = venue.people["ann"].name
        venue.madang("account", "password", name, typed="another good password")
        with pytest.raises(ConnectionClosed) as closed:
            hear(socket, lambda _: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4500
    wait_for(
        lambda: all(visitor.call("GET", "/web/session").status == 401 for _ in range(5)),
        LIMIT_S,
        "the end of the session",
    )
    assert visitor.sign_in("another good password").status == 204
    venue.madang("account", "password", name, typed=PASSWORD)
