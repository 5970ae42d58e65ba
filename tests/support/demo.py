"""The whole product for a test: `madang up --demo` on a free port in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: where it listens, who may sign in, and its supervisor."""

    address: str
    name: str
    password: str
    key_id: str
    secret: str
    state_dir: Path
    process: subprocess.Popen[bytes]

    def pids(self, application: str) -> list[int]:
        """Return the processes of one application that are ready."""
        rows = request(runtime_dir(self.state_dir) / SOCKET_NAME, {"command": "ls"})["rows"]
        assert isinstance(rows, list)
        return [row["pid"] for row in rows if row["app"] == application and row["state"] == "ready"]

    def kill(self, application: str) -> int:
        """Kill every process of an application without warning; return how many."""
        pids = self.pids(application)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait until `condition` holds, or fail naming `what` did not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


@contextmanager
def running_demo(
    folder: Path,
    *flags: str,
    madang: Path = Path(sys.executable).parent / "madang",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Demo]:
    """Start a demo with two workers in `folder`, and stop it at the end whatever happened."""
    state_dir = folder / "state"
    output = folder / "output.txt"
    arguments = ["up", "--demo", "--state", str(state_dir), "--port", "0", "--workers", "2"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(madang), *arguments, *flags],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _when_up(process, output, state_dir)
    finally:
        _stop(process)


def _when_up(process: subprocess.Popen[bytes], output: Path, state_dir: Path) -> Demo:
    def said() -> str:
        return output.read_text(errors="replace")

    def is_up_or_over() -> bool:
        return "Ctrl-C stops it" in said() or process.poll() is not None

    wait_for(is_up_or_over, START_TIMEOUT_S, f"the demo's start; it said: {said()[-2000:]}")
    found = re.search(r"address\s+(\S+)", said())
    assert found, f"the demo did not start: {said()[-2000:]}"
    person = json.loads((state_dir / "demo.json").read_text())["persons"]["demo"]
    return Demo(
        found.group(1),
        person["plan"]["name"],
        person["password"],
        person["key_id"],
        person["secret"],
        state_dir,
        process,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
