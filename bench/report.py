"""Run every benchmark and render bench/REPORT.md: what was measured, beside whom, on which machine.

`python -m bench.report [--quick] [NAME ...]`. Bars are the numbers the project wants to reach; a
row that falls short says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.harness import ROOT, say

BENCHMARKS = (
    *("engine", "orders", "ws_orders", "venue", "recovery", "bus", "fanout", "http"),
    *("crash", "spread", "idle"),
)
TIMEOUT_S = 1_800
REPORT = ROOT / "bench" / "REPORT.md"


class Bar(NamedTuple):
    """A number to reach: at least, or at most."""

    at_least: bool
    value: float


BARS: dict[str, dict[str, Bar]] = {
    "engine": {"commands_per_s": Bar(at_least=True, value=3_000_000)},
    "orders": {
        "p99_ms_at_5000_per_s": Bar(at_least=False, value=5),
        "peak_orders_per_s": Bar(at_least=True, value=12_000),
    },
    "ws_orders": {"peak_orders_per_s": Bar(at_least=True, value=25_000)},
    "venue": {"orders_per_s": Bar(at_least=True, value=100_000)},
    "fanout": {
        "cpu_us_per_delivery": Bar(at_least=False, value=1.0),
        "added_latency_p99_ms": Bar(at_least=False, value=15),
        "bytes_per_idle_connection": Bar(at_least=False, value=12_288),
    },
    "recovery": {
        "replay_commands_per_s": Bar(at_least=True, value=1_500_000),
        "snapshot_start_s": Bar(at_least=False, value=1),
    },
    "crash": {
        "refused_connections": Bar(at_least=False, value=0),
        "failed_requests": Bar(at_least=False, value=0),
        "replacement_ready_p99_ms": Bar(at_least=False, value=100),
    },
    "spread": {
        "fullest_over_mean_even": Bar(at_least=False, value=1.10),
        "fullest_over_mean_least_connections": Bar(at_least=False, value=1.03),
        "connections_to_hung_worker_even": Bar(at_least=False, value=0),
        "connections_to_hung_worker_least_connections": Bar(at_least=False, value=0),
    },
    "idle": {
        "supervisor_rss_mb": Bar(at_least=False, value=25),
        "supervisor_cpu_percent": Bar(at_least=False, value=0.5),
        "platform_worker_private_mb": Bar(at_least=False, value=30),
        "ls_ms": Bar(at_least=False, value=300),
    },
}


def run(name: str, quick: bool) -> dict[str, Any]:
    """Run one benchmark and return its result."""
    say(f"bench.{name}")
    command = [sys.executable, "-m", f"bench.{name}", "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def docstring_of(name: str) -> str:
    """Return what a benchmark says of its method."""
    text = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
    return text.split('"""')[1].strip()


def number(value: float) -> str:
    """Return a number as people read it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def verdict(name: str, metric: str, value: float) -> str:
    """Return how a number stands to its bar."""
    bar = BARS.get(name, {}).get(metric)
    if bar is None:
        return ""
    met = value >= bar.value if bar.at_least else value <= bar.value
    sign = "at least" if bar.at_least else "at most"
    return f"{sign} {number(bar.value)}: {'reached' if met else 'missed'}"


def section(result: dict[str, Any]) -> str:
    """Render one benchmark."""
    name, ours, peers = result["name"], result["ours"], result["peers"]
    lines = [f"## {name}", "", docstring_of(name), ""]
    lines.append("| metric | madang | " + "".join(f"{peer} | " for peer in peers) + "bar |")
    lines.append("|---|---:|" + "---:|" * len(peers) + "---|")
    metrics = list(ours) + [m for p in peers.values() for m in p if m not in ours]
    for metric in dict.fromkeys(metrics):
        row = [number(ours[metric]) if metric in ours else ""]
        row += [number(p[metric]) if metric in p else "" for p in peers.values()]
        bar = verdict(name, metric, ours[metric]) if metric in ours else ""
        lines.append(f"| `{metric}` | " + " | ".join([*row, bar]) + " |")
    lines += ["", "Conditions: " + "; ".join(f"{k}: {v}" for k, v in result["conditions"].items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmarks and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=BENCHMARKS)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    sections = [section(run(name, arguments.quick)) for name in arguments.names]
    head = (
        "# Benchmarks\n\n"
        f"Rendered by `make bench` on {time.strftime('%Y-%m-%d', time.gmtime())}. "
        "Madang and its peers ran in the same run on one machine, whose cores the load shares. "
        "Latencies are of open loops, counted from when a request was due.\n\n"
    )
    REPORT.write_text(head + "\n".join(sections), encoding="utf-8")
    say(f"wrote {REPORT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
