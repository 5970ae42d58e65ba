"""The venue on the bus: commands in, answers, notices and order events out.

Joins the pure Sequencer with the committing thread and the bus; all methods run on the loop and
none waits. Invariant: what leaves here was durable before.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from madang.bus.port import Bus, Request, Subscription
from madang.core import log
from madang.core.clock import Clock
from madang.exchange.engine.port import Engine
from madang.exchange.subjects import (
    COMMANDS,
    COMMITTED,
    DIRECTORY,
    DIRECTORY_CHANGED,
    NOTICES,
    events_subject,
)
from madang.exchange.venue.answers import messages
from madang.exchange.venue.committer import Committer
from madang.exchange.venue.directory import directory_page
from madang.exchange.venue.errors import LogError, LogFull, VenueOverloaded
from madang.exchange.venue.log import Log
from madang.exchange.venue.sequencer import REQUEST_COMMANDS_MAX, Applied, Sequencer
from madang.wire.commands import split_commands
from madang.wire.events import Result, parse_result, split_records

NOTICE = struct.Struct("<QQ")
NOTICE_INTERVAL_S = 0.005


class _OwnReply:
    """The answer of a command that the venue gives itself."""

    def __init__(self, outcome: asyncio.Future[bytes]) -> None:
        self._outcome = outcome

    def respond(self, payload: bytes) -> None:
        if not self._outcome.done():
            self._outcome.set_result(payload)

    def refuse(self, error: str) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(VenueOverloaded(error))


class VenueServer:
    """Serves one recovered venue until `close`; `failed` gets what must end the process."""

    def __init__(self, bus: Bus, engine: Engine, sequencer: Sequencer, file_log: Log) -> None:
        self._bus = bus
        self._engine = engine
        self._sequencer = sequencer
        self._file_log = file_log
        self._committer = Committer(file_log, self._on_written)
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._drained: asyncio.Future[None] | None = None
        self._pump_asked = False
        self._notice_asked: asyncio.TimerHandle | None = None
        self._noticed_s = 0.0
        self._preparing: asyncio.Task[None] | None = None
        self._subscriptions: list[Subscription] = []
        self._term = 0
        self._clock: Clock | None = None
        self._applied: Callable[[Applied], None] = lambda _: None
        self._log = log.get("venue")

    def start(self, term: int, clock: Clock, applied: Callable[[Applied], None]) -> None:
        """Begin to work; `applied` is called after each batch."""
        self._term, self._clock, self._applied = term, clock, applied

    def serve(self) -> None:
        """Begin to answer others."""
        self._subscriptions = [
            self._bus.serve(COMMITTED, self._on_committed),
            self._bus.serve(DIRECTORY, self._on_directory),
            self._bus.serve(COMMANDS, self._on_commands),
        ]
        self._publish_notice()

    async def submit(self, commands: bytes) -> list[Result]:
        """Log commands of the venue's own; raises VenueOverloaded where they are refused."""
        assert self._clock is not None
        results: list[Result] = []
        records = list(split_commands(commands))
        for start in range(0, len(records), REQUEST_COMMANDS_MAX):
            outcome: asyncio.Future[bytes] = self._loop.create_future()
            payload = b"".join(records[start : start + REQUEST_COMMANDS_MAX])
            self._sequencer.offer(_OwnReply(outcome), payload, self._clock.monotonic_ns())
            self._pump_soon()
            either: list[asyncio.Future[Any]] = [outcome, self.failed]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not outcome.done():
                self.failed.result()
            answer = outcome.result()
            results += [parse_result(answer, offset) for _, offset, _ in split_records(answer)]
        return results

    def statistics(self) -> dict[str, int]:
        """Return the engine's counts."""
        return self._engine.statistics()

    def _on_commands(self, requests: list[Request]) -> None:
        assert self._clock is not None
        now_ns = self._clock.monotonic_ns()
        offer = self._sequencer.offer
        for request in requests:
            offer(request, request.payload, now_ns)
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Begin a batch at the end of this tick, so that what came together is written together."""
        if not self._pump_asked:
            self._pump_asked = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        assert self._clock is not None
        self._pump_asked = False
        if self.failed.done():
            return
        record = self._sequencer.begin(self._clock.now_ns(), self._clock.monotonic_ns())
        if record is not None:
            self._committer.write(record, self._sequencer.writing_first)
        if self._file_log.needs_next and self._preparing is None:
            self._preparing = self._loop.create_task(self._prepare())

    def _on_written(self, error: LogError | None) -> None:
        assert self._clock is not None
        if isinstance(error, LogFull):
            self._log.error("disk full, refusing commands", error=str(error))
            self._sequencer.refuse_writing(self._clock.monotonic_ns())
            self._pump()
            self._tell_drained()
            return
        if error is not None:
            self._fail(error)
            return
        self._sequencer.durable()
        self._pump()
        try:
            applied = self._sequencer.apply(self._wanted)
            assert applied is not None
            self._publish(applied)
            self._applied(applied)
        except BaseException as failure:  # noqa: BLE001 - an engine's panic is no Exception
            self._fail(failure)
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None and self._sequencer.idle and not self._drained.done():
            self._drained.set_result(None)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def _prepare(self) -> None:
        try:
            await asyncio.to_thread(self._file_log.prepare_next)
        except LogFull as error:
            self._log.warning("no room for the next segment", error=str(error))
            await asyncio.sleep(1.0)
        except LogError as error:
            self._fail(error)
        self._preparing = None

    def _wanted(self, account: int) -> bool:
        return self._bus.interested(events_subject(account))

    def _publish(self, applied: Applied) -> None:
        publish = self._bus.publish
        for account, records in applied.deliveries.orders.items():
            for message in messages(records):
                publish(events_subject(account), message)
        changed = applied.deliveries.directory
        if applied.deliveries.session_changed:
            instruments = self._engine.instruments()
            changed += [instruments[at : at + size] for _, at, size in split_records(instruments)]
        for message in messages(changed):
            publish(DIRECTORY_CHANGED, message)
        self._notice()

    def _notice(self) -> None:
        """Tell followers how far the log is: at once when it was quiet, else at the set pace.

        Each notice wakes every follower up, and the newest says all; who must know sooner asks.
        """
        if self._notice_asked is not None:
            return
        wait_s = self._noticed_s + NOTICE_INTERVAL_S - self._loop.time()
        if wait_s <= 0:
            self._publish_notice()
        else:
            self._notice_asked = self._loop.call_later(wait_s, self._publish_notice)

    def _publish_notice(self) -> None:
        self._notice_asked = None
        self._noticed_s = self._loop.time()
        self._bus.publish(NOTICES, NOTICE.pack(self._term, self._engine.sequence))

    def _on_committed(self, requests: list[Request]) -> None:
        answer = NOTICE.pack(self._term, self._engine.sequence)
        for request in requests:
            request.respond(answer)

    def _on_directory(self, requests: list[Request]) -> None:
        for request in requests:
            page = directory_page(self._engine, request.payload)
            if page is None:
                request.refuse("expected four u32: after account, credential, instrument; limit")
            else:
                request.respond(page)

    async def close(self, limit_s: float) -> None:
        """Take no more, finish what is waiting within the limit, end the thread."""
        for subscription in self._subscriptions:
            subscription.close()
        if not self._sequencer.idle and not self.failed.done():
            self._drained = self._loop.create_future()
            await asyncio.wait(
                [self._drained, self.failed],
                timeout=limit_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        self._sequencer.refuse_waiting("the venue is stopping")
        if self._notice_asked is not None:
            self._notice_asked.cancel()
            self._publish_notice()
        await self._committer.close()
        if self._preparing is not None:
            await asyncio.wait([self._preparing])
        self._file_log.close()
