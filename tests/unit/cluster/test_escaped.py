"""Who comes from which life of which instance, by what the process has inherited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from madang.cluster.escaped import FOLDER, LIFE, left_by, life, life_of, orphans

SUPERVISOR = 4_000_000
"""A pid that no process has here."""


@contextmanager
def sleeper(folder: Path, of: str) -> Iterator[int]:
    """Run a process in a session of its own that has inherited this life."""
    environment = {**os.environ, FOLDER: str(folder), LIFE: of}
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
    running = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        running.stdout.readline()
        yield running.pid
    finally:
        running.kill()
        running.communicate()


def test_a_process_is_known_by_folder_and_supervisor(tmp_path: Path) -> None:
    of = life(SUPERVISOR, "web-0", 3)
    with sleeper(tmp_path, of) as pid:
        assert life_of(pid, str(tmp_path)) == of
        assert life_of(pid, str(tmp_path / "other")) == ""
        assert left_by(SUPERVISOR, str(tmp_path)) == [pid]
        assert left_by(SUPERVISOR // 10, str(tmp_path)) == []
    assert life_of(pid, str(tmp_path)) == ""


def test_only_children_of_a_life_that_is_over_are_orphans(tmp_path: Path) -> None:
    over, lasting = life(SUPERVISOR, "web-0", 1), life(SUPERVISOR, "web-0", 2)
    with sleeper(tmp_path, over) as orphan, sleeper(tmp_path, lasting) as child:
        assert orphans(set(), {lasting}, str(tmp_path)) == [orphan]
        assert orphans({orphan}, {lasting}, str(tmp_path)) == []
        assert orphans(set(), {over, lasting}, str(tmp_path)) == []
        assert sorted(orphans(set(), set(), str(tmp_path))) == sorted([orphan, child])
