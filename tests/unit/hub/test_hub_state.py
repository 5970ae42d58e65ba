"""State channels, keyframes, presence: what slow readers get, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from madang.hub import (
    ChannelKind,
    ChannelSettings,
    Hub,
    HubSettings,
    Position,
    PresenceTotals,
    SlowPolicy,
    StateFullError,
)
from tests.support.wire import join


def text(value: object) -> Callable[[str], tuple[bytes, bool]]:
    return lambda dialect: (str(value).encode(), False)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_reader_that_is_behind_gets_only_the_newest_of_each_key_when_it_drains() -> None:
    async def main() -> None:
        hub = Hub()
        channel = hub.state_channel("books")
        slow, connection = join(hub)
        quick, other = join(hub)
        connection.watch(channel)
        other.watch(channel)
        slow.writable = False
        for offset in range(1, 101):
            channel.set("a" if offset % 2 else "b", Position(1, offset), text(offset))
        await turns()
        assert slow.writes == []
        assert quick.messages() == [str(n) for n in range(1, 101)]
        slow.writable = True
        connection.flush()
        assert slow.messages() == ["99", "100"]
        channel.set("a", Position(1, 101), text(101))
        await turns()
        assert slow.messages() == ["99", "100", "101"]
        assert hub.statistics()["conflated"] == 100
        assert hub.statistics()["deliveries"] == 104
        assert hub.statistics()["slow_consumers"] == 0

    asyncio.run(main())


def test_a_drain_writes_conflated_state_a_piece_at_a_time() -> None:
    async def main() -> None:
        hub = Hub(HubSettings(outbox_bytes_max=100))
        channel = hub.state_channel("books")
        wire, connection = join(hub)
        connection.watch(channel)
        wire.writable = False
        for key in range(100):
            channel.set(str(key), Position(1, key), text(f"{key:05}" + "x" * 2_000))
        assert connection.outbox_bytes == 0
        wire.writable = True
        connection.flush()
        assert len(wire.writes) == 1
        assert len(wire.writes[0]) < 70_000
        wire.writable = False  # the transport is full again
        await turns()
        assert len(wire.writes) == 1
        wire.writable = True
        connection.flush()
        await turns()
        assert sum(map(len, wire.writes)) == 100 * 2_009

    asyncio.run(main())


def test_a_joiner_gets_the_latest_of_every_key_and_repeats_are_dropped() -> None:
    async def main() -> None:
        hub = Hub()
        channel = hub.state_channel("books")
        channel.set("a", Position(1, 2), text("new"))
        channel.set("a", Position(1, 1), text("old"))
        channel.set("b", Position(1, 3), text("b"))
        wire, connection = join(hub)
        connection.watch(channel)
        await turns()
        assert wire.messages() == ["new", "b"]
        assert channel.repeats == 1
        connection.unsubscribe(channel)
        channel.set("b", Position(1, 4), text("never"))
        await turns()
        assert wire.messages() == ["new", "b"]

    asyncio.run(main())


def test_state_that_waits_is_not_sent_after_leaving() -> None:
    async def main() -> None:
        hub = Hub()
        channel = hub.state_channel("books")
        wire, connection = join(hub)
        connection.watch(channel)
        wire.writable = False
        channel.set("a", Position(1, 1), text("a"))
        connection.unsubscribe(channel)
        wire.writable = True
        connection.flush()
        assert wire.messages() == []
        assert not connection.behind

    asyncio.run(main())


def test_keys_have_a_limit_and_a_disconnecting_state_channel_disconnects() -> None:
    async def main() -> None:
        hub = Hub(HubSettings(outbox_bytes_max=10))
        settings = ChannelSettings(kind=ChannelKind.STATE, policy=SlowPolicy.DISCONNECT, keys_max=2)
        channel = hub.state_channel("books", settings)
        wire, connection = join(hub)
        connection.watch(channel)
        wire.writable = False
        channel.set("a", Position(1, 1), text("12345"))
        channel.set("b", Position(1, 2), text("12345"))
        assert wire.closed == (4000, "slow consumer")
        assert channel.subscribers == 0
        with pytest.raises(StateFullError):
            channel.set("c", Position(1, 3), text("c"))

    asyncio.run(main())


def test_a_slow_viewer_misses_a_run_that_ends_with_a_keyframe() -> None:
    async def main() -> None:
        hub = Hub(HubSettings(outbox_bytes_max=12))
        channel = hub.channel("live", ChannelSettings(policy=SlowPolicy.DROP_TO_KEYFRAME))
        wire, connection = join(hub)
        quick, other = join(hub)
        connection.subscribe(channel)
        other.subscribe(channel)
        wire.writable = False
        for offset in range(1, 8):
            channel.publish(Position(1, offset), text(f"{offset}"), keyframe=offset in (1, 6))
            await turns()
        wire.writable = True  # full from the fifth on, so the keyframe 6 did not fit either
        connection.flush()
        channel.publish(Position(1, 8), text("8"))
        channel.publish(Position(1, 9), text("9"), keyframe=True)
        channel.publish(Position(1, 10), text("a"))
        await turns()
        assert wire.messages() == ["1", "2", "3", "4", "9", "a"]
        assert quick.messages() == list("123456789a")
        assert wire.closed is None
        assert hub.statistics()["dropped"] == 4
        assert hub.statistics()["deliveries"] == 16

    asyncio.run(main())


def test_policies_fit_the_kind_of_channel() -> None:
    with pytest.raises(ValueError, match="conflate"):
        ChannelSettings(policy=SlowPolicy.CONFLATE)
    with pytest.raises(ValueError, match="keyframe"):
        ChannelSettings(kind=ChannelKind.STATE, policy=SlowPolicy.DROP_TO_KEYFRAME)
    hub = Hub()
    hub.channel("a")
    with pytest.raises(ValueError, match="other kind"):
        hub.state_channel("a")


def test_presence_is_summed_over_workers_and_a_lost_worker_counts_no_more() -> None:
    totals = PresenceTotals()
    hubs = {f"worker-{number}": Hub() for number in range(2)}
    connections = [join(hub)[1] for hub in hubs.values() for _ in range(3)]

    def tell() -> int:
        for name, hub in hubs.items():
            totals.report(name, hub.take_presence_changes())
        return totals.total("room")

    async def main() -> None:
        for at, connection in enumerate(connections):
            connection.subscribe(hubs[f"worker-{at // 3}"].channel("room"))
        assert tell() == 6
        connections[0].close(1000)
        assert tell() == 5
        assert hubs["worker-0"].take_presence_changes() == {}
        assert hubs["worker-0"].presence() == {"room": 2}
        totals.forget("worker-1")
        assert totals.total("room") == 2
        totals.report("worker-1", hubs["worker-1"].presence())
        assert totals.total("room") == 5
        for hub in hubs.values():
            hub.drop("room")
        assert tell() == 0

    asyncio.run(main())


def test_who_keeps_up_gets_changes_and_who_joins_or_was_behind_gets_the_whole() -> None:
    async def main() -> None:
        hub = Hub()
        channel = hub.state_channel("books")
        quick, other = join(hub)
        slow, connection = join(hub)
        other.watch(channel)
        connection.watch(channel)
        for offset in range(1, 5):
            if offset == 2:
                await turns()
                slow.writable = False
            channel.set("a", Position(1, offset), text(f"+{offset}"), text(f"={offset}"))
        await turns()
        slow.writable = True
        connection.flush()
        late, joiner = join(hub)
        joiner.watch(channel)
        channel.set("a", Position(1, 5), text("+5"), text("=5"))
        await turns()
        assert quick.messages() == ["+1", "+2", "+3", "+4", "+5"]
        assert slow.messages() == ["+1", "=4", "+5"]
        assert late.messages() == ["=4", "+5"]

    asyncio.run(main())


def test_a_channel_that_does_not_greet_tells_joiners_only_what_comes() -> None:
    async def main() -> None:
        hub = Hub()
        channel = hub.state_channel("days", ChannelSettings(kind=ChannelKind.STATE, greets=False))
        channel.set("a", Position(1, 1), text("before"))
        wire, connection = join(hub)
        connection.watch(channel)
        channel.set("a", Position(1, 2), text("after"))
        await turns()
        assert wire.messages() == ["after"]

    asyncio.run(main())


def test_a_client_that_has_moved_gets_what_it_missed_and_nothing_older_than_it_has() -> None:
    async def main() -> None:
        hub = Hub()
        channel = hub.state_channel("prices")
        for offset, key in enumerate("abcd", 1):
            channel.set(key, Position(1, offset), text(f"{key}{offset}"))
        link, connection = join(hub)
        connection.resume(channel, Position(1, 3), ["a"])  # it was behind with a
        await turns()
        assert link.messages() == ["a1", "d4"]
        ahead, other = join(hub)
        other.resume(channel, Position(1, 6), [])  # this worker is behind the one it came from
        for offset in (5, 6, 7):
            channel.set("b", Position(1, offset), text(f"b{offset}"))
        await turns()
        assert ahead.messages() == ["b7"]

    asyncio.run(main())
