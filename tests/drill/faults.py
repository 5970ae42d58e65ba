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


class Outage(NamedTuple):
    """What a kill did to orders: until when some failed, and when the first went through again."""

    fault: Fault
    last_failure_s: float
    again_s: float

    @property
    def failing_s(self) -> float:
        """How long orders failed."""
        return self.last_failure_s - self.fault.at_s

    @property
    def silent_s(self) -> float:
        """How long it took until an order sent after the last failure was acknowledged."""
        return self.again_s - self.fault.at_s


def outages(load: Load, faults: list[Fault]) -> list[Outage]:
    """Return what each kill did, up to the next one."""
    found: list[Outage] = []
    for index, fault in enumerate(faults):
        limit_s = faults[index + 1].at_s if index + 1 < len(faults) else float("inf")
        failures = [
            one.done_s
            for one in load.told
            if one.status in (0, 503) and fault.at_s <= one.done_s < limit_s
        ]
        last_s = max(failures, default=fault.at_s)
        again_s = min(
            (one.done_s for one in load.acknowledged if one.sent_s >= last_s),
            default=float("inf"),
        )
        found.append(Outage(fault, last_s, again_s))
    return found
