"""What it costs to be there: the supervisor at rest, `ls`, and one platform worker more.

Method: four workers of the hello server under each manager and no traffic at all. Processor time is
the kernel's own count in nanoseconds over the whole span, memory the most that was resident in it;
`ls` is timed from the outside, from the start of the command to its end. The platform worker is
the third one of a running market, which is scaled up from two: its private pages only, for what it
shares with the others costs nothing more.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.harness import Options, PeerMissing, Report, options, say
from bench.managers import Madang, Pm2, wait_for
from madang.cli.settings import runtime_dir
from madang.cluster.control import SOCKET_NAME, request
from tests.drill.product import running_product
from tests.support.running import ready_pids

WORKERS = 4
SETTLE_S = 2.0
QUICK_SPAN_S = 8.0
SPAN_S = 30.0
LOOK_S = 0.5
LISTINGS = 7
WORKER_LIMIT_S = 30.0
SYMBOLS = {"KIM": "50.00", "LEE": "120.00", "PARK": "8.00", "CHOI": "300.00"}
MEGABYTE = 1024 * 1024


def cpu_ns(pid: int) -> int:
    """Return the processor time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def memory_bytes(pid: int, field: str) -> int:
    """Return the sum of what begins with `field` in the smaps of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def at_rest(pid: int, span_s: float) -> tuple[float, float]:
    """Return the largest resident megabytes and the percent of a core used over a span."""
    time.sleep(SETTLE_S)
    began_s, used_ns, resident = time.monotonic(), cpu_ns(pid), 0
    while (passed_s := time.monotonic() - began_s) < span_s:
        time.sleep(LOOK_S)
        resident = max(resident, memory_bytes(pid, "Rss"))
    used_ns = cpu_ns(pid) - used_ns
    return resident / MEGABYTE, used_ns / passed_s / 1e9 * 100


def listing_ms(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Return the median wall time of a command that lists the processes."""
    times: list[float] = []
    for _ in range(LISTINGS):
        began_s = time.perf_counter()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(times)


def supervisor(span_s: float) -> dict[str, float]:
    """Measure ours."""
    with tempfile.TemporaryDirectory() as folder:
        manager = Madang(Path(folder), WORKERS)
        try:
            resident, percent = at_rest(manager.pid, span_s)
            command = [sys.executable, "-m", "madang.cli.main", "ls", "--state", str(manager.state)]
            listed_ms = listing_ms(command)
            private = statistics.median(memory_bytes(p, "Private_") for p in manager.workers())
        finally:
            manager.stop()
    return {
        "supervisor_rss_mb": resident,
        "supervisor_cpu_percent": percent,
        "ls_ms": listed_ms,
        "hello_worker_private_mb": private / MEGABYTE,
    }


def pm2(span_s: float) -> dict[str, float]:
    """Measure pm2's daemon in the same way."""
    with tempfile.TemporaryDirectory() as folder:
        manager = Pm2(Path(folder), WORKERS)
        try:
            resident, percent = at_rest(manager.pid, span_s)
            listed_ms = listing_ms([*manager.command, "ls"], manager.whole_environment)
            private = statistics.median(memory_bytes(p, "Private_") for p in manager.workers())
        finally:
            manager.stop()
    return {
        "supervisor_rss_mb": resident,
        "supervisor_cpu_percent": percent,
        "ls_ms": listed_ms,
        "hello_worker_private_mb": private / MEGABYTE,
    }


def platform_worker() -> dict[str, float]:
    """Measure the third worker of a market."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_product(
            Path(folder), workers=2, symbols=SYMBOLS, traders=2, cash=10**12, shares=10**12
        ) as (product, _),
    ):
        before = set(ready_pids(product.state, "worker"))
        socket = runtime_dir(product.state) / SOCKET_NAME
        request(socket, {"command": "scale", "name": "worker", "instances": "+1"})
        wait_for(
            lambda: len(ready_pids(product.state, "worker")) == len(before) + 1,
            WORKER_LIMIT_S,
            "one worker more",
        )
        (pid,) = set(ready_pids(product.state, "worker")) - before
        time.sleep(SETTLE_S)
        return {"platform_worker_private_mb": memory_bytes(pid, "Private_") / MEGABYTE}


def measure(given: Options) -> Report:
    """Measure everything."""
    report = Report("idle")
    span_s = QUICK_SPAN_S if given.quick else SPAN_S
    say("madang")
    report.ours |= supervisor(span_s)
    say("a platform worker")
    report.ours |= platform_worker()
    try:
        say("pm2")
        report.peers["pm2"] = pm2(span_s)
    except PeerMissing as missing:
        report.conditions["pm2"] = str(missing)
    report.conditions |= {"workers": WORKERS, "span_s": span_s}
    return report


def main() -> None:
    """Measure ours and pm2."""
    given = options(__doc__ or "")
    measure(given).print(given)


if __name__ == "__main__":
    main()
