"""The bus between two processes: one-way messages per second, request latency, large requests.

The peer beside it is the standard library's `multiprocessing.Pipe` with blocking calls, one message
per system call: the least that two Python processes need, without routing, bounds or an event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from madang.bus import Bus, BusSettings, Message, Request, open_unix_bus

SMALL_BYTES = 100
QUEUE_HIGH_BYTES = 4 * 1024 * 1024
CONCURRENCY = 32


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def serve(folder: Path) -> None:
    bus = await open_unix_bus(BusSettings("server", folder))
    received = 0
    done = asyncio.get_running_loop().create_future()

    def count(batch: list[Message]) -> None:
        nonlocal received
        received += len(batch)

    def answer(batch: list[Request]) -> None:
        for request in batch:
            request.respond(b"%d" % received)

    def stop(batch: list[Request]) -> None:
        answer(batch)
        done.set_result(None)

    bus.subscribe("bench.>", count)
    bus.serve("ask", answer)
    bus.serve("stop", stop)
    await done
    await bus.close()


async def one_way(bus: Bus, messages: int) -> float:
    payload = bytes(SMALL_BYTES)
    before = int(await bus.request("ask", b"", 5000))
    start = time.perf_counter()
    for number in range(messages):
        bus.publish("bench.small", payload)
        if number % 256 == 0:
            await asyncio.sleep(0)
            while bus.statistics()["unsent_bytes"] > QUEUE_HIGH_BYTES:  # noqa: ASYNC110
                await asyncio.sleep(0.0005)
    received = int(await bus.request("ask", b"", 30_000)) - before
    if received != messages:
        raise SystemExit(f"{messages} sent, {received} received")
    return messages / (time.perf_counter() - start)


async def latency(ask: Callable[[], Awaitable[object]], requests: int) -> list[float]:
    taken = []
    for _ in range(requests):
        start = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - start) * 1e6)
    return taken


async def throughput(ask: Callable[[], Awaitable[object]], requests: int) -> float:
    async def run() -> None:
        for _ in range(requests // CONCURRENCY):
            await ask()

    start = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(CONCURRENCY)))
    return requests // CONCURRENCY * CONCURRENCY / (time.perf_counter() - start)


async def measure(folder: Path, scale: int) -> dict[str, float]:
    bus = await open_unix_bus(BusSettings("client", folder))
    if not await bus.wait_for_server("ask", 10_000):
        raise SystemExit("the server did not come")
    result = {"one_way_100_b_per_s": await one_way(bus, 100_000 * scale)}
    for label, size in (("64_b", 64), ("8_kb", 8192), ("64_kb", 65536)):
        payload = bytes(size)

        def ask(payload: bytes = payload) -> Awaitable[bytes]:
            return bus.request("ask", payload, 5000)

        taken = await latency(ask, 1000 * scale)
        result[f"request_{label}_p50_us"] = percentile(taken, 0.5)
        result[f"request_{label}_p99_us"] = percentile(taken, 0.99)
        result[f"requests_{label}_per_s"] = await throughput(ask, 3200 * scale)
    await bus.request("stop", b"", 5000)
    await bus.close()
    return result


def ours(scale: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bus"
        command = [sys.executable, "-m", "bench.bus", "--serve", str(folder)]
        with subprocess.Popen(command) as server:
            try:
                return uvloop.run(measure(folder, scale))
            finally:
                try:
                    server.wait(5)
                except subprocess.TimeoutExpired:
                    server.kill()


def pipe_server(end: Connection) -> None:
    received = 0
    while True:
        data = end.recv_bytes()
        if data[:1] == b"?":
            end.send_bytes(b"%d" % received)
        elif data[:1] == b"!":
            return
        else:
            received += 1


def pipe(scale: int) -> dict[str, float]:
    near, far = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=pipe_server, args=(far,))
    server.start()
    payload = bytes(SMALL_BYTES)
    messages = 100_000 * scale
    start = time.perf_counter()
    for _ in range(messages):
        near.send_bytes(payload)
    near.send_bytes(b"?")
    near.recv_bytes()
    result = {"one_way_100_b_per_s": messages / (time.perf_counter() - start)}
    for label, size in (("64_b", 64), ("8_kb", 8192), ("64_kb", 65536)):
        question = b"?" + bytes(size - 1)
        taken = []
        for _ in range(1000 * scale):
            start = time.perf_counter()
            near.send_bytes(question)
            near.recv_bytes()
            taken.append((time.perf_counter() - start) * 1e6)
        result[f"request_{label}_p50_us"] = percentile(taken, 0.5)
        result[f"request_{label}_p99_us"] = percentile(taken, 0.99)
    near.send_bytes(b"!")
    server.join(5)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.serve))
        return
    scale = 1 if arguments.quick else 5
    own, peer = ours(scale), pipe(scale)
    report = {
        "name": "bus",
        "ours": own,
        "peers": {"multiprocessing_pipe": peer},
        "ratio": {f"{key}/multiprocessing_pipe": own[key] / peer[key] for key in peer},
        "conditions": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "concurrency": CONCURRENCY,
        },
    }
    if not arguments.json:
        for key, value in own.items():
            beside = f"  pipe {peer[key]:,.0f}" if key in peer else ""
            print(f"{key:28} {value:12,.0f}{beside}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
