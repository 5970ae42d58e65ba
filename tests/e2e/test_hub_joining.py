"""Joining channels of an application's hub where there is no room, no answer, or a repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from madang import hub
from madang.bus import MemoryHub
from madang.bus.errors import BusError, PeerLost
from madang.hub import HubSettings, application, lines, numbering
from madang.hub.history import Position
from madang.hub.lines import Past, Question
from tests.support.edge import eventually
from tests.support.talk import Worker, hear, joined, playing, say, worker


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test declares its own endpoints."""
    monkeypatch.setattr(application, "_declared", application._Declared())


@pytest.fixture
def five_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """One shard, which numbers no more than five channels."""
    monkeypatch.setattr(lines, "NUMBERED_CHANNELS_MAX", 5)
    monkeypatch.setattr(numbering, "SHARDS", 1)


def followed(one: Worker) -> set[str]:
    """Return what a worker follows; its channels are the same."""
    followers = set(one.session._followers)
    assert one.session.hub.statistics()["channels"] == len(followers)
    return followers


class Gate:
    """Holds up what a worker asks of the past."""

    def __init__(self, one: Worker) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self._ask = one.session.numbering.past
        one.session.numbering.past = self._past  # type: ignore[method-assign]

    async def _past(self, channel: str, since: Position | None, *, state: bool = False) -> Past:
        self.waiting += 1
        await self.open.wait()
        return await self._ask(channel, since, state=state)


