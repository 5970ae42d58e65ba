"""Real balancers in front of real machines: start nginx or HAProxy, put load on, count errors."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import wait_for

START_LIMIT_S = 15.0
STOP_LIMIT_S = 15.0
PAUSE_S = 0.002
REQUEST_LIMIT_S = 10.0


def free_port() -> int:
    """Return a port that is free at this moment, for a program that must be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Return whether something listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running_program(
    command: list[str], port: int, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a balancer in the foreground until the end of the block."""
    output = folder / "balancer.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for(
            lambda: accepts(port) or process.poll() is not None,
            START_LIMIT_S,
            f"{command[0]} on {port}",
        )
        assert process.poll() is None, output.read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Load:
    """Clients that ask for one page again and again, on kept and on new connections.

    Where a kept connection ends before the first byte of an answer they ask again on a new one, as
    browsers do (RFC 9112, 9.3.1): nginx closes idle ones when it reloads.
    """

    def __init__(self, port: int, path: str, clients: int = 4) -> None:
        self._port = port
        self._path = path
        self._ending = threading.Event()
        self.answers: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def errors(self) -> dict[str, int]:
        """Return everything that was not 200."""
        return {what: n for what, n in self.answers.items() if what != "200"}

    def _ask(self, keep_alive: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._ending.is_set():
            kept = connection is not None
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(
                        "127.0.0.1", self._port, timeout=REQUEST_LIMIT_S
                    )
                connection.request("GET", self._path)
                answer = connection.getresponse()
                answer.read()
                self.answers[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                if not (kept and isinstance(error, http.client.RemoteDisconnected)):
                    self.answers[repr(error)] += 1
                connection = None
                continue
            if not keep_alive or answer.will_close:
                connection.close()
                connection = None
            time.sleep(PAUSE_S)
        if connection is not None:
            connection.close()
