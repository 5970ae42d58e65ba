"""The matching engine: commands a second on one core, and the time of a single command.

Ours is the whole state machine: bytes of a batch in, bytes of events out, with accounts, holds,
fees, request ids and client order ids on, called from Python as the venue calls it. Throughput is
taken over batches of 256 commands, each run from the same restored state, the best and the median
of several runs; latency over batches of one command, timed one by one, the clock's own cost
included. The peers do the same actions; how many trades each came to stands beside how many it
should have been.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.harness import (
    CACHE,
    ROOT,
    Options,
    PeerMissing,
    Report,
    options,
    percentile,
    python_package,
    run,
    say,
)
from bench.order_flow import BATCH_COMMANDS, Flow, FlowMaker, batches, write_actions
from bench.peers.exchange_core import run_exchange_core
from madang.exchange.engine import create, restore
from madang.exchange.engine.port import Engine

SEED = 1
PEER_TIMEOUT_S = 15
PACKAGES = {
    "nanobook": ("nanobook==0.19.2",),
    "liquibook": ("liquibook==2.0.1",),
    "order-matching": ("order-matching==0.12.0", "polars", "pandera"),
}


def filled_engine(kind: str, flow: Flow) -> Engine:
    """Return an engine with the flow's accounts and resting orders."""
    engine = create(kind)
    for batch in batches([*flow.opening, *flow.setup_records], 1):
        engine.apply(batch)
    return engine


def throughput(snapshot: bytes, kind: str, prebuilt: list[bytes]) -> tuple[float, float, int]:
    """Return wall seconds, processor seconds and bytes of events of one run over all batches."""
    engine = restore(snapshot, kind)
    apply, size = engine.apply, 0
    gc.collect()
    wall, cpu = -time.perf_counter(), -time.process_time()
    for batch in prebuilt:
        size += len(apply(batch))
    wall, cpu = wall + time.perf_counter(), cpu + time.process_time()
    engine.check()
    return wall, cpu, size


def latencies(snapshot: bytes, kind: str, prebuilt: list[bytes]) -> list[int]:
    """Return the sorted times in ns of batches of one command."""
    engine = restore(snapshot, kind)
    apply, clock = engine.apply, time.perf_counter_ns
    times = [0] * len(prebuilt)
    gc.collect()
    for index, batch in enumerate(prebuilt):
        began = clock()
        apply(batch)
        times[index] = clock() - began
    return sorted(times)


def clock_cost_ns() -> int:
    """Return the median of two readings of the clock with nothing between them."""
    clock = time.perf_counter_ns
    return int(statistics.median([-(clock() - clock()) for _ in range(10_000)]))


def measure_ours(report: Report, flow: Flow, runs: int) -> None:
    """Fill in the compiled engine's numbers."""
    engine = filled_engine("rust", flow)
    snapshot, first = engine.snapshot(), engine.sequence + 1
    count = len(flow.records)
    prebuilt = batches(flow.records, first)
    results = [throughput(snapshot, "rust", prebuilt) for _ in range(runs)]
    walls = [wall for wall, _, _ in results]
    times = latencies(snapshot, "rust", batches(flow.records, first, 1))
    report.ours |= {
        "commands_per_s": count / min(walls),
        "commands_per_s_median": count / statistics.median(walls),
        "cpu_ns_per_command": min(cpu for _, cpu, _ in results) / count * 1e9,
        "p50_ns": percentile(times, 0.5),
        "p99_ns": percentile(times, 0.99),
        "p9999_ns": percentile(times, 0.9999),
    }
    report.conditions["event_bytes_per_command"] = round(results[0][2] / count)


def measure_python(report: Report, flow: Flow, count: int) -> None:
    """Fill in the readable engine's numbers, over fewer commands."""
    snapshot = filled_engine("rust", flow).snapshot()
    first = 1 + len(flow.opening) + len(flow.setup_records)
    records = flow.records[:count]
    wall, cpu, _ = throughput(snapshot, "python", batches(records, first))
    times = latencies(snapshot, "python", batches(records, first, 1))
    report.ours |= {
        "python_commands_per_s": count / wall,
        "python_cpu_ns_per_command": cpu / count * 1e9,
        "python_p50_ns": percentile(times, 0.5),
        "python_p99_ns": percentile(times, 0.99),
    }


def measure_peer(name: str, flow_file: Path) -> dict[str, object]:
    """Run a peer's module in a process of its own."""
    folder = python_package(name, PACKAGES[name])
    module = f"bench.peers.{name.replace('-', '_')}_driver"
    output = run(
        [sys.executable, "-m", module, str(flow_file), str(folder)],
        cwd=ROOT,
        timeout_s=PEER_TIMEOUT_S,
        environment={"PYTHONPATH": f"{ROOT / 'python'}:{ROOT}"},
    )
    result = json.loads(output.splitlines()[-1])
    assert isinstance(result, dict)
    return result


def add_peer(
    report: Report, flow: Flow, name: str, measured: Callable[[], dict[str, object]]
) -> None:
    """Put a peer's numbers beside ours, or the reason why there are none."""
    say(f"peer {name}")
    try:
        result = measured()
    except PeerMissing as error:
        report.conditions[name] = f"left out: {error}"
        return
    expected = sum(flow.trades_of_command[: int(str(result["commands"]))])
    note = f"{result['commands']} commands, {result['trades']} trades (ours {expected})"
    report.conditions[name] = note
    metrics = result["metrics"]
    assert isinstance(metrics, dict)
    report.peers[name] = metrics


def main(chosen: Options) -> None:
    """Measure and print."""
    count, runs = (150_000, 15) if chosen.quick else (1_000_000, 9)
    report = Report("engine")
    say(f"making {count} commands")
    flow = FlowMaker(SEED, create("rust")).make(count)
    report.conditions |= {
        "commands": count,
        "batch_commands": BATCH_COMMANDS,
        "runs": runs,
        "mix": flow.mix(),
        "commands_that_trade": round(flow.trading_commands / count, 4),
        "resting_orders": flow.resting,
        "accounts": flow.accounts,
        "clock_cost_ns": clock_cost_ns(),
        "latency": "batches of one command, each timed, the clock's cost and the call included",
        "throughput": "prebuilt batches, best of the runs (median beside it), one thread",
        "ours_includes": "accounts, holds, fees, request ids, client order ids, events as bytes",
        "python_peers_include": "a book only: no accounts, holds, fees, keys or event bytes",
    }
    say("our engines")
    measure_ours(report, flow, runs)
    measure_python(report, flow, 10_000 if chosen.quick else 50_000)
    flow_file = CACHE / "order-flow.bin"
    write_actions(flow_file, flow.setup, flow.actions)
    for name in PACKAGES:
        add_peer(report, flow, name, partial(measure_peer, name, flow_file))
    add_peer(report, flow, "exchange-core", lambda: run_exchange_core(flow_file))
    flow_file.unlink()
    report.print(chosen)


if __name__ == "__main__":
    main(options("Matching engine throughput and latency, beside its peers."))
