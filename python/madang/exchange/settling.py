"""Confirming a change once every worker has it.

Workers keep copies of what others decide, and hear of a change one sooner than the other. Whoever
is told that a change is done may go to any worker next, so who confirms it first asks each of them
to say that its copy has caught up. Who does not do so in time (it hangs) is not waited for any
longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from madang.bus import Bus, BusError, NoServer, Request
from madang.core import log
from madang.core.errors import MadangError

SETTLE_TIMEOUT_MS: Final = 2_000
RETRY_S: Final = 0.05


class Settling:
    """Answers for one copy; `caught_up` returns when it has all that was published before."""

    def __init__(self, bus: Bus, copy: str, caught_up: Callable[[], Awaitable[None]]) -> None:
        self._caught_up = caught_up
        self._tasks: set[asyncio.Task[None]] = set()
        self._service = bus.serve(_subject(copy, bus.name), self._on_requests)

    async def close(self) -> None:
        """Answer no more."""
        self._service.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_requests(self, requests: list[Request]) -> None:
        task = asyncio.create_task(self._answer(requests))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, requests: list[Request]) -> None:
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_MS / 1_000):
                await self._caught_up()
        except (MadangError, TimeoutError) as error:
            for request in requests:
                request.refuse(str(error))
            return
        for request in requests:
            request.respond(b"")


async def settle_everywhere(bus: Bus, copy: str) -> None:
    """Wait until every worker's copy has what had been published before.

    A worker that cannot say so yet (who decides is just restarting) is asked again, until the time
    is over. Who has not said so by then catches up or loads its copy anew.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + SETTLE_TIMEOUT_MS / 1_000

    async def is_behind(name: str) -> bool:
        while (left_s := end_s - loop.time()) > 0:
            try:
                await bus.request(_subject(copy, name), b"", int(left_s * 1_000) + 1)
            except NoServer:
                return False  # it keeps no such copy; one that is only starting loads all of it
            except BusError:
                await asyncio.sleep(RETRY_S)
            else:
                return False
        return True

    names = (bus.name, *sorted(bus.peers()))
    behind = await asyncio.gather(*(is_behind(name) for name in names))
    found = [name for name, is_late in zip(names, behind, strict=True) if is_late]
    if found:
        log.get("settling").warning("a change is not known everywhere", copy=copy, behind=found)


def _subject(copy: str, name: str) -> str:
    return f"settle.{copy}.{name}"
