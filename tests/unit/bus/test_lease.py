"""The lease file: torn writes, damage, and the death of a holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from madang.bus.errors import LeaseDamaged, LeaseTaken
from madang.bus.lease import FileLease

HOLDER = """
import sys, time
from pathlib import Path
from madang.bus.lease import FileLease
held = FileLease(Path(sys.argv[1])).acquire("venue")
print(held.epoch, flush=True)
sys.stdin.read()
"""


def acquire_once(folder: Path) -> int:
    held = FileLease(folder).acquire("venue")
    held.release()
    return held.epoch


@pytest.mark.parametrize("cut", range(16))
def test_write_torn_at_any_byte_never_gives_an_epoch_twice(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "venue.lease"
    given = [acquire_once(tmp_path) for _ in range(3)]
    before = path.read_bytes()
    given.append(acquire_once(tmp_path))
    after = path.read_bytes()
    changed = 0 if before[:16] != after[:16] else 16
    torn = after[: changed + cut] + before[changed + cut :]
    path.write_bytes(torn)  # the fourth acquisition never returned
    assert acquire_once(tmp_path) > given[2]


@pytest.mark.parametrize("cut", range(16))
def test_first_write_torn_at_any_byte_still_starts(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "venue.lease"
    acquire_once(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    assert acquire_once(tmp_path) >= 1


def test_damage_of_both_slots_is_refused_and_names_the_file(tmp_path: Path) -> None:
    for _ in range(2):
        acquire_once(tmp_path)
    path = tmp_path / "venue.lease"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    content[16] ^= 1
    path.write_bytes(content)
    with pytest.raises(LeaseDamaged, match=r"venue\.lease"):
        acquire_once(tmp_path)


def test_kernel_releases_the_lease_of_a_killed_process(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(LeaseTaken):
            FileLease(tmp_path).acquire("venue")
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    assert acquire_once(tmp_path) == 2
