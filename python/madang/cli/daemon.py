"""A supervisor in the background: its own session, no terminal, one per state folder.

It begins with nothing to run and is told over the control socket what to start, so that the first
application and the tenth are started in the same way. What it says before it can log (it should
be nothing) is in `supervisor.err` of the state folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from madang.cli.asking import ask
from madang.cli.place import CONTROL, runtime_dir
from madang.cluster.control import request_until_end
from madang.cluster.errors import ClusterError, ControlRefused, FolderTaken, NotRunning
from madang.cluster.escaped import LIFE
from madang.cluster.records import LOCK_NAME
from madang.cluster.settings import ClusterSettings, LogSettings

START_LIMIT_S = 20.0
END_LIMIT_MS = 20_000
POLL_S = 0.01
ERRORS = "supervisor.err"
ERRORS_SHOWN = 2_000


class NotStarted(ClusterError):
    """The supervisor in the background did not come up."""


def is_running(state_dir: Path) -> bool:
    """Whether a supervisor of this state folder answers."""
    try:
        ask(runtime_dir(state_dir) / CONTROL, "ls")
    except NotRunning:
        return False
    except ControlRefused:
        return True
    return True


def ensure(state_dir: Path, umask: int | None = None) -> bool:
    """Have a supervisor of this state folder; return whether it had to be started.

    Raises FolderTaken where one holds the folder and does not answer, NotStarted with what it said.
    """
    if is_running(state_dir):
        return False
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    process = _launch(state_dir, umask)
    limit_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit_s:
        code = process.poll()
        if code is not None:
            if is_running(state_dir):  # two starts at once: the other one has won
                return False
            raise _failure(state_dir, code)
        if (runtime_dir(state_dir) / CONTROL).exists() and is_running(state_dir):
            process.returncode = 0  # it outlives us: nobody here waits for it
            return True
        time.sleep(POLL_S)
    process.kill()
    process.wait()
    raise NotStarted(f"the supervisor did not answer within {START_LIMIT_S:.0f} s")


def end_empty(state_dir: Path) -> None:
    """End the supervisor of this state folder, unless something has been started meanwhile."""
    question = {"command": "stop", "if_empty": True}
    with suppress(ClusterError):
        request_until_end(runtime_dir(state_dir) / CONTROL, question, END_LIMIT_MS)


def settings_of(state_dir: Path) -> ClusterSettings:
    """Return the settings of a supervisor that has nothing to run yet."""
    return ClusterSettings(
        state_dir=state_dir,
        runtime_dir=runtime_dir(state_dir),
        applications=(),
        log=LogSettings(terminal=False),
        stop_on_boot_failure=False,
    )


def _launch(state_dir: Path, umask: int | None) -> subprocess.Popen[bytes]:
    descriptor = os.memfd_create("madang-settings", 0)
    with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
        json.dump({"settings": asdict(settings_of(state_dir)), "banner": ""}, file, default=str)
    try:
        with open(state_dir / ERRORS, "wb", opener=_private) as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "madang.cluster.foreground", str(descriptor)],
                cwd=state_dir,
                env={name: value for name, value in os.environ.items() if name != LIFE},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(descriptor,),
                start_new_session=True,
                umask=-1 if umask is None else umask,
            )
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _failure(state_dir: Path, code: int) -> ClusterError:
    said = (state_dir / ERRORS).read_text(errors="replace")[-ERRORS_SHOWN:].strip()
    holder = _holder(state_dir)
    if holder:
        text = f"{state_dir} is held by another supervisor (pid {holder}) that does not answer"
        return FolderTaken(text, folder=str(state_dir), pid=holder)
    return NotStarted(said.removeprefix("madang: ") or f"the supervisor ended with code {code}")


def _holder(state_dir: Path) -> str:
    try:
        pid = (state_dir / LOCK_NAME).read_text().strip()
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return ""
    return pid
