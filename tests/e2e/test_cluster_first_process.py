"""The supervisor as process 1 of a container: it reaps whatever is left to it, and ends cleanly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from madang.cluster.control import request, request_until_end
from tests.e2e.cluster_harness import ROOT, role, until

NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="no right to make a process namespace")
def test_the_first_process_of_a_container_leaves_no_zombie(tmp_path: Path) -> None:
    orphans = {"name": "orphans", "kind": "command", "target": "sh", "ready": "started"}
    script = "for n in 1 2 3; do (setsid sleep 0.2 &); (sleep 0.1 &); done; exec sleep 600"
    table = {
        "state_dir": str(tmp_path / "state"),
        "runtime_dir": str(tmp_path / "run"),
        "applications": [{**orphans, "arguments": ["-c", script]}, role("venue", "idle")],
        "log": {"terminal": False},
    }
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}"}
    command = [*NAMESPACE, sys.executable, "-m", "tests.e2e.cluster_main", json.dumps(table)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    control = tmp_path / "run" / "control.sock"
    try:
        until(lambda: control.exists())
        first = request(control, {"command": "ls"})
        assert first["supervisor"] == 1
        inside = next(
            pid for pid in _descendants(process.pid) if "cluster.foreground" in _words(pid)
        )

        def settled() -> bool:
            words = [_words(pid) for pid in _descendants(inside)]
            return sum("sleep" in word for word in words) == 1 and all(words)

        until(settled)  # a zombie has no words
        request_until_end(control, {"command": "stop"}, 10_000)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _descendants(pid: int) -> list[int]:
    try:
        path = Path(f"/proc/{pid}/task/{pid}/children")
        children = [int(word) for word in path.read_text().split()]
    except OSError:
        return []
    return [*children, *(below for child in children for below in _descendants(child))]


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
