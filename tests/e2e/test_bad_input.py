"""Hostile and broken input on the real product: a clear 4xx, close code or disconnect."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.venue_fixture import Answer, Venue, running_venue

LIMIT_S = 20.0
EDGE = (
    "header_timeout_ms = 500\nbody_timeout_ms = 500\nclose_timeout_ms = 300\n"
    "websocket_messages_per_s_max = 50\nwebsocket_authentication_timeout_ms = 1500\n"
)
GOOD: dict[str, Any] = {
    "symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
    "qty": "1", "limit_price": "90",
}  # fmt: skip


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "ann", edge=EDGE) as running:
        yield running


@pytest.fixture(autouse=True)
def still_serving(venue: Venue) -> Iterator[None]:
    """Whatever came in, the same workers take orders afterwards and nothing was left behind."""
    before = venue.pids("worker")
    yield
    assert venue.pids("worker") == before
    order = venue.order("ann", **GOOD)
    assert venue.call("ann", "DELETE", f"/v2/orders/{order['id']}").status == 204
    assert venue.call("ann", "GET", "/v2/orders").rows() == []


def clear_refusal(answer: Answer) -> dict[str, Any]:
    """Return the body of a 4xx that tells a client, not a programmer, what is wrong."""
    assert 400 <= answer.status < 500, (answer.status, answer.body)
    body = answer.json()
    assert isinstance(body["code"], int)
    assert body["message"]
    assert "Traceback" not in answer.body.decode()
    assert len(answer.body) < 1_000
    return dict(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b'"text"', b"{'a': 1}", b"\xff\xfe", b"\x00",
        b'{"symbol": "\xff"}', b'{"symbol": "AAPL"', b"[" * 50_000, b'{"a":' * 10_000,
        b'{"qty": NaN}', b'{"qty": Infinity}', b'{"qty": -Infinity}', b'{"qty": 01}',
        b'{"symbol": "\\ud800"}', b'{"qty": ["\xff"]}', b'{"qty": "\\ud800"}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_order_is_refused(venue: Venue, body: bytes) -> None:
    clear_refusal(venue.call("ann", "POST", "/v2/orders", body))


NO_NUMBERS: tuple[object, ...] = (
    "NaN", "nan", "Infinity", "-Infinity", "inf", "-1", "0", "-0", "0.0", "+", "-", ".", "",
    " 1", "1 ", "1,5", "1_000", "0x10", "1e", "e5", "1e999999999", "1e-999999999", "9" * 400,
    "1." + "0" * 400 + "1", "١٢", "\uff11", "1\x00", True, False, [], {}, [1], {"a": 1},
    -1, 0, -0.5, 1e308, 5e-324, 10**30,
)  # fmt: skip


@pytest.mark.parametrize("field", ["qty", "limit_price", "notional", "stop_price"])
def test_a_number_that_is_none_is_refused(venue: Venue, field: str) -> None:
    for value in NO_NUMBERS:
        fields = {**GOOD, "type": "stop_limit", "stop_price": "91", field: value}
        if field == "notional":
            del fields["qty"]
        clear_refusal(venue.call("ann", "POST", "/v2/orders", fields))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("qty", "1.0000000001", "at most 9 decimals"),
        ("limit_price", "90.00001", "sub-penny"),
        ("limit_price", "90.001", "sub-penny"),
        ("symbol", "UNKNOWN", "not found"),
        ("symbol", "x" * 10_000, "not found"),
        ("symbol", 5, "Expected"),
        ("side", "long", "invalid side"),
        ("side", 1, "Expected"),
        ("type", "peg", "invalid type"),
        ("time_in_force", "tomorrow", "invalid time_in_force"),
        ("extended_hours", "perhaps", "Expected"),
        ("client_order_id", "é" * 65, "client_order_id"),
        ("client_order_id", 7, "Expected"),
        ("order_class", "pyramid", "invalid order_class"),
        ("position_intent", "sell_to_close", "position_intent"),
        ("self_trade_prevention", "hope", "invalid self_trade_prevention"),
        ("stop_price", "91", "require no stop price"),
        ("qty", None, "qty or notional is required"),
        ("notional", "100", "only one of qty or notional"),
        ("limit_price", None, "require a limit price"),
        ("symbol", None, "symbol is required"),
        ("side", None, "side is required"),
        ("take_profit", {"limit_price": "1"}, "take_profit is not offered"),
    ],
)
def test_a_wrong_field_is_named(venue: Venue, field: str, value: object, words: str) -> None:
    answer = venue.call("ann", "POST", "/v2/orders", {**GOOD, field: value})
    assert answer.status == 422
    assert words in clear_refusal(answer)["message"]


def test_more_decimals_are_fine_where_they_are_zeros(venue: Venue) -> None:
    order = venue.order("ann", **{**GOOD, "qty": "1.50000000000000", "limit_price": 90.10})
    assert (order["qty"], order["limit_price"]) == ("1.5", "90.1")
    venue.call("ann", "DELETE", f"/v2/orders/{order['id']}")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/orders?limit=0", "/v2/orders?limit=501", "/v2/orders?limit=x", "/v2/orders?status=odd",
        "/v2/orders?after=yesterday", "/v2/orders?until=2026-13-45", "/v2/orders?direction=up",
        "/v2/orders?side=up", "/v2/orders?nested=maybe", "/v2/orders?limit=99999999999999999999",
        "/v2/orders?symbols=%FF", "/v2/orders?%ff=%ff", "/v2/orders?" + "a=1&" * 200,
        "/v2/orders:by_client_order_id", "/v2/orders:by_client_order_id?client_order_id=",
        "/v2/orders:by_client_order_id?client_order_id=" + "x" * 500,
        "/v2/orders:by_client_order_id?client_order_id=%00",
        "/v2/orders/not-an-id", "/v2/orders/%00", "/v2/orders/%ff", "/v2/orders/..%2f..%2fetc",
        "/v2/orders/" + "0" * 5_000, "/v2/positions/NOPE", "/v2/assets/NOPE", "/v2/nothing",
        "/v2/assets?status=odd", "/v2", "/v2/orders/", "//v2/orders",
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(venue: Venue, path: str) -> None:
    clear_refusal(venue.call("ann", "GET", path))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"APCA-API-KEY-ID": "x"},
        {"APCA-API-SECRET-KEY": "x"},
        {"APCA-API-KEY-ID": "", "APCA-API-SECRET-KEY": ""},
        {"APCA-API-KEY-ID": "x" * 4_000, "APCA-API-SECRET-KEY": "y" * 4_000},
        {"Authorization": "Bearer token"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": "Basic"},
        {"Cookie": "madang_session=1.9999999999.aaaa.bbbb"},
        {"Cookie": "madang_session="},
        {"Cookie": "madang_session=" + "1" * 4_000},
    ],
)
def test_whoever_cannot_say_who_they_are_gets_nothing(
    venue: Venue, headers: dict[str, str]
) -> None:
    for method, path in (("GET", "/v2/account"), ("POST", "/v2/orders"), ("DELETE", "/v2/orders")):
        answer = venue.call(None, method, path, GOOD if method == "POST" else None, **headers)
        assert (answer.status, answer.json()) == (
            401, {"code": 40110000, "message": "unauthorized"},
        )  # fmt: skip


def test_a_body_over_the_limit_is_413_and_of_another_type_415(venue: Venue) -> None:
    assert venue.call("ann", "POST", "/v2/orders", b" " * 70_000).status == 413
    kind = {"Content-Type": "text/plain"}
    assert venue.call("ann", "POST", "/v2/orders", b"{}", **kind).status == 415


def test_other_methods_on_known_paths_are_refused(venue: Venue) -> None:
    for method in ("PUT", "TRACE", "BREW"):
        clear_refusal(venue.call("ann", method, "/v2/orders"))


# the transport


@contextlib.contextmanager
def plug(venue: Venue) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", venue.port), timeout=LIMIT_S) as one:
        yield one


def read_all(one: socket.socket) -> bytes:
    """Return everything until the other end closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65_536):
            data += piece
    return data


