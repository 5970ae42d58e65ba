"""Connections between two requests move; those inside one are answered first, at every split."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from madang.cluster import channel
from madang.edge import Application, Operation, Request, Response, Role, Route, Server
from madang.edge.asgi.server import AsgiServer
from madang.edge.handover import giver as giving
from madang.edge.handover.giver import Giver
from madang.edge.handover.mobile import Mover
from madang.edge.handover.taker import Taker
from tests.support import asgi, edge

REQUEST = b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n"


def named(name: str) -> Callable[..., Any]:
    """Return an application that answers with a name."""

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        body = name.encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def platform(name: str) -> Application:
    """Return the same as a route of the edge."""

    def who(request: Request) -> Response:
        return Response(200, name.encode(), "text/plain")

    return Application((Route("GET", "/who", who, Role.PUBLIC, Operation("who")),))


async def nothing(*_: object) -> None:
    """Neither side has anything to follow."""


def mover(server: AsgiServer | Server) -> Mover:
    return Mover(
        name="x", mobiles=server.mobiles, thaws=server.thaws, channels=list, warm=nothing,
        settle=nothing, ended=lambda: None,
    )  # fmt: skip


async def move(old: AsgiServer | Server, new: AsgiServer | Server) -> Giver:
    one, two = channel.pair()
    with one, two:
        one.setblocking(False)
        two.setblocking(False)
        giver = Giver(mover(old), one)
        await asyncio.gather(giver.run(), Taker(mover(new), two).run())
    return giver


Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def answer(peer: Peer) -> str:
    head = await peer[0].readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length: ")
    return (await peer[0].readexactly(int(rest.split(b"\r\n")[0]))).decode()


async def check(old: AsgiServer | Server, new: AsgiServer | Server, port: int) -> None:
    """Move with every part of a request sent; ask again behind it."""
    peers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(len(REQUEST) + 1)]
    for at, (_, writer) in enumerate(peers):
        writer.write(REQUEST + REQUEST[:at])  # one is answered before, the next is not whole
    for peer in peers:
        assert await answer(peer) == "old"
    assert await answer(peers[-1]) == "old"
    giver = await move(old, new)
    assert giver.given == 2  # nothing of the next request was read, or all of it answered
    for at, peer in enumerate(peers[1:-1], 1):
        peer[1].write(REQUEST[at:])
        assert await answer(peer) == "old"
    giver = await move(old, new)
    assert giver.given == len(peers) - 2
    for peer in peers:
        peer[1].write(REQUEST * 2)
        assert [await answer(peer), await answer(peer)] == ["new", "new"]
        peer[1].close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "PATIENCE_S", 0.1)


def test_connections_of_an_asgi_application() -> None:
    async def main() -> None:
        async with asgi.serving(named("old")) as old, asgi.serving(named("new")) as new:
            await check(old.server, new.server, old.port)
            assert sum(old.server.state.addresses.values()) == 0

    asgi.run(main)


def test_connections_of_the_platform() -> None:
    async def main() -> None:
        async with edge.serving(platform("old")) as old, edge.serving(platform("new")) as new:
            await check(old.server, new.server, old.port)
            assert sum(old.server.state.addresses.values()) == 0

    edge.run(main)


def test_a_request_under_way_is_answered_before_its_connection_moves() -> None:
    gate = asyncio.Event()
    quick = named("old")

    async def slow(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await gate.wait()
        await quick(scope, receive, send)

    async def main() -> None:
        async with asgi.serving(slow) as old, asgi.serving(named("new")) as new:
            peer = await asyncio.open_connection("127.0.0.1", old.port)
            peer[1].write(REQUEST)
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.05, gate.set)
            assert (await move(old.server, new.server)).given == 1
            assert await answer(peer) == "old"
            peer[1].write(REQUEST)
            assert await answer(peer) == "new"
            peer[1].close()

    asgi.run(main)
