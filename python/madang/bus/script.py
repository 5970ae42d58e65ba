"""The end of a script: join the bus, say so, do what there is to do, leave in order.

Speaks sd_notify(3) where NOTIFY_SOCKET is set: READY=1 once the bus is open, WATCHDOG=1 four times
in each WATCHDOG_USEC, from the loop, so that a hung one is noticed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import uvloop

from madang.bus.application import NAME_VARIABLE, session
from madang.core import log

Main = Callable[[], Awaitable[object]]


def run(main: Main | None = None) -> None:
    """Run this script on the bus until it is asked to stop, or until `main` returns.

    SIGTERM and Ctrl-C cancel `main`; what handlers do is finished before the bus is left. What
    `main` raises is raised here.
    """
    log.configure(os.environ.get(NAME_VARIABLE) or Path(sys.argv[0]).stem or "script")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(main))


async def _serve(main: Main | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with session():
        beating = loop.create_task(_beat())
        stopped = loop.create_task(stop.wait())
        waited: set[asyncio.Task[object]] = {stopped}
        if main is not None:
            waited.add(loop.create_task(_await(main)))
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        beating.cancel()
        for task in waited:
            task.cancel()
        for outcome in await asyncio.gather(*waited, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


async def _await(main: Main) -> object:
    return await main()


async def _beat() -> None:
    """Say that we are ready, then that we live, to whoever started us."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    period_us = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        text = b"READY=1\nWATCHDOG=1"
        while True:
            with suppress(BlockingIOError, ConnectionRefusedError, FileNotFoundError):
                sender.sendto(text, address)  # the next one makes good what is lost
            if not period_us.isdigit() or not ours:
                return
            await asyncio.sleep(int(period_us) / 4_000_000)
