"""How evenly long-lived connections lie on four workers, and who avoids a worker that hangs.

Method: 2,000 connections come within two seconds, each asks once which process answers, and stays.
`fullest_over_mean` is judged by those answers alone. Then one worker is made to hold its event loop
for four seconds while 200 new connections a second come; `connections_to_hung_worker` counts those
which came later than 500 ms after that and were answered by the hung worker when it woke, or by
nobody. The load runs in a process of its own. Node's `cluster` deals connections out in turn.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from bench.harness import ROOT, Options, PeerMissing, Report, options, say
from bench.managers import PEERS, START_LIMIT_S, Supervised, asgi, free_port, wait_for

WORKERS = 4
CONNECTIONS = 2_000
LOAD_LIMIT_S = 60
WHO = "bench.peers.who:app"
BALANCES = ("even", "least_connections")


class Server(Protocol):
    """Four workers that say who they are."""

    port: int

    def stop(self) -> None:
        """End them."""
        ...


class Ours(Supervised):
    """Under Madang, with one way of sharing out."""

    def __init__(self, folder: Path, balance: str) -> None:
        self.port = free_port()
        entry = {"name": "who", **asgi(WHO, self.port, WORKERS, balance=balance)}
        super().__init__(folder, [entry])


class NodeCluster:
    """Under Node's cluster."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        said = folder / "node.txt"
        try:
            with said.open("wb") as output:
                self._process = subprocess.Popen(
                    ["node", str(PEERS / "who.js"), str(self.port), str(WORKERS)],
                    stdout=output,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise PeerMissing("node is not installed") from error
        wait_for(lambda: b"serving" in said.read_bytes(), START_LIMIT_S, "Node's workers")

    def stop(self) -> None:
        """End the primary, its workers, and the wrapper that some installations put before it."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


def measure(server: Server, suffix: str) -> dict[str, float]:
    """Run the crowd against a server and end it."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.crowd", str(server.port), str(CONNECTIONS)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            timeout=LOAD_LIMIT_S,
            check=True,
        )
    finally:
        server.stop()
    found: dict[str, Any] = json.loads(done.stdout)
    held = Counter(found["held"])
    assert held.total() == CONNECTIONS
    assert len(held) == WORKERS
    return {
        f"fullest_over_mean{suffix}": max(held.values()) / (CONNECTIONS / WORKERS),
        f"connections_to_hung_worker{suffix}": found["to_hung"],
        f"last_connection_to_hung_worker_ms{suffix}": found["last_to_hung_ms"],
        f"slowest_answer_beside_it_ms{suffix}": found["slowest_ms"],
        f"slowest_answer_before_ms{suffix}": found["slowest_before_ms"],
    }


def run(given: Options) -> Report:
    """Measure both ways of sharing out, and the peer."""
    report = Report("spread")
    for balance in BALANCES:
        say(f"madang, {balance}")
        with tempfile.TemporaryDirectory() as folder:
            report.ours |= measure(Ours(Path(folder), balance), f"_{balance}")
    try:
        say("Node's cluster")
        with tempfile.TemporaryDirectory() as folder:
            found = measure(NodeCluster(Path(folder)), "")
        report.peers["node_cluster"] = {
            f"{metric}_{balance}": value for metric, value in found.items() for balance in BALANCES
        }
    except PeerMissing as missing:
        report.conditions["node_cluster"] = str(missing)
    report.conditions |= {"workers": WORKERS, "connections": CONNECTIONS}
    return report


def main() -> None:
    """Measure ours and Node's cluster."""
    given = options(__doc__ or "")
    run(given).print(given)


if __name__ == "__main__":
    main()
