"""Channels and connections: order, recovery, slow consumers, hooks, limits, flush windows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from madang.hub import (
    Channel,
    ChannelSettings,
    Hub,
    HubFullError,
    HubSettings,
    Position,
    TooManyChannelsError,
)
from madang.hub.flusher import Flusher
from tests.support.wire import join


def text(value: object) -> Callable[[str], tuple[bytes, bool]]:
    return lambda dialect: (f"{value}{'' if dialect == 'json' else dialect}".encode(), False)


def settle(work: Callable[[], None]) -> None:
    async def main() -> None:
        work()
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(main())


def test_frames_of_one_turn_leave_in_order_with_one_write() -> None:
    hub = Hub()
    wire, connection = join(hub)
    channel = hub.channel("c")

    def work() -> None:
        connection.subscribe(channel)
        channel.publish(Position(1, 1), text("a"))
        connection.send(b"reply")
        channel.publish(Position(1, 2), text("b"))
        assert wire.writes == []

    settle(work)
    assert len(wire.writes) == 1
    assert wire.messages() == ["a", "reply", "b"]


def test_every_subscriber_of_a_dialect_gets_the_same_frame_object() -> None:
    hub = Hub()
    channel = hub.channel("c")
    wires = [join(hub) for _ in range(3)]

    def work() -> None:
        for _, connection in wires:
            connection.subscribe(channel)
        channel.publish(Position(1, 1), text("a"))

    settle(work)
    assert wires[0][0].writes[0] is wires[1][0].writes[0] is wires[2][0].writes[0]
    assert channel.deliveries == 3


def test_a_resumed_subscriber_gets_the_gap_then_the_live_messages_without_repeats() -> None:
    hub = Hub()
    channel = hub.channel("c")
    channel.begin(Position(1, 0))
    wire, connection = join(hub)

    def work() -> None:
        for offset in range(1, 5):
            channel.publish(Position(1, offset), text(offset))
        recovery = connection.subscribe(channel, Position(1, 2))
        assert recovery.recovered
        assert len(recovery.publications) == 2
        channel.publish(Position(1, 5), text(5))
        channel.publish(Position(1, 5), text("again"))
        channel.publish(Position(1, 3), text("old"))

    settle(work)
    assert wire.messages() == ["3", "4", "5"]
    assert channel.repeats == 2


def test_a_client_ahead_of_this_worker_is_not_sent_what_it_has() -> None:
    hub = Hub()
    channel = hub.channel("c")
    channel.begin(Position(1, 0))
    wire, connection = join(hub)

    def work() -> None:
        assert connection.subscribe(channel, Position(1, 2)).recovered
        for offset in range(1, 5):
            channel.publish(Position(1, offset), text(offset))

    settle(work)
    assert wire.messages() == ["3", "4"]


def test_a_gap_that_history_cannot_fill_is_refused_whole() -> None:
    hub = Hub()
    channel = hub.channel("c", ChannelSettings(history_count_max=2))
    channel.begin(Position(1, 0))
    wire, connection = join(hub)

    def work() -> None:
        for offset in range(1, 5):
            channel.publish(Position(1, offset), text(offset))
        recovery = connection.subscribe(channel, Position(1, 1))
        assert not recovery.recovered
        assert recovery.position == Position(1, 4)
        channel.publish(Position(1, 5), text("live"))

    settle(work)
    assert wire.messages() == ["live"]


def test_a_later_epoch_voids_history_and_an_earlier_one_is_dropped() -> None:
    hub = Hub()
    channel = hub.channel("c")
    channel.publish(Position(1, 9), text("a"))
    channel.publish(Position(2, 1), text("b"))
    channel.publish(Position(1, 10), text("late"))
    assert channel.position == Position(2, 1)
    assert not channel.recover(Position(1, 9)).recovered
    assert channel.recover(Position(2, 0)).recovered


def test_a_slow_consumer_is_cut_with_a_code_and_the_others_are_served() -> None:
    hub = Hub(HubSettings(outbox_bytes_max=100))
    channel = hub.channel("c")
    slow_wire, slow = join(hub)
    wire, connection = join(hub)

    async def main() -> None:
        slow_wire.writable = False
        slow.subscribe(channel)
        connection.subscribe(channel)
        for offset in range(1, 20):
            channel.publish(Position(1, offset), text("x" * 20))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert slow.outbox_bytes <= 100

    asyncio.run(main())
    assert slow_wire.closed is not None
    assert slow_wire.closed[0] == 4000
    assert slow.closed
    assert channel.subscribers == 1
    assert hub.statistics()["slow_consumers"] == 1
    assert len(wire.messages()) == 19


def test_what_waited_while_the_transport_was_full_leaves_when_it_drains() -> None:
    hub = Hub()
    wire, connection = join(hub)
    wire.writable = False
    settle(lambda: connection.send(b"a"))
    assert wire.writes == []
    wire.writable = True
    connection.flush()
    assert wire.messages() == ["a"]


def test_closing_sends_what_waits_first() -> None:
    hub = Hub()
    wire, connection = join(hub)

    def work() -> None:
        connection.send(b"error")
        connection.close(4500, "no")
        connection.send(b"never")

    settle(work)
    assert wire.messages() == ["error"]
    assert wire.closed == (4500, "no")


def test_hooks_run_with_the_first_and_the_last_subscriber() -> None:
    hub = Hub()
    channel = hub.channel("c")
    calls: list[str] = []
    channel.on_first = lambda c: calls.append(f"first {c.name}")
    channel.on_last = lambda c: calls.append(f"last {c.name}")
    _, a = join(hub)
    _, b = join(hub)
    a.subscribe(channel)
    b.subscribe(channel)
    a.unsubscribe(channel)
    assert calls == ["first c"]
    hub.disconnect(b)
    assert calls == ["first c", "last c"]


def test_lost_messages_send_subscribers_away_to_load_anew() -> None:
    hub = Hub()
    channel = hub.channel("c")
    wire, connection = join(hub)

    def work() -> None:
        connection.subscribe(channel)
        channel.publish(Position(1, 1), text("a"))
        channel.interrupt()

    settle(work)
    assert wire.messages() == ["a"]
    assert wire.closed == (4001, "messages were lost")
    assert not channel.recover(Position(1, 1)).recovered
    assert channel.subscribers == 0


def test_channels_and_subscriptions_are_bounded() -> None:
    hub = Hub(HubSettings(channels_max=2, channels_per_connection_max=1))
    first, second = hub.channel("a"), hub.channel("b")
    with pytest.raises(HubFullError):
        hub.channel("c")
    _, connection = join(hub)
    connection.subscribe(first)
    with pytest.raises(TooManyChannelsError):
        connection.subscribe(second)
    hub.drop("b")
    assert isinstance(hub.channel("c"), Channel)


def test_a_window_is_at_once_when_quiet_and_gathers_under_load() -> None:
    hub = Hub()
    channel = hub.channel("c", ChannelSettings(flush_window_ms=10))
    wire, connection = join(hub)

    async def main() -> None:
        connection.subscribe(channel)
        channel.publish(Position(1, 1), text("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(wire.writes) == 1  # quiet: not delayed
        for offset in range(2, 7):
            channel.publish(Position(1, offset), text(offset))
            await asyncio.sleep(0)
        assert len(wire.writes) == 1  # gathering
        connection.send(b"reply")  # the shortest window wins, in order
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(wire.writes) == 2
        channel.publish(Position(1, 7), text(7))
        for _ in range(1_000):
            if len(wire.writes) == 3:
                break
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert wire.messages() == ["a", "2", "3", "4", "5", "6", "reply", "7"]
    assert len(wire.writes) == 3


@pytest.mark.parametrize("seed", [11, 12])
def test_random_joins_and_leaves_never_lose_or_repeat_a_message(seed: int) -> None:
    source = random.Random(seed)

    async def main() -> None:
        for _ in range(60):
            hub = Hub()
            channel = hub.channel("c", ChannelSettings(history_count_max=8))
            channel.begin(Position(1, 0))
            got: list[int] = []
            seen = Position(1, 0)
            wire, connection = join(hub)
            connection.subscribe(channel, seen)
            for offset in range(1, 80):
                channel.publish(Position(1, offset), text(offset))
                if source.random() < 0.3:
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                if source.random() < 0.2:  # the connection is lost with what was not written
                    hub.disconnect(connection)
                    got += [int(m) for m in wire.messages()]
                    seen = Position(1, got[-1] if got else seen.offset)
                    wire, connection = join(hub)
                    if not connection.subscribe(channel, seen).recovered:
                        assert offset - seen.offset > 8
                        got = []
                        hub.disconnect(connection)
                        wire, connection = join(hub)
                        connection.subscribe(channel)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            got += [int(m) for m in wire.messages()]
            assert got == list(range(80 - len(got), 80))
            rounds.append(len(got))

    rounds: list[int] = []
    asyncio.run(main())
    assert max(rounds) > 8  # some recovered over several losses


def test_a_flusher_writes_a_connection_once_however_often_it_is_marked() -> None:
    hub = Hub()
    wire, connection = join(hub)
    assert isinstance(hub.flusher, Flusher)

    def work() -> None:
        for _ in range(50):
            connection.send(b"x")

    settle(work)
    assert len(wire.writes) == 1
    assert hub.statistics()["flushes"] == 1
