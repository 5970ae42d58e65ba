"""The supervisor as a service: sockets that were there before it, and what it says of itself."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster_harness import ROOT, Cluster, ending, http, role, settings_table, until
from tests.e2e.test_cluster_upgrade import answering, pids, upgraded

WATCHDOG_S = 0.6
NOBODY = 65_534
LAUNCHER = [sys.executable, str(ROOT / "tests" / "e2e" / "launch_as_service.py")]


class ServiceManager:
    """Plays systemd: has made `count` sockets of one port, and listens to what is said."""

    def __init__(self, folder: Path, count: int, *, uid: int | None = None) -> None:
        self._address = folder / "systemd.sock"
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._end.bind(str(self._address))
        self._end.setblocking(False)
        self.said: list[tuple[float, str]] = []
        self.sockets: list[socket.socket] = []
        if uid is not None:
            os.seteuid(uid)
        try:
            self._listen(count)
        finally:
            if uid is not None:
                os.seteuid(0)

    def _listen(self, count: int) -> None:
        port = 0
        for _ in range(count):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(("127.0.0.1", port))
            made.listen()
            port = made.getsockname()[1]
            self.sockets.append(made)

    @property
    def address(self) -> tuple[str, int]:
        """Where clients come."""
        host, port = self.sockets[0].getsockname()
        return str(host), int(port)

    def start(self, folder: Path, applications: Sequence[dict[str, object]]) -> Cluster:
        """Start a supervisor as a service."""
        passed = [made.fileno() for made in self.sockets]
        names = ":".join("http" for _ in passed)
        numbers = ",".join(str(descriptor) for descriptor in passed)
        told = f"NOTIFY_SOCKET={self._address}", f"WATCHDOG_USEC={int(WATCHDOG_S * 1e6)}"
        launcher = ["/usr/bin/env", *told, *LAUNCHER, names, numbers]
        return Cluster(folder, settings_table(folder, applications), launcher, passed)

    def lines(self) -> list[str]:
        """Return everything that has been said, line by line."""
        while True:
            try:
                datagram = self._end.recv(4096).decode()
            except BlockingIOError:
                return [line for _, text in self.said for line in text.splitlines()]
            self.said.append((time.monotonic(), datagram))

    def close(self) -> None:
        """Leave."""
        for made in (*self.sockets, self._end):
            made.close()


@contextmanager
def service(
    folder: Path, count: int, *, uid: int | None = None, instances: int = 2
) -> Iterator[tuple[ServiceManager, Cluster]]:
    manager = ServiceManager(folder, count, uid=uid)
    web = role("web", "answer", instances=instances, ports=http())
    with ExitStack() as stack:
        stack.callback(manager.close)
        yield manager, stack.enter_context(ending(manager.start(folder, [web])))


def test_it_serves_sockets_that_were_there_before_it_and_says_how_it_is(tmp_path: Path) -> None:
    with service(tmp_path, 2) as (manager, running):
        with socket.create_connection(manager.address, timeout=20) as early:  # before it is there
            early.sendall(b"who\n")
            assert int(early.recv(64)) > 0
        assert running.wait_ready()["http"] == manager.address
        assert {answering(manager.address) for _ in range(40)} == set(pids(running).values())
        until(lambda: "READY=1" in manager.lines())
        assert "STATUS=ready: web 2/2" in manager.lines()
        assert "STOPPING=1" not in manager.lines()
        assert running.stop() == 0
        until(lambda: "STOPPING=1" in manager.lines())


def test_the_watchdog_hears_from_it_in_time_over_an_upgrade_too(tmp_path: Path) -> None:
    with service(tmp_path, 2) as (manager, running):
        running.wait_ready()
        until(lambda: manager.lines().count("WATCHDOG=1") >= 3)
        upgraded(running)
        count = manager.lines().count("WATCHDOG=1")
        until(lambda: manager.lines().count("WATCHDOG=1") >= count + 3)
        words = [line for line in manager.lines() if line in ("READY=1", "RELOADING=1")]
        assert words == ["READY=1", "RELOADING=1", "READY=1"]
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.lines())
        assert answering(manager.address) in pids(running).values()
        assert running.operate("scale", name="web", instances="1")["state"] == "done"
        until(lambda: "STATUS=ready: web 1/1" in manager.lines())
        assert running.operate("scale", name="web", instances="2")["state"] == "done"
        assert {answering(manager.address) for _ in range(40)} == set(pids(running).values())


def test_children_are_not_told_what_was_meant_for_the_supervisor(tmp_path: Path) -> None:
    echo = tmp_path / "say.py"
    echo.write_text("import os, time\nprint('sees', sorted(os.environ), flush=True)\ntime.sleep(9)")
    with service(tmp_path, 2) as (_, running):
        running.wait_ready()
        entry = {"name": "tool", "kind": "python", "target": str(echo)}
        assert running.operate("start", application=entry)["state"] == "done"
        until(lambda: "sees" in running.log("tool"))
        assert "'LISTEN_FDS'" not in running.log("tool")
        for pid in running.living():
            if pid != running.process.pid:
                found = Path(f"/proc/{pid}/environ").read_bytes()
                assert b"systemd.sock" not in found
                assert b"LISTEN_FDS" not in found


def test_it_grows_beyond_them_where_they_are_of_the_same_user(tmp_path: Path) -> None:
    with service(tmp_path, 1, instances=1) as (manager, running):
        running.wait_ready()
        assert running.operate("scale", name="web", instances="3")["state"] == "done"
        assert {answering(manager.address) for _ in range(60)} == set(pids(running).values())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs sockets of another user")
def test_it_says_why_it_cannot_grow_beyond_those_of_another_user(tmp_path: Path) -> None:
    with service(tmp_path, 3, uid=NOBODY) as (manager, running):
        running.wait_ready()
        done = running.operate("scale", name="web", instances="5")
        assert done["state"] == "failed"
        assert "port http has 3 sockets from systemd" in done["reason"]
        assert "repeat ListenStream=" in done["reason"]
        assert {answering(manager.address) for _ in range(40)} == set(pids(running).values())
        assert running.ask("ls")["applications"][0]["wanted"] == 2
        assert running.operate("scale", name="web", instances="3")["state"] == "done"
        assert {answering(manager.address) for _ in range(60)} == set(pids(running).values())


def test_whoever_came_early_is_served_also_where_there_are_more_sockets(tmp_path: Path) -> None:
    manager = ServiceManager(tmp_path, 4)
    web = role("web", "answer", instances=1, ports=http())
    with ExitStack() as stack:
        stack.callback(manager.close)
        early = [
            stack.enter_context(socket.create_connection(manager.address, timeout=20))
            for _ in range(40)
        ]
        running = stack.enter_context(ending(manager.start(tmp_path, [web])))
        running.wait_ready()
        for client in early:
            client.sendall(b"who\n")
            assert int(client.recv(64)) == running.pid("web-0")
        assert running.operate("scale", name="web", instances="3")["state"] == "done"
        assert {answering(manager.address) for _ in range(60)} == set(pids(running).values())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs sockets of another user")
def test_it_does_not_start_with_too_few_of_them(tmp_path: Path) -> None:
    with service(tmp_path, 1, uid=NOBODY) as (_, running):
        assert running.process.wait(20) == 1
        assert "port http has 1 socket from systemd" in running.terminal.read_text()
