"""Control socket, channel and notifications: bytes that others write."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from madang.cluster import channel, notify
from madang.cluster.control import (
    CONNECTIONS_MAX,
    QUESTION_BYTES_MAX,
    Answer,
    ControlServer,
    Later,
    Reply,
    request,
)
from madang.cluster.errors import NotRunning
from madang.cluster.loop import Loop

TURNS_MAX = 100


class Server:
    """A control server and the loop that turns it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"
        self.loop = Loop()
        self.later: list[Reply] = []
        self.server = ControlServer(self.path, self.loop, self.answer)

    def answer(self, question: Mapping[str, object]) -> Answer | Later:
        if question.get("command") == "later":
            return Later(self.later.append)
        return {"asked": question["command"], "more": "x" * int(str(question.get("more", 0)))}

    def turn(self) -> None:
        """Do everything that can be done at once."""
        for _ in range(TURNS_MAX):
            ready = self.loop.wait(0)
            if not ready:
                return
            self.loop.call(ready)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        client.settimeout(0.2)
        self.turn()
        return client

    def exchange(self, data: bytes) -> bytes:
        """Return the answer to `data`, b"" when the connection was ended instead."""
        with self.connect() as client:
            client.sendall(data)
            self.turn()
            return client.recv(65_536)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.server.close()
    made.loop.close()


def test_only_the_owner_may_connect(server: Server) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b'{"command": "ls"}\n', {"asked": "ls", "more": ""}),
        (b"not json\n", {"error": "expected one JSON object a line"}),
        (b"\xff\xfe\n", {"error": "expected one JSON object a line"}),
        (b"[1]\n", {"error": "expected a JSON object"}),
    ],
)
def test_each_line_gets_one_answer(server: Server, question: bytes, answer: Answer) -> None:
    assert json.loads(server.exchange(question)) == answer


def test_a_question_without_end_is_hung_up_on(server: Server) -> None:
    with server.connect() as client:
        for _ in range(QUESTION_BYTES_MAX // 1_024):
            client.sendall(b"x" * 1_024)
            server.turn()
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(b"x")
        server.turn()
        assert client.recv(1) == b""


def test_an_answer_that_is_known_later_comes_then(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b'{"command": "later"}\n')
        server.turn()
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.later[0]({"late": True})
        assert json.loads(client.recv(100)) == {"late": True}
    server.turn()
    server.later[0]({"late": "nobody listens"})


def test_a_large_answer_waits_for_a_slow_reader(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b'{"command": "ls", "more": 3000000}\n')
        received = b""
        while not received.endswith(b"\n"):
            server.turn()
            received += client.recv(65_536)
        assert len(json.loads(received)["more"]) == 3_000_000


def test_the_oldest_connection_goes_when_there_are_too_many(server: Server) -> None:
    clients = [server.connect() for _ in range(CONNECTIONS_MAX)]
    with pytest.raises(TimeoutError):
        clients[0].recv(1)
    clients.append(server.connect())
    assert clients[0].recv(1) == b""
    with pytest.raises(TimeoutError):
        clients[1].recv(1)
    for client in clients:
        client.close()


def test_nothing_there_is_not_running(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="nothing answers on"):
        request(tmp_path / "control.sock", {"command": "ls"})


def test_a_message_keeps_its_boundaries_and_descriptors() -> None:
    ours, theirs = channel.pair()
    reading, writing = os.pipe()
    with ours, theirs:
        channel.send(ours, {"number": 1}, [writing])
        channel.send(ours, {"number": 2})
        os.close(writing)
        message, descriptors = channel.receive(theirs)
        assert message == {"number": 1}
        os.write(descriptors[0], b"through")
        os.close(descriptors[0])
        assert os.read(reading, 16) == b"through"
        assert channel.receive(theirs) == ({"number": 2}, [])
        ours.close()
        with pytest.raises(channel.ChannelClosed):
            channel.receive(theirs)
        with pytest.raises(channel.ChannelClosed):
            channel.send(theirs, {})
    os.close(reading)


def test_a_message_over_the_limit_is_refused_before_it_is_sent() -> None:
    ours, theirs = channel.pair()
    with ours, theirs, pytest.raises(ValueError, match="too large"):
        channel.send(ours, {"options": "x" * channel.MESSAGE_BYTES_MAX})


def test_a_notice_is_known_by_the_kernels_word_for_the_sender(tmp_path: Path) -> None:
    listener = notify.Listener(tmp_path / "notify.sock")
    sender = notify.Sender(str(tmp_path / "notify.sock"))
    sender.send(notify.compose(ready=True, status="two\nlines"))
    assert listener.receive() == notify.Notice(os.getpid(), True, True, "two lines")
    assert listener.receive() is None
    listener.close()
    sender.send(b"WATCHDOG=1")
    sender.close()


@pytest.mark.parametrize(
    ("datagram", "notice"),
    [
        (b"", notify.Notice(1, False, False, None)),
        (b"READY=0\nSTATUS=", notify.Notice(1, False, False, "")),
        (b"READY=1\nMAINPID=7\nnonsense\n\xff=\xff", notify.Notice(1, True, False, None)),
        (b"STATUS=" + b"x" * 4_000, notify.Notice(1, False, False, "x" * 256)),
    ],
)
def test_any_datagram_is_read_for_what_it_says(datagram: bytes, notice: notify.Notice) -> None:
    assert notify.parse(1, datagram) == notice
