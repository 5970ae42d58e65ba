"""The demo's first start: one writer, whose lock the venue waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from madang.cli.app import demo_venue
from madang.exchange.demo import beginning, history
from madang.exchange.venue import process as venue
from madang.exchange.venue.settings import VenueSettings

LIMIT_S = 60.0


class Waiting:
    """The part of a process that waits for the history, and what it was told."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.asked = asyncio.Event()
        self.said: list[str] = []

    def status(self, text: str) -> None:
        self.said.append(text)

    async def wait_stop(self) -> None:
        await self.asked.wait()


def test_one_writer_at_a_time_writes_and_the_log_appears_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "TURNS", 2_000)
    settings = demo_venue(VenueSettings())
    assert beginning.is_new(tmp_path)
    writer = beginning.begin_history(tmp_path, settings)
    assert writer
    assert beginning.begin_history(tmp_path, settings) == 0
    assert os.getpgid(writer) == writer
    assert os.waitpid(writer, 0)[1] == 0
    assert not beginning.is_new(tmp_path)


def test_the_venue_starts_when_the_writer_is_gone_even_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []

    async def start(process: Waiting) -> None:
        started.append(beginning.is_new(process.state_dir))

    monkeypatch.setattr(venue, "main", start)

    async def main() -> None:
        writer = beginning.begin_history(tmp_path, demo_venue(VenueSettings()))
        process = Waiting(tmp_path)
        running = asyncio.create_task(beginning.main(process))  # type: ignore[arg-type]
        await asyncio.sleep(5 * beginning.LOOK_S)
        assert process.said
        assert not started
        os.kill(writer, signal.SIGKILL)
        await asyncio.to_thread(os.waitpid, writer, 0)
        async with asyncio.timeout(LIMIT_S):
            await running

    asyncio.run(main())
    assert started == [True]


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    async def main() -> None:
        held = beginning._lock(tmp_path)
        assert held is not None
        process = Waiting(tmp_path)
        process.asked.set()
        async with asyncio.timeout(LIMIT_S):
            await beginning.main(process)  # type: ignore[arg-type]
        os.close(held)

    asyncio.run(main())
