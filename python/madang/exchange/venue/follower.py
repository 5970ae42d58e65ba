"""A replica of the engine that follows the log: newest snapshot, replay, then the venue's notices.

It reads the log's files, never past what a venue said is committed, so nothing that it has applied
is ever taken back. Notices only wake it up; a lost one is made good by asking. Terms never fall: a
notice of a former venue is dropped. All state belongs to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec

from madang.bus import Bus, BusError, Gap, Message
from madang.core import log
from madang.core.errors import MadangError
from madang.exchange.engine.port import Engine
from madang.exchange.subjects import COMMITTED, NOTICES
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.errors import SnapshotDamaged
from madang.exchange.venue.positions import write_position
from madang.exchange.venue.reader import LogReader
from madang.exchange.venue.recovery import LOG_FOLDER
from madang.exchange.venue.replica import EngineFactory, EngineMaker, factory_of
from madang.exchange.venue.segment import list_segments
from madang.exchange.venue.server import NOTICE
from madang.exchange.venue.snapshot import FOLDER as SNAPSHOT_FOLDER
from madang.exchange.venue.snapshot import newest_snapshots, restore_snapshot

OnEvents = Callable[[bytes, bytes], None]


class FollowerError(MadangError):
    """The follower cannot go on, or did not reach a sequence in time."""


class FollowerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paces of a follower."""

    chunk_bytes: int = 256 * 1024
    ask_interval_ms: int = 1_000
    ask_timeout_ms: int = 2_000
    position_interval_ms: int = 1_000


