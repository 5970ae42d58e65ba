"""Steady HTTP load that notices everything: new connections and kept ones, each answer or failure.

Runs in a process of its own (`python -m bench.steady_load PORT SECONDS`): a server that dies
does not disturb the clock of its clients. It prints `started` when every kept connection has had an
answer, then at the end one JSON object: answers, every failure with its times (monotonic
nanoseconds, the same clock in all processes of a machine), every answer that took longer than a
second (`slow`: sent, answered), and the longest gap between answers.

A kept connection that the server closed before a request was sent is opened anew and counted
(`reopened`), as every client does; a request that was sent and not answered is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

REQUEST = b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n"
ANSWER_LIMIT_S = 5.0
CONNECT_LIMIT_S = 5.0
FAILURES_MAX = 10_000
SLOW_NS = 1_000_000_000
ESTABLISHED = 1
"""What TCP_INFO begins with while neither side has closed."""


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    answers: int = 0
    errors: int = 0
    reopened: int = 0
    last_ns: int = 0
    longest_gap_ns: int = 0
    failures: list[tuple[str, str, int, int]] = field(default_factory=list)
    slow: list[tuple[int, int]] = field(default_factory=list)

    def answered(self, status: int, sent_ns: int) -> None:
        """Count an answer, and the time since the one before; remember a slow one."""
        now_ns = time.monotonic_ns()
        if now_ns - sent_ns > SLOW_NS and len(self.slow) < FAILURES_MAX:
            self.slow.append((sent_ns, now_ns))
        if self.last_ns:
            self.longest_gap_ns = max(self.longest_gap_ns, now_ns - self.last_ns)
        self.last_ns = now_ns
        self.answers += 1
        if status >= 500:
            self.errors += 1

    def failed(self, kind: str, why: str, sent_ns: int) -> None:
        """Note a request that was not answered."""
        if len(self.failures) < FAILURES_MAX:
            self.failures.append((kind, why, sent_ns, time.monotonic_ns()))


class Connection(asyncio.Protocol):
    """One request at a time; `answer` is the status, or an exception that says what went wrong."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.lost = False
        self.closing = False
        self.answer: asyncio.Future[int] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take an answer; its body ends with its length."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self.answer is None:
            return
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            whole = body.endswith(b"0\r\n\r\n")
        else:
            _, _, rest = lowered.partition(b"content-length:")
            whole = len(body) >= int(rest.partition(b"\r\n")[0] or 0)
        if whole:
            self.closing = b"connection: close" in lowered
            self._received = b""
            answer, self.answer = self.answer, None
            if not answer.done():
                answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way."""
        self.lost = True
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("closed without an answer"))

    def is_over(self) -> bool:
        """Return whether the server has closed it: the kernel knows before the loop has looked."""
        if self.lost or self.closing:
            return True
        peer: socket.socket = self.transport.get_extra_info("socket")
        return peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED

    async def ask(self, request: bytes) -> int:
        """Send and return the status. Raises OSError or TimeoutError."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await self.answer


@dataclass(frozen=True, slots=True)
class Plan:
    """How much load, and how long at most."""

    seconds: float
    new_per_s: int
    kept: int
    pause_s: float


class SteadyLoad:
    """All clients of one run."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self.tally = Tally()
        self._ending = False
        self._answered_kept = 0

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_LIMIT_S):
            _, connection = await loop.create_connection(Connection, *self._address)
        return connection

    async def one_new(self) -> None:
        """Ask once on a connection of its own."""
        began_ns = time.monotonic_ns()
        try:
            connection = await self._connect()
        except (OSError, TimeoutError) as error:
            self.tally.failed("refused", repr(error), began_ns)
            return
        try:
            self.tally.answered(await connection.ask(LAST_REQUEST), began_ns)
        except (OSError, TimeoutError) as error:
            self.tally.failed("new", repr(error), began_ns)
        finally:
            connection.transport.close()

    async def keep_asking(self, pause_s: float) -> None:
        """Ask again and again on one connection."""
        connection: Connection | None = None
        while not self._ending:
            sent_ns = time.monotonic_ns()
            try:
                if connection is None:
                    connection = await self._connect()
            except (OSError, TimeoutError) as error:
                self.tally.failed("refused", repr(error), sent_ns)
                await asyncio.sleep(pause_s)
                continue
            try:
                self.tally.answered(await connection.ask(REQUEST), sent_ns)
                self._answered_kept += 1
            except (OSError, TimeoutError) as error:
                self.tally.failed("kept", repr(error), sent_ns)
                connection.transport.abort()
                connection = None
            await asyncio.sleep(pause_s)
            if connection is not None and connection.is_over():
                self.tally.reopened += 1
                connection.transport.close()
                connection = None
        if connection is not None:
            connection.transport.close()

    async def run(self, plan: Plan, *, until_input_ends: bool) -> None:
        """Run the load, then let what is under way end."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.kept):
                group.create_task(self.keep_asking(plan.pause_s))
            while self._answered_kept < plan.kept:  # noqa: ASYNC110 - a count of many clients
                await asyncio.sleep(0.01)
            print("started", flush=True)
            if until_input_ends:
                loop.add_reader(sys.stdin.fileno(), self._end)
            began_s = loop.time()
            asked = 0
            while not self._ending and (passed_s := loop.time() - began_s) < plan.seconds:
                while asked < passed_s * plan.new_per_s:
                    group.create_task(self.one_new())
                    asked += 1
                await asyncio.sleep(1 / plan.new_per_s)
            self._end()
        loop.remove_reader(sys.stdin.fileno())

    def _end(self) -> None:
        self._ending = True


def main() -> None:
    """Parse the command line, run, print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--new-per-s", type=int, default=200)
    parser.add_argument("--kept", type=int, default=50)
    parser.add_argument("--pause-ms", type=float, default=100.0)
    parser.add_argument("--until-input-ends", action="store_true", help="SECONDS is the longest")
    given = parser.parse_args()
    load = SteadyLoad(given.host, given.port)
    plan = Plan(given.seconds, given.new_per_s, given.kept, given.pause_ms / 1_000)
    uvloop.run(load.run(plan, until_input_ends=given.until_input_ends))
    tally = load.tally
    print(
        json.dumps(
            {
                "answers": tally.answers,
                "errors": tally.errors,
                "reopened": tally.reopened,
                "longest_gap_ms": tally.longest_gap_ns / 1e6,
                "failures": tally.failures,
                "slow": tally.slow,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
