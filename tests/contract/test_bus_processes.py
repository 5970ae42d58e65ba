"""Two real processes, one of them killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from madang.bus import (
    UNKNOWN_LOSS,
    Bus,
    BusLimits,
    BusSettings,
    Gap,
    Message,
    NoServer,
    PeerLost,
    open_unix_bus,
)

LIMIT_S = 15.0
PEER = Path(__file__).with_name("peer_process.py")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def peer_process(name: str, folder: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(PEER), name, str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
            yield process
        finally:
            process.kill()


@asynccontextmanager
async def opened(name: str, folder: Path, limits: BusLimits | None = None) -> AsyncIterator[Bus]:
    """Open a bus that is closed also where a test fails.

    With warnings as errors a uvloop that ends with a connection open never returns.
    """
    bus = await open_unix_bus(BusSettings(name, folder, limits or BusLimits()))
    try:
        yield bus
    finally:
        await bus.close()


async def _story(folder: Path) -> None:
    async with opened("worker", folder) as bus:
        await _die_and_return(bus, folder)


async def _die_and_return(bus: Bus, folder: Path) -> None:
    items: list[Message | Gap] = []
    bus.subscribe("news.*", items.extend, items.append)
    async with peer_process("venue", folder) as venue:
        await until(lambda: bus.peers() == {"venue"})
        assert await bus.wait_for_server("echo", 5000)
        assert await bus.wait_for_server("publish", 5000)
        assert await bus.request("echo", b"hello", 5000) == b"hello"
        assert await bus.request("publish", b"1000", 5000) == b"1000"
        assert [item.payload for item in items if isinstance(item, Message)] == [
            b"%d" % number for number in range(1000)
        ]
        items.clear()
        open_requests = [asyncio.ensure_future(bus.request("work", b"", 60_000)) for _ in range(50)]
        assert await bus.request("echo", b"", 5000) == b""  # so all 50 have arrived there
        venue.send_signal(signal.SIGKILL)
        outcomes = await asyncio.gather(*open_requests, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {PeerLost}
        assert bus.peers() == frozenset()
    with pytest.raises(NoServer):
        await bus.request("echo", b"", 5000)
    assert items == []
    async with peer_process("venue", folder):
        assert await bus.wait_for_server("publish", 5000)
        assert await bus.request("publish", b"3", 5000) == b"3"
        assert items == [
            Gap("venue", "news.*", UNKNOWN_LOSS),
            *(Message("news.numbers", b"%d" % number, "venue") for number in range(3)),
        ]
    await until(lambda: not bus.peers())
    await until(lambda: not (folder / "venue.sock").exists())  # redialled, refused, removed


def test_a_killed_peer_is_lost_and_its_successor_reports_the_gap(tmp_path: Path) -> None:
    uvloop.run(_story(tmp_path / "bus"))


async def _stopped(folder: Path) -> None:
    async with opened("worker", folder) as bus, peer_process("venue", folder) as venue:
        assert await bus.wait_for_server("echo", 5000)
        venue.send_signal(signal.SIGSTOP)
        payload = bytes(64 * 1024)
        waiting = [asyncio.ensure_future(bus.request("echo", payload, 60_000)) for _ in range(100)]
        while not bus.statistics()["unsent_bytes"]:  # the kernel's buffer takes far less than this
            await asyncio.sleep(0.001)
        unsent = bus.statistics()["unsent_bytes"]
        assert 0 < unsent <= 101 * len(payload)
        venue.send_signal(signal.SIGKILL)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    kinds = [type(outcome) for outcome in outcomes]
    assert set(kinds) == {PeerLost, NoServer}
    # In order: what was (perhaps) handed over first, then what certainly was not.
    assert kinds == sorted(kinds, key=lambda kind: kind is NoServer)


def test_a_stopped_peers_unsent_requests_are_definite_noes_after_its_death(tmp_path: Path) -> None:
    uvloop.run(_stopped(tmp_path / "bus"))


async def _closed_beside_stopped_peer(folder: Path) -> None:
    async with peer_process("venue", folder) as venue:
        async with opened("worker", folder, BusLimits(close_timeout_ms=50)) as bus:
            assert await bus.wait_for_server("echo", 5000)
            venue.send_signal(signal.SIGSTOP)
            waiting = [
                asyncio.ensure_future(bus.request("echo", bytes(64 * 1024), 60_000))
                for _ in range(100)
            ]
            await until(lambda: bus.statistics()["unsent_bytes"] > 0)
        assert bus.statistics()["unsent_bytes"] == 0
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {PeerLost, NoServer}


def test_a_closed_bus_leaves_no_connection_even_to_a_peer_that_does_not_read(
    tmp_path: Path,
) -> None:
    """The loop would never end, see `opened`."""
    uvloop.run(_closed_beside_stopped_peer(tmp_path / "bus"))


async def _opened_beside_stopped_peer(folder: Path) -> None:
    limits = BusLimits(handshake_timeout_ms=60_000, open_timeout_ms=50)
    async with (
        peer_process("venue", folder) as stopped,
        peer_process("feed", folder),
    ):
        stopped.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(LIMIT_S), opened("worker", folder, limits) as bus:
            await until(lambda: bus.peers() == {"feed"})
            stopped.send_signal(signal.SIGCONT)
            await until(lambda: bus.peers() == {"feed", "venue"})


def test_a_stopped_peer_does_not_hold_up_who_joins_and_is_linked_when_it_goes_on(
    tmp_path: Path,
) -> None:
    uvloop.run(_opened_beside_stopped_peer(tmp_path / "bus"))


async def _storm(folder: Path) -> None:
    names = [f"peer-{number}" for number in range(5)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(PEER), name, str(folder)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for name in names
    ]
    try:
        async with opened("watcher", folder) as bus:
            await until(lambda: bus.peers() == set(names))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_processes_started_at_once_all_find_each_other(tmp_path: Path) -> None:
    uvloop.run(_storm(tmp_path / "bus"))
