"""Processes that hang, swell, crash, do not listen, fork, or lie: everybody else serves on.

MADANG_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.drill.cluster import (
    asgi,
    drilled,
    explains,
    load,
    program,
    role,
    screen,
    seeded,
)
from tests.e2e.cluster_harness import Cluster, until

MS = 1_000_000
HANGS = 3
AVOIDED_MS = 500
MEMORY_MAX = 90 * 1024 * 1024
WORN = 4
FORKS = 4
LIES_S = 3.0
SOURCE = """
import os, time
held = []

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/hang":
        print("hanging", flush=True)
        time.sleep(60)
    if LEAK:
        held.append(bytearray(b"x") * LEAK)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
HANGING = SOURCE.replace("LEAK", "0")
LEAKING = SOURCE.replace("LEAK", "400_000")


def hang(port: int) -> int:
    """Make some worker hang; return when it was asked to, monotonic ns."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        at_ns = time.monotonic_ns()
        client.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        client.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            client.recv(1)
        return at_ns


def test_hung_loops_are_avoided_ended_and_explained(tmp_path: Path) -> None:
    chooser = seeded()
    watchdog = {"abort_ms": 3_000, "kill_ms": 500}
    entry = asgi(tmp_path / "site", HANGING, instances=3)
    hangs: list[int] = []
    with drilled(tmp_path, [entry], watchdog=watchdog) as running:
        port = running.wait_ready()["http"][1]
        with load(port) as offered:
            for number in range(1, HANGS + 1):
                hangs.append(hang(port))
                explains(running, "stalled")
                until(lambda n=number: restarts(running) == n)  # type: ignore[misc]
                until(lambda: all_ready(running))
                time.sleep(chooser.uniform(0.2, 0.6))
        explains(running, "hung: no heartbeat for 3000 ms (SIGABRT)")
        assert running.log("web").count("Fatal Python error: Aborted") == HANGS
        assert running.log("web").count('deployed.py", line') >= HANGS
    assert {failure.kind for failure in offered.failures} <= {"kept", "new"}
    sent_ns = [*(failure.sent_ns for failure in offered.failures), *(s for s, _ in offered.slow)]
    assert all(was_early(at_ns, hangs) for at_ns in sent_ns), (
        hangs,
        offered.failures,
        offered.slow,
    )
    assert offered.answers > 500


def was_early(sent_ns: int, hangs: list[int]) -> bool:
    """Whether a request was sent before a hung worker had to be out of everybody's way."""
    return any(0 <= sent_ns - at_ns + 50 * MS <= (AVOIDED_MS + 50) * MS for at_ns in hangs)


def restarts(running: Cluster) -> int:
    """Return how often anything was restarted."""
    return sum(int(row["restarts"]) for row in running.ask("ls")["rows"])


def all_ready(running: Cluster) -> bool:
    """Whether every instance is ready."""
    return all(row["state"] == "ready" for row in running.ask("ls")["rows"])


def test_a_memory_hog_is_replaced_before_it_hurts_and_nobody_notices(tmp_path: Path) -> None:
    entry = asgi(tmp_path / "site", LEAKING, memory_max_bytes=MEMORY_MAX, watch_ms=200)
    with drilled(tmp_path, [entry]) as running:
        port = running.wait_ready()["http"][1]
        with load(port) as offered:
            until(lambda: len(worn(running)) >= WORN, 60)
            assert max(row["rss"] for row in running.ask("ls")["rows"]) < 4 * MEMORY_MAX
        reasons = worn(running)
        assert all(r.startswith("memory ") and r.endswith(" over 90 MB") for r in reasons), reasons
        assert restarts(running) == 0
    assert offered.failures == []


def worn(running: Cluster) -> list[str]:
    """Return why instances were replaced, as `madang ls --json` has it."""
    operations = running.ask("ls")["operations"]
    return [
        o["steps"][0]["text"] for o in operations if (o["kind"], o["state"]) == ("replace", "done")
    ]


