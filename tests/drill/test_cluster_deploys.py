"""Broken deploys under load: the old generation serves on, and `madang ls` says why."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.drill.cluster import Failure, asgi, drilled, explains, load
from tests.e2e.cluster_harness import Cluster, until

INSTANCES = 2
SAMPLE_S = 0.01
START_TIMEOUT_MS = 2_500
WATCH_MS = 2_500
REST_S = 1.0
CONNECTED_MAX = 40
"""So many connections two crashing processes may have had between them."""
GOOD = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"NAME"})
"""
IMPORT_ERROR = "import a_module_that_was_forgotten\n" + GOOD
LIFESPAN = """
import asyncio, os, sys
from deployed_before import app as before

async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        return await before(scope, receive, send)
    await receive()
    STARTUP
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
"""
NEVER_READY = LIFESPAN.replace("STARTUP", "await asyncio.sleep(3_600)")
LATER = """
    def die():
        print("the connection pool is gone", flush=True)
        os._exit(9)
    asyncio.get_running_loop().call_later(1, die)
"""
CRASH = LIFESPAN.replace("    STARTUP", LATER)
HALF = """
import itertools
numbers = itertools.count()

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    status = 500 if next(numbers) % 2 else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"half"})
"""
BROKEN = {
    "import error": (IMPORT_ERROR, "failed", "No module named 'a_module_that_was_forgotten'"),
    "never ready": (NEVER_READY, "failed", f"not ready after {START_TIMEOUT_MS} ms"),
    "crash after 1 s": (CRASH, "rolled_back", "the connection pool is gone"),
    "half 500": (HALF, "rolled_back", "answers were errors"),
}


class Watch:
    """Looks again and again how many instances are ready, in whatever generation."""

    def __init__(self, running: Cluster) -> None:
        self._running = running
        self._done = threading.Event()
        self.fewest = INSTANCES
        self.looks = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.is_set():
            rows = self._running.ask("ls")["rows"]
            self.fewest = min(self.fewest, sum(row["state"] == "ready" for row in rows))
            self.looks += 1
            time.sleep(SAMPLE_S)

    def end(self) -> None:
        """Look no more."""
        self._done.set()
        self._thread.join()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_deploy_never_costs_a_ready_worker_and_says_why(tmp_path: Path, kind: str) -> None:
    source, state, reason = BROKEN[kind]
    site = tmp_path / "site"
    entry = asgi(site, GOOD, start_timeout_ms=START_TIMEOUT_MS, watch_ms=WATCH_MS)
    (site / "deployed_before.py").write_text(GOOD)
    with drilled(tmp_path, [entry]) as running:
        port = running.wait_ready()["http"][1]
        before = {row["pid"] for row in running.ask("ls")["rows"]}
        with load(port) as offered:
            watch = Watch(running)
            try:
                (site / "deployed.py").write_text(source)
                done = running.operate("reload", name="web")
                time.sleep(REST_S)  # the load goes on for a moment: nothing may follow
            finally:
                watch.end()
            explains(running, reason)
        assert (done["state"], reason in done["reason"]) == (state, True), done["reason"]
        assert watch.fewest == INSTANCES
        assert watch.looks > 20
        assert {row["pid"] for row in running.ask("ls")["rows"]} == before
        check_answers(kind, offered.failures, offered.errors)
        (site / "deployed.py").write_text(GOOD)
        assert running.operate("reload", name="web")["state"] == "done"
        until(lambda: running.ask("ls")["applications"][0]["problem"] == "")


def check_answers(kind: str, failures: list[Failure], errors: int) -> None:
    """Only what a process that died by itself had accepted may be lost."""
    if kind == "crash after 1 s":
        assert all(failure.kind != "refused" for failure in failures), failures
        assert len(failures) <= CONNECTED_MAX
    else:
        assert failures == []
    assert (errors > 0) is (kind == "half 500")
