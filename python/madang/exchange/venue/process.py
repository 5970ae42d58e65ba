"""The venue's process: lease, recovery, service, the calendar, the length of the log."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterable

from madang.bus import Bus, BusSettings, open_unix_bus
from madang.bus.errors import LeaseTaken
from madang.bus.lease import FileLease, Held
from madang.cluster.process import Process
from madang.core import log
from madang.core.clock import SystemClock
from madang.core.errors import MadangError
from madang.core.settings import decode_section
from madang.edge.gathering import telling
from madang.edge.route import Metric
from madang.exchange.engine import engine_name
from madang.exchange.engine.port import Engine
from madang.exchange.venue.disk import RealDisk
from madang.exchange.venue.errors import VenueOverloaded
from madang.exchange.venue.recovery import Recovered, recover
from madang.exchange.venue.replica import engine_factory
from madang.exchange.venue.retention import remove_old_segments
from madang.exchange.venue.schedule import Schedule, start_of_catch_up
from madang.exchange.venue.sequencer import Applied, Sequencer
from madang.exchange.venue.server import VenueServer
from madang.exchange.venue.settings import VenueSettings
from madang.exchange.venue.setup import setup_commands
from madang.wire.commands import NO_REQUEST, encode_expire_keys

LEASE = "venue"
LEASE_WAIT_S = 10.0
STOP_LIMIT_S = 2.0
SWITCH_INTERVAL_S = 0.0005
"""So that the committing thread gets the interpreter soon after a sync."""
KEYS_CHECK_COMMANDS = 10_000
KEYS_FULL_PERCENT, KEYS_KEPT_PERCENT = 90, 80
CALENDAR_SLEEP_S = 1.0
STATUS_INTERVAL_S = 1.0
SETUP_RETRY_S = 1.0


async def main(process: Process) -> None:
    """Run the venue until the cluster stops it; raises what must end the process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    settings = decode_section(VenueSettings, process.options, "options of venue", "venue")
    held = await _take_lease(process)
    bus = await open_unix_bus(BusSettings(process.name, process.runtime_dir / "bus"))
    try:
        recovered = await _recover(process, settings)
        with telling(bus, process, lambda: _metrics(settings, recovered.engine)):
            await _run(process, settings, bus, recovered, held)
    finally:
        await bus.close()
        held.release()


def _metrics(settings: VenueSettings, engine: Engine) -> Iterable[Metric]:
    """Return the metrics that only the venue knows."""
    text = "1 for the engine that runs."
    running = (({"engine": engine_name(settings.engine)}, 1.0),)
    yield Metric("madang_engine_info", "gauge", text, running)
    text = "Commands that the engine has applied since the beginning of the log."
    yield Metric("madang_venue_commands_total", "counter", text, (({}, float(engine.sequence)),))


async def _take_lease(process: Process) -> Held:
    """Take the lease; a predecessor that is being ended has LEASE_WAIT_S to be gone."""
    lease = FileLease(process.state_dir / "leases")
    end = time.monotonic() + LEASE_WAIT_S
    while True:
        try:
            return lease.acquire(LEASE)
        except LeaseTaken:
            if time.monotonic() > end:
                raise
            process.status("another venue holds the lease")
            await asyncio.sleep(0.05)


async def _recover(process: Process, settings: VenueSettings) -> Recovered:
    process.status("recovering")
    started = time.monotonic()
    factory = engine_factory(settings.engine)
    recovered = await asyncio.to_thread(
        recover, RealDisk(), process.state_dir, factory, settings.log
    )
    report = recovered.report
    logger = log.get("venue")
    if report.torn_tail is not None:
        tail = report.torn_tail
        logger.warning(
            "torn tail cut",
            file=tail.file,
            offset=tail.offset,
            bytes=tail.length,
            reason=tail.reason,
        )
    if report.damaged_snapshots:
        logger.error("damaged snapshots not used", names=report.damaged_snapshots)
    logger.info(
        "recovered",
        engine=engine_name(settings.engine),
        sequence=report.sequence,
        snapshot=report.snapshot_sequence,
        replayed=report.commands_replayed,
        seconds=round(time.monotonic() - started, 3),
    )
    return recovered


