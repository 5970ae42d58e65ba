"""Channels fed by a bus that loses messages: complete on every worker, or said to be not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from madang.core.errors import MadangError
from madang.hub import Channel, ChannelSettings, Hub, Position
from madang.hub.feeder import Feeder, FeederSettings, Item, Page

LIMIT_S = 10.0


def item(offset: int, epoch: int = 1) -> Item:
    return Item(Position(epoch, offset), lambda _: (str(offset).encode(), False))


class Source:
    """The source of truth; keeps the last `kept` messages and may be away."""

    def __init__(self, kept: int = 10_000) -> None:
        self.offset = 0
        self.epoch = 1
        self.kept = kept
        self.away = False
        self.asked = 0

    async def query(self, since: Position | None) -> Page:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise MadangError("away")
        upto = Position(self.epoch, self.offset)
        if since is None:
            return Page(True, (), upto)
        if since.epoch != self.epoch or since.offset < self.offset - self.kept:
            return Page(False, (), upto)
        last = min(self.offset, since.offset + 7)
        items = [item(n, self.epoch) for n in range(since.offset + 1, last + 1)]
        return Page(True, items, Position(self.epoch, last), more=last < self.offset)


def offsets(channel: Channel, since: int) -> list[int]:
    recovery = channel.recover(Position(1, since))
    assert recovery.recovered
    return [publication.position.offset for publication in recovery.publications]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def feeder(source: Source, **limits: int | bool) -> Feeder:
    channel = Hub().channel("c", ChannelSettings(history_count_max=10_000))
    settings = FeederSettings(retry_ms=1, **limits)  # type: ignore[arg-type]
    return Feeder(channel, source.query, settings)


def test_every_worker_holds_the_same_whole_sequence_whatever_the_bus_lost() -> None:
    async def main() -> None:
        seed = random.randrange(2**32)
        print("seed", seed)
        chance = random.Random(seed)
        source = Source()
        workers = [feeder(source, dense=dense, held_max=20) for dense in (True, False, False)]
        await until(lambda: all(worker.live for worker in workers))
        for offset in range(1, 501):
            source.offset = offset
            for worker in workers:
                if chance.random() < 0.1:
                    worker.gap()  # said by the bus; a dense channel would notice by itself
                else:
                    worker.offer(item(offset))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for worker in workers:
            worker.gap()
        await until(lambda: all(worker.live for worker in workers))
        for worker in workers:
            assert offsets(worker.channel, 0) == list(range(1, 501))
            assert worker.interruptions == 0
            worker.close()

    asyncio.run(main())


def test_a_hole_in_dense_offsets_is_noticed_without_being_told() -> None:
    async def main() -> None:
        source = Source()
        worker = feeder(source, dense=True)
        await until(lambda: worker.live)
        source.offset = 5
        worker.offer(item(1))
        worker.offer(item(5))
        assert not worker.live
        await until(lambda: worker.live)
        assert offsets(worker.channel, 0) == [1, 2, 3, 4, 5]
        assert worker.gaps == 1
        worker.close()

    asyncio.run(main())


def test_what_the_source_no_longer_has_interrupts_the_channel() -> None:
    async def main() -> None:
        source = Source(kept=3)
        worker = feeder(source)
        await until(lambda: worker.live)
        source.offset = 50
        worker.gap()
        await until(lambda: worker.live)
        worker.offer(item(51))
        assert not worker.channel.recover(Position(1, 0)).recovered
        assert offsets(worker.channel, 50) == [51]
        source.epoch, source.offset = 2, 9
        worker.offer(item(10, epoch=2))
        source.offset = 10
        await until(lambda: worker.live)
        assert worker.channel.position == Position(2, 10)
        assert worker.interruptions == 2
        worker.close()

    asyncio.run(main())


def test_a_source_that_stays_away_sends_the_subscribers_away_once_and_returns() -> None:
    class Wire:
        writable = True
        closed: tuple[int, str] | None = None

        def write(self, data: bytes) -> None:
            pass

        def begin_close(self, code: int, reason: str) -> None:
            self.closed = (code, reason)

    async def main() -> None:
        source = Source()
        hub = Hub()
        settings = FeederSettings(retry_ms=1, interrupt_after_ms=20)
        worker = Feeder(hub.channel("c"), source.query, settings)
        await until(lambda: worker.live)
        wire = Wire()
        hub.connect("p", wire).subscribe(worker.channel)
        source.away = True
        worker.gap()
        await until(lambda: wire.closed is not None)
        assert wire.closed == (4001, "messages were lost")
        source.away = False
        source.offset = 3
        await until(lambda: worker.live)
        assert offsets(worker.channel, 0) == [1, 2, 3]
        worker.close()

    asyncio.run(main())
