"""Connections that move between two workers: every split, slow readers, a death on either side."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from madang import hub
from madang.bus import MemoryHub, memory_bus_hub
from madang.cluster import channel
from madang.edge.handover import giver as giving
from madang.edge.handover.giver import Giver
from madang.edge.handover.lane import Lane, LaneClosed
from madang.edge.handover.packets import Ack, Batch, Hello, Moving, Warm, decode, encode
from madang.edge.handover.taker import Taker
from madang.hub import application
from tests.support.edge import eventually, run
from tests.support.raw_stream import RawClient, abort_all, frame, upgrade
from tests.support.talk import Worker, hear, joined, say, worker

BIG = b'"%s"' % (b"x" * 20_000)


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test declares its own endpoints."""
    monkeypatch.setattr(application, "_declared", application._Declared())
    yield
    abort_all()


@contextmanager
def lane() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = channel.pair()
    with one, two:
        one.setblocking(False)
        two.setblocking(False)
        yield one, two


async def move(old: Worker, new: Worker) -> tuple[Giver, Taker]:
    """Hand everything over and return both sides."""
    with lane() as (one, two):
        giver, taker = Giver(old.mover(), one), Taker(new.mover(), two)
        await asyncio.gather(giver.run(), taker.run())
    return giver, taker


def playing(test: Callable[[Worker, Worker, MemoryHub], Awaitable[None]]) -> None:
    async def main() -> None:
        place = memory_bus_hub()
        async with worker(place, "old") as old, worker(place, "new") as new:
            try:
                await test(old, new, place)
            finally:
                abort_all()
                for _ in range(3):
                    await asyncio.sleep(0)

    run(main)


async def raw(one: Worker, path: str = "/ws") -> RawClient:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(RawClient, "127.0.0.1", one.port)
    client.send(upgrade(path))
    await eventually(lambda: bool(client.frames))
    return client


def texts(client: RawClient) -> list[dict[str, object]]:
    return [json.loads(payload) for _, payload in client.frames]


def test_a_client_moves_in_the_middle_of_any_byte_of_what_it_says() -> None:
    hub.endpoint("/ws")
    heard: list[object] = []
    hub.on_message(lambda client, data: heard.append(data))
    whole = frame(b'{"type":"mess', final=False) + b"\x80\x92\0\0\0\0" + b'age","data":"\xc3\xa9y"}'

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        clients = [await raw(old) for _ in range(len(whole) + 1)]
        for at, client in enumerate(clients):
            client.send(whole[:at])
        await eventually(lambda: len(heard) == 1)  # the one that said all of it
        giver, taker = await move(old, new)
        assert (giver.given, taker.taken, giver.returned) == (len(clients), len(clients), 0)
        for at, client in enumerate(clients):
            client.send(whole[at:] + frame(b'{"type":"ping"}'))
        await eventually(lambda: len(heard) == len(clients))
        assert set(map(str, heard)) == {"éy"}
        await eventually(lambda: all(texts(c)[-1] == {"type": "pong"} for c in clients))
        assert not any(client.ended for client in clients)
        assert (old.server.state.websockets, new.server.state.websockets) == (0, len(clients))

    playing(test)


def test_what_a_slow_reader_was_not_sent_follows_to_the_byte() -> None:
    hub.endpoint("/ws", channels=("numbers",))

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        clients = [await raw(old) for _ in range(4)]
        for client in clients:
            await eventually(lambda client=client: len(client.frames) == 2)  # type: ignore[misc]
            sock = client.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.transport.pause_reading()
        for _ in range(48):
            await old.session.numbering.broadcast("numbers", BIG)
        connections = old.server.hub.connections.values()
        await eventually(lambda: all(c.behind for c in connections))
        for _ in range(5):
            await old.session.numbering.broadcast("numbers", BIG)
        await eventually(lambda: all(c.outbox_bytes for c in connections))
        await eventually(lambda: new.session.hub.find("numbers").position.offset == 53)  # type: ignore[union-attr]
        giver, _ = await move(old, new)
        assert (giver.given, giver.returned) == (4, 0)
        for _ in range(5):
            await new.session.numbering.broadcast("numbers", BIG)
        for client in clients:
            client.transport.resume_reading()
        await eventually(lambda: all(len(client.frames) == 60 for client in clients))
        for client in clients:
            found = [m["offset"] for m in texts(client) if m["type"] == "message"]
            assert found == list(range(1, 59))

    playing(test)