def test_a_client_at_its_limit_is_told_so_alone_and_makes_nothing() -> None:
    hub.endpoint("/ws", allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one:
            one.session.hub.settings = HubSettings(channels_per_connection_max=2)
            async with one.client() as client:
                await joined(client, 0)
                for n in range(50):
                    await say(client, type="subscribe", channel=f"room.{n}")
                heard = [await hear(client) for _ in range(50)]
                assert [message["type"] for message in heard] == ["subscribed"] * 2 + ["error"] * 48
                assert {message["code"] for message in heard[2:]} == {"too_many_channels"}
                assert followed(one) == {"room.0", "room.1"}
            await eventually(lambda: followed(one) == set())

    playing(test)


def test_a_full_worker_says_so_and_has_room_again() -> None:
    hub.endpoint("/ws", allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one:
            one.session.hub.settings = HubSettings(channels_max=1)
            async with one.client() as client:
                await joined(client, 0)
                for channel in ("room.a", "room.b"):
                    await say(client, type="subscribe", channel=channel)
                assert (await hear(client))["type"] == "subscribed"
                assert (await hear(client))["code"] == "worker_full"
                await say(client, type="unsubscribe", channel="room.a")
                await say(client, type="subscribe", channel="room.b")
                assert [(await hear(client))["type"] for _ in range(2)][1] == "subscribed"

    playing(test)


def test_who_goes_while_joining_leaves_nothing_and_takes_nothing_from_who_joins_too() -> None:
    hub.endpoint("/ws", allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, one.client() as stays:
            gate = Gate(one)
            await joined(stays, 0)
            async with one.client() as goes:
                await joined(goes, 0)
                await say(goes, type="subscribe", channel="room.both")
                await eventually(lambda: followed(one) == {"room.both"})
                await say(stays, type="subscribe", channel="room.both")
                follower = one.session._followers["room.both"]
                await eventually(lambda: follower.joining == 2)
            await eventually(lambda: follower.joining == 1)
            gate.open.set()
            assert (await hear(stays))["type"] == "subscribed"
            await one.session.numbering.broadcast("room.both", b"1")
            assert (await hear(stays))["data"] == 1
            gate.open.clear()
            async with one.client() as goes:
                await joined(goes, 0)
                await say(goes, type="subscribe", channel="room.own")
                await eventually(lambda: "room.own" in followed(one))
            await eventually(lambda: followed(one) == {"room.both"})

    playing(test)


def test_the_last_one_leaves_while_another_joins() -> None:
    hub.endpoint("/ws", allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, one.client() as a, one.client() as b:
            for client in (a, b):
                await joined(client, 0)
            await say(a, type="subscribe", channel="room.a")
            await hear(a)
            gate = Gate(one)
            follower = one.session._followers["room.a"]
            follower._reload()
            await say(b, type="subscribe", channel="room.a")
            await eventually(lambda: follower.joining == 1)
            await say(a, type="unsubscribe", channel="room.a")
            assert (await hear(a))["type"] == "unsubscribed"
            gate.open.set()
            assert (await hear(b))["type"] == "subscribed"
            await one.session.numbering.broadcast("room.a", b"1")
            assert (await hear(b))["data"] == 1

    playing(test)


def test_a_channel_of_the_other_kind_is_refused_to_who_joins() -> None:
    hub.endpoint("/ws", channels=("prices",), allow=("room.*",))
    hub.endpoint("/states", states=("room.here",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "owner") as owner:
            for channel in ("prices", "room.state"):
                await owner.session.numbering.set(channel, "ACME", b"1")
            async with worker(place, "one") as one, one.client() as client:
                assert (await hear(client))["type"] == "welcome"
                refused = await hear(client)
                assert (refused["code"], refused["channel"]) == ("bad_channel", "prices")
                for channel in ("room.state", "room.here", "room.state"):
                    await say(client, type="subscribe", channel=channel)
                    refused = await hear(client)
                    assert (refused["code"], refused["channel"]) == ("bad_channel", channel)
                    assert set(one.session._followers) == {"prices"}

    playing(test)


def test_what_was_refused_once_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "owner") as owner:
            await owner.session.numbering.broadcast("ticker", b"1")
            act = numbering._Shard.act

            def refuse(shard: numbering._Shard, question: Question) -> bytes:
                raise BusError("not now")

            monkeypatch.setattr(numbering._Shard, "act", refuse)
            async with worker(place, "one") as one:
                async with one.client() as client:
                    assert (await hear(client))["type"] == "welcome"
                    assert (await hear(client))["message"] == "not now"
                monkeypatch.setattr(numbering._Shard, "act", act)
                async with one.client() as client:
                    assert (await joined(client))["offset"] == 1

    playing(test)


def test_who_listens_for_messages_first_does_not_get_what_is_set() -> None:
    hub.endpoint("/ws", allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, one.client() as client:
            await joined(client, 0)
            for channel in ("room.a", "room.b"):
                await say(client, type="subscribe", channel=channel)
                await hear(client)
            await one.session.numbering.set("room.a", "ACME", b"1")
            await one.session.numbering.broadcast("room.b", b"2")
            assert (await hear(client))["channel"] == "room.b"

    playing(test)


@pytest.mark.usefixtures("five_channels")
def test_subscribing_and_leaving_takes_no_room_where_channels_are_numbered() -> None:
    hub.endpoint("/ws", allow=("room.*",))

    async def test(place: MemoryHub) -> None:
        async with (
            worker(place, "owner") as owner, worker(place, "one") as one, one.client() as client,
        ):  # fmt: skip
            for n in range(5):
                await owner.session.numbering.set(f"state.{n}", "key", b"1")
            await joined(client, 0)
            for n in range(30):
                await say(client, type="subscribe", channel=f"room.{n}")
                assert (await hear(client))["type"] == "subscribed"
                await say(client, type="unsubscribe", channel=f"room.{n}")
                assert (await hear(client))["type"] == "unsubscribed"
            assert len(owner.session.numbering._shards[0]._lines) == 5

    playing(test)


@pytest.mark.usefixtures("five_channels")
def test_a_channel_that_was_forgotten_shows_a_new_epoch_and_recovers_nothing() -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with worker(place, "one") as one, one.client() as client:
            await joined(client)
            for n in range(3):
                await one.session.numbering.broadcast("ticker", b"%d" % n)
            before = [await hear(client) for _ in range(3)][-1]
            for n in range(20):
                await one.session.numbering.broadcast(f"room.{n}", b"1")
            async with (
                worker(place, "two") as two,
                two.client(f"/ws?ticker={before['epoch']}.{before['offset']}") as other,
            ):
                told = await joined(other)
                assert told["recovered"] is False
                await two.session.numbering.broadcast("ticker", b"3")
                message = await hear(client)
                assert (message["offset"], message["data"]) == (1, 3)
                assert message["epoch"] > before["epoch"]
                assert await hear(other) == message
                assert (told["epoch"], told["offset"] + 1) == (message["epoch"], message["offset"])

    playing(test)


def losing_the_first_answer(asking: Worker, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Let a worker's first question be answered, and the answer lost with the link."""
    ask = asking.bus.request
    lost = False

    async def request(subject: str, payload: bytes, timeout_ms: int) -> bytes:
        nonlocal lost
        answer = await ask(subject, payload, timeout_ms)
        if lost:
            return answer
        lost = True
        await meanwhile()
        raise PeerLost("the link has ended")

    asking.bus.request = request  # type: ignore[method-assign]


def test_a_broadcast_whose_answer_was_lost_is_heard_once() -> None:
    hub.endpoint("/ws", channels=("ticker",))

    async def test(place: MemoryHub) -> None:
        async with (
            worker(place, "one") as one, worker(place, "two") as two, one.client() as client,
        ):  # fmt: skip
            await joined(client)

            async def meanwhile() -> None:
                await one.session.numbering.broadcast("ticker", b"2")

            losing_the_first_answer(two, meanwhile)
            assert (await two.session.numbering.broadcast("ticker", b"1")).offset == 1
            assert (await two.session.numbering.broadcast("ticker", b"3")).offset == 3
            assert [(await hear(client))["data"] for _ in range(3)] == [1, 2, 3]

    playing(test)


def test_a_state_whose_answer_was_lost_does_not_undo_what_was_set_after_it() -> None:
    hub.endpoint("/ws", states=("prices",))

    async def test(place: MemoryHub) -> None:
        async with (
            worker(place, "one") as one, worker(place, "two") as two, one.client() as client,
        ):  # fmt: skip
            await joined(client)

            async def meanwhile() -> None:
                await one.session.numbering.set("prices", "ACME", b"2")

            losing_the_first_answer(two, meanwhile)
            assert (await two.session.numbering.set("prices", "ACME", b"1")).offset == 1
            assert (await two.session.numbering.set("prices", "OTHER", b"3")).offset == 3
            assert [(await hear(client))["data"] for _ in range(3)] == [1, 2, 3]

    playing(test)
