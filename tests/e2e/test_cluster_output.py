"""What children write: complete, bounded, and never a reason to wait."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.cluster_harness import cluster, role, until


def test_fifty_megabytes_of_output_rotate_within_their_limit(tmp_path: Path) -> None:
    log = {"file_bytes": 4_000_000, "files": 3}
    with cluster(tmp_path, [role("venue", "talk")], log=log) as running:
        running.wait_ready()
        until(lambda: "the last line" in running.log("venue"))
        files = sorted((tmp_path / "state" / "logs").glob("venue.log*"))
        assert [file.name for file in files] == ["venue.log", "venue.log.1", "venue.log.2"]
        assert all(file.stat().st_size <= 4_000_000 for file in files)
        whole = {len(line) for file in files for line in file.read_text().splitlines()}
        assert len(whole) == 2  # the lines of 99 letters and the last line: none torn or mixed


def test_nothing_is_lost_when_the_logger_dies(tmp_path: Path) -> None:
    with cluster(tmp_path, [role("venue", "count")]) as running:
        running.wait_ready()
        for _ in range(2):
            logger = running.helper("logger")
            before = running.log("venue").count("\n")
            os.kill(logger, signal.SIGSTOP)
            os.kill(logger, signal.SIGKILL)
            until(lambda before=before: running.log("venue").count("\n") > before + 50)  # type: ignore[misc]
        running.stop()
        numbers = [int(line.rpartition(" ")[2]) for line in running.log("venue").splitlines()]
        assert numbers == list(range(len(numbers)))


def test_a_logs_folder_that_takes_nothing_blocks_nobody(tmp_path: Path) -> None:
    logs = tmp_path / "state" / "logs"
    logs.mkdir(parents=True)
    (logs / "venue.log").symlink_to("/dev/full")
    with cluster(tmp_path, [role("venue", "talk")], log={"file_bytes": 1 << 40}) as running:
        running.wait_ready()
        assert running.stop() == 0
