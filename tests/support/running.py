"""What tests that run the product need: start and stop it, ask what runs, wait, plan accounts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request
from madang.cluster.errors import ControlRefused, NotRunning
from madang.core.ids import new_request_id
from madang.exchange.bootstrap import AccountPlan, TransferPlan

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
COMMAND_LIMIT_S = 30.0
POLL_S = 0.02
UP = "Ctrl-C stops it"
"""The last line that a start prints."""

MADANG = (sys.executable, "-m", "madang.cli.main")

Process = subprocess.Popen[bytes]


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> None:
    """Wait until `condition` holds, or fail naming `what` did not come."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, f"not within {limit_s} s: {what}"
        time.sleep(POLL_S)


def start(
    arguments: Iterable[str],
    output: Path,
    *,
    command: Iterable[str] = MADANG,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start `madang` in the folder of `output`, where what it says is appended."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [*command, *arguments],
            cwd=output.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def said(output: Path, most: int = 4_000) -> str:
    """Return the end of what was printed."""
    return output.read_text(errors="replace")[-most:] if output.exists() else ""


def wait_until_up(process: Process, output: Path) -> str:
    """Wait for the start's last line; return all that was said, the start's lines among it."""
    wait_for(
        lambda: UP in said(output) or process.poll() is not None,
        START_LIMIT_S,
        f"the start; it said: {said(output)}",
    )
    assert process.poll() is None, f"it ended: {said(output)}"
    return said(output)


def stop(process: Process) -> None:
    """Stop gracefully; what does not end within the limit is killed and the test fails."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def rows(state: Path) -> list[dict[str, object]]:
    """Return the rows of `madang ls`, none while nothing answers."""
    try:
        answer = request(runtime_dir(state) / SOCKET_NAME, {"command": "ls"})
    except (NotRunning, ControlRefused):
        return []
    found = answer["rows"]
    assert isinstance(found, list)
    return found


def ready_pids(state: Path, application: str) -> list[int]:
    """Return the processes of an application that are ready."""
    return [
        int(str(row["pid"]))
        for row in rows(state)
        if row["app"] == application and row["state"] == "ready"
    ]


def run_madang(state: Path, *arguments: str, typed: str = "") -> str:
    """Run another `madang` command on a state folder, type `typed`, return what it printed."""
    done = subprocess.run(
        [*MADANG, *arguments, "--state", str(state)],
        input=f"{typed}\n",
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def account_plan(
    name: str, keys: dict[str, str], cash: int, shares: Mapping[str, int]
) -> AccountPlan:
    """Return the plan of an account with cash and shares by symbol, in units."""
    return AccountPlan(
        name,
        new_request_id().hex(),
        keys=keys,
        transfers=(
            TransferPlan(cash, new_request_id().hex()),
            *(
                TransferPlan(amount, new_request_id().hex(), symbol)
                for symbol, amount in shares.items()
            ),
        ),
    )
