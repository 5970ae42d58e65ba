"""A crowd that comes and stays, then newcomers while one worker hangs: the load of bench/spread.py.

`python -m bench.crowd PORT CONNECTIONS` prints one JSON object: `held`, the pid behind each
connection; `to_hung`, how many newcomers got the hung worker (or nobody) though they came later
than AVOIDED_AFTER_S; `last_to_hung_ms`, when the last of all who got it came; `slowest_ms`, the
longest that any other newcomer waited who came later than that, `slowest_before_ms` of those who
came before. Times count from the request to hang.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import NamedTuple, cast

import uvloop

HOST = "127.0.0.1"
COMING_S = 2.0
NEWCOMERS_PER_S = 200
NEWCOMERS_S = 2.0
AVOIDED_AFTER_S = 0.5
ANSWER_LIMIT_S = 8.0


class Newcomer(NamedTuple):
    """When one came after the request to hang, how long it waited, and who answered (0: nobody)."""

    at_s: float
    waited_s: float
    pid: int


class Visitor(asyncio.Protocol):
    """One connection that asks for the pid."""

    def __init__(self) -> None:
        self.pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.answers = 0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""

        self.transport = cast("asyncio.Transport", transport)
        self.ask(b"/")

    def ask(self, path: bytes) -> None:
        """Send a request."""
        self.transport.write(b"GET " + path + b" HTTP/1.1\r\nhost: bench\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        """Take the pid out of the first answer."""
        self.answers += data.count(b"HTTP/1.1 200")
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self.pid.done():
            return
        if b"chunked" in head.lower():
            body = body.split(b"\r\n")[1] if body.endswith(b"0\r\n\r\n") else b""
        if body:
            self.pid.set_result(int(body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail a request that has no answer."""
        if not self.pid.done():
            self.pid.set_exception(exc or ConnectionResetError("closed without an answer"))


async def come(port: int) -> Visitor:
    """Connect and ask."""
    _, visitor = await asyncio.get_running_loop().create_connection(Visitor, HOST, port)
    return visitor


async def crowd(port: int, count: int) -> list[Visitor]:
    """Let `count` come within COMING_S, and wait until each knows its worker."""
    began_s = time.monotonic()

    async def one(number: int) -> Visitor:
        await asyncio.sleep(began_s + COMING_S * number / count - time.monotonic())
        return await come(port)

    visitors = await asyncio.gather(*(one(number) for number in range(count)))
    await asyncio.gather(*(visitor.pid for visitor in visitors))
    return visitors


async def newcomer(port: int, hung_s: float) -> Newcomer:
    """Come once, and go when answered."""
    at_s = time.monotonic()
    pid = 0
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            visitor = await come(port)
            pid = await visitor.pid
        visitor.transport.close()
    except (OSError, TimeoutError):
        pass
    return Newcomer(at_s - hung_s, time.monotonic() - at_s, pid)


async def run(port: int, count: int) -> dict[str, object]:
    """Run both parts."""
    visitors = await crowd(port, count)
    held = [visitor.pid.result() for visitor in visitors]
    visitors[0].ask(b"/hang")
    hung, hung_s = held[0], time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[Newcomer]] = []
        while (passed_s := time.monotonic() - hung_s) < NEWCOMERS_S:
            while len(tasks) < passed_s * NEWCOMERS_PER_S:
                tasks.append(group.create_task(newcomer(port, hung_s)))
            await asyncio.sleep(1 / NEWCOMERS_PER_S)
        assert visitors[0].answers == 1, "the worker did not hang"
    found = [task.result() for task in tasks]
    unlucky = [one for one in found if one.pid in (hung, 0)]
    others = [one for one in found if one not in unlucky]
    return {
        "held": held,
        "to_hung": sum(one.at_s > AVOIDED_AFTER_S for one in unlucky),
        "last_to_hung_ms": max((one.at_s for one in unlucky), default=0.0) * 1e3,
        "slowest_ms": max(one.waited_s for one in others if one.at_s > AVOIDED_AFTER_S) * 1e3,
        "slowest_before_ms": max(one.waited_s for one in others) * 1e3,
    }


def main() -> None:
    """Run the crowd that the command line describes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(uvloop.run(run(int(sys.argv[1]), int(sys.argv[2])))))


if __name__ == "__main__":
    main()
