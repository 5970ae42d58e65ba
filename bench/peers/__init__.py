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
from typing import NamedTuple

from bench.harness import percentile
from bench.order_flow import Action, read_actions

Apply = Callable[[Action], None]
RUNS_MAX = 5
MakeBook = Callable[[], tuple[Apply, Callable[[], int]]]


def measure(
    make_book: MakeBook,
    *,
    limit_s: float = 5.0,
    metric: str = "commands_per_s",
    first: int | None = None,
) -> None:
    """Run the flow named on the command line (or its first commands), and print the numbers.

    Throughput is the best of up to five runs, each from a new book; one more times each command.

    `make_book` returns how to apply an action and how to count the trades so far. After `limit_s`
    it stops; what was done until then counts.
    """
    setup, actions = read_actions(Path(sys.argv[1]))
    actions = actions[:first]
    gc.disable()
    began, best = time.monotonic(), None
    for _ in range(RUNS_MAX):
        one = _throughput(make_book, setup, actions, began + limit_s)
        best = one if best is None or one.wall_s < best.wall_s else best
        if time.monotonic() - began > limit_s / 2:
            break
    assert best is not None
    apply, _ = _filled(make_book, setup)
    times = []
    for action in actions[: best.commands]:
        began = time.perf_counter_ns()
        apply(action)
        times.append(time.perf_counter_ns() - began)
    times.sort()
    prefix = metric.removesuffix("commands_per_s")
    result = {
        metric: best.commands / best.wall_s,
        f"{prefix}cpu_ns_per_command": best.cpu_s / best.commands * 1e9,
        f"{prefix}p50_ns": percentile(times, 0.5),
        f"{prefix}p99_ns": percentile(times, 0.99),
        f"{prefix}p9999_ns": percentile(times, 0.9999),
    }
    print(json.dumps({"metrics": result, "commands": best.commands, "trades": best.trades}))


class _Run(NamedTuple):
    wall_s: float
    cpu_s: float
    commands: int
    trades: int


def _throughput(
    make_book: MakeBook, setup: list[Action], actions: list[Action], deadline_s: float
) -> _Run:
    apply, trades = _filled(make_book, setup)
    before, done = trades(), 0
    wall, cpu = -time.perf_counter(), -time.process_time()
    for action in actions:
        apply(action)
        done += 1
        if done % 16 == 0 and time.monotonic() > deadline_s:
            break
    wall, cpu = wall + time.perf_counter(), cpu + time.process_time()
    return _Run(wall, cpu, done, trades() - before)


def _filled(make_book: MakeBook, setup: list[Action]) -> tuple[Apply, Callable[[], int]]:
    apply, trades = make_book()
    for action in setup:
        apply(action)
    return apply, trades