async def _run(
    process: Process, settings: VenueSettings, bus: Bus, recovered: Recovered, held: Held
) -> None:
    engine = recovered.engine
    term = max(held.epoch, recovered.position.term + 1)
    last_ns = max(recovered.position.now_ns, engine.now_ns)
    sequencer = Sequencer(engine, term, last_ns, settings.sequencer)
    server = VenueServer(bus, engine, sequencer, recovered.log)
    keys = KeyKeeper(server, settings.keys_max)
    server.start(term, SystemClock(), keys.applied)
    tasks: list[asyncio.Task[None]] = []
    try:
        tasks = [
            *await _set_up(server, settings, engine),
            asyncio.create_task(_keep_calendar(server, settings, last_ns)),
            asyncio.create_task(_keep_log_short(process, settings)),
            asyncio.create_task(_keep_status(process, engine, term)),
        ]
        server.serve()
        process.ready()
        stop = asyncio.create_task(process.wait_stop())
        tasks.append(stop)
        await _first_end(server, stop, tasks)
        for task in tasks:
            if task.done() and task is not stop:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await server.close(STOP_LIMIT_S)
        await asyncio.gather(*tasks, return_exceptions=True)
    if server.failed.done():
        server.failed.result()


async def _first_end(
    server: VenueServer, stop: asyncio.Task[None], tasks: list[asyncio.Task[None]]
) -> None:
    """Return when the stop is asked for, or something failed; other tasks may just end."""
    waiting: set[asyncio.Future[None]] = {server.failed, *tasks}
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if server.failed in done or stop in done or any(one.exception() for one in done):
            return


async def _set_up(
    server: VenueServer, settings: VenueSettings, engine: Engine
) -> list[asyncio.Task[None]]:
    """Say the settings; on a full disk serve without that and go on trying."""
    try:
        await server.submit(setup_commands(settings, engine))
    except VenueOverloaded as refusal:
        log.get("venue").error("settings not applied, trying again", reason=refusal.message)
        return [asyncio.create_task(_set_up_later(server, settings, engine))]
    return []


async def _set_up_later(server: VenueServer, settings: VenueSettings, engine: Engine) -> None:
    while True:
        await asyncio.sleep(SETUP_RETRY_S)
        with contextlib.suppress(VenueOverloaded):
            await server.submit(setup_commands(settings, engine))
            return


async def _keep_calendar(server: VenueServer, settings: VenueSettings, last_ns: int) -> None:
    """Give the commands of the calendar when they are due; what was missed at once."""
    schedule = Schedule(settings.timezone, settings.open_hours())
    clock = SystemClock()
    done_ns = start_of_catch_up(last_ns) if last_ns > 0 else clock.now_ns()
    at_start = schedule.state_at(clock.now_ns())
    while True:
        now_ns = clock.now_ns()
        due = at_start + schedule.due(done_ns, now_ns)
        if due:
            try:
                await server.submit(b"".join(due))
            except VenueOverloaded as refusal:
                log.get("venue").warning("calendar waits", reason=refusal.message)
                await asyncio.sleep(CALENDAR_SLEEP_S)
                continue
        at_start = []
        done_ns = max(done_ns, now_ns)
        wait_s = (schedule.next_ns(done_ns) - clock.now_ns()) / 1e9
        await asyncio.sleep(min(max(wait_s, 0.001), CALENDAR_SLEEP_S))


async def _keep_status(process: Process, engine: Engine, term: int) -> None:
    """Let `madang ls` show how far the market is."""
    shown = -1
    while True:
        if engine.sequence != shown:
            shown = engine.sequence
            process.status(f"term {term}, sequence {shown}")
        await asyncio.sleep(STATUS_INTERVAL_S)


async def _keep_log_short(process: Process, settings: VenueSettings) -> None:
    """Remove, now and then, the segments that nobody needs."""
    logger = log.get("venue")
    while True:
        await asyncio.sleep(settings.retain_interval_ms / 1000)
        try:
            removed = await asyncio.to_thread(
                remove_old_segments, RealDisk(), process.state_dir, settings.retain
            )
        except OSError as error:
            logger.warning("old segments not removed", error=str(error))
            continue
        if removed:
            logger.info("old segments removed", names=[path.name for path in removed])


class KeyKeeper:
    """Expires the oldest keys, by a log command, before their limit would refuse orders."""

    def __init__(self, server: VenueServer, keys_max: int) -> None:
        self._server = server
        self._full = keys_max * KEYS_FULL_PERCENT // 100
        self._keep = keys_max * KEYS_KEPT_PERCENT // 100
        self._checked = 0
        self._every = max(1, min(KEYS_CHECK_COMMANDS, keys_max // 100))
        self._task: asyncio.Task[None] | None = None

    def applied(self, applied: Applied) -> None:
        """Look at the counts after enough commands."""
        if applied.last - self._checked < self._every or self._task is not None:
            return
        self._checked = applied.last
        counts = self._server.statistics()
        if max(counts["keys"], counts["requests"]) >= self._full:
            self._task = asyncio.get_running_loop().create_task(self._expire())

    async def _expire(self) -> None:
        try:
            await self._server.submit(encode_expire_keys(NO_REQUEST, self._keep))
        except MadangError as error:
            log.get("venue").warning("keys not expired, trying again", error=error.message)
        self._task = None
