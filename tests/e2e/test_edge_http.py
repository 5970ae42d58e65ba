"""A real server over real sockets: what clients, slow clients and hostile ones get."""

from __future__ import annotations

import asyncio
import json

import pytest

from madang.edge import Server
from madang.hub import Hub
from tests.support.desk import SECRET, Desk, settings
from tests.support.edge import eventually, get, post, run, serving


def test_answers_come_in_the_order_of_the_questions_however_long_one_takes() -> None:
    async def main() -> None:
        desk = Desk()
        async with serving(desk.application()) as running:
            client = await running.connect()
            client.send(get("/hello/a") + get("/wait") + get("/hello/b%20c?x=1") + get("/hello/d"))
            first = await client.answer()
            assert json.loads(first.body)["name"] == "a"
            await eventually(lambda: running.server.statistics()["in_flight"] == 1)
            assert desk.handled == ["/hello/a"]  # nothing overtakes
            desk.gate.set()
            assert json.loads((await client.answer()).body) == {"waited": True}
            assert json.loads((await client.answer()).body)["name"] == "b c"
            assert json.loads((await client.answer()).body)["name"] == "d"
            assert desk.handled == ["/hello/a", "/wait", "/hello/b%20c", "/hello/d"]
            client.send(get("/hello/e", "Connection: close"))
            last = await client.answer()
            assert last.headers["connection"] == "close"
            assert await client.ended() == b""

    run(main)


def test_every_answer_has_date_server_id_and_safe_headers() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            client = await running.connect()
            client.send(get("/hello/a") + get("/hello/a", "X-Request-ID: mine-7"))
            one, two = await client.answer(), await client.answer()
            assert one.headers["server"] == "madang"
            assert one.headers["date"].endswith("GMT")
            assert one.headers["x-content-type-options"] == "nosniff"
            assert one.headers["cache-control"] == "no-store"
            assert one.headers["content-type"] == "application/json"
            assert two.headers["x-request-id"] == "mine-7" != one.headers["x-request-id"]

    run(main)


@pytest.mark.parametrize(
    ("question", "status", "code"),
    [
        (get("/nothing"), 404, 40_410_000),
        (get("/orders"), 405, 40_510_000),
        (get("/hello/%FF"), 400, 40_010_000),
        (get("/refuse"), 403, 40_310_000),
        (get("/fail"), 500, 50_010_000),
        (get("/split"), 500, 50_010_000),
        (post("/orders", b"{"), 400, 40_010_000),
        (post("/orders", b'{"symbol":1,"qty":1}'), 422, 40_010_001),
        (
            post("/orders", b"{}", "X: y").replace(b"application/json", b"text/plain"),
            415,
            41_510_000,
        ),
        (post("/trade", b""), 401, 40_110_000),
        (post("/trade", b"", "Cookie: session=s"), 403, 40_310_000),
        (b"BAD\r\n\r\n", 400, 40_010_000),
    ],
)
def test_every_failure_is_json_with_code_and_message(
    question: bytes, status: int, code: int
) -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            client = await running.connect()
            client.send(question)
            answer = await client.answer()
            assert answer.status == status
            assert answer.headers["content-type"] == "application/json"
            body = json.loads(answer.body)
            assert body["code"] == code
            assert body["message"]
            assert SECRET.encode() not in answer.body
            assert b"Traceback" not in answer.body
            if status == 405:
                assert answer.headers["allow"] == "POST"
            if body["message"] == "insufficient buying power":
                assert body["buying_power"] == "1.5"

    run(main)


def test_keys_and_cookies_with_their_token_pass() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            client = await running.connect()
            client.send(post("/trade", b"", "APCA-API-KEY-ID: trader"))
            assert (await client.answer()).status == 200
            cookies = "Cookie: session=s; madang_csrf=t"
            client.send(post("/trade", b"", cookies, "X-CSRF-Token: t"))
            assert (await client.answer()).status == 200

    run(main)


