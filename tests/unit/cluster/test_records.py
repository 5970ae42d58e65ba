"""Folder locks and the record of children: only what is proven to be ours is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from madang.cluster import linux
from madang.cluster.errors import FolderTaken
from madang.cluster.records import (
    RECORD_NAME,
    FolderLock,
    Record,
    end_leftovers,
    held_runtime_folder,
    leftovers,
)
from madang.core.errors import SettingsError


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    arguments = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(arguments, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def change(folder: Path, **fields: object) -> None:
    path = folder / RECORD_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_folder_has_one_holder_who_is_named(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "state")
    with pytest.raises(FolderTaken, match=f"pid {os.getpid()}"):
        FolderLock(tmp_path / "state")
    lock.release()
    FolderLock(tmp_path / "state").release()
    assert list((tmp_path / "state").iterdir()) == []


def test_a_runtime_folder_elsewhere_is_gone_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with held_runtime_folder(folder, tmp_path / "state"):
        (folder / "bus").mkdir()
        with pytest.raises(FolderTaken), held_runtime_folder(folder, tmp_path / "other"):
            pass
    assert not folder.exists()


@pytest.mark.parametrize("runtime", ["state", "state/run"])
def test_nothing_of_the_state_folder_is_cleared_away(tmp_path: Path, runtime: str) -> None:
    (tmp_path / "state").mkdir()
    with held_runtime_folder(tmp_path / runtime, tmp_path / "state"):
        (tmp_path / runtime / "kept").touch()
    assert (tmp_path / runtime / "kept").exists()


def test_a_runtime_folder_that_somebody_prepared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name in ("open", "link"):
        with (
            pytest.raises(SettingsError, match="this user's alone"),
            held_runtime_folder(tmp_path / name, tmp_path / "state"),
        ):
            pass
        assert list((tmp_path / name).iterdir()) == []


def test_a_recorded_process_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert Record(tmp_path).write([sleeper.pid]) == ""
    assert end_leftovers(tmp_path) == [sleeper.pid]
    assert sleeper.wait(5) == -signal.SIGKILL
    assert leftovers(tmp_path) == []


def test_a_process_with_another_start_time_boot_or_supervisor_is_not_ours(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    Record(tmp_path).write([sleeper.pid])
    assert leftovers(tmp_path, supervisor=os.getpid()) == [sleeper.pid]
    assert leftovers(tmp_path, supervisor=os.getpid() + 1) == []
    ticks = linux.start_ticks(sleeper.pid)
    assert ticks is not None
    change(tmp_path, children={str(sleeper.pid): ticks + 1})
    assert leftovers(tmp_path) == []
    change(tmp_path, children={str(sleeper.pid): ticks}, boot="another")
    assert end_leftovers(tmp_path) == []
    assert sleeper.poll() is None


def test_members_of_a_group_whose_leader_is_gone_are_ended(tmp_path: Path) -> None:
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
    code += "'import time; time.sleep(600)']); print(p.pid, flush=True); sys.stdin.read()"
    leader = subprocess.Popen(
        [sys.executable, "-c", code],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert leader.stdout is not None
    assert leader.stdin is not None
    member = int(leader.stdout.readline())
    Record(tmp_path).write([leader.pid])
    leader.kill()
    leader.wait()
    leader.stdout.close()
    leader.stdin.close()
    assert linux.start_ticks(member) is not None
    assert end_leftovers(tmp_path) == [leader.pid]
    assert linux.start_ticks(member) is None


def test_no_record_or_a_torn_one_names_nobody(tmp_path: Path) -> None:
    assert leftovers(tmp_path) == []
    (tmp_path / RECORD_NAME).write_text('{"boot": ')
    assert leftovers(tmp_path) == []


def test_a_folder_that_takes_nothing_is_said_not_raised(tmp_path: Path) -> None:
    assert Record(tmp_path / "missing").write([]) == "No such file or directory"