def test_a_head_that_never_ends_is_cut(venue: Venue) -> None:
    with plug(venue) as one:
        one.sendall(b"GET /v2/account HTTP/1.1\r\nHost: x\r\n")
        assert b" 408 " in read_all(one).split(b"\r\n")[0]


def test_a_body_that_never_comes_is_cut(venue: Venue) -> None:
    with plug(venue) as one:
        one.sendall(b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in read_all(one).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET /v2/account HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /v2/orders HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_ends_in_400_or_a_closed_door(venue: Venue, head: bytes) -> None:
    with plug(venue) as one:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            one.sendall(head)
        answer = read_all(one)
        assert answer == b"" or answer.split(b" ")[1].startswith(b"4")


def upgrade(one: socket.socket, path: str = "/stream") -> None:
    one.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += one.recv(1)
    assert b" 101 " in data.split(b"\r\n")[0]


def frame(opcode: int, payload: bytes, *, masked: bool = True) -> bytes:
    size = len(payload)
    mark = 0x80 if masked else 0
    head = bytes((0x80 | opcode,))
    if size < 126:
        head += bytes((mark | size,))
    else:
        head += bytes((mark | 126,)) + struct.pack("!H", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def close_code(one: socket.socket) -> int:
    """Return the code of the close frame that must come."""
    data = read_all(one)
    at = 0
    while at < len(data):
        opcode, size = data[at] & 15, data[at + 1] & 127
        at += 2
        if size == 126:
            size = int(struct.unpack_from("!H", data, at)[0])
            at += 2
        if opcode == 8:
            return int(struct.unpack_from("!H", data, at)[0])
        at += size
    raise AssertionError(f"no close frame in {data!r}")


@pytest.mark.parametrize("path", ["/stream", "/web/stream"])
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"{}", masked=False), 1002),
        (frame(3, b""), 1002),
        (b"\xf1\x80\0\0\0\0", 1002),
        (frame(1, b"\xff\xff"), 1007),
        (frame(0, b"continuation of nothing"), 1002),
        (b"\x81\xff" + struct.pack("!Q", 2**40) + b"\0\0\0\0", 1009),
        (frame(1, b"[]"), 1008),
        (frame(1, b'{"action": "dance"}'), 1008),
        (frame(1, b"[" * 60_000), 1008),
        (frame(9, b"") * 200, 4502),
    ],
)
def test_wrong_frames_end_with_a_code(venue: Venue, path: str, sent: bytes, code: int) -> None:
    with plug(venue) as one:
        upgrade(one, path)
        one.sendall(sent)
        assert close_code(one) == code