def test_head_tells_the_length_and_sends_nothing() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            client = await running.connect()
            client.send(get("/large").replace(b"GET", b"HEAD", 1) + get("/hello/a"))
            answer = await client.answer(head_only=True)
            assert answer.headers["content-length"] == "200000"
            assert json.loads((await client.answer()).body)["name"] == "a"

    run(main)


def test_a_client_that_expects_to_be_told_sends_its_body_after_100() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            client = await running.connect()
            question = post("/orders", b'{"symbol":"A","qty":1}', "Expect: 100-continue")
            head, _, body = question.partition(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            assert (await client.answer()).status == 100
            client.send(body)
            assert (await client.answer()).status == 201

    run(main)


def test_slow_heads_and_bodies_are_told_408_and_closed() -> None:
    async def main() -> None:
        limits = settings(header_timeout_ms=100, body_timeout_ms=150)
        async with serving(Desk().application(), limits) as running:
            for beginning in (get("/hello/a")[:-3], post("/orders", b"x" * 100)[:-50]):
                client = await running.connect()
                for at in range(len(beginning)):  # a byte now and then does not buy time
                    client.send(beginning[at : at + 1])
                    if at % 8 == 0:
                        await asyncio.sleep(0.001)
                answer = await client.answer()
                assert answer.status == 408
                assert answer.headers["connection"] == "close"
                assert await client.ended() == b""
                client.close()
            await eventually(lambda: running.server.statistics()["connections"] == 0)

    run(main)


def test_silent_connections_are_closed_without_a_word() -> None:
    async def main() -> None:
        limits = settings(header_timeout_ms=50, idle_timeout_ms=100)
        async with serving(Desk().application(), limits) as running:
            silent, idle = await running.connect(), await running.connect()
            idle.send(get("/hello/a"))
            await idle.answer()
            assert await silent.ended() == b""
            assert await idle.ended() == b""

    run(main)


def test_an_oversized_body_is_refused_though_the_client_keeps_sending() -> None:
    async def main() -> None:
        async with serving(Desk().application()) as running:
            for question in (
                post("/orders", b"x" * 2_000_000),
                b"POST /orders HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                + (b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n") * 30,
            ):
                client = await running.connect()
                client.send(question)
                assert (await client.answer()).status == 413
                client.close()

    run(main)


def test_a_pipelining_flood_stops_being_read() -> None:
    async def main() -> None:
        desk = Desk()
        async with serving(desk.application()) as running:
            client = await running.connect()
            client.send(get("/wait"))
            await eventually(lambda: running.server.statistics()["in_flight"] == 1)
            question = get("/hello/a")
            count = 20_000_000 // len(question)
            client.send(question * count)
            await asyncio.sleep(0.2)
            stuck = client.writer.transport.get_write_buffer_size()
            assert stuck > 5_000_000  # the rest waits in the client, not in the server
            await asyncio.sleep(0.1)
            assert client.writer.transport.get_write_buffer_size() == stuck
            desk.gate.set()
            await client.answer()
            for _ in range(1_000):
                assert (await client.answer()).status == 200
            client.writer.transport.abort()

    run(main)


def test_a_client_that_does_not_read_is_cut_and_holds_little() -> None:
    async def main() -> None:
        desk = Desk()
        limits = settings(send_timeout_ms=200)
        async with serving(desk.application(), limits) as running:
            client = await running.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(get("/large") * 500)  # 100 MB, if it were answered
            await eventually(lambda: running.server.statistics()["connections"] == 0)
            assert running.server.statistics()["count_cut_connections"] == 1
            assert running.server._state.responses[200] < 100

    run(main)


