"""From an order over WebSocket to its durable acknowledgement, on the trading stream.

Method: as `bench.orders`: the whole product (two workers, venue, ledger, feed) and the load share
this machine, orders cross at one price, so half of them trade. Open loop at 5,000 orders/s: latency
runs from when an order was due. The peak is the highest of closed loops in which every connection
keeps some orders under way. An order counts when its answer says 200, which is after its fdatasync.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final, cast

import uvloop

from bench.harness import Report, Stopwatch, options, percentile
from bench.orders import cpu_s, running_market
from tests.drill.product import Trader

CONNECTIONS: Final = 128
RATE_PER_S: Final = 5_000
UNDER_WAY: Final = (1, 2, 4, 8)
"""Orders that each connection keeps under way in the closed loops."""
BURST_S: Final = 0.001
WARMUP_S: Final = 1.0
LIMIT_S: Final = 20.0
QUICK_S: Final = 2.0
FULL_S: Final = 8.0
_KEY: Final = b'{"stream":"orders","data":{"id":"'
_GOOD: Final = b'"status":200'
_TWO_BYTES, _EIGHT_BYTES = 126, 127


def frame(payload: bytes) -> bytes:
    """Return a client's text frame; its mask of zeros is a valid one and costs no time."""
    if len(payload) < _TWO_BYTES:
        head = bytes((0x81, 0x80 | len(payload)))
    else:
        head = bytes((0x81, 0x80 | _TWO_BYTES)) + len(payload).to_bytes(2, "big")
    return head + bytes(4) + payload


class Load:
    """What all connections share."""

    def __init__(self) -> None:
        self.sent = 0
        self.good = 0
        self.bad: list[bytes] = []
        self.due_ns: dict[bytes, int] = {}
        self.latencies_ns: list[int] = []
        self.until_ns = 0
        self.empty = asyncio.Event()


