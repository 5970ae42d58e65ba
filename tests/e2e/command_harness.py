"""The real `madang` command on a state folder of its own, and proof that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from madang.cluster.logs import LogQuery, recent
from tests.e2e.cluster_harness import MARK, ROOT, living, until

LIMIT_S = 60.0
MADANG = (sys.executable, "-m", "madang.cli.main")
HELLO = """
import os

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"VERSION " + str(os.getpid()).encode()})
"""
ECHO = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: print("got USR1", flush=True))
print("begins", sys.argv[1:], os.environ.get("COLOUR"), os.getcwd(), flush=True)
for line in sys.stdin:
    print("heard", line.strip(), flush=True)
while True:
    signal.pause()
"""


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Return its answer."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Terminal:
    """A folder with two programs in it, where a person types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, MARK: self.mark, "PYTHONPATH": f"{ROOT / 'python'}"}
        self.environment.pop("MADANG_CLUSTER_STATE_DIR", None)
        self.write("hello.py", HELLO.replace("VERSION", "one"))
        self.write("echo.py", ECHO)

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        (self.folder / name).write_text(text)

    def run(self, *words: str, typed: str = "", **variables: str) -> Done:
        """Run `madang` with these words."""
        done = subprocess.run(
            [*MADANG, *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def good(self, *words: str, **more: str) -> Done:
        """Run it and expect exit code 0."""
        done = self.run(*words, **more)
        assert done.code == 0, f"{words}: {done}"
        return done

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return what `ls` shows, by instance."""
        return {row["name"]: row for row in self.good("ls", "--json").json["rows"]}

    def pids(self) -> dict[str, int]:
        """Return the pid of each instance that has one."""
        return {name: row["pid"] for name, row in self.rows().items() if row["pid"]}

    def logs(self, name: str) -> str:
        """Return what an application said, as `logs` shows it."""
        lines = recent(self.folder / ".madang" / "logs", LogQuery(frozenset({name}), "", 1_000))
        return "".join(f"{line.instance} | {line.text}\n" for line in lines)

    def until_said(self, name: str, text: str) -> None:
        """Wait until an application has said something."""
        until(lambda: text in self.logs(name))

    def living(self) -> list[int]:
        """Return every process that was started from here and lives."""
        return living(self.mark)

    def kill_supervisor(self) -> None:
        """Kill the supervisor as the machine's memory keeper would, and wait for the others."""
        os.kill(self.good("ls", "--json").json["supervisor"], signal.SIGKILL)
        until(lambda: not self.living())


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Yield a terminal in a folder of a short name; at the end nothing of it may be alive."""
    with tempfile.TemporaryDirectory(prefix="mt-") as folder:
        typing = Terminal(Path(folder))
        try:
            yield typing
        finally:
            typing.run("stop")
            deadline = time.monotonic() + 5
            left = typing.living()
            while left and time.monotonic() < deadline:
                time.sleep(0.02)
                left = typing.living()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            assert not left, f"left behind: {left}"


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int) -> str:
    """Return the body of the answer to one request, "" when it is refused."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            received = b""
            while piece := client.recv(65_536):
                received += piece
    except OSError:
        return ""
    return received.partition(b"\r\n\r\n")[2].decode()
