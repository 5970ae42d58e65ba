"""Applications that talk with their clients: several workers, clients that nobody here wrote."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from madang import hub
from madang.bus import MemoryHub
from madang.bus.errors import BusError
from madang.bus.values import NotJson
from madang.core.errors import MadangError
from madang.hub import application
from tests.support.edge import eventually
from tests.support.talk import hear, joined, playing, say, worker


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test declares its own endpoints."""
    monkeypatch.setattr(application, "_declared", application._Declared())


def test_a_broadcast_reaches_every_client_of_every_worker_in_one_order() -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with (
            worker(place, "one") as one, worker(place, "two") as two,
            one.client() as a, two.client() as b, two.client() as c,
        ):  # fmt: skip
            for client in (a, b, c):
                await joined(client)
            await asyncio.gather(
                *(one.session.numbering.broadcast("ticker", b"%d" % n) for n in range(20)),
                *(two.session.numbering.broadcast("ticker", b"%d" % (n + 100)) for n in range(20)),
            )
            heard = [[await hear(client) for _ in range(40)] for client in (a, b, c)]
            assert heard[0] == heard[1] == heard[2]
            assert [message["offset"] for message in heard[0]] == list(range(1, 41))
            data = [message["data"] for message in heard[0]]
            assert sorted(data) == [*range(20), *range(100, 120)]
            assert [n for n in data if n < 100] == list(range(20))

    playing(test)