class Client(asyncio.Protocol):
    """One connection of one trader, signed in."""

    def __init__(self, load: Load, trader: Trader, side: str) -> None:
        self._load = load
        self._trader = trader
        self._buffer = bytearray()
        self.ready = asyncio.Event()
        self._upgraded = False
        self._order = (
            f'","op":"place","symbol":"KIM","qty":"1","side":"{side}","type":"limit",'
            '"time_in_force":"day","limit_price":"50.00"}}'
        ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(
            b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )

    def send(self, due_ns: int) -> None:
        """Send an order."""
        load = self._load
        load.sent += 1
        name = b"%d" % load.sent
        load.due_ns[name] = due_ns
        self.transport.write(frame(b'{"action":"order","data":{"id":"' + name + self._order))

    def data_received(self, data: bytes) -> None:
        """Take whole frames."""
        buffer = self._buffer
        buffer += data
        at = 0
        if not self._upgraded:
            at = buffer.find(b"\r\n\r\n") + 4
            self._upgraded = True
            keys = {"key_id": self._trader.key_id, "secret_key": self._trader.secret}
            said = json.dumps({"action": "authenticate", "data": keys}).encode()
            self.transport.write(frame(said))
        while len(buffer) - at > 4:
            length = buffer[at + 1]
            begin = at + 2
            if length == _TWO_BYTES:
                length = int.from_bytes(buffer[at + 2 : at + 4], "big")
                begin = at + 4
            elif length == _EIGHT_BYTES:
                raise SystemExit("a frame of this size is no answer")
            if len(buffer) < begin + length:
                break
            self._take(bytes(buffer[begin : begin + length]))
            at = begin + length
        del buffer[:at]

    def _take(self, payload: bytes) -> None:
        if not payload.startswith(_KEY):
            assert b'"authorized"' in payload, payload
            self.ready.set()
            return
        load = self._load
        end = payload.index(b'"', len(_KEY))
        due_ns = load.due_ns.pop(payload[len(_KEY) : end])
        now_ns = time.monotonic_ns()
        if payload.startswith(_GOOD, end + 2):
            load.good += 1
            load.latencies_ns.append(now_ns - due_ns)
        else:
            load.bad.append(payload)
        if now_ns < load.until_ns:
            self.send(now_ns)
        elif not load.due_ns:
            load.empty.set()


async def connect(address: tuple[str, int], traders: list[Trader]) -> list[Client]:
    """Return signed-in connections, every second one of a trader that sells."""
    loop = asyncio.get_running_loop()
    load = Load()
    clients = []
    for number in range(CONNECTIONS):
        trader = traders[number % len(traders)]
        side = "buy" if number % len(traders) % 2 else "sell"
        _, client = await loop.create_connection(
            lambda trader=trader, side=side: Client(load, trader, side),  # type: ignore[misc]
            *address,
        )
        clients.append(client)
        await asyncio.wait_for(client.ready.wait(), LIMIT_S)
    return clients


def fresh(clients: list[Client]) -> Load:
    """Return new counters for all connections."""
    load = Load()
    for client in clients:
        client._load = load
    return load


async def finish(load: Load) -> None:
    """Wait for the last answers; an order that was refused or not answered ends the run."""
    while load.due_ns:
        load.empty.clear()
        await asyncio.wait_for(load.empty.wait(), LIMIT_S)
    if load.bad:
        raise SystemExit(f"{len(load.bad)} refused, the first: {load.bad[0]!r}")


async def open_loop(clients: list[Client], rate_per_s: int, duration_s: float) -> Load:
    """Send orders when they are due, whatever the answers do."""
    load = fresh(clients)
    begin_ns = time.monotonic_ns()
    count = int(rate_per_s * (WARMUP_S + duration_s))
    interval_ns = 1_000_000_000 // rate_per_s
    warm = int(rate_per_s * WARMUP_S)
    number = 0
    while number < count:
        now_ns = time.monotonic_ns()
        while number < count and (due_ns := begin_ns + number * interval_ns) <= now_ns:
            clients[number % len(clients)].send(due_ns)
            number += 1
            if number == warm:
                load.latencies_ns.clear()
        await asyncio.sleep(BURST_S)
    await finish(load)
    return load


async def closed_loop(clients: list[Client], under_way: int, duration_s: float) -> float:
    """Return orders acknowledged per second, each connection keeping `under_way` going."""
    load = fresh(clients)
    begin_ns = time.monotonic_ns()
    load.until_ns = begin_ns + int(duration_s * 1e9)
    for client in clients:
        for _ in range(under_way):
            client.send(time.monotonic_ns())
    await asyncio.sleep(duration_s)
    good = load.good
    elapsed_s = (time.monotonic_ns() - begin_ns) / 1e9
    await finish(load)
    return good / elapsed_s


async def measure(
    address: tuple[str, int],
    traders: list[Trader],
    rows: list[dict[str, object]],
    duration_s: float,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return (metrics, CPU per order by process at the fixed rate)."""
    clients = await connect(address, traders)
    pids = {str(row["name"]): int(str(row["pid"])) for row in rows}
    before = {name: cpu_s([pid]) for name, pid in pids.items()}
    with Stopwatch() as watch:
        load = await open_loop(clients, RATE_PER_S, duration_s)
    used = {
        f"cpu_us_per_order_{name}": (cpu_s([pid]) - before[name]) / load.sent * 1e6
        for name, pid in pids.items()
    }
    used["cpu_us_per_order_load"] = watch.cpu_s / load.sent * 1e6
    latencies = sorted(load.latencies_ns)
    metrics = {
        f"p50_ms_at_{RATE_PER_S}_per_s": percentile(latencies, 0.5) / 1e6,
        f"p99_ms_at_{RATE_PER_S}_per_s": percentile(latencies, 0.99) / 1e6,
    }
    peaks = [await closed_loop(clients, under_way, duration_s / 2) for under_way in UNDER_WAY]
    metrics["peak_orders_per_s"] = max(peaks)
    for client in clients:
        client.transport.close()
    return metrics, used


def main() -> int:
    """Run the benchmark."""
    chosen = options(__doc__ or "")
    duration_s = QUICK_S if chosen.quick else FULL_S
    result = Report("ws_orders")
    with running_market() as (product, traders, fsync_ms):
        address = ("127.0.0.1", product.port)
        result.ours, used = uvloop.run(measure(address, traders, product.rows(), duration_s))
        result.ours["fsync_p50_ms"] = fsync_ms
    result.conditions |= {
        "load": f"same machine, one process, {CONNECTIONS} connections",
        "workers": 2,
        "durable": "fdatasync before every answer",
        **{name: round(value, 1) for name, value in used.items()},
    }
    result.print(chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
