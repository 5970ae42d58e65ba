"""examples/ticker.py on a real cluster: two workers, a process that makes prices, kills of both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.cluster_harness import cluster, http, until
from tests.support.talk import hear, joined

EXAMPLE = Path(__file__).parents[2] / "examples" / "ticker.py"
LIMIT_S = 60.0
FRONT = {
    "name": "front",
    "target": "madang.edge.asgi.process:main",
    "instances": 2,
    "ports": http(),
    "options": {"target": f"{EXAMPLE}:app"},
}


@contextmanager
def prices(runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MADANG_RUNTIME_DIR": str(runtime),
        "MADANG_NAME": "prices",
    }
    process = subprocess.Popen([sys.executable, str(EXAMPLE)], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def clients_of_both_workers(url: str) -> dict[str, ClientConnection]:
    """Connect until both workers have a client; the client's id names its worker."""
    found: dict[str, ClientConnection] = {}
    while len(found) < 2:
        client = await connect(url)
        worker = (await hear(client))["client"].partition(".")[0]
        await hear(client)
        if worker in found:
            await client.close()
        found.setdefault(worker, client)
    return found


async def follow(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [await hear(client) for _ in range(count)]


def offsets(messages: list[dict[str, Any]]) -> list[int]:
    return [message["offset"] for message in messages]


async def see_prices(url: str, maker: subprocess.Popen[bytes], kill_front: Any) -> None:  # noqa: ANN401
    async with asyncio.timeout(LIMIT_S):
        clients = await clients_of_both_workers(url)
        for client in clients.values():
            messages = await follow(client, 5)
            assert offsets(messages) == list(
                range(messages[0]["offset"], messages[0]["offset"] + 5)
            )
            assert set(messages[0]["data"]) == {"ACME", "MADANG"}
        # A worker dies: the other's client goes on, its own client resumes elsewhere.
        kill_front("front-0")
        (stayed,) = [client for name, client in clients.items() if name == "front-1"]
        before = await follow(stayed, 1)
        after = await follow(stayed, 5)
        assert offsets(after) == [before[0]["offset"] + n for n in range(1, 6)]
        place = f"{before[0]['epoch']}.{before[0]['offset']}"
        async with connect(f"{url}?ticker={place}") as again:
            assert (await joined(again))["recovered"] is True
            assert offsets(await follow(again, 5)) == offsets(after)
        # Who makes and numbers the prices dies: clients stay, its successor goes on.
        maker.send_signal(signal.SIGKILL)
        maker.wait()
        for client in clients.values():
            await client.close()


async def see_a_new_epoch(url: str, start: Any) -> None:  # noqa: ANN401
    async with asyncio.timeout(LIMIT_S), connect(url) as client:
        await joined(client)
        with start():
            first = await hear(client)
            assert set(first["data"]) == {"ACME", "MADANG"}
            following = await follow(client, 3)
            assert offsets(following) == [first["offset"] + n for n in range(1, 4)]


def test_every_client_of_every_worker_sees_the_prices_through_kills(tmp_path: Path) -> None:
    with cluster(tmp_path, [FRONT]) as running:
        host, port = running.wait_ready()["http"]
        url = f"ws://{host}:{port}/ws"

        def kill(name: str) -> None:
            pid = running.kill(name)
            until(lambda: running.replaced(name, pid))

        with prices(running.runtime) as maker:
            asyncio.run(see_prices(url, maker, kill))
        asyncio.run(see_a_new_epoch(url, lambda: prices(running.runtime)))


def test_the_example_is_as_short_as_promised() -> None:
    lines = [line for line in EXAMPLE.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) < 40
