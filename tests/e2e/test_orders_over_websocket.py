"""Orders on the trading stream: the same answers as over HTTP, many at a time, none lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.venue_fixture import Venue, running_venue

LIMIT_S = 20.0
PIPELINED = 400
VECTORS = Path(__file__).parent.parent / "vectors" / "trading_stream.json"
BID: dict[str, Any] = {
    "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
    "qty": "1", "limit_price": 60.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    names = ("ann", "bob", "rae", "poor")
    with running_venue(tmp_path_factory.mktemp("venue"), *names) as running:
        yield running


class Socket:
    """A connection to the trading stream that speaks JSON or msgpack."""

    def __init__(self, raw: ClientConnection, packed: bool) -> None:
        self.raw = raw
        self._packed = packed

    def say(self, action: str, **data: object) -> None:
        message = {"action": action, "data": data}
        self.raw.send(msgspec.msgpack.encode(message) if self._packed else json.dumps(message))

    def hear(self) -> dict[str, Any]:
        frame = self.raw.recv(timeout=LIMIT_S)
        assert isinstance(frame, bytes)
        found: dict[str, Any] = (
            msgspec.msgpack.decode(frame) if self._packed else msgspec.json.decode(frame)
        )
        return found

    def answer(self) -> dict[str, Any]:
        """Return the answer to an order."""
        message = self.hear()
        assert message["stream"] == "orders", message
        data: dict[str, Any] = message["data"]
        return data

    def order(self, op: str, name: str = "1", **fields: object) -> dict[str, Any]:
        """Send one order message and return its answer."""
        self.say("order", id=name, op=op, **fields)
        data = self.answer()
        assert data["id"] == name
        return data


@contextlib.contextmanager
def signed_in(venue: Venue, name: str, packed: bool = False) -> Iterator[Socket]:
    headers = {"Content-Type": "application/msgpack"} if packed else None
    with connect(venue.stream_url, additional_headers=headers) as raw:
        socket = Socket(raw, packed)
        person = venue.people[name]
        socket.say("authenticate", key_id=person.key_id, secret_key=person.secret)
        assert socket.hear()["data"]["status"] == "authorized"
        yield socket


@pytest.mark.parametrize("packed", [False, True])
def test_an_order_is_placed_replaced_and_canceled(venue: Venue, packed: bool) -> None:
    with signed_in(venue, "ann", packed) as socket:
        placed = socket.order("place", "a", **BID)
        assert (placed["status"], placed["order"]["status"]) == (200, "new")
        assert placed["order"] == venue.call("ann", "GET", path(placed)).json()
        replaced = socket.order("replace", "b", order_id=placed["order"]["id"], qty="3")
        assert (replaced["status"], replaced["order"]["qty"]) == (200, "3")
        assert replaced["order"]["replaces"] == placed["order"]["id"]
        canceled = socket.order("cancel", "c", order_id=replaced["order"]["id"])
        assert (canceled["status"], canceled["order"]["status"]) == (200, "canceled")
        assert canceled["order"] == venue.call("ann", "GET", path(replaced)).json()
        again = socket.order("cancel", "d", order_id=replaced["order"]["id"])
        assert (again["status"], again["code"]) == (422, 42210000)


def path(answer: dict[str, Any]) -> str:
    return f"/v2/orders/{answer['order']['id']}"


@pytest.mark.parametrize(
    "fields",
    [
        {"qty": "0"}, {"limit_price": "60.555"}, {"limit_price": None}, {"symbol": "NOPE"},
        {"qty": "1000000"}, {"side": "sell", "position_intent": "sell_to_open"}, {"type": 7},
        {"notional": "5"}, {"order_class": "bracket"}, {"qty": "0.5", "time_in_force": "gtc"},
    ],
)  # fmt: skip
def test_refusals_are_those_of_http(venue: Venue, fields: dict[str, Any]) -> None:
    asked = {**BID, **fields}
    over_http = venue.call("poor", "POST", "/v2/orders", asked)
    with signed_in(venue, "poor") as socket:
        data = socket.order("place", **asked)
    assert data.pop("id") == "1"
    status = data.pop("status")
    assert status == over_http.status
    assert status >= 400
    if isinstance(fields.get("type"), int):  # the place in the document differs
        assert data["code"] == over_http.json()["code"]
    else:
        assert data == over_http.json()


def test_many_orders_are_on_their_way_at_once_and_each_is_answered(venue: Venue) -> None:
    with signed_in(venue, "bob") as socket:
        for number in range(PIPELINED):
            fields = {**BID, "client_order_id": f"pipelined-{number}"}
            socket.say("order", id=str(number), op="place", **fields)
        answers = {data["id"]: data for data in (socket.answer() for _ in range(PIPELINED))}
    assert sorted(answers, key=int) == [str(number) for number in range(PIPELINED)]
    assert {data["status"] for data in answers.values()} == {200}
    assert all(
        data["order"]["client_order_id"] == f"pipelined-{name}" for name, data in answers.items()
    )
    ids = [answers[str(number)]["order"]["id"] for number in range(PIPELINED)]
    assert ids == sorted(ids), "accepted in the order in which they were sent"
    assert len(venue.call("bob", "DELETE", "/v2/orders").rows()) == PIPELINED


def test_an_acknowledged_order_survives_the_venue(venue: Venue) -> None:
    with signed_in(venue, "ann") as socket:
        placed = socket.order("place", **BID)
        venue.kill("venue")
        assert venue.call("ann", "GET", path(placed)).json()["status"] == "new"
        canceled = socket.order("cancel", order_id=placed["order"]["id"])
        assert canceled["status"] == 200


def test_events_and_answers_share_a_connection(venue: Venue) -> None:
    with signed_in(venue, "ann") as socket:
        socket.say("listen", streams=["trade_updates"])
        assert socket.hear()["stream"] == "listening"
        socket.say("order", id="x", op="place", **BID)
        heard = [socket.hear(), socket.hear()]
        assert {message["stream"] for message in heard} == {"orders", "trade_updates"}
        order_ids = {message["data"]["order"]["id"] for message in heard}
        assert len(order_ids) == 1
        socket.say("listen", streams=[])
        assert socket.hear()["data"]["streams"] == []
        assert socket.order("cancel", order_id=order_ids.pop())["status"] == 200


def test_who_may_not_trade_is_refused(venue: Venue) -> None:
    with connect(venue.stream_url) as raw:
        refused = Socket(raw, packed=False).order("place", **BID)
        assert (refused["status"], refused["code"]) == (401, 40110000)


def test_malformed_messages_are_answered_with_what_can_be_read_of_their_id(venue: Venue) -> None:
    for case in json.loads(VECTORS.read_text(encoding="utf-8"))["refused"]:
        with signed_in(venue, "ann") as socket:
            socket.raw.send(json.dumps({"action": "order", "data": case["data"]}))
            found = socket.answer()
            assert {name: found[name] for name in case["answer"]} == case["answer"]


@pytest.mark.parametrize("message", ['{"action":"order","data":', '{"action":"order","data":7,}'])
def test_what_is_no_json_ends_the_connection(venue: Venue, message: str) -> None:
    with signed_in(venue, "ann") as socket:
        socket.raw.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.raw.recv(timeout=LIMIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
