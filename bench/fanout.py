"""One message to many WebSocket clients, beside `ws` and Socket.IO: the server's CPU per delivery.

Method: 100-byte messages, published inside the server at even distances; 200 clients at 1,000/s,
then 2,000 clients at 50/s (`sparse`), then 5,000 (2,000 with --quick) that are told nothing
(`idle`: growth of resident memory). CPU is that of all processes of the server, user and system,
from /proc over the window.
Clients are raw sockets that read each 5 ms; four others read at once and say how long after its due
time each message came (`added_latency`). Madang and `ws` are one process, Socket.IO two workers
with its cluster adapter; Centrifugo takes its messages by its HTTP API from a process that is not
counted. Messages that did not arrive make the run fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.harness import CACHE, ROOT, PeerMissing, Report, options, percentile, run, say

PEERS = Path(__file__).parent / "peers"
NPM = ("ws@8", "socket.io@4", "@socket.io/cluster-adapter@0.3")
CENTRIFUGO = ("github.com/centrifugal/centrifugo/v5", "v5.4.9")
BUILD_TIMEOUT_S = 600
SAMPLED = 4
SETTLE_S = 0.5
IDLE_CLIENTS = 5_000
IDLE_CLIENTS_QUICK = 2_000
READ_PAUSE_MS = 5
LATE_S = 5.0
"""How long after the last message was due a busy machine may take."""
QUICK_S = 1.0
FULL_S = 10.0
COMPLETE = 0.98


@dataclass(frozen=True, slots=True)
class Load:
    """How many clients, and how many messages a second each gets."""

    clients: int
    rate_per_s: int


DENSE = Load(200, 1_000)
SPARSE = Load(2_000, 50)


@dataclass(frozen=True, slots=True)
class Contender:
    """A server to be measured."""

    name: str
    kind: str
    command: list[str]
    beneath: bool = False
    """The command only runs and feeds the server, which is its child."""


class Serving:
    """A server's processes."""

    def __init__(self, process: subprocess.Popen[str], beneath: bool) -> None:
        self.process = process
        self._beneath = beneath
        assert process.stdout is not None
        self.port = int(process.stdout.readline())

    def _all(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        children = root.children(recursive=True)
        return children if self._beneath else [root, *children]

    def cpu_s(self) -> float:
        """Return the CPU time used so far, in steps of a clock tick."""
        return sum(sum(process.cpu_times()[:2]) for process in self._all())

    def resident_bytes(self) -> int:
        """Return the resident memory."""
        return sum(process.memory_info().rss for process in self._all())

    def publish(self, load: Load, seconds: float) -> None:
        """Start publishing."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{load.rate_per_s} {seconds}\n")
        self.process.stdin.flush()


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@contextlib.contextmanager
def serving(contender: Contender) -> Iterator[Serving]:
    """Run a server; it ends with its stdin."""
    modules = str(CACHE / "fanout-node" / "node_modules")
    process = _start(contender.command, {"NODE_PATH": modules})
    try:
        yield Serving(process, contender.beneath)
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Readers:
    """A process of clients."""

    def __init__(self, contender: Contender, port: int, clients: int, measured: bool) -> None:
        pause_ms = 0 if measured else READ_PAUSE_MS
        reader = str(PEERS / "fanout_reader.py")
        arguments = [port, contender.kind, clients, pause_ms, int(measured)]
        self.process = _start([sys.executable, reader, *map(str, arguments)], {})
        self._expect("ready")

    def _expect(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line != word:
            raise SystemExit(f"the clients said {line!r} in place of {word!r}")

    def reset(self) -> None:
        """Count anew."""
        assert self.process.stdin is not None
        self.process.stdin.write("reset\n")
        self.process.stdin.flush()
        self._expect("reset")

    def count(self) -> float:
        """Return messages received so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("count\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> tuple[float, list[int]]:
        """Return messages received and sorted latencies in microseconds."""
        out, _ = self.process.communicate()
        told = json.loads(out)
        return told["messages"], told["latencies_us"]


def measure(contender: Contender, load: Load, seconds: float) -> tuple[float, float]:
    """Return CPU microseconds per delivery and the 99th percentile of added milliseconds."""
    with serving(contender) as server:
        bulk = Readers(contender, server.port, load.clients - SAMPLED, measured=False)
        sampled = Readers(contender, server.port, SAMPLED, measured=True)
        server.publish(load, SETTLE_S)
        time.sleep(2 * SETTLE_S)
        bulk.reset()
        sampled.reset()
        before_s = server.cpu_s()
        server.publish(load, seconds)
        time.sleep(seconds)
        expected = load.clients * load.rate_per_s * seconds
        until_s = time.monotonic() + LATE_S
        while bulk.count() + sampled.count() < expected and time.monotonic() < until_s:
            time.sleep(SETTLE_S / 2)
        used_s = server.cpu_s() - before_s
        messages, _ = bulk.end()
        more, latencies = sampled.end()
    if messages + more < COMPLETE * expected:
        raise SystemExit(f"{contender.name}: {messages + more:.0f} of {expected:.0f} arrived")
    return used_s * 1e6 / (messages + more), percentile(latencies, 0.99) / 1_000


def idle_bytes(contender: Contender, clients: int) -> float:
    """Return the growth of resident memory per connection."""
    with serving(contender) as server:
        before = server.resident_bytes()
        readers = Readers(contender, server.port, clients, measured=False)
        time.sleep(SETTLE_S)
        grown = server.resident_bytes() - before
        readers.end()
    return grown / clients


def metrics(contender: Contender, seconds: float, idle_clients: int) -> dict[str, float]:
    """Measure one server."""
    say(contender.name)
    dense, p99_ms = measure(contender, DENSE, seconds)
    sparse, sparse_p99_ms = measure(contender, SPARSE, seconds)
    return {
        "cpu_us_per_delivery": round(dense, 3),
        "cpu_us_per_delivery_sparse": round(sparse, 3),
        "added_latency_p99_ms": round(p99_ms, 2),
        "added_latency_p99_ms_sparse": round(sparse_p99_ms, 2),
        "bytes_per_idle_connection": round(idle_bytes(contender, idle_clients)),
    }


def install() -> None:
    """Install the npm peers into the cache folder the first time; raises PeerMissing."""
    folder = CACHE / "fanout-node"
    if not (folder / "node_modules" / "socket.io").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
        run(["npm", "install", "--no-fund", "--no-audit", "--silent", *NPM], cwd=folder)


def centrifugo(*, quick: bool) -> Path:
    """Return the server, built through the Go proxy by the first full run; raises PeerMissing."""
    folder = CACHE / "centrifugo"
    binary = folder / "centrifugo"
    if not binary.exists() and quick:
        raise PeerMissing("centrifugo is built by a run without --quick")
    if not binary.exists():
        source = folder / "src"
        source.mkdir(parents=True, exist_ok=True)
        module, version = CENTRIFUGO
        text = f"module peer\n\ngo 1.23\n\nrequire {module} {version}\n"
        (source / "go.mod").write_text(text, encoding="utf-8")
        text = f'//go:build tools\n\npackage peer\n\nimport _ "{module}"\n'
        (source / "tools.go").write_text(text, encoding="utf-8")
        say("building centrifugo")
        command = ["go", "build", "-o", str(binary), module]
        run(command, cwd=source, timeout_s=BUILD_TIMEOUT_S, environment={"GOFLAGS": "-mod=mod"})
    return binary


def main() -> None:
    """Measure ours and each peer."""
    chosen = options(__doc__.splitlines()[0])
    seconds = QUICK_S if chosen.quick else FULL_S
    idle_clients = IDLE_CLIENTS_QUICK if chosen.quick else IDLE_CLIENTS
    report = Report("fanout")
    ours = Contender("madang", "raw", [sys.executable, str(PEERS / "fanout_madang.py")])
    report.ours = metrics(ours, seconds, idle_clients)
    try:
        install()
        for name, kind in (("ws", "raw"), ("socketio", "socketio")):
            command = ["node", str(PEERS / f"fanout_{name}.js")]
            report.peers[name] = metrics(Contender(name, kind, command), seconds, idle_clients)
    except PeerMissing as missing:
        report.conditions["npm peers missing"] = str(missing)
    try:
        command = [
            sys.executable,
            str(PEERS / "fanout_centrifugo.py"),
            str(centrifugo(quick=chosen.quick)),
        ]
        peer = Contender("centrifugo", "centrifugo", command, beneath=True)
        report.peers["centrifugo"] = metrics(peer, seconds, idle_clients)
    except PeerMissing as missing:
        report.conditions["centrifugo missing"] = str(missing)
    report.conditions["seconds"] = seconds
    report.conditions["our flush window"] = "9 ms"
    report.conditions["idle_clients"] = idle_clients
    report.conditions["latencies"] = "readers and servers share the cores"
    report.print(chosen)


if __name__ == "__main__":
    main()
