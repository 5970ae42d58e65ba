"""Ten thousand stream clients on one worker of the real product."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

import pytest
import uvloop

from tests.support.raw_stream import RawClient, abort_all, dial_many, resident_bytes, until
from tests.support.venue_fixture import Venue, running_venue

LISTENERS = 10_000
FILES = LISTENERS + 500
IDLE_BYTES_MAX = 12 * 1024
EDGE = "connections_per_address_max = 20_000\n[stream]\ndata_connections_per_account_max = 20_000"


def raise_open_files() -> None:
    """Let this process, and what it starts, open enough files; skip where the system forbids."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FILES:
        pytest.skip(f"this system lets a process open {hard} files, {FILES} are needed")
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def test_ten_thousand_listeners_of_one_worker_all_hear_of_a_halt(tmp_path: Path) -> None:
    raise_open_files()
    with running_venue(tmp_path / "venue", "ann", workers=1, edge=EDGE) as venue:
        uvloop.run(ended(venue))


async def ended(venue: Venue) -> None:
    try:
        await listen(venue)
    finally:
        abort_all()
        await asyncio.sleep(0.01)


async def listen(venue: Venue) -> None:
    (pid,) = venue.pids("worker")
    before = resident_bytes(pid)
    clients = await dial_many(venue.port, LISTENERS, "/v2/iex", venue.people["ann"].headers)
    await until(lambda: all(len(client.frames) >= 2 for client in clients), "authenticated")
    idle = (resident_bytes(pid) - before) / LISTENERS
    assert idle < IDLE_BYTES_MAX, f"{idle:.0f} bytes for each idle connection"
    for client in clients:
        client.say(action="subscribe", statuses=["AAPL"])
    await until(lambda: all(len(client.frames) >= 3 for client in clients), "subscribed")
    assert venue.call(None, "GET", "/healthz").status == 200, "and others are served"
    begin = time.monotonic()
    halting = asyncio.create_task(asyncio.to_thread(venue.madang, "venue", "halt", "AAPL"))
    await until(lambda: all(has_halt(client) for client in clients), "the halt, everywhere")
    await halting
    print(f"{idle:.0f} bytes each, halted in {time.monotonic() - begin:.2f} s")
    assert not any(client.ended for client in clients)
    for client in clients:
        client.transport.abort()
    await until(lambda: websockets(venue) == 0, "all of them forgotten")


def has_halt(client: RawClient) -> bool:
    return len(client.frames) >= 4 and b'"sc":"H"' in client.frames[3][1]


def websockets(venue: Venue) -> float:
    return venue.metric("madang_websockets")
