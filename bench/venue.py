"""Orders through the venue: from the bus in another process, into the log, durable, and back.

A process of its own runs the whole venue role (lease, recovery, sequencer, log on this machine's
disk, engine). This process sends new orders over the bus as a worker's gateway does, several in one
request, and counts an order when its RESULT is back; by then the batch was synced. First as fast as
it goes with a bounded number under way (`orders_per_s`), then open loop at a fixed rate, the
latency counted from when each request should have left (`p50_ms`, `p99_ms`).

The peer is what an ordinary Python program would do for the same promise: SQLite, one transaction
per request of the same size, `synchronous=FULL`, in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import harness
from madang.bus import Bus, BusSettings, open_unix_bus
from madang.cluster.process import Identity, Process, Surroundings
from madang.core import log
from madang.exchange.engine import engine_name
from madang.exchange.subjects import COMMANDS, COMMITTED
from madang.exchange.venue import process as venue
from madang.exchange.venue.disk import RealDisk
from madang.wire.codes import OrderType, Side, TimeInForce
from madang.wire.commands import (
    OrderTerms,
    encode_create_account,
    encode_new_order,
    encode_transfer,
)
from madang.wire.events import HEADER_BYTES as EVENT_HEADER_BYTES
from madang.wire.events import RESULT_BODY, split_records

ACCOUNTS = 100
SYMBOLS = 8
PER_REQUEST = 100
UNDER_WAY = 64
SHARE = 10**9
SERVE = "--serve"
TIMEOUT_MS = 20_000


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def serve(folder: Path) -> None:
    instruments = [{"symbol": f"S{number}", "reference_price": "100"} for number in range(SYMBOLS)]
    options = {"instruments": instruments}
    identity = Identity("venue", "venue", 0, 1, 1)
    surroundings = Surroundings(options, folder / "state", folder / "run")
    process = Process(identity, surroundings, lambda: None)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), process.request_stop)
    log.configure("venue", "error")
    await venue.main(process)


def make_requests(count: int) -> list[bytes]:
    """Return requests of orders in pairs that trade with each other, so the book stays small."""
    requests = []
    number = 0
    for _ in range(count):
        orders = []
        for _ in range(PER_REQUEST // 2):
            pair = number // 2
            for side in (Side.BUY, Side.SELL):
                terms = OrderTerms(
                    instrument=pair % SYMBOLS + 1,
                    side=side,
                    type=OrderType.LIMIT,
                    time_in_force=TimeInForce.GTC,
                    quantity=SHARE,
                    limit_price=1_000_000,
                )
                account = (pair + (side == Side.SELL)) % ACCOUNTS + 1
                cid = b"order-%d" % number
                orders.append(encode_new_order(account, os.urandom(16), terms, cid))
                number += 1
        requests.append(b"".join(orders))
    return requests


def count_good(answer: bytes) -> int:
    """Return how many RESULTs say OK; stop the run where one does not."""
    good = 0
    for _, offset, _ in split_records(answer):
        reason = RESULT_BODY.unpack_from(answer, offset + EVENT_HEADER_BYTES)[1]
        if reason:
            raise SystemExit(f"an order was refused with reason {reason}")
        good += 1
    return good


async def prepare(bus: Bus) -> None:
    commands = [
        encode_create_account(os.urandom(16), b"trader %d" % number)
        for number in range(1, ACCOUNTS + 1)
    ]
    for number in range(1, ACCOUNTS + 1):
        commands.append(encode_transfer(number, os.urandom(16), 0, 10**15))
        commands += [
            encode_transfer(number, os.urandom(16), symbol, 10**15)
            for symbol in range(1, SYMBOLS + 1)
        ]
    for start in range(0, len(commands), PER_REQUEST):
        answer = await bus.request(
            COMMANDS, b"".join(commands[start : start + PER_REQUEST]), TIMEOUT_MS
        )
        count_good(answer)


async def flood(bus: Bus, requests: list[bytes]) -> float:
    """Return orders per second with UNDER_WAY requests always open."""
    pending = iter(requests)
    answered: list[bytes] = []

    async def one_of_many() -> None:
        for request in pending:
            answer = await bus.request(COMMANDS, request, TIMEOUT_MS)
            answered.append(answer)

    start = time.perf_counter()
    await asyncio.gather(*[one_of_many() for _ in range(UNDER_WAY)])
    taken = time.perf_counter() - start
    return sum(map(count_good, answered)) / taken


async def open_loop(bus: Bus, requests: list[bytes], rate: float) -> list[float]:
    """Return the latency of each request in ms, from the moment it was due."""
    taken: list[float] = []

    async def one(request: bytes, due: float) -> None:
        answer = await bus.request(COMMANDS, request, TIMEOUT_MS)
        taken.append((time.perf_counter() - due) * 1000)
        assert answer

    start = time.perf_counter()
    tasks = []
    for number, request in enumerate(requests):
        due = start + number * PER_REQUEST / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(request, due)))
    await asyncio.gather(*tasks)
    return taken


def sqlite_peer(folder: Path, transactions: int) -> dict[str, float]:
    base = sqlite3.connect(folder / "peer.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, account, cid, side, qty, price, "
        "UNIQUE (account, cid))"
    )
    taken = []
    start = time.perf_counter()
    for number in range(transactions):
        begin = time.perf_counter()
        base.execute("BEGIN")
        base.executemany(
            "INSERT INTO orders (account, cid, side, qty, price) VALUES (?, ?, ?, ?, ?)",
            [
                (index % ACCOUNTS, f"order-{number}-{index}", index & 1, SHARE, 1_000_000)
                for index in range(PER_REQUEST)
            ],
        )
        base.execute("COMMIT")
        taken.append((time.perf_counter() - begin) * 1000)
    orders_per_s = transactions * PER_REQUEST / (time.perf_counter() - start)
    base.close()
    return {"orders_per_s": round(orders_per_s), "p99_ms": round(percentile(taken, 0.99), 3)}


async def measure(folder: Path, quick: bool) -> dict[str, float]:
    bus = await open_unix_bus(BusSettings("bench", folder / "run" / "bus"))
    if not await bus.wait_for_server(COMMANDS, TIMEOUT_MS):
        raise SystemExit("the venue did not start")
    await prepare(bus)
    count = 5_000 if quick else 10_000
    requests = make_requests(count * 2 + 500)
    answer = await bus.request(COMMANDS, requests[0], TIMEOUT_MS)
    assert count_good(answer) == PER_REQUEST
    await flood(bus, requests[1:500])
    peak = await flood(bus, requests[500 : 500 + count])
    rate = min(100_000.0, peak * 0.8)
    taken = await open_loop(bus, requests[500 + count : 500 + 2 * count], rate)
    committed = await bus.request(COMMITTED, b"", TIMEOUT_MS)
    await bus.close()
    return {
        "orders_per_s": round(peak),
        "p50_ms": round(percentile(taken, 0.5), 3),
        "p99_ms": round(percentile(taken, 0.99), 3),
        "open_loop_rate_per_s": round(rate),
        "commands": int.from_bytes(committed[8:], "little"),
    }


def fsync_p50_ms(folder: Path) -> float:
    """Return what one sync of 4 KB costs here, so that the numbers can be read."""
    file = RealDisk().open(folder / "probe", create=True)
    file.pwrite(bytes(400 * 4096), 0)
    file.fdatasync()
    taken = []
    for number in range(400):
        begin = time.perf_counter()
        file.pwrite(b"x" * 4096, number * 4096)
        file.fdatasync()
        taken.append((time.perf_counter() - begin) * 1000)
    file.close()
    return round(percentile(taken, 0.5), 3)


def run(folder: Path, quick: bool) -> dict[str, float]:
    (folder / "run").mkdir()
    sync_ms = fsync_p50_ms(folder)
    command = [sys.executable, "-m", "bench.venue", SERVE, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as server:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return {**runner.run(measure(folder, quick)), "fsync_p50_ms": sync_ms}
        finally:
            assert server.stdin is not None
            server.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == SERVE:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(Path(sys.argv[2])))
        return
    options = harness.options("Orders through the venue: bus, log, engine, and back.")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        harness.say("the venue")
        found = run(Path(name), options.quick)
        harness.say("the peer")
        peer = sqlite_peer(Path(name), 500 if options.quick else 2_000)
    metrics = ("orders_per_s", "p50_ms", "p99_ms")
    report = harness.Report("venue", {key: found[key] for key in metrics}, {"sqlite": peer})
    report.conditions = {
        "engine": engine_name(),
        "orders_per_request": PER_REQUEST,
        "requests_under_way": UNDER_WAY,
        "open_loop_rate_per_s": found["open_loop_rate_per_s"],
        "fsync_p50_ms": found["fsync_p50_ms"],
        "commands": found["commands"],
        "peer": "SQLite WAL, synchronous=FULL, one transaction per request, in process",
    }
    report.print(options)


if __name__ == "__main__":
    main()
