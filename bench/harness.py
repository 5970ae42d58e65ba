"""What all benchmarks share: options, the one line of JSON, the machine, peers in a cache folder.

`python -m bench.NAME [--quick] --json` prints as its last line one object (design, section 8):
`name`, `ours`, `peers`, `ratio` (ours over the peer's, by "metric/peer") and `conditions`. Progress
goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
INSTALL_TIMEOUT_S = 180


class PeerMissing(Exception):
    """A peer cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    quick: bool
    json: bool


@dataclass(slots=True)
class Report:
    """The numbers of one benchmark; units stand in the metrics' names."""

    name: str
    ours: dict[str, float] = field(default_factory=dict)
    peers: dict[str, dict[str, float]] = field(default_factory=dict)
    conditions: dict[str, object] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """Return ours over each peer's, for every metric that both have."""
        return {
            f"{metric}/{peer}": round(self.ours[metric] / value, 3)
            for peer, metrics in self.peers.items()
            for metric, value in metrics.items()
            if metric in self.ours and value
        }

    def print(self, options: Options) -> None:
        """Print the result: a table for people, or with --json the one object as the last line."""
        report = {
            "name": self.name,
            "ours": self.ours,
            "peers": self.peers,
            "ratio": self.ratios(),
            "conditions": {**machine(), "quick": options.quick, **self.conditions},
        }
        if not options.json:
            for who, metrics in [("madang", self.ours), *self.peers.items()]:
                for metric, value in metrics.items():
                    print(f"{who:24} {metric:28} {value:>16,.1f}")
            print(json.dumps(report["conditions"], indent=2))
            return
        print(json.dumps(report), flush=True)


def options(description: str) -> Options:
    """Return the options of a benchmark's command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="end within 50 s")
    parser.add_argument("--json", action="store_true", help="last line: one JSON object")
    arguments = parser.parse_args()
    return Options(quick=arguments.quick, json=arguments.json)


def say(text: str) -> None:
    """Tell the person at the terminal how far it is."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, object]:
    """Return what the numbers depend on: processor, cores, load, versions."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def percentile(ascending: list[int], part: float) -> int:
    """Return the value below which `part` of the sorted samples lie."""
    assert ascending
    return ascending[min(len(ascending) - 1, int(len(ascending) * part))]


@dataclass(slots=True)
class Stopwatch:
    """Wall and processor time of a block: `with Stopwatch() as watch`."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def __enter__(self) -> Stopwatch:
        """Begin."""
        self.wall_s, self.cpu_s = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both clocks."""
        self.wall_s += time.perf_counter()
        self.cpu_s += time.process_time()


def python_package(name: str, requirements: Sequence[str]) -> Path:
    """Return a folder with these packages, installed there the first time.

    Raises PeerMissing with pip's last line where they cannot be installed.
    """
    folder = CACHE / name
    wanted = "\n".join(requirements)
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        say(f"installing {name}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
        run([*pip, "--target", str(folder), *requirements])
        stamp.write_text(wanted, encoding="utf-8")
    return folder


def run(
    command: list[str],
    *,
    cwd: Path | None = None,
    timeout_s: int = INSTALL_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a peer's tool and return its output; PeerMissing where it fails, is missing or hangs."""
    tool = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            timeout=timeout_s,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError as error:
        raise PeerMissing(f"{tool} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{tool} took longer than {timeout_s} s") from error
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise PeerMissing(f"{tool}: {lines[-1] if lines else error}") from error
    return done.stdout