class Follower:
    """Follows one venue on this machine; `engine` is the replica."""

    def __init__(
        self,
        name: str,
        engine_factory: EngineMaker,
        folder: Path,
        bus: Bus,
        on_events: OnEvents,
    ) -> None:
        """Follow the log of state folder `folder`; give `on_events(batch, events)`."""
        self.name = name
        self.engine: Engine = engine_factory()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._factory: EngineFactory = factory_of(engine_factory)
        self._folder = folder
        self._disk = RealDisk()
        self._bus = bus
        self._on_events = on_events
        self.settings = FollowerSettings()
        self._from: int | None = None
        self._reader: LogReader | None = None
        self._term = 0
        self._target = 0
        self._pump_asked = False
        self._paused = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._question: asyncio.Task[int] | None = None
        self._next_question: asyncio.Task[int] | None = None
        self._released: int | None = None
        self._recorded = -1
        self._tasks: list[asyncio.Task[None]] = []
        self._log = log.get("follower")

    async def start(self, newest_snapshot: int | None = None) -> None:
        """Return when everything is applied that was committed at the start; waits for a venue.

        `newest_snapshot` says from which sequence on the owner needs every event: replay then
        begins at a snapshot no newer than that, and the log is kept until the owner calls
        `release`.
        """
        self._from = self._released = newest_snapshot
        self.engine = await asyncio.to_thread(self._load)
        self._reader = LogReader(self._disk, self._folder / LOG_FOLDER, self.engine.sequence)
        await self._write_position()
        self._subscription = self._bus.subscribe(NOTICES, self._on_notices, self._on_gap)
        await self._reach(await self._committed_at_last())
        self._tasks = [
            asyncio.create_task(self._ask_now_and_then()),
            asyncio.create_task(self._keep_position()),
        ]

    async def _committed_at_last(self) -> int:
        while True:
            try:
                return await self.committed(self.settings.ask_timeout_ms)
            except BusError:
                await self._bus.wait_for_server(COMMITTED, self.settings.ask_timeout_ms)
                await asyncio.sleep(0.01)

    def _load(self) -> Engine:
        folder = self._folder / SNAPSHOT_FOLDER
        segments = list_segments(self._disk, self._folder / LOG_FOLDER)
        first = segments[0].first if segments else 1
        for not_after in (self._from, None):
            for file, snapshot in newest_snapshots(self._disk, folder, not_after):
                if isinstance(snapshot, SnapshotDamaged):
                    self._log.error("damaged snapshot not used", name=file.path.name)
                elif snapshot.sequence + 1 >= first:
                    return restore_snapshot(self._factory, snapshot)
            if first == 1:
                break
            if not_after is not None:
                self._log.error(
                    "the log no longer reaches back", follower=self.name, asked=not_after
                )
        return self._factory.create()

    async def wait_for(self, sequence: int, timeout_ms: int) -> None:
        """Return when command `sequence` is applied; raises FollowerError."""
        self._check()
        if self.engine.sequence >= sequence:
            return
        try:
            await asyncio.wait_for(self._reach(sequence), timeout_ms / 1000)
        except TimeoutError:
            raise FollowerError(
                f"command {sequence} not reached in {timeout_ms} ms, at {self.engine.sequence}"
            ) from None

    async def _reach(self, sequence: int) -> None:
        if self.engine.sequence >= sequence:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (sequence, next(self._numbers), reached))
        self._pump_soon()
        await reached

    def _check(self) -> None:
        if self.failed.done():
            self.failed.result()

    async def committed(self, timeout_ms: int) -> int:
        """Ask the venue how far it has committed; raises BusError, FollowerError.

        One question is under way at a time. Who comes while it is shares the next one: the answer
        that is on its way may be older than what the asker already knows.
        """
        self._check()
        if self._question is None:
            self._question = asyncio.create_task(self._ask(timeout_ms))
            return await asyncio.shield(self._question)
        if self._next_question is None:
            self._next_question = asyncio.create_task(self._ask_after(self._question, timeout_ms))
        return await asyncio.shield(self._next_question)

    async def _ask_after(self, former: asyncio.Task[int], timeout_ms: int) -> int:
        await asyncio.wait([former])
        self._question, self._next_question = self._next_question, None
        return await self._ask(timeout_ms)

    async def _ask(self, timeout_ms: int) -> int:
        mine = asyncio.current_task()
        try:
            answer = await self._bus.request(COMMITTED, b"", timeout_ms)
            term, committed = NOTICE.unpack(answer)
            self._heard(term, committed)
            return int(committed)
        finally:
            if self._question is mine and self._next_question is None:
                self._question = None

    def _on_notices(self, messages: list[Message]) -> None:
        term, committed = NOTICE.unpack(messages[-1].payload)
        self._heard(term, committed)

    def _on_gap(self, gap: Gap) -> None:
        """Nothing to do at once: each notice says all, `_ask_now_and_then` makes the last good."""

    def _heard(self, term: int, committed: int) -> None:
        if term < self._term:
            return
        if term > self._term and committed < self.engine.sequence:
            reason = f"the venue begins again at {committed}, applied is {self.engine.sequence}"
            self._fail(FollowerError(reason))
            return
        self._term = term
        if committed > self._target:
            self._target = committed
            self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pump_asked and not self.failed.done():
            self._pump_asked = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Apply the next chunk; what remains follows in later ticks."""
        self._pump_asked = False
        if self.failed.done() or self._reader is None or self._paused:
            return
        try:
            records = self._reader.read(self._target, self.settings.chunk_bytes)
            for record in records:
                self._on_events(record, self.engine.apply(record))
        except BaseException as error:  # noqa: BLE001 - an engine's panic is no Exception
            self._fail(error)
            return
        while self._waiting and self._waiting[0][0] <= self.engine.sequence:
            _, _, reached = heapq.heappop(self._waiting)
            if not reached.done():
                reached.set_result(None)
        if self.engine.sequence < self._target:
            self._pump_soon()

    def _fail(self, error: BaseException) -> None:
        self._log.error("following ended", follower=self.name, error=str(error))
        self._end(error)

    def _end(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()
        for _, _, reached in self._waiting:
            if not reached.done():
                reached.set_exception(FollowerError(f"following ended: {error}"))
        self._waiting = []

    async def _ask_now_and_then(self) -> None:
        """Make a lost notice good."""
        while True:
            await asyncio.sleep(self.settings.ask_interval_ms / 1000)
            with contextlib.suppress(BusError):
                await self.committed(self.settings.ask_timeout_ms)

    def pause(self) -> None:
        """Apply nothing after the chunk that is being applied; who waits goes on waiting."""
        self._paused = True

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        self._paused = False
        self._pump_soon()

    def release(self, sequence: int) -> None:
        """Say that the owner no longer needs the log up to `sequence`."""
        self._released = sequence

    async def _keep_position(self) -> None:
        while True:
            await asyncio.sleep(self.settings.position_interval_ms / 1000)
            with contextlib.suppress(OSError):
                await self._write_position()

    async def _write_position(self) -> None:
        sequence = self.engine.sequence if self._released is None else self._released
        if sequence != self._recorded:
            await asyncio.to_thread(write_position, self._disk, self._folder, self.name, sequence)
            self._recorded = sequence

    async def run_until(self, stop: Coroutine[object, object, None]) -> None:
        """Wait for `stop`; raises what ended the following, if that comes first."""
        stopping = asyncio.create_task(stop)
        try:
            await asyncio.wait([stopping, self.failed], return_when=asyncio.FIRST_COMPLETED)
            self._check()
        finally:
            stopping.cancel()

    async def close(self) -> None:
        """End following; who waits is told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for question in (self._question, self._next_question):
            if question is not None:
                question.cancel()
        if not self.failed.done():
            self._end(FollowerError("the follower is closed"))
        if self._reader is not None:
            self._subscription.close()
            self._reader.close()
