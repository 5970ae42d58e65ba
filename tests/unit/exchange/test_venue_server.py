"""The venue's server over a failing disk: what is told, what is refused, what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from madang.bus import Bus, MemoryHub, RequestRefused, memory_bus_hub
from madang.core.clock import SystemClock
from madang.exchange.engine.python import PythonEngine
from madang.exchange.gateway import GatewaySettings, OrderGateway, OutcomeUnknown, VenueUnavailable
from madang.exchange.subjects import COMMITTED, DIRECTORY
from madang.exchange.venue.errors import LogFailed, VenueOverloaded
from madang.exchange.venue.recovery import recover
from madang.exchange.venue.sequencer import Sequencer, SequencerSettings
from madang.exchange.venue.server import VenueServer
from madang.wire.codes import Reason
from madang.wire.commands import encode_create_account
from tests.sim.disk import SimulatedDisk
from tests.support.venue_log import SMALL_LOG, PythonFactory, SmallVenue, order

STATE = Path("/state")
SETTINGS = SequencerSettings(batch_bytes_max=SMALL_LOG.batch_bytes_max, full_retry_ms=20)
GATEWAY = GatewaySettings(resend_ms=300, request_timeout_ms=100, retry_pause_ms=5)
LIMIT_MS = 10_000


class Scene:
    """A venue on a simulated disk, and a worker."""

    def __init__(self, hub: MemoryHub) -> None:
        self.disk = SimulatedDisk(1)
        SmallVenue(self.disk, STATE).prepare()
        recovered = recover(self.disk, STATE, PythonFactory(), SMALL_LOG)
        last_ns = max(recovered.position.now_ns, recovered.engine.now_ns)
        sequencer = Sequencer(recovered.engine, 2, last_ns, SETTINGS)
        self.engine = recovered.engine
        self.venue_bus: Bus = hub.open("venue")
        self.server = VenueServer(self.venue_bus, recovered.engine, sequencer, recovered.log)
        self.server.start(2, SystemClock(), lambda _: None)
        self.server.serve()
        self.bus: Bus = hub.open("worker-0")
        self.gateway = OrderGateway(self.bus, GATEWAY)

    async def open(self) -> None:
        assert await self.bus.wait_for_server("venue.commands", LIMIT_MS)

    async def fill(self) -> int:
        """Send orders until the disk is full; return how many were taken."""
        self.disk.capacity = self.disk.used()
        taken = 0
        with pytest.raises(VenueUnavailable, match="VenueFull"):  # noqa: PT012 - at last
            while taken < 1_000:
                await self.gateway.submit(order(taken))
                taken += 1
        return taken


def run(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        scene = Scene(memory_bus_hub())
        await scene.open()
        await asyncio.wait_for(scenario(scene), 60)
        if not scene.server.failed.done():
            await scene.server.close(1.0)

    asyncio.run(main())


def test_a_full_disk_refuses_commands_answers_questions_and_resumes() -> None:
    async def scenario(scene: Scene) -> None:
        taken = await scene.fill()
        committed = scene.engine.sequence
        answer = await scene.bus.request(COMMITTED, b"", LIMIT_MS)
        assert int.from_bytes(answer[8:], "little") == committed
        assert await scene.bus.request(DIRECTORY, bytes(12) + b"\x64\0\0\0", LIMIT_MS)
        with pytest.raises(VenueUnavailable):
            await asyncio.gather(*[scene.gateway.submit(order(2_000 + n)) for n in range(50)])
        assert scene.engine.sequence == committed
        with pytest.raises(VenueOverloaded):
            await scene.server.submit(order(3_000))
        scene.disk.capacity = 1 << 40
        await asyncio.sleep(2 * SETTINGS.full_retry_ms / 1000)
        assert (await scene.gateway.submit(order(taken))).reason == Reason.OK
        assert scene.engine.sequence == committed + 1

    run(scenario)


def test_a_failed_sync_ends_the_venue_and_tells_nobody_an_outcome() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.gateway.submit(order(1))
        sequence = scene.engine.sequence
        scene.disk.fail_in = 1
        with pytest.raises(OutcomeUnknown):
            await scene.gateway.submit(order(2))
        assert scene.engine.sequence == sequence, "what may not be durable is not applied"
        with pytest.raises(LogFailed):
            await scene.server.failed

    run(scenario)


def test_an_engine_that_breaks_ends_the_venue() -> None:
    class Broken(PythonEngine):
        def apply(self, batch: bytes) -> bytes:
            raise SystemError("an invariant is broken")

    async def scenario(scene: Scene) -> None:
        scene.engine.__class__ = Broken
        with pytest.raises(OutcomeUnknown):
            await scene.gateway.submit(order(1))
        with pytest.raises(SystemError, match="invariant"):
            await scene.server.failed
        with pytest.raises(SystemError, match="invariant"):
            await scene.server.submit(order(2))

    run(scenario)


def test_broken_framing_is_refused_and_the_venue_goes_on() -> None:
    async def scenario(scene: Scene) -> None:
        for payload in (b"", b"x", bytes(24), b"\xff" * 500):
            with pytest.raises(RequestRefused, match="BadFraming"):
                await scene.bus.request("venue.commands", payload, LIMIT_MS)
        with pytest.raises(RequestRefused, match="four u32"):
            await scene.bus.request(DIRECTORY, b"short", LIMIT_MS)
        assert (await scene.gateway.submit(order(1))).reason == Reason.OK

    run(scenario)


def test_closing_finishes_what_was_taken() -> None:
    async def scenario(scene: Scene) -> None:
        waiting = [asyncio.ensure_future(scene.gateway.submit(order(n))) for n in range(100)]
        await asyncio.sleep(0.01)
        await scene.server.close(5.0)
        done = await asyncio.gather(*waiting, return_exceptions=True)
        told = [one for one in done if not isinstance(one, BaseException)]
        assert all(isinstance(one, VenueUnavailable) for one in done if one not in told)
        scene.disk.power_cut()
        again = SmallVenue(scene.disk, STATE)
        for one in told:
            assert again.engine.order(one.number) is not None
        scene.server.failed.cancel()

    run(scenario)


def test_many_workers_get_their_own_answers() -> None:
    async def scenario(scene: Scene) -> None:
        names = [b"account %d-%d" % (worker, n) for worker in range(4) for n in range(30)]
        requests = [encode_create_account(name.ljust(16, b".")[:16], name) for name in names]
        results = await asyncio.gather(*[scene.gateway.submit(one) for one in requests])
        assert sorted(result.number for result in results) == list(range(3, 123))

    run(scenario)