def test_a_stream_on_which_nobody_authenticates_is_closed(venue: Venue) -> None:
    with plug(venue) as one:
        upgrade(one)
        assert close_code(one) == 4500


def test_hundreds_of_half_open_connections_leave_nothing_behind(venue: Venue) -> None:
    def open_files() -> int:
        return sum(psutil.Process(pid).num_fds() for pid in venue.pids("worker"))

    before = open_files()
    sockets = [socket.create_connection(("127.0.0.1", venue.port)) for _ in range(200)]
    for one in sockets:
        one.sendall(b"GET /stream HTTP/1.1\r\n")
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    limit_s = time.monotonic() + LIMIT_S
    while open_files() > before + 5:
        assert time.monotonic() < limit_s, "descriptors were left behind"
        time.sleep(0.02)


def test_bad_requests_do_not_make_a_worker_grow(venue: Venue) -> None:
    def resident_bytes() -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in venue.pids("worker"))

    def storm() -> None:
        for index in range(500):
            venue.call("ann", "POST", "/v2/orders", b'{"qty":' + os.urandom(8).hex().encode())
            venue.call(f"{'ann'}", "GET", f"/v2/orders/{index}-{'x' * 200}")
            venue.call(None, "GET", "/v2/account", **{"APCA-API-KEY-ID": f"K{index}"})

    storm()
    before = resident_bytes()
    storm()
    assert resident_bytes() - before < 4 * 2**20


def test_signing_in_with_nonsense_is_refused_and_slowed_down(venue: Venue) -> None:
    for body in (b"", b"{}", b'{"name": 5, "password": "x"}', b'{"name": "", "password": ""}'):
        clear_refusal(venue.call(None, "POST", "/web/session", body))
    long = {"name": "ann", "password": "x" * 10_000}
    clear_refusal(venue.call(None, "POST", "/web/session", long))
    statuses: set[int] = set()
    limit_s = time.monotonic() + LIMIT_S
    while 429 not in statuses:
        assert time.monotonic() < limit_s, statuses
        wrong = {"name": "nobody", "password": json.dumps(len(statuses))}
        statuses.add(venue.call(None, "POST", "/web/session", wrong).status)
    assert statuses == {401, 429}


def test_a_page_of_another_site_can_neither_sign_in_nor_listen(venue: Venue) -> None:
    foreign = {"Origin": "https://elsewhere.example"}
    wrong = {"name": "ann", "password": "password"}
    assert venue.call(None, "POST", "/web/session", wrong, **foreign).status == 403
    assert venue.call(None, "DELETE", "/web/session", None, **foreign).status == 403
    with plug(venue) as one:
        one.sendall(
            b"GET /web/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade, close\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Version: 13\r\nOrigin: https://elsewhere.example\r\n"
            b"Cookie: madang_session=x\r\n\r\n"
        )
        assert b" 403 " in read_all(one).split(b"\r\n")[0]
