"""Kills at random moments, and how long nobody got an order through after each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from typing import NamedTuple

from tests.drill.load import Load
from tests.drill.product import Product

VICTIMS = ("worker-0", "worker-1", "venue", "ledger", "feed", "supervisor")
PAUSE_S = (2.0, 4.0)


class Fault(NamedTuple):
    """One kill, in seconds on the monotonic clock."""

    victim: str
    at_s: float


async def inflict(product: Product, seed: int, until_s: float) -> list[Fault]:
    """Kill something every few seconds until `until_s`; every victim once a round."""
    chooser = random.Random(seed)
    faults: list[Fault] = []
    turns: list[str] = []
    while time.monotonic() + PAUSE_S[1] < until_s:
        await asyncio.sleep(chooser.uniform(*PAUSE_S))
        if not turns:
            turns = chooser.sample(VICTIMS, len(VICTIMS))
        victim = turns.pop()
        if victim == "supervisor":
            faults.append(Fault(victim, time.monotonic()))
            await asyncio.to_thread(_restart_supervisor, product)
            continue
        pid = await asyncio.to_thread(product.pid_of, victim)
        if pid is not None:
            faults.append(Fault(victim, time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return faults


def _restart_supervisor(product: Product) -> None:
    product.kill_supervisor()
    product.start()
    product.wait_until_up()


def outages(load: Load, faults: list[Fault]) -> list[tuple[Fault, float, float]]:
    """Return (fault, begin, end) for each kill: from the kill to the end of its disturbance.

    The disturbance ends at the first acknowledgement of an order that was *due* after the last one
    that failed because of this kill.
    """
    found: list[tuple[Fault, float, float]] = []
    told = sorted(load.told, key=lambda one: one.due_s)
    for index, fault in enumerate(faults):
        limit_s = faults[index + 1].at_s if index + 1 < len(faults) else float("inf")
        late = [
            one.done_s
            for one in told
            if one.done_s >= fault.at_s
            and one.due_s < limit_s
            and (one.status in (0, 503) or one.done_s - one.due_s > 1.0)
        ]
        end_s = max((done_s for done_s in late if done_s < limit_s), default=fault.at_s)
        found.append((fault, fault.at_s, end_s))
    return found
