"""examples/jobs.py: two workers as real processes, one of them killed with jobs under way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from madang import bus
from madang.bus import application as bus_application
from tests.e2e.cluster_harness import cluster, http

EXAMPLE = Path(__file__).parents[2] / "examples" / "jobs.py"
LIMIT_S = 60.0
POLL_S = 0.01
JOBS = 24


def start_worker(runtime: Path, name: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MADANG_RUNTIME_DIR": str(runtime),
        "MADANG_NAME": name,
    }
    return subprocess.Popen([sys.executable, str(EXAMPLE)], env=environment)


def expected(text: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"", 200_000).hex()


async def work_through_a_kill(workers: list[subprocess.Popen[bytes]]) -> list[dict[str, object]]:
    killed = workers[0]
    async with asyncio.timeout(LIMIT_S), bus.session():
        peers = bus_application.current().bus.peers
        while len({name.partition(".")[0] for name in peers()} & {"jobs-0", "jobs-1"}) < 2:
            await asyncio.sleep(POLL_S)  # else the one that is killed might not have begun
        submissions = [await bus.submit("digest", f"text {n}") for n in range(JOBS)]
        await submissions[0].result()
        killed.send_signal(signal.SIGKILL)
        return [await submission.result() for submission in submissions]


def test_a_killed_workers_jobs_are_done_by_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADANG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("MADANG_NAME", "front")
    workers = [start_worker(tmp_path, f"jobs-{n}") for n in range(2)]
    try:
        results = asyncio.run(work_through_a_kill(workers))
        assert [result["digest"] for result in results] == [
            expected(f"text {n}") for n in range(JOBS)
        ]
        assert max(int(str(result["attempt"])) for result in results) == 2  # those of the killed
        workers[1].send_signal(signal.SIGTERM)
        assert workers[1].wait(LIMIT_S) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def post(url: str, text: str) -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(url, text.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return answer.status, json.loads(answer.read())


def test_the_web_front_hands_jobs_to_workers_through_a_kill(tmp_path: Path) -> None:
    options = {"target": f"{EXAMPLE}:app"}
    target = "madang.edge.asgi.process:main"
    front = {"name": "front", "target": target, "instances": 2, "ports": http(), "options": options}
    with cluster(tmp_path, [front]) as running:
        host, port = running.wait_ready()["http"]
        workers = [start_worker(running.runtime, f"jobs-{n}") for n in range(2)]
        try:
            with ThreadPoolExecutor(8) as threads:
                url = f"http://{host}:{port}/"
                assert post(url, "first")[0] == 200
                texts = [f"text {n}" for n in range(16)]
                answers = [threads.submit(post, url, text) for text in texts]
                answers[0].result()
                workers[0].kill()
                found = [answer.result() for answer in answers]
            assert [body["digest"] for _, body in found] == [expected(text) for text in texts]
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def test_the_example_is_as_short_as_promised() -> None:
    lines = [line for line in EXAMPLE.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) < 40
