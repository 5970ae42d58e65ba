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
    request,
)
from madang.cluster.errors import NotRunning


def echo(question: Mapping[str, object]) -> Answer:
    return {"asked": question["command"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    made = ControlServer(tmp_path / "control.sock", echo)
    yield made
    made.close()


def exchange(server: ControlServer, path: Path, data: bytes) -> tuple[bytes, bool]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(data)
        accepted, _ = server.accept()
        assert accepted is not None
        open_still = server.readable(accepted)
        client.settimeout(0.2)
        try:
            answer = client.recv(65_536)
        except TimeoutError:
            answer = b""
        server.forget(accepted)
        return answer, open_still


def test_only_the_owner_may_connect(server: ControlServer, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b'{"command": "ls"}\n', {"asked": "ls"}),
        (b"not json\n", {"error": "expected one JSON object a line"}),
        (b"\xff\xfe\n", {"error": "expected one JSON object a line"}),
        (b"[1]\n", {"error": "expected a JSON object"}),
    ],
)
def test_each_line_gets_one_answer(
    server: ControlServer, tmp_path: Path, question: bytes, answer: Answer
) -> None:
    received, open_still = exchange(server, tmp_path / "control.sock", question)
    assert (json.loads(received), open_still) == (answer, True)


def test_a_question_without_end_is_hung_up_on(server: ControlServer, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "control.sock"))
        accepted, _ = server.accept()
        assert accepted is not None
        for _ in range(QUESTION_BYTES_MAX // 1_024):
            client.sendall(b"x" * 1_024)
            assert server.readable(accepted)
        client.sendall(b"x")
        assert not server.readable(accepted)


def test_the_oldest_connection_goes_when_there_are_too_many(
    server: ControlServer, tmp_path: Path
) -> None:
    clients, accepted = [], []
    for _ in range(CONNECTIONS_MAX + 1):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(tmp_path / "control.sock"))
        clients.append(client)
        accepted.append(server.accept())
    assert [oldest for _, oldest in accepted] == [None] * CONNECTIONS_MAX + [accepted[0][0]]
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
