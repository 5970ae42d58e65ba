"""What is saved comes back: by a person, and as a service of systemd with its sockets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster_harness import until
from tests.e2e.command_harness import MADANG, Terminal, free_port, get, terminal

LIMIT_S = 40.0
# What PID 1 does: sockets at 3, 4, …, and a pid that only the process itself can know.
LAUNCH = """
import os, sys
count = int(sys.argv[1])
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.environ.update(LISTEN_FDNAMES=":".join(["web"] * count), WATCHDOG_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def shell() -> Iterator[Terminal]:
    with terminal() as typing:
        yield typing


def test_a_saved_list_comes_back_whole(shell: Terminal) -> None:
    port = free_port()
    shell.good("start", "hello:app", "--name", "web", "--port", str(port))
    words = ("--env", "COLOUR=green", "--max-restarts", "7")
    shell.good("start", "echo.py", "--name", "mail", *words, "--", "--queue")
    shell.good("scale", "web", "2")
    shell.good("save")
    file = shell.folder / ".madang" / "saved.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shell.kill_supervisor()
    shell.good("flush")
    shell.good("resurrect")
    assert sorted(shell.rows()) == ["mail-0", "web-0", "web-1"]
    assert get(port).startswith("one ")
    shell.until_said("mail", "begins ['--queue'] green")
    assert "max_restarts           7" in shell.good("describe", "mail").out
    shell.good("stop", "mail")
    assert "mail" in shell.good("resurrect").out
    assert "everything that was saved runs" in shell.good("resurrect").out


@pytest.mark.parametrize("foreground", [False, True])
def test_what_was_stopped_when_it_was_saved_comes_back_stopped(
    shell: Terminal, foreground: bool
) -> None:
    port = free_port()
    shell.good("start", "hello:app", "--name", "web", "--port", str(port))
    shell.good("start", "echo.py", "--name", "mail")
    shell.good("stop", "web")
    shell.good("save")
    shell.kill_supervisor()
    service: subprocess.Popen[bytes] | None = None
    if foreground:
        words = [*MADANG, "resurrect", "--foreground"]
        service = subprocess.Popen(words, cwd=shell.folder, env=shell.environment)
        until(lambda: shell.run("ls").code == 0 and "mail-0" in shell.pids())
    else:
        assert "stop web: done" in shell.good("resurrect").out
        assert "everything that was saved runs" in shell.good("resurrect").out
    rows = shell.rows()
    assert (rows["web-0"]["state"], rows["web-0"]["pid"]) == ("stopped", None)
    assert rows["mail-0"]["state"] == "ready"
    assert get(port) == ""
    shell.good("save")  # again, of a list that came back
    shell.good("start", "web")
    assert get(port).startswith("one ")
    shell.good("stop")
    if service is not None:
        assert service.wait(20) == 0
    shell.good("resurrect")
    assert shell.rows()["web-0"]["state"] == "stopped"


def test_a_missing_or_damaged_list_is_named(shell: Terminal) -> None:
    for command in ("resurrect", "service"):
        done = shell.run(command)
        assert (done.code, "`madang save` writes it" in done.err) == (1, True), done
    (shell.folder / ".madang").mkdir()
    for text in ("{", "[]", '{"version": 99, "applications": []}', '{"version": 1}'):
        shell.write(".madang/saved.json", text)
        done = shell.run("resurrect")
        assert (done.code, "is damaged" in done.err) == (1, True), done


def test_one_refused_application_of_the_list_does_not_keep_the_others_down(
    shell: Terminal,
) -> None:
    port = free_port()
    shell.good("start", "hello:app", "--name", "web", "--port", str(port))
    shell.good("start", "echo.py", "--name", "mail")
    shell.good("save")
    shell.good("stop")
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        done = shell.run("resurrect")
        assert (done.code, "start web: failed: " in done.err) == (1, True), done
        assert shell.rows()["mail-0"]["state"] == "ready"
    shell.good("resurrect")
    assert sorted(shell.rows()) == ["mail-0", "web-0"]


def saved_web(shell: Terminal, port: int) -> None:
    """Save the hello server with two instances, and end it."""
    shell.good("start", "hello:app", "--name", "web", "-i", "2", "--port", str(port))
    shell.good("save")
    shell.good("stop")


def test_the_units_are_what_systemd_accepts(shell: Terminal) -> None:
    port = free_port()
    saved_web(shell, port)
    shell.good("service", "--folder", "units")
    folder = shell.folder / "units"
    socket_unit = (folder / "madang-web.socket").read_text()
    assert socket_unit.count(f"ListenStream=127.0.0.1:{port}\n") == 2
    assert "ReusePort=yes" in socket_unit
    assert "FileDescriptorName=web" in socket_unit
    program = shutil.which("systemd-analyze")
    if program is not None:
        checked = subprocess.run(
            [program, "verify", "./madang.service", "./madang-web.socket"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (checked.returncode, checked.stderr) == (0, "")
    assert shell.good("service", "--json").json["units"]["madang-web.socket"] == socket_unit
    assert "removed" in shell.good("service", "--remove", "--folder", "units").out
    assert list(folder.iterdir()) == []
    for words in (("--name", "../x"), ("--user", "nobody-of-that-name"), ("--user", "nobody")):
        done = shell.run("service", *words)
        assert (done.code, bool(done.err)) == (1, True), done


class Service:
    """What systemd is to a service: its sockets, and an ear for what it says."""

    def __init__(self, shell: Terminal, port: int, count: int) -> None:
        self.sockets = [socket.socket() for _ in range(count)]
        for listener in self.sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        path = shell.folder / "notify"
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(path))
        self._heard: list[str] = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()
        self._shell, self._path = shell, path
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the service with the sockets at descriptors 3, 4, …"""

        def place() -> None:
            copies = [os.dup2(s.fileno(), 50 + i) for i, s in enumerate(self.sockets)]
            for index, descriptor in enumerate(copies):
                os.dup2(descriptor, 3 + index)

        words = [*MADANG, "resurrect", "--foreground"]
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(len(self.sockets)), *words],
            cwd=self._shell.folder,
            env={
                **self._shell.environment,
                "NOTIFY_SOCKET": str(self._path),
                "WATCHDOG_USEC": "300000",
            },
            preexec_fn=place,
            close_fds=False,
            stdout=subprocess.PIPE,
        )

    def said(self) -> str:
        """Return its first line, as soon as there is one."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def _listen(self) -> None:
        """Take everything at once, as systemd does: the kernel keeps no more than ten messages."""
        while message := self.ear.recv(4_096).decode():
            self._heard.append(message)

    def wait_for(self, word: str) -> None:
        """Wait until the service has said `word`."""
        until(lambda: any(word in message for message in self._heard))

    def close(self) -> None:
        """End it all."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.ear.shutdown(socket.SHUT_RDWR)
        self._listening.join()
        for part in (*self.sockets, self.ear):
            part.close()


def test_as_a_service_it_takes_the_sockets_and_says_how_it_is(shell: Terminal) -> None:
    port = free_port()
    saved_web(shell, port)
    service = Service(shell, port, 2)
    try:
        service.wait_for("READY=1")
        service.wait_for("WATCHDOG=1")
        assert len({get(port) for _ in range(40)}) == 2  # both instances are served
        environment = shell.good("env", "web-0", "--json").json["environment"]
        assert "LISTEN_FDS" not in environment  # these were for the supervisor alone
        assert environment.get("NOTIFY_SOCKET") != str(shell.folder / "notify")
        shell.good("scale", "web", "1")
        shell.good("scale", "web", "2")
        assert all(get(port) for _ in range(20))
        assert service.said() == "web is up\n"
        service.process.send_signal(signal.SIGTERM)
        service.wait_for("STOPPING=1")
        assert service.process.wait(LIMIT_S) == 0
        # The port is open all the while: who comes between two supervisors waits for the next.
        with socket.create_connection(("127.0.0.1", port), 5) as early:
            early.settimeout(LIMIT_S)
            early.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            service.process.communicate()
            service.process = service.start()
            assert b"one " in b"".join(iter(lambda: early.recv(4_096), b""))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(LIMIT_S) == 0
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        service.close()


def test_a_service_is_up_although_one_application_cannot_start(shell: Terminal) -> None:
    port = free_port()
    saved_web(shell, port)
    path = Path(shell.folder / ".madang" / "saved.json")
    table = json.loads(path.read_text())
    broken = {**table["applications"][0], "name": "broken", "target": "nothing:app", "ports": []}
    table["applications"].append({**broken, "instances": 1, "max_restarts": 1, "backoff_ms": 10})
    path.write_text(json.dumps(table))
    service = Service(shell, port, 2)
    try:
        service.wait_for("READY=1")
        states = {name: row["state"] for name, row in shell.rows().items()}
        assert states == {"web-0": "ready", "web-1": "ready", "broken-0": "errored"}
        assert service.said() == "web is up\n"
        assert "broken is not up: broken-0 is errored (" in service.said()
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(LIMIT_S) == 0
        assert time.monotonic() - began < LIMIT_S
        until(lambda: shell.living() == [])
    finally:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        service.close()
