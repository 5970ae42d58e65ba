"""Roles that lie."""

from __future__ import annotations

import asyncio
import random

from madang.cluster.process import Process

CELL_MAX = 2**63 - 1
PERIOD_S = 0.01


async def lie(process: Process) -> None:
    """Show numbers that cannot be; the clock behind them jumps back and forth."""
    chooser = random.Random(process.slot)
    process.ready()
    while not process.stopping:
        scores = process.scores
        scores.connections = chooser.choice((-CELL_MAX, -1, 0, 5_000, CELL_MAX))
        scores.loop_lag_us = chooser.choice((-CELL_MAX, 0, CELL_MAX))
        scores.requests = chooser.randint(-CELL_MAX, CELL_MAX)
        scores.errors = chooser.randint(-CELL_MAX, CELL_MAX)
        scores.heartbeat = chooser.randint(-CELL_MAX, CELL_MAX)
        process.status(f"the year is {chooser.randint(-5_000, 30_000)}")
        await asyncio.sleep(PERIOD_S)
