"""Run a real cluster in a folder, ask it, and prove that nothing of it is left afterwards."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from madang.cluster.control import request
from madang.cluster.errors import ControlRefused

LIMIT_S = 20.0
POLL_S = 0.01
MARK = "MADANG_TEST_MARK"
ROOT = Path(__file__).resolve().parents[2]
Found = TypeVar("Found")


def until(condition: Callable[[], Found], limit_s: float = LIMIT_S) -> Found:
    """Return the first true value of `condition`; fail when there is none within the limit."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(POLL_S)
    return found


def role(name: str, function: str, **more: object) -> dict[str, object]:
    """Describe an application whose role is in `cluster_roles`."""
    target = f"tests.e2e.cluster_roles:{function}"
    return {"name": name, "target": target, "preload": ["tests.e2e.cluster_roles"], **more}


def http(port: int = 0) -> list[dict[str, object]]:
    """Describe one public port."""
    return [{"name": "http", "host": "127.0.0.1", "port": port}]


class Cluster:
    """One supervisor process and everything that it started."""

    def __init__(
        self,
        folder: Path,
        table: Mapping[str, object],
        launcher: Sequence[str] = (),
        passed: Sequence[int] = (),
    ) -> None:
        """Start it, by `launcher` and with descriptors `passed` if somebody else is to do so."""
        self.folder = folder
        self.runtime = Path(str(table["runtime_dir"]))
        self.mark = uuid.uuid4().hex
        environment = {**os.environ, MARK: self.mark, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}"}
        self.terminal = folder / "terminal"
        with self.terminal.open("ab") as terminal:
            self.process = subprocess.Popen(
                [
                    *launcher,
                    sys.executable,
                    "-m",
                    "tests.e2e.cluster_main",
                    json.dumps(dict(table)),
                ],
                pass_fds=passed,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=terminal,
            )

    def wait_ready(self) -> dict[str, tuple[str, int]]:
        """Return the addresses once all instances are ready."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
        line = self.process.stdout.readline() if readable else b""
        assert line, f"not ready; it said:\n{self.terminal.read_text()}"
        host, _, port = json.loads(line)["http"].rpartition(":")
        return {"http": (host, int(port))} if port.isdigit() else {}

    def ask(self, command: str, **more: object) -> dict[str, Any]:
        """Ask over the control socket."""
        return request(self.runtime / "control.sock", {"command": command, **more})

    def try_ask(self, command: str, **more: object) -> dict[str, Any]:
        """Ask; return the refusal's words as {"error": …}."""
        try:
            return self.ask(command, **more)
        except ControlRefused as error:
            return {"error": error.message}

    def operate(self, command: str, **more: object) -> dict[str, Any]:
        """Begin an operation and return it when it has ended."""
        number = self.ask(command, **more)["operation"]

        def ended() -> dict[str, Any] | None:
            found = self.ask("operation", id=number)
            return found if found["state"] != "running" else None

        found = until(ended)
        assert found is not None
        return found

    def row(self, name: str) -> dict[str, Any]:
        """Return what `ls` says of one instance."""
        rows: list[dict[str, Any]] = self.ask("ls")["rows"]
        return next(row for row in rows if row["name"] == name)

    def pid(self, name: str) -> int:
        """Return the pid of one instance."""
        return int(self.row(name)["pid"])

    def kill(self, name: str) -> int:
        """Kill one instance with SIGKILL and return its pid."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def replaced(self, name: str, pid: int) -> bool:
        """Whether `name` is ready as another process than `pid`."""
        row = self.row(name)
        return bool(row["state"] == "ready" and row["pid"] != pid)

    def helper(self, name: str) -> int:
        """Return the pid of the template or the logger."""
        return next(pid for pid in self.living() if _comm(pid) == name)

    def log(self, application: str) -> str:
        """Return the newest log file of one application."""
        path = self.folder / "state" / "logs" / f"{application}.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> int:
        """Stop by signal and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)

    def living(self) -> list[int]:
        """Return every process that descends from this cluster, by the mark in its environment."""
        return living(self.mark)


@contextmanager
def cluster(
    folder: Path, applications: Sequence[Mapping[str, object]], **more: object
) -> Iterator[Cluster]:
    """Run a cluster; at the end nothing that it started may be alive."""
    with ending(Cluster(folder, settings_table(folder, applications, **more))) as running:
        yield running


def settings_table(
    folder: Path, applications: Sequence[Mapping[str, object]], **more: object
) -> dict[str, object]:
    """Return settings with their folders in `folder`."""
    folders = {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")}
    return {**folders, "applications": list(applications), **more}


@contextmanager
def ending(running: Cluster) -> Iterator[Cluster]:
    """End a cluster at the end, after which nothing that it started may be alive."""
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            try:
                running.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                running.process.kill()
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.process.wait(LIMIT_S)
        left = running.living()
        deadline = time.monotonic() + 5
        while left and time.monotonic() < deadline:
            time.sleep(POLL_S)
            left = running.living()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"left behind: {left}"


def living(mark: str) -> list[int]:
    """Return every living process with this mark in its environment."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if wanted in _environment(pid) and not _is_zombie(pid)]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _environment(pid: int) -> list[bytes]:
    return _read(pid, "environ").split(b"\0")


def _comm(pid: int) -> str:
    return _read(pid, "comm").decode().strip()


def _is_zombie(pid: int) -> bool:
    return _read(pid, "stat").rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"], [])
