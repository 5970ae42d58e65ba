"""The role that runs an ASGI application: what it is told, what it shows, when it accepts."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from madang.cluster.process import Identity, Process, Surroundings
from madang.edge.asgi import process as role
from tests.support.asgi import LIMIT_S, run, until
from tests.unit.edge.test_asgi_http import GET

HELLO = str(Path(__file__).parents[3] / "examples")


class Told(Process):
    """A process of a cluster that moves accepting between generations and reads scores."""

    def __init__(self, options: dict[str, object], accepting: bool) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        surroundings = Surroundings(options, Path(), Path(), {"http": [self.listener]})
        super().__init__(Identity("web-0", "web", 0, 1, 1), surroundings, lambda: None)
        self.shown = SimpleNamespace()
        self.scores = cast("Any", self.shown)
        self.accepting = accepting
        self.accept_handler: Callable[[bool], None] | None = None

    def on_accepting(self, handler: Callable[[bool], None]) -> None:
        self.accept_handler = handler
        if not self.accepting:
            handler(False)

    async def ask(self, limit_s: float = LIMIT_S) -> bytes:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        try:
            writer.write(GET)
            return await asyncio.wait_for(reader.readuntil(b"World!\n"), limit_s)
        finally:
            writer.close()


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", ["target", "app"])
def test_it_serves_shows_its_counts_and_ends(name: str) -> None:
    async def main() -> None:
        process = Told({name: "hello:app", "directory": HELLO}, accepting=True)
        serving = asyncio.create_task(role.main(process))
        await until(lambda: process.is_ready)
        assert (await process.ask()).startswith(b"HTTP/1.1 200 OK\r\n")
        await until(lambda: process.shown.requests == 1)
        await until(lambda: process.shown.connections == 0)
        assert (process.shown.errors, process.shown.in_flight) == (0, 0)
        process.request_stop()
        await serving
        process.listener.close()

    run(main)


def test_a_new_generation_accepts_only_when_it_is_told() -> None:
    async def main() -> None:
        process = Told({"target": "hello:app", "directory": HELLO}, accepting=False)
        process.listener.listen(16)  # the old generation does
        serving = asyncio.create_task(role.main(process))
        await until(lambda: process.is_ready)
        assert process.accept_handler is not None
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await process.ask(limit_s=0.05)
            process.accept_handler(True)
            assert await process.ask()
            process.accept_handler(False)
        process.request_stop()
        await serving
        process.listener.close()

    run(main)


def test_it_says_why_it_cannot_start() -> None:
    async def main() -> None:
        process = Told({"target": "hello:nothing", "directory": HELLO}, accepting=True)
        with pytest.raises(SystemExit, match="no 'nothing'"):
            await role.main(process)
        assert "no 'nothing'" in process.status_text
        assert not process.is_ready
        process.listener.close()

    run(main)
