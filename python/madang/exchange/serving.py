"""A worker in its cluster: whose sockets it accepts from, and the numbers that it shows."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from madang.cluster.process import Process
from madang.edge import Server

SCORES_PERIOD_S: Final = 0.05
"""How often the numbers are written; the balance of new connections is made from them."""


def follow(process: Process, server: Server, own: list[socket.socket]) -> None:
    """Take neighbours' sockets as they come; leave our own while another generation serves.

    The server closes what it leaves, so it is always given a copy of our own.
    """
    serving: list[socket.socket] = []

    def accept(wanted: bool) -> None:
        for copy in serving:
            server.remove_socket(copy)
        serving.clear()
        if wanted:
            serving.extend(listener.dup() for listener in own)
            for copy in serving:
                server.add_socket(copy)

    def take(_port: str, listener: socket.socket) -> None:
        if listener not in own:
            server.add_socket(listener)

    process.on_socket(take, lambda _, listener: server.remove_socket(listener))
    process.on_accepting(accept)
    if process.accepting:
        accept(True)


async def show_scores(process: Process, server: Server) -> None:
    """Write this worker's numbers into the scoreboard until cancelled."""
    scores = process.scores
    while True:
        found = server.statistics()
        scores.connections = found["connections"]
        scores.websockets = found["websockets"]
        scores.in_flight = found["in_flight"]
        scores.requests = found["requests"]
        scores.errors = found["errors"]
        await asyncio.sleep(SCORES_PERIOD_S)
