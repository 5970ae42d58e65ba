"""Reloads while clients are connected: nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.e2e.cluster_harness import ROOT, Cluster, cluster
from tests.e2e.cluster_harness import http as ports

LIMIT_S = 20.0
WATCH_MS = 100


@contextmanager
def application(folder: Path, instances: int = 2) -> Iterator[tuple[Cluster, int]]:
    """Run the application and who broadcasts to it."""
    folder.mkdir(exist_ok=True)
    web: dict[str, object] = {
        "name": "web", "kind": "asgi", "target": "tests.e2e.handover_app:app",
        "instances": instances, "ports": ports(), "watch_ms": WATCH_MS,
        "environment": {"PYTHONPATH": f"{ROOT}/python:{ROOT}"},
    }  # fmt: skip
    numbers: dict[str, object] = {
        "name": "numbers", "kind": "python", "target": str(ROOT / "tests/e2e/handover_numbers.py"),
        "ready": "notify", "environment": {"MADANG_RUNTIME_DIR": str(folder / "run")},
    }  # fmt: skip
    with cluster(folder, [web, numbers]) as running:
        yield running, running.wait_ready()["http"][1]


class Listener:
    """A client that is never told anything but what it should hear, and keeps it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async for message in self.socket:
            self.heard.append(json.loads(message))

    def offsets(self, channel: str) -> list[int]:
        heard = [m for m in self.heard if m.get("channel") == channel]
        return [m["offset"] for m in heard if m["type"] == "message"]

    def offsets_by_epoch(self, channel: str) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for message in self.heard:
            if message.get("channel") == channel and message["type"] == "message":
                found.setdefault(message["epoch"], []).append(message["offset"])
        return found

    def check(self) -> None:
        """Every message once, in order, and the connection is open."""
        assert not self.task.done(), self.socket.close_code
        for channel in ("numbers", "room.a"):
            offsets = self.offsets(channel)
            assert offsets, channel
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), channel
        states = [m for m in self.heard if m["type"] == "state"]
        for key in {m["key"] for m in states}:
            of_key = [m["offset"] for m in states if m["key"] == key]
            assert of_key == sorted(set(of_key))


async def reload(running: Cluster) -> None:
    done = await asyncio.to_thread(running.operate, "reload", name="web")
    assert (done["state"], done["reason"]) == ("done", ""), done


def test_hub_clients_and_kept_connections_do_not_notice_five_reloads(tmp_path: Path) -> None:
    async def main(running: Cluster, port: int) -> None:
        listeners = []
        for n in range(20):
            socket = await connect(f"ws://127.0.0.1:{port}/ws?name=n{n}", ping_interval=None)
            listeners.append(Listener(socket))
            await socket.send('{"type":"subscribe","channel":"room.a"}')
        kept = [http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S) for _ in range(6)]
        pids = [_ask(client) for client in kept]
        sockets = [client.sock for client in kept]
        for round_ in range(5):
            await reload(running)
            for listener in listeners:
                await listener.socket.send(json.dumps({"type": "message", "data": round_}))
            rows = (await asyncio.to_thread(running.ask, "ls"))["rows"]
            fresh = {row["pid"] for row in rows if row["app"] == "web"}
            assert fresh.isdisjoint(pids)
            pids = [_ask(client) for client in kept]
            assert set(pids) <= fresh
            assert [client.sock for client in kept] == sockets
        await asyncio.sleep(0.2)
        for n, listener in enumerate(listeners):
            listener.check()
            own = [m["data"] for m in listener.heard if "channel" not in m and "data" in m]
            assert [m["count"] for m in own] == [1, 2, 3, 4, 5]
            assert {m["user"] for m in own} == {f"n{n}"}
            assert len({m["pid"] for m in own}) == 5
            await listener.socket.close()
        for client in kept:
            client.close()

    with application(tmp_path) as (running, port):
        asyncio.run(asyncio.wait_for(main(running, port), 60))


@pytest.mark.parametrize("victim", ["giver", "taker"])
def test_a_kill_in_the_middle_leaves_nobody_with_a_hole(tmp_path: Path, victim: str) -> None:
    """Who is closed is told so or cut; who is not misses nothing, hears nothing twice."""

    async def main(running: Cluster, port: int) -> None:
        listeners = []
        for n in range(60):
            socket = await connect(f"ws://127.0.0.1:{port}/ws?name=n{n}", ping_interval=None)
            listeners.append(Listener(socket))
        old = running.pid("web-0")
        number = running.ask("reload", name="web")["operation"]

        def step() -> tuple[str, list[str]]:
            found = running.ask("operation", id=number)
            return found["state"], [one["text"] for one in found["steps"]]

        async with asyncio.timeout(LIMIT_S):
            while "moving connections" not in step()[1]:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        pid = old if victim == "giver" else running.pid("web-0")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(LIMIT_S):
            while step()[0] == "running":
                await asyncio.sleep(0.01)
        before = {one: len(one.offsets("numbers")) for one in listeners}
        async with asyncio.timeout(LIMIT_S):
            while any(
                not one.task.done() and len(one.offsets("numbers")) <= count
                for one, count in before.items()
            ):
                await asyncio.sleep(0.01)
        for listener in listeners:
            if listener.task.done():
                listener.task.exception()  # a kill cuts without a close frame
            # Where the one who numbers was killed, what follows is of another epoch, and says so.
            for offsets in listener.offsets_by_epoch("numbers").values():
                assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
            await listener.socket.close()
        fresh = await connect(f"ws://127.0.0.1:{port}/ws", ping_interval=None)
        assert json.loads(await fresh.recv())["type"] == "welcome"
        await fresh.close()

    with application(tmp_path, instances=1) as (running, port):
        asyncio.run(asyncio.wait_for(main(running, port), 60))


def _ask(client: http.client.HTTPConnection) -> int:
    client.request("GET", "/")
    return int(client.getresponse().read())
