"""Peers: each runs in its own process over the same actions and prints one line of JSON.

A peer's module gives `measure` a way to apply one action; every command is one call from Python, as
its users make it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import percentile
from bench.order_flow import Action, read_actions

Apply = Callable[[Action], None]
MakeBook = Callable[[], tuple[Apply, Callable[[], int]]]


def measure(make_book: MakeBook, *, limit_s: float = 5.0, metric: str = "commands_per_s") -> None:
    """Run the flow named on the command line, twice: for throughput, and timing each command.

    `make_book` returns how to apply an action and how to count the trades so far. After `limit_s`
    it stops; what was done until then counts.
    """
    setup, actions = read_actions(Path(sys.argv[1]))
    gc.disable()
    apply, trades = _filled(make_book, setup)
    before, deadline = trades(), time.monotonic() + limit_s
    wall, cpu, done = -time.perf_counter(), -time.process_time(), 0
    for action in actions:
        apply(action)
        done += 1
        if done % 16 == 0 and time.monotonic() > deadline:
            break
    wall, cpu = wall + time.perf_counter(), cpu + time.process_time()
    traded = trades() - before
    apply, _ = _filled(make_book, setup)
    times = []
    for action in actions[:done]:
        began = time.perf_counter_ns()
        apply(action)
        times.append(time.perf_counter_ns() - began)
    times.sort()
    prefix = metric.removesuffix("commands_per_s")
    result = {
        metric: done / wall,
        f"{prefix}cpu_ns_per_command": cpu / done * 1e9,
        f"{prefix}p50_ns": percentile(times, 0.5),
        f"{prefix}p99_ns": percentile(times, 0.99),
        f"{prefix}p9999_ns": percentile(times, 0.9999),
    }
    print(json.dumps({"metrics": result, "commands": done, "trades": traded}))


def _filled(make_book: MakeBook, setup: list[Action]) -> tuple[Apply, Callable[[], int]]:
    apply, trades = make_book()
    for action in setup:
        apply(action)
    return apply, trades
