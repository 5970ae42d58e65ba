"""A server in its cluster: whose sockets it accepts from."""

from __future__ import annotations

import socket
from typing import Protocol

from madang.cluster.process import Process


class Accepting(Protocol):
    """A server that sockets are given to and taken from; they stay the process's."""

    def add_socket(self, sock: socket.socket) -> None:
        """Accept on one more bound socket, soon."""
        ...

    def remove_socket(self, sock: socket.socket) -> None:
        """Stop accepting on a socket."""
        ...


def follow(process: Process, server: Accepting) -> None:
    """Take neighbours' sockets as they come; leave our own while another generation serves."""
    own = [group[0] for group in process.sockets.values()]

    def accept(wanted: bool) -> None:
        for sock in own:
            if wanted:
                server.add_socket(sock)
            else:
                server.remove_socket(sock)

    process.on_socket(
        lambda _, sock: server.add_socket(sock), lambda _, sock: server.remove_socket(sock)
    )
    process.on_accepting(accept)
    if process.accepting:
        accept(True)
