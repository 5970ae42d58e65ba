"""A worker in its cluster: whose sockets it accepts from."""

from __future__ import annotations

import socket

from madang.cluster.process import Process
from madang.edge.server import Server


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
