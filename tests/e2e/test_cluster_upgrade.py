"""`madang upgrade`: the supervisor becomes new code, and neither child nor client notices."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.cluster_harness import ROOT, Cluster, cluster, http, role, until

LOAD_S = 30.0
HELLO = f"{ROOT}/examples/hello.py:app"


@contextmanager
def steady_load(port: int) -> Iterator[dict[str, Any]]:
    """Load with new and kept connections; what happened is in the table at the end."""
    arguments = [sys.executable, "-m", "bench.steady_load", str(port), str(LOAD_S)]
    arguments += ["--until-input-ends", "--new-per-s", "100", "--kept", "20", "--pause-ms", "20"]
    found: dict[str, Any] = {}
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, stdin=pipe, stdout=pipe) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"started\n"
        yield found
        said, _ = client.communicate()
        found |= json.loads(said)


def pids(running: Cluster) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in running.ask("ls")["rows"]}


def generations(running: Cluster) -> set[int]:
    return {row["generation"] for row in running.ask("ls")["rows"]}


def upgraded(running: Cluster) -> dict[str, Any]:
    done = running.operate("upgrade")
    assert done["state"] == "done", done
    return done


def test_under_load_no_request_fails_and_no_process_ends_twice_in_a_row(tmp_path: Path) -> None:
    web = {"name": "web", "kind": "asgi", "target": HELLO, "instances": 2, "ports": http()}
    with cluster(tmp_path, [web, role("venue", "idle")]) as running:
        address = running.wait_ready()["http"]
        before, supervisor = pids(running), running.ask("ls")["supervisor"]
        with steady_load(address[1]) as load:
            for _ in range(2):
                upgraded(running)
        assert load["failures"] == []
        assert load["reopened"] == 0
        assert load["answers"] > 50
        assert pids(running) == before
        found = running.ask("ls")
        assert found["supervisor"] == supervisor == running.process.pid
        assert [row["restarts"] for row in found["rows"]] == [0, 0, 0]
        assert [(o["kind"], o["state"]) for o in found["operations"]] == [("upgrade", "done")] * 2
        assert running.stop() == 0
