"""Followers beside a real venue: restarts, rollover, snapshots, a cut tail, shared questions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from madang.bus import Bus, MemoryHub, memory_bus_hub
from madang.core.clock import SystemClock
from madang.exchange.engine.python import PythonEngine
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.errors import LogDamaged
from madang.exchange.venue.follower import Follower, FollowerError, FollowerSettings
from madang.exchange.venue.log import LogSettings
from madang.exchange.venue.positions import read_positions
from madang.exchange.venue.recovery import LOG_FOLDER, recover
from madang.exchange.venue.segment import list_segments
from madang.exchange.venue.sequencer import Sequencer, SequencerSettings
from madang.exchange.venue.server import VenueServer
from madang.exchange.venue.snapshot import write_snapshot_bytes
from madang.wire.batch import BatchHeader, parse_batch
from tests.support.venue_log import PythonFactory, SmallVenue, order, trade

LOG = LogSettings(segment_bytes=4096 + 8192, batch_bytes_max=4096)
QUICK = FollowerSettings(ask_interval_ms=50, position_interval_ms=50, chunk_bytes=2048)
LIMIT_MS = 10_000


class Venue:
    """The venue's server over a bus, with a real folder and threads."""

    def __init__(self, hub: MemoryHub, folder: Path, term: int) -> None:
        self.bus: Bus = hub.open("venue")
        recovered = recover(RealDisk(), folder, PythonFactory(), LOG)
        self.engine = recovered.engine
        last_ns = max(recovered.position.now_ns, self.engine.now_ns)
        settings = SequencerSettings(batch_bytes_max=4096)
        sequencer = Sequencer(self.engine, term, last_ns, settings)
        self.server = VenueServer(self.bus, self.engine, sequencer, recovered.log)
        self.server.start(term, SystemClock(), lambda _: None)
        self.server.serve()

    async def write(self, first: int, last: int) -> None:
        for number in range(first, last):
            await self.server.submit(b"".join(trade(number)))

    async def close(self) -> None:
        await self.server.close(2.0)
        await self.bus.close()


def prepared(folder: Path) -> None:
    venue = SmallVenue(RealDisk(), folder, LOG)
    venue.prepare()
    venue.close()


@contextlib.asynccontextmanager
async def following(
    hub: MemoryHub, folder: Path, seen: list[int], newest_snapshot: int | None = None
) -> AsyncIterator[Follower]:
    def on_events(batch: bytes, events: bytes) -> None:
        header = parse_batch(batch)
        assert isinstance(header, BatchHeader)
        assert events
        seen.extend(range(header.sequence, header.sequence + header.command_count))

    bus = hub.open("feed")
    follower = Follower("feed", PythonEngine, folder, bus, on_events)
    follower.settings = QUICK
    try:
        await follower.start(newest_snapshot)
        yield follower
    finally:
        await follower.close()
        await bus.close()