@pytest.mark.parametrize("ready", ["notify", "started"])
def test_a_crash_loop_ends_as_errored_with_its_last_words(tmp_path: Path, ready: str) -> None:
    more = {"max_restarts": 4, "backoff_ms": 20, "ready": ready}
    with drilled(tmp_path, [role("calm", "lie")]) as running:
        running.wait_ready()
        done = running.operate("start", application=program("db", "crash", **more))
        if ready == "notify":  # one that counts as ready when it is started had come up
            assert done["state"] == "failed"
            assert "cannot reach the database" in done["reason"]
        explains(running, "errored", "exit 3", "cannot reach the database at 10.0.0.7")
        assert running.row("db-0")["restarts"] == 4
        assert running.row("calm")["state"] == "ready"
        assert running.operate("delete", name="db")["state"] == "done"
        assert "db" not in screen(running)


def test_who_ignores_sigterm_is_ended_with_the_reason(tmp_path: Path) -> None:
    entries = [program("deaf", "deaf", instances=3, stop_timeout_ms=400)]
    with drilled(tmp_path, entries) as running:
        running.wait_ready()
        pids = [row["pid"] for row in running.ask("ls")["rows"]]
        began_s = time.monotonic()
        assert running.operate("restart", name="deaf-1")["state"] == "done"
        assert time.monotonic() - began_s < 10
        explains(running, "did not stop in 400 ms (SIGKILL)")
        assert running.operate("stop", name="deaf")["state"] == "done"
        explains(running, "stopped")
        assert not set(pids) & set(running.living())


def test_the_children_of_a_child_do_not_outlive_it(tmp_path: Path) -> None:
    chooser = seeded()
    with drilled(tmp_path, [program("tree", "fork", instances=2)]) as running:
        running.wait_ready()
        for _ in range(FORKS):
            name = f"tree-{chooser.randrange(2)}"
            pid = running.pid(name)
            others = started_by(running, pid)
            assert len(others) == 3
            os.kill(pid, chooser.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV)))
            until(lambda n=name, p=pid: running.replaced(n, p))  # type: ignore[misc]
            until(lambda g=others: not set(g) & set(running.living()))  # type: ignore[misc]
        assert running.stop() == 0
        assert running.living() == []


def started_by(running: Cluster, parent: int) -> list[int]:
    """Return the children of a process, in whatever session they are."""
    words = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(word) for word in words]


def test_numbers_that_cannot_be_harm_nobody(tmp_path: Path) -> None:
    scale = {"minimum": 1, "maximum": 3}
    entries = [
        role("liar", "lie", instances=2, ports=[{"name": "a", "host": "127.0.0.1", "port": 0}]),
        role("scaled", "lie", autoscale=scale),
        asgi(tmp_path / "site", HANGING),
    ]
    with drilled(tmp_path, entries) as running:
        running.wait_ready()
        port = int(running.ask("ls")["applications"][2]["addresses"]["http"].rpartition(":")[2])
        with load(port) as offered:
            time.sleep(LIES_S)
            until(lambda: "the year is" in screen(running))
            assert running.ask("metrics")["samples"]
        assert {row["app"]: row["restarts"] for row in running.ask("ls")["rows"]} == {
            "liar": 0,
            "scaled": 0,
            "web": 0,
        }
        assert running.operate("reload", name="liar")["state"] in ("done", "rolled_back")
    assert offered.failures == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs unshare, root")
@pytest.mark.parametrize("ahead_s", [-20, 10 * 365 * 86_400])
def test_a_child_whose_clock_is_wrong_is_judged_by_ours(tmp_path: Path, ahead_s: int) -> None:
    offset = max(ahead_s, -int(time.monotonic()) + 60)
    entry = program("clock", "stepped", stop_timeout_ms=500)
    target = ["--time", "--monotonic", str(offset), "--fork", "--kill-child=SIGTERM"]
    words = [*target, "python3", entry["target"], "stepped"]
    entry |= {"kind": "command", "target": "unshare", "arguments": words}
    watchdog = {"abort_ms": 1_500, "kill_ms": 500}
    with drilled(tmp_path, [{**entry, "ready": "started"}], watchdog=watchdog) as running:
        running.wait_ready()
        time.sleep(3)
        explains(running, "ready")
        assert restarts(running) == 0
