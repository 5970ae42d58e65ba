"""What the supervisor looks after by itself: hung loops, busy interpreters, balance, load."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster_harness import Cluster, cluster, http, role, until

CONNECTIONS = 2_000
PACE = 4
CROWD_S = 0.002
"""Some thousand connections a second, as a crowd comes."""
BURST_S = 0.0
"""As fast as one client can: some ten thousand a second."""
IDLE_S = 4.0
IDLE_CPU_PERCENT_MAX = 1.5
"""Three times the bar of half a percent, which `bench` measures."""


def answers(address: tuple[str, int], word: bytes = b"who\n") -> str:
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(word)
        return client.recv(64).decode()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_hung_worker_gets_no_new_connection_half_a_second_later(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("worker", "answer", instances=3, ports=http())]) as running:
        address = running.wait_ready()["http"]
        with socket.create_connection(address) as client:
            client.sendall(b"hang\n")
            until(lambda: "hanging" in running.log("worker"))
            time.sleep(0.5)  # the bar
            assert [row["state"] for row in running.ask("ls")["rows"]].count("stalled") == 1
            began = time.monotonic()
            pids = {answers(address) for _ in range(60)}
            assert time.monotonic() - began < 2.5  # none waited for the hung one
            assert len(pids) == 2


def test_a_thread_that_holds_the_interpreter_does_not_trip_the_watchdog(tmp_path: Path) -> None:
    watchdog = {"abort_ms": 1_200, "busy_ms": 20_000}
    with cluster(tmp_path, [role("venue", "hog")], watchdog=watchdog) as running:
        running.wait_ready()
        pid = running.pid("venue")
        until(lambda: running.row("venue")["state"] == "stalled")
        until(lambda: "the interpreter was held for" in running.log("venue"))
        held = float(running.log("venue").rpartition("held for ")[2].split()[0])
        assert held > 2.5  # more than twice what a hung loop is given
        until(lambda: running.row("venue")["state"] == "ready")
        assert (running.pid("venue"), running.row("venue")["restarts"]) == (pid, 0)


@pytest.mark.parametrize("way", ["busy", "asleep"])
def test_a_hung_loop_trips_it_and_its_stack_is_in_the_log(tmp_path: Path, way: str) -> None:
    watchdog = {"abort_ms": 1_000, "kill_ms": 500}
    with cluster(tmp_path, [role("venue", way)], watchdog=watchdog) as running:
        running.wait_ready()
        pid = running.pid("venue")
        until(lambda: running.row("venue")["restarts"] >= 1)
        cause = running.ask("describe", name="venue")["instances"][0]["causes"][0]
        assert cause["pid"] == pid
        assert cause["cause"].startswith("hung: no heartbeat for ")
        assert cause["cause"].endswith("(SIGABRT)")
        until(lambda: 'cluster_roles.py", line' in running.log("venue"))


def test_a_program_that_promised_heartbeats_is_held_to_them(tmp_path: Path) -> None:
    notify = (
        "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
        "s.sendto(b'READY=1\\nWATCHDOG=1', os.environ['NOTIFY_SOCKET']); time.sleep(600)"
    )
    entry = {"name": "once", "kind": "command", "target": "python3", "ready": "notify"}
    entry |= {"arguments": ["-c", notify]}  # type: ignore[dict-item]
    watchdog = {"abort_ms": 700, "kill_ms": 300}
    with cluster(tmp_path, [entry], watchdog=watchdog) as running:
        running.wait_ready()
        until(lambda: running.row("once-0")["restarts"] >= 1)
        assert running.row("once-0")["last_exit"].startswith("hung: no heartbeat for 700 ms")


@contextmanager
def crowd(running: Cluster, address: tuple[str, int], pause_s: float) -> Iterator[Counter[str]]:
    """Hold CONNECTIONS connections; yield how many of them each process has."""
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(address, timeout=10))
            if number % PACE == 0:
                time.sleep(pause_s)
        until(lambda: sum(row["connections"] for row in running.ask("ls")["rows"]) == CONNECTIONS)
        rows = running.ask("ls")["rows"]
        yield Counter({row["name"]: row["connections"] for row in rows})


@pytest.mark.parametrize(
    ("balance", "pause_s", "limit"),
    [
        ("even", CROWD_S, 1.10),
        ("least_connections", CROWD_S, 1.03),
        ("even", BURST_S, 1.10),
        ("least_connections", BURST_S, 1.06),
    ],
)
def test_long_lived_connections_are_spread(
    tmp_path: Path, balance: str, pause_s: float, limit: float
) -> None:
    entry = role("worker", "hold", instances=4, ports=http(), balance=balance)
    with cluster(tmp_path, [entry]) as running:
        address = running.wait_ready()["http"]
        with crowd(running, address, pause_s) as counts:
            assert len(counts) == 4
            assert max(counts.values()) <= limit * CONNECTIONS / 4


def test_connections_follow_weights(tmp_path: Path) -> None:
    more: dict[str, Any] = {"balance": "weights", "weights": [3, 1]}
    with cluster(tmp_path, [role("worker", "hold", instances=2, ports=http(), **more)]) as running:
        address = running.wait_ready()["http"]
        until(lambda: running.ask("describe", name="worker")["shares"] == {"0": 0.75, "1": 0.25})
        with crowd(running, address, CROWD_S) as counts:
            assert 0.70 < counts["worker-0"] / CONNECTIONS < 0.80


def test_load_scales_up_and_rest_scales_down(tmp_path: Path) -> None:
    flag = tmp_path / "busy"
    scale = {"minimum": 1, "maximum": 3, "cpu_high_percent": 12, "cpu_low_percent": 8}
    scale |= {"up_after_ms": 1_000, "down_after_ms": 1_000, "lag_high_ms": 10_000}
    more: dict[str, Any] = {"autoscale": scale, "options": {"file": str(flag)}}
    flag.write_text("")
    with cluster(tmp_path, [role("worker", "busy_if", ports=http(), **more)]) as running:
        running.wait_ready()
        until(lambda: len(running.ask("ls")["rows"]) == 3)
        flag.unlink()
        until(lambda: len(running.ask("ls")["rows"]) == 1)
        steps = [o["steps"][0]["text"] for o in running.ask("ls")["operations"]]
        assert steps[0].startswith("to 2 instances: CPU ")


def test_an_idle_supervisor_costs_next_to_nothing(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("worker", "answer", instances=4, ports=http())]) as running:
        running.wait_ready()
        before = cpu_s(running.process.pid)
        time.sleep(IDLE_S)
        used = cpu_s(running.process.pid) - before
        assert 100 * used / IDLE_S < IDLE_CPU_PERCENT_MAX
        assert running.ask("ls")["rss"] < 25 * 1024 * 1024


def test_an_instance_that_grows_too_large_is_replaced_and_the_operator_sees_why(
    tmp_path: Path,
) -> None:
    limit = 200 * 1024 * 1024
    with cluster(
        tmp_path, [role("worker", "grow", ports=http(), memory_max_bytes=limit, watch_ms=50)]
    ) as running:
        running.wait_ready()
        pid = running.pid("worker-0")
        until(lambda: running.replaced("worker-0", pid))
        found = running.ask("ls")["operations"][0]
        assert found["kind"] == "replace"
        assert found["steps"][0]["text"].startswith("memory ")
        assert found["steps"][0]["text"].endswith(" MB over 200 MB")
