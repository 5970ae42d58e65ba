"""What a role sees: readiness, status, and the sockets of neighbours."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.cluster.process import Identity, Process, Surroundings


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    yield made
    for listener in made:
        listener.close()


def make(own: socket.socket, notices: list[str]) -> Process:
    surroundings = Surroundings({}, Path("state"), Path("run"), {"http": [own]})
    return Process(
        Identity("worker-0", "worker", 0, 1, 1), surroundings, lambda: notices.append("said")
    )


def test_readiness_and_status_are_said_at_once(listeners: list[socket.socket]) -> None:
    notices: list[str] = []
    process = make(listeners[0], notices)
    process.ready()
    process.status("recovering 12%")
    assert (process.is_ready, process.status_text, len(notices)) == (True, "recovering 12%", 2)


def test_a_neighbours_socket_comes_and_goes(listeners: list[socket.socket]) -> None:
    process = make(listeners[0], [])
    seen: list[tuple[str, str, socket.socket]] = []
    process.on_socket(
        lambda port, listener: seen.append(("take", port, listener)),
        lambda port, listener: seen.append(("release", port, listener)),
    )
    process.take("http", 1, listeners[1])
    assert process.sockets["http"] == listeners[:2]
    process.release("http", 1)
    process.release("http", 1)
    assert seen == [("take", "http", listeners[1]), ("release", "http", listeners[1])]
    assert process.sockets["http"] == listeners[:1]
    assert listeners[1].fileno() == -1


def test_a_socket_that_came_before_the_handler_is_handed_over(
    listeners: list[socket.socket],
) -> None:
    process = make(listeners[0], [])
    process.take("http", 1, listeners[1])
    seen: list[socket.socket] = []
    process.on_socket(lambda _, listener: seen.append(listener), lambda *_: None)
    assert seen == [listeners[1]]


def test_a_socket_given_again_replaces_the_one_before(listeners: list[socket.socket]) -> None:
    process = make(listeners[0], [])
    process.take("http", 1, listeners[1])
    process.take("http", 1, listeners[2])
    assert process.sockets["http"] == [listeners[0], listeners[2]]
    assert listeners[1].fileno() == -1