def run(scenario: Callable[[MemoryHub], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(memory_bus_hub()), 60)

    asyncio.run(main())


def test_it_follows_over_segments_and_sees_every_command_once(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        await venue.write(0, 20)
        seen: list[int] = []
        async with following(hub, tmp_path, seen) as follower:
            at_start = venue.engine.sequence
            assert follower.engine.sequence == at_start, "caught up when start returns"
            await venue.write(20, 60)
            await follower.wait_for(venue.engine.sequence, LIMIT_MS)
            assert follower.engine.state_hash() == venue.engine.state_hash()
            assert seen == list(range(1, venue.engine.sequence + 1))
        assert len(list_segments(RealDisk(), tmp_path / LOG_FOLDER)) > 1
        await venue.close()

    run(scenario)


def test_it_survives_a_restart_of_the_venue(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        await venue.write(0, 3)
        seen: list[int] = []
        async with following(hub, tmp_path, seen) as follower:
            await venue.close()
            venue = Venue(hub, tmp_path, 3)
            await venue.write(3, 10)
            await follower.wait_for(venue.engine.sequence, LIMIT_MS)
            assert follower.engine.state_hash() == venue.engine.state_hash()
            assert seen == list(range(1, venue.engine.sequence + 1))
        await venue.close()

    run(scenario)


def test_it_never_reads_what_was_not_committed(tmp_path: Path) -> None:
    """A whole batch that no venue called committed stays unread, and may be cut away."""

    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        await venue.write(0, 2)
        seen: list[int] = []
        async with following(hub, tmp_path, seen) as follower:
            committed = venue.engine.sequence
            await venue.close()
            former = SmallVenue(RealDisk(), tmp_path, LOG)
            segment, offset = former.log.segment, former.log.offset
            former.write(order(7000))
            former.close()
            await asyncio.sleep(0.2)
            assert follower.engine.sequence == committed
            file = RealDisk().open(segment.path)
            file.pwrite(bytes(400), offset)
            file.close()
            venue = Venue(hub, tmp_path, 4)
            assert venue.engine.sequence == committed
            await venue.write(50, 55)
            await follower.wait_for(venue.engine.sequence, LIMIT_MS)
            assert follower.engine.state_hash() == venue.engine.state_hash()
        await venue.close()

    run(scenario)


def snapshot_of(venue: Venue, folder: Path) -> int:
    engine = venue.engine
    write_snapshot_bytes(folder, engine.sequence, engine.snapshot(), engine.state_hash(), "python")
    return engine.sequence


def test_it_starts_from_the_newest_snapshot_that_its_owner_allows(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        await venue.write(0, 5)
        older = snapshot_of(venue, tmp_path)
        await venue.write(5, 10)
        newer = snapshot_of(venue, tmp_path)
        await venue.write(10, 12)
        last = venue.engine.sequence
        for allowed, first in ((None, newer), (newer - 1, older), (0, 0)):
            seen: list[int] = []
            async with following(hub, tmp_path, seen, allowed) as follower:
                assert seen == list(range(first + 1, last + 1))
                assert follower.engine.state_hash() == venue.engine.state_hash()
        await venue.close()

    run(scenario)


def test_its_position_is_recorded_as_its_owner_releases(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        await venue.write(0, 5)
        async with following(hub, tmp_path, [], newest_snapshot=0) as follower:
            assert read_positions(RealDisk(), tmp_path) == {"feed": 0}
            follower.release(9)
            await until(lambda: read_positions(RealDisk(), tmp_path) == {"feed": 9})
        async with following(hub, tmp_path, []):
            sequence = venue.engine.sequence
            await until(lambda: read_positions(RealDisk(), tmp_path) == {"feed": sequence})
        await venue.close()

    run(scenario)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(LIMIT_MS // 10):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not in time")


def test_questions_share_one_request_but_never_an_older_one(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        async with following(hub, tmp_path, []) as follower:
            before = await follower.committed(LIMIT_MS)
            first = asyncio.ensure_future(follower.committed(LIMIT_MS))
            await asyncio.sleep(0)
            await venue.write(0, 1)
            later = [asyncio.ensure_future(follower.committed(LIMIT_MS)) for _ in range(50)]
            assert await first >= before
            assert set(await asyncio.gather(*later)) == {venue.engine.sequence}
        await venue.close()

    run(scenario)


def test_who_waits_too_long_or_for_a_closed_follower_is_told(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        async with following(hub, tmp_path, []) as follower:
            await follower.run_until(asyncio.sleep(0))
            with pytest.raises(FollowerError, match="not reached"):
                await follower.wait_for(10**6, 50)
            waiting = asyncio.ensure_future(follower.wait_for(10**6, LIMIT_MS))
            await asyncio.sleep(0.01)
        with pytest.raises(FollowerError, match="closed"):
            await waiting
        await venue.close()

    run(scenario)


def test_damage_ends_it_and_says_where(tmp_path: Path) -> None:
    async def scenario(hub: MemoryHub) -> None:
        prepared(tmp_path)
        venue = Venue(hub, tmp_path, 2)
        async with following(hub, tmp_path, []) as follower:
            segment = list_segments(RealDisk(), tmp_path / LOG_FOLDER)[-1]
            await venue.close()
            former = SmallVenue(RealDisk(), tmp_path, LOG)
            offset = former.log.offset
            former.write(order(1))
            former.close()
            venue = Venue(hub, tmp_path, 3)
            content = bytearray(segment.path.read_bytes())
            content[offset + 60] ^= 1
            segment.path.write_bytes(bytes(content))
            with pytest.raises(FollowerError, match="damaged at offset"):
                await follower.wait_for(venue.engine.sequence, LIMIT_MS)
            with pytest.raises(LogDamaged, match=segment.path.name):
                await follower.run_until(asyncio.sleep(60))
            assert follower.failed.done()
        await venue.close()

    run(scenario)
