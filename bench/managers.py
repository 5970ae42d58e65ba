"""Process managers that run the hello server on two workers: ours, pm2, uvicorn.

Each is started in a folder of its own and ended with everything it started. `workers()` are the
processes that answer, `came_back` tells whether one that died has a ready successor, and `reload()`
is the manager's own way to bring new code in without a pause; it returns when that is done.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil

from bench.harness import CACHE, ROOT, PeerMissing, python_package, run
from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request

PEERS = Path(__file__).parent / "peers"
WORKERS = 2
PM2 = "pm2@7"
UVICORN = ("uvicorn>=0.51", "httptools", "uvloop")
START_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
RELOAD_LIMIT_S = 60.0
POLL_S = 0.002
HELLO = "examples.hello:app"


class Manager(Protocol):
    """A running process manager."""

    port: int

    def workers(self) -> set[int]:
        """Return the processes that answer."""
        ...

    def came_back(self, dead: int, deaths: int) -> bool:
        """Return whether `dead` has a ready successor, being the `deaths`-th that died."""
        ...

    def reload(self) -> None:
        """Replace every worker without a pause; return when that is done."""
        ...

    def stop(self) -> None:
        """End everything."""
        ...


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait for a condition; PeerMissing names what did not come."""
    until_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until_s:
            raise PeerMissing(f"{what} did not come within {limit_s:.0f} s")
        time.sleep(POLL_S)


def answers(port: int) -> bool:
    """Return whether a request is answered."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return client.recv(12).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def npm_package(name: str) -> Path:
    """Return the folder of an npm package in the cache, installed there the first time."""
    folder = CACHE / name.partition("@")[0]
    if not (folder / "node_modules").exists():
        folder.mkdir(parents=True, exist_ok=True)
        run(["npm", "install", "--no-fund", "--no-audit", "--silent", name], cwd=folder)
    return folder


class Asked:
    """Something that runs below a state folder and is asked over its control socket."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self._socket = runtime_dir(self.state) / SOCKET_NAME

    def ask(self, command: str, **more: object) -> dict[str, Any]:
        """Ask over the control socket."""
        return request(self._socket, {"command": command, **more})

    def operate(self, command: str, **more: object) -> dict[str, Any]:
        """Begin an operation and return it when it has ended."""
        number = self.ask(command, **more)["operation"]

        def ended() -> bool:
            return bool(self.ask("operation", id=number)["state"] != "running")

        wait_for(ended, RELOAD_LIMIT_S, f"the end of {command}")
        return self.ask("operation", id=number)

    def rows(self) -> list[dict[str, Any]]:
        """Return what `madang ls` shows."""
        rows: list[dict[str, Any]] = self.ask("ls")["rows"]
        return rows

    def ready(self, name: str) -> set[int]:
        """Return the ready processes of an application."""
        return {row["pid"] for row in self.rows() if row["app"] == name and row["state"] == "ready"}


