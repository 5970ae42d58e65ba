"""Who holds a folder, and which processes belong to its supervisor.

`FolderLock` is an flock that the kernel gives back at death. A runtime folder outside the state
folder is this user's alone or refused, and is gone when its supervisor ends. `Record` is a file in
the runtime folder with pid and start time of every child; whoever finds the record of a dead
supervisor ends what is left of its process groups. A pid alone is never trusted: the start time
must agree.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from madang.cluster import linux
from madang.cluster.errors import FolderTaken
from madang.cluster.escaped import left_by
from madang.core.errors import SettingsError

LOCK_NAME = "supervisor.lock"
RECORD_NAME = "children.json"
END_LIMIT_S = 5.0
END_POLL_S = 0.01
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class FolderLock:
    """Exclusive hold of `folder` by this process."""

    def __init__(self, folder: Path, descriptor: int | None = None) -> None:
        """Take the folder; with `descriptor`, an open lock of this process, go on holding it."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / LOCK_NAME
        if descriptor is not None:
            self._descriptor = descriptor
            return
        while True:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(self._descriptor, 32, 0).decode().strip() or "unknown"
                os.close(self._descriptor)
                text = (
                    f"{folder} is held by another running supervisor (pid {holder}); stop it first"
                )
                raise FolderTaken(text, folder=str(folder), pid=holder) from error
            if self._is_current():
                break
            os.close(self._descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def _is_current(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self._descriptor).st_ino
        except FileNotFoundError:
            return False

    def fileno(self) -> int:
        """Return the descriptor that holds the folder."""
        return self._descriptor

    def release(self) -> None:
        """Give the folder back and remove the file."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextmanager
def held_runtime_folder(
    folder: Path, state_dir: Path, descriptor: int | None = None
) -> Iterator[FolderLock | None]:
    """Hold the runtime folder of a state folder that is held already, and clear it away at the end.

    Yields its lock, None where both folders are one; `descriptor` is such a lock that is open.
    Raises FolderTaken, and SettingsError where somebody else could write into it.
    """
    outside = not folder.resolve().is_relative_to(state_dir.resolve())
    if outside:
        _claim(folder)
    lock = None if folder.resolve() == state_dir.resolve() else FolderLock(folder, descriptor)
    try:
        yield lock
    finally:
        if lock is not None:
            lock.release()
        if outside:
            shutil.rmtree(folder, ignore_errors=True)


def _claim(folder: Path) -> None:
    """Make `folder`, or make sure that nobody prepared it for us, as anybody may under /tmp."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & OTHERS_MAY_WRITE:
        raise SettingsError("cluster", "runtime_dir", f"expected {folder} to be this user's alone")


class Record:
    """The file that says which process groups belong to this supervisor."""

    def __init__(self, runtime_dir: Path) -> None:
        self._path = runtime_dir / RECORD_NAME
        self._boot = linux.boot_id()
        self._started: dict[int, int | None] = {}

    def write(self, pids: Iterable[int]) -> str:
        """Replace the record by `pids`; return why that was not possible, "" when it was."""
        known = self._started
        self._started = {p: known[p] if p in known else linux.start_ticks(p) for p in pids}
        started = {str(pid): ticks for pid, ticks in self._started.items()}
        table = {"boot": self._boot, "supervisor": os.getpid(), "children": started}
        draft = self._path.with_suffix(".new")
        try:
            draft.write_text(json.dumps(table), encoding="ascii")
            draft.replace(self._path)
        except OSError as error:
            return error.strerror or repr(error)
        return ""

    def remove(self) -> None:
        """Remove the record: nothing is left to end."""
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(".new").unlink(missing_ok=True)


def leftovers(runtime_dir: Path, supervisor: int | None = None) -> list[int]:
    """Return the groups that the record names and that still have members, and who left them.

    With `supervisor`, only when that process wrote the record.
    """
    try:
        table = json.loads((runtime_dir / RECORD_NAME).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return []
    if table["boot"] != linux.boot_id() or supervisor not in (None, table["supervisor"]):
        return []
    found: list[int] = []
    for word, ticks in table["children"].items():
        pid = int(word)
        living = linux.start_ticks(pid)
        if (ticks is not None and living == ticks) or (living is None and _has_members(pid)):
            found.append(pid)
    runtime = os.path.abspath(runtime_dir)
    return found + [p for p in left_by(table["supervisor"], runtime) if _group(p) not in found]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _has_members(group: int) -> bool:
    """Whether a living process of session and group `group` exists."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = linux.stat_fields(int(name))
            if fields and fields[0] not in "ZX" and int(fields[2]) == int(fields[3]) == group:
                return True
    return False


def end_leftovers(runtime_dir: Path, supervisor: int | None = None) -> list[int]:
    """Kill what `leftovers` names and wait until it is gone; return the groups."""
    found = leftovers(runtime_dir, supervisor)
    limit = time.monotonic() + END_LIMIT_S
    for pid in found:
        linux.signal_group(pid, signal.SIGKILL)
    while leftovers(runtime_dir, supervisor) and time.monotonic() < limit:
        time.sleep(END_POLL_S)
    return found
