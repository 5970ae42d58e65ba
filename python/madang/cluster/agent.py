"""The agent: tells balancers how much this machine can take, on ports of its own.

The agent port is for HAProxy, whose `agent-check` connects every few seconds and reads one line
(its configuration manual, "agent-check"): `up ready 75%`, `up drain`, `maint` or `down #reason`.
The share is the operator's weight times the part of the watched instances that are ready, so a
machine that lost half its workers gets half. The health port says the same to whoever asks by HTTP:
200, 404 draining, 503. The supervisor is asked once a period, whoever connects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from madang.cluster.control import ANSWER_BYTES_MAX, SOCKET_NAME
from madang.cluster.node import NodeState, NodeWatch, NodeWish
from madang.cluster.process import Process

NAME: Final = "agent"
AGENT_PORT: Final = "agent"
HEALTH_PORT: Final = "health"
CONNECTIONS_MAX: Final = 64
ANSWER_TIMEOUT_S: Final = 1.0
PERIOD_S: Final = 0.25
DRAINING: Final = "up drain"
STALE_S: Final = 2.0
"""After so long without an answer of the supervisor the machine counts as down."""

Row = Mapping[str, object]


def agent_line(wish: NodeWish, rows: Sequence[Row] | None, watched: frozenset[str]) -> str:
    """Return what the agent says; `rows` are those of `ls` (None: the supervisor is silent)."""
    if wish.state is NodeState.MAINTENANCE:
        return "maint"
    if rows is None:
        return "down #the supervisor does not answer"
    states = [row["state"] for row in rows if row["app"] in watched]
    ready = sum(state == "ready" for state in states)
    if not ready:
        return "down #no instance is ready"
    if wish.state is NodeState.DRAIN:
        return DRAINING
    return f"up ready {max(1, wish.weight_percent * ready // len(states))}%"


class Agent:
    """Asks the supervisor, remembers its answer, tells whoever connects."""

    def __init__(self, watch: NodeWatch, control: Path, watched: frozenset[str]) -> None:
        self._watch = watch
        self._control = control
        self._watched = watched
        self._rows: Sequence[Row] | None = None

    async def ask_for_ever(self) -> None:
        """Keep the supervisor's answer fresh."""
        loop = asyncio.get_running_loop()
        answered_s = loop.time()
        while True:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    self._rows = await self._ask()
                answered_s = loop.time()
            except (OSError, TimeoutError, ValueError, KeyError):
                if loop.time() - answered_s > STALE_S:
                    self._rows = None
            await asyncio.sleep(PERIOD_S)

    async def _ask(self) -> Sequence[Row]:
        reader, writer = await asyncio.open_unix_connection(
            str(self._control), limit=ANSWER_BYTES_MAX
        )
        try:
            writer.write(b'{"command": "ls"}\n')
            answer = json.loads(await reader.readline())
            rows: Sequence[Row] = answer["rows"]
            return rows
        finally:
            writer.close()

    def line(self) -> str:
        """Return the present line."""
        return agent_line(self._watch.wish(), self._rows, self._watched)

    def protocol(self, port: str) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of a connection to `port`."""
        kind = _HealthTeller if port == HEALTH_PORT else _LineTeller
        return lambda: kind(self.line)


class _LineTeller(asyncio.Protocol):
    """Writes the line and ends; what the other side sends is not read."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._line().encode("ascii") + b"\n")
        self._transport.close()


class _HealthTeller(asyncio.Protocol):
    """Answers the first bytes, whatever they ask, and ends; silence is cut."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(ANSWER_TIMEOUT_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        line = self._line()
        status = "404 Not Found" if line == DRAINING else "200 OK"
        if not line.startswith("up"):
            status = "503 Service Unavailable"
        self._transport.write(
            f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nconnection: close\r\n"
            f"content-length: {len(line) + 1}\r\n\r\n{line}\n".encode("ascii")
        )
        self._transport.close()


async def main(process: Process) -> None:
    """Run the agent; options: `applications`, the names whose instances count."""
    names = process.options["applications"]
    assert isinstance(names, list)
    agent = Agent(NodeWatch(process.state_dir), process.runtime_dir / SOCKET_NAME, frozenset(names))
    asking = asyncio.create_task(agent.ask_for_ever())
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(agent.protocol(port), sock=listener, backlog=CONNECTIONS_MAX)
        for port, listeners in process.sockets.items()
        for listener in listeners
    ]
    process.ready()
    await process.wait_stop()
    asking.cancel()
    for server in servers:
        server.close()
