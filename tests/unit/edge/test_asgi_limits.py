"""Limits and time-outs of an ASGI process, proxies in front of it, and what an operator sees."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from madang.core import log
from madang.core.errors import SettingsError
from madang.edge.asgi.loading import Receive, Scope, Send, load
from madang.edge.asgi.settings import AsgiSettings
from madang.wire.proxy_protocol import ProxyHeaderError, parse_proxy_header
from tests.support.asgi import run, serving, until
from tests.unit.edge.test_asgi_http import GET, describe, read, say


@pytest.mark.parametrize(
    ("options", "data", "status"),
    [
        ({"header_bytes_max": 1_000}, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 1_100, 431),
        ({"header_bytes_max": 1_000}, b"GET /" + b"x" * 1_100, 431),
        (
            {"header_bytes_max": 1_000},
            GET.replace(b"a", b"x" * 1_000),
            431,
        ),
        ({"header_timeout_ms": 50}, b"GET / HTTP/1.1\r\nHost", 408),
        (
            {"body_bytes_max": 10},
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n",
            413,
        ),
        (
            {"body_bytes_max": 10},
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n",
            413,
        ),
        (
            {"body_timeout_ms": 50},
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello",
            408,
        ),
    ],
)
def test_too_much_and_too_slow_have_a_status(
    options: dict[str, Any], data: bytes, status: int
) -> None:
    async def main() -> None:
        async with serving(describe, **options) as served:
            peer = await served.open()
            peer.send(data)
            answer = await peer.rest()
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer
            await until(lambda: not served.server.state.tasks)

    run(main)


def test_a_drip_of_bytes_does_not_hold_a_body_open() -> None:
    async def main() -> None:
        async with serving(describe, body_timeout_ms=150, body_bytes_per_s_min=1_000) as served:
            peer = await served.open()
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            answer = asyncio.create_task(peer.rest())
            while not answer.done():
                peer.send(b"x")
                await asyncio.sleep(0.02)
                assert loop.time() - began_s < 3
            assert answer.result().startswith(b"HTTP/1.1 408 ")

    run(main)


@pytest.mark.parametrize("framing", [b"1;" + b"x" * 200, b"1\r\ny\r\n0\r\nX: " + b"x" * 200])
def test_a_body_that_is_mostly_framing_is_refused(framing: bytes) -> None:
    async def main() -> None:
        async with serving(describe, header_bytes_max=2_000) as served:
            peer = await served.open()
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + framing)
            answer = asyncio.create_task(peer.rest())
            for _ in range(100):
                if answer.done():
                    break
                peer.send(b"x" * 200 if framing[:2] == b"1;" else b"\r\nX: " + b"x" * 200)
                await asyncio.sleep(0.002)
            assert (await answer).startswith(b"HTTP/1.1 413 ")

    run(main)


def test_a_head_that_never_ends_is_refused_though_bytes_keep_coming() -> None:
    async def main() -> None:
        async with serving(describe, header_timeout_ms=100) as served:
            peer = await served.open()
            peer.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
            answer = asyncio.create_task(peer.rest())
            for _ in range(100):
                if answer.done():
                    break
                peer.send(b"X: y\r\n")
                await asyncio.sleep(0.02)
            assert (await answer).startswith(b"HTTP/1.1 408 ")

    run(main)


def test_idle_connections_end_and_silent_ones_too() -> None:
    async def main() -> None:
        async with serving(describe, idle_timeout_ms=60, header_timeout_ms=60) as served:
            silent, idle = await served.open(), await served.open()
            idle.send(GET)
            assert (await idle.answer())[0] == 200
            assert await idle.rest() == b""
            assert await silent.rest() == b""

    run(main)


def test_an_application_that_takes_too_long_is_cancelled() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(scope["path"])

        async with serving(application, request_timeout_ms=50) as served:
            peer = await served.open()
            peer.send(GET)
            assert (await peer.answer())[0] == 503
            assert ended == ["/a"]

    run(main)


def test_a_peer_that_does_not_read_is_cut() -> None:
    async def main() -> None:
        over = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await send({"type": "http.response.start", "status": 200})
                while True:
                    body = {"type": "http.response.body", "body": b"x" * 65_536, "more_body": True}
                    await send(body)
            finally:
                over.set()

        async with serving(application, send_timeout_ms=100) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1)
            writer.write(GET)
            await asyncio.wait_for(over.wait(), 5)
            await until(lambda: not served.server.state.protocols)
            writer.close()

    run(main)


def test_connections_and_requests_in_flight_have_a_limit() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await say(send, b"served")

        options = {"connections_max": 2, "requests_in_flight_max": 1}
        async with serving(application, **options) as served:
            first, second, third = [await served.open() for _ in range(3)]
            assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
            first.send(GET)
            await until(lambda: served.server.state.tasks)
            second.send(GET)
            assert (await second.answer())[0] == 503
            go.set()
            assert (await first.answer())[2] == b"served"

    run(main)


def test_draining_finishes_requests_and_ends_idle_connections() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await go.wait()
            await say(send, b"served")

        async with serving(application) as served:
            idle, busy, fresh = [await served.open() for _ in range(3)]
            idle.send(GET)
            await idle.answer()
            busy.send(GET.replace(b"/a", b"/slow"))
            await until(lambda: served.server.state.tasks)
            drained = asyncio.create_task(served.server.drain())
            assert await idle.rest() == b""
            assert not served.server.listeners
            fresh.send(GET)  # it was on its way
            assert (await fresh.answer())[1][b"connection"] == b"close"
            go.set()
            _, headers, body = await busy.answer()
            assert (headers[b"connection"], body) == (b"close", b"served")
            assert await drained

    run(main)


def test_a_socket_can_be_left_and_taken_again() -> None:
    async def main() -> None:
        async with serving(describe) as served:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                served.server.add_socket(listener)
                served.port = listener.getsockname()[1]
                for _ in range(2):
                    await until(lambda: listener in served.server.listeners)
                    peer = await served.open()
                    peer.send(GET)
                    assert (await peer.answer())[0] == 200
                    served.server.remove_socket(listener)
                    assert listener not in served.server.listeners
                    served.server.add_socket(listener)

    run(main)


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    await read(receive)
    await say(send, json.dumps([scope["client"], scope["server"], scope["scheme"]]).encode())


FORWARDED = (
    b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
)


@pytest.mark.parametrize("trusted", [True, False])
def test_forwarded_addresses_are_believed_from_trusted_proxies_only(trusted: bool) -> None:
    async def main() -> None:
        proxies = ("127.0.0.0/8", "10.0.0.0/8") if trusted else ("10.0.0.0/8",)
        async with serving(whoami, trusted_proxies=proxies) as served:
            peer = await served.open()
            peer.send(FORWARDED)
            client, _, scheme = json.loads((await peer.answer())[2])
            assert (client[0], scheme) == (
                ("203.0.113.7", "https") if trusted else ("127.0.0.1", "http")
            )

    run(main)


V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n"
    + struct.pack("!BBH", 0x21, 0x11, 12)
    + socket.inet_aton("203.0.113.7")
    + socket.inet_aton("198.51.100.1")
    + struct.pack("!HH", 5000, 443)
)
LOCAL = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x20, 0, 0)


@pytest.mark.parametrize("header", [V1, V2])
def test_the_proxy_protocol_names_the_client_at_every_split(header: bytes) -> None:
    async def main() -> None:
        async with serving(whoami, proxy_protocol=True) as served:
            data = header + GET
            for cut in range(len(header) + 2):
                answer = await served.exchange(b"", [data[:cut], data[cut:]])
                expected = [["203.0.113.7", 5000], ["198.51.100.1", 443], "http"]
                assert json.loads(answer.partition(b"\r\n\r\n")[2]) == expected
            for wrong in (GET, b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 200):
                assert (await served.exchange(wrong)).startswith(b"HTTP/1.1 400 ")
        async with serving(whoami, proxy_protocol=True, trusted_proxies=("10.0.0.1",)) as served:
            assert (await served.exchange(data)).startswith(b"HTTP/1.1 400 ")

    run(main)


def test_proxy_headers_without_addresses_leave_the_peer_as_it_is() -> None:
    for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
        parsed = parse_proxy_header(header + b"rest")
        assert parsed is not None
        assert (parsed.source, parsed.size) == (None, len(header))
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(V2[:12] + b"\x31" + V2[13:])


def test_the_access_log_has_one_json_line_for_each_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log.configure("test")

    async def main() -> None:
        async with serving(describe, access_log=True) as served:
            await served.exchange(GET + GET.replace(b"/a", b"/b?c"))

    try:
        run(main)
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    found = [line for line in lines if line["logger"] == "access"]
    assert [(line["path"], line["query"], line["status"]) for line in found] == [
        ("/a", "", 200),
        ("/b", "c", 200),
    ]
    assert all(line["ms"] >= 0 and line["client"] == "127.0.0.1" for line in found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"header_bytes_max": 0}, "header_bytes_max"),
        ({"tls_cert": "a"}, "tls_key"),
        ({"root_path": "api"}, "root_path"),
        ({"lifespan": "maybe"}, "maybe"),
        ({"nonsense": 1}, "nonsense"),
        ({"trusted_proxies": ["x"]}, "x"),
    ],
)
def test_a_bad_setting_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({"target": "a:b", **options}, AsgiSettings)


def test_a_target_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(
        "async def app(scope, receive, send): ...\n"
        "def make():\n    return app\n"
        "class Holder:\n    app = staticmethod(app)\n"
        "number = 3\n"
    )
    folder = str(tmp_path)
    for target in ("site_app.py", "site_app:app", "site_app.py:app", "site_app.py:Holder.app"):
        assert callable(load(target, folder))
    assert callable(load("site_app.py:make", folder, factory=True))
    for target, said in [
        ("nowhere:app", "no module"),
        ("nowhere.py:app", "no file"),
        ("site_app.py:nothing", "no 'nothing'"),
        ("site_app.py:number", "cannot be called"),
        ("site_app.py:make", "factory"),
    ]:
        with pytest.raises(SettingsError, match=said):
            load(target, folder)