def test_requests_beyond_the_limit_are_told_that_nothing_was_done() -> None:
    async def main() -> None:
        desk = Desk()
        async with serving(desk.application(), settings(requests_in_flight_max=2)) as running:
            clients = [await running.connect() for _ in range(3)]
            for client in clients[:2]:
                client.send(get("/wait"))
            await eventually(lambda: running.server.statistics()["in_flight"] == 2)
            clients[2].send(get("/wait"))
            answer = await clients[2].answer()
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            clients[2].send(get("/hello/a"))  # what does not wait is still served
            assert (await clients[2].answer()).status == 200
            desk.gate.set()
            assert (await clients[0].answer()).status == 200
            assert (await clients[1].answer()).status == 200

    run(main)


def test_a_handler_without_an_answer_ends_as_unknown_also_when_the_client_left() -> None:
    async def main() -> None:
        desk = Desk()
        async with serving(desk.application(), settings(handler_timeout_ms=100)) as running:
            client, gone = await running.connect(), await running.connect()
            client.send(get("/wait"))
            gone.send(get("/wait"))
            await eventually(lambda: running.server.statistics()["in_flight"] == 2)
            gone.reset()
            await eventually(lambda: running.server._state.addresses["127.0.0.1"] == 1)
            answer = await client.answer()
            assert answer.status == 503
            assert json.loads(answer.body)["code"] == 50_310_000
            await eventually(lambda: running.server.statistics()["in_flight"] == 0)
            client.send(get("/hello/a"))
            assert (await client.answer()).status == 200

    run(main)


def test_connections_are_limited_per_address_and_in_all() -> None:
    async def main() -> None:
        for limits in (settings(connections_max=2), settings(connections_per_address_max=2)):
            async with serving(Desk().application(), limits) as running:
                clients = [await running.connect() for _ in range(2)]
                await eventually(running.has(connections=2))
                third = await running.connect()
                assert (await third.answer()).status == 503
                assert await third.ended() == b""
                third.close()
                clients[0].close()
                await eventually(running.has(connections=1))
                fourth = await running.connect()
                fourth.send(get("/hello/a"))
                assert (await fourth.answer()).status == 200

    run(main)


def test_a_drain_finishes_what_is_under_way() -> None:
    async def main() -> None:
        desk = Desk()
        async with serving(desk.application()) as running:
            busy, idle = await running.connect(), await running.connect()
            idle.send(get("/healthz"))
            assert (await idle.answer()).status == 200
            busy.send(get("/wait") + get("/healthz"))
            await eventually(lambda: running.server.statistics()["in_flight"] == 1)
            draining = asyncio.create_task(running.server.drain(5_000))
            assert await idle.ended() == b""
            running.sock.close()  # the server has left its own descriptor already
            with pytest.raises(OSError, match=r".*"):
                await running.connect()
            desk.gate.set()
            answer = await busy.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
            assert await draining

    run(main)


def test_a_socket_kept_open_elsewhere_survives_a_drain_with_its_queue() -> None:
    async def main() -> None:
        desk = Desk()
        async with serving(desk.application()) as running:
            kept = running.sock.dup()  # what the supervisor holds
            assert await running.server.drain(5_000)
            client = await running.connect()  # nobody accepts: it waits in the kernel
            client.send(get("/hello/queued"))
            successor = Server(desk.application(), settings(), Hub())
            await successor.start([])
            successor.add_socket(kept)
            try:
                assert json.loads((await client.answer()).body)["name"] == "queued"
                successor.remove_socket(kept)
                client.send(get("/hello/still"))  # what was accepted stays
                assert (await client.answer()).status == 200
                assert kept not in successor.listeners
                assert kept.fileno() != -1  # it is still the supervisor's
            finally:
                await successor.close()
                kept.close()

    run(main)


def test_health_says_ready_not_ready_and_draining() -> None:
    async def main() -> None:
        application = Desk().application()
        ready = [True]
        application.ready = lambda: ready[0]
        async with serving(application) as running:
            client = await running.connect()
            client.send(get("/healthz"))
            assert (await client.answer()).status == 200
            ready[0] = False
            client.send(get("/readyz"))
            assert (await client.answer()).status == 503
            running.server._state.draining = True
            client.send(get("/healthz"))
            assert (await client.answer()).status == 404

    run(main)
