"""What a supervisor leaves: nothing of it is forgotten, and it comes back as it was."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import fields
from pathlib import Path

import pytest

from madang.cluster import succession
from madang.cluster.application import Application, Child, Slot
from madang.cluster.control import ControlServer
from madang.cluster.errors import FolderTaken, PortTaken
from madang.cluster.handles import descriptors, given, handle, opened
from madang.cluster.history import FIELDS, PERIOD_S, History
from madang.cluster.loop import Loop
from madang.cluster.operations import Operation, Operations, OperationState, Procedure
from madang.cluster.ports import Port
from madang.cluster.records import FolderLock
from madang.cluster.settings import ApplicationSettings, ClusterSettings, PortSettings
from madang.cluster.specs import limits

PORT = PortSettings("http", "127.0.0.1", 0)


def test_every_field_of_what_runs_is_carried_or_made_anew() -> None:
    child = {field.name for field in fields(Child)}
    assert child == {
        *succession.CHILD_CARRIED, *succession.CHILD_APART, *succession.CHILD_ANEW
    }  # fmt: skip
    slot = {field.name for field in fields(Slot)}
    assert slot == {*succession.SLOT_CARRIED, *succession.SLOT_APART, *succession.SLOT_ANEW}
    settings = ApplicationSettings("web", "pkg.mod:main")
    cluster = ClusterSettings(Path("state"), Path("run"), ())
    application = set(vars(Application(settings, limits(settings, cluster))))
    assert application == {
        *succession.APPLICATION_CARRIED,
        *succession.APPLICATION_APART,
        *succession.APPLICATION_ANEW,
    }


def test_descriptors_are_found_wherever_they_are() -> None:
    share = {"a": handle(3), "b": [["x", handle(4), handle(None)], {"c": [handle(5)]}], "d": 6}
    assert list(descriptors(json.loads(json.dumps(share)))) == [3, 4, 5]
    assert (opened(handle(None)), opened(handle(7)), given(handle(8))) == (None, 7, 8)


def test_a_port_goes_on_with_its_sockets_and_what_waits_there() -> None:
    port = Port(PORT, 2, 16)
    with socket.create_connection(port.address, timeout=5) as client:
        share = json.loads(json.dumps(port.leave()))
        copies = {"listeners": [handle(os.dup(fd)) for fd in descriptors(share)], "name": "http"}
        port.close()
        taken = Port.take_over(PORT, 16, copies, ())
        assert taken.address == client.getpeername()
        assert sum(taken.queued(slot) for slot in range(2)) == 1
        taken.steer(frozenset({1}), {})
        taken.add()
        assert len({listener.getsockname() for listener in taken.listeners}) == 1
        taken.close()


def at_once(operation: Operation) -> Procedure:
    """Be done before it has begun."""
    yield from ()


def test_operations_are_remembered_and_numbers_go_on() -> None:
    before, after = Operations(lambda _: None), Operations(lambda _: None)

    before.begin("reload", "web", ["web"], at_once)
    before.pump()
    before.begin("upgrade", "madang", ["web"], at_once)
    coming = after.take_over(json.loads(json.dumps(before.leave())))
    assert (coming.id, coming.kind, after.busy("web")) == (2, "upgrade", True)
    assert coming.state is OperationState.RUNNING
    after.end(coming)
    first = after.find(1)
    assert first is not None
    assert first.state is OperationState.DONE
    assert after.begin("scale", "web", ["web"], at_once).id == 3


def test_the_control_socket_goes_on_with_half_a_question_and_half_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    loop = Loop()
    server = ControlServer(path, loop, lambda question: {"text": "x" * 3_000_000, **question})
    with socket.socket(socket.AF_UNIX) as slow, socket.socket(socket.AF_UNIX) as half:
        for client, words in ((slow, b'{"n": 1}\n'), (half, b'{"n"')):
            client.connect(str(path))
            client.sendall(words)
        for _ in range(6):
            loop.call(loop.wait(0))
        share = json.loads(json.dumps(server.leave()))
        assert [bool(unsent) for _, _, unsent in share["clients"]] == [True, False]
        again = Loop()
        for client_share in (share["listener"], *(c[0] for c in share["clients"])):
            client_share["descriptor"] = os.dup(given(client_share))
        server.close()
        loop.close()
        taken = ControlServer(path, again, lambda question: {"got": question}, share)
        half.sendall(b": 2}\n")
        received = b""
        slow.setblocking(False)
        while not received.endswith(b"\n"):
            again.call(again.wait(0))
            try:
                received += slow.recv(1 << 20)
            except BlockingIOError:
                continue
        assert json.loads(received)["n"] == 1
        half.settimeout(5)
        assert json.loads(half.recv(4096)) == {"got": {"n": 2}}
        taken.close()
        again.close()


def test_a_lock_that_is_passed_on_is_held_all_the_time(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    second = FolderLock(tmp_path, os.dup(first.fileno()))
    os.close(first.fileno())
    with pytest.raises(FolderTaken):
        FolderLock(tmp_path)
    second.release()
    FolderLock(tmp_path).release()


def listening(*, reuse: bool = True) -> socket.socket:
    """Make a socket as systemd would."""
    made = socket.socket()
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def test_a_given_socket_that_shares_with_nobody_is_refused() -> None:
    with listening(reuse=False) as made, pytest.raises(PortTaken, match="needs ReusePort=yes"):
        Port(PORT, 1, 16, [made])


def test_the_last_hour_is_not_forgotten() -> None:
    before, after = History(), History()
    for number in range(2 * PERIOD_S + 3):
        before.take({"web": [float(number)] * len(FIELDS)})
    after.take_over(json.loads(json.dumps(before.leave())))
    for history in (before, after):
        history.take({"web": [0.5] * len(FIELDS)})
    assert after.answer()["applications"] == before.answer()["applications"]
    assert after.leave() == before.leave()
