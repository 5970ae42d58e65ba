"""From an order over REST to its durable acknowledgement, beside FastAPI with one commit per order.

Method: the whole product (two workers, venue, ledger, feed) and the load share this machine. Orders
cross at one price, so half of them trade. Open loop at fixed rates; the peak is the highest of
several closed loops. The peer gets the same bytes and does what a first version of such a service
does: validate with pydantic, insert, commit (SQLite, WAL, synchronous=FULL), answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvloop

from bench.harness import CACHE, PeerMissing, Report, options, python_package, say
from bench.http_load import Outcome, closed_loop, open_loop, round_robin
from madang.wire.codes import CASH_SCALE, QUANTITY_SCALE
from tests.drill.product import Product, Trader, free_port, running_product

RATES_PER_S = (1_000, 5_000, 10_000)
PEER_RATES_PER_S = (1_000,)
CONNECTIONS = 128
PEAK_CONNECTIONS = (32, 64, 128, 256)
TRADERS = 8
FSYNC_BYTES = 4_096
FSYNC_TIMES = 300
PEER_START_LIMIT_S = 20.0
QUICK_S = 2.0
FULL_S = 10.0


def order_requests(traders: list[Trader]) -> list[bytes]:
    """Return prebuilt requests: each trader buys and sells at one price."""
    requests: list[bytes] = []
    for index, trader in enumerate(traders):
        side = "buy" if index % 2 else "sell"
        body = (
            f'{{"symbol":"KIM","qty":"1","side":"{side}","type":"limit",'
            f'"time_in_force":"day","limit_price":"50.00"}}'
        )
        requests.append(
            (
                "POST /v2/orders HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"APCA-API-KEY-ID: {trader.key_id}\r\nAPCA-API-SECRET-KEY: {trader.secret}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )
    return requests


def fsync_p50_ms(folder: Path) -> float:
    """Return the median time of writing and syncing one page, the floor of any durable answer."""
    path = folder / "fsync"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, FSYNC_BYTES * FSYNC_TIMES)
    os.fsync(descriptor)
    times: list[int] = []
    for index in range(FSYNC_TIMES):
        begin = time.perf_counter_ns()
        os.pwrite(descriptor, bytes(FSYNC_BYTES), index * FSYNC_BYTES)
        os.fdatasync(descriptor)
        times.append(time.perf_counter_ns() - begin)
    os.close(descriptor)
    path.unlink()
    return sorted(times)[len(times) // 2] / 1e6


def cpu_s(pids: list[int]) -> float:
    """Return the CPU time that processes have used."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


async def measure(
    address: tuple[str, int], requests: list[bytes], rates: tuple[int, ...], duration_s: float
) -> dict[str, float]:
    """Return the metrics of one server."""
    metrics: dict[str, float] = {}
    following = round_robin(requests)
    for rate in rates:
        outcome = await open_loop(
            address, following, rate_per_s=rate, duration_s=duration_s, connections=CONNECTIONS
        )
        _check(outcome)
        metrics[f"p50_ms_at_{rate}_per_s"] = outcome.percentile_ms(50)
        metrics[f"p99_ms_at_{rate}_per_s"] = outcome.percentile_ms(99)
    peaks: list[float] = []
    for connections in PEAK_CONNECTIONS:
        outcome = await closed_loop(
            address, following, duration_s=duration_s / 2, connections=connections
        )
        _check(outcome)
        peaks.append(outcome.good / outcome.elapsed_s)
    metrics["peak_orders_per_s"] = max(peaks)
    return metrics


def _check(outcome: Outcome) -> None:
    bad = {status: count for status, count in outcome.statuses.items() if status != 200}
    if bad:
        raise SystemExit(f"answers other than 200: {bad}")


@contextlib.contextmanager
def running_market() -> Iterator[tuple[Product, list[Trader], float]]:
    """Run the product with TRADERS rich traders of one symbol; with the disk's sync time in ms."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as folder,
        running_product(
            Path(folder).absolute(),
            workers=2,
            symbols={"KIM": "50.00"},
            traders=TRADERS,
            cash=100_000_000_000 * CASH_SCALE,
            shares=10_000_000 * QUANTITY_SCALE,
        ) as (product, traders),
    ):
        yield product, traders, fsync_p50_ms(Path(folder))


def ours(duration_s: float) -> tuple[dict[str, float], dict[str, float]]:
    """Measure the product; returns (metrics, CPU per order by process)."""
    with running_market() as (product, traders, fsync_ms):
        address = ("127.0.0.1", product.port)
        requests = order_requests(traders)
        metrics = uvloop.run(measure(address, requests, RATES_PER_S, duration_s))
        metrics["fsync_p50_ms"] = fsync_ms
        cpu = uvloop.run(_cpu_per_order(address, requests, product.rows(), duration_s))
    return metrics, cpu


async def _cpu_per_order(
    address: tuple[str, int],
    requests: list[bytes],
    rows: list[dict[str, object]],
    duration_s: float,
) -> dict[str, float]:
    pids = {str(row["name"]): int(str(row["pid"])) for row in rows}
    before = {name: cpu_s([pid]) for name, pid in pids.items()}
    mine = time.process_time()
    outcome = await open_loop(
        address,
        round_robin(requests),
        rate_per_s=5_000,
        duration_s=duration_s,
        connections=CONNECTIONS,
    )
    orders = outcome.good * (1 + 1.0 / duration_s)
    used = {
        f"cpu_us_per_order_{n}": (cpu_s([p]) - before[n]) / orders * 1e6 for n, p in pids.items()
    }
    used["cpu_us_per_order_load"] = (time.process_time() - mine) / orders * 1e6
    return used


@contextlib.contextmanager
def fastapi_peer(folder: Path) -> Iterator[int]:
    """Start the peer with two workers; yields its port."""
    packages = python_package("fastapi", ["fastapi", "uvicorn[standard]"])
    port = free_port()
    environment = {
        **os.environ,
        "ORDERS_DATABASE": str(folder / "orders.db"),
        "PYTHONPATH": str(packages),
    }
    command = [
        sys.executable, "-m", "uvicorn", "fastapi_orders:app", "--workers", "2", "--log-level",
        "warning", "--no-access-log", "--port", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=Path(__file__).parent / "peers", env=environment)
    try:
        asyncio.run(_wait_for_port(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def _wait_for_port(port: int) -> None:
    limit = time.monotonic() + PEER_START_LIMIT_S
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(1.0)
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the peer did not start")


def peer(duration_s: float) -> dict[str, float]:
    """Measure FastAPI with one SQL commit per order."""
    traders = [Trader(f"t{i}", f"key{i}", "secret", 0, 0) for i in range(TRADERS)]
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as folder,
        fastapi_peer(Path(folder).absolute()) as port,
    ):
        address = ("127.0.0.1", port)
        return uvloop.run(measure(address, order_requests(traders), PEER_RATES_PER_S, duration_s))


def main() -> int:
    """Run the benchmark."""
    chosen = options(__doc__ or "")
    duration_s = QUICK_S if chosen.quick else FULL_S
    result = Report("orders")
    result.ours, cpu = ours(duration_s)
    try:
        result.peers["fastapi"] = peer(duration_s)
    except PeerMissing as error:
        say(str(error))
        result.conditions["fastapi"] = f"not measured: {error}"
    result.conditions |= {
        "load": f"same machine, one process, {CONNECTIONS} connections",
        "workers": 2,
        "durable": "fdatasync before every answer",
        **{name: round(value, 1) for name, value in cpu.items()},
    }
    result.print(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