class Supervised(Asked):
    """A supervisor in the foreground with these applications, as `madang start` makes it."""

    def __init__(self, folder: Path, applications: list[dict[str, object]]) -> None:
        super().__init__(folder)
        table = {
            "state_dir": str(self.state),
            "runtime_dir": str(runtime_dir(self.state)),
            "applications": applications,
            "log": {"terminal": False},
        }
        self._said = folder / "supervisor.txt"
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.peers.supervisor", json.dumps(table)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: b"serving" in self._said.read_bytes(), START_LIMIT_S, "our workers")

    def stop(self) -> None:
        """End the supervisor and everything it runs."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_LIMIT_S)


def asgi(target: str, port: int, workers: int, **more: object) -> dict[str, object]:
    """Describe an ASGI application of this repository as `madang start` does."""
    ports = [{"name": "http", "host": "127.0.0.1", "port": port}]
    entry = {"kind": "asgi", "target": target, "instances": workers, "ports": ports}
    return {**entry, "directory": str(ROOT), **more}


class Madang(Asked):
    """`madang start` in the background, with the hello server as an ordinary ASGI application."""

    def __init__(self, folder: Path, workers: int = WORKERS, target: str = HELLO) -> None:
        super().__init__(folder)
        self.workers_wanted = workers
        self.port = free_port()
        self._run(
            *("start", target, "--name", "hello", "-i", str(workers)),
            *("--port", str(self.port), "--host", "127.0.0.1", "--directory", str(ROOT)),
        )
        wait_for(lambda: len(self.workers()) == workers, START_LIMIT_S, "our workers")

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "madang.cli.main", *arguments]
        return run([*command, "--state", str(self.state)])

    @property
    def pid(self) -> int:
        """Return the pid of the supervisor."""
        return int(self.ask("ls")["supervisor"])

    def workers(self) -> set[int]:
        """Return the ready processes of the application."""
        return self.ready("hello")

    def came_back(self, dead: int, deaths: int) -> bool:
        """Look at the rows: all ready, none of them the dead one."""
        ready = self.workers()
        return len(ready) == self.workers_wanted and dead not in ready

    def reload(self) -> None:
        """Call `madang reload`, which returns when the new generation has taken over."""
        self._run("reload", "hello")

    def stop(self) -> None:
        """End the supervisor and everything it runs."""
        self._run("stop")


class Pm2:
    """pm2 in cluster mode with the seed's own server."""

    def __init__(self, folder: Path, workers: int = WORKERS) -> None:
        self.workers_wanted = workers
        self.command = [str(npm_package(PM2) / "node_modules" / ".bin" / "pm2")]
        self._log = folder / "pm2" / "pm2.log"
        self.port = free_port()
        self._environment: Mapping[str, str] = {
            "PM2_HOME": str(folder / "pm2"),
            "PORT": str(self.port),
            "PM2_DISCRETE_MODE": "true",
        }
        self._run("start", str(PEERS / "hello_server.js"), "-i", str(workers), "--name", "hello")
        wait_for(lambda: answers(self.port), START_LIMIT_S, "pm2's server")

    @property
    def pid(self) -> int:
        """Return the pid of its daemon."""
        return int((self._log.parent / "pm2.pid").read_text())

    @property
    def whole_environment(self) -> dict[str, str]:
        """Return the environment that its commands need."""
        return {**os.environ, **self._environment}

    def _run(self, *arguments: str) -> str:
        return run([*self.command, *arguments], environment=self._environment)

    def workers(self) -> set[int]:
        """Return the online processes of `pm2 jlist`."""
        rows = json.loads(self._run("jlist").strip().splitlines()[-1])
        return {row["pid"] for row in rows if row["pm2_env"]["status"] == "online" and row["pid"]}

    def came_back(self, dead: int, deaths: int) -> bool:
        """Count what its log says: a worker is `online` when it listens; asking costs too much."""
        return self._log.read_text().count("] online") >= self.workers_wanted + deaths

    def reload(self) -> None:
        """Call `pm2 reload`, which returns when the last worker is replaced."""
        self._run("reload", "hello")

    def stop(self) -> None:
        """End the daemon and what it runs."""
        self._run("kill")


class Uvicorn:
    """uvicorn's own supervisor."""

    application = HELLO

    def __init__(self, folder: Path) -> None:
        packages = python_package("uvicorn", UVICORN)
        self.port = free_port()
        output = (folder / "uvicorn.txt").open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", self.application, "--workers", str(WORKERS)),
                *("--port", str(self.port), "--no-access-log", "--log-level", "warning"),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{packages}:{ROOT}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        wait_for(lambda: answers(self.port), START_LIMIT_S, "uvicorn")
        wait_for(lambda: len(self.workers()) == WORKERS, START_LIMIT_S, "uvicorn's workers")

    def workers(self) -> set[int]:
        """Return the processes that it spawned to serve."""
        children = psutil.Process(self._process.pid).children()
        return {child.pid for child in children if _serves(child)}

    def came_back(self, dead: int, deaths: int) -> bool:
        """Look at the processes: it does not say when one is ready."""
        workers = self.workers()
        return len(workers) == WORKERS and dead not in workers

    def reload(self) -> None:
        """Send SIGHUP: workers are replaced one at a time."""
        before = self.workers()
        self._process.send_signal(signal.SIGHUP)
        wait_for(
            lambda: len(self.workers()) == WORKERS and not self.workers() & before,
            RELOAD_LIMIT_S,
            "uvicorn's reload",
        )

    def stop(self) -> None:
        """End it as an operator does."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.kill()
            self._process.wait()


def _serves(child: psutil.Process) -> bool:
    """Tell a worker of uvicorn from its other processes, and from one that has just ended."""
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.Error:
        return False