def test_a_client_resumes_on_any_worker_without_a_hole() -> None:
    hub.endpoint("/ws", channels=("ticker",), allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, worker(place, "two") as two:
            async with one.client() as client:
                at = await joined(client)
                assert (at["recovered"], at["offset"]) == (False, 0)
                for n in range(5):
                    await one.session.numbering.broadcast("ticker", b"%d" % n)
                last = [await hear(client) for _ in range(5)][-1]
            for n in range(5, 9):
                await two.session.numbering.broadcast("ticker", b"%d" % n)
            position = f"{last['epoch']}.{last['offset']}"
            async with two.client(f"/ws?ticker={position}") as client:
                assert (await joined(client))["recovered"] is True
                assert [(await hear(client))["data"] for _ in range(4)] == [5, 6, 7, 8]
            async with (
                worker(place, "late") as late,
                late.client(f"/ws?ticker={position}") as client,
            ):
                assert (await joined(client))["recovered"] is True
                assert [(await hear(client))["data"] for _ in range(4)] == [5, 6, 7, 8]
            async with two.client("/ws?ticker=99.1") as client:
                assert (await joined(client))["recovered"] is False

    playing(test)


def test_rooms_are_joined_on_demand_resumed_and_left() -> None:
    hub.endpoint("/ws", allow=("room.*",), may_join=lambda client, channel: channel != "room.vip")

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, worker(place, "two") as two:
            for n in range(3):
                await one.session.numbering.broadcast("room.a", b"%d" % n)
            async with two.client() as client:
                await joined(client, 0)
                await say(client, type="subscribe", channel="room.a")
                at = await hear(client)
                assert (at["type"], at["offset"], at["recovered"]) == ("subscribed", 3, False)
                await say(client, type="subscribe", channel="room.a")
                assert (await hear(client))["code"] == "already_subscribed"
                await say(client, type="unsubscribe", channel="room.a")
                assert (await hear(client))["type"] == "unsubscribed"
                await eventually(lambda: two.session.hub.find("room.a") is None)
                await say(client, type="subscribe", channel="room.a", epoch=at["epoch"], offset=1)
                assert (await hear(client))["recovered"] is True
                assert [(await hear(client))["data"] for _ in range(2)] == [1, 2]
                for refused in ("room.vip", "other", "room.*", "", "a b"):
                    await say(client, type="subscribe", channel=refused)
                    assert (await hear(client))["type"] == "error"

    playing(test)


def test_an_orderly_end_of_who_numbers_keeps_the_numbering() -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one:
            await one.session.numbering.broadcast("ticker", b"0")  # one numbers
            async with worker(place, "two") as two, two.client() as client:
                at = await joined(client)
                one.session.close()
                await one.bus.close()
                await two.session.numbering.broadcast("ticker", b"1")
                message = await hear(client)
                assert (message["epoch"], message["offset"]) == (at["epoch"], 2)
                path = f"/ws?ticker={at['epoch']}.0"  # the history went along
                async with worker(place, "late") as late, late.client(path) as other:
                    assert (await joined(other))["recovered"] is True
                    assert [(await hear(other))["data"] for _ in range(2)] == [0, 1]

    playing(test)


def test_after_a_kill_of_who_numbers_clients_stay_and_a_new_epoch_begins() -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one:
            await one.session.numbering.broadcast("ticker", b"0")  # one numbers
            async with worker(place, "two") as two, two.client() as client:
                at = await joined(client)
                one.kill()
                await two.session.numbering.broadcast("ticker", b"1")
                message = await hear(client)
                assert message["data"] == 1
                assert message["epoch"] > at["epoch"]
                await two.session.numbering.broadcast("ticker", b"2")
                assert (await hear(client))["offset"] == message["offset"] + 1

    playing(test)


def test_messages_of_clients_reach_the_handler_in_order_and_answers_reach_one_client() -> None:
    hub.endpoint("/ws", authorize=lambda request: request.query().get("name"))
    ends: list[str] = []
    sessions: dict[str, application.HubSession] = {}

    @hub.on_message
    async def echo(client: hub.Client, data: object) -> None:
        client.data["count"] = client.data.get("count", 0) + 1
        await asyncio.sleep(0)
        count = client.data["count"]
        answer = b'{"user":"%s","n":%d}' % (str(client.user).encode(), count)
        for session in sessions.values():  # also from a worker that has not this client
            session.deliver(client.id, answer)

    hub.on_disconnect(lambda client: ends.append(client.user))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, worker(place, "two") as two:
            sessions.update(two=two.session)
            await eventually(lambda: two.bus.interested("_hub.send.one"))
            async with one.client("/ws?name=kim") as kim, one.client("/ws?name=lee") as lee:
                await joined(kim, 0)
                await joined(lee, 0)
                for _ in range(3):
                    await say(kim, type="message", data="x")
                heard = [(await hear(kim))["data"] for _ in range(3)]
                assert heard == [{"user": "kim", "n": n} for n in (1, 2, 3)]
                await say(lee, type="ping")
                assert await hear(lee) == {"type": "pong"}
            await eventually(lambda: sorted(ends) == ["kim", "lee"])

    playing(test)


def test_who_is_not_authorized_is_closed_with_a_code_that_says_stay_away() -> None:
    async def authorize(request: object) -> None:
        return None

    hub.endpoint("/ws", channels=("ticker",), authorize=authorize)

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, one.client() as client:
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4500

    playing(test)


def test_pages_of_other_sites_are_refused_unless_named() -> None:
    hub.endpoint("/ws", origins=("https://friend.example",))
    hub.endpoint("/open", origins=("*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one:
            own = f"http://127.0.0.1:{one.port}"
            for path, origin in (
                ("/ws", None), ("/ws", own), ("/ws", "https://friend.example"),
                ("/open", "https://evil.example"),
            ):  # fmt: skip
                async with one.client(path, origin=origin) as client:
                    await joined(client, 0)
            with pytest.raises(InvalidStatus) as refused:
                async with one.client("/ws", origin="https://evil.example"):
                    pass
            assert refused.value.response.status_code == 403

    playing(test)


def test_hostile_messages_get_an_error_and_too_many_end_the_connection() -> None:
    hub.endpoint("/ws", allow=("room.*",))
    gate = asyncio.Event()

    @hub.on_message
    async def slow(client: hub.Client, data: object) -> None:
        await gate.wait()

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, one.client() as client:
            await joined(client, 0)
            for text in ("", "x", "[]", "{}", '{"type":1}', '{"type":"dance"}', "[" * 5000):
                await client.send(text)
                assert (await hear(client))["type"] == "error"

            async def flood() -> None:
                for _ in range(300):
                    await say(client, type="message", data=1)
                await client.recv()

            with pytest.raises(ConnectionClosed) as closed:
                await flood()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4502
            async with one.client() as binary:
                await joined(binary, 0)
                await binary.send(b"\x00")
                with pytest.raises(ConnectionClosed):
                    await binary.recv()

    playing(test)


def test_a_state_is_complete_for_who_joins_and_outlives_who_numbers_it() -> None:
    hub.endpoint("/ws", states=("prices",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one:
            await one.session.numbering.set("prices", "ACME", b"1")  # one numbers
            await one.session.numbering.set("prices", "OLD", b"7")
            async with worker(place, "two") as two, two.client() as client:
                await joined(client, 1)
                both = [await hear(client), await hear(client)]
                assert {m["key"]: m["data"] for m in both} == {"ACME": 1, "OLD": 7}
                await two.session.numbering.set("prices", "ACME", b"2")
                message = await hear(client)
                assert (message["type"], message["key"], message["data"]) == ("state", "ACME", 2)
                one.kill()
                await two.session.numbering.set("prices", "NEW", b"3")
                assert (await hear(client))["key"] == "NEW"
                await two.session.numbering.set("prices", "ACME", b"4")

                async def seen_by_a_newcomer(name: str) -> dict[str, int]:
                    async with worker(place, name) as late, late.client() as other:
                        await joined(other, 1)
                        found: dict[str, int] = {}
                        while len(found) < 3:
                            message = await hear(other)
                            found[message["key"]] = message["data"]
                        return found

                assert await seen_by_a_newcomer("late") == {"ACME": 4, "OLD": 7, "NEW": 3}
            # Everybody who numbered left in order: the next goes on with the whole state.
            async with worker(place, "three") as three, three.client() as client:
                await joined(client, 1)
                keys = {(await hear(client))["key"] for _ in range(3)}
                assert keys == {"ACME", "OLD", "NEW"}

    playing(test)


def test_a_channel_is_of_one_kind() -> None:
    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, worker(place, "two") as two:
            await one.session.numbering.set("prices", "ACME", b"1")
            for session in (one.session, two.session):
                with pytest.raises(BusError, match="other kind"):
                    await session.numbering.broadcast("prices", b"1")

    playing(test)


def test_presence_counts_clients_of_all_workers() -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with (
            worker(place, "one") as one, worker(place, "two") as two,
            one.client() as a, two.client() as b, two.client() as c,
        ):  # fmt: skip
            for client in (a, b, c):
                await joined(client)

            async def counted(expected: int) -> None:
                while await one.session.total("ticker") != expected:
                    await asyncio.sleep(0.01)

            await asyncio.wait_for(counted(3), 10)
            await c.close()
            await asyncio.wait_for(counted(2), 10)

    playing(test)


def test_what_cannot_be_declared_or_sent_is_refused_clearly() -> None:
    with pytest.raises(TypeError, match="colour"):
        hub.endpoint("/ws", colour="red")  # type: ignore[call-arg]
    with pytest.raises(MadangError, match="begins with /"):
        hub.endpoint("ws")
    for channel in ("", "a b", "a.*", "x" * 201):
        with pytest.raises(BusError):
            hub.endpoint("/ws", channels=(channel,))
    with pytest.raises(MadangError, match="history"):
        hub.endpoint("/ws", history=1_001)
    with pytest.raises(BusError):
        hub.endpoint("/ws", allow=("a.>.b",))
    with pytest.raises(NotJson):
        application._encode({1j: 1})
    with pytest.raises(BusError, match=r"bus\.run"):
        hub.send("x", 1)