def test_messages_to_one_client_arrive_once_while_it_moves_and_after() -> None:
    hub.endpoint("/ws", authorize=lambda request: {"name": "kim"})
    resumed: list[str] = []
    hub.on_resume(lambda client: resumed.append(client.user["name"]))

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        async with worker(place, "third") as third, old.client() as client:
            await eventually(lambda: third.bus.interested("_hub.send.old"))
            welcome = await hear(client)
            id = str(welcome["client"])
            done = asyncio.Event()
            sent = 0

            async def talk() -> None:
                nonlocal sent
                while not done.is_set():
                    for speaker in (third, old, new):
                        speaker.session.deliver(id, b"%d" % sent)
                        sent += 1
                    await asyncio.sleep(0)

            talking = asyncio.create_task(talk())
            giver, _ = await move(old, new)
            assert giver.given == 1
            await asyncio.sleep(0.05)
            done.set()
            await talking
            heard = [(await hear(client))["data"] for _ in range(sent)]
            assert sorted(heard) == list(range(sent))
            assert resumed == ["kim"]
            await say(client, type="ping")
            assert await hear(client) == {"type": "pong"}

    playing(test)


def test_a_client_whose_data_is_not_plain_or_who_is_being_served_stays() -> None:
    gate = asyncio.Event()
    hub.endpoint("/odd", authorize=lambda request: (1, 2))
    hub.endpoint("/busy")

    @hub.on_message
    async def slow(client: hub.Client, data: object) -> None:
        await gate.wait()
        hub_session[0].deliver(client.id, b'"done"')

    hub_session: list[application.HubSession] = []

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        hub_session.append(old.session)
        async with old.client("/odd") as odd, old.client("/busy") as busy:
            await joined(odd, 0)
            await joined(busy, 0)
            await say(busy, type="message", data=1)
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_later(0.3, gate.set)
            giver, _ = await move(old, new)
            assert giver.given == 1  # the busy one, once it was served
            assert (await hear(busy))["data"] == "done"
            await say(odd, type="ping")
            assert await hear(odd) == {"type": "pong"}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(giving, "PATIENCE_S", 0.6)
        playing(test)


def test_what_a_taker_did_not_acknowledge_before_it_died_goes_on_where_it_was() -> None:
    hub.endpoint("/ws", channels=("numbers",))

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        clients = [await raw(old) for _ in range(5)]
        with lane() as (one, two):

            async def die() -> None:
                taker = Lane(two)
                await taker.receive()
                await taker.send(Warm("new"))
                _, descriptors = await taker.receive()
                await old.session.numbering.broadcast("numbers", b"0")  # while it is frozen
                for descriptor in descriptors:
                    os.close(descriptor)
                two.close()

            giver = Giver(old.mover(), one)
            await asyncio.gather(giver.run(), die())
        assert (giver.given, giver.returned) == (0, 5)
        await old.session.numbering.broadcast("numbers", b"1")
        await check(clients)

    playing(test)


def test_a_taker_that_hangs_loses_what_it_has_to_the_giver() -> None:
    hub.endpoint("/ws", channels=("numbers",))

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        clients = [await raw(old) for _ in range(5)]
        with lane() as (one, two):
            taker = Taker(new.mover(), two)
            gate = asyncio.Event()
            thaw = taker._thaw

            async def hang(moving: Moving, until_s: float) -> object:
                await gate.wait()
                return await thaw(moving, until_s + 1_000)

            taker._thaw = hang  # type: ignore[method-assign,assignment]
            running = asyncio.create_task(taker.run())
            giver = Giver(old.mover(), one)
            await giver.run()
            gate.set()
            await running
        assert (giver.given, giver.returned, taker.taken) == (0, 5, 0)
        assert new.server.state.websockets == 0
        assert not new.server.hub.connections
        await old.session.numbering.broadcast("numbers", b"0")
        await old.session.numbering.broadcast("numbers", b"1")
        await check(clients)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(giving, "ACKNOWLEDGE_LIMIT_S", 0.1)
        playing(test)


