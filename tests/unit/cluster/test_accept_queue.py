"""What the kernel says of the accept queue of a listening socket."""

from __future__ import annotations

import socket
import time

from madang.cluster.ports import Port
from madang.cluster.settings import PortSettings

BACKLOG = 4
CLIENTS = 32
LIMIT_S = 20.0


def test_waiting_connections_the_limit_and_drops_are_counted() -> None:
    port = Port(PortSettings("http", "127.0.0.1", 0), 1, BACKLOG)
    clients = [socket.socket() for _ in range(CLIENTS)]
    try:
        assert port.queue(0) == (0, BACKLOG, 0)
        for client in clients:
            client.setblocking(False)
            client.connect_ex(port.address)
        deadline = time.monotonic() + LIMIT_S
        while port.queue(0).dropped == 0:
            assert time.monotonic() < deadline, port.queue(0)
            time.sleep(0.01)
        found = port.queue(0)
        assert BACKLOG <= found.waiting <= BACKLOG + 1  # the kernel takes one more
        assert found.waiting == port.queued(0)
        accepted, _ = port.listeners[0].accept()
        accepted.close()
        assert port.queue(0).dropped >= found.dropped, "drops are counted for ever"
    finally:
        for client in clients:
            client.close()
        port.close()
