"""Open-loop HTTP load from one process: requests leave when they are due, whatever the answers do.

A request that is due while every connection is busy waits for one, and its wait counts: latency
runs from the time it was due (no coordinated omission). Requests are prebuilt bytes; answers are
only scanned for their status and length, so the client costs little of the shared cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from bench.pacer import Pacer

WARMUP_S = 1.0
DRAIN_LIMIT_S = 20.0


class Outcome(NamedTuple):
    """What one run measured; latencies in ns, sorted."""

    latencies_ns: list[int]
    statuses: dict[int, int]
    elapsed_s: float
    offered: int

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latency."""
        if not self.latencies_ns:
            return float("nan")
        index = min(len(self.latencies_ns) - 1, int(len(self.latencies_ns) * percent / 100))
        return self.latencies_ns[index] / 1e6

    @property
    def good(self) -> int:
        """Answers with status 200."""
        return self.statuses.get(200, 0)


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._buffer = b""
        self.due_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = buffer
            return
        head = buffer[:end].lower()
        at = head.find(b"content-length:")
        stop = head.find(b"\r", at)
        length = int(head[at + 15 : stop if stop > 0 else None]) if at >= 0 else 0
        if len(buffer) < end + 4 + length:
            self._buffer = buffer
            return
        self._buffer = b""
        self._run.answered(self, int(buffer[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(self)


class _Run:
    def __init__(self, requests: Callable[[], bytes], measure_from_ns: int) -> None:
        self._requests = requests
        self._measure_from_ns = measure_from_ns
        self.idle: list[_Connection] = []
        self.waiting: deque[int] = deque()
        self.latencies_ns: list[int] = []
        self.statuses: dict[int, int] = {}
        self.under_way = 0
        self.closed_loop_until_ns = 0
        self.finishing = False
        self.empty = asyncio.Event()

    def due(self, due_ns: int) -> None:
        """Send a request, or let it wait for a connection."""
        if self.idle:
            self._send(self.idle.pop(), due_ns)
        else:
            self.waiting.append(due_ns)

    def _send(self, connection: _Connection, due_ns: int) -> None:
        connection.due_ns = due_ns
        self.under_way += 1
        connection.transport.write(self._requests())

    def answered(self, connection: _Connection, status: int) -> None:
        now_ns = time.monotonic_ns()
        self.under_way -= 1
        if connection.due_ns >= self._measure_from_ns:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.latencies_ns.append(now_ns - connection.due_ns)
        if self.waiting:
            self._send(connection, self.waiting.popleft())
        elif now_ns < self.closed_loop_until_ns:
            self._send(connection, now_ns)
        else:
            self.idle.append(connection)
            if self.finishing and not self.under_way:
                self.empty.set()

    def lost(self, connection: _Connection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)


async def _connect(run: _Run, address: tuple[str, int], connections: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        _, protocol = await loop.create_connection(lambda: _Connection(run), *address)
        run.idle.append(protocol)


async def _finish(run: _Run, started_ns: int, offered: int) -> Outcome:
    run.finishing = True
    if run.under_way or run.waiting:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.empty.wait(), DRAIN_LIMIT_S)
    elapsed_s = (time.monotonic_ns() - started_ns) / 1e9
    for connection in list(run.idle):
        connection.transport.close()
    return Outcome(sorted(run.latencies_ns), run.statuses, elapsed_s, offered)


async def open_loop(
    address: tuple[str, int],
    requests: Callable[[], bytes],
    *,
    rate_per_s: int,
    duration_s: float,
    connections: int,
) -> Outcome:
    """Offer `rate_per_s` evenly for `duration_s` after a warm-up at the same rate."""
    start_ns = time.monotonic_ns() + 50_000_000
    measure_ns = start_ns + int(WARMUP_S * 1e9)
    run = _Run(requests, measure_ns)
    await _connect(run, address, connections)
    total = int((WARMUP_S + duration_s) * rate_per_s)
    step_ns = 1_000_000_000 // rate_per_s
    sent = 0
    over = asyncio.Event()
    start_ns = time.monotonic_ns()
    run._measure_from_ns = start_ns + int(WARMUP_S * 1e9)

    def send_due() -> None:
        nonlocal sent
        now_ns = time.monotonic_ns()
        while sent < total and start_ns + sent * step_ns <= now_ns:
            run.due(start_ns + sent * step_ns)
            sent += 1
        if sent == total:
            over.set()

    pacer = Pacer(send_due)
    await over.wait()
    pacer.close()
    offered = int(duration_s * rate_per_s)
    return await _finish(run, run._measure_from_ns, offered)


async def closed_loop(
    address: tuple[str, int],
    requests: Callable[[], bytes],
    *,
    duration_s: float,
    connections: int,
) -> Outcome:
    """Send as fast as `connections` connections with one request each allow."""
    start_ns = time.monotonic_ns()
    run = _Run(requests, start_ns + int(WARMUP_S * 1e9))
    await _connect(run, address, connections)
    run.closed_loop_until_ns = time.monotonic_ns() + int((WARMUP_S + duration_s) * 1e9)
    for connection in list(run.idle):
        run.idle.remove(connection)
        run._send(connection, time.monotonic_ns())
    await asyncio.sleep(WARMUP_S + duration_s)
    return await _finish(run, start_ns + int(WARMUP_S * 1e9), len(run.latencies_ns))


def round_robin(requests: Sequence[bytes]) -> Callable[[], bytes]:
    """Return a function that gives one request after the other, for ever."""
    position = -1

    def following() -> bytes:
        nonlocal position
        position = (position + 1) % len(requests)
        return requests[position]

    return following
