"""Workers killed under load, beside pm2: who is refused, who fails, how soon a successor serves.

Method: the hello server on four workers under each manager; 200 requests a second on connections of
their own and 50 kept connections with ten requests a second each; 250 ms after the last successor
was ready the oldest worker gets SIGKILL, so that each has lived for a second, which is what both
managers ask of one that is to be replaced at once. A request counts as in flight when it was sent
before the killed process was gone (its pidfd says when) and had no answer then; only such may fail.
`failed_requests` are all others, `refused_connections` those that could not connect. A successor is
ready when the manager says so: `madang ls`, pm2's log. The load runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.harness import PeerMissing, Report, options, percentile, say
from bench.managers import START_LIMIT_S, Madang, Manager, Pm2, wait_for

KILLS = 100
QUICK_KILLS = 100
QUICK_PEER_KILLS = 8
WORKERS = 4
PAUSE_S = 0.25
DEATH_LIMIT_MS = 5_000
NEW_PER_S = 200
KEPT = 50


def kill(pid: int) -> tuple[int, int]:
    """Kill a process; return when the signal was sent and when it was gone, monotonic ns."""
    descriptor = os.pidfd_open(pid)
    try:
        sent_ns = time.monotonic_ns()
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(DEATH_LIMIT_MS):
            raise PeerMissing(f"process {pid} does not die")
        return sent_ns, time.monotonic_ns()
    finally:
        os.close(descriptor)


def kill_often(manager: Manager, kills: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Kill worker after worker; return the deaths and how long each successor took, in ns."""
    deaths: list[tuple[int, int]] = []
    ready_ns: list[int] = []
    by_age: list[int] = []
    for number in range(kills):
        workers = manager.workers()
        by_age = [pid for pid in by_age if pid in workers]
        by_age += sorted(workers.difference(by_age))
        victim = by_age[0]
        deaths.append(kill(victim))
        wait_for(lambda v=victim, n=number + 1: manager.came_back(v, n), START_LIMIT_S, "successor")  # type: ignore[misc]
        ready_ns.append(time.monotonic_ns() - deaths[-1][0])
        time.sleep(PAUSE_S)
    return deaths, sorted(ready_ns)


def was_in_flight(failure: tuple[str, str, int, int], deaths: list[tuple[int, int]]) -> bool:
    """Return whether a request was under way when a worker died."""
    kind, _, sent_ns, failed_ns = failure
    return kind != "refused" and any(sent_ns <= gone and failed_ns >= at for at, gone in deaths)


def measure(start: Callable[[Path, int], Manager], kills: int) -> dict[str, float]:
    """Run one manager under load and kill its workers."""
    with tempfile.TemporaryDirectory() as folder:
        manager = start(Path(folder), WORKERS)
        try:
            # The end of its input ends the load: nobody knows beforehand how long the kills take.
            load = subprocess.Popen(
                [
                    *(sys.executable, "-m", "bench.steady_load", str(manager.port), "600"),
                    *("--new-per-s", str(NEW_PER_S), "--kept", str(KEPT), "--until-input-ends"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert load.stdout is not None
            assert load.stdin is not None
            load.stdout.readline()
            deaths, ready_ns = kill_often(manager, kills)
            load.stdin.close()
            result: dict[str, Any] = json.loads(load.stdout.readline())
            load.wait()
        finally:
            manager.stop()
    failures = [tuple(failure) for failure in result["failures"]]
    in_flight = [f for f in failures if was_in_flight(f, deaths)]
    refused = [f for f in failures if f[0] == "refused"]
    return {
        "refused_connections": len(refused),
        "failed_requests": len(failures) - len(in_flight) - len(refused),
        "in_flight_requests_lost_per_kill": len(in_flight) / kills,
        "replacement_ready_p50_ms": percentile(ready_ns, 0.5) / 1e6,
        "replacement_ready_p99_ms": percentile(ready_ns, 0.99) / 1e6,
        "longest_gap_ms": result["longest_gap_ms"],
    }


def main() -> None:
    """Measure ours and pm2."""
    given = options(__doc__ or "")
    report = Report("crash")
    kills, peer_kills = (QUICK_KILLS, QUICK_PEER_KILLS) if given.quick else (KILLS, KILLS)
    report.conditions |= {"workers": WORKERS, "kills": kills, "kills_pm2": peer_kills}
    say("madang")
    report.ours = measure(Madang, kills)
    try:
        say("pm2")
        report.peers["pm2"] = measure(Pm2, peer_kills)
    except PeerMissing as missing:
        report.conditions["pm2"] = str(missing)
    report.print(given)


if __name__ == "__main__":
    main()
