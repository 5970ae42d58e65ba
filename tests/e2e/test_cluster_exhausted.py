"""A system that gives no more descriptors: what asks for them fails, and nothing else ends."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from tests.e2e.cluster_harness import Cluster, cluster, http, role, until

SPARE_DESCRIPTORS = 9
NO_DESCRIPTORS = 3


def allow(started: Cluster, descriptors: int) -> None:
    """Let the supervisor open so many descriptors."""
    _, hard = resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE)
    limits = (descriptors, hard)
    resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE, limits)


def test_an_operation_fails_and_everything_else_goes_on(tmp_path: Path) -> None:
    applications = [role("web", "answer", ports=http()), role("job", "idle")]
    with cluster(tmp_path, applications) as started:
        started.wait_ready()
        before, _ = resource.prlimit(started.process.pid, resource.RLIMIT_NOFILE)
        web, job = started.pid("web-0"), started.pid("job")
        in_use = len(os.listdir(f"/proc/{started.process.pid}/fd"))
        allow(started, in_use + SPARE_DESCRIPTORS)
        failed = started.operate("scale", name="web", instances="40")
        assert failed["state"] == "failed"
        assert "Too many open files" in failed["reason"]
        assert [row["name"] for row in started.ask("ls")["rows"]] == ["web-0", "job"]
        refused = started.try_ask("start", application={**role("more", "idle"), "instances": 40})
        assert "Too many open files" in str(refused)
        allow(started, NO_DESCRIPTORS)
        os.kill(job, signal.SIGKILL)
        until(lambda: "cannot start: Too many open files" in started.log("madang"))
        allow(started, before)
        assert started.pid("web-0") == web
        until(lambda: started.replaced("job", job))
        assert started.operate("scale", name="web", instances="2")["state"] == "done"
