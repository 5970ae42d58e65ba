"""The lines that console pages are sent: for as long as somebody is there to read them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from madang.cluster.logs import LogLine, LogQuery
from madang.edge.console import output
from madang.edge.console.output import LogWish, Output
from tests.support.edge import eventually, run

LIMIT_S = 5.0


class SlowDisk:
    """Reads of the last lines begin, and end when they are let go."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        patch.setattr(output, "recent", self._recent)
        patch.setattr(output, "LOOK_S", 0.001)

    def _recent(self, folder: Path, query: LogQuery) -> list[LogLine]:
        self.began.release()
        assert self.may_end.acquire(timeout=LIMIT_S)
        return [LogLine("12:00:00", "web-0", "ready"), LogLine("12:00:01", "venue-0", "open")]

    async def reading(self) -> None:
        """Return once a read has begun."""
        assert await asyncio.to_thread(self.began.acquire, timeout=LIMIT_S)


Told = list[dict[str, Any]]


def test_a_page_that_leaves_while_its_first_lines_are_read_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        disk, followed = SlowDisk(monkeypatch), Output(tmp_path)
        told, before = Told(), asyncio.all_tasks()
        send = told.append
        followed.want(send, LogWish())
        await disk.reading()
        followed.leave(send)
        disk.may_end.release()
        await eventually(lambda: asyncio.all_tasks() <= before)
        assert told == []

    run(main)


def test_a_page_that_wants_something_else_meanwhile_gets_only_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        disk, followed = SlowDisk(monkeypatch), Output(tmp_path)
        told, before = Told(), asyncio.all_tasks()
        send = told.append
        followed.want(send, LogWish(("web",)))
        await disk.reading()
        followed.want(send, LogWish(("venue",)))
        disk.may_end.release()
        await disk.reading()
        assert told == []
        disk.may_end.release()
        await eventually(lambda: bool(told))
        assert [line["instance"] for line in told[0]["lines"]] == ["venue-0"]
        followed.leave(send)
        await eventually(lambda: asyncio.all_tasks() <= before)

    run(main)
