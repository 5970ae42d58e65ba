"""One command's connection to the running venue: a guest on its bus."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from madang.bus import Bus, BusLimits, BusSettings, open_unix_bus
from madang.cli.cluster_commands import DEMO_STATE
from madang.cli.settings import FILE, load, runtime_dir
from madang.core.errors import MadangError
from madang.exchange import directory
from madang.exchange.gateway import OrderGateway
from madang.exchange.operator import Operator
from madang.exchange.settling import settle_everywhere
from madang.exchange.venue.recovery import LOG_FOLDER

Answer = TypeVar("Answer")
WAIT_MS = 3_000


class NotRunningError(MadangError):
    """No venue runs on this state folder."""


class NoMarketError(MadangError):
    """A state folder without a log."""


def state_folder(state: str | None) -> Path:
    """Return the state folder that a command means: the flag, madang.toml, or the demo's here."""
    if state:
        return Path(state).absolute()
    if Path(FILE).exists():
        return load(Path(FILE), os.environ, {}).state_dir
    return Path(DEMO_STATE).absolute()


def market_folder(state: str | None) -> Path:
    """Return the state folder that a command means, which must hold a log."""
    folder = state_folder(state)
    if not (folder / LOG_FOLDER).is_dir():
        raise NoMarketError(f"{folder}: no market here (there is no log)", folder=str(folder))
    return folder


async def _with_bus(
    state_dir: Path, work: Callable[[Bus], Awaitable[Answer]], limits: BusLimits
) -> Answer:
    folder = runtime_dir(state_dir) / "bus"
    if not folder.exists():
        raise NotRunningError(f"nothing runs on {state_dir}; start it with `madang up`")
    bus = await open_unix_bus(BusSettings(f"command-{os.getpid()}", folder, limits=limits))
    try:
        if not await bus.wait_for_server("venue.commands", WAIT_MS):
            raise NotRunningError(f"the venue of {state_dir} does not answer; see `madang ls`")
        return await work(bus)
    finally:
        await bus.close()


def with_bus(state: str | None, work: Callable[[Bus], Awaitable[Answer]]) -> Answer:
    """Run `work` on the bus of the running venue."""
    return asyncio.run(_with_bus(state_folder(state), work, BusLimits()))


def change(state: str | None, work: Callable[[Bus], Awaitable[Answer]]) -> Answer:
    """Run `work`, which changes the directory, and return when every worker knows of it."""

    async def changed(bus: Bus) -> Answer:
        answer = await work(bus)
        await settle_everywhere(bus, directory.COPY)
        return answer

    everybody = BusLimits(open_timeout_ms=WAIT_MS)  # busy workers are to know of it as well
    return asyncio.run(_with_bus(state_folder(state), changed, everybody))


def operator(bus: Bus) -> Operator:
    """Return the operator's commands over `bus`."""
    return Operator(OrderGateway(bus))