def test_a_giver_that_dies_leaves_what_it_had_sent_to_the_taker() -> None:
    hub.endpoint("/ws", channels=("numbers",))

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        clients = [await raw(old) for _ in range(5)]
        with lane() as (one, two):
            taker = Taker(new.mover(), two)
            giver = Giver(old.mover(), one)
            dead = Lane(one)
            running = asyncio.create_task(taker.run())
            await dead.send(Hello("old", []))
            await dead.receive()
            batch = giver._detach()
            await asyncio.gather(*(detached.ended for _, detached in batch))
            moving = [mobile.freeze(detached.unsent_bytes) for mobile, detached in batch]
            await dead.send(Batch(moving), [detached.socket.fileno() for _, detached in batch])
            one.close()
            for _, detached in batch:
                detached.socket.close()
            await running
        assert taker.taken == 5
        await new.session.numbering.broadcast("numbers", b"0")
        await new.session.numbering.broadcast("numbers", b"1")
        await check(clients)

    playing(test)


async def check(clients: list[RawClient]) -> None:
    """Both numbers have come, once, in order, and the connection answers."""

    def numbers(client: RawClient) -> list[object]:
        return [m["data"] for m in texts(client) if m["type"] == "message"]

    await eventually(lambda: all(len(numbers(client)) == 2 for client in clients))
    for client in clients:
        client.send(frame(b'{"type":"ping"}'))
    await eventually(lambda: all(texts(c)[-1] == {"type": "pong"} for c in clients))
    assert all(numbers(client) == [0, 1] for client in clients)
    assert not any(client.ended for client in clients)


def test_a_client_that_has_missed_what_the_taker_does_not_know_is_refused_and_stays() -> None:
    hub.endpoint("/ws", channels=("numbers",))

    async def test(old: Worker, new: Worker, place: MemoryHub) -> None:
        client = await raw(old)
        await old.session.numbering.broadcast("numbers", b"0")
        await eventually(lambda: len(client.frames) == 3)
        known = new.session.hub.find("numbers")
        assert known is not None
        await eventually(lambda: known.position is not None and known.position.offset == 1)
        known.history.forget()
        giver, taker = await move(old, new)
        assert giver.given == 0
        assert giver.returned >= 1
        assert taker.refused >= 1
        await old.session.numbering.broadcast("numbers", b"1")
        await check([client])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(giving, "PATIENCE_S", 0.3)
        playing(test)


def test_packets_arrive_as_they_were_sent_also_large_ones_with_descriptors() -> None:
    async def main() -> None:
        with lane() as (one, two):
            moving = [Moving("websocket", bytes([n]) * 10_000) for n in range(100)]
            files = [os.memfd_create(str(n)) for n in range(100)]
            await Lane(one).send(Batch(moving), files)
            packet, descriptors = await Lane(two).receive()
            assert packet == Batch(moving)
            same = [os.fstat(a).st_ino == os.fstat(b).st_ino for a, b in zip(files, descriptors)]  # noqa: B905
            assert same == [True] * 100
            for descriptor in (*files, *descriptors):
                os.close(descriptor)
            await Lane(two).send(Ack([1, 2], ["no"]))
            assert (await Lane(one).receive())[0] == Ack([1, 2], ["no"])
            two.close()
            with pytest.raises(LaneClosed):
                await Lane(one).receive()
            with pytest.raises(LaneClosed):
                await Lane(one).send(Warm("x"))
        assert decode(encode(Hello("a", ["b"]))) == Hello("a", ["b"])

    run(main)
