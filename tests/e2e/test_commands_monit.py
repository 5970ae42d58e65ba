"""The live screen over a real supervisor, at the size of the smallest usual terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from madang.cli.monit_screen import Monitor, Question
from tests.e2e.command_harness import Terminal, free_port, terminal

SIZE = (80, 24)
LIMIT_S = 30.0


@pytest.fixture
def shell() -> Iterator[Terminal]:
    with terminal() as typing:
        typing.good("start", "hello:app", "--name", "web", "-i", "2", "--port", str(free_port()))
        yield typing


def table(screen: Monitor) -> list[list[str]]:
    """Return the cells that are shown."""
    found: DataTable[str] = screen.query_one("#instances", DataTable)
    return [[cell.strip() for cell in found.get_row_at(i)] for i in range(found.row_count)]


def said(screen: Monitor, part: str) -> str:
    """Return the text of a line."""
    return str(screen.query_one(f"#{part}", Static).render())


async def until(pilot: Pilot[None], condition: Callable[[], bool], what: str) -> None:
    """Wait until the screen is as expected."""
    limit_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit_s, what
        await pilot.pause(0.05)


def test_it_shows_instances_and_logs_within_eighty_columns(shell: Terminal) -> None:
    async def watch() -> None:
        screen = Monitor(shell.folder / ".madang")
        async with screen.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: len(table(screen)) == 2, "two instances")
            names = [row[:2] for row in table(screen)]
            assert names == [["web-0", "ready"], ["web-1", "ready"]]
            assert said(screen, "summary").startswith("2/2 ready")
            found: DataTable[str] = screen.query_one("#instances", DataTable)
            assert found.virtual_size.width <= SIZE[0]
            await until(pilot, lambda: len(screen.query_one(RichLog).lines) > 0, "logs")
            log = screen.query_one(RichLog)
            await until(pilot, lambda: log.border_title == "web-0", "logs of the first")
            await pilot.press("down")
            await until(pilot, lambda: log.border_title == "web-1", "logs of the second")
            await pilot.press("a")
            await until(pilot, lambda: log.border_title == "all logs", "logs of all")

    asyncio.run(watch())


def test_a_key_acts_only_once_it_is_confirmed(shell: Terminal) -> None:
    async def press() -> None:
        screen = Monitor(shell.folder / ".madang")
        async with screen.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: len(table(screen)) == 2, "two instances")
            await pilot.press("plus")
            await until(pilot, lambda: isinstance(screen.screen, Question), "a question")
            await pilot.press("n")
            await until(pilot, lambda: not isinstance(screen.screen, Question), "no question")
            await pilot.press("plus", "y")
            await until(pilot, lambda: len(table(screen)) == 3, "three instances")
            pid = table(screen)[0][2]
            await pilot.press("t", "y")
            await until(pilot, lambda: table(screen)[0][2] not in (pid, "-"), "another process")
            await until(pilot, lambda: not screen.workers._workers, "the end of it")
            await pilot.press("r", "y")
            await until(pilot, lambda: "reload web: done" in said(screen, "status"), "a reload")

    asyncio.run(press())


def test_it_says_when_the_supervisor_has_gone(shell: Terminal) -> None:
    async def watch() -> None:
        screen = Monitor(shell.folder / ".madang")
        async with screen.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: len(table(screen)) == 2, "two instances")
            await asyncio.to_thread(shell.good, "stop")
            await until(pilot, lambda: "no Madang runs here" in said(screen, "status"), "words")

    asyncio.run(watch())


def test_without_a_supervisor_or_a_terminal_it_says_so(shell: Terminal) -> None:
    done = shell.run("monit")
    assert (done.code, "needs a terminal" in done.err) == (1, True)
    shell.good("stop")
    assert shell.run("monit").code == 3
